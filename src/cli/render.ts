import { ErrorReason } from "../../generated/grey/error/v1/error_reason.js";
import {
  type Entry,
  EntrySide,
  type Transaction,
  TransactionKind,
  TransactionState,
} from "../../generated/grey/transaction/v1/transaction.js";
import type { Balance } from "../../generated/grey/wallet/v1/balance.js";
import { type Currencies, showMoney } from "./amount.js";
import { nameAccounts, type AccountNames } from "./names.js";
import type { CommandContext } from "./command-context.js";
import { renderFields, renderTable } from "./table.js";
import { showTime } from "./time.js";

/** Formats an enum value as its name in lower case; an unknown value as its number. */
export function showEnum(names: Readonly<Record<number, string>>, value: number): string {
  return names[value]?.toLowerCase() ?? String(value);
}

export function showMetadata(metadata: Readonly<Record<string, string>>): string {
  return Object.entries(metadata)
    .map(([key, value]) => `${key}=${value}`)
    .join(" ");
}

/** Returns the fields that identify a request and mark a replay. */
export function requestFields(
  requestId: string,
  replayed: boolean,
  journalIndex?: bigint,
): [name: string, value: string][] {
  return [
    ["request id", requestId],
    ["journal index", journalIndex === undefined ? "" : String(journalIndex)],
    ["replayed", replayed ? "yes: the stored reply to an earlier request with this id" : ""],
  ];
}

/** Formats the outcome of a transaction: `posted`, or `rejected` with the reason. */
export function showOutcome(transaction: Transaction): string {
  return transaction.state === TransactionState.REJECTED
    ? `rejected: ${ErrorReason[transaction.reason] ?? transaction.reason}`
    : showEnum(TransactionState, transaction.state);
}

export function renderTransaction(transaction: Transaction, replayed: boolean, currencies: Currencies): string {
  const recorded = showTime(transaction.createTime);
  const effective = showTime(transaction.effectiveTime);
  return renderFields([
    ["transaction", transaction.id === "" ? "none: dry run" : transaction.id],
    ...requestFields(transaction.requestId, replayed),
    ["kind", showEnum(TransactionKind, transaction.kind)],
    ["state", showOutcome(transaction)],
    ["amount", showMoney(transaction.amount, currencies)],
    ["recorded", recorded],
    ["effective", effective === recorded ? "" : effective],
    ["journal index", transaction.id === "" ? "" : String(transaction.journalIndex)],
    ["reverses", transaction.reversesId],
    ["reversed", showMoney(transaction.reversed, currencies)],
    ["reversed by", transaction.reversalIds.join(" ")],
    ["reference", transaction.externalReference],
    ["description", transaction.description],
    ["metadata", showMetadata(transaction.metadata)],
  ]);
}

export function renderEntries(entries: readonly Entry[], names: AccountNames, currencies: Currencies): string {
  return renderTable(
    [
      { title: "entry" },
      { title: "account" },
      { title: "amount", align: "right" },
      { title: "balance after", align: "right" },
      { title: "number", align: "right", drop: 1 },
    ],
    entries.map((entry) => [
      showEnum(EntrySide, entry.side),
      names.toCell(entry.accountId),
      showMoney(entry.amount, currencies),
      showMoney(entry.balanceAfter, currencies),
      String(entry.accountSequence),
    ]),
  );
}

export function renderBalances(balances: readonly Balance[], names: AccountNames, currencies: Currencies): string {
  return renderTable(
    [
      { title: "wallet" },
      { title: "posted", align: "right" },
      { title: "available", align: "right" },
      { title: "pending out", align: "right", drop: 3 },
      { title: "pending in", align: "right", drop: 2 },
      { title: "version", align: "right", drop: 1 },
    ],
    balances.map((balance) => [
      names.toCell(balance.walletId),
      showMoney(balance.posted, currencies),
      showMoney(balance.available, currencies),
      showMoney(balance.pendingOutgoing, currencies),
      showMoney(balance.pendingIncoming, currencies),
      // A balance by effective time has no version.
      balance.available === undefined ? "" : String(balance.version),
    ]),
  );
}

/** Fetches the wallets' names and renders their balances. */
export async function showBalances(balances: readonly Balance[], context: CommandContext): Promise<string> {
  const names = await nameAccounts(
    balances.map(({ walletId }) => walletId),
    context,
  );
  return renderBalances(balances, names, await context.currencies());
}
