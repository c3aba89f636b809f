import { assertPresent } from "../../base/assert.js";
import type { Uuid } from "../../base/ids.js";
import { uuidArray } from "../../db/binary-array.js";
import type { Queryable } from "../../db/database.js";
import { RECORD_TYPE } from "../../entities/journal.js";
import { readRecords, type PlacedRecord } from "../../journal/read.js";
import { findTransactions } from "../transaction/store.js";
import { listAccounts, type LedgerTransaction } from "../transaction/transaction.js";

/** A journal record, with the transaction that it records, if any. */
export interface WatchedRecord extends PlacedRecord {
  readonly transaction: LedgerTransaction | undefined;
}

/** Consecutive journal records. */
export interface JournalPage {
  /** The journal index of the first record. */
  readonly first: bigint;
  /** The journal index after the last record. */
  readonly end: bigint;
  readonly records: readonly WatchedRecord[];
  /** The sum of measureRecord() over the records. */
  readonly weight: number;
  /** The accounts of the transactions, and the subjects of all other records. */
  readonly subjectIds: ReadonlySet<Uuid>;
  /** The owner of each wallet that was created. */
  readonly newWalletOwners: ReadonlyMap<Uuid, Uuid>;
}

/** The weight at which a page ends early. */
const PAGE_WEIGHT_MAX = 10_000;

const LEGS_OF_A_MOVEMENT = 2;

/** Returns the weight of a record, which stands for its memory: the number of its transaction's legs. */
export function measureRecord({ transaction }: WatchedRecord): number {
  return transaction?.legs?.length ?? LEGS_OF_A_MOVEMENT;
}

/** Reads the records from `first`, inclusive, to `before`, exclusive: fewer when they exceed PAGE_WEIGHT_MAX, but at least one. */
export async function readPage(client: Queryable, first: bigint, before: bigint): Promise<JournalPage> {
  const { records, weight } = await takePage(client, await readRecords(client, first, before));
  const found = await findTransactions(client, listTransactionIds(records));
  const subjectIds = new Set<Uuid>();
  const withTransactions = records.map((record) => {
    const transaction = isOfTransaction(record)
      ? assertPresent(found.get(record.id), "a recorded transaction")
      : undefined;
    for (const id of transaction === undefined ? [record.id] : listAccounts(transaction)) subjectIds.add(id);
    return { ...record, transaction };
  });
  const newWalletIds = records.filter(({ type }) => type === RECORD_TYPE.WALLET_CREATED).map(({ id }) => id);
  const end = first + BigInt(records.length);
  return {
    first,
    end,
    records: withTransactions,
    weight,
    subjectIds,
    newWalletOwners: await findOwners(client, newWalletIds),
  };
}

const LEG_COUNTS = `
SELECT id, cardinality(leg_account_ids) AS legs FROM transactions WHERE id = ANY ($1::uuid[])`;

/** Takes the first records, up to PAGE_WEIGHT_MAX. */
async function takePage(
  client: Queryable,
  records: readonly PlacedRecord[],
): Promise<{ readonly records: readonly PlacedRecord[]; readonly weight: number }> {
  const { rows } = await client.query<{ id: Uuid; legs: number | null }>({
    name: "legs-counted",
    text: LEG_COUNTS,
    values: [uuidArray(listTransactionIds(records))],
  });
  const legs = new Map(rows.map((row) => [row.id, row.legs]));
  let weight = 0;
  for (const [position, { id }] of records.entries()) {
    const more = legs.get(id) ?? LEGS_OF_A_MOVEMENT;
    if (position > 0 && weight + more > PAGE_WEIGHT_MAX) return { records: records.slice(0, position), weight };
    weight += more;
  }
  return { records, weight };
}

function listTransactionIds(records: readonly PlacedRecord[]): readonly Uuid[] {
  return records.filter(isOfTransaction).map(({ id }) => id);
}

function isOfTransaction({ type }: PlacedRecord): boolean {
  return type === RECORD_TYPE.TRANSACTION_POSTED || type === RECORD_TYPE.TRANSACTION_REJECTED;
}

async function findOwners(client: Queryable, walletIds: readonly Uuid[]): Promise<Map<Uuid, Uuid>> {
  if (walletIds.length === 0) return new Map();
  const { rows } = await client.query<{ id: Uuid; user_id: Uuid }>({
    name: "wallet-owners",
    text: "SELECT id, user_id FROM wallets WHERE id = ANY($1::uuid[])",
    values: [uuidArray(walletIds)],
  });
  return new Map(rows.map((row) => [row.id, row.user_id]));
}
