import { credentials } from "@grpc/grpc-js";
import { expect } from "chai";
import * as fc from "fast-check";
import type { Status } from "../../generated/google/rpc/status.js";
import { LedgerServiceClient } from "../../generated/grey/ledger/v1/ledger_service.js";
import { NormalSide } from "../../generated/grey/ledger/v1/account.js";
import { SetLimitsRequest, VelocityDirection } from "../../generated/grey/ledger/v1/limits.js";
import type { CheckIntegrityResponse, StreamIntegrityCheckResponse } from "../../generated/grey/ledger/v1/integrity.js";
import {
  CreateScheduleRequest,
  InsufficientFundsPolicy,
  ScheduleState,
} from "../../generated/grey/schedule/v1/schedule.js";
import {
  AmountMode,
  EntrySide,
  Precondition,
  TransactionKind,
} from "../../generated/grey/transaction/v1/transaction.js";
import {
  HoldState,
  CaptureHoldRequest,
  ExtendHoldRequest,
  HoldRequest,
  IncreaseHoldRequest,
  ReleaseHoldRequest,
} from "../../generated/grey/transaction/v1/hold.js";
import { BatchMode, type StreamTransfersResponse } from "../../generated/grey/transaction/v1/batch.js";
import { ExchangeRequest } from "../../generated/grey/transaction/v1/exchange.js";
import { ListTransactionsRequest } from "../../generated/grey/transaction/v1/query.js";
import { PostTransactionRequest } from "../../generated/grey/transaction/v1/compound.js";
import { ReverseRequest } from "../../generated/grey/transaction/v1/reversal.js";
import { TransactionServiceClient } from "../../generated/grey/transaction/v1/transaction_service.js";
import { ErrorReason } from "../../generated/grey/error/v1/error_reason.js";
import { newId, systemAccountId, type Uuid } from "../../src/base/ids.js";
import { fromMicros, type Micros } from "../../src/base/time.js";
import { connect, decodeErrorInfo, type Clients } from "../support/client.js";
import { depositRequest, makeWallet, money, openAdmin, transferRequest, withdrawRequest } from "../support/ledger.js";
import * as model from "../support/ledger-model.js";
import type { Account, Books, Currency, Transaction } from "../support/ledger-model.js";
import {
  compareTransactions,
  countRows,
  DAY,
  operation,
  pick,
  unary,
  walletsOf,
  type Service,
  type State,
} from "../support/ledger-step.js";
import { eventually } from "../support/process.js";
import { startServer, type TestServer } from "../support/server.js";

// Random sequences of every operation, sent to a real service and to the model of it.

/** The same seed makes the same sequences; the title of the test tells it. */
const SEED = Number(process.env.TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));

/** One of all, by its place: mostly one of those that there is most to do to. */
function placeOf<T>(all: readonly T[], isLively: (one: T) => boolean, drawn: number): number | undefined {
  const lively = [...all.keys()].filter((index) => isLively(all[index]!));
  const places = lively.length > 0 && drawn % 8 > 0 ? lively : [...all.keys()];
  return places.length === 0 ? undefined : pick(places, Math.floor(drawn / 8));
}

function holdAt({ holds }: Books, drawn: number): number | undefined {
  return placeOf(holds, ({ state }) => state === "ACTIVE", drawn);
}

/** The wallet that pays, and mostly one that can be paid from it. */
function sidesOf(books: Books, from: number, to: number, isOtherCurrency = false): readonly [Account, Account] {
  const wallets = walletsOf(books);
  const payer = pick(wallets, from);
  const canPay = (one: Account): boolean => one !== payer && (one.currency === payer.currency) !== isOtherCurrency;
  return [payer, wallets[placeOf(wallets, canPay, to)!]!];
}

const wallet = fc.nat(5);
const payee = fc.nat(47);
const amount = fc.bigInt({ min: 1n, max: 60n });
const day = fc.option(fc.integer({ min: -3, max: 2 }), { nil: undefined });
const metadata = fc.dictionary(fc.constantFrom("a", "b", "c"), fc.constantFrom("1", "2"), { noNullPrototype: true });

/** What is to hold of a wallet, near to what does. */
const condition = fc.option(
  fc.record({
    of: wallet,
    what: fc.constantFrom("version", "least", "most"),
    by: fc.bigInt({ min: -60n, max: 60n }),
  }),
  { freq: 3, nil: undefined },
);
type Condition = typeof condition extends fc.Arbitrary<infer T> ? T : never;

function preconditionsOf(books: Books, asked: Condition): Precondition[] {
  if (asked === undefined) return [];
  const one = pick(walletsOf(books), asked.of);
  const { what, by } = asked;
  const wanted = {
    version: { expectedVersion: by > 30n ? one.version + 1n : one.version },
    least: { minBalanceAfter: model.available(one) + by },
    most: { maxBalanceAfter: one.balance + one.in + by },
  }[what];
  return [Precondition.fromPartial({ walletId: one.id, ...wanted })];
}

function timeOf({ start }: State, days: number | undefined): Micros | undefined {
  return days === undefined ? undefined : start + BigInt(days) * DAY;
}

function stampOf(time: Micros | undefined) {
  return time === undefined ? undefined : fromMicros(time);
}

const cash = (currency: Currency): Uuid => systemAccountId(currency, "cash");

const deposit = operation(
  "deposit",
  fc.record({ to: wallet, amount: fc.bigInt({ min: 1n, max: 400n }), day, metadata, condition }),
  (state, given) => {
    const { id, currency } = pick(walletsOf(state.books), given.to);
    const time = timeOf(state, given.day);
    const preconditions = preconditionsOf(state.books, given.condition);
    const movement = { kind: TransactionKind.DEPOSIT as const, fromId: cash(currency), toId: id, currency, time };
    const request = depositRequest(id, given.amount, {
      amount: money(given.amount, currency),
      metadata: given.metadata,
      effectiveTime: stampOf(time),
      preconditions,
    });
    return {
      outcome: model.post(
        state.books,
        preconditions,
        (books) => model.move(books, { ...movement, amount: given.amount }),
        given.metadata,
      ),
      send: unary(({ transactions }, dryRun) => transactions.deposit({ ...request, dryRun })),
      canDry: true,
    };
  },
);

const withdraw = operation(
  "withdraw",
  fc.record({ from: wallet, amount, isUpTo: fc.boolean(), day, condition }),
  (state, { from, amount, isUpTo, day, condition }) => {
    const { id, currency } = pick(walletsOf(state.books), from);
    const time = timeOf(state, day);
    const preconditions = preconditionsOf(state.books, condition);
    const kind = TransactionKind.WITHDRAWAL as const;
    const movement = { kind, fromId: id, toId: cash(currency), currency, amount, isUpTo, time };
    const request = withdrawRequest(id, amount, {
      amount: money(amount, currency),
      amountMode: isUpTo ? AmountMode.UP_TO : AmountMode.EXACT,
      effectiveTime: stampOf(time),
      preconditions,
    });
    return {
      outcome: model.post(state.books, preconditions, (books) => model.move(books, movement)),
      send: unary(({ transactions }, dryRun) => transactions.withdraw({ ...request, dryRun })),
      canDry: true,
    };
  },
);

const drawnTransfer = fc.record({ from: wallet, to: payee, amount, isUpTo: fc.boolean(), day, condition });
type DrawnTransfer = typeof drawnTransfer extends fc.Arbitrary<infer T> ? T : never;

/** A transfer in the currency of its payer. */
function transferOf(state: State, { from, to, amount, isUpTo, day, condition }: DrawnTransfer) {
  const [{ id: fromId, currency }, { id: toId }] = sidesOf(state.books, from, to);
  const time = timeOf(state, day);
  const preconditions = preconditionsOf(state.books, condition);
  return {
    movement: { kind: TransactionKind.TRANSFER as const, fromId, toId, currency, amount, isUpTo, time },
    preconditions,
    request: transferRequest(fromId, toId, amount, {
      amount: money(amount, currency),
      amountMode: isUpTo ? AmountMode.UP_TO : AmountMode.EXACT,
      effectiveTime: stampOf(time),
      preconditions,
    }),
  };
}

const transfer = operation("transfer", drawnTransfer, (state, given) => {
  const { movement, preconditions, request } = transferOf(state, given);
  return {
    outcome: model.post(state.books, preconditions, (books) => model.move(books, movement)),
    send: unary(({ transactions }, dryRun) => transactions.transfer({ ...request, dryRun })),
    canDry: true,
  };
});

const reasonIn = (error: Status | undefined): string | undefined =>
  error === undefined ? undefined : decodeErrorInfo(error.details)!.reason;

const streamed = operation("transfer by stream", drawnTransfer, (state, given) => {
  const { movement, preconditions, request } = transferOf(state, given);
  return {
    outcome: model.post(state.books, preconditions, (books) => model.move(books, movement)),
    send: async ({ transactions }, dryRun) => {
      const stream = transactions.streamTransfers();
      const taken = stream.toArray();
      stream.write({ correlation: 1n, transfer: { ...request, dryRun } });
      stream.end();
      const [message] = await taken;
      const { value } = (message as StreamTransfersResponse).outcome!;
      if ("transaction" in value) return { reason: undefined, ids: [value.transaction!.id], answer: value };
      const { reason, metadata } = decodeErrorInfo(value.details)!;
      return { reason, ids: [metadata.transaction_id ?? ""], answer: {} };
    },
    canDry: true,
  };
});

const batch = operation(
  "batch",
  fc.record({ isAtomic: fc.boolean(), all: fc.array(drawnTransfer, { minLength: 1, maxLength: 4, size: "max" }) }),
  (state, { isAtomic, all }) => {
    const transfers = all.map((one) => transferOf(state, one));
    const request = {
      mode: isAtomic ? BatchMode.ATOMIC : BatchMode.INDEPENDENT,
      transfers: transfers.map((one) => one.request),
    };
    return {
      outcome: model.batch(state.books, transfers, isAtomic),
      send: async ({ grey }, dryRun) => {
        const { results, balances } = await grey.transactions.batchTransfer({ ...request, dryRun });
        return {
          reason: results.map(({ error }) => reasonIn(error) ?? "POSTED").join(", "),
          ids: results.map(({ transactionId }) => transactionId),
          answer: { balances, replayed: results.every(({ replayed }) => replayed) },
        };
      },
      canDry: true,
    };
  },
);

const compound = operation(
  "post",
  fc.record({ from: wallet, to: wallet, other: wallet, amount, fee: fc.bigInt({ min: 1n, max: 9n }), day, condition }),
  (state, { from, to, other, amount, fee, day, condition }) => {
    // An account may have several legs.
    const wallets = walletsOf(state.books);
    const ids = [from, to, other].map((index) => pick(wallets.slice(0, 4), index).id);
    const currency = "USD" as const;
    const legs = [
      { accountId: ids[0]!, currency, amount: amount + fee },
      { accountId: ids[1]!, currency, amount: -amount },
      { accountId: systemAccountId(currency, "fees"), currency, amount: -fee },
      { accountId: ids[2]!, currency, amount: fee },
      { accountId: ids[1]!, currency, amount: -fee },
    ];
    const time = timeOf(state, day);
    const preconditions = preconditionsOf(state.books, condition);
    const request = PostTransactionRequest.fromPartial({
      requestId: newId(),
      legs: legs.map((leg) => ({
        account: ids.includes(leg.accountId)
          ? { $case: "walletId", value: leg.accountId }
          : { $case: "systemAccount", value: "fees" },
        side: leg.amount > 0n ? EntrySide.DEBIT : EntrySide.CREDIT,
        amount: money(leg.amount > 0n ? leg.amount : -leg.amount),
      })),
      effectiveTime: stampOf(time),
      preconditions,
    });
    return {
      outcome: model.post(state.books, preconditions, (books) => model.compound(books, legs, time)),
      send: unary(({ transactions }, dryRun) => transactions.postTransaction({ ...request, dryRun })),
      canDry: true,
    };
  },
);

const exchange = operation(
  "exchange",
  fc.record({ from: wallet, to: payee, amount, condition }),
  ({ books }, { from, to, amount, condition }) => {
    const [source, target] = sidesOf(books, from, to, true);
    const preconditions = preconditionsOf(books, condition);
    const request = ExchangeRequest.fromPartial({
      requestId: newId(),
      fromWalletId: source.id,
      toWalletId: target.id,
      sourceAmount: money(amount, source.currency),
      by: { $case: "rate", value: "1.5" },
      preconditions,
    });
    return {
      outcome: model.post(books, preconditions, (draft) => model.exchange(draft, source.id, target.id, amount)),
      send: unary(({ transactions }, dryRun) => transactions.exchange({ ...request, dryRun })),
      canDry: true,
    };
  },
);

const hold = operation(
  "hold",
  fc.record({
    from: wallet,
    to: fc.option(payee, { freq: 2, nil: undefined }),
    amount,
    days: fc.integer({ min: 5, max: 20 }),
    condition,
  }),
  ({ books, start }, { from, to, amount, days, condition }) => {
    const [{ id: walletId, currency }, { id }] = sidesOf(books, from, to ?? 0);
    const toId = to === undefined ? undefined : id;
    const expires = start + BigInt(days) * DAY;
    const preconditions = preconditionsOf(books, condition);
    const request = HoldRequest.fromPartial({
      requestId: newId(),
      walletId,
      toWalletId: toId ?? "",
      amount: money(amount, currency),
      expiry: { $case: "expireTime", value: fromMicros(expires) },
      preconditions,
    });
    return {
      outcome: model.post(books, preconditions, (draft) =>
        model.hold(draft, { walletId, toId, currency, amount, expires }),
      ),
      send: unary(({ transactions }, dryRun) => transactions.hold({ ...request, dryRun })),
      canDry: true,
    };
  },
);

const increase = operation(
  "increase",
  fc.record({ which: fc.nat(), amount, condition }),
  ({ books }, { which, amount, condition }) => {
    const index = holdAt(books, which);
    if (index === undefined) return undefined;
    const { by, walletId } = books.holds[index]!;
    const preconditions = preconditionsOf(books, condition);
    const request = IncreaseHoldRequest.fromPartial({
      requestId: newId(),
      holdId: by.id,
      amount: money(amount, model.accountOf(books, walletId).currency),
      preconditions,
    });
    return {
      outcome: model.post(books, preconditions, (draft) => model.increase(draft, index, amount)),
      send: unary(({ transactions }, dryRun) => transactions.increaseHold({ ...request, dryRun })),
      canDry: true,
    };
  },
);

const extend = operation(
  "extend",
  fc.record({ which: fc.nat(), days: fc.integer({ min: 5, max: 30 }) }),
  ({ books, start }, { which, days }) => {
    const index = holdAt(books, which);
    if (index === undefined) return undefined;
    const expires = start + BigInt(days) * DAY;
    const request = ExtendHoldRequest.fromPartial({
      requestId: newId(),
      holdId: books.holds[index]!.by.id,
      expiry: { $case: "expireTime", value: fromMicros(expires) },
    });
    return {
      outcome: model.post(books, [], (draft) => model.extend(draft, index, expires)),
      send: unary(({ transactions }, dryRun) => transactions.extendHold({ ...request, dryRun })),
      canDry: true,
    };
  },
);

const capture = operation(
  "capture",
  fc.record({
    which: fc.nat(),
    how: fc.constantFrom("part", "part", "final", "all", "nothing"),
    amount,
    to: fc.oneof(
      { weight: 2, arbitrary: fc.constant(undefined) },
      { weight: 4, arbitrary: payee },
      { weight: 1, arbitrary: fc.constantFrom("fees", "nowhere") },
    ),
    condition,
  }),
  ({ books }, { which, how, amount, to, condition }) => {
    const index = holdAt(books, which);
    if (index === undefined) return undefined;
    const { by, walletId, toId: heldFor } = books.holds[index]!;
    const { currency } = model.accountOf(books, walletId);
    const asked = how === "all" ? undefined : how === "nothing" ? 0n : amount;
    const isFinal = how === "final" || how === "nothing";
    const canTake = (one: Account): boolean =>
      heldFor === undefined ? one.id !== walletId && one.currency === currency : one.id === heldFor;
    const wallets = walletsOf(books);
    // The room and the limits of a wallet that the hold was not for are asked for the first time.
    const isAsked = (one: Account): boolean =>
      canTake(one) && (one.max !== undefined || one.limits.some(({ isIncoming }) => isIncoming));
    const isApt = wallets.some(isAsked) ? isAsked : canTake;
    const toWallet = typeof to === "number" ? wallets[placeOf(wallets, isApt, to)!]!.id : undefined;
    const toId = typeof to === "string" ? systemAccountId(currency, to) : toWallet;
    const preconditions = preconditionsOf(books, condition);
    const request = CaptureHoldRequest.fromPartial({
      requestId: newId(),
      holdId: by.id,
      amount: asked === undefined ? undefined : money(asked, currency),
      final: isFinal,
      to:
        typeof to === "string"
          ? { $case: "toSystemAccount", value: to }
          : toWallet === undefined
            ? undefined
            : { $case: "toWalletId", value: toWallet },
      preconditions,
    });
    return {
      outcome: model.post(books, preconditions, (draft) =>
        model.capture(draft, index, { amount: asked, isFinal, toId }),
      ),
      send: unary(({ transactions }, dryRun) => transactions.captureHold({ ...request, dryRun })),
      canDry: true,
    };
  },
);

const release = operation("release", fc.nat(), ({ books }, which) => {
  const index = holdAt(books, which);
  if (index === undefined) return undefined;
  const request = ReleaseHoldRequest.fromPartial({ requestId: newId(), holdId: books.holds[index]!.by.id });
  return {
    outcome: model.post(books, [], (draft) => model.release(draft, index)),
    send: unary(({ transactions }, dryRun) => transactions.releaseHold({ ...request, dryRun })),
    canDry: true,
  };
});

/** The wallet's latest transaction of this kind. */
async function latestOf({ transactions }: Clients, walletId: Uuid, kind: TransactionKind): Promise<Uuid> {
  const request = ListTransactionsRequest.fromPartial({
    of: { $case: "walletId", value: walletId },
    kinds: [kind],
    pageSize: 1,
  });
  return (await transactions.listTransactions(request)).transactions[0]!.id;
}

/** Puts the end of a hold before now, in its latest step too, as if it had been made to end then. */
const EXPIRE = `
  WITH held AS (
    UPDATE holds SET expire_time = clock_timestamp(), revision = revision + 1 WHERE id = $1 RETURNING expire_time
  )
  UPDATE transactions SET hold_expire_time = (SELECT expire_time FROM held)
  WHERE id = (SELECT id FROM transactions WHERE hold_id = $1 AND state = 1 ORDER BY journal_index DESC LIMIT 1)`;

const expire = operation("the time of a hold passes", fc.nat(), ({ books }, which) => {
  const index = holdAt(books, which);
  if (index === undefined || books.holds[index]!.state !== "ACTIVE") return undefined;
  const { by, walletId } = books.holds[index]!;
  return {
    outcome: model.post(books, [], (draft) => model.expire(draft, index)),
    send: async ({ grey, admin }) => {
      await admin.query(EXPIRE, [by.id]);
      await eventually("the hold has expired", async () => {
        const { hold } = await grey.transactions.getHold({ id: by.id });
        return hold!.state === HoldState.EXPIRED;
      });
      return { reason: undefined, ids: [await latestOf(grey, walletId, TransactionKind.HOLD_EXPIRY)], answer: {} };
    },
    isTime: true,
  };
});

const reverse = operation(
  "reverse",
  fc.record({
    which: fc.nat(),
    isOfMany: fc.boolean(),
    part: fc.option(fc.bigInt({ min: 1n, max: 20n }), { freq: 3, nil: undefined }),
    atSameTime: fc.boolean(),
    condition,
  }),
  ({ books }, { which, isOfMany, part, atSameTime, condition }) => {
    const isApt = ({ kind, legs, amount, reversed }: Transaction): boolean =>
      isOfMany ? kind !== TransactionKind.REVERSAL && legs.length > 2 && reversed < amount : legs.length > 0;
    const index = placeOf(books.transactions, isApt, which);
    if (index === undefined) return undefined;
    const { id, legs, refusal } = books.transactions[index]!;
    // What moved nothing is not reversible, whatever is asked for.
    const asked = legs.length === 0 || refusal !== undefined ? undefined : part;
    const preconditions = preconditionsOf(books, condition);
    const request = ReverseRequest.fromPartial({
      requestId: newId(),
      transactionId: id,
      amount: asked === undefined ? undefined : money(asked, legs[0]!.currency),
      atEffectiveTimeOfOriginal: atSameTime,
      preconditions,
    });
    return {
      outcome: model.post(books, preconditions, (draft) => model.reverse(draft, index, asked, atSameTime)),
      send: unary(({ transactions }, dryRun) => transactions.reverse({ ...request, dryRun })),
      canDry: true,
    };
  },
);

const describeAnew = operation(
  "metadata",
  fc.record({ which: fc.nat(), set: metadata, remove: fc.subarray(["a", "b", "c"]) }),
  ({ books }, { which, set, remove }) => {
    const index = placeOf(books.transactions, ({ metadata }) => Object.keys(metadata).length > 0, which);
    const removed = remove.filter((key) => !(key in set));
    if (index === undefined || Object.keys(set).length + removed.length === 0) return undefined;
    const request = { requestId: newId(), transactionId: books.transactions[index]!.id, set, remove: removed };
    return {
      outcome: model.change(books, (draft) => model.setMetadata(draft, index, set, removed)),
      send: unary(({ transactions }) => transactions.setTransactionMetadata(request)),
    };
  },
);

const states = operation(
  "state",
  fc.tuple(fc.nat(47), fc.constantFrom("freeze", "freeze", "unfreeze", "close", "reopen")),
  ({ books }, [drawn, verb]) => {
    const wallets = walletsOf(books);
    const from = { freeze: "OPEN", unfreeze: "FROZEN", close: "OPEN", reopen: "CLOSED" }[verb];
    // What has holds is frozen, mostly: their steps are refused then, but for those that set them free.
    const isApt = ({ state, out }: Account): boolean => state === from && (verb !== "freeze" || out > 0n);
    const { id } = wallets[placeOf(wallets, isApt, drawn)!]!;
    const request = { requestId: newId(), walletId: id, reason: "a case" };
    return {
      outcome: model.change(books, (draft) => model.setState(draft, id, verb)),
      send: unary(({ wallets }) => wallets[`${verb}Wallet`](request)),
    };
  },
);

const YEAR_SECONDS = 31_536_000n;

const limits = operation(
  "limits",
  fc.record({
    of: fc.nat(47),
    min: fc.bigInt({ min: -50n, max: 5n }),
    room: fc.option(fc.bigInt({ min: -5n, max: 100n }), { freq: 2, nil: undefined }),
    velocity: fc.uniqueArray(
      fc
        .record({
          name: fc.constantFrom("one", "other"),
          isIncoming: fc.boolean(),
          kinds: fc
            .boolean()
            .map((isAny): TransactionKind[] => (isAny ? [] : [TransactionKind.TRANSFER, TransactionKind.HOLD])),
          maxAmount: fc.option(fc.bigInt({ min: 0n, max: 150n }), { freq: 2, nil: undefined }),
          maxCount: fc.option(fc.bigInt({ min: 0n, max: 3n }), { freq: 3, nil: undefined }),
        })
        .filter(({ maxAmount, maxCount }) => maxAmount !== undefined || maxCount !== undefined),
      { selector: ({ name }) => name, maxLength: 2 },
    ),
  }),
  ({ books }, { of, min, room, velocity }) => {
    const wallets = walletsOf(books);
    // One that has limits gets others, mostly.
    const { id, balance, in: coming } = wallets[placeOf(wallets, (one) => one.limits.length > 0, of)!]!;
    const highest = room === undefined ? undefined : balance + coming + room;
    const max = highest !== undefined && highest < min ? min : highest;
    const request = SetLimitsRequest.fromPartial({
      requestId: newId(),
      account: { $case: "walletId", value: id },
      limits: {
        minBalance: min,
        maxBalance: max,
        velocity: velocity.map(({ isIncoming, ...limit }) => ({
          ...limit,
          direction: isIncoming ? VelocityDirection.INCOMING : VelocityDirection.OUTGOING,
          windowSeconds: YEAR_SECONDS,
        })),
      },
    });
    const unused = velocity.map((limit) => ({ ...limit, amount: 0n, count: 0n }));
    return {
      outcome: model.change(books, (draft) => model.setLimits(draft, id, { min, max, limits: unused })),
      send: unary(({ ledger }) => ledger.setLimits(request)),
    };
  },
);

/** A single run, which is planned for tomorrow. That runs are tried again has its own tests. */
const schedule = operation(
  "schedule",
  fc.record({ from: wallet, to: payee, amount, isUpTo: fc.boolean(), failsWithoutFunds: fc.boolean() }),
  (state, { from, to, amount, isUpTo, failsWithoutFunds }) => {
    const [{ id: fromId, currency }, { id: toId }] = sidesOf(state.books, from, to);
    const time = state.start + DAY;
    const movement = { kind: TransactionKind.TRANSFER as const, fromId, toId, currency, amount, isUpTo, time };
    const request = CreateScheduleRequest.fromPartial({
      requestId: newId(),
      movement: {
        $case: "transfer",
        value: {
          fromWalletId: fromId,
          toWalletId: toId,
          amount: money(amount, currency),
          amountMode: isUpTo ? AmountMode.UP_TO : AmountMode.EXACT,
        },
      },
      when: { $case: "once", value: fromMicros(time) },
      onInsufficientFunds: failsWithoutFunds ? InsufficientFundsPolicy.FAIL : InsufficientFundsPolicy.SKIP,
    });
    return {
      outcome: model.change(state.books, (draft) => model.createSchedule(draft, movement, failsWithoutFunds)),
      send: unary(({ schedules }) => schedules.createSchedule(request)),
      settle: ({ schedules }, { schedule: made }) => {
        if (made !== undefined) schedules.at(-1)!.id = made.id;
      },
    };
  },
);

const changeSchedule = operation(
  "schedule",
  fc.tuple(fc.nat(), fc.constantFrom("pause", "resume", "cancel")),
  ({ books }, [which, verb]) => {
    const index = placeOf(books.schedules, ({ state }) => state === "ACTIVE", which);
    if (index === undefined) return undefined;
    const request = { requestId: newId(), scheduleId: books.schedules[index]!.id };
    return {
      outcome: model.change(books, (draft) => model.setSchedule(draft, index, verb)),
      send: unary(({ schedules }) => schedules[`${verb}Schedule`](request)),
    };
  },
);

const runSchedule = operation("the time of a schedule comes", fc.nat(), ({ books }, which) => {
  const index = placeOf(books.schedules, ({ state }) => state === "ACTIVE", which);
  if (index === undefined || books.schedules[index]!.state !== "ACTIVE") return undefined;
  const { id } = books.schedules[index]!;
  return {
    outcome: model.runSchedule(books, index),
    send: async ({ grey, admin }) => {
      await admin.query("UPDATE schedules SET due_time = clock_timestamp() WHERE id = $1", [id]);
      await eventually("the run has ended", async () => {
        const { schedule } = await grey.schedules.getSchedule({ id });
        return schedule!.state !== ScheduleState.ACTIVE;
      });
      const { runs } = await grey.schedules.listRuns({ scheduleId: id, pageSize: 1, pageToken: "" });
      const { transactionId, reason } = runs[0]!;
      return {
        reason: reason === ErrorReason.UNSPECIFIED ? undefined : ErrorReason[reason],
        ids: [transactionId],
        answer: {},
      };
    },
    isTime: true,
  };
});

const step = fc.oneof(
  { weight: 5, arbitrary: deposit },
  { weight: 3, arbitrary: withdraw },
  { weight: 3, arbitrary: transfer },
  { weight: 2, arbitrary: streamed },
  { weight: 4, arbitrary: batch },
  { weight: 4, arbitrary: compound },
  { weight: 3, arbitrary: exchange },
  { weight: 9, arbitrary: hold },
  { weight: 3, arbitrary: increase },
  { weight: 3, arbitrary: extend },
  { weight: 9, arbitrary: capture },
  { weight: 2, arbitrary: release },
  { weight: 1, arbitrary: expire },
  { weight: 7, arbitrary: reverse },
  { weight: 2, arbitrary: describeAnew },
  { weight: 3, arbitrary: states },
  { weight: 4, arbitrary: limits },
  { weight: 2, arbitrary: schedule },
  { weight: 1, arbitrary: changeSchedule },
  { weight: 1, arbitrary: runSchedule },
);

/** What the laws say of the records that the check before has not seen. */
async function checkNews({ ledger }: Service): Promise<CheckIntegrityResponse> {
  const stream = ledger.streamIntegrityCheck({ maxFaults: 10, from: { $case: "sinceLast", value: true } });
  const messages = (await stream.toArray()) as StreamIntegrityCheckResponse[];
  return messages.at(-1)!.report!;
}

const CURRENCIES: readonly Currency[] = ["USD", "USD", "USD", "USD", "EUR", "EUR"];
const SYSTEM = (["USD", "EUR"] as const).flatMap((currency) =>
  ["cash", "fees", "fx", "opening"].map((name) => model.newAccount(systemAccountId(currency, name), currency, false)),
);

/** Opens wallets, some of them with money. */
async function begin(service: Service): Promise<State> {
  const { grey } = service;
  const opened = await Promise.all(
    CURRENCIES.map((currencyCode, index) =>
      makeWallet(grey, { currencyCode, minorUnits: index % 2 === 0 ? 200n : 0n }),
    ),
  );
  const wallets = opened.map(({ id }, index) => model.newAccount(id, CURRENCIES[index]!, true));
  const accounts = new Map([...SYSTEM, ...wallets].map((account) => [account.id, account]));
  let books: Books = { accounts, holds: [], transactions: [], schedules: [] };
  for (const { id } of wallets.filter((_, index) => index % 2 === 0)) {
    books = model.post(books, [], (draft) => model.open(draft, id, 200n)).books;
    books.transactions.at(-1)!.id = await latestOf(grey, id, TransactionKind.OPENING);
  }
  return { books, start: BigInt(Date.now()) * 1_000n, rows: await countRows(service), answered: [] };
}

describe("the whole ledger, against a model", function () {
  this.timeout(240_000);

  let server: TestServer;
  let service: Service;

  before(async () => {
    // What waits for its time is due as soon as a step says so.
    server = await startServer({ GREY_HOLD_EXPIRY_EVERY_MS: "50", GREY_SCHEDULE_EVERY_MS: "50" });
    const insecure = credentials.createInsecure();
    service = {
      grey: connect(server.address),
      ledger: new LedgerServiceClient(server.address, insecure),
      transactions: new TransactionServiceClient(server.address, insecure),
      admin: await openAdmin(server.databaseUrl),
    };
  });
  after(async () => {
    for (const client of [service.grey, service.ledger, service.transactions]) client.close();
    await service.admin.end();
    await server.stop();
  });

  async function systemBalances(): Promise<bigint[]> {
    const found = await Promise.all(
      SYSTEM.map(({ id }) => service.grey.ledger.getAccount({ by: { $case: "id", value: id } })),
    );
    return found.map(({ account }) => {
      const { normalSide, balance } = account!;
      return normalSide === NormalSide.CREDIT ? balance!.minorUnits : -balance!.minorUnits;
    });
  }

  it(`agrees in every balance, hold, state and reason after every step (TEST_SEED=${SEED})`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.commands([step], { maxCommands: 80, size: "max" }), async (steps) => {
        const before = await systemBalances();
        const state = await begin(service);
        await fc.asyncModelRun(() => ({ model: state, real: service }), steps);
        await compareTransactions(state, service);
        const moved = (await systemBalances()).map((balance, index) => balance - before[index]!);
        expect(moved).to.deep.equal(SYSTEM.map(({ id }) => model.accountOf(state.books, id).balance));
        expect((await checkNews(service)).faults).to.deep.equal([]);
        expect((await service.grey.ledger.checkIntegrity({ maxFaults: 10 })).faults).to.deep.equal([]);
      }),
      { seed: SEED, numRuns: 16, plugins: [fc.unbiased()], interruptAfterTimeLimit: 100_000 },
    );
  });
});
