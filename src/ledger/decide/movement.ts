import type { Failure } from "../../base/failure.js";
import type { Uuid } from "../../base/ids.js";
import { availableMinor, enterDebit, type Account } from "../account/account.js";
import { toEntry } from "../account/entry.js";
import type { Use } from "../account/velocity.js";
import type { MovementCommand } from "../command/command.js";
import { checkAccount, checkFunds, checkUse, countUse } from "./account-checks.js";
import type { Movement, RecordedDecision } from "./decision.js";
import type { LedgerState } from "./state.js";

/**
 * Decides a movement between two accounts and, when it is posted, changes them.
 *
 * The first broken rule of this order is the failure: SAME_WALLET; then, each for the debited before the credited
 * account, that it exists; that it has the currency, is not closed, is not frozen; then funds and maximum balance; then the
 * velocity limits.
 */
export function decideMovement(state: LedgerState, command: MovementCommand): RecordedDecision {
  const { debitAccountId, creditAccountId } = command;
  const movement = toMovement(command);
  const refuse = (failure: Failure): RecordedDecision => ({ movement, failure });
  if (debitAccountId === creditAccountId) {
    // With a system account on the other side, the id that was given for the wallet is that account's.
    const reason = command.system === null ? "SAME_WALLET" : "WALLET_NOT_FOUND";
    return refuse({ reason, walletId: debitAccountId });
  }
  const debit = findAccount(state, command, debitAccountId);
  if (debit === undefined) return refuse(toNotFound(command, debitAccountId));
  const credit = findAccount(state, command, creditAccountId);
  if (credit === undefined) return refuse(toNotFound(command, creditAccountId));
  return moveBetween(state, command.isUpTo ? limitToAvailable(debit, command, movement) : movement, debit, credit);
}

/** Decides a movement from one account, which it debits, to another: their states, then funds, then velocity. */
export function moveBetween(state: LedgerState, movement: Movement, debit: Account, credit: Account): RecordedDecision {
  const { amountMinor, currencyCode } = movement;
  const failure =
    checkAccount(debit, currencyCode) ??
    checkAccount(credit, currencyCode) ??
    checkFunds(debit, amountMinor, "DEBIT") ??
    checkFunds(credit, amountMinor, "CREDIT") ??
    checkUses(state, debit, credit, movement);
  if (failure !== undefined) return { movement, failure };
  const debited = enterDebit(countMovement(state, debit, movement, "OUTGOING"), amountMinor);
  const credited = enterDebit(countMovement(state, credit, movement, "INCOMING"), -amountMinor);
  state.setAccount(debit.id, debited);
  state.setAccount(credit.id, credited);
  return { movement, entries: [toEntry(debited, amountMinor), toEntry(credited, -amountMinor)], hold: null };
}

/** Returns the movement of a command, or of another amount than it names. */
export function toMovement(command: MovementCommand, amountMinor = command.amountMinor): Movement {
  return {
    kind: command.kind,
    debitAccountId: command.debitAccountId,
    creditAccountId: command.creditAccountId,
    currencyCode: command.currencyCode,
    amountMinor,
    effectiveTime: command.effectiveTime,
    legs: null,
    exchange: null,
  };
}

/** Returns the movement of what is available, up to the amount; where nothing is, of the amount, which is then refused. */
function limitToAvailable(debit: Account, command: MovementCommand, movement: Movement): Movement {
  if (debit.minBalanceMinor === null) return movement;
  const available = availableMinor(debit) - debit.minBalanceMinor;
  return available <= 0n || available >= command.amountMinor ? movement : toMovement(command, available);
}

/** Returns the account if the command may name it: a wallet, or the system account that it names as one. */
function findAccount(state: LedgerState, { system }: MovementCommand, accountId: Uuid): Account | undefined {
  const account = state.getAccount(accountId);
  return account?.isWallet === true || system?.accountId === accountId ? account : undefined;
}

function toNotFound(command: MovementCommand, accountId: Uuid): Failure {
  const { system, currencyCode } = command;
  return system?.accountId === accountId
    ? { reason: "ACCOUNT_NOT_FOUND", systemAccount: system.name, currencyCode }
    : { reason: "WALLET_NOT_FOUND", walletId: accountId };
}

function checkUses(state: LedgerState, debit: Account, credit: Account, movement: Movement): Failure | undefined {
  if (debit.velocity === null && credit.velocity === null) return undefined;
  return checkUse(state, debit, toUse(movement, "OUTGOING")) ?? checkUse(state, credit, toUse(movement, "INCOMING"));
}

function countMovement(state: LedgerState, account: Account, movement: Movement, direction: Use["direction"]): Account {
  return account.velocity === null ? account : countUse(state, account, toUse(movement, direction));
}

function toUse({ kind, amountMinor }: Movement, direction: Use["direction"]): Use {
  return { direction, kind, amountMinor, count: 1n };
}
