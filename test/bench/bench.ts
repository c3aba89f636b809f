// npm run bench: see --help and docs/performance.md.
import { execFileSync } from "node:child_process";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { cpus, loadavg, platform, release, totalmem } from "node:os";
import { join } from "node:path";
import { PROJECT_DIR, readConfig } from "../../src/config/config.js";
import { measureCapacity, type Capacity } from "./calibrate.js";
import { renderChart } from "./chart.js";
import { Cleanup } from "./cleanup.js";
import { makeRunFolder, openCluster } from "./databases.js";
import { prepare, SCALE, SMALL_SCALE, type BooksName, type Environment } from "./environment.js";
import { readOptions, type Options } from "./options.js";
import { measureOverload } from "./overload.js";
import { summariseProfiles } from "./profile.js";
import { Progress } from "./progress.js";
import { msText, rateText, renderReport, reportJson, type Report } from "./report.js";
import { checkAll, judge, runRounds } from "./rounds.js";
import { COMPARISONS, GOALS, type Row, type Sample, type Shape } from "./rows.js";

const RESULTS_DIR = join(PROJECT_DIR, "bench-results");
const DOCS_DIR = join(PROJECT_DIR, "docs");
const INTERRUPTED = 130;
/** Warms up the servers' hot paths before measuring. */
const FIRST_WARMUP = { warmupMs: 0, measureMs: 1_500 };

const options = readOptions(process.argv.slice(2));
const cleanup = new Cleanup();
const interrupted = new AbortController();

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    if (interrupted.signal.aborted) return;
    console.error(`\n${signal}: stopping everything that was started`);
    interrupted.abort();
    cleanup
      .run()
      .catch((error: unknown) => console.error(error))
      .finally(() => process.exit(INTERRUPTED));
  });
}

try {
  process.exitCode = await main(options);
} catch (error) {
  // Calls to servers that are being stopped fail.
  if (!interrupted.signal.aborted) {
    console.error(error);
    process.exitCode = 1;
  }
} finally {
  await cleanup.run();
}

/** Returns the exit code: 1 if a round is void or a required goal is missed. */
async function main({ rows, rounds, window, isQuick, overloads, saves, profiles, otherUrl }: Options): Promise<number> {
  const progress = new Progress();
  const profileDir = profiles ? join(RESULTS_DIR, "profiles") : undefined;
  if (profileDir !== undefined) await rm(profileDir, { recursive: true, force: true });
  const needsDeepPage = rows.some((row) => row.needsDeepPage === true);
  const [load = 0] = loadavg();
  if (load > cpus().length / 2)
    progress.say(`the machine is busy (load ${load.toFixed(1)}): the numbers will mean little`);
  const folder = await makeRunFolder(cleanup);
  progress.say("starting PostgreSQL");
  const cluster = await openCluster(cleanup, folder, readConfig().DATABASE_URL, interrupted.signal);
  const other = otherUrl === undefined ? undefined : await openCluster(cleanup, folder, otherUrl, interrupted.signal);
  const environment = await prepare({
    cleanup,
    folder,
    cluster,
    other,
    scale: needsDeepPage ? SCALE : SMALL_SCALE,
    names: new Set<BooksName>([...rows.map((row) => row.books), ...(overloads ? ["overload" as const] : [])]),
    needsDeepPage,
    profileDir,
    onProgress: (text) => progress.say(text),
  });

  const capacities: Capacity[] = [];
  for (const shape of new Set(rows.flatMap((row): Shape[] => (row.shape === undefined ? [] : [row.shape])))) {
    capacities.push(await measureCapacity(cleanup, shape, window));
    progress.say(`the load client can offer ${rateText(capacities.at(-1)?.perSecond ?? 0)}/s as ${shape}`);
  }
  await warmUp(environment, rows, progress);

  progress.expect(rounds * rows.length);
  const measured = await runRounds(environment, {
    rows,
    rounds,
    window,
    onRun: (round, row, sample) => progress.step(`round ${round}  ${row.id.padEnd(22)} ${describe(sample)}`),
    onFault: (round, name, fault) => progress.say(`DOES NOT COUNT: round ${round}, ${name}: ${fault}`),
  });
  const overload = overloads ? await measureOverload(environment, (text) => progress.say(text)) : undefined;
  const results = await checkAll(
    environment,
    measured,
    (text) => progress.say(text),
    (name, fault) => progress.say(`DOES NOT COUNT: ${name}: ${fault}`),
  );

  const report: Report = {
    time: new Date().toISOString(),
    isQuick,
    machine: { ...describeMachine(environment), load: `load ${load.toFixed(1)} before` },
    rounds,
    ...window,
    capacities,
    results,
    verdicts: [...GOALS, ...COMPARISONS].flatMap((goal) => judge(goal, results) ?? []),
    overload,
  };
  await writeResults(report, saves);
  if (profileDir !== undefined) await writeProfiles(environment, profileDir);
  console.log(`\n${renderReport(report)}`);
  const isSound =
    results.every(({ runs }) => runs.every((run) => run.faults.length === 0)) &&
    report.verdicts.every(({ goal, isMet }) => goal.isRequired !== true || isMet === true) &&
    (overload === undefined || (overload.refusedButPosted === 0 && overload.acknowledgedButLost === 0));
  return isSound ? 0 : 1;
}

async function warmUp(environment: Environment, rows: readonly Row[], progress: Progress): Promise<void> {
  progress.say("warming up");
  const seen = new Set<BooksName>();
  for (const row of rows) {
    if (row.unit !== "transfers" || row.books === "function" || seen.has(row.books)) continue;
    seen.add(row.books);
    await row.run(environment, FIRST_WARMUP);
  }
}

function describe(sample: Sample): string {
  const { p50, p99 } = sample.latencyUs;
  const notOk = Object.entries(sample.statuses ?? {}).filter(([name]) => name !== "OK");
  return [
    `${rateText(sample.perSecond).padStart(8)}/s  p50 ${msText(p50).padStart(6)} ms  p99 ${msText(p99).padStart(6)} ms`,
    ...notOk.map(([name, count]) => `${name} ${count}`),
  ].join("  ");
}

function describeMachine({ cluster, pgbench }: Environment): Record<string, string> {
  const [first] = cpus();
  return {
    processors: `${cpus().length} × ${first?.model.trim() ?? "unknown"}`,
    memory: `${Math.round(totalmem() / 1e9)} GB`,
    system: `${platform()} ${release()}`,
    node: `Node ${process.version}`,
    database: cluster.about,
    function: pgbench ?? "no pgbench: the function is called from Node",
    commit: gitCommit(),
  };
}

function gitCommit(): string {
  try {
    return `Grey ${execFileSync("git", ["describe", "--always", "--dirty"], { cwd: PROJECT_DIR, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim()}`;
  } catch {
    return "Grey without git";
  }
}

async function writeResults(report: Report, saves: boolean): Promise<void> {
  const { machine, results, time } = report;
  const chart = renderChart(results, `${time.slice(0, 10)} · ${machine.processors} · ${machine.database}`);
  const json = reportJson(report);
  await mkdir(RESULTS_DIR, { recursive: true });
  for (const folder of saves ? [RESULTS_DIR, DOCS_DIR] : [RESULTS_DIR]) {
    await writeFile(join(folder, "bench.json"), json);
    if (chart !== undefined) await writeFile(join(folder, "bench.svg"), chart);
  }
  await writeFile(join(RESULTS_DIR, "bench.txt"), `${renderReport(report)}\n`);
}

async function writeProfiles(environment: Environment, profileDir: string): Promise<void> {
  await environment.stopServers();
  await writeFile(join(RESULTS_DIR, "profile.txt"), `${await summariseProfiles(profileDir)}\n`);
}
