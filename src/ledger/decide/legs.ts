import { assertPresent } from "../../base/assert.js";
import type { Failure } from "../../base/failure.js";
import type { Uuid } from "../../base/ids.js";
import { isInt64 } from "../../base/money.js";
import { enterDebit, type Account } from "../account/account.js";
import { toEntry, type Entry } from "../account/entry.js";
import type { Use } from "../account/velocity.js";
import type { Leg } from "../command/command.js";
import { checkAccount, checkFunds, checkUse, countUse } from "./account-checks.js";
import type { Movement, RecordedDecision } from "./decision.js";
import type { LedgerState } from "./state.js";

/**
 * Decides a movement of these legs, whose accounts exist, and, when it is posted, changes the accounts.
 *
 * The first broken rule of this order is the failure: leg by leg, that the account has the currency, is not closed,
 * is not frozen; then, account by account, funds or maximum balance for the net of its legs; then the velocity limits; then
 * the range of int64.
 */
export function decideLegs(state: LedgerState, movement: Movement, legs: readonly Leg[]): RecordedDecision {
  const sums = sumByAccount(legs);
  const failure =
    findFailure(legs, (leg) => checkAccount(requireAccount(state, leg.accountId), leg.currencyCode)) ??
    findFailure(sums, ({ accountId, debits, credits }) => {
      const net = debits - credits;
      if (net === 0n) return undefined;
      const account = requireAccount(state, accountId);
      return net > 0n ? checkFunds(account, net, "DEBIT") : checkFunds(account, -net, "CREDIT");
    }) ??
    findFailure(sums, (sum) => {
      const account = requireAccount(state, sum.accountId);
      return findFailure(listUses(movement, sum), (use) => checkUse(state, account, use));
    });
  if (failure !== undefined) return { movement, failure };
  const after = new Map(sums.map((sum) => [sum.accountId, countUses(state, movement, sum)]));
  const entries: Entry[] = [];
  for (const { accountId, amountMinor } of legs) {
    const account = enterDebit(assertPresent(after.get(accountId), "an account of a leg"), amountMinor);
    // The net is in range; a balance between two legs may leave it.
    if (!isInt64(account.balanceMinor)) return { movement, failure: { reason: "BALANCE_OVERFLOW", accountId } };
    after.set(accountId, account);
    entries.push(toEntry(account, amountMinor));
  }
  for (const [accountId, account] of after) state.setAccount(accountId, account);
  return { movement, entries, hold: null };
}

/** Checks that the accounts of the legs exist: wallets, and system accounts that the command names. */
export function checkLegAccounts(
  state: LedgerState,
  legs: readonly Leg[],
  systemAccounts: ReadonlyMap<Uuid, string>,
): Failure | undefined {
  return findFailure(legs, ({ accountId, currencyCode }) => {
    const account = state.getAccount(accountId);
    const systemAccount = systemAccounts.get(accountId);
    if (systemAccount === undefined)
      return account?.isWallet === true ? undefined : { reason: "WALLET_NOT_FOUND", walletId: accountId };
    return account === undefined ? { reason: "ACCOUNT_NOT_FOUND", systemAccount, currencyCode } : undefined;
  });
}

/** The debits and credits of an account, both positive, in minor units. */
interface AccountSum {
  readonly accountId: Uuid;
  debits: bigint;
  credits: bigint;
}

/** Sums the legs by account, in the order in which the accounts appear. */
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

function findFailure<T>(all: readonly T[], check: (one: T) => Failure | undefined): Failure | undefined {
  for (const one of all) {
    const failure = check(one);
    if (failure !== undefined) return failure;
  }
  return undefined;
}
