import { assertPresent } from "./assert.js";

// The closed sets that the database stores as numbers: those of the contract's enums.

/** The side on which an account's balance is positive; the numbers are those of grey.ledger.v1.NormalSide. */
export const NORMAL_SIDE = { DEBIT: 1, CREDIT: 2 } as const;
export type NormalSide = (typeof NORMAL_SIDE)[keyof typeof NORMAL_SIDE];

/** The state of an account, which allows or forbids movements; the numbers are those of grey.wallet.v1.WalletState. */
export const ACCOUNT_STATE = { OPEN: 1, FROZEN: 2, CLOSED: 3 } as const;
export type AccountState = (typeof ACCOUNT_STATE)[keyof typeof ACCOUNT_STATE];

/** The state of a hold; the numbers are those of grey.transaction.v1.HoldState. */
export const HOLD_STATE = { ACTIVE: 1, CAPTURED: 2, RELEASED: 3, EXPIRED: 4 } as const;
export type HoldState = (typeof HOLD_STATE)[keyof typeof HOLD_STATE];

/** The kinds of transactions, with the numbers of grey.transaction.v1.TransactionKind. */
export const TRANSACTION_KIND = {
  OPENING: 1,
  DEPOSIT: 2,
  WITHDRAWAL: 3,
  TRANSFER: 4,
  HOLD: 5,
  HOLD_INCREASE: 6,
  HOLD_EXTENSION: 7,
  HOLD_CAPTURE: 8,
  HOLD_RELEASE: 9,
  HOLD_EXPIRY: 10,
  REVERSAL: 11,
  COMPOUND: 12,
  EXCHANGE: 13,
} as const;
/** The name of a kind; rows and the contract have its number. */
export type TransactionKind = keyof typeof TRANSACTION_KIND;
export type TransactionKindCode = (typeof TRANSACTION_KIND)[TransactionKind];

const KIND_BY_CODE = new Map<number, TransactionKind>(
  Object.entries(TRANSACTION_KIND).map(([kind, code]) => [code, kind as TransactionKind]),
);

/** Returns the kind with this number. @throws AssertionError when there is none */
export function kindFromCode(code: number): TransactionKind {
  return assertPresent(KIND_BY_CODE.get(code), `the kind ${code}`);
}

/** The state of a transaction; the numbers are those of grey.transaction.v1.TransactionState. */
export const TRANSACTION_STATE = { POSTED: 1, REJECTED: 2 } as const;
export type TransactionState = (typeof TRANSACTION_STATE)[keyof typeof TRANSACTION_STATE];
