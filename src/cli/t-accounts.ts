import stringWidth from "string-width";
import { type Entry, EntrySide } from "../../generated/grey/transaction/v1/transaction.js";
import { type Currencies, showAmount, showMoney } from "./amount.js";
import type { Names } from "./names.js";
import { screenOf, type Screen } from "./table.js";
import { printable } from "./text.js";

const GAP = "    ";
/** Where nothing says how wide it may be. */
const WIDTH = 100;

/** Draws each account as accountants do: its debits on the left, its credits on the right, and the balance below. */
export function drawAccounts(
  entries: readonly Entry[],
  names: Names,
  currencies: Currencies,
  screen: Screen = screenOf(),
): string {
  const byAccount = new Map<string, Entry[]>();
  for (const entry of entries) byAccount.set(entry.accountId, [...(byAccount.get(entry.accountId) ?? []), entry]);
  const drawings = [...byAccount].map(([accountId, own]) => drawAccount(accountId, own, names, currencies));
  return beside(drawings, screen.width ?? WIDTH).join("\n\n");
}

function drawAccount(accountId: string, entries: readonly Entry[], names: Names, currencies: Currencies): string[] {
  const amountsOn = (side: EntrySide): string[] =>
    entries.filter((entry) => entry.side === side).map(({ amount }) => showMoney(amount, currencies));
  const [debits, credits] = [amountsOn(EntrySide.DEBIT), amountsOn(EntrySide.CREDIT)];
  const title = printable(names.nameOf(accountId) || accountId);
  const balance = `balance after  ${showMoney(entries.at(-1)?.balanceAfter, currencies)}`;
  const half = Math.max(
    14,
    ...[...debits, ...credits].map((amount) => amount.length + 1),
    Math.ceil((Math.max(stringWidth(title), balance.length) - 1) / 2),
  );
  const line = (left: string, right: string): string => `${left.padStart(half - 1)} │${right.padStart(half)}`;
  const rows = Math.max(debits.length, credits.length);
  return [
    centred(title, 2 * half + 1),
    line("debit", "credit"),
    `${"─".repeat(half)}┼${"─".repeat(half)}`,
    ...Array.from({ length: rows }, (_, index) => line(debits[index] ?? "", credits[index] ?? "")),
    `${"─".repeat(half)}┴${"─".repeat(half)}`,
    centred(balance, 2 * half + 1),
  ];
}

function centred(text: string, width: number): string {
  const room = Math.max(0, width - stringWidth(text));
  return `${" ".repeat(Math.floor(room / 2))}${text}${" ".repeat(Math.ceil(room / 2))}`;
}

/** Sets drawings side by side, as many as fit, and goes on below. */
function beside(drawings: readonly (readonly string[])[], width: number): string[] {
  const blocks: string[] = [];
  let row: (readonly string[])[] = [];
  const isFull = (next: readonly string[]): boolean => row.length > 0 && widthOf([...row, next]) > width;
  const end = (): void => {
    if (row.length > 0) blocks.push(joined(row));
    row = [];
  };
  for (const drawing of drawings) {
    if (isFull(drawing)) end();
    row.push(drawing);
  }
  end();
  return blocks;
}

function widthOf(row: readonly (readonly string[])[]): number {
  return row.reduce((total, drawing) => total + stringWidth(drawing[0] ?? "") + GAP.length, -GAP.length);
}

/** The balances of all stand on the last line. */
function joined(row: readonly (readonly string[])[]): string {
  const height = Math.max(...row.map((drawing) => drawing.length));
  const filled = row.map((drawing) => {
    const blank = " ".repeat(stringWidth(drawing[0] ?? ""));
    const middle = " ".repeat(Math.floor((blank.length - 1) / 2));
    const missing = Array.from({ length: height - drawing.length }, () => `${middle}│${middle}`.padEnd(blank.length));
    return [...drawing.slice(0, -2), ...missing, ...drawing.slice(-2)];
  });
  return Array.from({ length: height }, (_, line) =>
    filled
      .map((drawing) => drawing[line] ?? "")
      .join(GAP)
      .trimEnd(),
  ).join("\n");
}

/** Sums of each currency on both sides, to be shown below the accounts: they are equal. */
export function sumsOf(entries: readonly Entry[], currencies: Currencies): string {
  const sums = new Map<string, bigint>();
  for (const { side, amount } of entries)
    if (amount !== undefined && side === EntrySide.DEBIT)
      sums.set(amount.currencyCode, (sums.get(amount.currencyCode) ?? 0n) + amount.minorUnits);
  return [...sums].map(([code, sum]) => `debits = credits = ${showAmount(sum, code, currencies)}`).join("\n");
}
