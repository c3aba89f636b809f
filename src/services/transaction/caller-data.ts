import type { Transaction } from "../../../generated/grey/transaction/v1/transaction.js";
import type { CallerData } from "../../ledger/command/command.js";

// The caller's own data in requests.

/** The fields of requests that hold it; a schedule's have fewer. */
export type CallerDataFields = Pick<Transaction, "description" | "metadata"> &
  Partial<Pick<Transaction, "externalReference">>;

export function parseCallerData({ description, metadata, externalReference = "" }: CallerDataFields): CallerData {
  return { description, metadata, externalReference };
}

/** The contract's name of each field, and the comparison of two values. */
const FIELDS: { readonly [Field in keyof CallerData]: readonly [string, (a: CallerData, b: CallerData) => boolean] } = {
  description: ["description", (a, b) => a.description === b.description],
  metadata: ["metadata", (a, b) => haveSamePairs(a.metadata, b.metadata)],
  externalReference: ["external_reference", (a, b) => a.externalReference === b.externalReference],
};

/** Names the fields in which the caller's data of two requests differ. */
export function findCallerDataDifferences(a: CallerData, b: CallerData): string[] {
  return Object.values(FIELDS).flatMap(([name, isSame]) => (isSame(a, b) ? [] : [name]));
}

function haveSamePairs(a: CallerData["metadata"], b: CallerData["metadata"]): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key]);
}
