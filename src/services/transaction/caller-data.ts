import type { Transaction } from "../../../generated/grey/transaction/v1/transaction.js";
import type { CallerData } from "../../ledger/command/command.js";

// The caller's own data in requests and transactions: the one place of the services that a further field of it needs.

/** The fields of requests that hold it; a schedule's have fewer. */
export type CallerDataFields = Pick<Transaction, "description" | "metadata"> &
  Partial<Pick<Transaction, "externalReference">>;

export function parseCallerData({ description, metadata, externalReference = "" }: CallerDataFields): CallerData {
  return { description, metadata, externalReference };
}

export function toCallerDataFields({
  description,
  metadata,
  externalReference,
}: CallerData): Required<CallerDataFields> {
  return { description, metadata, externalReference };
}

/** Names the fields in which the caller's data of two requests differ. */
export function findCallerDataDifferences(a: CallerData, b: CallerData): string[] {
  return [
    ...(a.description === b.description ? [] : ["description"]),
    ...(haveSamePairs(a.metadata, b.metadata) ? [] : ["metadata"]),
    ...(a.externalReference === b.externalReference ? [] : ["external_reference"]),
  ];
}

function haveSamePairs(a: CallerData["metadata"], b: CallerData["metadata"]): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key]);
}
