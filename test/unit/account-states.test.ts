import { walletAccount } from "../support/accounts.js";
import { fxAccountId } from "../../src/ledger/command/system-account.js";
import { toMovement } from "../../src/ledger/decide/movement.js";
import { expect } from "chai";
import {
  type TransactionKind,
  ACCOUNT_STATE,
  NORMAL_SIDE,
  type AccountState,
  HOLD_STATE,
} from "../../src/base/codes.js";
import type { Account } from "../../src/ledger/account/account.js";
import type { Original } from "../../src/ledger/decide/state.js";
import { decide } from "../../src/ledger/decide/decide.js";
import { toExpiryCommand } from "../../src/ledger/hold/expiry.js";
import type { Hold } from "../../src/ledger/decide/hold.js";
import {
  type Command,
  type CompoundCommand,
  type ExchangeCommand,
  type Leg,
  type ReverseCommand,
} from "../../src/ledger/command/command.js";
import { capture, extend, hold, hours, increase, release } from "../support/holds.js";
import { deposit, transfer, withdrawal } from "../support/ledger.js";
import { ModelState } from "../support/model-state.js";

const [PAYER, PAYEE, CASH, HOLD, ORIGINAL] = ["payer", "payee", deposit("", 1n).debitAccountId, "hold", "original"];
const FX = fxAccountId("USD");
const LEGS: readonly Leg[] = [
  { accountId: PAYER, currencyCode: "USD", amountMinor: 5n },
  { accountId: PAYEE, currencyCode: "USD", amountMinor: -5n },
];

/** A state with a payer and a payee, a hold on the payer's money, and a reversible transaction between them. */
class TwoPartyState extends ModelState {
  originalLegs: readonly Leg[] | null = null;

  override getOriginal(): Original | undefined {
    const legs = this.originalLegs;
    return {
      id: ORIGINAL,
      movement: { ...toMovement(transfer(PAYER, PAYEE, 5n)), legs },
      isPosted: true,
      createTime: 0n,
      reversedMinor: 0n,
      reversalCount: 0,
      reversedLegs: legs === null ? [] : legs.map(() => 0n),
    };
  }

  override setOriginal(): void {
    // The reversal is not read again.
  }
}

function account(id: string, over: Partial<Account>): Account {
  return walletAccount(id, { balanceMinor: 1_000n, sequence: 1n, ...over });
}

const NOW = 1_000_000n;

/** @param holdCase the hold on the payer's money: for the payee, for no particular wallet, or due to expire */
function createState(
  accountStates: Readonly<Record<string, AccountState>>,
  holdCase: "FOR_PAYEE" | "FOR_NOBODY" | "EXPIRED",
) {
  const isForPayee = holdCase !== "FOR_NOBODY";
  const state = new TwoPartyState([
    [PAYER, account(PAYER, { state: accountStates[PAYER] ?? ACCOUNT_STATE.OPEN, pendingDebitsMinor: 10n })],
    [
      PAYEE,
      account(PAYEE, { state: accountStates[PAYEE] ?? ACCOUNT_STATE.OPEN, pendingCreditsMinor: isForPayee ? 10n : 0n }),
    ],
    [CASH, account(CASH, { isWallet: false, normalSide: NORMAL_SIDE.DEBIT, minBalanceMinor: null })],
    [FX, account(FX, { isWallet: false, minBalanceMinor: null })],
  ]);
  const reserved: Hold = {
    id: HOLD,
    accountId: PAYER,
    toAccountId: isForPayee ? PAYEE : null,
    currencyCode: "USD",
    amountMinor: 10n,
    capturedMinor: 0n,
    state: HOLD_STATE.ACTIVE,
    expireTime: holdCase === "EXPIRED" ? NOW : NOW + 1_000_000n,
    expiresInMicros: null,
    createTime: 0n,
    updateTime: 0n,
  };
  state.setHold(reserved);
  state.now = NOW;
  return state;
}

const compound = (): CompoundCommand => ({
  ...transfer(PAYER, PAYEE, 5n),
  kind: "COMPOUND",
  legs: LEGS,
  system: new Map(),
});
const exchange = (): ExchangeCommand => {
  const amount = { currencyCode: "USD", amountMinor: 5n };
  return {
    ...transfer(PAYER, PAYEE, 5n),
    kind: "EXCHANGE",
    fromWalletId: PAYER,
    toWalletId: PAYEE,
    exchange: { source: amount, target: amount, rate: null, rounding: null, rateId: null },
    validUntil: null,
  };
};
const reversal = (): ReverseCommand => ({
  ...release(HOLD),
  kind: "REVERSAL",
  originalId: ORIGINAL,
  amount: null,
  atEffectiveTimeOfOriginal: false,
});

interface Operation {
  readonly command: Command;
  /** The wallets involved. */
  readonly wallets: readonly string[];
  /** Releases held money, which no wallet state prevents. */
  readonly isRelease?: true;
  readonly holdCase?: Parameters<typeof createState>[1];
  readonly originalLegs?: readonly Leg[];
}

const BOTH = [PAYER, PAYEE];
const toPayee = { to: { walletId: PAYEE } };
const OPERATIONS: Readonly<Record<TransactionKind, readonly Operation[]>> = {
  OPENING: [{ command: { ...deposit(PAYEE, 5n), kind: "OPENING" }, wallets: [PAYEE] }],
  DEPOSIT: [{ command: deposit(PAYEE, 5n), wallets: [PAYEE] }],
  WITHDRAWAL: [{ command: withdrawal(PAYER, 5n), wallets: [PAYER] }],
  TRANSFER: [
    { command: transfer(PAYER, PAYEE, 5n), wallets: BOTH },
    { command: transfer(PAYER, PAYEE, 5n, { isUpTo: true }), wallets: BOTH },
  ],
  COMPOUND: [{ command: compound(), wallets: BOTH }],
  EXCHANGE: [{ command: exchange(), wallets: BOTH }],
  HOLD: [
    { command: hold(PAYER, 5n, { toWalletId: PAYEE }), wallets: BOTH },
    { command: hold(PAYER, 5n), wallets: [PAYER] },
  ],
  HOLD_INCREASE: [
    { command: increase(HOLD, 5n), wallets: BOTH },
    { command: increase(HOLD, 5n), wallets: [PAYER], holdCase: "FOR_NOBODY" },
  ],
  HOLD_EXTENSION: [
    { command: extend(HOLD, hours(2n)), wallets: BOTH },
    { command: extend(HOLD, hours(2n)), wallets: [PAYER], holdCase: "FOR_NOBODY" },
  ],
  HOLD_CAPTURE: [
    { command: capture(HOLD, 5n), wallets: BOTH },
    { command: capture(HOLD, null), wallets: BOTH },
    { command: capture(HOLD, 0n, { isFinal: true }), wallets: BOTH },
    { command: capture(HOLD, 5n), wallets: [PAYER], holdCase: "FOR_NOBODY" },
    { command: capture(HOLD, 5n, toPayee), wallets: BOTH, holdCase: "FOR_NOBODY" },
    { command: capture(HOLD, 0n, { ...toPayee, isFinal: true }), wallets: BOTH, holdCase: "FOR_NOBODY" },
  ],
  HOLD_RELEASE: [{ command: release(HOLD), wallets: BOTH, isRelease: true }],
  HOLD_EXPIRY: [{ command: toExpiryCommand(HOLD), wallets: BOTH, isRelease: true, holdCase: "EXPIRED" }],
  REVERSAL: [
    { command: reversal(), wallets: BOTH },
    { command: reversal(), wallets: BOTH, originalLegs: LEGS },
  ],
};

const REFUSALS = { FROZEN: "WALLET_FROZEN", CLOSED: "WALLET_CLOSED" } as const;

describe("a wallet that is frozen or closed", () => {
  const reasonFor = (
    { command, holdCase = "FOR_PAYEE", originalLegs }: Operation,
    states: Readonly<Record<string, AccountState>>,
  ) => {
    const state = createState(states, holdCase);
    state.originalLegs = originalLegs ?? null;
    const before = new Map(state);
    const decision = decide(state, command);
    if ("unkept" in decision) return decision.unkept;
    if (!("failure" in decision)) return "POSTED";
    expect(new Map(state)).to.deep.equal(before);
    expect(state.getHold(HOLD)).to.deep.equal(createState(states, holdCase).getHold(HOLD));
    return decision.failure;
  };

  for (const [kind, operations] of Object.entries(OPERATIONS)) {
    for (const [index, operation] of operations.entries()) {
      const { wallets, isRelease = false } = operation;
      it(`${isRelease ? "permits" : "rejects"} ${kind} ${index + 1} on either side`, () => {
        expect(reasonFor(operation, {})).to.equal("POSTED");
        for (const state of ["FROZEN", "CLOSED"] as const) {
          for (const walletId of wallets) {
            const outcome = reasonFor(operation, { [walletId]: ACCOUNT_STATE[state] });
            if (isRelease) expect(outcome, `${state} ${walletId}`).to.equal("POSTED");
            else expect(outcome, `${state} ${walletId}`).to.deep.equal({ reason: REFUSALS[state], walletId });
          }
          // The state of a wallet that is not involved does not matter.
          for (const walletId of BOTH.filter((id) => !wallets.includes(id)))
            expect(reasonFor(operation, { [walletId]: ACCOUNT_STATE[state] }), walletId).to.equal("POSTED");
        }
      });
    }
  }
});
