import { styleText } from "node:util";
import Table from "cli-table3";
import stringWidth from "string-width";
import { printable } from "./text.js";

export interface Column {
  readonly title: string;
  readonly align?: "right";
  /** The content, which determines how cells shrink and their colour: ids are cut to a unique prefix, texts are wrapped. */
  readonly kind?: "id" | "state" | "text";
  /** The rank in which columns are dropped while the table is too wide, 1 first; undefined: never. */
  readonly drop?: number;
}

/** A cell: one text, or alternatives from longest to shortest, chosen by the available width. */
export type Cell = string | Forms;

interface Forms {
  readonly forms: readonly string[];
  /** The index of the longest form that a terminal shows, at any width. */
  readonly onTerminal?: number;
}

/** The properties of an output. */
export interface Screen {
  /** In columns; undefined: unlimited. */
  readonly width: number | undefined;
  readonly colours: boolean;
}

/** Detects a terminal's width and colours (Node honours NO_COLOR); a file or pipe has neither. */
export function detectScreen(stream: NodeJS.WriteStream = process.stdout): Screen {
  return stream.isTTY ? { width: stream.columns, colours: stream.hasColors() } : { width: undefined, colours: false };
}

/** A file or pipe. */
export const PLAIN: Screen = { width: undefined, colours: false };

const GAP = "  ";

/** No lines between columns and rows. */
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

/** The maximum number of rows in a table: the library spreads them into the arguments of one call. */
const ROWS_MAX = 10_000;

/** Renders rows under their titles, safe to print and, if possible, no wider than the screen. */
export function renderTable(
  columns: readonly Column[],
  rows: readonly (readonly Cell[])[],
  screen: Screen = detectScreen(),
): string {
  if (rows.length > ROWS_MAX) {
    const rest = renderTable(columns, rows.slice(ROWS_MAX), screen);
    return `${renderTable(columns, rows.slice(0, ROWS_MAX), screen)}\n\n${rest}`;
  }
  const { columns: fitted, hiddenTitles } = fit(
    columns.map((column, index) => ({ ...column, cells: rows.map((row) => row[index] ?? "") })),
    screen.width,
  );
  const textWidth = computeTextWidth(fitted, screen.width);
  const table = new Table({
    head: fitted.map(({ title }) => title.toUpperCase()),
    colAligns: fitted.map(({ align }) => align ?? "left"),
    ...(textWidth !== undefined && {
      colWidths: fitted.map((column) => (column.kind === "text" ? textWidth : null)),
      wordWrap: true,
      wrapOnWordBoundary: wrapsAtWords(fitted, textWidth),
    }),
    chars: NO_LINES,
    style: { "padding-left": 0, "padding-right": 0, head: screen.colours ? ["bold"] : [], border: [], compact: true },
  });
  const paint = screen.colours ? paintCell : (text: string): string => text;
  rows.forEach((_, row) => table.push(fitted.map(({ kind, cells }) => paint(cells[row] ?? "", kind))));
  const note = `(hidden: ${hiddenTitles.join(", ")}; a wider terminal or a pipe shows all)`;
  return (
    trimLines(table.toString()) +
    (hiddenTitles.length === 0 ? "" : `\n${screen.colours ? applyStyle("dim", note) : note}`)
  );
}

interface UnfittedColumn extends Column {
  readonly cells: readonly Cell[];
}

interface FittedColumn extends Column {
  readonly cells: readonly string[];
}

interface Layout {
  readonly columns: readonly FittedColumn[];
  /** The titles of dropped columns. */
  readonly hiddenTitles: readonly string[];
}

/** Narrows columns, and then drops some, until they fit. */
function fit(columns: readonly UnfittedColumn[], width: number | undefined): Layout {
  if (width === undefined) return { columns: columns.map((column) => renderColumn(column, 0)), hiddenTitles: [] };
  // Drop droppable columns without values.
  const filled = columns.filter(({ drop, cells }) => drop === undefined || cells.some((cell) => cell !== ""));
  const forms = new Map(filled.map((column) => [column.title, findMaximum(column.cells, widestTerminalForm)]));
  const hiddenTitles: string[] = [];
  let cutsIds = false;
  const layOut = (): FittedColumn[] =>
    filled
      .filter(({ title }) => !hiddenTitles.includes(title))
      .map((column) => {
        const fitted = renderColumn(column, forms.get(column.title) ?? 0);
        return cutsIds && column.kind === "id" ? { ...fitted, cells: shortenIds(fitted.cells) } : fitted;
      });
  const shorten = (form: number, which: (column: UnfittedColumn) => boolean) => (): void => {
    for (const column of filled.filter(which)) forms.set(column.title, Math.max(form, forms.get(column.title) ?? 0));
  };
  const hide =
    ({ title }: UnfittedColumn) =>
    (): void => {
      hiddenTitles.push(title);
    };
  const droppable = sortByImportance(filled);
  const dropsEarly = ({ drop = 0 }: UnfittedColumn): boolean => drop <= EARLY_DROP_MAX;
  const steps = [
    shorten(1, ({ kind }) => kind !== "state"),
    shorten(1, () => true),
    (): void => {
      cutsIds = true;
    },
    ...droppable.filter(dropsEarly).map(hide),
    ...Array.from({ length: findMaximum(filled, ({ cells }) => findMaximum(cells, countForms)) }, (_, form) =>
      shorten(form, () => true),
    ),
    ...droppable.filter((column) => !dropsEarly(column)).map(hide),
  ];
  for (const narrow of steps) {
    if (measureMinimumWidth(layOut()) <= width) break;
    narrow();
  }
  return { columns: layOut(), hiddenTitles };
}

/** Columns up to this rank are dropped before account names are shortened. */
const EARLY_DROP_MAX = 2;

/** Returns the droppable columns, least important first. */
function sortByImportance(columns: readonly UnfittedColumn[]): UnfittedColumn[] {
  return columns.filter(({ drop }) => drop !== undefined).toSorted((one, other) => (one.drop ?? 0) - (other.drop ?? 0));
}

function widestTerminalForm(cell: Cell): number {
  return typeof cell === "string" ? 0 : (cell.onTerminal ?? 0);
}

function countForms(cell: Cell): number {
  return typeof cell === "string" ? 1 : cell.forms.length;
}

function renderColumn(column: UnfittedColumn, form: number): FittedColumn {
  return { ...column, cells: column.cells.map((cell) => printable(selectForm(cell, form))) };
}

/** Returns the cell's text in this form, or in its shortest one. */
export function selectForm(cell: Cell, form: number): string {
  return typeof cell === "string" ? cell : (cell.forms[Math.min(form, cell.forms.length - 1)] ?? "");
}

/** The minimum width of wrapped text. */
const TEXT_WIDTH_MIN = 12;

/** Returns the total width with texts at their minimum width. */
function measureMinimumWidth(columns: readonly FittedColumn[]): number {
  return sumWidths(
    columns.map((column) =>
      column.kind === "text" ? Math.min(TEXT_WIDTH_MIN, measureColumn(column)) : measureColumn(column),
    ),
  );
}

/** Returns the width to wrap texts to; undefined if everything fits. */
function computeTextWidth(columns: readonly FittedColumn[], width: number | undefined): number | undefined {
  const texts = columns.filter(({ kind }) => kind === "text");
  if (width === undefined || texts.length === 0 || sumWidths(columns.map(measureColumn)) <= width) return undefined;
  const others = columns.filter(({ kind }) => kind !== "text").map(measureColumn);
  const room = width - sumWidths(others) - texts.length * GAP.length;
  return Math.max(TEXT_WIDTH_MIN, Math.floor(room / texts.length));
}

function wrapsAtWords(columns: readonly FittedColumn[], width: number): boolean {
  const words = columns
    .filter(({ kind }) => kind === "text")
    .flatMap(({ cells }) => cells.flatMap((cell) => cell.split(" ")));
  return words.every((word) => stringWidth(word) <= width);
}

function measureColumn({ title, cells }: FittedColumn): number {
  return Math.max(stringWidth(title), findMaximum(cells, stringWidth));
}

function sumWidths(widths: readonly number[]): number {
  return widths.reduce((total, width) => total + width, 0) + Math.max(0, widths.length - 1) * GAP.length;
}

/** Returns the maximum of the values, at least 0; unlike Math.max(), for a list of any length. */
function findMaximum<T>(items: readonly T[], getValue: (item: T) => number): number {
  return items.reduce((maximum, item) => Math.max(maximum, getValue(item)), 0);
}

/** The timestamp of a UUIDv7; the rest distinguishes ids of the same millisecond. */
const ID_PREFIX_MIN = 13;

/** Cuts ids to the shortest prefix length at which they differ. */
export function shortenIds(ids: readonly string[]): string[] {
  const distinct = [...new Set(ids)].toSorted();
  const common = distinct.map((id, index) => countSharedCharacters(id, distinct[index + 1] ?? ""));
  const length = Math.max(
    ID_PREFIX_MIN,
    findMaximum(common, (shared) => shared + 1),
  );
  return ids.map((id) => id.slice(0, length).replace(/-$/, ""));
}

function countSharedCharacters(one: string, other: string): number {
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
  if (kind === "id") return applyStyle("dim", text);
  if (kind !== "state") return text;
  const [colour] = STATE_COLOURS.find(([, states]) => states.test(text)) ?? [];
  return colour === undefined ? text : applyStyle(colour, text);
}

function applyStyle(style: "dim" | "bold" | "green" | "red" | "yellow", text: string): string {
  return styleText(style, text, { validateStream: false });
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Renders a line `name  value` for each field with a value, safe to print. */
export function renderFields(
  fields: readonly (readonly [name: string, value: string])[],
  screen: Screen = detectScreen(),
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
