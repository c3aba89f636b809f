import { kindFromCode, TRANSACTION_KIND, type TransactionKind, type TransactionKindCode } from "../../base/codes.js";

/** The rules of a kind of transaction. A kind that is missing from the table does not compile. */
interface KindRules {
  /** The rules that decide its commands. */
  readonly family: Family;
  /** True for kinds that move money which a reversal can move back. */
  readonly isReversible: boolean;
  /**
   * True for kinds that count towards velocity limits, which are those that customers initiate. Held money counts when it is
   * held, so that a capture cannot break a limit that its hold has passed; a capture counts only for a wallet that the hold was
   * not for.
   */
  readonly countsForVelocity: boolean;
  /** The cases in which a decision depends on the time; an exchange only with a quote, which expires. */
  readonly needsClock: "ALWAYS" | "WITH_QUOTE" | "NEVER";
  /** True for kinds that are decided in a turn only: the memory does not hold what is reversed. */
  readonly needsTurn: boolean;
}

/** Kinds that the same rules decide. */
export type Family = "MOVEMENT" | "HOLD" | "HOLD_STEP" | "REVERSAL" | "COMPOUND" | "EXCHANGE";

const MOVEMENT = {
  family: "MOVEMENT",
  isReversible: true,
  countsForVelocity: true,
  needsClock: "NEVER",
  needsTurn: false,
} as const satisfies KindRules;

const HOLD_STEP = {
  family: "HOLD_STEP",
  isReversible: false,
  countsForVelocity: false,
  needsClock: "ALWAYS",
  needsTurn: false,
} as const satisfies KindRules;

/** The table of kinds: all that the ledger knows of each. */
export const KINDS = {
  OPENING: { ...MOVEMENT, countsForVelocity: false },
  DEPOSIT: MOVEMENT,
  WITHDRAWAL: MOVEMENT,
  TRANSFER: MOVEMENT,
  HOLD: { ...HOLD_STEP, family: "HOLD", countsForVelocity: true },
  HOLD_INCREASE: HOLD_STEP,
  HOLD_EXTENSION: HOLD_STEP,
  HOLD_CAPTURE: { ...HOLD_STEP, isReversible: true, countsForVelocity: true },
  HOLD_RELEASE: HOLD_STEP,
  HOLD_EXPIRY: HOLD_STEP,
  REVERSAL: {
    family: "REVERSAL",
    isReversible: false,
    countsForVelocity: false,
    needsClock: "NEVER",
    needsTurn: true,
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
