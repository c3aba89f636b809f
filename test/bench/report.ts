import { renderTable } from "../../src/cli/table.js";
import type { Capacity } from "./calibrate.js";
import type { OverloadReport } from "./overload.js";
import type { Sample } from "./rows.js";
import { calculateSpread, validRuns, type RowRuns, type Spread, type Verdict } from "./rounds.js";

/** The results of a run. */
export interface Report {
  readonly time: string;
  readonly isQuick: boolean;
  readonly machine: Readonly<Record<string, string>>;
  readonly rounds: number;
  readonly warmupMs: number;
  readonly measureMs: number;
  readonly capacities: readonly Capacity[];
  readonly results: readonly RowRuns[];
  readonly verdicts: readonly Verdict[];
  readonly overload: OverloadReport | undefined;
}

/** Renders the results as tables. */
export function renderReport(report: Report): string {
  const { machine, results, verdicts, overload } = report;
  return [
    Object.values(machine).join(" · "),
    `${report.rounds} interleaved rounds, each row ${report.measureMs / 1_000} s after ${report.warmupMs / 1_000} s of warm-up; medians with minimum and maximum`,
    "",
    renderRows(results, report.capacities),
    "",
    renderVerdicts(verdicts),
    ...(overload === undefined ? [] : ["", renderOverload(overload)]),
  ].join("\n");
}

function renderRows(results: readonly RowRuns[], capacities: readonly Capacity[]): string {
  const rows = results.map((result) => {
    const { row } = result;
    const runs = validRuns(result);
    const rate = calculateSpread(runs.map(({ sample }) => sample.perSecond));
    const p50 = calculateSpread(runs.map(({ sample }) => sample.latencyUs.p50));
    const p99 = calculateSpread(runs.map(({ sample }) => sample.latencyUs.p99));
    const capacity = capacities.find(({ shape }) => shape === row.shape);
    return [
      row.id,
      row.title,
      row.inFlight === undefined ? "" : row.inFlight.toLocaleString("en"),
      rate === undefined ? "void" : rateText(rate.median),
      rate === undefined ? "" : `${rateText(rate.min)}–${rateText(rate.max)}`,
      p50 === undefined ? "" : msText(p50.median),
      p99 === undefined ? "" : msText(p99.median),
      cpuText(result),
      capacity === undefined ? "" : rateText(capacity.perSecond),
      `${runs.length}/${result.runs.length}`,
    ];
  });
  return renderTable(
    [
      { title: "row" },
      { title: "description" },
      { title: "in flight", align: "right" },
      { title: "per second", align: "right" },
      { title: "spread", align: "right" },
      { title: "p50 ms", align: "right" },
      { title: "p99 ms", align: "right" },
      { title: "cpu us: server (+ fronts) + postgres + client" },
      { title: "client could", align: "right" },
      { title: "rounds", align: "right" },
    ],
    rows,
  );
}

function cpuText(result: RowRuns): string {
  const median = (name: string): string => {
    const spread = calculateSpread(validRuns(result).flatMap(({ sample }) => sample.cpuUs?.[name] ?? []));
    return spread === undefined ? "–" : spread.median.toFixed(0);
  };
  const isShared = result.runs.some(({ sample }) => sample.cpuUs?.fronts !== undefined);
  return result.runs.some(({ sample }) => sample.cpuUs !== undefined)
    ? ["server", ...(isShared ? ["fronts"] : []), "postgres", "client"].map(median).join(" + ")
    : "";
}

function renderVerdicts(verdicts: readonly Verdict[]): string {
  return renderTable(
    [
      { title: "row" },
      { title: "against" },
      { title: "of" },
      { title: "ratio", align: "right" },
      { title: "spread", align: "right" },
      { title: "goal" },
      { title: "" },
    ],
    verdicts.map(({ goal, ratio, isMet }) => [
      goal.row,
      goal.against,
      goal.measure,
      ratio === undefined ? "–" : ratioText(ratio.median),
      ratio === undefined ? "" : `${ratioText(ratio.min)}–${ratioText(ratio.max)}`,
      goal.atLeast === undefined ? (goal.atMost === undefined ? "" : `≤ ${goal.atMost}`) : `≥ ${goal.atLeast}`,
      isMet === undefined ? "" : isMet ? "met" : "MISSED",
    ]),
  );
}

const GOODPUT_SHARE_MIN = 0.8;

function renderOverload(overload: OverloadReport): string {
  const { memory, statuses, latencyUs } = overload;
  const isGood = overload.goodputShare >= GOODPUT_SHARE_MIN;
  return [
    `Overload: ${overload.callers.toLocaleString("en")} callers with a deadline of ${overload.deadlineMs / 1_000} s, who honour RetryInfo`,
    `  goodput    ${rateText(overload.goodPerSecond)}/s of ${rateText(overload.peakPerSecond)}/s at the peak: ${ratioText(overload.goodputShare)} (goal ≥ ${GOODPUT_SHARE_MIN}: ${isGood ? "met" : "MISSED"}); offered ${rateText(overload.offeredPerSecond)}/s; p50 ${msText(latencyUs.p50)} ms, p99 ${msText(latencyUs.p99)} ms`,
    `  replies    ${Object.entries(statuses)
      .map(([name, count]) => `${name} ${count.toLocaleString("en")}`)
      .join(", ")}`,
    `  refused    ${overload.refused.toLocaleString("en")} calls, of which posted: ${overload.refusedButPosted}; acknowledged but lost: ${overload.acknowledgedButLost}`,
    `  memory     idle ${megabytes(memory.idle)}, at the peak ${megabytes(memory.peak)}, overloaded ${megabytes(memory.overload)}, afterwards ${megabytes(memory.after)}`,
  ].join("\n");
}

export function rateText(perSecond: number): string {
  return perSecond < 100 ? perSecond.toFixed(1) : Math.round(perSecond).toLocaleString("en");
}

export function msText(us: number): string {
  const ms = us / 1_000;
  return ms < 10 ? ms.toFixed(2) : ms < 100 ? ms.toFixed(1) : ms.toFixed(0);
}

function ratioText(ratio: number): string {
  return ratio.toFixed(2);
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1e6)} MB`;
}

/** Returns the results as JSON: medians and the figures of each round. */
export function reportJson(report: Report): string {
  const { results, verdicts, ...rest } = report;
  const rows = results.map((result) => {
    const { row, runs } = result;
    const spread = (of: (sample: Sample) => number): Spread | undefined =>
      calculateSpread(validRuns(result).map(({ sample }) => of(sample)));
    return {
      id: row.id,
      title: row.title,
      unit: row.unit,
      inFlight: row.inFlight,
      perSecond: spread((sample) => sample.perSecond),
      p50Us: spread((sample) => sample.latencyUs.p50),
      p99Us: spread((sample) => sample.latencyUs.p99),
      rounds: runs,
    };
  });
  const goals = verdicts.map(({ goal, ratio, isMet }) => ({ ...goal, ratio, isMet }));
  return `${JSON.stringify({ ...rest, rows, goals }, null, 2)}\n`;
}
