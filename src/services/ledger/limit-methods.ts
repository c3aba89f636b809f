import { SYSTEM_ACCOUNT } from "../../ledger/command/system-account.js";
import { LessThan } from "typeorm";
import {
  LimitChange as LimitChangeMessage,
  type SetDefaultLimitsRequest,
  type SetLimitsRequest,
} from "../../../generated/grey/ledger/v1/limits.js";
import type { LedgerServiceService } from "../../../generated/grey/ledger/v1/ledger_service.js";
import { assertPresent } from "../../base/assert.js";
import { fail, invalid, type Failure } from "../../base/failure.js";
import { newId, systemAccountId, type Uuid } from "../../base/ids.js";
import { fromDate } from "../../base/time.js";
import { readClock, readDate } from "../../db/clock.js";
import type { Database } from "../../db/database.js";
import { readInSession, type Session } from "../../db/in-transaction.js";
import { CurrencyEntity } from "../../entities/currency.js";
import { RECORD_TYPE } from "../../entities/journal.js";
import { LimitChangeEntity, type LimitChangeRow } from "../../entities/limits.js";
import { lockHead } from "../../journal/head.js";
import { availableMinor, incomingMinor, type Account } from "../../ledger/account/account.js";
import { decodeLimits, encodeLimits, WALLET_LIMITS, type Limits } from "../../ledger/account/limits.js";
import { readAccounts } from "../../ledger/account/store.js";
import { getUsage } from "../../ledger/account/velocity.js";
import { writeLimits } from "../../ledger/account/write-limits.js";
import type { CallContext } from "../../rpc/context.js";
import type { Methods } from "../../rpc/methods.js";
import { answerOnce } from "../shared/once.js";
import type { PageTokens } from "../shared/page-tokens.js";
import { listPage } from "../shared/paging.js";
import {
  assertNamed,
  defaultsSubject,
  parseAccountId,
  subjectExists,
  toNotFound,
  toSubjectId,
} from "./limit-subject.js";
import { parseLimits, toLimits, toLimitsMessage, withDefaults } from "./limits-message.js";

type LimitMethods = Pick<
  Methods<typeof LedgerServiceService>,
  "setLimits" | "getLimits" | "setDefaultLimits" | "getDefaultLimits" | "listLimitChanges"
>;

/** Creates the methods of grey.ledger.v1.LedgerService about limits: SetLimits, GetLimits, SetDefaultLimits, GetDefaultLimits and ListLimitChanges. */
export function createLimitMethods(database: Database, tokens: PageTokens): LimitMethods {
  return {
    setLimits: (received, context) => {
      const isWallet = assertPresent(received.account, "account").$case === "walletId";
      const request = { ...received, limits: withDefaults(received.limits, isWallet ? 0n : undefined) };
      const limits = parseLimits(request.limits);
      if (!isWallet && limits.velocity.length > 0)
        invalid("limits.velocity", "must be empty: only wallets have such limits");
      return answerOnce(database, context, "SET_LIMITS", request, (session) =>
        setLimits(session, request, limits, context),
      );
    },

    getLimits: (request, context) =>
      readInSession(database, context, async (session) => {
        const id = parseAccountId(request.account);
        const [read] = await readAccounts(session.client, [id]);
        const account = assertNamed(request.account, read);
        const now = await readClock(session.client);
        return {
          limits: toLimitsMessage(toLimits(account)),
          usage: (account.velocity ?? []).map((limit) => {
            const { amountMinor, count } = getUsage(limit, now);
            return { name: limit.name, amount: amountMinor, count };
          }),
        };
      }),

    setDefaultLimits: (received, context) => {
      const request = { ...received, limits: withDefaults(received.limits, 0n) };
      const limits = parseLimits(request.limits);
      // A new wallet is empty.
      if ((limits.minBalanceMinor ?? 0n) > 0n) invalid("limits.min_balance", "must be 0 or less");
      if ((limits.maxBalanceMinor ?? 0n) < 0n) invalid("limits.max_balance", "must be 0 or more");
      return answerOnce(database, context, "SET_DEFAULT_LIMITS", request, (session) =>
        setDefaultLimits(session, request, limits, context),
      );
    },

    getDefaultLimits: ({ currencyCode }, context) =>
      readInSession(database, context, async ({ manager }) => {
        const currency = await manager.findOneBy(CurrencyEntity, { code: currencyCode });
        if (currency === null) return fail({ reason: "CURRENCY_NOT_FOUND", currencyCode });
        const { defaultLimits } = currency;
        return { limits: toLimitsMessage(defaultLimits === null ? WALLET_LIMITS : decodeLimits(defaultLimits)) };
      }),

    listLimitChanges: (request, context) => {
      const of = assertPresent(request.of, "of");
      const subjectId = toSubjectId(of);
      return listPage(database, tokens, request, context, ["ListLimitChanges", subjectId], async ({ manager }) => {
        if (!(await subjectExists(manager, of))) fail(toNotFound(of));
        return {
          field: "changes",
          read: (below, take) =>
            manager.find(LimitChangeEntity, {
              where: { subjectId, ...(below !== undefined && { id: LessThan(below) }) },
              order: { id: "DESC" },
              take,
            }),
          render: (found) => found.map(toChangeMessage),
          codec: LimitChangeMessage,
          cursorOf: (change) => change.id,
        };
      });
    },
  };
}

/** Sets the limits with the journal's head locked, so that every posting comes before the change or sees it. */
async function setLimits(session: Session, request: SetLimitsRequest, requested: Limits, { caller }: CallContext) {
  const id = parseAccountId(request.account);
  await lockHead(session.client);
  const [read] = await readAccounts(session.client, [id]);
  const account = assertNamed(request.account, read);
  const failure = checkLimits(account, requested);
  if (failure !== undefined) fail(failure);
  const limits = await writeLimits(session, account, requested);
  await recordChange(session, id, limits, { caller, reason: request.reason });
  return {
    response: { limits: toLimitsMessage(limits), replayed: false },
    resourceId: id,
    records: [{ id, type: RECORD_TYPE.LIMITS_SET }],
  };
}

async function setDefaultLimits(
  session: Session,
  request: SetDefaultLimitsRequest,
  limits: Limits,
  { caller }: CallContext,
) {
  const { manager } = session;
  const { currencyCode } = request;
  const { affected } = await manager.update(
    CurrencyEntity,
    { code: currencyCode },
    { defaultLimits: encodeLimits(limits) },
  );
  if (affected === 0) fail({ reason: "CURRENCY_NOT_FOUND", currencyCode });
  // The journal names things by UUID: a currency by its cash account.
  const id = systemAccountId(currencyCode, SYSTEM_ACCOUNT.CASH);
  await recordChange(session, defaultsSubject(currencyCode), limits, {
    caller,
    reason: request.reason,
  });
  return {
    response: { limits: toLimitsMessage(limits), replayed: false },
    records: [{ id, type: RECORD_TYPE.DEFAULT_LIMITS_SET }],
  };
}

/** Records a change of limits with its caller, time and reason. */
async function recordChange(
  { manager, client }: Session,
  subjectId: Uuid,
  limits: Limits,
  { caller, reason }: { readonly caller: Uuid; readonly reason: string },
): Promise<void> {
  await manager.insert(LimitChangeEntity, {
    id: newId(),
    subjectId,
    caller,
    reason,
    limits: encodeLimits(limits),
    createTime: await readDate(client),
  });
}

/** Returns the refusal of limits that the account is outside of. */
function checkLimits(account: Account, { minBalanceMinor, maxBalanceMinor }: Limits): Failure | undefined {
  const { id: accountId, currencyCode } = account;
  const available = availableMinor(account);
  const most = account.balanceMinor + incomingMinor(account);
  const refuse = (
    limit: "min_balance" | "max_balance",
    limitMinorUnits: bigint,
    actualMinorUnits: bigint,
  ): Failure => ({
    reason: "LIMIT_BREACHED",
    accountId,
    limit,
    currencyCode,
    limitMinorUnits,
    actualMinorUnits,
  });
  if (minBalanceMinor !== null && available < minBalanceMinor) return refuse("min_balance", minBalanceMinor, available);
  if (maxBalanceMinor !== null && most > maxBalanceMinor) return refuse("max_balance", maxBalanceMinor, most);
  return undefined;
}

function toChangeMessage(change: LimitChangeRow): LimitChangeMessage {
  return {
    id: change.id,
    caller: change.caller,
    reason: change.reason,
    limits: toLimitsMessage(decodeLimits(change.limits)),
    createTime: fromDate(change.createTime),
  };
}
