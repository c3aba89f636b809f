import {
  Hold as HoldMessage,
  type CaptureHoldRequest,
  type ExtendHoldRequest,
  type HoldRequest,
  type HoldResponse,
} from "../../../generated/grey/transaction/v1/hold.js";
import type { TransactionServiceService } from "../../../generated/grey/transaction/v1/transaction_service.js";
import type { Duration } from "../../../generated/google/protobuf/duration.js";
import { assertPresent } from "../../base/assert.js";
import { fail } from "../../base/failure.js";
import { newId, parseId } from "../../base/ids.js";
import { fromMicros, microsUp } from "../../base/time.js";
import { readInSession } from "../../db/in-transaction.js";
import { TRANSACTION_KIND } from "../../base/codes.js";
import { WalletEntity } from "../../entities/wallet.js";
import { listHolds, readHolds } from "../../ledger/hold/rows.js";
import { getRemainingMinor, type Hold } from "../../ledger/decide/hold.js";
import type { Expiry, HoldCommand, HoldStepCommand, Terms } from "../../ledger/transaction/transaction.js";
import type { CallContext } from "../../rpc/context.js";
import type { Methods } from "../../rpc/methods.js";
import { CASH } from "./movements.js";
import { openPage, type PageTokens } from "../shared/paging.js";
import { amountTerms, parsePreconditions, preconditionTerms } from "./terms.js";
import { postOne, type Posting } from "./post.js";
import { toMoney } from "../shared/messages.js";

type HoldMethods = Pick<
  Methods<typeof TransactionServiceService>,
  "hold" | "increaseHold" | "extendHold" | "captureHold" | "releaseHold" | "getHold" | "listHolds"
>;

/** A hold lasts this long when nothing else is asked for: 7 days. */
const EXPIRES_IN_DEFAULT: Duration = { seconds: 7n * 86_400n, nanos: 0 };

/** The methods of grey.transaction.v1.TransactionService that are about holds. */
export function createHoldMethods(posting: Posting, tokens: PageTokens): HoldMethods {
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

    increaseHold: (request, context) => {
      const amount = assertPresent(request.amount, "amount");
      const step = parseStepFields(request, context);
      return post(request, context, {
        ...step,
        kind: TRANSACTION_KIND.HOLD_INCREASE,
        amount: { currencyCode: amount.currencyCode, amountMinor: amount.minorUnits },
        terms: { ...amountTerms(amount), ...preconditionTerms(step.preconditions) },
      });
    },

    extendHold: (request, context) => {
      const expiry = assertPresent(request.expiry, "expiry");
      return post(request, context, {
        ...parseStepFields(request, context),
        kind: TRANSACTION_KIND.HOLD_EXTENSION,
        expiry: parseExpiry(expiry),
        terms: expiryTerms(expiry),
      });
    },

    captureHold: (request, context) => post(request, context, parseCapture(request, context)),

    releaseHold: (request, context) =>
      post(request, context, { ...parseStepFields(request, context), kind: TRANSACTION_KIND.HOLD_RELEASE, terms: {} }),

    getHold: async (request, context) => {
      const id = parseId(request.id);
      const [read] = await readInSession(database, context, ({ client }) => readHolds(client, [id]));
      return { hold: toHoldMessage(read?.hold ?? fail({ reason: "HOLD_NOT_FOUND", holdId: id })) };
    },

    listHolds: async (request, context) => {
      const walletId = parseId(request.walletId);
      const scope = ["ListHolds", context.caller, walletId, request.activeOnly];
      const page = openPage(tokens, scope, request);
      return readInSession(database, context, async ({ manager, client }) => {
        if (!(await manager.existsBy(WalletEntity, { id: walletId }))) fail({ reason: "WALLET_NOT_FOUND", walletId });
        const { items: holds, nextPageToken } = await page.read({
          read: (below, limit) => listHolds(client, walletId, { activeOnly: request.activeOnly, below, limit }),
          render: (found) => found.map(toHoldMessage),
          codec: HoldMessage,
          cursorOf: (hold) => hold.id,
        });
        return { holds, nextPageToken };
      });
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

type HoldFields = Pick<HoldRequest, "description" | "metadata" | "externalReference"> &
  Partial<Pick<HoldRequest, "preconditions">>;

/** What every request about holds has in common; the contract's annotations have checked it. */
function parseCommonFields(
  { caller, requestId }: CallContext,
  { description, metadata, externalReference, preconditions = [] }: HoldFields,
) {
  return {
    caller,
    requestId: parseId(requestId),
    transactionId: newId(),
    description,
    metadata,
    externalReference,
    preconditions: parsePreconditions(preconditions),
  };
}

function parseStepFields(request: HoldFields & { readonly holdId: string }, context: CallContext) {
  const nothing = { amount: null, isFinal: false, to: null, expiry: null };
  return { ...parseCommonFields(context, request), ...nothing, holdId: parseId(request.holdId) };
}

function parseHold(request: HoldRequest, context: CallContext): HoldCommand {
  const amount = assertPresent(request.amount, "amount");
  const walletId = parseId(request.walletId);
  const toWalletId = request.toWalletId === "" ? null : parseId(request.toWalletId);
  const expiry = request.expiry ?? { $case: "expiresIn" as const, value: EXPIRES_IN_DEFAULT };
  const asked = parseCommonFields(context, request);
  return {
    ...asked,
    kind: TRANSACTION_KIND.HOLD,
    walletId,
    toWalletId,
    currencyCode: amount.currencyCode,
    amountMinor: amount.minorUnits,
    expiry: parseExpiry(expiry),
    terms: {
      wallet_id: walletId,
      ...(toWalletId !== null && { to_wallet_id: toWalletId }),
      ...amountTerms(amount),
      ...expiryTerms(expiry),
      ...preconditionTerms(asked.preconditions),
    },
  };
}

function parseCapture(request: CaptureHoldRequest, context: CallContext): HoldStepCommand {
  const { amount, final, to } = request;
  const step = parseStepFields(request, context);
  return {
    ...step,
    kind: TRANSACTION_KIND.HOLD_CAPTURE,
    amount: amount === undefined ? null : { currencyCode: amount.currencyCode, amountMinor: amount.minorUnits },
    isFinal: final,
    to:
      to === undefined
        ? null
        : to.$case === "toWalletId"
          ? { walletId: parseId(to.value) }
          : { systemAccount: to.value },
    terms: {
      ...(amount !== undefined && amountTerms(amount)),
      ...(final && { final: "true" }),
      ...(to?.$case === "toWalletId" && { to_wallet_id: parseId(to.value) }),
      // Where it goes when nothing else is said.
      ...(to?.$case === "toSystemAccount" && to.value !== CASH && { to_system_account: to.value }),
      ...preconditionTerms(step.preconditions),
    },
  };
}

function parseExpiry(expiry: NonNullable<ExtendHoldRequest["expiry"]>): Expiry {
  return expiry.$case === "expireTime" ? { at: microsUp(expiry.value) } : { inMicros: microsUp(expiry.value) };
}

function expiryTerms(expiry: NonNullable<ExtendHoldRequest["expiry"]>): Terms {
  const micros = microsUp(expiry.value).toString();
  return expiry.$case === "expireTime" ? { expire_time: micros } : { expires_in: micros };
}
