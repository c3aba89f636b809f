import { Command, InvalidArgumentError } from "commander";
import { ROWS, type Row, type Window, GOALS } from "./rows.js";

/** What a run is to do. */
export interface Options {
  readonly isQuick: boolean;
  readonly rows: readonly Row[];
  readonly rounds: number;
  readonly window: Window;
  readonly overloads: boolean;
  readonly saves: boolean;
  readonly profiles: boolean;
  /** URL of the PostgreSQL that the rows of the other one run on. */
  readonly otherUrl: string | undefined;
}

/** The name by which `--rows` selects the measurement of overload and memory, which is no row of the table. */
const OVERLOAD = "overload";

const FULL = { rounds: 3, warmupMs: 500, measureMs: 2_000 };
const QUICK = { rounds: 2, warmupMs: 400, measureMs: 1_200 };

/** Reads the command line; ends the process for --help and for what is wrongly typed. */
export function readOptions(argv: readonly string[]): Options {
  const program = new Command("npm run bench --")
    .description(
      "Measure Grey against the ways in which one would do without it, on one PostgreSQL, in interleaved rounds.",
    )
    .option("--quick", "about a minute: fewer rows, shorter windows, no large books, no overload")
    .option(
      "--rows <ids>",
      "only these rows and those they are compared with, separated by commas; `batch*` takes all that begin so",
      listOf,
    )
    .option("--rounds <n>", "how many rounds", wholeNumber)
    .option("--seconds <n>", "how long each row is measured in a round", positiveNumber)
    .option(
      "--other <url>",
      "also measure on this PostgreSQL, such as a distribution's with its defaults; fails when it has less than half the speed",
    )
    .option("--save", "also write docs/bench.json and docs/bench.svg")
    .option("--profile", "run the servers with --cpu-prof and write where their time goes to bench-results/profile.txt")
    .addHelpText(
      "after",
      `\nRows:\n${ROWS.map(describeRow).join("\n")}\n  ${OVERLOAD.padEnd(22)} ten times as many callers as at the peak; memory\n\nThe results are in bench-results/. DATABASE_URL names the PostgreSQL to use, whose user may create\ndatabases and is a superuser; without it an embedded one is started, and thrown away afterwards.`,
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

/** The rows that were asked for, and those that their goals compare them with, in the order of the table. */
function selectRows(program: Command, patterns: readonly string[]): Row[] {
  const wanted = new Set<string>();
  for (const pattern of patterns.filter((one) => one !== OVERLOAD)) {
    const found = ROWS.filter(({ id }) =>
      pattern.endsWith("*") ? id.startsWith(pattern.slice(0, -1)) : id === pattern,
    );
    if (found.length === 0) program.error(`error: there is no row '${pattern}'`);
    for (const { id } of found) wanted.add(id);
  }
  for (const { row, against } of GOALS) if (wanted.has(row)) wanted.add(against);
  return ROWS.filter(({ id }) => wanted.has(id));
}

function listOf(text: string): string[] {
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
