import type { Uuid } from "../../base/ids.js";
import { toIso, type Micros } from "../../base/time.js";
import type { Queryable } from "../../db/database.js";
import type { AccountStateRow } from "../../entities/account.js";

/** A moment in the past: a record time or a journal index, both inclusive. */
export type AsOf = { readonly recordTime: Micros } | { readonly journalIndex: bigint };

/** An account's balance and pending sums at a moment. */
export type PastAccount = Pick<
  AccountStateRow,
  "id" | "systemAccount" | "currencyCode" | "normalSide" | "balance" | "pendingDebits" | "pendingCredits" | "sequence"
>;

// Each entry has the account's sums after it, and is found by binary search: no history is replayed.
const PAST_ACCOUNT = `
SELECT a.id, a.system_account, a.currency_code, a.normal_side, coalesce(e.balance_after, 0) AS balance,
  coalesce(e.pending_debits_after, 0) AS pending_debits, coalesce(e.pending_credits_after, 0) AS pending_credits,
  coalesce(e.sequence, 0) AS sequence
FROM accounts a
LEFT JOIN entries e ON e.account_id = a.id AND e.sequence = entry_sequence_before_index(a.id, $2)
WHERE a.id = $1`;

const INDEX_AFTER_TIME = "SELECT journal_index_from_time($1::timestamptz + interval '1 microsecond') AS index";

/** Finds the account as it was at the moment; undefined when there is no such account. */
export async function findPastAccount(client: Queryable, id: Uuid, asOf: AsOf): Promise<PastAccount | undefined> {
  const { rows } = await client.query<{
    id: Uuid;
    system_account: string | null;
    currency_code: string;
    normal_side: PastAccount["normalSide"];
    balance: bigint;
    pending_debits: bigint;
    pending_credits: bigint;
    sequence: bigint;
  }>({ name: "account-past", text: PAST_ACCOUNT, values: [id, await findIndexAfter(client, asOf)] });
  const [row] = rows;
  return row === undefined
    ? undefined
    : {
        id: row.id,
        systemAccount: row.system_account,
        currencyCode: row.currency_code,
        normalSide: row.normal_side,
        balance: row.balance,
        pendingDebits: row.pending_debits,
        pendingCredits: row.pending_credits,
        sequence: row.sequence,
      };
}

/** Finds the journal index of the first record after the moment. */
async function findIndexAfter(client: Queryable, asOf: AsOf): Promise<bigint> {
  if ("journalIndex" in asOf) return asOf.journalIndex === INDEX_MAX ? INDEX_MAX : asOf.journalIndex + 1n;
  const { rows } = await client.query<{ index: bigint }>({
    name: "journal-index-after-time",
    text: INDEX_AFTER_TIME,
    values: [toIso(asOf.recordTime)],
  });
  return rows[0]?.index ?? 0n;
}

const INDEX_MAX = 2n ** 63n - 1n;
