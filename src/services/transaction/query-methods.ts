import { Transaction } from "../../../generated/grey/transaction/v1/transaction.js";
import type { TransactionServiceService } from "../../../generated/grey/transaction/v1/transaction_service.js";
import { assertPresent } from "../../base/assert.js";
import { fail } from "../../base/failure.js";
import { parseId } from "../../base/ids.js";
import { createRoom } from "../../base/room.js";
import type { Database } from "../../db/database.js";
import { readInSession } from "../../db/in-transaction.js";
import { REVERSALS_MAX } from "../../ledger/decide/reversal.js";
import { listTransactions } from "../../ledger/transaction/list.js";
import { findShown, findShownOfRequest } from "../../ledger/transaction/shown.js";
import type { Methods } from "../../rpc/methods.js";
import { toTransactionMessage } from "../shared/messages.js";
import type { PageTokens } from "../shared/page-tokens.js";
import { answerPage, getPageSize } from "../shared/paging.js";
import { parseFilter } from "./parse-filter.js";

/** Creates the methods of grey.transaction.v1.TransactionService that find transactions: GetTransaction and ListTransactions. */
export function createQueryMethods(
  database: Database,
  tokens: PageTokens,
): Pick<Methods<typeof TransactionServiceService>, "getTransaction" | "listTransactions"> {
  return {
    getTransaction: ({ by }, context) => {
      const id = parseId(assertPresent(by, "by").value);
      return readInSession(database, context, async ({ client }) => {
        const isByRequest = by?.$case === "requestId";
        const found = isByRequest
          ? await findShownOfRequest(client, { caller: context.caller, requestId: id }, REVERSALS_MAX + 1)
          : (await findShown(client, [id], REVERSALS_MAX + 1)).get(id);
        if (found === undefined)
          return fail({
            reason: "TRANSACTION_NOT_FOUND",
            ...(isByRequest ? { requestId: id } : { transactionId: id }),
          });
        return { transaction: toTransactionMessage(found.transaction, found.reversed) };
      });
    },

    listTransactions: (request, context) => {
      const selection = { ...request, pageSize: 0, pageToken: "", minJournalIndex: undefined };
      // A page may end early, even empty: the search ends after a bounded number of rows.
      return answerPage(tokens, request, context, ["ListTransactions", selection], (cursor) =>
        readInSession(database, context, async ({ manager, client }) => {
          const filter = await parseFilter(manager, request);
          const below = cursor === undefined ? undefined : BigInt(cursor);
          const found = await listTransactions(client, filter, below, getPageSize(request));
          const messages = found.transactions.map(({ transaction, reversed }) =>
            toTransactionMessage(transaction, reversed),
          );
          const transactions = [...createRoom(Transaction).take(messages)];
          const isCut = transactions.length < messages.length;
          const next = isCut ? transactions.at(-1)?.journalIndex : found.nextBelow;
          return { page: { transactions }, next: next?.toString() };
        }),
      );
    },
  };
}
