import { expect } from "chai";
import * as fc from "fast-check";
import type { Failure } from "../../src/base/failure.js";
import type { Entry } from "../../src/ledger/account/entry.js";
import type { Command, MovementCommand, UnitOfWork } from "../../src/ledger/command/command.js";
import { decodeToFront, decodeToPoster, encodeToFront, encodeToPoster } from "../../src/ledger/handover/codec.js";
import type { Answer } from "../../src/ledger/handover/wire.js";
import type { Outcome } from "../../src/ledger/post/outcome.js";
import type { LedgerTransaction } from "../../src/ledger/transaction/transaction.js";

const INT64 = { min: -(2n ** 63n), max: 2n ** 63n - 1n };
const int64 = fc.bigInt(INT64);
const micros = fc.option(fc.bigInt({ ...INT64, min: INT64.min + 1n }));
const text = fc.string({ unit: "grapheme", maxLength: 300 });
const currencyCode = fc.constantFrom("USD", "JPY", "POINTS");
const rarely = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { freq: 5 });
const data = fc.record({
  description: text,
  metadata: fc.oneof({ weight: 4, arbitrary: fc.constant({}) }, fc.dictionary(text, text, { maxKeys: 3 })),
  externalReference: fc.oneof({ weight: 4, arbitrary: fc.constant("") }, text),
});
const fields = {
  caller: fc.uuid(),
  requestId: fc.uuid(),
  transactionId: fc.uuid(),
  data,
  preconditions: fc.oneof(
    { weight: 4, arbitrary: fc.constant([]) },
    fc.array(
      fc.record({
        walletId: fc.uuid(),
        expectedVersion: fc.option(int64, { nil: undefined }),
        minBalanceAfter: fc.option(int64, { nil: undefined }),
        maxBalanceAfter: fc.option(int64, { nil: undefined }),
      }),
      { maxLength: 3 },
    ),
  ),
  requestTerms: rarely(fc.dictionary(text, text, { maxKeys: 2 })),
};
const movement: fc.Arbitrary<MovementCommand> = fc.record({
  ...fields,
  kind: fc.constantFrom("OPENING", "DEPOSIT", "WITHDRAWAL", "TRANSFER"),
  currencyCode,
  amountMinor: int64,
  debitAccountId: fc.uuid(),
  creditAccountId: fc.uuid(),
  system: fc.option(fc.record({ name: fc.constantFrom("cash", "fees"), accountId: fc.uuid() })),
  isUpTo: fc.boolean(),
  effectiveTime: micros,
});
const leg = fc.record({ accountId: fc.uuid(), currencyCode, amountMinor: int64 });
const amount = fc.record({ currencyCode, amountMinor: int64 });
const expiry = fc.oneof(fc.record({ at: int64 }), fc.record({ inMicros: int64 }));
const step = { ...fields, holdId: fc.uuid() };
const other: fc.Arbitrary<Command> = fc.oneof(
  fc.record({
    ...fields,
    kind: fc.constant("COMPOUND" as const),
    legs: fc.array(leg, { minLength: 2, maxLength: 5 }),
    system: fc.array(fc.tuple(fc.uuid(), text), { maxLength: 2 }).map((pairs) => new Map(pairs)),
    effectiveTime: micros,
  }),
  fc.record({
    ...fields,
    kind: fc.constant("EXCHANGE" as const),
    fromWalletId: fc.uuid(),
    toWalletId: fc.uuid(),
    exchange: fc.oneof(
      fc.record({
        source: amount,
        target: amount,
        rate: fc.option(fc.constant("1.25")),
        rounding: fc.option(fc.constantFrom("HALF_EVEN" as const, "DOWN" as const)),
        rateId: fc.option(fc.uuid()),
      }),
      fc.record({ refusal: fc.constant<Failure>({ reason: "QUOTE_INVALID" }), source: amount }),
    ),
    validUntil: micros,
    effectiveTime: micros,
  }),
  fc.record({
    ...fields,
    kind: fc.constant("HOLD" as const),
    currencyCode,
    amountMinor: int64,
    walletId: fc.uuid(),
    toWalletId: fc.option(fc.uuid()),
    expiry,
  }),
  fc.record({ ...step, kind: fc.constant("HOLD_INCREASE" as const), amount }),
  fc.record({ ...step, kind: fc.constant("HOLD_EXTENSION" as const), expiry }),
  fc.record({
    ...step,
    kind: fc.constant("HOLD_CAPTURE" as const),
    amount: fc.option(amount),
    isFinal: fc.boolean(),
    to: fc.option(fc.oneof(fc.record({ walletId: fc.uuid() }), fc.record({ systemAccount: text }))),
  }),
  fc.record({
    ...step,
    kind: fc.constantFrom("HOLD_RELEASE" as const, "HOLD_EXPIRY" as const),
  }) as fc.Arbitrary<Command>,
  fc.record({
    ...fields,
    kind: fc.constant("REVERSAL" as const),
    originalId: fc.uuid(),
    amount: fc.option(amount),
    atEffectiveTimeOfOriginal: fc.boolean(),
  }),
);
const unit: fc.Arbitrary<UnitOfWork> = fc.oneof(
  fc.record({
    mode: fc.constant("INDEPENDENT" as const),
    commands: fc.array(fc.oneof({ weight: 5, arbitrary: movement }, other), { minLength: 1, maxLength: 20 }),
  }),
  fc.record({ mode: fc.constant("ATOMIC" as const), commands: fc.array(movement, { minLength: 1, maxLength: 20 }) }),
);

const entry: fc.Arbitrary<Entry> = fc.record({
  accountId: fc.uuid(),
  currencyCode,
  isWallet: fc.boolean(),
  sequence: int64,
  amountMinor: int64,
  balanceAfterMinor: int64,
  pendingDebitsAfterMinor: int64,
  pendingCreditsAfterMinor: int64,
});
const failure = fc.constantFrom<Failure>(
  { reason: "OVERLOADED" },
  { reason: "HOLD_NOT_FOUND", holdId: "x" },
  { reason: "BALANCE_OVERFLOW", accountId: "y" },
  {
    reason: "INSUFFICIENT_FUNDS",
    walletId: "w",
    currencyCode: "USD",
    availableMinorUnits: -(2n ** 63n),
    requiredMinorUnits: 7n,
  },
);
const transaction: fc.Arbitrary<LedgerTransaction> = fc.record({
  id: fc.uuid(),
  requestId: fc.uuid(),
  journalIndex: int64,
  createTime: int64,
  kind: fc.constantFrom("TRANSFER", "DEPOSIT", "HOLD_CAPTURE", "COMPOUND"),
  debitAccountId: fc.uuid(),
  creditAccountId: fc.option(fc.uuid(), { freq: 10 }),
  currencyCode,
  amountMinor: int64,
  effectiveTime: micros,
  legs: rarely(fc.array(leg, { maxLength: 3 })),
  exchange: fc.constant(null),
  data,
  requestTerms: fields.requestTerms,
  entries: fc.array(entry, { maxLength: 4 }),
  failure: rarely(failure),
  holdId: rarely(fc.uuid()),
  hold: fc.constant(null),
  reversesId: rarely(fc.uuid()),
});
const outcome: fc.Arbitrary<Outcome> = fc.oneof(
  { weight: 9, arbitrary: fc.record({ transaction, replayed: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ failure }) },
);
const answer: fc.Arbitrary<Answer> = fc.oneof(
  { weight: 9, arbitrary: fc.array(outcome, { maxLength: 20 }) },
  { weight: 1, arbitrary: failure },
);
const number = fc.nat({ max: 2 ** 32 - 1 });

describe("what servers send each other", () => {
  it("arrives as it was: units of every kind of command", () => {
    const frames = fc.oneof(
      fc.record({ kind: fc.constant("UNITS" as const), units: fc.array(fc.tuple(number, unit), { maxLength: 10 }) }),
      fc.record({ kind: fc.constant("GONE" as const), numbers: fc.array(number) }),
      fc.constant({ kind: "LAST" as const }),
    );
    fc.assert(
      fc.property(frames, (value) => {
        expect(decodeToPoster(encodeToPoster(value))).to.deep.equal(value);
      }),
    );
  });

  it("arrives as it was: answers of every kind", () => {
    const frames = fc.oneof(
      fc.record({
        kind: fc.constant("ANSWERS" as const),
        answers: fc.array(fc.tuple(number, answer), { maxLength: 10 }),
      }),
      fc.constantFrom({ kind: "ALIVE" as const }, { kind: "CLOSING" as const }),
    );
    fc.assert(
      fc.property(frames, (value) => {
        expect(decodeToFront(encodeToFront(value))).to.deep.equal(value);
      }),
    );
  });

  it("is refused when a frame ends too early", () => {
    const commands = fc.sample(
      movement.filter(({ preconditions }) => preconditions.length === 0),
      3,
    );
    const whole = encodeToPoster({ kind: "UNITS", units: [[1, { mode: "INDEPENDENT", commands }]] });
    for (let length = 1; length < whole.length; length += 7) {
      expect(() => decodeToPoster(whole.subarray(0, length))).to.throw();
    }
  });
});
