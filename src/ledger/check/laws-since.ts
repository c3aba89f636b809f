import { LEDGER_CALLER } from "../../base/ids.js";
import { ALERT_DIRECTION } from "../../entities/alert.js";
import { HOLD_STATE } from "../../base/codes.js";
import { RECORD_TYPE } from "../../entities/journal.js";
import { RUN_STATE } from "../../entities/schedule.js";
import { TRANSACTION_KIND, TRANSACTION_STATE } from "../../base/codes.js";
import { IS_SUMMED, MOVED, velocityOf, WATCHED, type Law } from "./laws.js";

/** The beginning of a check of what is new. */
export interface Since {
  /** The first record that is new. */
  readonly index: bigint;
  /** The first record of the batch that it is in. */
  readonly batchIndex: bigint;
}

const OF_TRANSACTIONS = `${RECORD_TYPE.TRANSACTION_POSTED}, ${RECORD_TYPE.TRANSACTION_REJECTED}`;

// What is new is found from the journal's end, by keys: its batches, the transactions that they name, the accounts that these
// touch, and their entries from the last old one on. OFFSET 0 has each looked up by its key: as plain joins the planner, which
// knows nothing of how much is new, may read whole tables for a few records. Both places are bigints of this service.
const news = ({ index, batchIndex }: Since): string => `
WITH record AS MATERIALIZED (
  SELECT r.id, r.type, b.first_index + r.position - 1 AS index
  FROM journal_batches b CROSS JOIN LATERAL unnest(b.record_ids, b.record_types) WITH ORDINALITY AS r (id, type, position)
  WHERE b.first_index >= ${batchIndex} AND b.first_index + r.position - 1 >= ${index}
), moved AS MATERIALIZED (
  SELECT t.* FROM (
    SELECT DISTINCT id FROM record WHERE type IN (${OF_TRANSACTIONS})
  ) r CROSS JOIN LATERAL (SELECT * FROM transactions WHERE id = r.id OFFSET 0) t
), touched AS MATERIALIZED (
  SELECT id, entry_sequence_before_index(id, ${index}) AS old_sequence FROM (
    SELECT debit_account_id AS id FROM moved UNION SELECT credit_account_id FROM moved
    UNION SELECT unnest(leg_account_ids) FROM moved UNION SELECT id FROM record WHERE type NOT IN (${OF_TRANSACTIONS})
    UNION SELECT h.to_account_id FROM moved m CROSS JOIN LATERAL (SELECT to_account_id FROM holds WHERE id = m.hold_id OFFSET 0) h
  ) ids WHERE id IS NOT NULL
), book AS MATERIALIZED (
  SELECT a.*, touched.old_sequence FROM touched CROSS JOIN LATERAL (SELECT * FROM accounts WHERE id = touched.id OFFSET 0) a
), entry AS MATERIALIZED (
  -- With the last old entry of each account, which the first new one follows.
  SELECT e.*, e.sequence > touched.old_sequence AS is_new FROM touched
  CROSS JOIN LATERAL (SELECT * FROM entries WHERE account_id = touched.id AND sequence >= touched.old_sequence OFFSET 0) e
)`;

/** How much a check of what is new looks at. */
export function countsSince(since: Since): string {
  return `${news(since)}
  SELECT (SELECT count(*) FROM book) AS accounts, (SELECT count(*) FROM moved) AS transactions,
    (SELECT count(*) FROM entry WHERE is_new) AS entries, (SELECT count(*) FROM record) AS records,
    (SELECT size FROM journal_head) AS size`;
}

/** Each law that can be asked of what is new alone, as a query for what breaks it. */
export function lawsSince(since: Since): readonly (readonly [Law, string])[] {
  return Object.entries(LAWS_SINCE).map(([law, query]) => [law as Law, `${news(since)}${query(since)}`]);
}

/** The runs of schedules that the new records name. */
const RUNS = `
  SELECT r.* FROM (SELECT DISTINCT id FROM record) ids
  CROSS JOIN LATERAL (SELECT * FROM schedule_runs WHERE id = ids.id OFFSET 0) r`;

/** The entries of a window are found by its place in the journal, not by reading all of the account's. */
const VELOCITY_SINCE = velocityOf({
  accounts: "book a",
  entries: `e.create_time >= u.start
        AND e.sequence > entry_sequence_before_index(l.account_id, journal_index_from_time(u.start))`,
  transactions: "CROSS JOIN LATERAL (SELECT * FROM transactions WHERE id = e.transaction_id OFFSET 0) t",
});

/** The transactions whose metadata is new, and all changes of it. */
const LABELLED = `
, labelled AS MATERIALIZED (
  SELECT t.id, t.journal_index, t.metadata FROM (
    SELECT DISTINCT id FROM record WHERE type IN (${OF_TRANSACTIONS}, ${RECORD_TYPE.TRANSACTION_METADATA_SET})
  ) r CROSS JOIN LATERAL (SELECT * FROM transactions WHERE id = r.id OFFSET 0) t
), change AS MATERIALIZED (
  SELECT c.* FROM labelled CROSS JOIN LATERAL (SELECT * FROM metadata_changes WHERE transaction_id = labelled.id OFFSET 0) c
)`;

const LAWS_SINCE: Readonly<Partial<Record<Law, (since: Since) => string>>> = {
  TRANSACTION_BALANCED: () => `
    SELECT transaction_id::text AS subject, format('entries in %s sum to %s', currency_code, sum(amount)) AS detail
    FROM entry JOIN book ON book.id = account_id WHERE is_new
    GROUP BY transaction_id, currency_code HAVING sum(amount) <> 0`,
  ENTRIES_MATCH_STATE: ({ index }) => `
    SELECT t.id::text AS subject, format('state %s with %s entries', t.state, coalesce(e.n, 0)) AS detail
    FROM moved t LEFT JOIN (SELECT transaction_id, count(*) AS n FROM entry GROUP BY transaction_id) e ON e.transaction_id = t.id
    WHERE coalesce(e.n, 0) <> CASE
      WHEN t.state <> ${TRANSACTION_STATE.POSTED} THEN 0
      WHEN t.leg_account_ids IS NOT NULL THEN cardinality(t.leg_account_ids)
      WHEN t.hold_id IS NULL THEN 2
      ELSE 1 + num_nonnulls(t.credit_sequence) END
    UNION ALL
    SELECT t.id::text, format('%s entry %s of account %s is missing or has another amount', side, sequence, account_id)
    FROM moved t CROSS JOIN LATERAL (VALUES
      ('debit', debit_account_id, debit_sequence, ${MOVED}), ('credit', credit_account_id, credit_sequence, -${MOVED})
    ) AS named (side, account_id, sequence, expected)
    WHERE named.sequence IS NOT NULL AND NOT EXISTS (
      SELECT FROM entries e WHERE e.account_id = named.account_id AND e.sequence = named.sequence
        AND e.transaction_id = t.id AND e.amount = named.expected AND e.journal_index = t.journal_index OFFSET 0)
    UNION ALL
    SELECT t.id::text, format('entry %s of account %s is missing or is not its leg', leg.sequence, leg.account_id)
    FROM moved t CROSS JOIN LATERAL unnest(t.leg_account_ids, t.leg_amounts, t.leg_sequences)
      AS leg (account_id, amount, sequence)
    WHERE t.state = ${TRANSACTION_STATE.POSTED} AND NOT EXISTS (
      SELECT FROM entries e WHERE e.account_id = leg.account_id AND e.sequence = leg.sequence
        AND e.transaction_id = t.id AND e.amount = leg.amount AND e.journal_index = t.journal_index OFFSET 0)
    UNION ALL
    SELECT coalesce(t.id, r.transaction_id)::text, 'its refused legs are not those that it is listed by'
    FROM (
      SELECT DISTINCT id, journal_index, unnest(leg_account_ids) AS account_id FROM moved WHERE state = ${TRANSACTION_STATE.REJECTED}
    ) t FULL JOIN (
      SELECT l.* FROM touched CROSS JOIN LATERAL (
        SELECT * FROM rejected_legs WHERE account_id = touched.id AND journal_index >= ${index} OFFSET 0
      ) l
    ) r ON r.transaction_id = t.id AND r.journal_index = t.journal_index AND r.account_id = t.account_id
    WHERE t.id IS NULL OR r.transaction_id IS NULL`,
  BALANCE_IS_SUM_OF_ENTRIES: () => `
    SELECT book.id::text AS subject, format('balance is %s, %s after its latest entry', book.balance, coalesce(e.balance_after, 0)) AS detail
    FROM book LEFT JOIN LATERAL (
      SELECT balance_after FROM entries WHERE account_id = book.id ORDER BY sequence DESC LIMIT 1
    ) e ON true
    WHERE book.balance <> coalesce(e.balance_after, 0)`,
  SEQUENCE_DENSE: () => `
    SELECT book.id::text AS subject, format('sequence is %s, with %s entries after %s, up to %s', book.sequence, coalesce(e.n, 0),
      book.old_sequence, coalesce(e.last, book.old_sequence)) AS detail
    FROM book LEFT JOIN (
      SELECT account_id, count(*) AS n, max(sequence) AS last FROM entry WHERE is_new GROUP BY account_id
    ) e ON e.account_id = book.id
    WHERE book.sequence <> book.old_sequence + coalesce(e.n, 0) OR book.sequence <> coalesce(e.last, book.old_sequence)`,
  RUNNING_BALANCE: () => `
    SELECT account_id::text AS subject, format('entry %s: balance after it is %s, not %s', sequence, balance_after, expected) AS detail
    FROM (
      SELECT e.account_id, e.sequence, e.balance_after, e.is_new,
        coalesce(lag(e.balance_after) OVER w, 0)::numeric + e.amount * CASE WHEN book.normal_side = 1 THEN 1 ELSE -1 END AS expected
      FROM entry e JOIN book ON book.id = e.account_id
      WINDOW w AS (PARTITION BY e.account_id ORDER BY e.sequence)
    ) run WHERE is_new AND balance_after <> expected
    UNION ALL
    SELECT account_id::text, format('entry %s stands before its predecessor in the journal or in time', sequence)
    FROM (
      SELECT account_id, sequence, journal_index, create_time, transaction_id, is_new, lag(transaction_id) OVER w AS previous_id,
        lag(journal_index) OVER w AS previous_index, lag(create_time) OVER w AS previous_time
      FROM entry WINDOW w AS (PARTITION BY account_id ORDER BY sequence)
    ) ordered WHERE is_new AND (journal_index < previous_index
      OR (journal_index = previous_index AND transaction_id <> previous_id) OR create_time < previous_time)`,
  WITHIN_LIMITS: () => `
    SELECT id::text AS subject, format('balance %s is outside of %s to %s', balance, coalesce(min_balance::text, 'any'),
      coalesce(max_balance::text, 'any')) AS detail
    FROM book WHERE balance < min_balance OR balance > max_balance`,
  ENTRY_HAS_OWNERS: () => `
    SELECT e.transaction_id::text AS subject, format('entry %s of account %s has no %s', e.sequence, e.account_id,
      CASE WHEN t.id IS NULL THEN 'transaction' WHEN book.id IS NULL THEN 'account' ELSE 'account of its currency' END) AS detail
    FROM entry e LEFT JOIN book ON book.id = e.account_id
    LEFT JOIN LATERAL (SELECT * FROM transactions WHERE id = e.transaction_id OFFSET 0) t ON true
    LEFT JOIN (
      SELECT id, leg.* FROM moved
      CROSS JOIN LATERAL unnest(leg_account_ids, leg_sequences, leg_currency_codes) AS leg (account_id, sequence, currency_code)
      WHERE leg_sequences IS NOT NULL
    ) leg ON leg.id = e.transaction_id AND leg.account_id = e.account_id AND leg.sequence = e.sequence
    WHERE e.is_new AND (t.id IS NULL OR book.id IS NULL
      OR book.currency_code IS DISTINCT FROM CASE WHEN t.leg_account_ids IS NULL THEN t.currency_code ELSE leg.currency_code END)`,
  METADATA_PAIRS_MATCH: () => `${LABELLED}
    SELECT t.id::text AS subject,
      format('key %s: its value is %s, it is found by %s', t.key, coalesce(t.value, '(none)'), coalesce(p.value, '(none)')) AS detail
    FROM (
      -- Every key that it has or had; a key that it never had is seen by a full check only.
      SELECT labelled.id, labelled.journal_index, k.key, coalesce(latest.metadata, labelled.metadata) ->> k.key AS value
      FROM labelled
      LEFT JOIN (SELECT DISTINCT ON (transaction_id) transaction_id, metadata FROM change ORDER BY transaction_id, revision DESC) latest
        ON latest.transaction_id = labelled.id
      JOIN (
        SELECT id, jsonb_object_keys(metadata) AS key FROM labelled WHERE metadata IS NOT NULL
        UNION SELECT transaction_id, jsonb_object_keys(set_pairs) FROM change
        UNION SELECT transaction_id, jsonb_object_keys(metadata) FROM change
      ) k ON k.id = labelled.id
    ) t LEFT JOIN LATERAL (
      SELECT value FROM transaction_metadata WHERE key = t.key AND journal_index = t.journal_index AND transaction_id = t.id OFFSET 0
    ) p ON true
    WHERE p.value IS DISTINCT FROM t.value`,
  METADATA_CHANGES_FOLLOW: () => `${LABELLED}
    SELECT transaction_id::text AS subject, format('change %s of its metadata does not follow from what was before', revision) AS detail
    FROM (
      SELECT c.*, row_number() OVER w AS expected, coalesce(lag(c.metadata) OVER w, t.metadata, '{}') AS before
      FROM change c JOIN labelled t ON t.id = c.transaction_id
      WINDOW w AS (PARTITION BY c.transaction_id ORDER BY c.revision)
    ) run
    WHERE revision <> expected OR metadata <> (before || set_pairs) - removed_keys
    UNION ALL
    SELECT r.id::text, format('%s changes of its metadata, %s new records of them', coalesce(c.count, 0), r.count)
    FROM (SELECT id, count(*) AS count FROM record WHERE type = ${RECORD_TYPE.TRANSACTION_METADATA_SET} GROUP BY 1) r
    LEFT JOIN (SELECT transaction_id AS id, count(*) AS count FROM change GROUP BY 1) c ON c.id = r.id
    WHERE coalesce(c.count, 0) < r.count`,
  DATED_ENTRIES_MATCH: () => `
    SELECT e.transaction_id::text AS subject,
      format('entry %s of account %s is not counted by effective time as it stands', e.sequence, e.account_id) AS detail
    FROM entry e LEFT JOIN moved t ON t.id = e.transaction_id
    LEFT JOIN LATERAL (SELECT * FROM dated_entries WHERE account_id = e.account_id AND sequence = e.sequence OFFSET 0) d ON true
    WHERE e.is_new AND CASE WHEN t.effective_time IS NULL OR t.state <> ${TRANSACTION_STATE.POSTED} THEN d.account_id IS NOT NULL
      ELSE (d.transaction_id, d.amount, d.create_time, d.effective_time, d.span) IS DISTINCT FROM
        (e.transaction_id, e.amount, e.create_time, t.effective_time, dated_span(e.create_time - t.effective_time)) END`,
  JOURNAL_DENSE: ({ batchIndex }) => `
    , batch AS MATERIALIZED (SELECT first_index, cardinality(record_ids) AS n FROM journal_batches WHERE first_index >= ${batchIndex})
    SELECT first_index::text AS subject, format('expected index %s', expected) AS detail
    FROM (SELECT first_index, lag(first_index + n) OVER (ORDER BY first_index) AS expected FROM batch) run
    WHERE first_index <> expected
    UNION ALL
    SELECT h.size::text, format('the head says %s records, there are %s', h.size, b.size)
    FROM journal_head h, (SELECT ${batchIndex} + coalesce(sum(n), 0) AS size FROM batch) b
    WHERE h.size <> b.size`,
  TRANSACTION_IN_JOURNAL: () => `
    SELECT r.id::text AS subject,
      format('journal index %s, its record is at %s', coalesce(t.journal_index::text, '(no transaction)'), r.index) AS detail
    FROM record r LEFT JOIN moved t ON t.id = r.id
    WHERE r.type IN (${OF_TRANSACTIONS})
      AND (r.index, r.type) IS DISTINCT FROM (t.journal_index,
        CASE WHEN t.state = ${TRANSACTION_STATE.POSTED} THEN ${RECORD_TYPE.TRANSACTION_POSTED} ELSE ${RECORD_TYPE.TRANSACTION_REJECTED} END)
    UNION ALL
    SELECT DISTINCT e.transaction_id::text, format('journal index %s, its record is at no index', e.journal_index)
    FROM entry e LEFT JOIN record r ON r.id = e.transaction_id
    CROSS JOIN LATERAL (SELECT FROM transactions WHERE id = e.transaction_id OFFSET 0) t
    WHERE e.is_new AND r.id IS NULL`,
  REQUEST_ONCE: () => `
    SELECT t.id::text AS subject, 'no request made this transaction' AS detail
    FROM moved t LEFT JOIN LATERAL (
      SELECT transaction_id FROM requests WHERE caller = t.caller AND request_id = t.request_id OFFSET 0
    ) r ON r.transaction_id = t.id
    WHERE r.transaction_id IS NULL`,
  PENDING_IS_SUM_OF_HOLDS: () => `
    SELECT book.id::text AS subject, format('%s are pending, holds come to %s', book.pending_debits, h.debits) AS detail
    FROM book CROSS JOIN LATERAL (
      SELECT coalesce(sum(amount - captured), 0) AS debits FROM holds WHERE account_id = book.id AND state = ${HOLD_STATE.ACTIVE}
    ) h
    WHERE book.pending_debits <> h.debits
    UNION ALL
    SELECT book.id::text, format('%s and %s are pending, its latest entry says %s and %s', book.pending_debits, book.pending_credits,
      coalesce(e.pending_debits_after, 0), coalesce(e.pending_credits_after, 0))
    FROM book JOIN entry e ON e.account_id = book.id AND e.sequence = book.sequence
    WHERE book.pending_debits <> coalesce(e.pending_debits_after, 0) OR book.pending_credits <> coalesce(e.pending_credits_after, 0)`,
  HOLD_MATCHES_STEPS: () => `
    , step AS (
      SELECT *, lag(hold_amount) OVER w AS amount_before, lag(hold_captured) OVER w AS captured_before,
        lead(id) OVER w IS NULL AS is_latest
      FROM moved WHERE hold_id IS NOT NULL AND state = ${TRANSACTION_STATE.POSTED}
      WINDOW w AS (PARTITION BY hold_id ORDER BY journal_index)
    )
    SELECT t.hold_id::text AS subject, CASE WHEN h.id IS NULL THEN format('transaction %s is a step of no hold', t.id)
      ELSE format('it holds %s, captured %s, state %s; its latest step left %s, %s, %s', h.amount, h.captured, h.state, t.hold_amount,
        t.hold_captured, t.hold_state) END AS detail
    FROM step t LEFT JOIN LATERAL (SELECT * FROM holds WHERE id = t.hold_id OFFSET 0) h ON true
    WHERE h.id IS NULL OR (t.is_latest AND (h.amount, h.captured, h.state, h.expire_time)
      IS DISTINCT FROM (t.hold_amount, t.hold_captured, t.hold_state, t.hold_expire_time))
    UNION ALL
    SELECT hold_id::text, format('after transaction %s it holds %s, captured %s, which does not follow', id, hold_amount, hold_captured)
    FROM step WHERE
      CASE WHEN kind = ${TRANSACTION_KIND.HOLD} THEN hold_amount <> amount OR hold_captured <> 0
      ELSE hold_amount <> amount_before + CASE kind WHEN ${TRANSACTION_KIND.HOLD_INCREASE} THEN amount ELSE 0 END
        OR hold_captured <> captured_before + CASE kind WHEN ${TRANSACTION_KIND.HOLD_CAPTURE} THEN amount ELSE 0 END END`,
  REVERSALS_WITHIN_ORIGINAL: () => `
    , reversed AS MATERIALIZED (
      SELECT ids.id AS reverses_id, o.* FROM (
        SELECT DISTINCT reverses_id AS id FROM moved WHERE reverses_id IS NOT NULL AND state = ${TRANSACTION_STATE.POSTED}
      ) ids LEFT JOIN LATERAL (
        SELECT id, debit_account_id, credit_account_id, currency_code, amount, leg_account_ids, leg_amounts
        FROM transactions WHERE id = ids.id AND state = ${TRANSACTION_STATE.POSTED} OFFSET 0
      ) o ON true
    ), reversal AS MATERIALIZED (
      SELECT t.* FROM reversed CROSS JOIN LATERAL (
        SELECT * FROM transactions WHERE reverses_id = reversed.reverses_id AND state = ${TRANSACTION_STATE.POSTED} OFFSET 0
      ) t
    )
    SELECT r.reverses_id::text AS subject, CASE WHEN o.id IS NULL THEN 'it is reversed and does not exist'
      ELSE format('%s %s of %s are reversed', sum(r.amount), r.currency_code, o.amount) END AS detail
    FROM reversal r JOIN reversed o ON o.reverses_id = r.reverses_id
    GROUP BY r.reverses_id, r.currency_code, o.id, o.amount, o.currency_code
    HAVING o.id IS NULL OR sum(r.amount) > o.amount OR r.currency_code <> o.currency_code
    UNION ALL
    SELECT r.id::text, format('it reverses %s, and moves between other accounts', o.id)
    FROM reversal r JOIN reversed o ON o.id = r.reverses_id
    WHERE r.debit_account_id <> o.credit_account_id OR r.credit_account_id <> o.debit_account_id
    UNION ALL
    SELECT r.reverses_id::text, format('more of its legs on account %s is reversed than there is', r.account_id)
    FROM (
      SELECT reverses_id, leg.account_id, leg.amount > 0 AS is_debit, sum(abs(leg.amount)) AS total
      FROM reversal CROSS JOIN LATERAL unnest(leg_account_ids, leg_amounts) AS leg (account_id, amount) GROUP BY 1, 2, 3
    ) r LEFT JOIN (
      SELECT id, leg.account_id, leg.amount > 0 AS is_debit, sum(abs(leg.amount)) AS total
      FROM reversed CROSS JOIN LATERAL unnest(leg_account_ids, leg_amounts) AS leg (account_id, amount) GROUP BY 1, 2, 3
    ) o ON o.id = r.reverses_id AND o.account_id = r.account_id AND o.is_debit <> r.is_debit
    WHERE o.id IS NULL OR r.total > o.total`,
  // Costs what the windows of the touched accounts hold.
  VELOCITY_MATCHES_TRANSACTIONS: () => `
    SELECT l.account_id::text AS subject, format('limit %s: %s and %s transactions are counted, the books have %s to %s and %s to %s',
      l.name, l.amount, l.count, l.least_amount, l.most_amount, l.least_count, l.most_count) AS detail
    FROM (${VELOCITY_SINCE}) l
    WHERE (${IS_SUMMED} AND l.amount NOT BETWEEN l.least_amount AND l.most_amount)
      OR l.count NOT BETWEEN l.least_count AND l.most_count
    UNION ALL
    SELECT book.id::text, format('usage of a limit %s that it does not have', u.name)
    FROM book CROSS JOIN LATERAL (SELECT name FROM velocity_usage WHERE account_id = book.id OFFSET 0) u
    WHERE NOT coalesce(jsonb_path_exists(book.velocity_limits::jsonb, '$[*] ? (@.name == $name)', jsonb_build_object('name', u.name)), false)`,
  RUN_MATCHES_TRANSACTION: () => `
    , run AS MATERIALIZED (${RUNS})
    SELECT r.id::text AS subject, CASE WHEN s.id IS NULL THEN 'it is of no schedule' WHEN t.id IS NULL THEN 'its transaction is missing'
      ELSE format('transaction %s is not what it made', t.id) END AS detail
    FROM run r
    LEFT JOIN LATERAL (SELECT * FROM schedules WHERE id = r.schedule_id OFFSET 0) s ON true
    LEFT JOIN LATERAL (SELECT * FROM transactions WHERE id = r.transaction_id OFFSET 0) t ON true
    WHERE s.id IS NULL OR t.id IS NULL
      OR (t.caller, t.request_id, t.kind, t.debit_account_id, t.credit_account_id, t.currency_code)
        IS DISTINCT FROM ('${LEDGER_CALLER}'::uuid, r.request_id, s.kind, s.debit_account_id, s.credit_account_id, s.currency_code)
      OR t.effective_time IS DISTINCT FROM r.planned_time
      OR t.amount > s.amount OR (t.amount < s.amount AND NOT s.is_up_to)
      OR (t.state = ${TRANSACTION_STATE.POSTED}) <> (r.state = ${RUN_STATE.POSTED})
    UNION ALL
    SELECT transaction_id::text, format('%s runs tell of this transaction', count(*))
    FROM run GROUP BY transaction_id HAVING count(*) > 1`,
  // Costs what the schedules have run so far that ran anew.
  SCHEDULE_COUNTS_RUNS: () => `
    SELECT s.id::text AS subject, format('it counts %s runs and %s tries of the next, there are %s and %s', s.run_count, s.tries,
      r.ended, r.tries) AS detail
    FROM (SELECT schedule_id AS id FROM (${RUNS}) r UNION SELECT id FROM record) ids
    CROSS JOIN LATERAL (SELECT * FROM schedules WHERE id = ids.id OFFSET 0) s
    CROSS JOIN LATERAL (
      SELECT count(*) FILTER (WHERE state <> ${RUN_STATE.RETRYING}) AS ended,
        coalesce(sum(attempts) FILTER (WHERE state = ${RUN_STATE.RETRYING}), 0) AS tries
      FROM schedule_runs WHERE schedule_id = s.id
    ) r
    WHERE s.run_count <> r.ended OR s.tries <> r.tries`,
  ALERT_MATCHES_ENTRIES: () => `
    , step AS (
      -- The entries of one transaction are one step.
      SELECT DISTINCT ON (account_id, journal_index) * FROM entry ORDER BY account_id, journal_index, sequence DESC
    ), crossed AS MATERIALIZED (
      SELECT * FROM (
        SELECT a.id AS alert_id, a.threshold, a.direction AS wanted, a.start_index, a.end_index, e.sequence, e.transaction_id,
          e.journal_index, e.create_time, e.is_new, ${WATCHED} AS watched_after,
          coalesce(lag(${WATCHED}) OVER (PARTITION BY a.id ORDER BY e.sequence), 0) AS watched_before
        FROM (
          SELECT a.* FROM book CROSS JOIN LATERAL (SELECT * FROM balance_alerts WHERE account_id = book.id OFFSET 0) a
        ) a JOIN step e ON e.account_id = a.account_id
      ) e CROSS JOIN LATERAL (
        SELECT CASE WHEN e.watched_after < e.threshold THEN ${ALERT_DIRECTION.DOWN} ELSE ${ALERT_DIRECTION.UP} END AS direction
      ) way
      WHERE e.is_new AND e.journal_index > e.start_index AND (e.end_index IS NULL OR e.journal_index < e.end_index)
        AND e.journal_index < (SELECT next_index FROM reader_cursors WHERE name = 'balance_alerts')
        AND (e.watched_before < e.threshold) <> (e.watched_after < e.threshold)
        AND e.wanted IN (way.direction, ${ALERT_DIRECTION.BOTH})
    )
    SELECT x.alert_id::text AS subject, format('it has not noted what entry %s crossed', x.sequence) AS detail
    FROM crossed x WHERE NOT EXISTS (
      SELECT FROM balance_alert_events v WHERE v.alert_id = x.alert_id AND v.sequence = x.sequence
        AND v.transaction_id = x.transaction_id AND v.journal_index = x.journal_index AND v.direction = x.direction
        AND v.balance_before = x.watched_before AND v.balance_after = x.watched_after AND v.create_time = x.create_time OFFSET 0)
    UNION ALL
    -- What was noted since, also of entries before.
    SELECT v.alert_id::text, format('event %s is not what entry %s crossed', v.id, v.sequence)
    FROM record r
    CROSS JOIN LATERAL (SELECT * FROM balance_alert_events WHERE id = r.id OFFSET 0) v
    LEFT JOIN LATERAL (SELECT * FROM balance_alerts WHERE id = v.alert_id OFFSET 0) a ON true
    LEFT JOIN LATERAL (
      SELECT transaction_id, journal_index, create_time, ${WATCHED} AS watched_after,
        coalesce((
          SELECT ${WATCHED} FROM entries WHERE account_id = a.account_id AND sequence < v.sequence AND journal_index < of_event.journal_index
          ORDER BY sequence DESC LIMIT 1
        ), 0) AS watched_before,
        EXISTS (
          SELECT FROM entries WHERE account_id = a.account_id AND sequence = v.sequence + 1 AND journal_index = of_event.journal_index
        ) AS is_inner
      FROM entries of_event WHERE account_id = a.account_id AND sequence = v.sequence OFFSET 0
    ) e ON true
    WHERE r.type = ${RECORD_TYPE.BALANCE_ALERT_CROSSED}
      AND ((e.transaction_id, e.journal_index, e.create_time, e.watched_before, e.watched_after)
        IS DISTINCT FROM (v.transaction_id, v.journal_index, v.create_time, v.balance_before, v.balance_after)
        OR e.is_inner OR e.journal_index <= a.start_index OR e.journal_index >= a.end_index
        OR (e.watched_before < a.threshold) = (e.watched_after < a.threshold)
        OR a.direction NOT IN (v.direction, ${ALERT_DIRECTION.BOTH})
        OR v.direction <> CASE WHEN e.watched_after < a.threshold THEN ${ALERT_DIRECTION.DOWN} ELSE ${ALERT_DIRECTION.UP} END)`,
};
