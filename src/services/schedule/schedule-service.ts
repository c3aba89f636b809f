import { Schedule as ScheduleMessage } from "../../../generated/grey/schedule/v1/schedule.js";
import { Run } from "../../../generated/grey/schedule/v1/run.js";
import type { ScheduleServiceService } from "../../../generated/grey/schedule/v1/schedule_service.js";
import { ACCOUNT_STATE } from "../../base/codes.js";
import { fail } from "../../base/failure.js";
import { newId, parseId } from "../../base/ids.js";
import { readClock } from "../../db/clock.js";
import type { Database, Queryable } from "../../db/database.js";
import { readInSession } from "../../db/in-transaction.js";
import { RECORD_TYPE } from "../../entities/journal.js";
import { SCHEDULE_STATE, type ScheduleState } from "../../entities/schedule.js";
import type { Account } from "../../ledger/account/account.js";
import { readAccounts } from "../../ledger/account/store.js";
import type { MovementCommand } from "../../ledger/command/command.js";
import { decideMovement } from "../../ledger/decide/movement.js";
import { openBatch } from "../../ledger/post/batch.js";
import { listRuns } from "../../ledger/schedule/runs.js";
import { isPermanent, findNextTime } from "../../ledger/schedule/rules.js";
import type { Schedule } from "../../ledger/schedule/schedule.js";
import { insertSchedule, listSchedules, readSchedule } from "../../ledger/schedule/store.js";
import type { Methods } from "../../rpc/methods.js";
import { answerOnce } from "../shared/once.js";
import type { PageTokens } from "../shared/page-tokens.js";
import { listPage } from "../shared/paging.js";
import { assertWalletExists } from "../wallet/wallets.js";
import { CANCEL, changeSchedule, PAUSE, RESUME } from "./change-schedule.js";
import { parseCommand, parsePolicy, parseTimes, toScheduledMovement, withDefaults } from "./parse-schedule.js";
import { toRunMessage, toScheduleMessage } from "./schedule-message.js";

/** The furthest that a first run may be planned ahead: 10 years of 366 days. */
const AHEAD_MICROS_MAX = 10n * 366n * 86_400_000_000n;

/** Creates grey.schedule.v1.ScheduleService. */
export function createScheduleService(database: Database, tokens: PageTokens): Methods<typeof ScheduleServiceService> {
  return {
    createSchedule: (received, context) => {
      const request = withDefaults(received);
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

    listSchedules: (request, context) => {
      const walletId = request.walletId === "" ? undefined : parseId(request.walletId);
      const states = request.states as number[] as ScheduleState[];
      return listPage(
        database,
        tokens,
        request,
        context,
        ["ListSchedules", walletId ?? "", states],
        async ({ manager, client }) => {
          if (walletId !== undefined) await assertWalletExists(manager, walletId);
          return {
            field: "schedules",
            read: (below, limit) => listSchedules(client, walletId, { states, below, limit }),
            render: (found) => found.map(toScheduleMessage),
            codec: ScheduleMessage,
            cursorOf: (schedule) => schedule.id,
          };
        },
      );
    },

    pauseSchedule: (request, context) =>
      answerOnce(database, context, "PAUSE_SCHEDULE", request, (session) => changeSchedule(session, request, PAUSE)),
    resumeSchedule: (request, context) =>
      answerOnce(database, context, "RESUME_SCHEDULE", request, (session) => changeSchedule(session, request, RESUME)),
    cancelSchedule: (request, context) =>
      answerOnce(database, context, "CANCEL_SCHEDULE", request, (session) => changeSchedule(session, request, CANCEL)),

    listRuns: (request, context) => {
      const scheduleId = parseId(request.scheduleId);
      return listPage(database, tokens, request, context, ["ListRuns", scheduleId], async ({ client }) => {
        if ((await readSchedule(client, scheduleId)) === undefined) fail({ reason: "SCHEDULE_NOT_FOUND", scheduleId });
        return {
          field: "runs",
          read: (cursor, limit) =>
            listRuns(client, scheduleId, { before: cursor === undefined ? undefined : BigInt(cursor), limit }),
          render: (found) => found.map(toRunMessage),
          codec: Run,
          cursorOf: (run) => run.plannedTime.toString(),
        };
      });
    },
  };
}

/**
 * Fails with the refusal of a movement that would be refused at any time, by the accounts as they are now. A frozen account does
 * not refuse it, and hides no other refusal.
 */
async function assertPossible(client: Queryable, command: MovementCommand): Promise<void> {
  const accounts = await readAccounts(client, [command.debitAccountId, command.creditAccountId]);
  const decision = decideMovement(openBatch(0n, accounts.map(withoutFreeze)), command);
  if ("failure" in decision && isPermanent(decision.failure)) fail(decision.failure);
}

/** Returns the account without its temporary obstacles: a freeze and velocity limits. */
function withoutFreeze(account: Account): Account {
  const state = account.state === ACCOUNT_STATE.FROZEN ? ACCOUNT_STATE.OPEN : account.state;
  return { ...account, state, velocity: null };
}
