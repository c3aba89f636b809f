import { LEDGER_CALLER } from "../../base/ids.js";
import { AMOUNT_MAX } from "../../base/money.js";
import { ALERT_BALANCE, ALERT_DIRECTION } from "../../entities/alert.js";
import { RECORD_TYPE } from "../../entities/journal.js";
import { REQUEST_METHOD } from "../../entities/request.js";
import { HOLD_STATE } from "../../base/codes.js";
import { COUNTED_KINDS } from "../account/velocity.js";
import { RUN_STATE } from "../../entities/schedule.js";
import { TRANSACTION_KIND, TRANSACTION_STATE } from "../../base/codes.js";

/** The laws of the books; each is documented in grey.ledger.v1.IntegrityLaw. */
export type Law = keyof typeof LAWS;

/** What a transaction moves: steps of holds other than captures only change what is pending. */
export const MOVED = `CASE WHEN t.hold_id IS NULL OR t.kind = ${TRANSACTION_KIND.HOLD_CAPTURE} THEN t.amount ELSE 0 END`;

/** Where a query finds what limits by velocity count. */
interface Counted {
  /** The accounts, as `a`. */
  readonly accounts: string;
  /** What holds for the entries `e` of the account `l.account_id` from the time `u.start` on. */
  readonly entries: string;
  /** The transaction of the entry `e`, as `t`. */
  readonly transactions: string;
}

/**
 * What is counted for each limit by velocity, and what the books have in the same time: at least and at most, because what was
 * recorded at the very moment at which the limit was set may count or not.
 */
export const velocityOf = ({ accounts, entries, transactions }: Counted): string => `
  SELECT l.account_id, l.name, l.max_amount, u.amount, u.count,
    coalesce(sum(m.amount) FILTER (WHERE m.time > u.start), 0) AS least_amount, coalesce(sum(m.amount), 0) AS most_amount,
    coalesce(sum(m.count) FILTER (WHERE m.time > u.start), 0) AS least_count, coalesce(sum(m.count), 0) AS most_count
  FROM (
    SELECT a.id AS account_id, l.value ->> 'name' AS name, l.value ->> 'direction' AS direction, l.value -> 'kinds' AS kinds,
      (l.value ->> 'windowMicros')::bigint AS window_micros, (l.value ->> 'maxAmount') AS max_amount,
      to_timestamp((l.value ->> 'since')::numeric / 1000000) AS since
    FROM ${accounts} CROSS JOIN LATERAL jsonb_array_elements(a.velocity_limits::jsonb) AS l (value)
    WHERE a.velocity_limits IS NOT NULL
  ) l
  JOIN LATERAL (
    SELECT coalesce(sum(amount), 0) AS amount, coalesce(sum(count), 0) AS count,
      greatest(l.since, to_timestamp(min(slice) * (l.window_micros / 100)::numeric / 1000000)) AS start
    FROM velocity_usage u WHERE u.account_id = l.account_id AND u.name = l.name
  ) u ON true
  LEFT JOIN LATERAL (
    SELECT t.create_time AS time,
      CASE t.kind WHEN ${TRANSACTION_KIND.HOLD_INCREASE} THEN 0 ELSE 1 END AS count,
      CASE WHEN t.leg_account_ids IS NULL THEN t.amount ELSE (
        SELECT sum(abs(leg.amount)) FROM unnest(t.leg_account_ids, t.leg_amounts) AS leg (account_id, amount)
        WHERE leg.account_id = l.account_id AND (leg.amount > 0) = (l.direction = 'OUTGOING')) END AS amount
    FROM (
      SELECT DISTINCT transaction_id FROM entries e
      WHERE e.account_id = l.account_id AND ${entries}
        -- A step of a hold has an entry on the account that it is for; its side is in the transaction.
        AND (e.amount = 0 OR (e.amount > 0) = (l.direction = 'OUTGOING'))
    ) e ${transactions}
    LEFT JOIN holds h ON h.id = t.hold_id
    WHERE (t.leg_account_ids IS NOT NULL OR l.account_id = CASE l.direction WHEN 'OUTGOING' THEN t.debit_account_id ELSE t.credit_account_id END)
      AND t.kind IN (${[...COUNTED_KINDS, TRANSACTION_KIND.HOLD_INCREASE].join(", ")})
      AND (t.kind <> ${TRANSACTION_KIND.HOLD_CAPTURE} OR (l.direction = 'INCOMING' AND h.to_account_id IS NULL AND t.amount > 0))
      AND (jsonb_array_length(l.kinds) = 0
        OR l.kinds @> to_jsonb((CASE t.kind WHEN ${TRANSACTION_KIND.HOLD_INCREASE} THEN ${TRANSACTION_KIND.HOLD} ELSE t.kind END)::int))
  ) m ON true
  GROUP BY l.account_id, l.name, l.max_amount, u.amount, u.count`;

/** Whether the amounts that a limit counts are an exact sum: without a maximum, what exceeds int64 is counted as its highest number. */
export const IS_SUMMED = `l.max_amount IS NOT NULL AND l.amount < ${AMOUNT_MAX}`;

const VELOCITY = velocityOf({
  accounts: "accounts a",
  entries: "e.create_time >= u.start",
  transactions: "JOIN transactions t ON t.id = e.transaction_id",
});

/** The balance that an alert watches, after an entry. */
export const WATCHED = `balance_after - CASE a.balance WHEN ${ALERT_BALANCE.AVAILABLE} THEN coalesce(pending_debits_after, 0) ELSE 0 END`;

/** The metadata of each transaction that was changed, since its latest change. */
const LATEST_CHANGES = `
  SELECT DISTINCT ON (transaction_id) transaction_id, metadata FROM metadata_changes ORDER BY transaction_id, revision DESC`;

/** Each law is a query for what breaks it: subject and detail. */
export const LAWS = {
  TRANSACTION_BALANCED: `
    SELECT transaction_id::text AS subject,
      format('entries in %s sum to %s', currency_code, sum(amount)) AS detail
    FROM entries JOIN accounts ON accounts.id = account_id
    GROUP BY transaction_id, currency_code HAVING sum(amount) <> 0`,
  ENTRIES_MATCH_STATE: `
    SELECT t.id::text AS subject, format('state %s with %s entries', t.state, count(e.transaction_id)) AS detail
    FROM transactions t LEFT JOIN entries e ON e.transaction_id = t.id
    GROUP BY t.id
    HAVING count(e.transaction_id) <> CASE
      WHEN t.state <> ${TRANSACTION_STATE.POSTED} THEN 0
      WHEN t.leg_account_ids IS NOT NULL THEN cardinality(t.leg_account_ids)
      WHEN t.hold_id IS NULL THEN 2
      -- A hold may be for nobody in particular.
      ELSE 1 + num_nonnulls(t.credit_sequence) END
    UNION ALL
    SELECT t.id::text, format('%s entry %s of account %s is missing or has another amount', side, sequence, account_id)
    FROM transactions t CROSS JOIN LATERAL (VALUES
      ('debit', debit_account_id, debit_sequence, ${MOVED}), ('credit', credit_account_id, credit_sequence, -${MOVED})
    ) AS named (side, account_id, sequence, expected)
    WHERE named.sequence IS NOT NULL AND NOT EXISTS (
      SELECT FROM entries e WHERE e.account_id = named.account_id AND e.sequence = named.sequence
        AND e.transaction_id = t.id AND e.amount = named.expected AND e.journal_index = t.journal_index)
    UNION ALL
    SELECT t.id::text, format('entry %s of account %s is missing or is not its leg', leg.sequence, leg.account_id)
    FROM transactions t CROSS JOIN LATERAL unnest(t.leg_account_ids, t.leg_amounts, t.leg_sequences)
      AS leg (account_id, amount, sequence)
    WHERE t.state = ${TRANSACTION_STATE.POSTED} AND NOT EXISTS (
      SELECT FROM entries e WHERE e.account_id = leg.account_id AND e.sequence = leg.sequence
        AND e.transaction_id = t.id AND e.amount = leg.amount AND e.journal_index = t.journal_index)
    UNION ALL
    -- The legs of a refused transaction are listed by its accounts, those of a posted one are not.
    SELECT coalesce(t.id, r.transaction_id)::text, 'its refused legs are not those that it is listed by'
    FROM (
      SELECT DISTINCT id, journal_index, unnest(leg_account_ids) AS account_id FROM transactions
      WHERE state = ${TRANSACTION_STATE.REJECTED}
    ) t FULL JOIN rejected_legs r
      ON r.transaction_id = t.id AND r.journal_index = t.journal_index AND r.account_id = t.account_id
    WHERE t.id IS NULL OR r.transaction_id IS NULL`,
  BALANCE_IS_SUM_OF_ENTRIES: `
    SELECT a.id::text AS subject, format('balance is %s, entries sum to %s', a.balance,
      coalesce(e.total, 0) * CASE WHEN a.normal_side = 1 THEN 1 ELSE -1 END) AS detail
    FROM accounts a LEFT JOIN (SELECT account_id, sum(amount) AS total FROM entries GROUP BY account_id) e ON e.account_id = a.id
    WHERE a.balance <> coalesce(e.total, 0) * CASE WHEN a.normal_side = 1 THEN 1 ELSE -1 END`,
  SEQUENCE_DENSE: `
    SELECT a.id::text AS subject,
      format('sequence is %s, with %s entries up to %s', a.sequence, coalesce(e.n, 0), coalesce(e.last, 0)) AS detail
    FROM accounts a LEFT JOIN (
      SELECT account_id, count(*) AS n, max(sequence) AS last FROM entries GROUP BY account_id
    ) e ON e.account_id = a.id
    WHERE a.sequence <> coalesce(e.n, 0) OR a.sequence <> coalesce(e.last, 0)`,
  RUNNING_BALANCE: `
    SELECT account_id::text AS subject, format('entry %s: balance after it is %s, not %s', sequence, balance_after, expected) AS detail
    FROM (
      SELECT e.account_id, e.sequence, e.balance_after,
        coalesce(lag(e.balance_after) OVER w, 0)::numeric + e.amount * CASE WHEN a.normal_side = 1 THEN 1 ELSE -1 END AS expected
      FROM entries e JOIN accounts a ON a.id = e.account_id
      WINDOW w AS (PARTITION BY e.account_id ORDER BY e.sequence)
    ) run WHERE balance_after <> expected
    UNION ALL
    SELECT account_id::text, format('entry %s stands before its predecessor in the journal or in time', sequence)
    FROM (
      SELECT account_id, sequence, journal_index, create_time, transaction_id, lag(transaction_id) OVER w AS previous_id,
        lag(journal_index) OVER w AS previous_index, lag(create_time) OVER w AS previous_time
      FROM entries WINDOW w AS (PARTITION BY account_id ORDER BY sequence)
    -- A transaction may have several entries on an account.
    ) ordered WHERE journal_index < previous_index OR (journal_index = previous_index AND transaction_id <> previous_id)
      OR create_time < previous_time`,
  WITHIN_LIMITS: `
    SELECT id::text AS subject, format('balance %s is outside of %s to %s', balance, coalesce(min_balance::text, 'any'),
      coalesce(max_balance::text, 'any')) AS detail
    FROM accounts WHERE balance < min_balance OR balance > max_balance`,
  CURRENCY_SUMS_TO_ZERO: `
    SELECT currency_code::text AS subject, format('balances sum to %s', total) AS detail
    FROM (
      SELECT currency_code, sum(balance * CASE WHEN normal_side = 1 THEN 1 ELSE -1 END::numeric) AS total
      FROM accounts GROUP BY currency_code
    ) sums WHERE total <> 0`,
  ENTRY_HAS_OWNERS: `
    SELECT e.transaction_id::text AS subject, format('entry %s of account %s has no %s', e.sequence, e.account_id,
      CASE WHEN t.id IS NULL THEN 'transaction' WHEN a.id IS NULL THEN 'account' ELSE 'account of its currency' END) AS detail
    FROM entries e LEFT JOIN transactions t ON t.id = e.transaction_id LEFT JOIN accounts a ON a.id = e.account_id
    LEFT JOIN (
      SELECT id, leg.* FROM transactions
      CROSS JOIN LATERAL unnest(leg_account_ids, leg_sequences, leg_currency_codes) AS leg (account_id, sequence, currency_code)
      WHERE leg_sequences IS NOT NULL
    ) leg ON leg.id = e.transaction_id AND leg.account_id = e.account_id AND leg.sequence = e.sequence
    WHERE t.id IS NULL OR a.id IS NULL
      OR a.currency_code IS DISTINCT FROM CASE WHEN t.leg_account_ids IS NULL THEN t.currency_code ELSE leg.currency_code END`,
  JOURNAL_DENSE: `
    SELECT first_index::text AS subject, format('expected index %s', expected) AS detail
    FROM (
      SELECT first_index, coalesce(lag(first_index + cardinality(record_ids)) OVER (ORDER BY first_index), 0) AS expected
      FROM journal_batches
    ) run WHERE first_index <> expected
    UNION ALL
    SELECT h.size::text, format('the head says %s records, there are %s', h.size, b.size)
    FROM journal_head h, (SELECT coalesce(sum(cardinality(record_ids)), 0) AS size FROM journal_batches) b
    WHERE h.size <> b.size`,
  TRANSACTION_IN_JOURNAL: `
    SELECT coalesce(t.id::text, r.id::text) AS subject,
      format('journal index %s, its record is at %s', coalesce(t.journal_index::text, '(no transaction)'), coalesce(r.index::text, 'no index')) AS detail
    FROM transactions t FULL JOIN (
      SELECT id, type, first_index + position - 1 AS index
      FROM journal_batches, unnest(record_ids, record_types) WITH ORDINALITY AS record (id, type, position)
      WHERE type IN (${RECORD_TYPE.TRANSACTION_POSTED}, ${RECORD_TYPE.TRANSACTION_REJECTED})
    ) r ON r.id = t.id AND r.index = t.journal_index
      AND r.type = CASE WHEN t.state = ${TRANSACTION_STATE.POSTED} THEN ${RECORD_TYPE.TRANSACTION_POSTED} ELSE ${RECORD_TYPE.TRANSACTION_REJECTED} END
    WHERE t.id IS NULL OR r.id IS NULL`,
  REQUEST_ONCE: `
    SELECT t.id::text AS subject, 'no request made this transaction' AS detail
    FROM transactions t LEFT JOIN requests r ON r.caller = t.caller AND r.request_id = t.request_id AND r.transaction_id = t.id
    WHERE r.transaction_id IS NULL
    UNION ALL
    SELECT r.request_id::text, format('its transaction %s is missing', coalesce(r.transaction_id::text, '(none)'))
    FROM requests r LEFT JOIN transactions t ON t.id = r.transaction_id AND t.caller = r.caller AND t.request_id = r.request_id
    WHERE t.id IS NULL AND (r.transaction_id IS NOT NULL OR r.method = ${REQUEST_METHOD.POST})`,
  PENDING_IS_SUM_OF_HOLDS: `
    SELECT a.id::text AS subject, format('%s and %s are pending, holds come to %s and %s', a.pending_debits, a.pending_credits,
      coalesce(h.debits, 0), coalesce(h.credits, 0)) AS detail
    FROM accounts a LEFT JOIN (
      SELECT id, sum(debits) AS debits, sum(credits) AS credits FROM (
        SELECT account_id AS id, amount - captured AS debits, 0 AS credits FROM holds WHERE state = ${HOLD_STATE.ACTIVE}
        UNION ALL
        SELECT to_account_id, 0, amount - captured FROM holds
        WHERE state = ${HOLD_STATE.ACTIVE} AND to_account_id IS NOT NULL
      ) sides GROUP BY id
    ) h ON h.id = a.id
    WHERE a.pending_debits <> coalesce(h.debits, 0) OR a.pending_credits <> coalesce(h.credits, 0)
    UNION ALL
    SELECT a.id::text, format('%s and %s are pending, its latest entry says %s and %s', a.pending_debits, a.pending_credits,
      coalesce(e.pending_debits_after, 0), coalesce(e.pending_credits_after, 0))
    FROM accounts a JOIN entries e ON e.account_id = a.id AND e.sequence = a.sequence
    WHERE a.pending_debits <> coalesce(e.pending_debits_after, 0) OR a.pending_credits <> coalesce(e.pending_credits_after, 0)`,
  HOLD_MATCHES_STEPS: `
    SELECT h.id::text AS subject, format('it holds %s, captured %s, state %s; its steps come to %s, %s, %s', h.amount, h.captured,
      h.state, t.amount, t.captured, t.state) AS detail
    FROM holds h LEFT JOIN (
      SELECT DISTINCT ON (hold_id) hold_id, hold_state AS state, hold_expire_time AS expire_time,
        sum(amount) FILTER (WHERE kind IN (${TRANSACTION_KIND.HOLD}, ${TRANSACTION_KIND.HOLD_INCREASE})) OVER w AS amount,
        coalesce(sum(amount) FILTER (WHERE kind = ${TRANSACTION_KIND.HOLD_CAPTURE}) OVER w, 0) AS captured
      FROM transactions WHERE hold_id IS NOT NULL AND state = ${TRANSACTION_STATE.POSTED}
      WINDOW w AS (PARTITION BY hold_id)
      ORDER BY hold_id, journal_index DESC
    ) t ON t.hold_id = h.id
    WHERE t.hold_id IS NULL OR h.amount <> t.amount OR h.captured <> t.captured OR h.state <> t.state
      OR h.expire_time <> t.expire_time
    UNION ALL
    SELECT t.hold_id::text, format('transaction %s is a step of no hold', t.id)
    FROM transactions t LEFT JOIN holds h ON h.id = t.hold_id WHERE t.hold_id IS NOT NULL AND h.id IS NULL`,
  REVERSALS_WITHIN_ORIGINAL: `
    SELECT r.reverses_id::text AS subject, CASE WHEN o.id IS NULL THEN 'it is reversed and does not exist'
      ELSE format('%s %s of %s are reversed', sum(r.amount), r.currency_code, o.amount) END AS detail
    FROM transactions r LEFT JOIN transactions o ON o.id = r.reverses_id AND o.state = ${TRANSACTION_STATE.POSTED}
    WHERE r.reverses_id IS NOT NULL AND r.state = ${TRANSACTION_STATE.POSTED}
    GROUP BY r.reverses_id, r.currency_code, o.id, o.amount, o.currency_code
    HAVING o.id IS NULL OR sum(r.amount) > o.amount OR r.currency_code <> o.currency_code
    UNION ALL
    SELECT r.id::text, format('it reverses %s, and moves between other accounts', o.id)
    FROM transactions r JOIN transactions o ON o.id = r.reverses_id
    WHERE r.state = ${TRANSACTION_STATE.POSTED}
      AND (r.debit_account_id <> o.credit_account_id OR r.credit_account_id <> o.debit_account_id)
    UNION ALL
    SELECT r.reverses_id::text, format('more of its legs on account %s is reversed than there is', r.account_id)
    FROM (
      SELECT reverses_id, leg.account_id, leg.amount > 0 AS is_debit, sum(abs(leg.amount)) AS total
      FROM transactions CROSS JOIN LATERAL unnest(leg_account_ids, leg_amounts) AS leg (account_id, amount)
      WHERE reverses_id IS NOT NULL AND state = ${TRANSACTION_STATE.POSTED} GROUP BY 1, 2, 3
    ) r LEFT JOIN (
      SELECT id, leg.account_id, leg.amount > 0 AS is_debit, sum(abs(leg.amount)) AS total
      FROM transactions CROSS JOIN LATERAL unnest(leg_account_ids, leg_amounts) AS leg (account_id, amount)
      WHERE state = ${TRANSACTION_STATE.POSTED} GROUP BY 1, 2, 3
    ) o ON o.id = r.reverses_id AND o.account_id = r.account_id AND o.is_debit <> r.is_debit
    WHERE o.id IS NULL OR r.total > o.total`,
  VELOCITY_MATCHES_TRANSACTIONS: `
    SELECT l.account_id::text AS subject, format('limit %s: %s and %s transactions are counted, the books have %s to %s and %s to %s',
      l.name, l.amount, l.count, l.least_amount, l.most_amount, l.least_count, l.most_count) AS detail
    FROM (${VELOCITY}) l
    WHERE (${IS_SUMMED} AND l.amount NOT BETWEEN l.least_amount AND l.most_amount)
      OR l.count NOT BETWEEN l.least_count AND l.most_count
    UNION ALL
    SELECT u.account_id::text, format('usage of a limit %s that it does not have', u.name)
    FROM velocity_usage u LEFT JOIN accounts a ON a.id = u.account_id
    WHERE NOT coalesce(jsonb_path_exists(a.velocity_limits::jsonb, '$[*] ? (@.name == $name)', jsonb_build_object('name', u.name)), false)`,
  METADATA_PAIRS_MATCH: `
    SELECT coalesce(t.id, p.transaction_id)::text AS subject,
      format('key %s: its value is %s, it is found by %s', coalesce(t.key, p.key), coalesce(t.value, '(none)'), coalesce(p.value, '(none)')) AS detail
    FROM (
      SELECT t.id, t.journal_index, pair.key, pair.value
      FROM transactions t LEFT JOIN (${LATEST_CHANGES}) c ON c.transaction_id = t.id
      CROSS JOIN LATERAL jsonb_each_text(coalesce(c.metadata, t.metadata)) AS pair
    ) t FULL JOIN transaction_metadata p
      ON p.transaction_id = t.id AND p.journal_index = t.journal_index AND p.key = t.key AND p.value = t.value
    WHERE t.id IS NULL OR p.key IS NULL`,
  METADATA_CHANGES_FOLLOW: `
    SELECT transaction_id::text AS subject, CASE WHEN id IS NULL THEN 'metadata of a transaction that does not exist was changed'
      ELSE format('change %s of its metadata does not follow from what was before', revision) END AS detail
    FROM (
      SELECT c.*, t.id, row_number() OVER w AS expected, coalesce(lag(c.metadata) OVER w, t.metadata, '{}') AS before
      FROM metadata_changes c LEFT JOIN transactions t ON t.id = c.transaction_id
      WINDOW w AS (PARTITION BY c.transaction_id ORDER BY c.revision)
    ) run
    WHERE id IS NULL OR revision <> expected OR metadata <> (before || set_pairs) - removed_keys
    UNION ALL
    SELECT coalesce(c.id, r.id)::text, format('%s changes of its metadata, %s records of them', coalesce(c.count, 0), coalesce(r.count, 0))
    FROM (SELECT transaction_id AS id, count(*) AS count FROM metadata_changes GROUP BY 1) c FULL JOIN (
      SELECT id, count(*) AS count FROM journal_batches, unnest(record_ids, record_types) AS record (id, type)
      WHERE type = ${RECORD_TYPE.TRANSACTION_METADATA_SET} GROUP BY 1
    ) r ON r.id = c.id AND r.count = c.count
    WHERE c.id IS NULL OR r.id IS NULL`,
  DATED_ENTRIES_MATCH: `
    SELECT coalesce(e.transaction_id, d.transaction_id)::text AS subject,
      format('entry %s of account %s is not counted by effective time as it stands', coalesce(e.sequence, d.sequence),
        coalesce(e.account_id, d.account_id)) AS detail
    FROM (
      SELECT e.account_id, e.sequence, e.transaction_id, e.amount, e.create_time, t.effective_time,
        dated_span(e.create_time - t.effective_time) AS span
      FROM transactions t JOIN entries e ON e.transaction_id = t.id
      WHERE t.effective_time IS NOT NULL AND t.state = ${TRANSACTION_STATE.POSTED}
    ) e FULL JOIN dated_entries d ON d.account_id = e.account_id AND d.sequence = e.sequence
      AND d.transaction_id = e.transaction_id AND d.amount = e.amount AND d.create_time = e.create_time
      AND d.effective_time = e.effective_time AND d.span = e.span
    WHERE e.account_id IS NULL OR d.account_id IS NULL`,
  RUN_MATCHES_TRANSACTION: `
    SELECT r.id::text AS subject, CASE WHEN s.id IS NULL THEN 'it is of no schedule' WHEN t.id IS NULL THEN 'its transaction is missing'
      ELSE format('transaction %s is not what it made', t.id) END AS detail
    FROM schedule_runs r LEFT JOIN schedules s ON s.id = r.schedule_id LEFT JOIN transactions t ON t.id = r.transaction_id
    WHERE s.id IS NULL OR t.id IS NULL
      OR (t.caller, t.request_id, t.kind, t.debit_account_id, t.credit_account_id, t.currency_code)
        IS DISTINCT FROM ('${LEDGER_CALLER}'::uuid, r.request_id, s.kind, s.debit_account_id, s.credit_account_id, s.currency_code)
      OR t.effective_time IS DISTINCT FROM r.planned_time
      OR t.amount > s.amount OR (t.amount < s.amount AND NOT s.is_up_to)
      OR (t.state = ${TRANSACTION_STATE.POSTED}) <> (r.state = ${RUN_STATE.POSTED})
    UNION ALL
    SELECT transaction_id::text, format('%s runs tell of this transaction', count(*))
    FROM schedule_runs GROUP BY transaction_id HAVING count(*) > 1`,
  SCHEDULE_COUNTS_RUNS: `
    SELECT s.id::text AS subject, format('it counts %s runs and %s tries of the next, there are %s and %s', s.run_count, s.tries,
      coalesce(r.ended, 0), coalesce(r.tries, 0)) AS detail
    FROM schedules s LEFT JOIN (
      SELECT schedule_id, count(*) FILTER (WHERE state <> ${RUN_STATE.RETRYING}) AS ended,
        sum(attempts) FILTER (WHERE state = ${RUN_STATE.RETRYING}) AS tries
      FROM schedule_runs GROUP BY schedule_id
    ) r ON r.schedule_id = s.id
    WHERE s.run_count <> coalesce(r.ended, 0) OR s.tries <> coalesce(r.tries, 0)`,
  ALERT_MATCHES_ENTRIES: `
    SELECT coalesce(x.alert_id, v.alert_id)::text AS subject, CASE WHEN v.id IS NULL
      THEN format('it has not noted what entry %s crossed', x.sequence)
      ELSE format('event %s is not what entry %s crossed', v.id, v.sequence) END AS detail
    FROM (
      SELECT a.id AS alert_id, e.*, way.direction
      FROM balance_alerts a CROSS JOIN LATERAL (
        SELECT sequence, transaction_id, journal_index, create_time, ${WATCHED} AS watched_after,
          coalesce(lag(${WATCHED}) OVER (ORDER BY sequence), 0) AS watched_before
        FROM (
          -- The entries of one transaction are one step.
          SELECT DISTINCT ON (journal_index) * FROM entries WHERE account_id = a.account_id
          ORDER BY journal_index, sequence DESC
        ) step
      ) e CROSS JOIN LATERAL (
        SELECT CASE WHEN e.watched_after < a.threshold THEN ${ALERT_DIRECTION.DOWN} ELSE ${ALERT_DIRECTION.UP} END AS direction
      ) way
      WHERE e.journal_index > a.start_index AND (a.end_index IS NULL OR e.journal_index < a.end_index)
        AND e.journal_index < (SELECT next_index FROM reader_cursors WHERE name = 'balance_alerts')
        AND (e.watched_before < a.threshold) <> (e.watched_after < a.threshold)
        AND a.direction IN (way.direction, ${ALERT_DIRECTION.BOTH})
    ) x
    FULL JOIN balance_alert_events v ON v.alert_id = x.alert_id AND v.sequence = x.sequence AND v.transaction_id = x.transaction_id
      AND v.journal_index = x.journal_index AND v.direction = x.direction AND v.balance_before = x.watched_before
      AND v.balance_after = x.watched_after AND v.create_time = x.create_time
    WHERE x.alert_id IS NULL OR v.id IS NULL`,
} as const;
