import stringWidth from "string-width";
import { type Entry, EntrySide } from "../../generated/grey/transaction/v1/transaction.js";
import { type Currencies, showAmount, showMoney } from "./amount.js";
import type { AccountNames } from "./names.js";
import { detectScreen, type Screen } from "./table.js";
import { printable } from "./text.js";

const GAP = "    ";
/** The width of output that is not a terminal. */
const WIDTH = 100;

/** Draws each account as a T-account: debits on the left, credits on the right, the balance below. */
export function drawAccounts(
  entries: readonly Entry[],
  names: AccountNames,
  currencies: Currencies,
  screen: Screen = detectScreen(),
): string {
  const byAccount = new Map<string, Entry[]>();
  for (const entry of entries) byAccount.set(entry.accountId, [...(byAccount.get(entry.accountId) ?? []), entry]);
  const drawings = [...byAccount].map(([accountId, own]) => drawAccount(accountId, own, names, currencies));
  return arrange(drawings, screen.width ?? WIDTH).join("\n\n");
}

function drawAccount(
  accountId: string,
  entries: readonly Entry[],
  names: AccountNames,
  currencies: Currencies,
): string[] {
  const amountsOn = (side: EntrySide): string[] =>
    entries.filter((entry) => entry.side === side).map(({ amount }) => showMoney(amount, currencies));
  const [debits, credits] = [amountsOn(EntrySide.DEBIT), amountsOn(EntrySide.CREDIT)];
  const title = printable(names.formatName(accountId) || accountId);
  const balance = `balance after  ${showMoney(entries.at(-1)?.balanceAfter, currencies)}`;
  const halfWidth = Math.max(
    14,
    ...[...debits, ...credits].map((amount) => amount.length + 1),
    Math.ceil((Math.max(stringWidth(title), balance.length) - 1) / 2),
  );
  const line = (left: string, right: string): string => `${left.padStart(halfWidth - 1)} │${right.padStart(halfWidth)}`;
  const rows = Math.max(debits.length, credits.length);
  return [
    center(title, 2 * halfWidth + 1),
    line("debit", "credit"),
    `${"─".repeat(halfWidth)}┼${"─".repeat(halfWidth)}`,
    ...Array.from({ length: rows }, (_, index) => line(debits[index] ?? "", credits[index] ?? "")),
    `${"─".repeat(halfWidth)}┴${"─".repeat(halfWidth)}`,
    center(balance, 2 * halfWidth + 1),
  ];
}

function center(text: string, width: number): string {
  const room = Math.max(0, width - stringWidth(text));
  return `${" ".repeat(Math.floor(room / 2))}${text}${" ".repeat(Math.ceil(room / 2))}`;
}

/** Arranges drawings in rows of as many as fit. */
function arrange(drawings: readonly (readonly string[])[], width: number): string[] {
  const blocks: string[] = [];
  let row: (readonly string[])[] = [];
  const exceedsWidth = (next: readonly string[]): boolean => row.length > 0 && measureRow([...row, next]) > width;
  const endRow = (): void => {
    if (row.length > 0) blocks.push(joinDrawings(row));
    row = [];
  };
  for (const drawing of drawings) {
    if (exceedsWidth(drawing)) endRow();
    row.push(drawing);
  }
  endRow();
  return blocks;
}

function measureRow(row: readonly (readonly string[])[]): number {
  return row.reduce((total, drawing) => total + stringWidth(drawing[0] ?? "") + GAP.length, -GAP.length);
}

/** Joins drawings side by side, with all balances on the last line. */
function joinDrawings(row: readonly (readonly string[])[]): string {
  const height = Math.max(...row.map((drawing) => drawing.length));
  const padded = row.map((drawing) => {
    const blank = " ".repeat(stringWidth(drawing[0] ?? ""));
    const middle = " ".repeat(Math.floor((blank.length - 1) / 2));
    const missing = Array.from({ length: height - drawing.length }, () => `${middle}│${middle}`.padEnd(blank.length));
    return [...drawing.slice(0, -2), ...missing, ...drawing.slice(-2)];
  });
  return Array.from({ length: height }, (_, line) =>
    padded
      .map((drawing) => drawing[line] ?? "")
      .join(GAP)
      .trimEnd(),
  ).join("\n");
}

/** Renders the sum of the debits in each currency, which equals that of the credits. */
export function renderSums(entries: readonly Entry[], currencies: Currencies): string {
  const sums = new Map<string, bigint>();
  for (const { side, amount } of entries)
    if (amount !== undefined && side === EntrySide.DEBIT)
      sums.set(amount.currencyCode, (sums.get(amount.currencyCode) ?? 0n) + amount.minorUnits);
  return [...sums].map(([code, sum]) => `debits = credits = ${showAmount(sum, code, currencies)}`).join("\n");
}
