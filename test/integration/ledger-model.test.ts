import { expect } from "chai";
import * as fc from "fast-check";
import { SetLimitsRequest, VelocityDirection } from "../../generated/grey/ledger/v1/ledger_service.js";
import { AmountMode, EntrySide, HoldState, type Leg } from "../../generated/grey/transaction/v1/transaction.js";
import {
  CaptureHoldRequest,
  ExchangeRequest,
  HoldRequest,
  IncreaseHoldRequest,
  PostTransactionRequest,
  ReleaseHoldRequest,
  ReverseRequest,
} from "../../generated/grey/transaction/v1/transaction_service.js";
import { WalletState } from "../../generated/grey/wallet/v1/wallet_service.js";
import { newId } from "../../src/base/ids.js";
import { CallError, connect, type Clients } from "../support/client.js";
import { depositRequest, makeWallet, money, transferRequest, withdrawRequest } from "../support/ledger.js";
import { startServer, type TestServer } from "../support/server.js";

// Random sequences of every operation, sent to a real service, and to a model of it that is small enough to be read.

type Currency = "USD" | "EUR";

interface Wallet {
  readonly id: string;
  readonly currency: Currency;
  balance: bigint;
  out: bigint;
  in: bigint;
  state: "OPEN" | "FROZEN" | "CLOSED";
  min: bigint;
  max: bigint | undefined;
  /** What may leave it in a year, and what has. */
  limit: { readonly max: bigint; used: bigint } | undefined;
}

interface Hold {
  readonly id: string;
  readonly wallet: Wallet;
  readonly to: Wallet | undefined;
  amount: bigint;
  captured: bigint;
  state: keyof typeof HoldState;
}

/** A transaction that can be reversed: debits positive, of wallets and of system accounts. */
interface Posted {
  readonly id: string;
  readonly legs: readonly (readonly [account: Wallet | string, amount: bigint])[];
  readonly amount: bigint;
  reversed: bigint;
}

interface Model {
  readonly wallets: readonly Wallet[];
  readonly holds: Hold[];
  readonly posted: Posted[];
  /** By currency and name: what was credited less what was debited, since the model began. */
  readonly system: Map<string, bigint>;
  /** A request that was answered, to be sent again. */
  readonly answered: { readonly send: () => Promise<unknown>; readonly reason: string | undefined }[];
}

const YEAR_SECONDS = 31_536_000n;

const available = (wallet: Wallet): bigint => wallet.balance - wallet.out;

/** Why the wallet takes part in nothing. */
function stateRefuses(wallet: Wallet): string | undefined {
  return wallet.state === "OPEN" ? undefined : `WALLET_${wallet.state}`;
}

function spendRefuses(wallet: Wallet, amount: bigint): string | undefined {
  return available(wallet) - amount < wallet.min ? "INSUFFICIENT_FUNDS" : undefined;
}

function roomRefuses(wallet: Wallet, amount: bigint): string | undefined {
  return wallet.max !== undefined && wallet.balance + wallet.in + amount > wallet.max
    ? "MAX_BALANCE_EXCEEDED"
    : undefined;
}

function velocityRefuses({ limit }: Wallet, amount: bigint): string | undefined {
  return limit !== undefined && limit.used + amount > limit.max ? "VELOCITY_EXCEEDED" : undefined;
}

function isWallet(account: Wallet | string): account is Wallet {
  return typeof account !== "string";
}

/** Why the legs are refused: every account's state, then its funds or room, then its limit. */
function legsRefuse(legs: Posted["legs"], counts: boolean): string | undefined {
  const wallets = legs.filter((leg): leg is readonly [Wallet, bigint] => isWallet(leg[0]));
  const first = (refuses: (wallet: Wallet, amount: bigint) => string | undefined): string | undefined => {
    for (const [wallet, amount] of wallets) {
      const reason = refuses(wallet, amount);
      if (reason !== undefined) return reason;
    }
    return undefined;
  };
  return (
    first(stateRefuses) ??
    first((wallet, amount) => (amount > 0n ? spendRefuses(wallet, amount) : roomRefuses(wallet, -amount))) ??
    (counts ? first((wallet, amount) => (amount > 0n ? velocityRefuses(wallet, amount) : undefined)) : undefined)
  );
}

function apply(model: Model, legs: Posted["legs"], counts: boolean): void {
  for (const [account, amount] of legs) {
    if (isWallet(account)) {
      account.balance -= amount;
      if (counts && amount > 0n && account.limit !== undefined) account.limit.used += amount;
    } else model.system.set(account, (model.system.get(account) ?? 0n) - amount);
  }
}

describe("the whole ledger, against a model", function () {
  this.timeout(240_000);

  let server: TestServer;
  let grey: Clients;

  before(async () => {
    server = await startServer({ GREY_HOLD_EXPIRY_EVERY_MS: "3600000" });
    grey = connect(server.address);
  });
  after(async () => {
    grey.close();
    await server.stop();
  });

  /** One operation: what the model says of it, and how the service is asked. */
  type Operation = (model: Model) => Asked | undefined;
  interface Asked {
    /** Why it must be refused; undefined when it must be posted. */
    readonly reason: string | undefined;
    readonly send: () => Promise<unknown>;
    /** What it does to the model, with the service's answer. */
    // eslint-disable-next-line typescript/no-explicit-any -- answers of every kind
    readonly settle: (answer: any) => void;
  }

  /** A movement by legs, of which the first debit and credit are the sides. */
  function movement(
    model: Model,
    legs: Posted["legs"],
    send: () => Promise<unknown>,
    { reason = legsRefuse(legs, true), amount = legs[0]![1] }: { reason?: string | undefined; amount?: bigint } = {},
  ): Asked {
    return {
      reason,
      send,
      settle: (answer: { transaction: { id: string } }) => {
        apply(model, legs, true);
        model.posted.push({ id: answer.transaction.id, legs, amount, reversed: 0n });
      },
    };
  }

  const amount = fc.bigInt({ min: 1n, max: 60n });
  const wallet = fc.nat(5);
  const pick = <T>(all: readonly T[], index: number): T => all[index % all.length]!;
  const usd = (model: Model, index: number): Wallet => pick(model.wallets.slice(0, 4), index);
  const eur = (model: Model, index: number): Wallet => pick(model.wallets.slice(4), index);
  const id = newId;

  const deposit = fc
    .tuple(wallet, fc.bigInt({ min: 1n, max: 400n }))
    .map(([to, minor]): readonly [string, Operation] => [
      `deposit ${minor} to ${to}`,
      (model) => {
        const one = pick(model.wallets, to);
        const request = depositRequest(one.id, minor, { amount: money(minor, one.currency) });
        return movement(
          model,
          [
            [`${one.currency}/cash`, minor],
            [one, -minor],
          ],
          () => grey.transactions.deposit(request),
        );
      },
    ]);

  const withdraw = fc.tuple(wallet, amount, fc.boolean()).map(([from, minor, upTo]): readonly [string, Operation] => [
    `withdraw ${upTo ? "up to " : ""}${minor} from ${from}`,
    (model) => {
      const one = pick(model.wallets, from);
      const spendable = available(one) - one.min;
      const moved = upTo && spendable > 0n && spendable < minor ? spendable : minor;
      const request = withdrawRequest(one.id, minor, {
        amount: money(minor, one.currency),
        amountMode: upTo ? AmountMode.UP_TO : AmountMode.EXACT,
      });
      return movement(
        model,
        [
          [one, moved],
          [`${one.currency}/cash`, -moved],
        ],
        () => grey.transactions.withdraw(request),
      );
    },
  ]);

  const transfer = fc.tuple(wallet, wallet, amount).map(([from, to, minor]): readonly [string, Operation] => [
    `transfer ${minor} from ${from} to ${to}`,
    (model) => {
      const [payer, payee] = [pick(model.wallets, from), pick(model.wallets, to)];
      const request = transferRequest(payer.id, payee.id, minor, { amount: money(minor, payer.currency) });
      const legs = [
        [payer, minor],
        [payee, -minor],
      ] as const;
      const reason =
        payer === payee
          ? "SAME_WALLET"
          : payer.currency !== payee.currency
            ? (stateRefuses(payer) ?? "CURRENCY_MISMATCH")
            : legsRefuse(legs, true);
      return movement(model, legs, () => grey.transactions.transfer(request), { reason });
    },
  ]);

  const post = fc.tuple(wallet, wallet, amount).map(([from, to, minor]): readonly [string, Operation] => [
    `post ${minor} from ${from} to ${to} with a fee`,
    (model) => {
      const [payer, payee] = [usd(model, from), usd(model, to)];
      if (payer === payee) return undefined;
      const leg = (one: Wallet, side: EntrySide, minorUnits: bigint): Leg => ({
        account: { $case: "walletId", value: one.id },
        side,
        amount: money(minorUnits),
      });
      const request = PostTransactionRequest.fromPartial({
        requestId: id(),
        legs: [
          leg(payer, EntrySide.DEBIT, minor + 1n),
          leg(payee, EntrySide.CREDIT, minor),
          { account: { $case: "systemAccount", value: "fees" }, side: EntrySide.CREDIT, amount: money(1n) },
        ],
      });
      return movement(
        model,
        [
          [payer, minor + 1n],
          [payee, -minor],
          ["USD/fees", -1n],
        ],
        () => grey.transactions.postTransaction(request),
      );
    },
  ]);

  const exchange = fc.tuple(wallet, wallet, amount).map(([from, to, minor]): readonly [string, Operation] => [
    `exchange ${minor} of ${from} into ${to}`,
    (model) => {
      const [payer, payee] = [usd(model, from), eur(model, to)];
      const request = ExchangeRequest.fromPartial({
        requestId: id(),
        fromWalletId: payer.id,
        toWalletId: payee.id,
        sourceAmount: money(minor),
        by: { $case: "rate", value: "2" },
      });
      return movement(
        model,
        [
          [payer, minor],
          ["USD/fx", -minor],
          ["EUR/fx", 2n * minor],
          [payee, -2n * minor],
        ],
        () => grey.transactions.exchange(request),
      );
    },
  ]);

  const hold = fc.tuple(wallet, fc.option(wallet), amount).map(([from, to, minor]): readonly [string, Operation] => [
    `hold ${minor} of ${from} for ${to ?? "nobody"}`,
    (model) => {
      const payer = usd(model, from);
      const payee = to === null ? undefined : usd(model, to);
      if (payer === payee) return undefined;
      const request = HoldRequest.fromPartial({
        requestId: id(),
        walletId: payer.id,
        toWalletId: payee?.id ?? "",
        amount: money(minor),
      });
      return {
        reason:
          stateRefuses(payer) ??
          (payee && stateRefuses(payee)) ??
          spendRefuses(payer, minor) ??
          (payee && roomRefuses(payee, minor)) ??
          velocityRefuses(payer, minor),
        send: () => grey.transactions.hold(request),
        settle: (answer: { hold: { id: string } }) => {
          payer.out += minor;
          if (payee !== undefined) payee.in += minor;
          if (payer.limit !== undefined) payer.limit.used += minor;
          model.holds.push({
            id: answer.hold.id,
            wallet: payer,
            to: payee,
            amount: minor,
            captured: 0n,
            state: "ACTIVE",
          });
        },
      };
    },
  ]);

  const endedReason = (one: Hold): string | undefined => (one.state === "ACTIVE" ? undefined : "HOLD_ENDED");

  const increase = fc.tuple(fc.nat(), amount).map(([index, minor]): readonly [string, Operation] => [
    `increase a hold by ${minor}`,
    ({ holds }) => {
      if (holds.length === 0) return undefined;
      const one = pick(holds, index);
      const request = IncreaseHoldRequest.fromPartial({ requestId: id(), holdId: one.id, amount: money(minor) });
      return {
        reason:
          endedReason(one) ??
          stateRefuses(one.wallet) ??
          (one.to && stateRefuses(one.to)) ??
          spendRefuses(one.wallet, minor) ??
          (one.to && roomRefuses(one.to, minor)) ??
          velocityRefuses(one.wallet, minor),
        send: () => grey.transactions.increaseHold(request),
        settle: () => {
          one.amount += minor;
          one.wallet.out += minor;
          if (one.to !== undefined) one.to.in += minor;
          if (one.wallet.limit !== undefined) one.wallet.limit.used += minor;
        },
      };
    },
  ]);

  const capture = fc
    .tuple(fc.nat(), amount, fc.boolean())
    .map(([index, minor, final]): readonly [string, Operation] => [
      `capture ${minor} of a hold${final ? ", the last" : ""}`,
      (model) => {
        if (model.holds.length === 0) return undefined;
        const one = pick(model.holds, index);
        const left = one.amount - one.captured;
        const request = CaptureHoldRequest.fromPartial({
          requestId: id(),
          holdId: one.id,
          amount: money(minor),
          final,
        });
        const unheld = final || minor === left ? left : minor;
        const legs = [
          [one.wallet, minor],
          [one.to ?? "USD/cash", -minor],
        ] as const;
        return {
          // What the hold had passed its capture passes, so that only states and the hold itself can refuse it.
          reason:
            endedReason(one) ??
            stateRefuses(one.wallet) ??
            (one.to && stateRefuses(one.to)) ??
            (minor > left ? "HOLD_EXCEEDED" : undefined),
          send: () => grey.transactions.captureHold(request),
          settle: (answer: { transaction: { id: string } }) => {
            one.wallet.out -= unheld;
            if (one.to !== undefined) one.to.in -= unheld;
            apply(model, legs, false);
            one.captured += minor;
            if (final || one.captured === one.amount) one.state = "CAPTURED";
            model.posted.push({ id: answer.transaction.id, legs, amount: minor, reversed: 0n });
          },
        };
      },
    ]);

  const release = fc.nat().map((index): readonly [string, Operation] => [
    "release a hold",
    ({ holds }) => {
      if (holds.length === 0) return undefined;
      const one = pick(holds, index);
      const request = ReleaseHoldRequest.fromPartial({ requestId: id(), holdId: one.id });
      return {
        reason: endedReason(one),
        send: () => grey.transactions.releaseHold(request),
        settle: () => {
          const left = one.amount - one.captured;
          one.wallet.out -= left;
          if (one.to !== undefined) one.to.in -= left;
          one.state = "RELEASED";
        },
      };
    },
  ]);

  const reverse = fc.tuple(fc.nat(), fc.option(amount)).map(([index, part]): readonly [string, Operation] => [
    `reverse ${part ?? "all"} of a transaction`,
    (model) => {
      if (model.posted.length === 0) return undefined;
      const one = pick(model.posted, index);
      const left = one.amount - one.reversed;
      // Of many legs all that is left; how parts are shared has its own test.
      const asked = one.legs.length > 2 ? null : part;
      const minor = asked ?? (left > 0n ? left : one.amount);
      const currency = one.legs.map(([account]) => account).find(isWallet)!.currency;
      const request = ReverseRequest.fromPartial({
        requestId: id(),
        transactionId: one.id,
        amount: asked === null ? undefined : money(asked, currency),
      });
      const mirrored =
        one.legs.length > 2
          ? one.legs.map(([account, moved]) => [account, -moved] as const)
          : // The side that was credited is debited first.
            one.legs.toReversed().map(([account, moved]) => [account, moved > 0n ? -minor : minor] as const);
      return {
        reason: minor > left ? "REVERSAL_EXCEEDED" : legsRefuse(mirrored, false),
        send: () => grey.transactions.reverse(request),
        settle: () => {
          apply(model, mirrored, false);
          one.reversed += minor;
        },
      };
    },
  ]);

  const states = fc
    .tuple(wallet, fc.constantFrom("freeze", "unfreeze", "close", "reopen"))
    .map(([index, verb]): readonly [string, Operation] => [
      `${verb} ${index}`,
      (model) => {
        const one = pick(model.wallets, index);
        const request = { requestId: id(), walletId: one.id, reason: "a case" };
        const isEmpty = one.balance === 0n && one.out === 0n && one.in === 0n;
        const rules = {
          freeze: ["FROZEN", stateRefuses(one), () => grey.wallets.freezeWallet(request)],
          unfreeze: [
            "OPEN",
            one.state === "FROZEN" ? undefined : one.state === "CLOSED" ? "WALLET_CLOSED" : "WALLET_NOT_FROZEN",
            () => grey.wallets.unfreezeWallet(request),
          ],
          close: [
            "CLOSED",
            stateRefuses(one) ?? (isEmpty ? undefined : "WALLET_NOT_EMPTY"),
            () => grey.wallets.closeWallet(request),
          ],
          reopen: [
            "OPEN",
            one.state === "CLOSED" ? undefined : "WALLET_NOT_CLOSED",
            () => grey.wallets.reopenWallet(request),
          ],
        } as const;
        const [state, reason, send] = rules[verb];
        return { reason, send, settle: () => void (one.state = state) };
      },
    ]);

  const limits = fc
    .tuple(
      wallet,
      fc.bigInt({ min: -50n, max: 5n }),
      fc.option(fc.bigInt({ min: 10n, max: 1_000n })),
      fc.option(fc.bigInt({ min: 0n, max: 300n })),
    )
    .map(([index, min, max, velocity]): readonly [string, Operation] => [
      `limits of ${index}: ${min} to ${max ?? "any"}, ${velocity ?? "any"} a year`,
      (model) => {
        const one = pick(model.wallets, index);
        const request = SetLimitsRequest.fromPartial({
          requestId: id(),
          account: { $case: "walletId", value: one.id },
          limits: {
            minBalance: min,
            maxBalance: max ?? undefined,
            velocity:
              velocity === null
                ? []
                : [
                    {
                      name: "yearly",
                      direction: VelocityDirection.OUTGOING,
                      windowSeconds: YEAR_SECONDS,
                      maxAmount: velocity,
                    },
                  ],
          },
        });
        const isOutside = available(one) < min || (max !== null && one.balance + one.in > max);
        return {
          reason: isOutside ? "LIMIT_BREACHED" : undefined,
          send: () => grey.ledger.setLimits(request),
          settle: () => {
            one.min = min;
            one.max = max ?? undefined;
            // What was used stays while there is such a limit.
            one.limit = velocity === null ? undefined : { max: velocity, used: one.limit?.used ?? 0n };
          },
        };
      },
    ]);

  const operation = fc.oneof(
    { weight: 4, arbitrary: deposit },
    { weight: 2, arbitrary: withdraw },
    { weight: 4, arbitrary: transfer },
    { weight: 3, arbitrary: post },
    { weight: 2, arbitrary: exchange },
    { weight: 4, arbitrary: hold },
    { weight: 2, arbitrary: increase },
    { weight: 3, arbitrary: capture },
    { weight: 2, arbitrary: release },
    { weight: 3, arbitrary: reverse },
    { weight: 1, arbitrary: states },
    { weight: 2, arbitrary: limits },
  );

  const reasonOf = async (sent: Promise<unknown>): Promise<{ reason: string | undefined; answer: unknown }> =>
    sent.then(
      (answer) => ({ reason: undefined, answer }),
      (error: unknown) => {
        if (!(error instanceof CallError)) throw error;
        return { reason: error.reason, answer: undefined };
      },
    );

  const systemBalance = async (key: string): Promise<bigint> => {
    const [currencyCode = "", name = ""] = key.split("/");
    const { account } = await grey.ledger.getAccount({
      by: { $case: "systemAccount", value: { name, currencyCode } },
    });
    const minor = account!.balance!.minorUnits;
    return name === "cash" ? -minor : minor;
  };

  const SYSTEM = ["USD/cash", "EUR/cash", "USD/fees", "USD/fx", "EUR/fx"];

  /** Compares all balances, states and holds. */
  async function compare(model: Model): Promise<void> {
    const { wallets } = await grey.wallets.batchGetWallets({ ids: model.wallets.map((one) => one.id) });
    expect(
      wallets.map(({ wallet, balance }) => ({
        state: WalletState[wallet!.state],
        balance: balance!.posted!.minorUnits,
        available: balance!.available!.minorUnits,
        in: balance!.pendingIncoming!.minorUnits,
      })),
    ).to.deep.equal(
      model.wallets.map((one) => ({
        state: one.state,
        balance: one.balance,
        available: available(one),
        in: one.in,
      })),
    );
    for (const one of model.holds) {
      const { hold: found } = await grey.transactions.getHold({ id: one.id });
      expect([HoldState[found!.state], found!.amount!.minorUnits, found!.captured!.minorUnits]).to.deep.equal([
        one.state,
        one.amount,
        one.captured,
      ]);
    }
  }

  it("agrees in every balance, hold, state and reason after every step", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(operation, fc.option(fc.nat(), { freq: 6 })), { minLength: 40, maxLength: 80, size: "max" }),
        async (steps) => {
          const currencies: Currency[] = ["USD", "USD", "USD", "USD", "EUR", "EUR"];
          const wallets = await Promise.all(
            currencies.map(async (currency): Promise<Wallet> => {
              const made = await makeWallet(grey, { currencyCode: currency });
              const nothing = { balance: 0n, out: 0n, in: 0n, min: 0n, max: undefined, limit: undefined };
              return { id: made.id, currency, state: "OPEN", ...nothing };
            }),
          );
          const model: Model = { wallets, holds: [], posted: [], system: new Map(), answered: [] };
          const before = await Promise.all(SYSTEM.map(systemBalance));
          for (const [[, operate], again] of steps) {
            const asked = operate(model);
            if (asked === undefined) continue;
            const { reason, answer } = await reasonOf(asked.send());
            expect(reason).to.equal(asked.reason);
            if (reason === undefined) asked.settle(answer);
            model.answered.push({ send: asked.send, reason });
            if (again !== null) {
              // A request that was answered before gets its answer, and does nothing.
              const earlier = pick(model.answered, again);
              expect((await reasonOf(earlier.send())).reason).to.equal(earlier.reason);
            }
            await compare(model);
          }
          const after = await Promise.all(SYSTEM.map(systemBalance));
          expect(after.map((balance, index) => balance - before[index]!)).to.deep.equal(
            SYSTEM.map((key) => model.system.get(key) ?? 0n),
          );
          const { faults } = await grey.ledger.checkIntegrity({ maxFaults: 10 });
          expect(faults).to.deep.equal([]);
        },
      ),
      { numRuns: 12, endOnFailure: true },
    );
  });
});
