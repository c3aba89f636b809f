import { kindFromCode, TRANSACTION_KIND, type TransactionKind, type TransactionKindCode } from "../../base/codes.js";

/** What the ledger knows of a kind of transaction. A kind that is missing from the table does not compile. */
interface KindRules {
  /** The rules that decide its commands. */
  readonly family: Family;
  /** Whether it moves money that a reversal can move back. */
  readonly isReversible: boolean;
  /**
   * Whether it counts towards velocity limits: what customers do counts. Held money counts when it is held, so that a capture
   * cannot breach what the hold has passed; a capture counts only for a wallet that the hold was not for.
   */
  readonly countsForVelocity: boolean;
  /** Where the accounts that it touches are named: in the command, in the hold, or in the transaction that it reverses. */
  readonly accountsFrom: "COMMAND" | "HOLD" | "ORIGINAL";
  /** Whether the time decides what becomes of it; an exchange only by a quote, which expires. */
  readonly needsClock: "ALWAYS" | "WITH_QUOTE" | "NEVER";
  /** Whether it is decided with its accounts locked only: what is reversed of a transaction is not remembered. */
  readonly needsLocks: boolean;
}

/** Kinds that the same rules decide. */
export type Family = "MOVEMENT" | "HOLD" | "HOLD_STEP" | "REVERSAL" | "COMPOUND" | "EXCHANGE";

const MOVEMENT = {
  family: "MOVEMENT",
  isReversible: true,
  countsForVelocity: true,
  accountsFrom: "COMMAND",
  needsClock: "NEVER",
  needsLocks: false,
} as const satisfies KindRules;

const HOLD_STEP = {
  family: "HOLD_STEP",
  isReversible: false,
  countsForVelocity: false,
  accountsFrom: "HOLD",
  needsClock: "ALWAYS",
  needsLocks: false,
} as const satisfies KindRules;

export const KINDS = {
  OPENING: { ...MOVEMENT, countsForVelocity: false },
  DEPOSIT: MOVEMENT,
  WITHDRAWAL: MOVEMENT,
  TRANSFER: MOVEMENT,
  HOLD: { ...HOLD_STEP, family: "HOLD", countsForVelocity: true, accountsFrom: "COMMAND" },
  HOLD_INCREASE: HOLD_STEP,
  HOLD_EXTENSION: HOLD_STEP,
  HOLD_CAPTURE: { ...HOLD_STEP, isReversible: true, countsForVelocity: true },
  HOLD_RELEASE: HOLD_STEP,
  HOLD_EXPIRY: HOLD_STEP,
  REVERSAL: {
    family: "REVERSAL",
    isReversible: false,
    countsForVelocity: false,
    accountsFrom: "ORIGINAL",
    needsClock: "NEVER",
    needsLocks: true,
  },
  COMPOUND: { ...MOVEMENT, family: "COMPOUND" },
  EXCHANGE: { ...MOVEMENT, family: "EXCHANGE", needsClock: "WITH_QUOTE" },
} as const satisfies Record<TransactionKind, KindRules>;

/** The kinds of a family. */
export type KindOf<F extends Family> = {
  [Kind in TransactionKind]: (typeof KINDS)[Kind]["family"] extends F ? Kind : never;
}[TransactionKind];

/** The numbers of the kinds that count towards velocity limits. */
export const COUNTED_KIND_CODES: readonly TransactionKindCode[] = Object.values(TRANSACTION_KIND).filter(
  (code) => KINDS[kindFromCode(code)].countsForVelocity,
);
