import { SYSTEM_ACCOUNT } from "../../ledger/command/system-account.js";
import type { Duration } from "../../../generated/google/protobuf/duration.js";
import type { Timestamp } from "../../../generated/google/protobuf/timestamp.js";
import { InsufficientFundsPolicy, type CreateScheduleRequest } from "../../../generated/grey/schedule/v1/schedule.js";
import { AmountMode } from "../../../generated/grey/transaction/v1/transaction.js";
import { assertPresent } from "../../base/assert.js";
import { invalid } from "../../base/failure.js";
import { microsUp, type Micros } from "../../base/time.js";
import type { FundsPolicy } from "../../entities/schedule.js";
import type { MovementCommand } from "../../ledger/command/command.js";
import { findCronFault } from "../../ledger/schedule/cron.js";
import { isTimeZone } from "../../ledger/schedule/rules.js";
import type { ScheduledMovement, ScheduleTimes } from "../../ledger/schedule/schedule.js";
import type { CallContext } from "../../rpc/context.js";
import { parseDeposit, parseTransfer, parseWithdraw } from "../transaction/parse-movements.js";

const RETRY_INTERVAL_DEFAULT: Duration = { seconds: 3_600n, nanos: 0 };
const RETRY_MAX_DEFAULT = 3;

/** Parses the movement of a schedule. */
export function parseCommand({ movement }: CreateScheduleRequest, context: CallContext): MovementCommand {
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

/** Returns the part of the command that is the same at each run. */
export function toScheduledMovement(command: MovementCommand): ScheduledMovement {
  const { kind, debitAccountId, creditAccountId, system, currencyCode, amountMinor, isUpTo } = command;
  const { description, metadata } = command.data;
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

/** Parses the times of a schedule, by the rules that annotations cannot state. Fails: INVALID_REQUEST. */
export function parseTimes(when: CreateScheduleRequest["when"]): {
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

/** Parses what happens to a run that lacks funds. */
export function parsePolicy({ onInsufficientFunds, retryInterval, retryMax }: CreateScheduleRequest) {
  return {
    onInsufficientFunds: onInsufficientFunds as number as FundsPolicy,
    retryIntervalMicros: microsUp(assertPresent(retryInterval, "retry_interval")),
    retryMax,
  };
}

/** Fills in the defaults that the contract names. */
export function withDefaults(request: CreateScheduleRequest): CreateScheduleRequest {
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
      return { ...movement, value: { ...rest, systemAccount: systemAccount || SYSTEM_ACCOUNT.CASH } };
    }
    case "withdrawal": {
      const { systemAccount, amountMode, ...rest } = movement.value;
      const defaults = {
        systemAccount: systemAccount || SYSTEM_ACCOUNT.CASH,
        amountMode: amountMode || AmountMode.EXACT,
      };
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

function microsOrNull(time: Timestamp | undefined): Micros | null {
  return time === undefined ? null : microsUp(time);
}
