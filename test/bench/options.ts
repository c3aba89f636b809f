import { Command, InvalidArgumentError } from "commander";
import { ROWS, type Row, type Window, GOALS } from "./rows.js";

/** The options of a run. */
export interface Options {
  readonly isQuick: boolean;
  readonly rows: readonly Row[];
  readonly rounds: number;
  readonly window: Window;
  readonly overloads: boolean;
  readonly saves: boolean;
  readonly profiles: boolean;
  /** The PostgreSQL of the rows `other-…`. */
  readonly otherUrl: string | undefined;
}

/** The value of `--rows` for the measurement of overload and memory, which is no row of the table. */
const OVERLOAD = "overload";

const FULL = { rounds: 3, warmupMs: 500, measureMs: 2_000 };
const QUICK = { rounds: 2, warmupMs: 400, measureMs: 1_200 };

/** Parses the command line; exits after --help or a mistake. */
export function readOptions(argv: readonly string[]): Options {
  const program = new Command("npm run bench --")
    .description("Compare Grey with hand-written alternatives on one PostgreSQL, in interleaved rounds.")
    .option("--quick", "run for about a minute: fewer rows, shorter windows, no large ledger, no overload")
    .option("--rows <ids>", "only these comma-separated rows and their baselines; `batch*` selects a prefix", readList)
    .option("--rounds <n>", "the number of rounds", wholeNumber)
    .option("--seconds <n>", "the length of a measurement in seconds", positiveNumber)
    .option(
      "--other <url>",
      "also measure on this PostgreSQL, such as a distribution's default one; fails below half the speed",
    )
    .option("--save", "also write docs/bench.json and docs/bench.svg")
    .option("--profile", "run the servers with --cpu-prof and write their self times to bench-results/profile.txt")
    .addHelpText(
      "after",
      `\nRows:\n${ROWS.map(describeRow).join("\n")}\n  ${OVERLOAD.padEnd(22)} ten times the callers of the peak; memory\n\nResults are written to bench-results/. DATABASE_URL selects a PostgreSQL, whose user must be a superuser;\nby default, an embedded one is started and deleted afterwards.`,
    )
    .parse(argv, { from: "user" });
  const given = program.opts<{
    quick?: true;
    rows?: string[];
    rounds?: number;
    seconds?: number;
    save?: true;
    profile?: true;
    other?: string;
  }>();
  const isQuick = given.quick === true;
  const defaults = isQuick ? QUICK : FULL;
  const rows = (
    given.rows === undefined ? ROWS.filter((row) => !isQuick || row.isQuick) : selectRows(program, given.rows)
  ).filter((row) => row.isOnOther !== true || given.other !== undefined);
  return {
    isQuick,
    rows,
    rounds: given.rounds ?? defaults.rounds,
    window: {
      warmupMs: defaults.warmupMs,
      measureMs: given.seconds === undefined ? defaults.measureMs : given.seconds * 1_000,
    },
    overloads: given.rows === undefined ? !isQuick : given.rows.includes(OVERLOAD),
    saves: given.save === true,
    profiles: given.profile === true,
    otherUrl: given.other,
  };
}

function describeRow({ id, title, isQuick }: Row): string {
  return `  ${id.padEnd(22)} ${title}${isQuick ? "" : " (not with --quick)"}`;
}

/** Selects rows and their baselines, in the order of the table. */
function selectRows(program: Command, patterns: readonly string[]): Row[] {
  const selected = new Set<string>();
  for (const pattern of patterns.filter((one) => one !== OVERLOAD)) {
    const found = ROWS.filter(({ id }) =>
      pattern.endsWith("*") ? id.startsWith(pattern.slice(0, -1)) : id === pattern,
    );
    if (found.length === 0) program.error(`error: unknown row '${pattern}'`);
    for (const { id } of found) selected.add(id);
  }
  for (const { row, against } of GOALS) if (selected.has(row)) selected.add(against);
  return ROWS.filter(({ id }) => selected.has(id));
}

function readList(text: string): string[] {
  return text.split(",").map((one) => one.trim());
}

function wholeNumber(text: string): number {
  if (!/^[1-9]\d{0,3}$/.test(text)) throw new InvalidArgumentError("It must be a whole number, at least 1.");
  return Number(text);
}

function positiveNumber(text: string): number {
  if (!/^\d{1,4}(\.\d+)?$/.test(text) || Number(text) <= 0)
    throw new InvalidArgumentError("It must be a number of seconds, more than 0.");
  return Number(text);
}
