import { IsNull, LessThan, Not, type EntityManager } from "typeorm";
import {
  type SetDefaultLimitsRequest,
  type SetLimitsRequest,
  VelocityDirection,
  type GetLimitsRequest,
  LimitChange as LimitChangeMessage,
  type Limits as LimitsMessage,
  type ListLimitChangesRequest,
  type VelocityLimit as VelocityMessage,
} from "../../../generated/grey/ledger/v1/limits.js";
import type { LedgerServiceService } from "../../../generated/grey/ledger/v1/ledger_service.js";
import { assertPresent } from "../../base/assert.js";
import { fail, invalid, type Failure, type FieldViolation } from "../../base/failure.js";
import { newId, parseId, systemAccountId, type Uuid } from "../../base/ids.js";
import { fromDate } from "../../base/time.js";
import { readClock, readDate } from "../../db/clock.js";
import type { Database } from "../../db/database.js";
import { readInSession, type Session } from "../../db/in-transaction.js";
import { AccountEntity } from "../../entities/account.js";
import { CurrencyEntity } from "../../entities/currency.js";
import { RECORD_TYPE } from "../../entities/journal.js";
import { LimitChangeEntity, type LimitChangeRow } from "../../entities/limits.js";
import { kindFromCode, TRANSACTION_KIND } from "../../base/codes.js";
import { lockAccounts, readAccounts } from "../../ledger/account/store.js";
import { COUNTED_KIND_CODES } from "../../ledger/command/kinds.js";
import type { Account } from "../../ledger/account/account.js";
import { decodeLimits, encodeLimits, WALLET_LIMITS, type Limits } from "../../ledger/account/limits.js";
import { availableMinor, incomingMinor } from "../../ledger/account/account.js";
import { writeLimits } from "../../ledger/account/write-limits.js";
import { getUsage, type VelocityTerms } from "../../ledger/account/velocity.js";
import type { CallContext } from "../../rpc/context.js";
import type { Methods } from "../../rpc/methods.js";
import { answerOnce } from "../shared/once.js";
import { openPage, type PageTokens } from "../shared/paging.js";

type LimitMethods = Pick<
  Methods<typeof LedgerServiceService>,
  "setLimits" | "getLimits" | "setDefaultLimits" | "getDefaultLimits" | "listLimitChanges"
>;

/** The methods of grey.ledger.v1.LedgerService that are about limits. */
export function createLimitMethods(database: Database, tokens: PageTokens): LimitMethods {
  return {
    setLimits: (asked, context) => {
      const isWallet = assertPresent(asked.account, "account").$case === "walletId";
      const request = { ...asked, limits: withDefaults(asked.limits, isWallet ? 0n : undefined) };
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
        const account = assertNamed(request.account, read?.account);
        const now = await readClock(session.client);
        return {
          limits: toLimitsMessage(toLimits(account)),
          usage: (account.velocity ?? []).map((limit) => {
            const { amountMinor, count } = getUsage(limit, now);
            return { name: limit.name, amount: amountMinor, count };
          }),
        };
      }),

    setDefaultLimits: (asked, context) => {
      const request = { ...asked, limits: withDefaults(asked.limits, 0n) };
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

    listLimitChanges: async (request, context) => {
      const of = assertPresent(request.of, "what the limits are of");
      const subjectId = toSubjectId(of);
      const scope = ["ListLimitChanges", context.caller, subjectId];
      const page = openPage(tokens, scope, request);
      return readInSession(database, context, async ({ manager }) => {
        if (!(await subjectExists(manager, of))) fail(toNotFound(of));
        const { items: changes, nextPageToken } = await page.read({
          read: (below, take) =>
            manager.find(LimitChangeEntity, {
              where: { subjectId, ...(below !== undefined && { id: LessThan(below) }) },
              order: { id: "DESC" },
              take,
            }),
          render: (found) => found.map(toChangeMessage),
          codec: LimitChangeMessage,
          cursorOf: (change) => change.id,
        });
        return { changes, nextPageToken };
      });
    },
  };
}

/** Sets the limits with the account locked: what is being posted comes before them or sees them. */
async function setLimits(session: Session, request: SetLimitsRequest, asked: Limits, { caller }: CallContext) {
  const id = parseAccountId(request.account);
  const [read] = await lockAccounts(session.client, [id]);
  const account = assertNamed(request.account, read?.account);
  const failure = checkLimits(account, asked);
  if (failure !== undefined) fail(failure);
  const limits = await writeLimits(session, account, asked);
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
  const id = systemAccountId(currencyCode, "cash");
  await recordChange(session, defaultsSubject(currencyCode), limits, {
    caller,
    reason: request.reason,
  });
  return {
    response: { limits: toLimitsMessage(limits), replayed: false },
    records: [{ id, type: RECORD_TYPE.DEFAULT_LIMITS_SET }],
  };
}

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

/** Why the account cannot have the limits: it is outside of them. */
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

/**
 * The limits with what the contract means by the fields that they leave out; all kinds are none in particular.
 * @param minBalance what is meant when none is given
 */
function withDefaults(message: LimitsMessage | undefined, minBalance: bigint | undefined): LimitsMessage {
  const limits = assertPresent(message, "limits");
  return {
    ...limits,
    minBalance: limits.minBalance ?? minBalance,
    velocity: limits.velocity.map((one) => (one.kinds.length === KINDS_MAX ? { ...one, kinds: [] } : one)),
  };
}

/** A limit that names all kinds that can count names none in particular. */
const KINDS_MAX = COUNTED_KIND_CODES.length;

function parseLimits({ minBalance: min, maxBalance: max, velocity }: LimitsMessage): Limits {
  const limits = {
    minBalanceMinor: min ?? null,
    maxBalanceMinor: max ?? null,
    velocity: velocity.map(parseVelocity),
  };
  if (limits.minBalanceMinor !== null && max !== undefined && limits.minBalanceMinor > max)
    invalid("limits.max_balance", "must be no less than min_balance");
  assertNames(velocity);
  return limits;
}

function assertNames(velocity: readonly VelocityMessage[]): void {
  const violations: FieldViolation[] = [];
  velocity.forEach(({ name }, index) => {
    const first = velocity.findIndex((one) => one.name === name);
    if (first < index)
      violations.push({
        field: `limits.velocity[${index}].name`,
        rule: `must differ from that of limits.velocity[${first}]`,
      });
  });
  if (violations.length > 0) fail({ reason: "INVALID_REQUEST", violations });
}

function parseVelocity(message: VelocityMessage): VelocityTerms {
  return {
    name: message.name,
    direction: message.direction === VelocityDirection.OUTGOING ? "OUTGOING" : "INCOMING",
    kinds: message.kinds.map(kindFromCode),
    windowMicros: message.windowSeconds * 1_000_000n,
    maxAmountMinor: message.maxAmount ?? null,
    maxCount: message.maxCount ?? null,
    since: 0n,
  };
}

function toLimits({ minBalanceMinor, maxBalanceMinor, velocity }: Account): Limits {
  return { minBalanceMinor, maxBalanceMinor, velocity: velocity ?? [] };
}

function toLimitsMessage({ minBalanceMinor, maxBalanceMinor, velocity }: Limits): LimitsMessage {
  return {
    minBalance: minBalanceMinor ?? undefined,
    maxBalance: maxBalanceMinor ?? undefined,
    velocity: velocity.map((terms) => ({
      name: terms.name,
      direction: VelocityDirection[terms.direction],
      kinds: terms.kinds.map((kind) => TRANSACTION_KIND[kind]),
      windowSeconds: terms.windowMicros / 1_000_000n,
      maxAmount: terms.maxAmountMinor ?? undefined,
      maxCount: terms.maxCount ?? undefined,
    })),
  };
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

type Named = NonNullable<GetLimitsRequest["account"]>;
type Subject = NonNullable<ListLimitChangesRequest["of"]>;

function parseAccountId(named: GetLimitsRequest["account"]): Uuid {
  return toSubjectId(assertPresent(named, "account"));
}

function toSubjectId(of: Named | Subject): Uuid {
  switch (of.$case) {
    case "walletId":
      return parseId(of.value);
    case "systemAccount":
      return systemAccountId(of.value.currencyCode, of.value.name);
    case "defaultsOfCurrencyCode":
      return defaultsSubject(of.value);
  }
}

/** What stands for the new wallets of a currency: an id that no account has, because none can have this name. */
function defaultsSubject(currencyCode: string): Uuid {
  return systemAccountId(currencyCode, "new wallets");
}

async function subjectExists(manager: EntityManager, of: Subject): Promise<boolean> {
  if (of.$case === "defaultsOfCurrencyCode") return manager.existsBy(CurrencyEntity, { code: of.value });
  const isWallet = of.$case === "walletId";
  return manager.existsBy(AccountEntity, { id: toSubjectId(of), systemAccount: isWallet ? IsNull() : Not(IsNull()) });
}

function toNotFound(of: Named | Subject): Failure {
  switch (of.$case) {
    case "walletId":
      return { reason: "WALLET_NOT_FOUND", walletId: parseId(of.value) };
    case "systemAccount":
      return { reason: "ACCOUNT_NOT_FOUND", systemAccount: of.value.name, currencyCode: of.value.currencyCode };
    case "defaultsOfCurrencyCode":
      return { reason: "CURRENCY_NOT_FOUND", currencyCode: of.value };
  }
}

/** The account, if it is what was named. */
function assertNamed(named: GetLimitsRequest["account"], account: Account | undefined): Account {
  const of = assertPresent(named, "account");
  if (account === undefined || account.isWallet !== (of.$case === "walletId")) return fail(toNotFound(of));
  return account;
}
