import { textArray } from "../../db/binary-array.js";
import type { CallerData } from "../command/command.js";

/** The storage of a field of the caller's own data in a column of `transactions`. */
interface StoredField<T> {
  readonly column: string;
  /** The name and type of the parameter of post_batch() that takes the column. */
  readonly parameter: string;
  readonly type: string;
  readonly read: (stored: unknown) => T;
  readonly write: (values: readonly T[]) => Buffer;
}

const FIELDS: { readonly [Field in keyof CallerData]: StoredField<CallerData[Field]> } = {
  description: {
    column: "description",
    parameter: "p_descriptions",
    type: "text[]",
    read: (stored) => stored as string,
    write: textArray,
  },
  metadata: {
    column: "metadata",
    parameter: "p_metadata",
    type: "text[]",
    read: (stored) => (stored ?? {}) as CallerData["metadata"],
    write: (values) => textArray(values.map(toJsonOrNull)),
  },
  externalReference: {
    column: "external_reference",
    parameter: "p_external_references",
    type: "text[]",
    read: (stored) => (stored ?? "") as string,
    // Most batches have none.
    write: (values) => textArray(values.some(Boolean) ? values.map((value) => value || null) : []),
  },
};

const STORED = Object.entries(FIELDS) as [keyof CallerData, StoredField<unknown>][];

/** The columns of `transactions t` that are read. */
export const CALLER_DATA_COLUMNS = STORED.map(([, { column }]) => `t.${column}`).join(", ");

/** Returns the caller's data of a row that has these columns. */
export function fromCallerDataRow(row: object): CallerData {
  const columns = row as Readonly<Record<string, unknown>>;
  return Object.fromEntries(
    STORED.map(([field, { column, read }]) => [field, read(columns[column])]),
  ) as unknown as CallerData;
}

export const CALLER_DATA_PARAMETERS: Readonly<Record<string, string>> = Object.fromEntries(
  STORED.map(([, { parameter, type }]) => [parameter, type]),
);

/** Returns the columns that are written. */
export function toCallerDataColumns(all: readonly CallerData[]): Buffer[] {
  return STORED.map(([field, { write }]) => write(all.map((data) => data[field])));
}

/** Encodes pairs as JSON; null for none. */
function toJsonOrNull(pairs: CallerData["metadata"]): string | null {
  for (const _ in pairs) return JSON.stringify(pairs);
  return null;
}
