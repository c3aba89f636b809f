import {
  type Entry as EntryMessage,
  type ExchangeTerms,
  type Transaction,
  EntrySide,
  Rounding,
  TransactionState,
} from "../../../generated/grey/transaction/v1/transaction.js";
import { ErrorReason } from "../../../generated/grey/error/v1/error_reason.js";
import type { Money } from "../../../generated/grey/type/v1/money.js";
import type { Balance } from "../../../generated/grey/wallet/v1/balance.js";
import type { Wallet as WalletMessage } from "../../../generated/grey/wallet/v1/wallet.js";
import type { Reason } from "../../base/failure.js";
import type { Uuid } from "../../base/ids.js";
import { isInt64 } from "../../base/money.js";
import { fromDate, fromMicros } from "../../base/time.js";
import { NORMAL_SIDE, TRANSACTION_KIND } from "../../base/codes.js";
import type { AccountRow } from "../../entities/account.js";
import type { PastAccount } from "../../ledger/account/past-account.js";
import { availableMinor } from "../../ledger/account/account.js";
import type { WalletRow } from "../../entities/wallet.js";
import type { Exchange } from "../../ledger/command/command.js";
import type { Entry } from "../../ledger/account/entry.js";
import type { LedgerTransaction, ReversalSummary } from "../../ledger/transaction/transaction.js";

export function toMoney(currencyCode: string, minorUnits: bigint): Money {
  return { currencyCode, minorUnits };
}

/** Returns the sum as Money, or undefined where it exceeds int64: no rule bounds the turnover of a period. */
export function toMoneyIfInt64(currencyCode: string, minorUnits: bigint): Money | undefined {
  return isInt64(minorUnits) ? toMoney(currencyCode, minorUnits) : undefined;
}

/** Returns a wallet's balance from its account. */
export function toBalanceMessage(account: PastAccount): Balance {
  const { id, currencyCode, normalSide, balance, pendingDebits, pendingCredits } = account;
  const available = availableMinor({
    normalSide,
    balanceMinor: balance,
    pendingDebitsMinor: pendingDebits,
    pendingCreditsMinor: pendingCredits,
  });
  const [outgoing, incoming] =
    normalSide === NORMAL_SIDE.CREDIT ? [pendingDebits, pendingCredits] : [pendingCredits, pendingDebits];
  return {
    walletId: id,
    posted: toMoney(currencyCode, balance),
    available: toMoney(currencyCode, available),
    pendingOutgoing: toMoney(currencyCode, outgoing),
    pendingIncoming: toMoney(currencyCode, incoming),
    version: account.sequence,
  };
}

/** Returns a transaction as its message. @param reversed its reversals, where the message shows them */
export function toTransactionMessage(transaction: LedgerTransaction, reversed?: ReversalSummary): Transaction {
  const { currencyCode, createTime } = transaction;
  return {
    id: transaction.id,
    requestId: transaction.requestId,
    kind: TRANSACTION_KIND[transaction.kind],
    state: transaction.failure === null ? TransactionState.POSTED : TransactionState.REJECTED,
    // Entries that only change what is pending move nothing.
    entries: transaction.entries.filter((entry) => entry.amountMinor !== 0n).map(toEntryMessage),
    description: transaction.data.description,
    metadata: transaction.data.metadata,
    externalReference: transaction.data.externalReference,
    createTime: fromMicros(createTime),
    effectiveTime: fromMicros(transaction.effectiveTime ?? createTime),
    journalIndex: transaction.journalIndex,
    reason: transaction.failure === null ? ErrorReason.UNSPECIFIED : toReasonMessage(transaction.failure.reason),
    debitAccountId: transaction.debitAccountId,
    creditAccountId: transaction.creditAccountId ?? "",
    amount: toMoney(currencyCode, transaction.amountMinor),
    holdId: transaction.holdId ?? "",
    reversesId: transaction.reversesId ?? "",
    reversed: reversed === undefined ? undefined : toMoney(currencyCode, reversed.amountMinor),
    reversalIds: [...(reversed?.byIds ?? [])],
    exchange: transaction.exchange === null ? undefined : toExchangeTerms(transaction.exchange),
  };
}

export function toExchangeTerms({ source, target, rate, rounding, rateId }: Exchange): ExchangeTerms {
  return {
    sourceAmount: toMoney(source.currencyCode, source.amountMinor),
    targetAmount: toMoney(target.currencyCode, target.amountMinor),
    rate: rate ?? "",
    rounding: rounding === null ? Rounding.UNSPECIFIED : Rounding[rounding],
    rateId: rateId ?? "",
  };
}

/** Returns the balances right after the transaction of the wallets among its accounts. */
export function toBalancesAfter({ entries, legs }: LedgerTransaction): Balance[] {
  const ofWallets = entries.filter((entry) => entry.isWallet);
  if (legs === null) return ofWallets.map(toBalanceAfter);
  // A wallet with several legs appears once, as the last of them leaves it.
  return [...new Map(ofWallets.map((entry) => [entry.accountId, entry])).values()].map(toBalanceAfter);
}

function toBalanceAfter(entry: Entry): Balance {
  const { currencyCode } = entry;
  return {
    walletId: entry.accountId,
    posted: toMoney(currencyCode, entry.balanceAfterMinor),
    // Wallets are credit-normal.
    available: toMoney(currencyCode, entry.balanceAfterMinor - entry.pendingDebitsAfterMinor),
    pendingOutgoing: toMoney(currencyCode, entry.pendingDebitsAfterMinor),
    pendingIncoming: toMoney(currencyCode, entry.pendingCreditsAfterMinor),
    version: entry.sequence,
  };
}

/** Returns a wallet with the state of its account. */
export function toWalletMessage(
  wallet: WalletRow,
  { currencyCode, state }: Pick<AccountRow, "currencyCode" | "state">,
): WalletMessage {
  return {
    id: wallet.id,
    userId: wallet.userId,
    currencyCode,
    label: wallet.label,
    state,
    stateReason: wallet.stateReason,
    metadata: wallet.metadata,
    etag: toEtag(wallet),
    createTime: fromDate(wallet.createTime),
    updateTime: fromDate(wallet.updateTime),
  };
}

/** Returns the etag of a resource that counts its changes. */
export function toEtag({ id, revision }: { readonly id: Uuid; readonly revision: number }): string {
  return `${revision}-${id.slice(-6)}`;
}

function toEntryMessage(entry: Entry): EntryMessage {
  const { currencyCode } = entry;
  const isDebit = entry.amountMinor > 0n;
  return {
    accountId: entry.accountId,
    side: isDebit ? EntrySide.DEBIT : EntrySide.CREDIT,
    amount: toMoney(currencyCode, isDebit ? entry.amountMinor : -entry.amountMinor),
    balanceAfter: toMoney(currencyCode, entry.balanceAfterMinor),
    accountSequence: entry.sequence,
  };
}

/** Returns the contract's value of a reason; a reason that the enum lacks does not compile. */
export function toReasonMessage(reason: Reason): ErrorReason {
  return ErrorReason[reason satisfies keyof typeof ErrorReason];
}
