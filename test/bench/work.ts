import { randomUUID } from "node:crypto";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { TransactionState } from "../../generated/grey/transaction/v1/transaction.js";
import { BatchMode, BatchTransferRequest, StreamTransfersRequest } from "../../generated/grey/transaction/v1/batch.js";
import { GetTransactionRequest, ListTransactionsRequest } from "../../generated/grey/transaction/v1/query.js";
import { TransactionServiceService } from "../../generated/grey/transaction/v1/transaction_service.js";
import { TransferRequest } from "../../generated/grey/transaction/v1/movement.js";
import { CreateUserRequest } from "../../generated/grey/user/v1/user_service.js";
import { UserServiceService } from "../../generated/grey/user/v1/user_service.js";
import { GetBalanceRequest } from "../../generated/grey/wallet/v1/balance.js";
import { GetStatementRequest } from "../../generated/grey/wallet/v1/statement.js";
import { WalletServiceService } from "../../generated/grey/wallet/v1/wallet_service.js";
import { fromMicros } from "../../src/base/time.js";
import { benchId, ID_SPACE, RequestIds } from "./bench-ids.js";
import {
  FRAME_HEADER_BYTES,
  encodeFrame,
  idIn,
  randomBelow,
  randomTransfer,
  stamped,
  templateCount,
  createTemplate,
  writeFrameHeader,
  type Template,
} from "./frames.js";
import type { Work } from "./load-plan.js";

/** A call's framed message. */
export interface Call {
  readonly frame: Buffer;
  /** The request ids in it, generated only on demand. */
  readonly requestIds: () => readonly string[];
}

/** Makes the calls of a load, encoding as much as possible before it begins. */
export interface CallMaker {
  readonly path: string;
  /** The number of transfers or reads in a call. */
  readonly perCall: number;
  next(): Call;
  /** Counts the transfers that a reply reports as posted; absent if a reply is about one. */
  readonly countPosted?: (message: Uint8Array) => number;
}

export type UnaryWork = Exclude<Work, { kind: "stream" }>;

const READ_TEMPLATES = 16_384;

export function makeCalls(work: UnaryWork): CallMaker {
  switch (work.kind) {
    case "transfer":
      return transferCalls(work.wallets, work.isHot);
    case "batch":
      return batchCalls(work.wallets, work.isHot, work.items);
    case "create-user":
      return userCalls();
    case "get-balance":
      return readCalls(WalletServiceService.getBalance.path, () =>
        GetBalanceRequest.encode({
          asOf: undefined,
          walletId: benchId(ID_SPACE.WALLET, randomBelow(work.wallets)),
        }).finish(),
      );
    case "get-transaction":
      return readCalls(TransactionServiceService.getTransaction.path, () => {
        const value = benchId(ID_SPACE.TRANSACTION, randomBelow(work.transactions));
        return GetTransactionRequest.encode({ by: { $case: "id", value } }).finish();
      });
    case "list": {
      const request = ListTransactionsRequest.fromPartial({
        of: { $case: "walletId", value: benchId(ID_SPACE.WALLET, work.wallet) },
        pageSize: work.pageSize,
        pageToken: work.pageToken,
      });
      const encoded = ListTransactionsRequest.encode(request).finish();
      return readCalls(TransactionServiceService.listTransactions.path, () => encoded, 1);
    }
    case "statement": {
      const request = GetStatementRequest.fromPartial({
        walletId: benchId(ID_SPACE.WALLET, work.wallet),
        from: fromMicros(BigInt(work.fromMicros)),
        before: { seconds: 7_000_000_000n },
        pageSize: work.pageSize,
      });
      const encoded = GetStatementRequest.encode(request).finish();
      return readCalls(WalletServiceService.getStatement.path, () => encoded, 1);
    }
  }
}

function transferCalls(wallets: number, isHot: boolean): CallMaker {
  const ids = new RequestIds();
  const templates = makeTemplates(wallets, isHot, (transfer) => encodeFrame(TransferRequest.encode(transfer).finish()));
  let turn = 0;
  return {
    path: TransactionServiceService.transfer.path,
    perCall: 1,
    next: () => {
      const template = templates[turn++ % templates.length]!;
      const frame = stamped(template, ids);
      return { frame, requestIds: () => [idIn(frame, template.idOffset)] };
    },
  };
}

function userCalls(): CallMaker {
  return {
    path: UserServiceService.createUser.path,
    perCall: 1,
    next: () => {
      const requestId = randomUUID();
      const request = { requestId, name: "Ada", email: `${requestId}@example.com`, metadata: {} };
      return { frame: encodeFrame(CreateUserRequest.encode(request).finish()), requestIds: () => [requestId] };
    },
  };
}

function batchCalls(wallets: number, isHot: boolean, items: number): CallMaker {
  const ids = new RequestIds();
  // Repeated fields are concatenated, so each template is a batch of one without its mode.
  const templates = makeTemplates(wallets, isHot, (transfer) =>
    BatchTransferRequest.encode({ mode: BatchMode.UNSPECIFIED, dryRun: false, transfers: [transfer] }).finish(),
  );
  const mode = BatchTransferRequest.encode({ mode: BatchMode.INDEPENDENT, dryRun: false, transfers: [] }).finish();
  let turn = 0;
  return {
    path: TransactionServiceService.batchTransfer.path,
    perCall: items,
    next: () => {
      const parts = Array.from({ length: items }, () => stamped(templates[turn++ % templates.length]!, ids));
      const frame = Buffer.concat([Buffer.alloc(FRAME_HEADER_BYTES), mode, ...parts]);
      writeFrameHeader(frame, frame.length - FRAME_HEADER_BYTES);
      return { frame, requestIds: () => [] };
    },
    countPosted,
  };
}

/** Counts the POSTED results of a BatchTransferResponse, decoding no more than necessary. */
function countPosted(message: Uint8Array): number {
  const reader = new BinaryReader(message);
  let posted = 0;
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (tag >>> 3 !== 1) {
      reader.skip(tag & 7);
      continue;
    }
    const end = reader.uint32() + reader.pos;
    while (reader.pos < end) {
      const inner = reader.uint32();
      if (inner >>> 3 === 2) posted += reader.int32() === TransactionState.POSTED ? 1 : 0;
      else reader.skip(inner & 7);
    }
  }
  return posted;
}

/** The messages of a stream: any number in flight, each in a slot that its correlation identifies. */
export interface StreamMaker {
  readonly path: string;
  /** Returns the next framed transfer, with the slot as its correlation. */
  next(slot: number): Buffer;
  /** The subject of a reply. */
  read(message: Uint8Array): { readonly slot: number; readonly isPosted: boolean };
}

export function makeStreamMessages(work: Extract<Work, { kind: "stream" }>, slots: number): StreamMaker {
  const ids = new RequestIds();
  // A message is the concatenation of its parts: the correlation and the transfer.
  const correlations = Array.from({ length: slots }, (_, slot) =>
    StreamTransfersRequest.encode({ correlation: BigInt(slot), transfer: undefined }).finish(),
  );
  const templates = makeTemplates(work.wallets, work.isHot, (transfer) =>
    StreamTransfersRequest.encode({ correlation: 0n, transfer }).finish(),
  );
  let turn = 0;
  return {
    path: TransactionServiceService.streamTransfers.path,
    next: (slot) => {
      const transfer = stamped(templates[turn++ % templates.length]!, ids);
      const frame = Buffer.concat([Buffer.alloc(FRAME_HEADER_BYTES), correlations[slot]!, transfer]);
      writeFrameHeader(frame, frame.length - FRAME_HEADER_BYTES);
      return frame;
    },
    read: (message) => {
      const reader = new BinaryReader(message);
      let slot = 0;
      let isPosted = false;
      while (reader.pos < reader.len) {
        const tag = reader.uint32();
        if (tag >>> 3 === 1) {
          slot = Number(reader.int64());
        } else {
          if (tag >>> 3 === 2) isPosted = true;
          reader.skip(tag & 7);
        }
      }
      return { slot, isPosted };
    },
  };
}

function makeTemplates(wallets: number, isHot: boolean, encode: (transfer: TransferRequest) => Uint8Array): Template[] {
  return Array.from({ length: templateCount(wallets) }, () =>
    createTemplate((requestId) => encode(randomTransfer(requestId, wallets, isHot))),
  );
}

function readCalls(path: string, encode: () => Uint8Array, count = READ_TEMPLATES): CallMaker {
  const calls = Array.from({ length: count }, (): Call => ({ frame: encodeFrame(encode()), requestIds: () => [] }));
  let turn = 0;
  return { path, perCall: 1, next: () => calls[turn++ % calls.length]! };
}
