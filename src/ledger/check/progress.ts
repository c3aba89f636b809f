import { LAWS, type LawName } from "./laws.js";
import type { RowCounts } from "./law.js";

/** The progress of a check. */
export interface IntegrityProgress {
  /** 0 until the check has begun. */
  readonly journalSize: bigint;
  readonly lawsDone: number;
  readonly lawsTotal: number;
  /** The law that is being checked. */
  readonly law: LawName | undefined;
  /** The rows that the laws so far have read, and that all will have read; 0 until they are counted. */
  readonly rowsRead: bigint;
  readonly rowsTotal: bigint;
}

/** The progress of a check that has not begun. */
export const NOT_BEGUN: IntegrityProgress = {
  journalSize: 0n,
  lawsDone: 0,
  lawsTotal: 0,
  law: undefined,
  rowsRead: 0n,
  rowsTotal: 0n,
};

/** Lists the laws in the order in which they are checked, each with the progress at its beginning. */
export function planLaws(counts: RowCounts, journalSize: bigint): (IntegrityProgress & { readonly law: LawName })[] {
  const laws = Object.keys(LAWS) as LawName[];
  const countRows = (law: LawName): bigint => LAWS[law].reads.reduce((sum, kind) => sum + counts[kind], 0n);
  const rowsTotal = laws.reduce((sum, law) => sum + countRows(law), 0n);
  let rowsRead = 0n;
  return laws.map((law, lawsDone) => {
    const progress = { journalSize, lawsDone, lawsTotal: laws.length, law, rowsRead, rowsTotal };
    rowsRead += countRows(law);
    return progress;
  });
}
