import { expect } from "chai";
import * as fc from "fast-check";
import type { Failure } from "../../src/base/failure.js";
import { AMOUNT_MAX, AMOUNT_MIN, isInt64 } from "../../src/base/money.js";
import { ACCOUNT_STATE, NORMAL_SIDE, type AccountState } from "../../src/base/codes.js";
import { type Account, availableMinor } from "../../src/ledger/account/account.js";
import { decideMovement, toMovement } from "../../src/ledger/decide/movement.js";
import { walletAccount } from "../support/accounts.js";
import { createModelState, type ModelState } from "../support/model-state.js";
import { NO_CALLER_DATA, type MovementCommand } from "../../src/ledger/command/command.js";

/** Returns a debit-normal system account without limits, like `cash`. */
function system(id: string, over: Partial<Account> = {}): Account {
  return walletAccount(id, { isWallet: false, normalSide: NORMAL_SIDE.DEBIT, minBalanceMinor: null, ...over });
}

const REQUEST = {
  caller: "caller",
  requestId: "request",
  transactionId: "transaction",
  data: NO_CALLER_DATA,
  effectiveTime: null,
  isUpTo: false,
  preconditions: [],
  requestTerms: null,
};

function transfer(
  debitAccountId: string,
  creditAccountId: string,
  amountMinor: bigint,
  currencyCode = "USD",
): MovementCommand {
  return {
    ...REQUEST,
    kind: "TRANSFER",
    debitAccountId,
    creditAccountId,
    amountMinor,
    currencyCode,
    system: null,
  };
}

function deposit(creditAccountId: string, amountMinor: bigint, from = "cash"): MovementCommand {
  return {
    ...transfer(from, creditAccountId, amountMinor),
    kind: "DEPOSIT",
    system: { name: from, accountId: from },
  };
}

function withdrawal(debitAccountId: string, amountMinor: bigint, to = "cash"): MovementCommand {
  return {
    ...transfer(debitAccountId, to, amountMinor),
    kind: "WITHDRAWAL",
    system: { name: to, accountId: to },
  };
}

/** Decides the movement. @returns its entries or its failure */
function decide(all: ModelState, command: MovementCommand) {
  const decision = decideMovement(all, command);
  expect(decision.movement).to.deep.equal(toMovement(command));
  return "failure" in decision ? { failure: decision.failure } : { entries: decision.entries };
}

/** Returns the pending sums, which a movement does not change. */
function pendingOf({ pendingDebitsMinor, pendingCreditsMinor }: Account) {
  return { pendingDebitsAfterMinor: pendingDebitsMinor, pendingCreditsAfterMinor: pendingCreditsMinor };
}

const poor = walletAccount("poor");
const rich = walletAccount("rich", { balanceMinor: 1_000n, sequence: 7n });
const euros = walletAccount("euros", { currencyCode: "EUR", balanceMinor: 1_000n });
const frozen = walletAccount("frozen", { state: ACCOUNT_STATE.FROZEN, balanceMinor: 1_000n });
const closed = walletAccount("closed", { state: ACCOUNT_STATE.CLOSED });
const full = walletAccount("full", { balanceMinor: AMOUNT_MAX });
const held = walletAccount("held", { balanceMinor: 1_000n, pendingDebitsMinor: 400n, pendingCreditsMinor: 5_000n });
const overdraft = walletAccount("overdraft", { balanceMinor: -50n, minBalanceMinor: -100n });
const reserve = walletAccount("reserve", { balanceMinor: 1_000n, minBalanceMinor: 300n });
const capped = walletAccount("capped", { balanceMinor: 900n, maxBalanceMinor: 1_000n });
const bottomless = walletAccount("bottomless", { balanceMinor: AMOUNT_MIN + 5n, minBalanceMinor: null });
const cash = system("cash");
const fullCash = system("full-cash", { balanceMinor: AMOUNT_MAX });
const emptyCash = system("empty-cash", { balanceMinor: AMOUNT_MIN });
const ACCOUNTS = [
  poor, rich, euros, frozen, closed, full, held, overdraft, reserve, capped, bottomless, cash, fullCash, emptyCash,
]; // prettier-ignore

const missing = (walletId: string): Failure => ({ reason: "WALLET_NOT_FOUND", walletId });
const overflow = (accountId: string): Failure => ({ reason: "BALANCE_OVERFLOW", accountId });
const mismatch = (walletId: string, walletCurrencyCode: string, amountCurrencyCode: string): Failure => ({
  reason: "CURRENCY_MISMATCH",
  walletId,
  walletCurrencyCode,
  amountCurrencyCode,
});
const insufficient = (walletId: string, availableMinorUnits: bigint, requiredMinorUnits: bigint): Failure => ({
  reason: "INSUFFICIENT_FUNDS",
  walletId,
  currencyCode: "USD",
  availableMinorUnits,
  requiredMinorUnits,
});

interface Refusal {
  readonly title: string;
  readonly command: MovementCommand;
  readonly failure: Failure;
}

const REFUSALS: readonly Refusal[] = [
  // One rule each.
  {
    title: "the same wallet on both sides",
    command: transfer("rich", "rich", 1n),
    failure: { reason: "SAME_WALLET", walletId: "rich" },
  },
  { title: "an unknown wallet on the debit side", command: transfer("none", "poor", 1n), failure: missing("none") },
  { title: "an unknown wallet on the credit side", command: transfer("rich", "none", 1n), failure: missing("none") },
  {
    title: "an unknown system account to deposit from",
    command: deposit("poor", 1n, "none"),
    failure: { reason: "ACCOUNT_NOT_FOUND", systemAccount: "none", currencyCode: "USD" },
  },
  {
    title: "an unknown system account to withdraw to",
    command: withdrawal("rich", 1n, "none"),
    failure: { reason: "ACCOUNT_NOT_FOUND", systemAccount: "none", currencyCode: "USD" },
  },
  {
    title: "a system account named as the wallet to debit",
    command: transfer("cash", "poor", 1n),
    failure: missing("cash"),
  },
  {
    title: "a system account named as the wallet to credit",
    command: transfer("rich", "cash", 1n),
    failure: missing("cash"),
  },
  {
    title: "another system account named as the wallet of a deposit",
    command: deposit("full-cash", 1n),
    failure: missing("full-cash"),
  },
  {
    title: "the deposit's own system account named as its wallet",
    command: deposit("cash", 1n),
    failure: missing("cash"),
  },
  {
    title: "the withdrawal's own system account named as its wallet",
    command: withdrawal("cash", 1n),
    failure: missing("cash"),
  },
  {
    title: "another currency on the debit side",
    command: transfer("euros", "poor", 1n),
    failure: mismatch("euros", "EUR", "USD"),
  },
  {
    title: "another currency on the credit side",
    command: transfer("rich", "euros", 1n),
    failure: mismatch("euros", "EUR", "USD"),
  },
  {
    title: "an amount in neither wallet's currency",
    command: transfer("rich", "poor", 1n, "EUR"),
    failure: mismatch("rich", "USD", "EUR"),
  },
  {
    title: "a closed wallet on the debit side",
    command: transfer("closed", "poor", 1n),
    failure: { reason: "WALLET_CLOSED", walletId: "closed" },
  },
  {
    title: "a closed wallet on the credit side",
    command: deposit("closed", 1n),
    failure: { reason: "WALLET_CLOSED", walletId: "closed" },
  },
  {
    title: "a frozen wallet on the debit side",
    command: withdrawal("frozen", 1n),
    failure: { reason: "WALLET_FROZEN", walletId: "frozen" },
  },
  {
    title: "a frozen wallet on the credit side",
    command: transfer("rich", "frozen", 1n),
    failure: { reason: "WALLET_FROZEN", walletId: "frozen" },
  },
  {
    title: "more than the balance",
    command: transfer("rich", "poor", 1_001n),
    failure: insufficient("rich", 1_000n, 1_001n),
  },
  { title: "anything from an empty wallet", command: withdrawal("poor", 1n), failure: insufficient("poor", 0n, 1n) },
  {
    title: "more than the balance less holds; incoming holds do not count",
    command: transfer("held", "poor", 601n),
    failure: insufficient("held", 600n, 601n),
  },
  {
    title: "more than the overdraft allows",
    command: transfer("overdraft", "poor", 51n),
    failure: { ...insufficient("overdraft", 50n, 51n), minBalanceMinorUnits: -100n } as Failure,
  },
  {
    title: "an amount that would go below a positive minimum",
    command: transfer("reserve", "poor", 701n),
    failure: { ...insufficient("reserve", 700n, 701n), minBalanceMinorUnits: 300n } as Failure,
  },
  {
    title: "an amount that would raise the credited wallet above int64",
    command: transfer("rich", "full", 1n),
    failure: overflow("full"),
  },
  {
    title: "an amount that would raise it above its maximum",
    command: transfer("rich", "capped", 101n),
    failure: {
      reason: "MAX_BALANCE_EXCEEDED",
      accountId: "capped",
      currencyCode: "USD",
      maxBalanceMinorUnits: 1_000n,
      roomMinorUnits: 100n,
      requiredMinorUnits: 101n,
    },
  },
  {
    title: "an amount that would lower the debited wallet below int64",
    command: transfer("bottomless", "poor", 6n),
    failure: overflow("bottomless"),
  },
  {
    title: "an amount that would raise the debited system account above int64",
    command: deposit("poor", 1n, "full-cash"),
    failure: overflow("full-cash"),
  },
  {
    title: "an amount that would lower the credited system account below int64",
    command: withdrawal("rich", 1n, "empty-cash"),
    failure: overflow("empty-cash"),
  },
  // Two rules at once: the first in the documented order applies.
  {
    title: "the same unknown wallet on both sides",
    command: transfer("none", "none", 1n),
    failure: { reason: "SAME_WALLET", walletId: "none" },
  },
  {
    title: "the same frozen wallet on both sides",
    command: transfer("frozen", "frozen", 1n),
    failure: { reason: "SAME_WALLET", walletId: "frozen" },
  },
  {
    title: "two unknown wallets, for the debited one",
    command: transfer("none", "nothing", 1n),
    failure: missing("none"),
  },
  {
    title: "an unknown wallet before the other's state",
    command: transfer("frozen", "none", 1n),
    failure: missing("none"),
  },
  {
    title: "an unknown wallet before the other's funds",
    command: transfer("poor", "none", 1n),
    failure: missing("none"),
  },
  {
    title: "the currency before the state of the same wallet",
    command: transfer("frozen", "poor", 1n, "EUR"),
    failure: mismatch("frozen", "USD", "EUR"),
  },
  {
    title: "a frozen debit side before a closed credit side",
    command: transfer("frozen", "closed", 1n),
    failure: { reason: "WALLET_FROZEN", walletId: "frozen" },
  },
  {
    title: "a closed debit side before a frozen credit side",
    command: transfer("closed", "frozen", 1n),
    failure: { reason: "WALLET_CLOSED", walletId: "closed" },
  },
  {
    title: "the credited wallet's state before the debited one's funds",
    command: transfer("poor", "frozen", 1n),
    failure: { reason: "WALLET_FROZEN", walletId: "frozen" },
  },
  {
    title: "the credited wallet's currency before the debited one's funds",
    command: transfer("poor", "euros", 1n),
    failure: mismatch("euros", "EUR", "USD"),
  },
  { title: "the funds before the range", command: transfer("poor", "full", 1n), failure: insufficient("poor", 0n, 1n) },
  {
    title: "the funds before the range of the system account",
    command: withdrawal("poor", 1n, "empty-cash"),
    failure: insufficient("poor", 0n, 1n),
  },
  {
    title: "two ranges, for the debited account",
    command: deposit("full", 1n, "full-cash"),
    failure: overflow("full-cash"),
  },
];

describe("decideMovement() rejects", () => {
  for (const { title, command, failure } of REFUSALS) {
    it(title, () => {
      const before = createModelState(ACCOUNTS);
      const after = createModelState(ACCOUNTS);
      expect(decide(after, command)).to.deep.equal({ failure });
      expect([...after], "a rejection changes nothing").to.deep.equal([...before]);
    });
  }
});

interface Posting {
  readonly title: string;
  readonly command: MovementCommand;
  readonly debitAfter: bigint;
  readonly creditAfter: bigint;
}

const POSTINGS: readonly Posting[] = [
  { title: "the whole balance", command: transfer("rich", "poor", 1_000n), debitAfter: 0n, creditAfter: 1_000n },
  { title: "one minor unit", command: transfer("rich", "poor", 1n), debitAfter: 999n, creditAfter: 1n },
  {
    title: "the whole available balance",
    command: transfer("held", "poor", 600n),
    debitAfter: 400n,
    creditAfter: 600n,
  },
  { title: "down to the overdraft", command: transfer("overdraft", "poor", 50n), debitAfter: -100n, creditAfter: 50n },
  { title: "down to the minimum", command: transfer("reserve", "poor", 700n), debitAfter: 300n, creditAfter: 700n },
  { title: "up to the maximum", command: transfer("rich", "capped", 100n), debitAfter: 900n, creditAfter: 1_000n },
  {
    title: "down to the end of int64",
    command: transfer("bottomless", "poor", 5n),
    debitAfter: AMOUNT_MIN,
    creditAfter: 5n,
  },
  {
    title: "the highest amount",
    command: deposit("poor", AMOUNT_MAX),
    debitAfter: AMOUNT_MAX,
    creditAfter: AMOUNT_MAX,
  },
  { title: "a deposit, which raises cash", command: deposit("rich", 5n), debitAfter: 5n, creditAfter: 1_005n },
  { title: "a withdrawal, which lowers cash", command: withdrawal("rich", 5n), debitAfter: 995n, creditAfter: -5n },
  {
    title: "a deposit out of a full overdraft",
    command: deposit("overdraft", 150n),
    debitAfter: 150n,
    creditAfter: 100n,
  },
];

describe("decideMovement() posts", () => {
  for (const { title, command, debitAfter, creditAfter } of POSTINGS) {
    it(title, () => {
      const { debitAccountId, creditAccountId, amountMinor } = command;
      const before = createModelState(ACCOUNTS);
      const after = createModelState(ACCOUNTS);
      const debit = before.get(debitAccountId)!;
      const credit = before.get(creditAccountId)!;
      expect(decide(after, command)).to.deep.equal({
        entries: [
          {
            accountId: debitAccountId,
            currencyCode: "USD",
            isWallet: debit.isWallet,
            sequence: debit.sequence + 1n,
            amountMinor,
            balanceAfterMinor: debitAfter,
            ...pendingOf(debit),
          },
          {
            accountId: creditAccountId,
            currencyCode: "USD",
            isWallet: credit.isWallet,
            sequence: credit.sequence + 1n,
            amountMinor: -amountMinor,
            balanceAfterMinor: creditAfter,
            ...pendingOf(credit),
          },
        ],
      });
      before.set(debitAccountId, { ...debit, balanceMinor: debitAfter, sequence: debit.sequence + 1n });
      before.set(creditAccountId, { ...credit, balanceMinor: creditAfter, sequence: credit.sequence + 1n });
      expect([...after], "nothing but the two accounts changes").to.deep.equal([...before]);
    });
  }
});

describe("the available balance", () => {
  it("of a wallet is its balance less its pending debits", () => {
    expect(availableMinor(held)).to.equal(600n);
  });

  it("of a debit-normal account is its balance less its pending credits", () => {
    expect(availableMinor({ ...held, normalSide: NORMAL_SIDE.DEBIT })).to.equal(-4_000n);
  });
});

describe("any list of movements", () => {
  const currencies = ["USD", "EUR"] as const;
  const ids = currencies.flatMap((code) => [0, 1, 2].map((n) => `${code}-${n}`));
  const cashIds = currencies.map((code) => `${code}-cash`);
  const state = fc.oneof(
    { weight: 8, arbitrary: fc.constant<AccountState>(ACCOUNT_STATE.OPEN) },
    { weight: 1, arbitrary: fc.constantFrom<AccountState>(ACCOUNT_STATE.FROZEN, ACCOUNT_STATE.CLOSED) },
  );
  // Amounts near the ends of int64 too, so that range failures occur as well.
  const amount = fc.oneof(
    { weight: 8, arbitrary: fc.bigInt({ min: 1n, max: 300n }) },
    { weight: 1, arbitrary: fc.bigInt({ min: 1n, max: AMOUNT_MAX }) },
  );
  const account = fc.record({
    state,
    balanceMinor: fc.oneof(
      { weight: 4, arbitrary: fc.bigInt({ min: 0n, max: 500n }) },
      { weight: 1, arbitrary: fc.constant(AMOUNT_MAX - 100n) },
    ),
    pendingDebitsMinor: fc.bigInt({ min: 0n, max: 50n }),
    minBalanceMinor: fc.constantFrom(0n, -100n, null),
    maxBalanceMinor: fc.oneof(
      { weight: 3, arbitrary: fc.constant(null) },
      { weight: 1, arbitrary: fc.constant(AMOUNT_MAX - 50n) },
    ),
  });
  const start = fc
    .tuple(...ids.map(() => account))
    .map((rows) => [
      ...rows.map((row, index) => walletAccount(ids[index]!, { ...row, currencyCode: ids[index]!.slice(0, 3) })),
      ...cashIds.map((id) => system(id, { currencyCode: id.slice(0, 3) })),
    ]);
  const code = fc.constantFrom(...currencies);
  const anyWallet = fc.constantFrom(...ids, ...cashIds, "unknown");
  const ofOneCurrency = code.chain((one) => {
    const own = fc.constantFrom(...ids.filter((id) => id.startsWith(one)));
    return fc.tuple(own, own, amount, fc.constant(one));
  });
  const movement = fc.oneof(
    { weight: 4, arbitrary: ofOneCurrency.map((args) => transfer(...args)) },
    { weight: 1, arbitrary: fc.tuple(anyWallet, anyWallet, amount, code).map((args) => transfer(...args)) },
    {
      weight: 4,
      arbitrary: fc
        .tuple(fc.oneof(fc.constantFrom(...ids), anyWallet), amount, code, fc.boolean())
        .map(([id, minor, currencyCode, into]) => {
          const cashId = `${currencyCode}-cash`;
          return { ...(into ? deposit(id, minor, cashId) : withdrawal(id, minor, cashId)), currencyCode };
        }),
    },
  );

  /** Sums balances: debit-normal ones positive, credit-normal ones negative. */
  function sumOf(all: ModelState, currencyCode: string): bigint {
    return [...all.values()]
      .filter((one) => one.currencyCode === currencyCode)
      .reduce(
        (sum, { normalSide, balanceMinor }) => sum + (normalSide === NORMAL_SIDE.DEBIT ? balanceMinor : -balanceMinor),
        0n,
      );
  }

  it("conserves the sum of each currency, keeps sequences dense and balances within limits, and changes nothing on rejection", () => {
    let posted = 0;
    let rejected = 0;
    fc.assert(
      fc.property(start, fc.array(movement, { minLength: 1, maxLength: 40 }), (accounts, commands) => {
        const all = createModelState(accounts);
        const sums = currencies.map((one) => sumOf(all, one));
        const entries = new Map<string, { sequence: bigint; balanceAfterMinor: bigint; amountMinor: bigint }[]>();
        for (const command of commands) {
          const before = new Map(all);
          const decision = decide(all, command);
          if ("failure" in decision) {
            rejected += 1;
            expect([...all]).to.deep.equal([...before]);
          } else {
            posted += 1;
            for (const entry of decision.entries) {
              entries.set(entry.accountId, [...(entries.get(entry.accountId) ?? []), entry]);
              // A balance may start outside its limits; a movement never leaves it outside on the side that it moves to.
              const after = all.get(entry.accountId)!;
              const isRaised = after.balanceMinor > before.get(entry.accountId)!.balanceMinor;
              expect(isInt64(after.balanceMinor)).to.equal(true);
              if (!isRaised && after.minBalanceMinor !== null)
                expect(availableMinor(after) >= after.minBalanceMinor).to.equal(true);
              if (isRaised && after.maxBalanceMinor !== null)
                expect(after.balanceMinor <= after.maxBalanceMinor).to.equal(true);
            }
          }
          expect(currencies.map((one) => sumOf(all, one))).to.deep.equal(sums);
        }
        for (const first of accounts) {
          const list = entries.get(first.id) ?? [];
          const last = all.get(first.id)!;
          expect(list.map((entry) => entry.sequence)).to.deep.equal(
            list.map((_, index) => first.sequence + BigInt(index) + 1n),
          );
          expect(last.sequence).to.equal(first.sequence + BigInt(list.length));
          expect(last.balanceMinor).to.equal(list.at(-1)?.balanceAfterMinor ?? first.balanceMinor);
          const moved = list.reduce((sum, entry) => sum + entry.amountMinor, 0n);
          const raised = first.normalSide === NORMAL_SIDE.DEBIT ? moved : -moved;
          expect(last.balanceMinor).to.equal(first.balanceMinor + raised);
        }
      }),
      { numRuns: 300 },
    );
    expect(posted, "movements that were posted").to.be.greaterThan(200);
    expect(rejected, "movements that were rejected").to.be.greaterThan(200);
  });

  it("has the same outcome in one batch as in two, wherever it is split", () => {
    fc.assert(
      fc.property(start, fc.array(movement, { maxLength: 20 }), fc.nat(20), (accounts, commands, cut) => {
        const whole = createModelState(accounts);
        const decisions = commands.map((command) => decide(whole, command));
        const first = createModelState(accounts);
        const head = commands.slice(0, cut).map((command) => decide(first, command));
        const second = createModelState([...first.values()]);
        const tail = commands.slice(cut).map((command) => decide(second, command));
        expect([...head, ...tail]).to.deep.equal(decisions);
        expect(second).to.deep.equal(whole);
      }),
      { numRuns: 100 },
    );
  });
});
