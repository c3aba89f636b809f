import type { AccountName } from "../../generated/grey/ledger/v1/naming.js";
import { LedgerServiceService } from "../../generated/grey/ledger/v1/ledger_service.js";
import type { Transaction } from "../../generated/grey/transaction/v1/transaction.js";
import type { CommandContext } from "./command-context.js";
import { shortenIds, type Cell } from "./table.js";

/** The readable names of accounts. */
export interface AccountNames {
  /** Returns the name that a command accepts, `ada@example.com/savings` or `cash`; empty if the account has none. */
  formatName(accountId: string): string;
  /** Returns the account's id, followed by its name if it has one. */
  formatIdAndName(accountId: string): string;
  /** Returns a table cell with id and name, or only the name where space is short. */
  toCell(accountId: string): Cell;
}

const IDS_MAX = 1_000;

/** Fetches the names of accounts from the server. */
export async function nameAccounts(accountIds: Iterable<string>, context: CommandContext): Promise<AccountNames> {
  const ids = [...new Set(accountIds)].filter((id) => id !== "");
  const names = new Map<string, string>();
  for (let at = 0; at < ids.length; at += IDS_MAX) {
    const reply = await context.call(LedgerServiceService.nameAccounts, { accountIds: ids.slice(at, at + IDS_MAX) });
    for (const one of reply.names) names.set(one.accountId, toAccountName(one));
  }
  return createAccountNames(names);
}

/** @param names the accounts' names by id */
export function createAccountNames(names: ReadonlyMap<string, string>): AccountNames {
  const ids = [...names.keys()];
  const short = new Map(shortenIds(ids).map((beginning, index) => [ids[index], beginning]));
  const counts = new Map<string, number>();
  for (const name of names.values()) counts.set(name, (counts.get(name) ?? 0) + 1);
  const formatName = (accountId: string): string => names.get(accountId) ?? "";
  return {
    formatName,
    formatIdAndName: (accountId) => [accountId, formatName(accountId)].filter((part) => part !== "").join(" "),
    toCell(accountId) {
      const name = formatName(accountId);
      if (name === "" || !name.includes("@")) return name === "" ? accountId : name;
      const isUnique = counts.get(name) === 1;
      if (!isUnique) return { forms: [`${accountId} ${name}`, `${short.get(accountId) ?? accountId} ${name}`] };
      const [, local = "", which = ""] = /^([^@]*)@[^/]*\/(.*)$/s.exec(name) ?? [];
      return {
        forms: [`${accountId} ${name}`, name, `${local}@…/${which}`, `${truncate(local, 8)}@…/${truncate(which, 8)}`],
      };
    },
  };
}

function toAccountName({ systemAccount, email, label, currencyCode }: AccountName): string {
  if (systemAccount !== "") return systemAccount;
  return email === "" ? "" : `${email}/${label === "" ? currencyCode : label}`;
}

/** Lists the ids of the accounts in a transaction. */
export function listAccountIds({ debitAccountId, creditAccountId, entries }: Transaction): string[] {
  return [debitAccountId, creditAccountId, ...entries.map(({ accountId }) => accountId)];
}

function truncate(text: string, length: number): string {
  const characters = Array.from(new Intl.Segmenter().segment(text), ({ segment }) => segment);
  return characters.length <= length ? text : `${characters.slice(0, length - 1).join("")}…`;
}
