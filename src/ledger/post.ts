import { present } from "../base/assert.js";
import type { Patience } from "../base/patience.js";
import type { Database } from "../db/database.js";
import { inClaimingTransaction } from "../db/transaction.js";
import { postTransactions, type Outcome } from "./posting.js";
import type { Command } from "./transaction.js";

/** Posts one command in a database transaction of its own. Fails as inClaimingTransaction() does. */
export async function post(database: Database, patience: Patience, command: Command): Promise<Outcome> {
  const outcomes = await inClaimingTransaction(database, patience, ({ client }) => postTransactions(client, [command]));
  return present(outcomes[0], "an outcome");
}
