import type { AccountName } from "../../generated/grey/ledger/v1/naming.js";
import { LedgerServiceService } from "../../generated/grey/ledger/v1/ledger_service.js";
import type { Transaction } from "../../generated/grey/transaction/v1/transaction.js";
import type { Session } from "./session.js";
import { beginnings, type Cell } from "./table.js";

/** What accounts are, for people. */
export interface Names {
  /** The account's name as it can be typed: `ada@example.com/savings`, or `cash`; empty when it has none. */
  nameOf(accountId: string): string;
  /** The account's id and its name, as far as it has one. */
  fullNameOf(accountId: string): string;
  /** The account in a table: id and name, or only the name where there is little room. */
  cellOf(accountId: string): Cell;
}

const IDS_MAX = 1_000;

/** Asks the server what the accounts are. */
export async function nameAccounts(accountIds: Iterable<string>, session: Session): Promise<Names> {
  const ids = [...new Set(accountIds)].filter((id) => id !== "");
  const names = new Map<string, string>();
  for (let at = 0; at < ids.length; at += IDS_MAX) {
    const reply = await session.call(LedgerServiceService.nameAccounts, { accountIds: ids.slice(at, at + IDS_MAX) });
    for (const one of reply.names) names.set(one.accountId, wordsOf(one));
  }
  return namesFrom(names);
}

/** @param names each account's name */
export function namesFrom(names: ReadonlyMap<string, string>): Names {
  const ids = [...names.keys()];
  const short = new Map(beginnings(ids).map((beginning, index) => [ids[index], beginning]));
  const counts = new Map<string, number>();
  for (const name of names.values()) counts.set(name, (counts.get(name) ?? 0) + 1);
  const nameOf = (accountId: string): string => names.get(accountId) ?? "";
  return {
    nameOf,
    fullNameOf: (accountId) => [accountId, nameOf(accountId)].filter((part) => part !== "").join(" "),
    cellOf(accountId) {
      const name = nameOf(accountId);
      if (name === "" || !name.includes("@")) return name === "" ? accountId : name;
      const isUnique = counts.get(name) === 1;
      if (!isUnique) return { forms: [`${accountId} ${name}`, `${short.get(accountId) ?? accountId} ${name}`] };
      const [, local = "", which = ""] = /^([^@]*)@[^/]*\/(.*)$/s.exec(name) ?? [];
      return { forms: [`${accountId} ${name}`, name, `${local}@…/${which}`, `${cut(local, 8)}@…/${cut(which, 8)}`] };
    },
  };
}

function wordsOf({ systemAccount, email, label, currencyCode }: AccountName): string {
  if (systemAccount !== "") return systemAccount;
  return email === "" ? "" : `${email}/${label === "" ? currencyCode : label}`;
}

/** The accounts that a transaction speaks of. */
export function accountsOf({ debitAccountId, creditAccountId, entries }: Transaction): string[] {
  return [debitAccountId, creditAccountId, ...entries.map(({ accountId }) => accountId)];
}

function cut(text: string, length: number): string {
  const characters = Array.from(new Intl.Segmenter().segment(text), ({ segment }) => segment);
  return characters.length <= length ? text : `${characters.slice(0, length - 1).join("")}…`;
}
