import { TRANSACTION_KIND } from "../../../base/codes.js";
import { AMOUNT_MAX } from "../../../base/money.js";
import { COUNTED_KIND_CODES } from "../../command/kinds.js";
import type { Law } from "../law.js";

const { HOLD, HOLD_INCREASE, HOLD_CAPTURE } = TRANSACTION_KIND;

/** Holds where the amounts that a limit counts are an exact sum: without a maximum, the count stops at the highest int64. */
const IS_SUMMED = `l.max_amount IS NOT NULL AND l.amount < ${AMOUNT_MAX}`;

// The transactions of a window come to a least and a most: one recorded at the very moment at which the limit was set may count
// or not. A check of what is new finds a window's entries by its place in the journal, so that it costs what the windows hold; one of
// the whole ledger does not rely on the journal.
export const velocityMatchesTransactions: Law = {
  reads: ["transactions", "entries"],
  findBreaches: ({ accounts, lookUp, rowsOf, choose }) => `
    SELECT l.account_id::text AS subject, format('limit %s: %s and %s transactions are counted, the ledger has %s to %s and %s to %s',
      l.name, l.amount, l.count, l.least_amount, l.most_amount, l.least_count, l.most_count) AS detail
    FROM (
      SELECT l.account_id, l.name, l.max_amount, u.amount, u.count,
        coalesce(sum(m.amount) FILTER (WHERE m.time > u.start), 0) AS least_amount, coalesce(sum(m.amount), 0) AS most_amount,
        coalesce(sum(m.count) FILTER (WHERE m.time > u.start), 0) AS least_count, coalesce(sum(m.count), 0) AS most_count
      FROM (
        SELECT a.id AS account_id, l.value ->> 'name' AS name, l.value ->> 'direction' AS direction, l.value -> 'kinds' AS kinds,
          (l.value ->> 'windowMicros')::bigint AS window_micros, (l.value ->> 'maxAmount') AS max_amount,
          to_timestamp((l.value ->> 'since')::numeric / 1000000) AS since
        FROM ${accounts} a CROSS JOIN LATERAL jsonb_array_elements(a.velocity_limits::jsonb) AS l (value)
        WHERE a.velocity_limits IS NOT NULL
      ) l
      JOIN LATERAL (
        SELECT coalesce(sum(amount), 0) AS amount, coalesce(sum(count), 0) AS count,
          greatest(l.since, to_timestamp(min(slice) * (l.window_micros / 100)::numeric / 1000000)) AS start
        FROM velocity_usage u WHERE u.account_id = l.account_id AND u.name = l.name
      ) u ON true
      LEFT JOIN LATERAL (
        SELECT t.create_time AS time,
          CASE t.kind WHEN ${HOLD_INCREASE} THEN 0 ELSE 1 END AS count,
          CASE WHEN t.leg_account_ids IS NULL THEN t.amount ELSE (
            SELECT sum(abs(leg.amount)) FROM unnest(t.leg_account_ids, t.leg_amounts) AS leg (account_id, amount)
            WHERE leg.account_id = l.account_id AND (leg.amount > 0) = (l.direction = 'OUTGOING')) END AS amount
        FROM (
          SELECT DISTINCT transaction_id FROM entries e
          WHERE e.account_id = l.account_id AND e.create_time >= u.start
            ${choose("", "AND e.sequence > entry_sequence_before_index(l.account_id, journal_index_from_time(u.start))")}
            -- A step of a hold has an entry of 0 on the account that it is for; its side is in the transaction.
            AND (e.amount = 0 OR (e.amount > 0) = (l.direction = 'OUTGOING'))
        ) e
        JOIN ${lookUp("transactions", "t", "t.id = e.transaction_id")}
        LEFT JOIN ${lookUp("holds", "h", "h.id = t.hold_id")}
        WHERE (t.leg_account_ids IS NOT NULL
            OR l.account_id = CASE l.direction WHEN 'OUTGOING' THEN t.debit_account_id ELSE t.credit_account_id END)
          AND t.kind IN (${[...COUNTED_KIND_CODES, HOLD_INCREASE].join(", ")})
          AND (t.kind <> ${HOLD_CAPTURE} OR (l.direction = 'INCOMING' AND h.to_account_id IS NULL AND t.amount > 0))
          AND (jsonb_array_length(l.kinds) = 0
            OR l.kinds @> to_jsonb((CASE t.kind WHEN ${HOLD_INCREASE} THEN ${HOLD} ELSE t.kind END)::int))
      ) m ON true
      GROUP BY l.account_id, l.name, l.max_amount, u.amount, u.count
    ) l
    WHERE (${IS_SUMMED} AND l.amount NOT BETWEEN l.least_amount AND l.most_amount)
      OR l.count NOT BETWEEN l.least_count AND l.most_count
    UNION ALL
    SELECT u.account_id::text, format('usage of a limit %s that it does not have', u.name)
    FROM ${rowsOf("velocity_usage", `SELECT id FROM ${accounts} a`, "account_id = known.id")} u
    LEFT JOIN ${accounts} a ON a.id = u.account_id
    WHERE NOT coalesce(jsonb_path_exists(a.velocity_limits::jsonb, '$[*] ? (@.name == $name)', jsonb_build_object('name', u.name)), false)`,
};
