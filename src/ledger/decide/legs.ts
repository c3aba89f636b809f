import { assertPresent } from "../../base/assert.js";
import type { Failure } from "../../base/failure.js";
import type { Uuid } from "../../base/ids.js";
import { isInt64 } from "../../base/money.js";
import { toIso } from "../../base/time.js";
import type { Account, LedgerState } from "../account/books.js";
import {
  checkAccount,
  applyChange,
  countUse,
  toEntry,
  checkFunds,
  checkUse,
  type RecordedDecision,
} from "./movement.js";
import type { CompoundCommand, Entry, Leg, Movement } from "../transaction/transaction.js";
import type { Use } from "../account/velocity.js";

/**
 * Decides a movement with many legs against the books and, when it is posted, changes them.
 *
 * When several rules refuse, the first of this order answers: that what it asks for could be worked out, in time; then, leg
 * by leg in each, that the accounts exist; that each has the currency, is not closed, is not frozen; then, account by account,
 * the funds or the room for what all its legs come to; then the limits by velocity; then the range of int64.
 */
export function decideCompound(state: LedgerState, command: CompoundCommand): RecordedDecision {
  const { legs, refusal, validUntil } = command;
  const failure =
    refusal ??
    (validUntil !== null && state.now >= validUntil
      ? ({ reason: "QUOTE_EXPIRED", expireTime: toIso(validUntil) } as const)
      : undefined) ??
    findFirst(legs, (leg) => checkExists(state, command, leg));
  return failure === undefined ? decideLegs(state, command, legs) : { movement: command, failure };
}

/** Decides legs between accounts that there are. */
export function decideLegs(state: LedgerState, movement: Movement, legs: readonly Leg[]): RecordedDecision {
  const sums = sumByAccount(legs);
  const failure =
    findFirst(legs, (leg) => checkAccount(requireAccount(state, leg.accountId), leg.currencyCode)) ??
    findFirst(sums, ({ accountId, debits, credits }) => {
      const net = debits - credits;
      if (net === 0n) return undefined;
      const account = requireAccount(state, accountId);
      return net > 0n ? checkFunds(account, net, "DEBIT") : checkFunds(account, -net, "CREDIT");
    }) ??
    findFirst(sums, (sum) => {
      const account = requireAccount(state, sum.accountId);
      return findFirst(listUses(movement, sum), (use) => checkUse(state, account, use));
    });
  if (failure !== undefined) return { movement, failure };
  const after = new Map(sums.map((sum) => [sum.accountId, countUses(state, movement, sum)]));
  const entries: Entry[] = [];
  for (const { accountId, amountMinor } of legs) {
    const account = applyChange(assertPresent(after.get(accountId), "an account of a leg"), {
      debit: amountMinor,
      isEntered: true,
    });
    // What the legs come to is in range; on the way there a balance may leave it.
    if (!isInt64(account.balanceMinor)) return { movement, failure: { reason: "BALANCE_OVERFLOW", accountId } };
    after.set(accountId, account);
    entries.push(toEntry(account, amountMinor));
  }
  for (const [accountId, account] of after) state.setAccount(accountId, account);
  return { movement, entries, hold: null };
}

/** What the legs of one account come to, in minor units. */
interface AccountSum {
  readonly accountId: Uuid;
  debits: bigint;
  credits: bigint;
}

/** In the order in which the accounts appear first. */
function sumByAccount(legs: readonly Leg[]): readonly AccountSum[] {
  const sums = new Map<Uuid, AccountSum>();
  for (const { accountId, amountMinor } of legs) {
    let sum = sums.get(accountId);
    if (sum === undefined) {
      sum = { accountId, debits: 0n, credits: 0n };
      sums.set(accountId, sum);
    }
    if (amountMinor > 0n) sum.debits += amountMinor;
    else sum.credits -= amountMinor;
  }
  return [...sums.values()];
}

function listUses({ kind }: Movement, { debits, credits }: AccountSum): readonly Use[] {
  return [
    ...(debits > 0n ? [{ direction: "OUTGOING", kind, amountMinor: debits, count: 1n } as const] : []),
    ...(credits > 0n ? [{ direction: "INCOMING", kind, amountMinor: credits, count: 1n } as const] : []),
  ];
}

function countUses(state: LedgerState, movement: Movement, sum: AccountSum): Account {
  return listUses(movement, sum).reduce(
    (account, use) => countUse(state, account, use),
    requireAccount(state, sum.accountId),
  );
}

function requireAccount(state: LedgerState, id: Uuid): Account {
  return assertPresent(state.getAccount(id), "an account of a leg");
}

function checkExists(
  state: LedgerState,
  { system }: CompoundCommand,
  { accountId, currencyCode }: Leg,
): Failure | undefined {
  const account = state.getAccount(accountId);
  const systemAccount = system.get(accountId);
  if (systemAccount === undefined)
    return account?.isWallet === true ? undefined : { reason: "WALLET_NOT_FOUND", walletId: accountId };
  return account === undefined ? { reason: "ACCOUNT_NOT_FOUND", systemAccount, currencyCode } : undefined;
}

function findFirst<T>(all: readonly T[], refuses: (one: T) => Failure | undefined): Failure | undefined {
  for (const one of all) {
    const failure = refuses(one);
    if (failure !== undefined) return failure;
  }
  return undefined;
}
