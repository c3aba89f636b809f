import Table from "cli-table3";
import { printable } from "./text.js";

export interface Column {
  readonly title: string;
  readonly align?: "right";
}

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
  middle: "  ",
};

/** Whether standard output shows colours: a terminal that can, unless NO_COLOR is set (Node reads it). */
export function hasColours(): boolean {
  return process.stdout.isTTY && process.stdout.hasColors();
}

/** The rows under their titles, made safe to print; nothing is cut or wrapped. */
export function renderTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  colours: boolean = hasColours(),
): string {
  const table = new Table({
    head: columns.map((column) => column.title.toUpperCase()),
    colAligns: columns.map((column) => column.align ?? "left"),
    chars: NO_LINES,
    style: { "padding-left": 0, "padding-right": 0, head: colours ? ["bold"] : [], border: [], compact: true },
  });
  table.push(...rows.map((row) => row.map(printable)));
  return trimLines(table.toString());
}

/** One `name  value` line for each field that has a value, made safe to print. */
export function renderFields(fields: readonly (readonly [name: string, value: string])[]): string {
  const shown = fields.filter(([, value]) => value !== "");
  const width = Math.max(...shown.map(([name]) => name.length));
  return shown.map(([name, value]) => `${name.padEnd(width)}  ${printable(value)}`).join("\n");
}

function trimLines(text: string): string {
  return text.replaceAll(/ +$/gm, "");
}
