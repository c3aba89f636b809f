import type { Queryable } from "../../db/database.js";
import { RECORD_TYPE } from "../../entities/journal.js";

/**
 * The rows that a check reads: the whole ledger, or what is new since a place in the journal together with the state right
 * before it. Laws are written over these sources; each is what stands after FROM or JOIN, before an alias.
 */
export interface Scope {
  /** The WITH clause that defines the sources, and its values; every query of the scope begins with it. */
  readonly definitions: string;
  readonly values: readonly (string | null)[];
  /** The first journal record in the scope. */
  readonly firstIndex: bigint;
  /** The first record of that record's batch. */
  readonly firstBatchIndex: bigint;
  /** The rows of accounts. */
  readonly accounts: string;
  /**
   * Accounts with what their latest entries say, and `sequence_before`, the sequence of their last entry before the scope; 0 for none.
   * Costs a search for each account.
   */
  readonly accountStates: string;
  readonly entries: string;
  /** The entries, and each account's last one before the scope, for which `is_prior` is true. */
  readonly entriesAndPrior: string;
  /** Journal records: `id`, `type`, `index`. */
  readonly records: string;
  readonly batches: string;
  /** Transactions that the journal's records name. */
  readonly transactions: string;
  /** Those, and transactions that only entries name. */
  readonly transactionsOfEntries: string;
  /** Transactions that were recorded, or whose metadata was changed. */
  readonly labelledTransactions: string;
  /** Returns what follows JOIN to find the rows of a table that match another row: a plain join, or a look-up by key. */
  readonly lookUp: (table: string, alias: string, condition: string) => string;
  /**
   * Returns the source of a table's rows: all, or those that the condition finds by key.
   * @param keys a query without duplicates
   * @param condition of the table's columns and of the query's row, `known`
   */
  readonly rowsOf: (table: string, keys: string, condition: string) => string;
  /** Returns the fragment of this scope, for where one text cannot serve both. */
  readonly choose: (whole: string, since: string) => string;
}

export const WHOLE_LEDGER: Scope = {
  definitions: "",
  values: [],
  firstIndex: 0n,
  firstBatchIndex: 0n,
  accounts: "accounts",
  accountStates: "(SELECT *, 0::bigint AS sequence_before FROM account_states)",
  entries: "entries",
  entriesAndPrior: "(SELECT *, false AS is_prior FROM entries)",
  records: `(
    SELECT r.id, r.type, first_index + r.position - 1 AS index
    FROM journal_batches, unnest(record_ids, record_types) WITH ORDINALITY AS r (id, type, position)
  )`,
  batches: "journal_batches",
  transactions: "transactions",
  transactionsOfEntries: "transactions",
  labelledTransactions: "transactions",
  lookUp: (table, alias, condition) => `${table} ${alias} ON ${condition}`,
  rowsOf: (table) => table,
  choose: (whole) => whole,
};

/** The types of the records of posted and rejected transactions. */
export const TRANSACTION_RECORDS = `${RECORD_TYPE.TRANSACTION_POSTED}, ${RECORD_TYPE.TRANSACTION_REJECTED}`;

// OFFSET 0 has each row looked up by its key: as a plain join the planner, which does not know how little is new, may read
// whole tables for a few records.
const lookUpRow = (table: string, alias: string, condition: string): string =>
  `LATERAL (SELECT * FROM ${table} ${alias} WHERE ${condition} OFFSET 0) ${alias}`;

const lookUpRows = (table: string, keys: string, condition: string): string =>
  `(SELECT found.* FROM (${keys}) known CROSS JOIN ${lookUpRow(table, "found", condition)})`;

/** Lets a check's statement run for a day, in ms, before the driver gives it up: how long it takes grows with the ledger. */
export const ENDLESS = { query_timeout: 86_400_000 };

/** Returns the scope of a check from this journal record on; 0 for the whole ledger. */
export async function findScope(client: Queryable, from: bigint): Promise<Scope> {
  return from === 0n ? WHOLE_LEDGER : findScopeSince(client, from);
}

// What is new is found from the journal's end, by keys: the batches, the transactions that they name, the accounts that these
// touch, and the accounts' entries from the last old one on, whose place is searched for once, for all laws.
async function findScopeSince(client: Queryable, firstIndex: bigint): Promise<Scope> {
  const batch = await client.query<{ index: bigint | null }>({
    text: "SELECT max(first_index) AS index FROM journal_batches WHERE first_index <= $1",
    values: [firstIndex],
  });
  const firstBatchIndex = batch.rows[0]?.index ?? 0n;
  const transactionIds = `SELECT DISTINCT id FROM new_record WHERE type IN (${TRANSACTION_RECORDS})`;
  const recorded = `
    WITH new_record AS MATERIALIZED (
      SELECT r.id, r.type, b.first_index + r.position - 1 AS index
      FROM journal_batches b CROSS JOIN LATERAL unnest(b.record_ids, b.record_types) WITH ORDINALITY AS r (id, type, position)
      WHERE b.first_index >= ${firstBatchIndex} AND b.first_index + r.position - 1 >= ${firstIndex}
    ), new_transaction AS MATERIALIZED (
      SELECT * FROM ${lookUpRows("transactions", transactionIds, "id = known.id")} t
    )`;
  const touched = await client.query<{ ids: string | null; sequences: string | null }>({
    text: `${recorded}
    SELECT array_agg(id)::text AS ids, array_agg(entry_sequence_before_index(id, ${firstIndex}))::text AS sequences FROM (
      SELECT debit_account_id AS id FROM new_transaction UNION SELECT credit_account_id FROM new_transaction
      UNION SELECT unnest(leg_account_ids) FROM new_transaction
      UNION SELECT id FROM new_record WHERE type NOT IN (${TRANSACTION_RECORDS})
      UNION SELECT h.to_account_id FROM new_transaction t JOIN ${lookUpRow("holds", "h", "h.id = t.hold_id")} ON true
    ) ids WHERE id IS NOT NULL`,
    ...ENDLESS,
  });
  const definitions = `${recorded}, touched AS MATERIALIZED (
      SELECT * FROM unnest($1::uuid[], $2::bigint[]) AS t (id, sequence_before)
    ), touched_account AS MATERIALIZED (
      SELECT a.*, sequence_before FROM touched JOIN ${lookUpRow("account_states", "a", "a.id = touched.id")} ON true
    ), touched_entry AS MATERIALIZED (
      SELECT e.*, e.sequence = sequence_before AS is_prior FROM touched
      JOIN ${lookUpRow("entries", "e", "e.account_id = touched.id AND e.sequence >= sequence_before")} ON true
    )`;
  return {
    definitions,
    values: [touched.rows[0]?.ids ?? null, touched.rows[0]?.sequences ?? null],
    firstIndex,
    firstBatchIndex,
    accounts: "touched_account",
    accountStates: "touched_account",
    entries: "(SELECT * FROM touched_entry WHERE NOT is_prior)",
    entriesAndPrior: "touched_entry",
    records: "new_record",
    batches: `(SELECT * FROM journal_batches WHERE first_index >= ${firstBatchIndex})`,
    transactions: "new_transaction",
    transactionsOfEntries: `(
      SELECT * FROM new_transaction UNION ALL
      SELECT * FROM ${lookUpRows(
        "transactions",
        "SELECT transaction_id AS id FROM touched_entry WHERE NOT is_prior EXCEPT SELECT id FROM new_record",
        "id = known.id",
      )} unrecorded
    )`,
    labelledTransactions: lookUpRows(
      "transactions",
      `SELECT DISTINCT id FROM new_record WHERE type IN (${TRANSACTION_RECORDS}, ${RECORD_TYPE.TRANSACTION_METADATA_SET})`,
      "id = known.id",
    ),
    lookUp: (table, alias, condition) => `${lookUpRow(table, alias, condition)} ON true`,
    rowsOf: lookUpRows,
    choose: (_whole, since) => since,
  };
}
