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
import { type Currencies, readMoved, showMoney } from "./amount.js";
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
  wholeNumber,
} from "./options.js";
import { collect, moreLine } from "./paging.js";
import { requestFields, showEnum, showMetadata } from "./present.js";
import { nameAccounts, type Names } from "./names.js";
import { resolveId, resolveWallet } from "./resolve.js";
import { showTime, timeCell } from "./time.js";
import { print, printReply, type Session, withSession } from "./session.js";
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

/** `grey schedule`. */
export function addScheduleCommands(program: Command): void {
  const schedule = program
    .command("schedule")
    .description("move money at times that are set before, once or repeatedly");

  schedule
    .command("create <amount...>")
    .description("schedule a transfer (--from and --to), a withdrawal (--from) or a deposit (--to)")
    .option("--from <wallet>", "the wallet that pays")
    .option("--to <wallet>", "the wallet that receives the money")
    .option("--system <account>", "the system account on the other side (default: cash)")
    .option("--up-to", "move what the wallet can spend, up to the amount")
    .option("--description <text>", "what it is for")
    .addOption(metadataOption())
    .addOption(new Option("--at <time>", "once, such as 2026-12-01T09:00:00Z").argParser(readTime).conflicts("cron"))
    .option("--cron <fields>", 'again and again: minute, hour, day, month and weekday, such as "0 9 1 * *"')
    .option("--time-zone <name>", "the time zone whose clocks --cron means, such as Europe/Berlin (default: UTC)")
    .option("--start <time>", "with --cron: not before this time", readTime)
    .option("--end <time>", "with --cron: not at or after this time", readTime)
    .option("--max-runs <n>", "with --cron: so many times", wholeNumber(1, 1_000_000))
    .addOption(
      new Option("--if-short <what>", "what becomes of a run that there is no money for")
        .choices(Object.keys(POLICIES))
        .default("skip"),
    )
    .option("--retry-every <duration>", "with --if-short retry: such as 15m or 12h (default: 1h)", readDuration)
    .option("--retry-max <n>", "with --if-short retry: so often (default: 3)", wholeNumber(1, 100))
    .addOption(requestIdOption())
    .addHelpText(
      "after",
      examples(
        `schedule create 850.00 EUR --from ${WALLET} --to ${OTHER_WALLET} --cron "0 9 1 * *" --time-zone Europe/Berlin`,
        `schedule create "5 USD" --to ${WALLET} --at 2026-12-24T18:00:00Z`,
      ) + ABOUT_REQUEST_ID,
    )
    .action((amount: string[], options: CreateOptions, command: Command) =>
      withSession(command, async (session) => {
        const when = whenOf(options);
        if (options.ifShort !== "retry")
          onlyWith("--if-short retry", { "--retry-every": options.retryEvery, "--retry-max": options.retryMax });
        const currencies = await session.currencies();
        const movement = movementOf(
          {
            ...options,
            ...(options.from !== undefined && { from: await resolveWallet(options.from, session) }),
            ...(options.to !== undefined && { to: await resolveWallet(options.to, session) }),
          },
          readMoved(amount.join(" "), currencies),
        );
        const requestId = session.requestId(options.requestId);
        const reply = await session.call(ScheduleServiceService.createSchedule, {
          requestId,
          movement,
          when,
          onInsufficientFunds: POLICIES[options.ifShort],
          retryInterval: options.retryEvery === undefined ? undefined : { seconds: options.retryEvery, nanos: 0 },
          retryMax: options.retryMax ?? 0,
        });
        if (session.json) return printReply(ScheduleServiceService.createSchedule, reply);
        print(
          await showSchedule(
            assertPresent(reply.schedule, "schedule"),
            session,
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
      withSession(command, async (session) => {
        const id = await resolveId(IdKind.SCHEDULE, name, session);
        const reply = await session.call(ScheduleServiceService.getSchedule, { id });
        if (session.json) return printReply(ScheduleServiceService.getSchedule, reply);
        print(await showSchedule(assertPresent(reply.schedule, "schedule"), session));
      }),
    );

  schedule
    .command("list")
    .description("list schedules, newest first")
    .option("--wallet <wallet>", "only those that move money of or to this wallet")
    .addOption(
      new Option("--state <state...>", "only those in these states").choices([
        "active",
        "paused",
        "completed",
        "cancelled",
        "failed",
      ]),
    )
    .addOption(limitOption())
    .addHelpText("after", examples(`schedule list --wallet ${WALLET} --state active`))
    .action((options: { wallet?: string; state?: string[]; limit: number }, command: Command) =>
      withSession(command, async (session) => {
        const states = (options.state ?? []).map(
          (name) => ScheduleState[name.toUpperCase() as keyof typeof ScheduleState],
        );
        const walletId = options.wallet === undefined ? "" : await resolveWallet(options.wallet, session);
        const found = await collect<Schedule>(options.limit, async (page) => {
          const reply = await session.call(ScheduleServiceService.listSchedules, {
            walletId,
            states,
            ...page,
          });
          return { items: reply.schedules, nextPageToken: reply.nextPageToken };
        });
        const { items: schedules, nextPageToken } = found;
        if (session.json) printReply(ScheduleServiceService.listSchedules, { schedules, nextPageToken });
        else print(renderSchedules(schedules, await session.currencies()), moreLine(found, "raise --limit"));
      }),
    );

  for (const [verb, description, method] of CHANGES) {
    schedule
      .command(`${verb} <schedule>`)
      .description(description)
      .addOption(requestIdOption())
      .addHelpText("after", examples(`schedule ${verb} ${SCHEDULE}`) + ABOUT_REQUEST_ID)
      .action((schedule: string, options: ChangeOptions, command: Command) =>
        withSession(command, async (session) => {
          const scheduleId = await resolveId(IdKind.SCHEDULE, schedule, session);
          const requestId = session.requestId(options.requestId);
          const reply = await session.call(method, { requestId, scheduleId });
          if (session.json) return printReply(ScheduleServiceService.pauseSchedule, reply);
          const fields = requestFields(requestId, reply.replayed);
          print(await showSchedule(assertPresent(reply.schedule, "schedule"), session, fields));
        }),
      );
  }

  schedule
    .command("runs <schedule>")
    .description("list the runs that a schedule made, latest first")
    .addOption(limitOption())
    .addHelpText("after", examples(`schedule runs ${SCHEDULE}`))
    .action((schedule: string, options: { limit: number }, command: Command) =>
      withSession(command, async (session) => {
        const scheduleId = await resolveId(IdKind.SCHEDULE, schedule, session);
        const found = await collect<Run>(options.limit, async (page) => {
          const reply = await session.call(ScheduleServiceService.listRuns, { scheduleId, ...page });
          return { items: reply.runs, nextPageToken: reply.nextPageToken };
        });
        const { items: runs, nextPageToken } = found;
        if (session.json) printReply(ScheduleServiceService.listRuns, { runs, nextPageToken });
        else print(renderRuns(runs), moreLine(found, "raise --limit"));
      }),
    );
}

const CHANGES = [
  ["pause", "keep a schedule from its runs until it is resumed", ScheduleServiceService.pauseSchedule],
  ["resume", "let a paused schedule run again", ScheduleServiceService.resumeSchedule],
  ["cancel", "end a schedule", ScheduleServiceService.cancelSchedule],
] as const;

function whenOf(options: CreateOptions): CreateScheduleRequest["when"] {
  const { at, cron, timeZone, start: startTime, end: endTime, maxRuns } = options;
  if (at !== undefined) {
    onlyWith("--cron", { "--time-zone": timeZone, "--start": startTime, "--end": endTime, "--max-runs": maxRuns });
    return { $case: "once", value: at };
  }
  if (cron === undefined) throw new UsageError("say when: --at <time> or --cron <fields>");
  return {
    $case: "recurring",
    value: { cron, timeZone: timeZone ?? "UTC", startTime, endTime, maxRuns: maxRuns ?? 0 },
  };
}

/** What is typed counts, or is refused. */
function onlyWith(what: string, options: Readonly<Record<string, unknown>>): void {
  const [name] = Object.entries(options).find(([, value]) => value !== undefined) ?? [];
  if (name !== undefined) throw new UsageError(`${name} only goes with ${what}`);
}

function movementOf(options: CreateOptions, amount: Money): CreateScheduleRequest["movement"] {
  const { from, to, system: systemAccount = "", description = "", metadata = {} } = options;
  const moved = { amount, description, metadata };
  const amountMode = options.upTo === true ? AmountMode.UP_TO : AmountMode.EXACT;
  if (from !== undefined && to !== undefined) {
    onlyWith("a deposit or a withdrawal", { "--system": options.system });
    return { $case: "transfer", value: { ...moved, fromWalletId: from, toWalletId: to, amountMode } };
  }
  if (from !== undefined) {
    return { $case: "withdrawal", value: { ...moved, walletId: from, systemAccount, amountMode } };
  }
  if (to === undefined) throw new UsageError("say whose money moves: --from <wallet>, --to <wallet>, or both");
  onlyWith("--from", { "--up-to": options.upTo });
  return { $case: "deposit", value: { ...moved, walletId: to, systemAccount } };
}

async function showSchedule(
  schedule: Schedule,
  session: Session,
  more: readonly (readonly [string, string])[] = [],
): Promise<string> {
  const currencies = await session.currencies();
  const names = await nameAccounts(walletsOf(schedule), session);
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

function walletsOf({ movement }: Schedule): string[] {
  if (movement === undefined) return [];
  return movement.$case === "transfer"
    ? [movement.value.fromWalletId, movement.value.toWalletId]
    : [movement.value.walletId];
}

function showMovement({ movement }: Schedule, names: Names, currencies: Currencies): string {
  const amount = showMoney(movement?.value.amount, currencies);
  switch (movement?.$case) {
    case "deposit":
      return `${amount} from ${movement.value.systemAccount} to ${names.fullNameOf(movement.value.walletId)}`;
    case "withdrawal":
      return `${amount} from ${names.fullNameOf(movement.value.walletId)} to ${movement.value.systemAccount}`;
    case "transfer":
      return `${amount} from ${names.fullNameOf(movement.value.fromWalletId)} to ${names.fullNameOf(movement.value.toWalletId)}`;
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
  if (schedules.length === 0) return "There are no such schedules.";
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
  if (runs.length === 0) return "It has made no run yet.";
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
