import { systemAccountId, type Uuid } from "../../base/ids.js";

/** The operator's own accounts that each currency has. */
export const SYSTEM_ACCOUNT = {
  /** Money outside of the ledger: the default counterpart of deposits, withdrawals and captures. */
  CASH: "cash",
  /** The counterpart of exchanges. */
  FX: "fx",
  /** The counterpart of initial balances. */
  OPENING: "opening",
} as const;

export function fxAccountId(currencyCode: string): Uuid {
  return systemAccountId(currencyCode, SYSTEM_ACCOUNT.FX);
}
