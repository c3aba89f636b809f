import type { Timestamp } from "../../generated/google/protobuf/timestamp.js";
import { ErrorReason } from "../../generated/grey/error/v1/error_reason.js";
import {
  type Entry,
  EntrySide,
  type Transaction,
  TransactionKind,
  TransactionState,
} from "../../generated/grey/transaction/v1/transaction.js";
import type { Balance } from "../../generated/grey/wallet/v1/wallet_service.js";
import { timeText } from "../../runtime/time-text.js";
import { systemAccountId } from "../base/ids.js";
import { type Currencies, showMoney } from "./amount.js";
import { renderFields, renderTable } from "./table.js";

/** The time in UTC as ISO 8601 to the millisecond, cut off; empty when there is none. */
export function showTime(time: Timestamp | undefined): string {
  if (time === undefined) return "";
  return timeText(time);
}

/** The enum value's name in lower case; a value that this client does not know, as its number. */
export function showEnum(names: Readonly<Record<number, string>>, value: number): string {
  return names[value]?.toLowerCase() ?? String(value);
}

export function showMetadata(metadata: Readonly<Record<string, string>>): string {
  return Object.entries(metadata)
    .map(([key, value]) => `${key}=${value}`)
    .join(" ");
}

/** The fields that tell how to repeat a request, and whether this was a repetition. */
export function requestFields(
  requestId: string,
  replayed: boolean,
  journalIndex?: bigint,
): [name: string, value: string][] {
  return [
    ["request id", requestId],
    ["journal index", journalIndex === undefined ? "" : String(journalIndex)],
    ["replayed", replayed ? "yes: the stored answer to an earlier request with this id" : ""],
  ];
}

const SYSTEM_ACCOUNTS = ["cash", "fees", "fx", "opening"];

/** The name of a system account; undefined for a wallet and for a system account of another name. */
export function systemAccountName(accountId: string, currencyCode: string): string | undefined {
  return SYSTEM_ACCOUNTS.find((name) => systemAccountId(currencyCode, name) === accountId);
}

/** What became of the transaction: `posted`, or why it was rejected. */
export function showOutcome(transaction: Transaction): string {
  return transaction.state === TransactionState.REJECTED
    ? `rejected: ${ErrorReason[transaction.reason] ?? transaction.reason}`
    : showEnum(TransactionState, transaction.state);
}

export function renderTransaction(transaction: Transaction, replayed: boolean, currencies: Currencies): string {
  const recorded = showTime(transaction.createTime);
  const effective = showTime(transaction.effectiveTime);
  return renderFields([
    ["transaction", transaction.id === "" ? "none: it was only tried out" : transaction.id],
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

export function renderEntries(entries: readonly Entry[], currencies: Currencies): string {
  return renderTable(
    [
      { title: "entry" },
      { title: "account" },
      { title: "amount", align: "right" },
      { title: "balance after", align: "right" },
      { title: "number", align: "right" },
    ],
    entries.map((entry) => [
      showEnum(EntrySide, entry.side),
      showAccount(entry.accountId, entry.amount?.currencyCode ?? ""),
      showMoney(entry.amount, currencies),
      showMoney(entry.balanceAfter, currencies),
      String(entry.accountSequence),
    ]),
  );
}

function showAccount(accountId: string, currencyCode: string): string {
  const name = systemAccountName(accountId, currencyCode);
  return name === undefined ? accountId : `${accountId} (${name})`;
}

export function renderBalances(balances: readonly Balance[], currencies: Currencies): string {
  return renderTable(
    [
      { title: "wallet" },
      { title: "posted", align: "right" },
      { title: "available", align: "right" },
      { title: "pending out", align: "right" },
      { title: "pending in", align: "right" },
      { title: "version", align: "right" },
    ],
    balances.map((balance) => [
      balance.walletId,
      showMoney(balance.posted, currencies),
      showMoney(balance.available, currencies),
      showMoney(balance.pendingOutgoing, currencies),
      showMoney(balance.pendingIncoming, currencies),
      // By effective time there is none.
      balance.available === undefined ? "" : String(balance.version),
    ]),
  );
}
