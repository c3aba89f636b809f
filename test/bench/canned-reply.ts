import { BatchTransferResponse, StreamTransfersResponse } from "../../generated/grey/transaction/v1/batch.js";
import { TransactionServiceService } from "../../generated/grey/transaction/v1/transaction_service.js";
import { TransferResponse } from "../../generated/grey/transaction/v1/movement.js";
import { benchId, ID_SPACE } from "./bench-ids.js";
import { CURRENCY, encodeFrame } from "./frames.js";

/** Returns a reply as large as Grey's for this method. @param items transfers in the call */
export function cannedReply(path: string, items: number): Buffer {
  switch (path) {
    case TransactionServiceService.transfer.path:
      return encodeFrame(TransferResponse.encode(transferResponse()).finish());
    case TransactionServiceService.batchTransfer.path:
      return encodeFrame(BatchTransferResponse.encode(batchResponse(items)).finish());
    default:
      throw new Error(`no canned answer for ${path}`);
  }
}

/** Returns the reply to a message of a stream. */
export function cannedStreamReply(correlation: bigint): Buffer {
  const outcome = { $case: "posted" as const, value: TRANSFER_RESPONSE };
  return encodeFrame(StreamTransfersResponse.encode({ correlation, outcome }).finish());
}

const amount = { currencyCode: CURRENCY, minorUnits: 50n };
const balance = { currencyCode: CURRENCY, minorUnits: 1_000_000_000n };

function transferResponse(): TransferResponse {
  const time = { seconds: 1_800_000_000n, nanos: 123_456_000 };
  const ids = [0, 1].map((n) => benchId(ID_SPACE.WALLET, n));
  return TransferResponse.fromPartial({
    transaction: {
      id: benchId(ID_SPACE.TRANSACTION, 0),
      requestId: benchId(ID_SPACE.REQUEST, 0),
      kind: 4,
      state: 1,
      entries: ids.map((accountId, n) => ({
        accountId,
        side: n + 1,
        amount,
        balanceAfter: balance,
        accountSequence: 1_000n,
      })),
      createTime: time,
      effectiveTime: time,
      journalIndex: 1_000_000n,
      debitAccountId: ids[0]!,
      creditAccountId: ids[1]!,
      amount,
    },
    balances: [0, 1].map(createBalance),
  });
}

const TRANSFER_RESPONSE = transferResponse();

function batchResponse(items: number): BatchTransferResponse {
  const numbers = Array.from({ length: items }, (_, n) => n);
  return BatchTransferResponse.fromPartial({
    results: numbers.map((n) => ({
      transactionId: benchId(ID_SPACE.TRANSACTION, n),
      state: 1,
      journalIndex: 1_000_000n,
    })),
    balances: numbers.map(createBalance),
  });
}

function createBalance(n: number) {
  return {
    walletId: benchId(ID_SPACE.WALLET, n),
    posted: balance,
    available: balance,
    pendingOutgoing: { currencyCode: CURRENCY, minorUnits: 0n },
    pendingIncoming: { currencyCode: CURRENCY, minorUnits: 0n },
    version: 1_000n,
  };
}
