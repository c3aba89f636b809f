import { SYSTEM_ACCOUNT } from "../../ledger/command/system-account.js";
import {
  Hold as HoldMessage,
  type CaptureHoldRequest,
  type ExtendHoldRequest,
  type HoldRequest,
  type HoldResponse,
  type IncreaseHoldRequest,
} from "../../../generated/grey/transaction/v1/hold.js";
import type { TransactionServiceService } from "../../../generated/grey/transaction/v1/transaction_service.js";
import type { Duration } from "../../../generated/google/protobuf/duration.js";
import { assertPresent } from "../../base/assert.js";
import { fail } from "../../base/failure.js";
import { parseId } from "../../base/ids.js";
import { fromMicros, microsUp } from "../../base/time.js";
import { readInSession } from "../../db/in-transaction.js";
import type {
  CaptureHoldCommand,
  Expiry,
  ExtendHoldCommand,
  HoldCommand,
  HoldStepCommand,
  IncreaseHoldCommand,
  RequestTerms,
} from "../../ledger/command/command.js";
import { getRemainingMinor, type Hold } from "../../ledger/decide/hold.js";
import { listHolds, readHolds } from "../../ledger/hold/store.js";
import type { CallContext } from "../../rpc/context.js";
import type { Methods } from "../../rpc/methods.js";
import { toMoney } from "../shared/messages.js";
import { assertWalletExists } from "../wallet/wallets.js";
import type { PageTokens } from "../shared/page-tokens.js";
import { listPage } from "../shared/paging.js";
import { postOne, type PostingParts } from "./post.js";
import {
  amountTerms,
  parseAmount,
  parseCommandFields,
  preconditionTerms,
  type CommandRequest,
} from "./request-terms.js";

type HoldMethods = Pick<
  Methods<typeof TransactionServiceService>,
  "hold" | "increaseHold" | "extendHold" | "captureHold" | "releaseHold" | "getHold" | "listHolds"
>;

/** The default lifetime of a hold: 7 days. */
const EXPIRES_IN_DEFAULT: Duration = { seconds: 7n * 86_400n, nanos: 0 };

/** Creates the methods of grey.transaction.v1.TransactionService about holds: Hold, IncreaseHold, ExtendHold, CaptureHold, ReleaseHold, GetHold and ListHolds. */
export function createHoldMethods(posting: PostingParts, tokens: PageTokens): HoldMethods {
  const { database } = posting;
  const post = async (
    { dryRun }: { readonly dryRun: boolean },
    context: CallContext,
    command: HoldCommand | HoldStepCommand,
  ): Promise<HoldResponse> => {
    const { answer, transaction } = await postOne(posting, context, command, dryRun);
    return { ...answer, hold: toHoldMessage(assertPresent(transaction.hold, "the hold of its step")) };
  };
  return {
    hold: (request, context) => post(request, context, parseHold(request, context)),
    increaseHold: (request, context) => post(request, context, parseIncrease(request, context)),
    extendHold: (request, context) => post(request, context, parseExtension(request, context)),
    captureHold: (request, context) => post(request, context, parseCapture(request, context)),
    releaseHold: (request, context) =>
      post(request, context, { ...parseStep(context, request), kind: "HOLD_RELEASE", requestTerms: {} }),

    getHold: async (request, context) => {
      const id = parseId(request.id);
      const [read] = await readInSession(database, context, ({ client }) => readHolds(client, [id]));
      return { hold: toHoldMessage(read?.hold ?? fail({ reason: "HOLD_NOT_FOUND", holdId: id })) };
    },

    listHolds: (request, context) => {
      const walletId = parseId(request.walletId);
      return listPage(
        database,
        tokens,
        request,
        context,
        ["ListHolds", walletId, request.activeOnly],
        async ({ manager, client }) => {
          await assertWalletExists(manager, walletId);
          return {
            field: "holds",
            read: (below, limit) => listHolds(client, walletId, { activeOnly: request.activeOnly, below, limit }),
            render: (found) => found.map(toHoldMessage),
            codec: HoldMessage,
            cursorOf: (hold) => hold.id,
          };
        },
      );
    },
  };
}

export function toHoldMessage(hold: Hold): HoldMessage {
  const { currencyCode } = hold;
  return {
    id: hold.id,
    walletId: hold.accountId,
    toWalletId: hold.toAccountId ?? "",
    state: hold.state,
    amount: toMoney(currencyCode, hold.amountMinor),
    captured: toMoney(currencyCode, hold.capturedMinor),
    remaining: toMoney(currencyCode, getRemainingMinor(hold)),
    expireTime: hold.expireTime === null ? undefined : fromMicros(hold.expireTime),
    createTime: hold.createTime === null ? undefined : fromMicros(hold.createTime),
    updateTime: hold.updateTime === null ? undefined : fromMicros(hold.updateTime),
  };
}

function parseStep(context: CallContext, request: CommandRequest & { readonly holdId: string }) {
  return { ...parseCommandFields(context, request), holdId: parseId(request.holdId), requestTerms: null };
}

function parseHold(request: HoldRequest, context: CallContext): HoldCommand {
  const amount = assertPresent(request.amount, "amount");
  const walletId = parseId(request.walletId);
  const toWalletId = request.toWalletId === "" ? null : parseId(request.toWalletId);
  const expiry = request.expiry ?? { $case: "expiresIn" as const, value: EXPIRES_IN_DEFAULT };
  const fields = parseCommandFields(context, request);
  return {
    ...fields,
    kind: "HOLD",
    walletId,
    toWalletId,
    ...parseAmount(amount),
    expiry: parseExpiry(expiry),
    requestTerms: {
      wallet_id: walletId,
      ...(toWalletId !== null && { to_wallet_id: toWalletId }),
      ...amountTerms(amount),
      ...expiryTerms(expiry),
      ...preconditionTerms(fields.preconditions),
    },
  };
}

function parseIncrease(request: IncreaseHoldRequest, context: CallContext): IncreaseHoldCommand {
  const amount = assertPresent(request.amount, "amount");
  const step = parseStep(context, request);
  return {
    ...step,
    kind: "HOLD_INCREASE",
    amount: parseAmount(amount),
    requestTerms: { ...amountTerms(amount), ...preconditionTerms(step.preconditions) },
  };
}

function parseExtension(request: ExtendHoldRequest, context: CallContext): ExtendHoldCommand {
  const expiry = assertPresent(request.expiry, "expiry");
  return {
    ...parseStep(context, request),
    kind: "HOLD_EXTENSION",
    expiry: parseExpiry(expiry),
    requestTerms: expiryTerms(expiry),
  };
}

function parseCapture(request: CaptureHoldRequest, context: CallContext): CaptureHoldCommand {
  const { amount, final, to } = request;
  const step = parseStep(context, request);
  return {
    ...step,
    kind: "HOLD_CAPTURE",
    amount: amount === undefined ? null : parseAmount(amount),
    isFinal: final,
    to: parseDestination(to),
    requestTerms: {
      ...(amount !== undefined && amountTerms(amount)),
      ...(final && { final: "true" }),
      ...(to?.$case === "toWalletId" && { to_wallet_id: parseId(to.value) }),
      // The default is left out: a request that names it is the same as one that does not.
      ...(to?.$case === "toSystemAccount" && to.value !== SYSTEM_ACCOUNT.CASH && { to_system_account: to.value }),
      ...preconditionTerms(step.preconditions),
    },
  };
}

function parseDestination(to: CaptureHoldRequest["to"]): CaptureHoldCommand["to"] {
  switch (to?.$case) {
    case undefined:
      return null;
    case "toWalletId":
      return { walletId: parseId(to.value) };
    case "toSystemAccount":
      return { systemAccount: to.value };
  }
}

function parseExpiry(expiry: NonNullable<ExtendHoldRequest["expiry"]>): Expiry {
  return expiry.$case === "expireTime" ? { at: microsUp(expiry.value) } : { inMicros: microsUp(expiry.value) };
}

function expiryTerms(expiry: NonNullable<ExtendHoldRequest["expiry"]>): RequestTerms {
  const micros = microsUp(expiry.value).toString();
  return expiry.$case === "expireTime" ? { expire_time: micros } : { expires_in: micros };
}
