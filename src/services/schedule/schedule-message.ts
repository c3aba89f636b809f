import { ErrorReason } from "../../../generated/grey/error/v1/error_reason.js";
import type { Run } from "../../../generated/grey/schedule/v1/run.js";
import type { Schedule as ScheduleMessage } from "../../../generated/grey/schedule/v1/schedule.js";
import { AmountMode } from "../../../generated/grey/transaction/v1/transaction.js";
import { fromMicros } from "../../base/time.js";
import { FUNDS_POLICY, SCHEDULE_STATE } from "../../entities/schedule.js";
import type { Schedule, ScheduledMovement, ScheduleRun } from "../../ledger/schedule/schedule.js";
import { toMoney, toReasonMessage } from "../shared/messages.js";

export function toScheduleMessage(schedule: Schedule): ScheduleMessage {
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

export function toRunMessage(run: ScheduleRun): Run {
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
