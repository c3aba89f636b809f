import { type Command, Option } from "commander";
import type { Timestamp } from "../../generated/google/protobuf/timestamp.js";
import { ErrorReason } from "../../generated/grey/error/v1/error_reason.js";
import {
  type CreateScheduleRequest,
  InsufficientFundsPolicy,
  type Schedule,
  ScheduleState,
} from "../../generated/grey/schedule/v1/schedule.js";
import { type Run, RunState } from "../../generated/grey/schedule/v1/run.js";
import { ScheduleServiceService } from "../../generated/grey/schedule/v1/schedule_service.js";
import { AmountMode } from "../../generated/grey/transaction/v1/transaction.js";
import type { Money } from "../../generated/grey/type/v1/money.js";
import { IdKind } from "../../generated/grey/ledger/v1/naming.js";
import { assertPresent } from "../base/assert.js";
import { type Currencies, readPositiveMoney, showMoney } from "./amount.js";
import { UsageError } from "./failure.js";
import { readDuration } from "./hold.js";
import {
  ABOUT_REQUEST_ID,
  type ChangeOptions,
  examples,
  limitOption,
  metadataOption,
  readTime,
  requestIdOption,
  wholeNumberReader,
} from "./options.js";
import { collect, moreLine } from "./paging.js";
import { requestFields, showEnum, showMetadata } from "./render.js";
import { nameAccounts, type AccountNames } from "./names.js";
import { ABOUT_WALLETS, resolveId, resolveWallet } from "./resolve.js";
import { showTime, timeCell } from "./time.js";
import { print, printReply, type CommandContext, withContext } from "./command-context.js";
import { renderFields, renderTable } from "./table.js";

const WALLET = "01890a5d-ac96-774b-bcce-b302099a8057";
const OTHER_WALLET = "01890a5d-b1c7-7d2a-9f3e-5a1c0f6e7b21";
const SCHEDULE = "01890a5d-d2b1-7c44-9a0d-6b7e2c1f8d52";

interface CreateOptions extends ChangeOptions {
  readonly from?: string;
  readonly to?: string;
  readonly system?: string;
  readonly upTo?: true;
  readonly description?: string;
  readonly at?: Timestamp;
  readonly cron?: string;
  readonly timeZone?: string;
  readonly start?: Timestamp;
  readonly end?: Timestamp;
  readonly maxRuns?: number;
  readonly ifShort: keyof typeof POLICIES;
  readonly retryEvery?: bigint;
  readonly retryMax?: number;
}

const POLICIES = {
  skip: InsufficientFundsPolicy.SKIP,
  retry: InsufficientFundsPolicy.RETRY,
  fail: InsufficientFundsPolicy.FAIL,
} as const;

/** Adds `grey schedule`. */
export function addScheduleCommands(program: Command): void {
  const schedule = program
    .command("schedule")
    .description("schedule transfers, deposits and withdrawals, once or repeatedly");

  schedule
    .command("create <amount...>")
    .description("schedule a transfer (--from and --to), a withdrawal (--from) or a deposit (--to)")
    .option("--from <wallet>", "the wallet to debit")
    .option("--to <wallet>", "the wallet to credit")
    .option("--system <account>", "the system account on the other side (default: cash)")
    .option("--up-to", "move the available balance if it is less than the amount")
    .option("--description <text>", "a description of the transactions")
    .addOption(metadataOption())
    .addOption(
      new Option("--at <time>", "run once at this time, such as 2026-12-01T09:00:00Z")
        .argParser(readTime)
        .conflicts("cron"),
    )
    .option("--cron <fields>", 'run repeatedly: minute, hour, day, month and weekday, such as "0 9 1 * *"')
    .option("--time-zone <name>", "the time zone of --cron, such as Europe/Berlin (default: UTC)")
    .option("--start <time>", "with --cron: no run before this time", readTime)
    .option("--end <time>", "with --cron: no run at or after this time", readTime)
    .option("--max-runs <n>", "with --cron: the number of runs", wholeNumberReader(1, 1_000_000))
    .addOption(
      new Option("--if-short <what>", "what to do with a run if funds are insufficient")
        .choices(Object.keys(POLICIES))
        .default("skip"),
    )
    .option(
      "--retry-every <duration>",
      "with --if-short retry: the interval, such as 15m or 12h (default: 1h)",
      readDuration,
    )
    .option("--retry-max <n>", "with --if-short retry: the number of retries (default: 3)", wholeNumberReader(1, 100))
    .addOption(requestIdOption())
    .addHelpText(
      "after",
      examples(
        `schedule create 850.00 EUR --from ${WALLET} --to ${OTHER_WALLET} --cron "0 9 1 * *" --time-zone Europe/Berlin`,
        `schedule create "5 USD" --to ${WALLET} --at 2026-12-24T18:00:00Z`,
      ) +
        ABOUT_WALLETS +
        ABOUT_REQUEST_ID,
    )
    .action((amount: string[], options: CreateOptions, command: Command) =>
      withContext(command, async (context) => {
        const when = readTiming(options);
        if (options.ifShort !== "retry")
          allowOnlyWith("--if-short retry", { "--retry-every": options.retryEvery, "--retry-max": options.retryMax });
        const currencies = await context.currencies();
        const movement = readMovement(
          {
            ...options,
            ...(options.from !== undefined && { from: await resolveWallet(options.from, context) }),
            ...(options.to !== undefined && { to: await resolveWallet(options.to, context) }),
          },
          readPositiveMoney(amount.join(" "), currencies),
        );
        const requestId = context.requestId(options.requestId);
        const reply = await context.call(ScheduleServiceService.createSchedule, {
          requestId,
          movement,
          when,
          onInsufficientFunds: POLICIES[options.ifShort],
          retryInterval: options.retryEvery === undefined ? undefined : { seconds: options.retryEvery, nanos: 0 },
          retryMax: options.retryMax ?? 0,
        });
        if (context.json) return printReply(ScheduleServiceService.createSchedule, reply);
        print(
          await showSchedule(
            assertPresent(reply.schedule, "schedule"),
            context,
            requestFields(requestId, reply.replayed),
          ),
        );
      }),
    );

  schedule
    .command("get <schedule>")
    .description("show a schedule")
    .addHelpText("after", examples(`schedule get ${SCHEDULE}`))
    .action((name: string, _options: object, command: Command) =>
      withContext(command, async (context) => {
        const id = await resolveId(IdKind.SCHEDULE, name, context);
        const reply = await context.call(ScheduleServiceService.getSchedule, { id });
        if (context.json) return printReply(ScheduleServiceService.getSchedule, reply);
        print(await showSchedule(assertPresent(reply.schedule, "schedule"), context));
      }),
    );

  schedule
    .command("list")
    .description("list schedules, newest first")
    .option("--wallet <wallet>", "only schedules that debit or credit this wallet")
    .addOption(
      new Option("--state <state...>", "only schedules in these states").choices([
        "active",
        "paused",
        "completed",
        "cancelled",
        "failed",
      ]),
    )
    .addOption(limitOption())
    .addHelpText("after", examples(`schedule list --wallet ${WALLET} --state active`) + ABOUT_WALLETS)
    .action((options: { wallet?: string; state?: string[]; limit: number }, command: Command) =>
      withContext(command, async (context) => {
        const states = (options.state ?? []).map(
          (name) => ScheduleState[name.toUpperCase() as keyof typeof ScheduleState],
        );
        const walletId = options.wallet === undefined ? "" : await resolveWallet(options.wallet, context);
        const found = await collect<Schedule>(options.limit, async (page) => {
          const reply = await context.call(ScheduleServiceService.listSchedules, {
            walletId,
            states,
            ...page,
          });
          return { items: reply.schedules, nextPageToken: reply.nextPageToken };
        });
        const { items: schedules, nextPageToken } = found;
        if (context.json) printReply(ScheduleServiceService.listSchedules, { schedules, nextPageToken });
        else print(renderSchedules(schedules, await context.currencies()), moreLine(found, "raise --limit"));
      }),
    );

  for (const [verb, description, method] of STATE_VERBS) {
    schedule
      .command(`${verb} <schedule>`)
      .description(description)
      .addOption(requestIdOption())
      .addHelpText("after", examples(`schedule ${verb} ${SCHEDULE}`) + ABOUT_REQUEST_ID)
      .action((schedule: string, options: ChangeOptions, command: Command) =>
        withContext(command, async (context) => {
          const scheduleId = await resolveId(IdKind.SCHEDULE, schedule, context);
          const requestId = context.requestId(options.requestId);
          const reply = await context.call(method, { requestId, scheduleId });
          if (context.json) return printReply(ScheduleServiceService.pauseSchedule, reply);
          const fields = requestFields(requestId, reply.replayed);
          print(await showSchedule(assertPresent(reply.schedule, "schedule"), context, fields));
        }),
      );
  }

  schedule
    .command("runs <schedule>")
    .description("list the runs of a schedule, latest first")
    .addOption(limitOption())
    .addHelpText("after", examples(`schedule runs ${SCHEDULE}`))
    .action((schedule: string, options: { limit: number }, command: Command) =>
      withContext(command, async (context) => {
        const scheduleId = await resolveId(IdKind.SCHEDULE, schedule, context);
        const found = await collect<Run>(options.limit, async (page) => {
          const reply = await context.call(ScheduleServiceService.listRuns, { scheduleId, ...page });
          return { items: reply.runs, nextPageToken: reply.nextPageToken };
        });
        const { items: runs, nextPageToken } = found;
        if (context.json) printReply(ScheduleServiceService.listRuns, { runs, nextPageToken });
        else print(renderRuns(runs), moreLine(found, "raise --limit"));
      }),
    );
}

const STATE_VERBS = [
  ["pause", "suspend the runs of a schedule until it is resumed", ScheduleServiceService.pauseSchedule],
  ["resume", "resume the runs of a paused schedule", ScheduleServiceService.resumeSchedule],
  ["cancel", "end a schedule for good", ScheduleServiceService.cancelSchedule],
] as const;

function readTiming(options: CreateOptions): CreateScheduleRequest["when"] {
  const { at, cron, timeZone, start: startTime, end: endTime, maxRuns } = options;
  if (at !== undefined) {
    allowOnlyWith("--cron", { "--time-zone": timeZone, "--start": startTime, "--end": endTime, "--max-runs": maxRuns });
    return { $case: "once", value: at };
  }
  if (cron === undefined) throw new UsageError("the time is missing: add --at <time> or --cron <fields>");
  return {
    $case: "recurring",
    value: { cron, timeZone: timeZone ?? "UTC", startTime, endTime, maxRuns: maxRuns ?? 0 },
  };
}

/** @throws UsageError if one of the options is set: they need `what`, and an option is never ignored */
function allowOnlyWith(what: string, options: Readonly<Record<string, unknown>>): void {
  const [name] = Object.entries(options).find(([, value]) => value !== undefined) ?? [];
  if (name !== undefined) throw new UsageError(`${name} requires ${what}`);
}

function readMovement(options: CreateOptions, amount: Money): CreateScheduleRequest["movement"] {
  const { from, to, system: systemAccount = "", description = "", metadata = {} } = options;
  const moved = { amount, description, metadata };
  const amountMode = options.upTo === true ? AmountMode.UP_TO : AmountMode.EXACT;
  if (from !== undefined && to !== undefined) {
    allowOnlyWith("a deposit or a withdrawal", { "--system": options.system });
    return { $case: "transfer", value: { ...moved, fromWalletId: from, toWalletId: to, amountMode } };
  }
  if (from !== undefined) {
    return { $case: "withdrawal", value: { ...moved, walletId: from, systemAccount, amountMode } };
  }
  if (to === undefined) throw new UsageError("the wallet is missing: add --from <wallet>, --to <wallet> or both");
  allowOnlyWith("--from", { "--up-to": options.upTo });
  return { $case: "deposit", value: { ...moved, walletId: to, systemAccount } };
}

async function showSchedule(
  schedule: Schedule,
  context: CommandContext,
  more: readonly (readonly [string, string])[] = [],
): Promise<string> {
  const currencies = await context.currencies();
  const names = await nameAccounts(listWalletIds(schedule), context);
  const { movement, reason } = schedule;
  return renderFields([
    ["schedule", schedule.id],
    ...more,
    ["state", showEnum(ScheduleState, schedule.state)],
    ["moves", showMovement(schedule, names, currencies)],
    ["when", showWhen(schedule)],
    ["next run", showTime(schedule.nextRunTime)],
    ["runs so far", String(schedule.runCount)],
    ["if short", showPolicy(schedule)],
    ["reason", reason === ErrorReason.UNSPECIFIED ? "" : (ErrorReason[reason] ?? String(reason))],
    ["description", movement?.value.description ?? ""],
    ["metadata", showMetadata(movement?.value.metadata ?? {})],
    ["created", showTime(schedule.createTime)],
    ["updated", showTime(schedule.updateTime)],
  ]);
}

function listWalletIds({ movement }: Schedule): string[] {
  if (movement === undefined) return [];
  return movement.$case === "transfer"
    ? [movement.value.fromWalletId, movement.value.toWalletId]
    : [movement.value.walletId];
}

function showMovement({ movement }: Schedule, names: AccountNames, currencies: Currencies): string {
  const amount = showMoney(movement?.value.amount, currencies);
  switch (movement?.$case) {
    case "deposit":
      return `${amount} from ${movement.value.systemAccount} to ${names.formatIdAndName(movement.value.walletId)}`;
    case "withdrawal":
      return `${amount} from ${names.formatIdAndName(movement.value.walletId)} to ${movement.value.systemAccount}`;
    case "transfer":
      return `${amount} from ${names.formatIdAndName(movement.value.fromWalletId)} to ${names.formatIdAndName(movement.value.toWalletId)}`;
    default:
      return "";
  }
}

function showWhen({ when }: Schedule): string {
  if (when?.$case !== "recurring") return showTime(when?.value);
  const { cron, timeZone, startTime, endTime, maxRuns } = when.value;
  return [
    `${cron} in ${timeZone}`,
    startTime === undefined ? "" : `from ${showTime(startTime)}`,
    endTime === undefined ? "" : `before ${showTime(endTime)}`,
    maxRuns === 0 ? "" : `${maxRuns} times`,
  ]
    .filter((part) => part !== "")
    .join(", ");
}

function showPolicy({ onInsufficientFunds, retryInterval, retryMax }: Schedule): string {
  const policy = showEnum(InsufficientFundsPolicy, onInsufficientFunds);
  return retryInterval === undefined ? policy : `${policy} every ${retryInterval.seconds} s, ${retryMax} times`;
}

function renderSchedules(schedules: readonly Schedule[], currencies: Currencies): string {
  if (schedules.length === 0) return "No schedules found.";
  return renderTable(
    [
      { title: "schedule", kind: "id" },
      { title: "state", kind: "state" },
      { title: "kind", drop: 2 },
      { title: "amount", align: "right" },
      { title: "when", kind: "text" },
      { title: "next run" },
      { title: "runs", align: "right", drop: 1 },
    ],
    schedules.map((schedule) => [
      schedule.id,
      showEnum(ScheduleState, schedule.state),
      schedule.movement?.$case ?? "",
      showMoney(schedule.movement?.value.amount, currencies),
      showWhen(schedule),
      timeCell(schedule.nextRunTime),
      String(schedule.runCount),
    ]),
  );
}

function renderRuns(runs: readonly Run[]): string {
  if (runs.length === 0) return "There are no runs yet.";
  return renderTable(
    [
      { title: "planned" },
      { title: "state", kind: "state" },
      { title: "tries", align: "right", drop: 2 },
      { title: "transaction", kind: "id" },
      { title: "reason" },
      { title: "updated", drop: 1 },
    ],
    runs.map((run) => [
      timeCell(run.plannedTime),
      showEnum(RunState, run.state),
      String(run.attempts),
      run.transactionId,
      run.reason === ErrorReason.UNSPECIFIED ? "" : (ErrorReason[run.reason] ?? String(run.reason)),
      timeCell(run.updateTime),
    ]),
  );
}
