import type { BooksName, Environment } from "./environment.js";
import { findLedger } from "./environment.js";
import type { Goal, Row, Sample, Window } from "./rows.js";

/** One run of a row, with the reason if it is void. */
export interface Run {
  readonly round: number;
  readonly sample: Sample;
  readonly faults: readonly string[];
}

/** All runs of a row, by round. */
export interface RowRuns {
  readonly row: Row;
  readonly runs: readonly Run[];
}

export interface RoundsOptions {
  readonly rows: readonly Row[];
  readonly rounds: number;
  readonly window: Window;
  readonly onRun: (round: number, row: Row, sample: Sample) => void;
  readonly onFault: (round: number, name: string, fault: string) => void;
}

/**
 * Runs all rows, round after round, so that disturbances of the machine affect all of them. After each row everything
 * acknowledged must be recorded, and after each round the ledger must be correct; otherwise the runs on that ledger are void.
 */
export async function runRounds(environment: Environment, options: RoundsOptions): Promise<RowRuns[]> {
  const { rows, rounds, window, onRun, onFault } = options;
  const runs = new Map<Row, { round: number; sample: Sample; faults: string[] }[]>(rows.map((row) => [row, []]));
  for (let round = 1; round <= rounds; round += 1) {
    await environment.cluster.checkpoint();
    for (const row of rows) {
      const books = findLedger(environment, row.books);
      const before = await books.recorded();
      const sample = await row.run(environment, { ...window, warmupMs: row.warmupMs ?? window.warmupMs });
      const faults = acknowledgementFaults(sample, (await books.recorded()) - before);
      for (const fault of faults) onFault(round, row.id, fault);
      runs.get(row)?.push({ round, sample, faults });
      onRun(round, row, sample);
    }
    for (const name of new Set(rows.map((row) => row.books))) {
      const faults = await findLedger(environment, name).faults();
      for (const fault of faults) onFault(round, name, fault);
      for (const [row, ofRow] of runs) if (row.books === name) ofRow.at(-1)?.faults.push(...faults);
    }
  }
  return [...runs].map(([row, ofRow]) => ({ row, runs: ofRow }));
}

/** Checks all laws on all ledgers; the runs on a ledger that violates one are void. */
export async function checkAll(
  environment: Environment,
  results: readonly RowRuns[],
  onProgress: (text: string) => void,
  onFault: (name: string, fault: string) => void,
): Promise<RowRuns[]> {
  // In parallel, since each uses one processor.
  const found = await Promise.all(
    [...environment.books].map(async ([name, books]) => {
      onProgress(`checking all books of "${name}"`);
      const faults = await books.allFaults();
      for (const fault of faults) onFault(name, fault);
      return [name, faults] as const;
    }),
  );
  const faults = new Map<BooksName, readonly string[]>(found);
  return results.map(({ row, runs }) => ({
    row,
    runs: runs.map((run) => ({ ...run, faults: [...run.faults, ...(faults.get(row.books) ?? [])] })),
  }));
}

/** Verifies that everything answered OK is recorded, and no more than was sent. */
function acknowledgementFaults({ total, perSecond }: Sample, recorded: number): string[] {
  return [
    ...(perSecond > 0 ? [] : ["nothing was answered"]),
    ...(total !== undefined && recorded < total.ok
      ? [`${total.ok} transfers were acknowledged, ${recorded} recorded`]
      : []),
    ...(total !== undefined && recorded > total.sent
      ? [`${total.sent} transfers were sent, ${recorded} recorded`]
      : []),
    ...(total === undefined && recorded > 0 ? [`${recorded} transfers were recorded and none was sent`] : []),
  ];
}

/** A median with minimum and maximum. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export function calculateSpread(values: readonly number[]): Spread | undefined {
  const sorted = [...values].sort((a, b) => a - b);
  const [min] = sorted;
  const max = sorted.at(-1);
  if (min === undefined || max === undefined) return undefined;
  const middle = sorted.length >> 1;
  const upper = sorted[middle]!;
  return { median: sorted.length % 2 === 1 ? upper : (sorted[middle - 1]! + upper) / 2, min, max };
}

/** Returns the valid runs. */
export function validRuns({ runs }: RowRuns): readonly Run[] {
  return runs.filter((run) => run.faults.length === 0);
}

/** The result of a goal; the ratio is undefined if no round is valid for both rows. */
export interface Verdict {
  readonly goal: Goal;
  readonly ratio: Spread | undefined;
  /** undefined without a goal or a ratio. */
  readonly isMet: boolean | undefined;
}

/** Returns the ratio to the baseline in each round. */
export function judge(goal: Goal, results: readonly RowRuns[]): Verdict | undefined {
  const of = results.find(({ row }) => row.id === goal.row);
  const against = results.find(({ row }) => row.id === goal.against);
  if (of === undefined || against === undefined) return undefined;
  const value = ({ sample }: Run): number => (goal.measure === "throughput" ? sample.perSecond : sample.latencyUs.p50);
  const base = new Map(validRuns(against).map((run) => [run.round, value(run)]));
  const ratios = validRuns(of).flatMap((run) => {
    const denominator = base.get(run.round);
    return denominator === undefined || denominator === 0 ? [] : [value(run) / denominator];
  });
  const ratio = calculateSpread(ratios);
  return { goal, ratio, isMet: ratio === undefined ? undefined : isMet(goal, ratio.median) };
}

function isMet({ atLeast, atMost }: Goal, ratio: number): boolean | undefined {
  if (atLeast === undefined && atMost === undefined) return undefined;
  return ratio >= (atLeast ?? -Infinity) && ratio <= (atMost ?? Infinity);
}
