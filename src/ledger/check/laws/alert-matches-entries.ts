import { crossingDirection, watchedBalance } from "../../../entities/crossing.js";
import { RECORD_TYPE } from "../../../entities/journal.js";
import type { Law } from "../law.js";

export const alertMatchesEntries: Law = {
  reads: ["entries"],
  findBreaches: ({ accounts, records, firstIndex, rowsOf, lookUp, choose }) => {
    const recordedEvents = rowsOf(
      "balance_alert_events",
      `SELECT DISTINCT id FROM ${records} r WHERE type = ${RECORD_TYPE.BALANCE_ALERT_CROSSED}`,
      "id = known.id",
    );
    // The reader may be behind: an alert is checked from the first entry on that one of its new events reports.
    const alerts = choose(
      "SELECT *, 0::bigint AS sequence_before FROM balance_alerts",
      `SELECT a.*, entry_sequence_before_index(a.account_id, start.index) AS sequence_before FROM (
        SELECT id, min(index) AS index FROM (
          SELECT id, ${firstIndex} AS index FROM ${rowsOf("balance_alerts", `SELECT id FROM ${accounts} a`, "account_id = known.id")} a
          UNION ALL SELECT alert_id, journal_index FROM ${recordedEvents} v
        ) starts GROUP BY id
      ) start JOIN ${lookUp("balance_alerts", "a", "a.id = start.id")}`,
    );
    const eventsOfAlerts = rowsOf(
      "balance_alert_events",
      "SELECT id, sequence_before FROM alert",
      "alert_id = known.id AND sequence > known.sequence_before",
    );
    return `
    WITH alert AS (${alerts}), crossed AS (
      SELECT * FROM (
        SELECT e.*, ${crossingDirection("e", "balance_before", "watched_after")} AS crossing FROM (
          SELECT a.id AS alert_id, a.threshold, a.direction, a.start_index, a.end_index, a.sequence_before, e.sequence, e.transaction_id,
            e.journal_index, e.create_time, ${watchedBalance("a", "e")} AS watched_after,
            coalesce(lag(${watchedBalance("a", "e")}) OVER (PARTITION BY a.id ORDER BY e.sequence), 0) AS balance_before
          FROM alert a CROSS JOIN LATERAL (
            -- The entries of one transaction are one step.
            SELECT DISTINCT ON (journal_index) * FROM entries WHERE account_id = a.account_id AND sequence >= a.sequence_before
            ORDER BY journal_index, sequence DESC
          ) e
        ) e
      ) e
      WHERE sequence > sequence_before AND journal_index > start_index AND (end_index IS NULL OR journal_index < end_index)
        AND journal_index < (SELECT next_index FROM reader_cursors WHERE name = 'balance_alerts')
        AND crossing IS NOT NULL
    )
    SELECT coalesce(x.alert_id, v.alert_id)::text AS subject, CASE WHEN v.id IS NULL
      THEN format('it did not record what entry %s crossed', x.sequence)
      ELSE format('event %s is not what entry %s crossed', v.id, v.sequence) END AS detail
    FROM crossed x
    FULL JOIN (${choose("SELECT * FROM balance_alert_events", `SELECT * FROM ${eventsOfAlerts} e UNION SELECT * FROM ${recordedEvents} r`)}) v
      ON v.alert_id = x.alert_id AND v.sequence = x.sequence AND v.transaction_id = x.transaction_id
        AND v.journal_index = x.journal_index AND v.direction = x.crossing AND v.balance_before = x.balance_before
        AND v.balance_after = x.watched_after AND v.create_time = x.create_time
    WHERE x.alert_id IS NULL OR v.id IS NULL`;
  },
};
