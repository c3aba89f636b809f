import { MetadataChange } from "../../../generated/grey/transaction/v1/metadata.js";
import type { TransactionServiceService } from "../../../generated/grey/transaction/v1/transaction_service.js";
import { LessThan } from "typeorm";
import { assertPresent } from "../../base/assert.js";
import { fail } from "../../base/failure.js";
import { parseId } from "../../base/ids.js";
import { fromDate } from "../../base/time.js";
import type { Database } from "../../db/database.js";
import { RECORD_TYPE } from "../../entities/journal.js";
import { MetadataChangeEntity, type MetadataChangeRow } from "../../entities/metadata.js";
import { TransactionEntity } from "../../entities/transaction.js";
import { findTransactions } from "../../ledger/transaction/store.js";
import { changeMetadata, PAIRS_MAX } from "../../ledger/transaction/metadata.js";
import type { Methods } from "../../rpc/methods.js";
import { answerOnce } from "../shared/once.js";
import type { PageTokens } from "../shared/page-tokens.js";
import { listPage } from "../shared/paging.js";
import { toTransactionMessage } from "../shared/messages.js";

type MetadataMethods = Pick<
  Methods<typeof TransactionServiceService>,
  "setTransactionMetadata" | "listMetadataChanges"
>;

/** Creates the methods of grey.transaction.v1.TransactionService about metadata: SetTransactionMetadata and ListMetadataChanges. */
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
        const recorded = assertPresent(found.get(transactionId), "a changed transaction");
        const transaction = { ...recorded, data: { ...recorded.data, metadata } };
        return {
          response: { transaction: toTransactionMessage(transaction), replayed: false },
          resourceId: transactionId,
          records: [{ id: transactionId, type: RECORD_TYPE.TRANSACTION_METADATA_SET }],
        };
      }),

    listMetadataChanges: (request, context) => {
      const transactionId = parseId(request.transactionId);
      return listPage(
        database,
        tokens,
        request,
        context,
        ["ListMetadataChanges", transactionId],
        async ({ manager }) => {
          if (!(await manager.existsBy(TransactionEntity, { id: transactionId })))
            fail({ reason: "TRANSACTION_NOT_FOUND", transactionId });
          return {
            field: "changes",
            read: (below, take) =>
              manager.find(MetadataChangeEntity, {
                where: { transactionId, ...(below !== undefined && { revision: LessThan(Number(below)) }) },
                order: { revision: "DESC" },
                take,
              }),
            render: (found) => found.map(toChangeMessage),
            codec: MetadataChange,
            cursorOf: (change) => change.revision.toString(),
          };
        },
      );
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
