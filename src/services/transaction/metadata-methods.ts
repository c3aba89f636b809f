import { MetadataChange } from "../../../generated/grey/transaction/v1/metadata.js";
import type { TransactionServiceService } from "../../../generated/grey/transaction/v1/transaction_service.js";
import { LessThan } from "typeorm";
import { assertPresent } from "../../base/assert.js";
import { fail } from "../../base/failure.js";
import { parseId } from "../../base/ids.js";
import { fromDate } from "../../base/time.js";
import type { Database } from "../../db/database.js";
import { readInSession } from "../../db/in-transaction.js";
import { RECORD_TYPE } from "../../entities/journal.js";
import { MetadataChangeEntity, type MetadataChangeRow } from "../../entities/metadata.js";
import { TransactionEntity } from "../../entities/transaction.js";
import { findTransactions } from "../../ledger/transaction/store.js";
import { changeMetadata, PAIRS_MAX } from "../../ledger/transaction/metadata.js";
import type { Methods } from "../../rpc/methods.js";
import { answerOnce } from "../shared/once.js";
import { openPage, type PageTokens } from "../shared/paging.js";
import { toTransactionMessage } from "../shared/messages.js";

type MetadataMethods = Pick<
  Methods<typeof TransactionServiceService>,
  "setTransactionMetadata" | "listMetadataChanges"
>;

/** The methods of grey.transaction.v1.TransactionService that are about the metadata of transactions. */
export function createMetadataMethods(database: Database, tokens: PageTokens): MetadataMethods {
  return {
    setTransactionMetadata: (request, context) =>
      answerOnce(database, context, "SET_TRANSACTION_METADATA", request, async ({ client }) => {
        const { set, remove } = request;
        const transactionId = parseId(request.transactionId);
        const metadata = await changeMetadata(client, transactionId, context.caller, { set, remove });
        if (metadata === undefined) return fail({ reason: "TRANSACTION_NOT_FOUND", transactionId });
        const pairs = Object.keys(metadata).length;
        if (pairs > PAIRS_MAX) return fail({ reason: "METADATA_EXCEEDED", transactionId, pairs });
        const found = await findTransactions(client, [transactionId]);
        const transaction = { ...assertPresent(found.get(transactionId), "a changed transaction"), metadata };
        return {
          response: { transaction: toTransactionMessage(transaction), replayed: false },
          resourceId: transactionId,
          records: [{ id: transactionId, type: RECORD_TYPE.TRANSACTION_METADATA_SET }],
        };
      }),

    listMetadataChanges: async (request, context) => {
      const transactionId = parseId(request.transactionId);
      const scope = ["ListMetadataChanges", context.caller, transactionId];
      const page = openPage(tokens, scope, request);
      return readInSession(database, context, async ({ manager }) => {
        if (!(await manager.existsBy(TransactionEntity, { id: transactionId })))
          fail({ reason: "TRANSACTION_NOT_FOUND", transactionId });
        const { items: changes, nextPageToken } = await page.read({
          read: (below, take) =>
            manager.find(MetadataChangeEntity, {
              where: { transactionId, ...(below !== undefined && { revision: LessThan(Number(below)) }) },
              order: { revision: "DESC" },
              take,
            }),
          render: (found) => found.map(toChangeMessage),
          codec: MetadataChange,
          cursorOf: (change) => change.revision.toString(),
        });
        return { changes, nextPageToken };
      });
    },
  };
}

function toChangeMessage(change: MetadataChangeRow): MetadataChange {
  return {
    revision: change.revision,
    caller: change.caller,
    set: change.setPairs,
    removed: [...change.removedKeys],
    metadata: change.metadata,
    createTime: fromDate(change.createTime),
  };
}
