import type { Duration } from "../../../generated/google/protobuf/duration.js";
import type { Timestamp } from "../../../generated/google/protobuf/timestamp.js";
import { ErrorReason } from "../../../generated/grey/error/v1/error_reason.js";
import {
  type CreateScheduleRequest,
  InsufficientFundsPolicy,
  type PauseScheduleRequest,
  Schedule as ScheduleMessage,
} from "../../../generated/grey/schedule/v1/schedule.js";
import { Run } from "../../../generated/grey/schedule/v1/run.js";
import type { ScheduleServiceService } from "../../../generated/grey/schedule/v1/schedule_service.js";
import { AmountMode } from "../../../generated/grey/transaction/v1/transaction.js";
import { assertPresent } from "../../base/assert.js";
import { fail, invalid, type Failure } from "../../base/failure.js";
import { newId, parseId } from "../../base/ids.js";
import { fromMicros, microsUp, type Micros } from "../../base/time.js";
import { readClock } from "../../db/clock.js";
import type { Database, Queryable } from "../../db/database.js";
import { readInSession, type Session } from "../../db/in-transaction.js";
import { ACCOUNT_STATE } from "../../base/codes.js";
import { RECORD_TYPE, type RecordType } from "../../entities/journal.js";
import { FUNDS_POLICY, SCHEDULE_STATE, type FundsPolicy, type ScheduleState } from "../../entities/schedule.js";
import { WalletEntity } from "../../entities/wallet.js";
import type { JournalRecord } from "../../journal/append.js";
import { openBatch } from "../../ledger/post/batch.js";
import { readAccounts } from "../../ledger/account/store.js";
import type { ReadAccount } from "../../ledger/account/account.js";
import {
  insertSchedule,
  listSchedules,
  lockSchedules,
  readSchedule,
  updateSchedules,
} from "../../ledger/schedule/store.js";
import { findCronFault } from "../../ledger/schedule/cron.js";
import { decideMovement } from "../../ledger/decide/movement.js";
import {
  applyCancel,
  applyPause,
  applyResume,
  findNextTime,
  isPermanent,
  isTimeZone,
} from "../../ledger/schedule/rules.js";
import type {
  Schedule,
  ScheduledMovement,
  ScheduleProgress,
  ScheduleRun,
  ScheduleTimes,
} from "../../ledger/schedule/schedule.js";
import type { MovementCommand } from "../../ledger/command/command.js";
import { listRuns, skipRun, toEndRecords, withholdRun } from "../../ledger/schedule/runs.js";
import type { CallContext } from "../../rpc/context.js";
import type { Methods } from "../../rpc/methods.js";
import { CASH, parseDeposit, parseTransfer, parseWithdraw } from "../transaction/movements.js";
import { answerOnce } from "../shared/once.js";
import { openPage, type PageTokens } from "../shared/paging.js";
import { toMoney, toReasonMessage } from "../shared/messages.js";

/** A first run may be planned so far ahead: 10 years of 366 days. */
const AHEAD_MICROS_MAX = 10n * 366n * 86_400_000_000n;
const RETRY_INTERVAL_DEFAULT: Duration = { seconds: 3_600n, nanos: 0 };
const RETRY_MAX_DEFAULT = 3;

/** grey.schedule.v1.ScheduleService. */
export function createScheduleService(database: Database, tokens: PageTokens): Methods<typeof ScheduleServiceService> {
  return {
    createSchedule: (asked, context) => {
      const request = withDefaults(asked);
      const command = parseCommand(request, context);
      const { times, maxRuns } = parseTimes(request.when);
      return answerOnce(database, context, "CREATE_SCHEDULE", request, async ({ client }) => {
        const now = await readClock(client);
        const plannedTime = findNextTime(times, now);
        if (plannedTime === null || plannedTime > now + AHEAD_MICROS_MAX) fail({ reason: "SCHEDULE_TIME_INVALID" });
        await assertPossible(client, command);
        const schedule: Schedule = {
          id: newId(),
          state: SCHEDULE_STATE.ACTIVE,
          movement: toScheduledMovement(command),
          times,
          maxRuns,
          ...parsePolicy(request),
          plannedTime,
          dueTime: plannedTime,
          attempt: 1,
          tries: 0,
          runCount: 0,
          failure: null,
          createTime: now,
          updateTime: now,
        };
        await insertSchedule(client, schedule);
        return {
          response: { schedule: toScheduleMessage(schedule), replayed: false },
          resourceId: schedule.id,
          records: [{ id: schedule.id, type: RECORD_TYPE.SCHEDULE_CREATED }],
        };
      });
    },

    getSchedule: async (request, context) => {
      const id = parseId(request.id);
      const found = await readInSession(database, context, ({ client }) => readSchedule(client, id));
      return { schedule: toScheduleMessage(found ?? fail({ reason: "SCHEDULE_NOT_FOUND", scheduleId: id })) };
    },

    listSchedules: async (request, context) => {
      const walletId = request.walletId === "" ? undefined : parseId(request.walletId);
      const states = request.states as number[] as ScheduleState[];
      const scope = ["ListSchedules", context.caller, walletId ?? "", states];
      const page = openPage(tokens, scope, request);
      return readInSession(database, context, async ({ manager, client }) => {
        if (walletId !== undefined && !(await manager.existsBy(WalletEntity, { id: walletId })))
          fail({ reason: "WALLET_NOT_FOUND", walletId });
        const { items: schedules, nextPageToken } = await page.read({
          read: (below, limit) => listSchedules(client, walletId, { states, below, limit }),
          render: (found) => found.map(toScheduleMessage),
          codec: ScheduleMessage,
          cursorOf: (schedule) => schedule.id,
        });
        return { schedules, nextPageToken };
      });
    },

    pauseSchedule: (request, context) =>
      answerOnce(database, context, "PAUSE_SCHEDULE", request, (session) => change(session, request, PAUSE)),
    resumeSchedule: (request, context) =>
      answerOnce(database, context, "RESUME_SCHEDULE", request, (session) => change(session, request, RESUME)),
    cancelSchedule: (request, context) =>
      answerOnce(database, context, "CANCEL_SCHEDULE", request, (session) => change(session, request, CANCEL)),

    listRuns: async (request, context) => {
      const scheduleId = parseId(request.scheduleId);
      const scope = ["ListRuns", context.caller, scheduleId];
      const page = openPage(tokens, scope, request);
      return readInSession(database, context, async ({ client }) => {
        if ((await readSchedule(client, scheduleId)) === undefined) fail({ reason: "SCHEDULE_NOT_FOUND", scheduleId });
        const { items: runs, nextPageToken } = await page.read({
          read: (cursor, limit) =>
            listRuns(client, scheduleId, { before: cursor === undefined ? undefined : BigInt(cursor), limit }),
          render: (found) => found.map(toRunMessage),
          codec: Run,
          cursorOf: (run) => run.plannedTime.toString(),
        });
        return { runs, nextPageToken };
      });
    },
  };
}

/** What a caller may do to a schedule that has not ended. */
interface Change {
  readonly record: RecordType;
  /** Why it cannot be done to a schedule in this state. */
  readonly refuses: (schedule: Schedule) => Failure | undefined;
  readonly apply: (schedule: Schedule, now: Micros) => ScheduleProgress;
}

const PAUSE: Change = {
  record: RECORD_TYPE.SCHEDULE_PAUSED,
  refuses: ({ id, state }) =>
    state === SCHEDULE_STATE.PAUSED ? { reason: "SCHEDULE_NOT_ACTIVE", scheduleId: id } : undefined,
  apply: applyPause,
};
const RESUME: Change = {
  record: RECORD_TYPE.SCHEDULE_RESUMED,
  refuses: ({ id, state }) =>
    state === SCHEDULE_STATE.PAUSED ? undefined : { reason: "SCHEDULE_NOT_PAUSED", scheduleId: id },
  apply: applyResume,
};
const CANCEL: Change = {
  record: RECORD_TYPE.SCHEDULE_CANCELLED,
  refuses: () => undefined,
  apply: applyCancel,
};

/** Changes a schedule with its row locked and, while it is active, with its next attempt withheld. */
async function change({ client }: Session, request: PauseScheduleRequest, { record, refuses, apply }: Change) {
  const id = parseId(request.scheduleId);
  const [locked] = await lockSchedules(client, [id]);
  const before = locked ?? fail({ reason: "SCHEDULE_NOT_FOUND", scheduleId: id });
  assertAllowed(before, refuses);
  const schedule = before.state === SCHEDULE_STATE.ACTIVE ? await withholdRun(client, before) : before;
  // Its last run may have been on its way.
  assertAllowed(schedule, refuses);
  const now = await readClock(client);
  const progress = apply(schedule, now);
  await updateSchedules(client, [{ id, progress }], now);
  const skipped: JournalRecord[] =
    progress.state === SCHEDULE_STATE.CANCELLED && schedule.tries > 0 ? await skipRun(client, id, now) : [];
  return {
    response: { schedule: toScheduleMessage({ ...schedule, ...progress, updateTime: now }), replayed: false },
    resourceId: id,
    records: [...skipped, { id, type: record }, ...toEndRecords(id, progress)],
  };
}

function assertAllowed(schedule: Schedule, refuses: Change["refuses"]): void {
  const { id, state } = schedule;
  if (state !== SCHEDULE_STATE.ACTIVE && state !== SCHEDULE_STATE.PAUSED)
    fail({ reason: "SCHEDULE_ENDED", scheduleId: id, scheduleState: STATE_NAMES[state] });
  const failure = refuses(schedule);
  if (failure !== undefined) fail(failure);
}

const STATE_NAMES = {
  [SCHEDULE_STATE.COMPLETED]: "COMPLETED",
  [SCHEDULE_STATE.CANCELLED]: "CANCELLED",
  [SCHEDULE_STATE.FAILED]: "FAILED",
} as const;

/**
 * Refuses what would be refused at any time, by what its accounts are at the moment: one statement reads them. That one is
 * frozen passes, and hides nothing else.
 */
async function assertPossible(client: Queryable, command: MovementCommand): Promise<void> {
  const read = await readAccounts(client, [command.debitAccountId, command.creditAccountId]);
  const decision = decideMovement(openBatch(read.map(withoutFreeze)), command);
  if ("failure" in decision && isPermanent(decision.failure)) fail(decision.failure);
}

/** The account as it is when nothing passing is in the way of it. */
function withoutFreeze({ account, revision }: ReadAccount): ReadAccount {
  const state = account.state === ACCOUNT_STATE.FROZEN ? ACCOUNT_STATE.OPEN : account.state;
  return { account: { ...account, state, velocity: null }, revision };
}

function parseCommand({ movement }: CreateScheduleRequest, context: CallContext): MovementCommand {
  switch (movement?.$case) {
    case "deposit":
      return parseDeposit(movement.value, context);
    case "withdrawal":
      return parseWithdraw(movement.value, context);
    case "transfer":
      return parseTransfer(movement.value, context);
    default:
      return invalid("movement", "must be set");
  }
}

function toScheduledMovement(command: MovementCommand): ScheduledMovement {
  const { kind, debitAccountId, creditAccountId, system, currencyCode, amountMinor, isUpTo } = command;
  const { description, metadata } = command;
  return {
    kind,
    debitAccountId,
    creditAccountId,
    system,
    currencyCode,
    amountMinor,
    isUpTo,
    description,
    metadata,
  };
}

/** The times that were asked for, by the rules that annotations cannot state. */
function parseTimes(when: CreateScheduleRequest["when"]): {
  readonly times: ScheduleTimes;
  readonly maxRuns: number | null;
} {
  if (when?.$case === "once") return { times: { once: microsUp(when.value) }, maxRuns: null };
  const { cron, timeZone, startTime, endTime, maxRuns } = assertPresent(when, "when").value;
  const fault = findCronFault(cron);
  if (fault !== undefined) invalid("recurring.cron", fault);
  if (!isTimeZone(timeZone)) invalid("recurring.time_zone", "must be an IANA time zone, such as Europe/Berlin");
  const [start, end] = [microsOrNull(startTime), microsOrNull(endTime)];
  if (start !== null && end !== null && end <= start) invalid("recurring.end_time", "must be later than start_time");
  return { times: { cron, timeZone, startTime: start, endTime: end }, maxRuns: maxRuns === 0 ? null : maxRuns };
}

function parsePolicy({ onInsufficientFunds, retryInterval, retryMax }: CreateScheduleRequest) {
  return {
    onInsufficientFunds: onInsufficientFunds as number as FundsPolicy,
    retryIntervalMicros: microsUp(assertPresent(retryInterval, "retry_interval")),
    retryMax,
  };
}

/** The request with what the contract means by the fields that it leaves out. */
function withDefaults(request: CreateScheduleRequest): CreateScheduleRequest {
  return {
    ...request,
    movement: movementWithDefaults(request.movement),
    onInsufficientFunds: request.onInsufficientFunds || InsufficientFundsPolicy.SKIP,
    retryInterval: request.retryInterval ?? RETRY_INTERVAL_DEFAULT,
    retryMax: request.retryMax || RETRY_MAX_DEFAULT,
  };
}

function movementWithDefaults(movement: CreateScheduleRequest["movement"]): CreateScheduleRequest["movement"] {
  switch (movement?.$case) {
    case "deposit": {
      const { systemAccount, ...rest } = movement.value;
      return { ...movement, value: { ...rest, systemAccount: systemAccount || CASH } };
    }
    case "withdrawal": {
      const { systemAccount, amountMode, ...rest } = movement.value;
      const defaults = { systemAccount: systemAccount || CASH, amountMode: amountMode || AmountMode.EXACT };
      return { ...movement, value: { ...rest, ...defaults } };
    }
    case "transfer": {
      const { amountMode, ...rest } = movement.value;
      return { ...movement, value: { ...rest, amountMode: amountMode || AmountMode.EXACT } };
    }
    case undefined:
      return undefined;
  }
}

function toScheduleMessage(schedule: Schedule): ScheduleMessage {
  const { state, onInsufficientFunds, plannedTime, failure } = schedule;
  const isRetrying = onInsufficientFunds === FUNDS_POLICY.RETRY;
  return {
    id: schedule.id,
    movement: toMovementMessage(schedule.movement),
    when: toTimesMessage(schedule),
    onInsufficientFunds,
    retryInterval: isRetrying ? fromMicros(schedule.retryIntervalMicros) : undefined,
    retryMax: isRetrying ? schedule.retryMax : 0,
    state,
    nextRunTime: state === SCHEDULE_STATE.ACTIVE && plannedTime !== null ? fromMicros(plannedTime) : undefined,
    runCount: schedule.runCount,
    reason: failure === null ? ErrorReason.UNSPECIFIED : toReasonMessage(failure.reason),
    createTime: fromMicros(schedule.createTime),
    updateTime: fromMicros(schedule.updateTime),
  };
}

function toMovementMessage(movement: ScheduledMovement): ScheduleMessage["movement"] {
  const { kind, debitAccountId, creditAccountId, system, description, metadata } = movement;
  const moved = { amount: toMoney(movement.currencyCode, movement.amountMinor), description, metadata };
  const systemAccount = system?.name ?? "";
  const amountMode = movement.isUpTo ? AmountMode.UP_TO : AmountMode.EXACT;
  if (kind === "DEPOSIT") return { $case: "deposit", value: { walletId: creditAccountId, systemAccount, ...moved } };
  if (kind === "WITHDRAWAL")
    return { $case: "withdrawal", value: { walletId: debitAccountId, systemAccount, amountMode, ...moved } };
  return {
    $case: "transfer",
    value: { fromWalletId: debitAccountId, toWalletId: creditAccountId, amountMode, ...moved },
  };
}

function toTimesMessage({ times, maxRuns }: Schedule): ScheduleMessage["when"] {
  if ("once" in times) return { $case: "once", value: fromMicros(times.once) };
  const { cron, timeZone, startTime, endTime } = times;
  return {
    $case: "recurring",
    value: {
      cron,
      timeZone,
      startTime: startTime === null ? undefined : fromMicros(startTime),
      endTime: endTime === null ? undefined : fromMicros(endTime),
      maxRuns: maxRuns ?? 0,
    },
  };
}

function toRunMessage(run: ScheduleRun): Run {
  return {
    id: run.id,
    plannedTime: fromMicros(run.plannedTime),
    state: run.state,
    attempts: run.attempts,
    transactionId: run.transactionId,
    reason: run.failure === null ? ErrorReason.UNSPECIFIED : toReasonMessage(run.failure.reason),
    createTime: fromMicros(run.createTime),
    updateTime: fromMicros(run.updateTime),
  };
}

function microsOrNull(time: Timestamp | undefined): Micros | null {
  return time === undefined ? null : microsUp(time);
}
