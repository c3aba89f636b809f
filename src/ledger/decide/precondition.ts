import type { Failure } from "../../base/failure.js";
import { availableMinor, incomingMinor } from "../account/account.js";
import type { Precondition } from "../command/command.js";
import type { LedgerState } from "./state.js";

/** Checks a precondition on a wallet between the states before and after a command. */
export function checkPrecondition(
  before: LedgerState,
  after: LedgerState,
  precondition: Precondition,
): Failure | undefined {
  const { walletId, expectedVersion, minBalanceAfter, maxBalanceAfter } = precondition;
  const account = after.getAccount(walletId);
  const version = before.getAccount(walletId)?.sequence;
  if (account === undefined || version === undefined || !account.isWallet)
    return { reason: "WALLET_NOT_FOUND", walletId };
  const refuse = (field: string, expected: bigint, actual: bigint, currencyCode?: string): Failure => ({
    reason: "PRECONDITION_FAILED",
    walletId,
    precondition: field,
    ...(currencyCode !== undefined && { currencyCode }),
    expected: expected.toString(),
    actual: actual.toString(),
  });
  if (expectedVersion !== undefined && version !== expectedVersion)
    return refuse("expected_version", expectedVersion, version);
  const available = availableMinor(account);
  if (minBalanceAfter !== undefined && available < minBalanceAfter)
    return refuse("min_balance_after", minBalanceAfter, available, account.currencyCode);
  const most = account.balanceMinor + incomingMinor(account);
  if (maxBalanceAfter !== undefined && most > maxBalanceAfter)
    return refuse("max_balance_after", maxBalanceAfter, most, account.currencyCode);
  return undefined;
}
