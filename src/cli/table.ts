import { styleText } from "node:util";
import Table from "cli-table3";
import stringWidth from "string-width";
import { printable } from "./text.js";

export interface Column {
  readonly title: string;
  readonly align?: "right";
  /**
   * What its cells are, which tells how they are made narrower and coloured: ids are cut to a beginning that is unique in the
   * column, texts are wrapped.
   */
  readonly kind?: "id" | "state" | "text";
  /** The place among the columns that are left out, one after the other, while the table is too wide; none: it stays. */
  readonly drop?: number;
}

/** What a cell says: one text, or several from the fullest to the shortest, of which the room decides. */
export type Cell = string | Forms;

interface Forms {
  readonly forms: readonly string[];
  /** The fullest that a terminal shows, however wide it is. */
  readonly onTerminal?: number;
}

/** What is printed on. */
export interface Screen {
  /** In columns; undefined: as wide as need be. */
  readonly width: number | undefined;
  readonly colours: boolean;
}

/** Standard output: a terminal has a width and, unless NO_COLOR is set (Node reads it), colours; a file and a pipe have neither. */
export function screenOf(stream: NodeJS.WriteStream = process.stdout): Screen {
  return stream.isTTY ? { width: stream.columns, colours: stream.hasColors() } : { width: undefined, colours: false };
}

/** A file's or a pipe's screen. */
export const PLAIN: Screen = { width: undefined, colours: false };

const GAP = "  ";

/** Columns without lines between them. */
const NO_LINES = {
  top: "",
  "top-mid": "",
  "top-left": "",
  "top-right": "",
  bottom: "",
  "bottom-mid": "",
  "bottom-left": "",
  "bottom-right": "",
  left: "",
  "left-mid": "",
  mid: "",
  "mid-mid": "",
  right: "",
  "right-mid": "",
  middle: GAP,
};

/** More rows are shown as several tables: the library takes no more than a call takes arguments. */
const ROWS_MAX = 10_000;

/** Shows the rows under their titles, safe to print and no wider than the screen, as far as that is possible. */
export function renderTable(
  columns: readonly Column[],
  rows: readonly (readonly Cell[])[],
  screen: Screen = screenOf(),
): string {
  if (rows.length > ROWS_MAX) {
    const rest = renderTable(columns, rows.slice(ROWS_MAX), screen);
    return `${renderTable(columns, rows.slice(0, ROWS_MAX), screen)}\n\n${rest}`;
  }
  const { columns: fitted, leftOut } = fit(
    columns.map((column, index) => ({ ...column, cells: rows.map((row) => row[index] ?? "") })),
    screen.width,
  );
  const widthOf = wrapWidth(fitted, screen.width);
  const table = new Table({
    head: fitted.map(({ title }) => title.toUpperCase()),
    colAligns: fitted.map(({ align }) => align ?? "left"),
    ...(widthOf !== undefined && {
      colWidths: fitted.map((column) => (column.kind === "text" ? widthOf : null)),
      wordWrap: true,
      wrapOnWordBoundary: isWrappedByWords(fitted, widthOf),
    }),
    chars: NO_LINES,
    style: { "padding-left": 0, "padding-right": 0, head: screen.colours ? ["bold"] : [], border: [], compact: true },
  });
  const paint = screen.colours ? paintCell : (text: string): string => text;
  rows.forEach((_, row) => table.push(fitted.map(({ kind, cells }) => paint(cells[row] ?? "", kind))));
  const note = `(left out: ${leftOut.join(", ")}; a wider terminal or a pipe shows all)`;
  return trimLines(table.toString()) + (leftOut.length === 0 ? "" : `\n${screen.colours ? styled("dim", note) : note}`);
}

interface Filled extends Column {
  readonly cells: readonly Cell[];
}

interface Fitted extends Column {
  readonly cells: readonly string[];
}

interface Layout {
  readonly columns: readonly Fitted[];
  /** The titles of the columns that are left out. */
  readonly leftOut: readonly string[];
}

/** Makes columns narrower, and then leaves some out, until they fit. */
function fit(columns: readonly Filled[], width: number | undefined): Layout {
  if (width === undefined) return { columns: columns.map((column) => shown(column, 0)), leftOut: [] };
  // What has no value takes no room.
  const filled = columns.filter(({ drop, cells }) => drop === undefined || cells.some((cell) => cell !== ""));
  const forms = new Map(filled.map((column) => [column.title, greatest(column.cells, onTerminal)]));
  const leftOut: string[] = [];
  let cutsIds = false;
  const layOut = (): Fitted[] =>
    filled
      .filter(({ title }) => !leftOut.includes(title))
      .map((column) => {
        const fitted = shown(column, forms.get(column.title) ?? 0);
        return cutsIds && column.kind === "id" ? { ...fitted, cells: beginnings(fitted.cells) } : fitted;
      });
  const shorten = (form: number, which: (column: Filled) => boolean) => (): void => {
    for (const column of filled.filter(which)) forms.set(column.title, Math.max(form, forms.get(column.title) ?? 0));
  };
  const leaveOut =
    ({ title }: Filled) =>
    (): void => {
      leftOut.push(title);
    };
  const droppable = byImportance(filled);
  const isLittle = ({ drop = 0 }: Filled): boolean => drop <= LITTLE;
  const ways = [
    shorten(1, ({ kind }) => kind !== "state"),
    shorten(1, () => true),
    (): void => {
      cutsIds = true;
    },
    ...droppable.filter(isLittle).map(leaveOut),
    ...Array.from({ length: greatest(filled, ({ cells }) => greatest(cells, formsOf)) }, (_, form) =>
      shorten(form, () => true),
    ),
    ...droppable.filter((column) => !isLittle(column)).map(leaveOut),
  ];
  for (const narrow of ways) {
    if (leastWidth(layOut()) <= width) break;
    narrow();
  }
  return { columns: layOut(), leftOut };
}

/** A column that is dropped this early is worth less than names in full. */
const LITTLE = 2;

/** The columns that may be left out, the least important first. */
function byImportance(columns: readonly Filled[]): Filled[] {
  return columns.filter(({ drop }) => drop !== undefined).toSorted((one, other) => (one.drop ?? 0) - (other.drop ?? 0));
}

function onTerminal(cell: Cell): number {
  return typeof cell === "string" ? 0 : (cell.onTerminal ?? 0);
}

function formsOf(cell: Cell): number {
  return typeof cell === "string" ? 1 : cell.forms.length;
}

function shown(column: Filled, form: number): Fitted {
  return { ...column, cells: column.cells.map((cell) => printable(textOf(cell, form))) };
}

/** What the cell says, in this form or the shortest before it. */
export function textOf(cell: Cell, form: number): string {
  return typeof cell === "string" ? cell : (cell.forms[Math.min(form, cell.forms.length - 1)] ?? "");
}

/** A text may be wrapped to this. */
const TEXT_WIDTH_MIN = 12;

/** The width of the columns side by side, with texts as narrow as they may be. */
function leastWidth(columns: readonly Fitted[]): number {
  return sum(
    columns.map((column) => (column.kind === "text" ? Math.min(TEXT_WIDTH_MIN, widthOf(column)) : widthOf(column))),
  );
}

/** The width that each text is wrapped to; undefined when all fit as they are. */
function wrapWidth(columns: readonly Fitted[], width: number | undefined): number | undefined {
  const texts = columns.filter(({ kind }) => kind === "text");
  if (width === undefined || texts.length === 0 || sum(columns.map(widthOf)) <= width) return undefined;
  const others = columns.filter(({ kind }) => kind !== "text").map(widthOf);
  const room = width - sum(others) - texts.length * GAP.length;
  return Math.max(TEXT_WIDTH_MIN, Math.floor(room / texts.length));
}

function isWrappedByWords(columns: readonly Fitted[], width: number): boolean {
  const words = columns
    .filter(({ kind }) => kind === "text")
    .flatMap(({ cells }) => cells.flatMap((cell) => cell.split(" ")));
  return words.every((word) => stringWidth(word) <= width);
}

function widthOf({ title, cells }: Fitted): number {
  return Math.max(stringWidth(title), greatest(cells, stringWidth));
}

function sum(widths: readonly number[]): number {
  return widths.reduce((total, width) => total + width, 0) + Math.max(0, widths.length - 1) * GAP.length;
}

/** The greatest of what the items come to, 0 or more; a list may be longer than a call takes arguments. */
function greatest<T>(items: readonly T[], valueOf: (item: T) => number): number {
  return items.reduce((most, item) => Math.max(most, valueOf(item)), 0);
}

/** Up to here a UUIDv7 is a time; what follows tells those of one millisecond apart. */
const BEGINNING_MIN = 13;

/** Cuts ids to the shortest length at which all of them begin differently. */
export function beginnings(ids: readonly string[]): string[] {
  const distinct = [...new Set(ids)].toSorted();
  const common = distinct.map((id, index) => sharedLength(id, distinct[index + 1] ?? ""));
  const length = Math.max(
    BEGINNING_MIN,
    greatest(common, (shared) => shared + 1),
  );
  return ids.map((id) => id.slice(0, length).replace(/-$/, ""));
}

function sharedLength(one: string, other: string): number {
  let length = 0;
  while (length < one.length && one[length] === other[length]) length += 1;
  return length;
}

const STATE_COLOURS = [
  ["green", /^(posted|open|active|completed)$/],
  ["red", /^(rejected|failed)/],
  ["yellow", /^(frozen|paused|pending|skipped|retrying|expired)/],
  ["dim", /^(closed|cancelled|released|captured)/],
] as const;

function paintCell(text: string, kind: Column["kind"]): string {
  if (text === "") return text;
  if (kind === "id") return styled("dim", text);
  if (kind !== "state") return text;
  const [colour] = STATE_COLOURS.find(([, states]) => states.test(text)) ?? [];
  return colour === undefined ? text : styled(colour, text);
}

function styled(style: "dim" | "bold" | "green" | "red" | "yellow", text: string): string {
  return styleText(style, text, { validateStream: false });
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** One `name  value` line for each field that has a value, made safe to print. */
export function renderFields(
  fields: readonly (readonly [name: string, value: string])[],
  screen: Screen = screenOf(),
): string {
  const filled = fields.filter(([, value]) => value !== "");
  const width = Math.max(...filled.map(([name]) => name.length));
  return filled
    .map(([name, value]) => {
      const text = printable(value);
      const kind = UUID.test(text) ? "id" : name.endsWith("state") ? "state" : undefined;
      return `${name.padEnd(width)}  ${screen.colours ? paintCell(text, kind) : text}`;
    })
    .join("\n");
}

function trimLines(text: string): string {
  return text.replaceAll(/ +$/gm, "");
}
