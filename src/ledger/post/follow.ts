import { assertPresent } from "../../base/assert.js";
import type { Uuid } from "../../base/ids.js";
import type { Queryable } from "../../db/database.js";
import { RECORD_TYPE } from "../../entities/journal.js";
import type { JournalHead } from "../../journal/head.js";
import { readAccounts } from "../account/store.js";
import type { Memory, Place } from "./memory.js";

/** The records that are followed; beyond these, reading the accounts again as they are used is less work. */
const RECORDS_MAX = 10_000n;

/**
 * Follows the journal: brings the memory, with nothing sent, up to date with what others have appended.
 * @param head the journal's head, read or locked by this client before
 */
export async function follow(client: Queryable, memory: Memory, head: JournalHead): Promise<void> {
  const known = memory.place;
  if (known?.revision === head.revision) return;
  const { knownLastId, lastId } = await findLastIds(client, known?.size ?? 0n, head.size);
  if (known !== undefined) {
    // A failover may have lost what this process saw.
    const isContinued = knownLastId === known.lastId && head.size >= known.size;
    if (isContinued && head.size - known.size <= RECORDS_MAX) await keepChanged(client, memory, known, head);
    else memory.clear();
  }
  memory.moveTo({ size: head.size, revision: head.revision, accountChanges: head.accountChanges, lastId });
}

async function findLastIds(client: Queryable, knownSize: bigint, size: bigint) {
  const { rows } = await client.query<{ known_id: Uuid | null; id: Uuid | null }>({
    name: "journal-last-ids",
    text: `SELECT (${LAST_ID} WHERE first_index < $1 ORDER BY first_index DESC LIMIT 1) AS known_id,
      (${LAST_ID} WHERE first_index < $2 ORDER BY first_index DESC LIMIT 1) AS id`,
    values: [knownSize, size],
  });
  const row = assertPresent(rows[0], "the last records");
  return { knownLastId: row.known_id, lastId: row.id };
}

const LAST_ID = "SELECT record_ids[cardinality(record_ids)] FROM journal_batches";

async function keepChanged(client: Queryable, memory: Memory, known: Place, head: JournalHead): Promise<void> {
  const { rows } = await client.query<{ id: Uuid }>({
    name: "journal-follow",
    text: CHANGED_ACCOUNTS,
    values: [known.size, head.size, known.accountChanges],
  });
  const remembered = rows.map(({ id }) => id).filter((id) => memory.getAccount(id) !== undefined);
  if (remembered.length > 0) memory.keep(await readAccounts(client, remembered));
}

// The accounts of the transactions that the records name, and those whose rows have changed. OFFSET 0 has each row looked up by
// its key: the planner does not know how few there are.
const CHANGED_ACCOUNTS = `
SELECT DISTINCT touched.id FROM journal_batches b
CROSS JOIN LATERAL unnest(b.record_ids, b.record_types) AS record (id, type)
CROSS JOIN LATERAL (
  SELECT debit_account_id, credit_account_id, leg_account_ids, hold_id FROM transactions WHERE id = record.id OFFSET 0
) t
LEFT JOIN LATERAL (SELECT account_id, to_account_id FROM holds WHERE id = t.hold_id OFFSET 0) h ON true
CROSS JOIN LATERAL (
  VALUES (t.debit_account_id), (t.credit_account_id), (h.account_id), (h.to_account_id)
  UNION ALL SELECT unnest(t.leg_account_ids)
) AS touched (id)
WHERE b.first_index >= $1 AND b.first_index < $2 AND record.type = ${RECORD_TYPE.TRANSACTION_POSTED} AND touched.id IS NOT NULL
UNION SELECT id FROM accounts WHERE change > $3`;
