import { textArray } from "../../db/binary-array.js";
import type { CallerData } from "../command/command.js";

// How rows of transactions store the caller's own data: the one place that a further field of it needs, beside the schema.

/** The columns of `transactions t` that are read. */
export const CALLER_DATA_COLUMNS = "t.description, t.metadata, t.external_reference";

export interface CallerDataRow {
  readonly description: string;
  readonly metadata: Record<string, string> | null;
  readonly external_reference: string | null;
}

export function fromCallerDataRow(row: CallerDataRow): CallerData {
  return {
    description: row.description,
    metadata: row.metadata ?? {},
    externalReference: row.external_reference ?? "",
  };
}

/** The types of the columns that are written, as post_batch() takes them. */
export const CALLER_DATA_TYPES = ["text[]", "text[]", "text[]"] as const;

export function toCallerDataColumns(all: readonly CallerData[]): Buffer[] {
  return [
    textArray(all.map((one) => one.description)),
    textArray(all.map((one) => toJsonOrNull(one.metadata))),
    all.some((one) => one.externalReference !== "")
      ? textArray(all.map((one) => one.externalReference || null))
      : textArray([]),
  ];
}

/** Returns the caller's data of a command or a transaction. */
export function pickCallerData({ description, metadata, externalReference }: CallerData): CallerData {
  return { description, metadata, externalReference };
}

/** Encodes pairs as JSON; null for none. */
function toJsonOrNull(pairs: Readonly<Record<string, string>>): string | null {
  for (const _ in pairs) return JSON.stringify(pairs);
  return null;
}
