import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { DepositResponse } from "../../generated/grey/transaction/v1/movement.js";
import { CallError, type Clients } from "./client.js";

// A bounded load on servers, and the outcomes that its callers know.

const CURRENCY = "USD";
const PAUSE_MS = 20;
const ANSWER_MS_MAX = 30_000;

/** A movement that a caller requests. */
export interface Movement {
  readonly kind: "DEPOSIT" | "WITHDRAWAL" | "TRANSFER";
  readonly requestId: string;
  /** undefined: a deposit. */
  readonly fromWalletId: string | undefined;
  /** undefined: a withdrawal. */
  readonly toWalletId: string | undefined;
  readonly amountMinor: bigint;
}

/** The final outcome that a caller received. */
export interface Answer {
  readonly transactionId: string;
  /** The reason of a refusal; undefined if posted. */
  readonly refusal: string | undefined;
  readonly replayed: boolean;
}

/** An attempt with an unknown outcome. */
export interface Setback {
  readonly requestId: string;
  readonly code: string;
  readonly reason: string | undefined;
  readonly retryAfterMs: number | undefined;
}

/** The callers' record of requests and outcomes, independent of the database. */
export class ClientJournal {
  /** The wallets' initial balances, in minor units. */
  readonly openings = new Map<string, bigint>();
  /** All requests, by request id. */
  readonly asked = new Map<string, Movement>();
  readonly answers = new Map<string, Answer>();
  readonly setbacks: Setback[] = [];

  /** Returns the balance that a wallet must have once all requests are answered. */
  balanceMinor(walletId: string): bigint {
    let balance = this.openings.get(walletId) ?? 0n;
    for (const [requestId, movement] of this.asked) {
      if (this.answers.get(requestId)?.refusal !== undefined) continue;
      if (movement.toWalletId === walletId) balance += movement.amountMinor;
      if (movement.fromWalletId === walletId) balance -= movement.amountMinor;
    }
    return balance;
  }
}

/** Opens wallets of one user with this initial balance. */
export async function openWallets(
  { users, wallets }: Clients,
  journal: ClientJournal,
  count: number,
  openingMinor: bigint,
): Promise<string[]> {
  const { user } = await users.createUser({
    requestId: randomUUID(),
    name: "Load",
    email: `${randomUUID()}@example.com`,
    metadata: {},
  });
  const ids: string[] = [];
  for (let n = 0; n < count; n += 1) {
    const { wallet } = await wallets.createWallet({
      requestId: randomUUID(),
      userId: user?.id ?? "",
      currencyCode: CURRENCY,
      label: "",
      initialBalance: { currencyCode: CURRENCY, minorUnits: openingMinor },
      metadata: {},
    });
    ids.push(wallet?.id ?? "");
    journal.openings.set(wallet?.id ?? "", openingMinor);
  }
  return ids;
}

/** Makes a deposit. */
export function makeDeposit(toWalletId: string, amountMinor: bigint): Movement {
  return { kind: "DEPOSIT", requestId: randomUUID(), fromWalletId: undefined, toWalletId, amountMinor };
}

/** Makes a withdrawal. */
export function makeWithdrawal(fromWalletId: string, amountMinor: bigint): Movement {
  return { kind: "WITHDRAWAL", requestId: randomUUID(), fromWalletId, toWalletId: undefined, amountMinor };
}

/** Makes a transfer. */
export function makeTransfer(fromWalletId: string, toWalletId: string, amountMinor: bigint): Movement {
  return { kind: "TRANSFER", requestId: randomUUID(), fromWalletId, toWalletId, amountMinor };
}

/** Plans deposits and transfers between the wallets, some of them without sufficient funds. */
export function planMovements(wallets: readonly string[], count: number): Movement[] {
  return Array.from({ length: count }, (_, n) => {
    const from = wallets[n % wallets.length] ?? "";
    // Over all n, each wallet pays every other one.
    const to = wallets[(n + 1 + (Math.floor(n / wallets.length) % (wallets.length - 1))) % wallets.length] ?? "";
    if (n % 5 === 0) return makeDeposit(to, BigInt(100 + n));
    return makeTransfer(from, to, n % 7 === 3 ? 1_000_000_000n : BigInt(1 + n));
  });
}

/**
 * Sends a request once and records the outcome.
 * @returns undefined if the outcome is unknown
 * @throws for an error that no movement may get, such as INTERNAL
 */
export async function sendOnce(
  { transactions }: Clients,
  journal: ClientJournal,
  movement: Movement,
  timeoutMs: number,
): Promise<Answer | undefined> {
  journal.asked.set(movement.requestId, movement);
  try {
    const { transaction, replayed } = await send(transactions, movement, timeoutMs);
    return note(journal, movement, { transactionId: transaction?.id ?? "", refusal: undefined, replayed });
  } catch (error) {
    if (!(error instanceof CallError)) throw error;
    const { code, reason, retryAfterMs, info } = error;
    if (RETRIED.has(code)) {
      journal.setbacks.push({ requestId: movement.requestId, code, reason, retryAfterMs });
      return undefined;
    }
    if (reason === undefined || info.transaction_id === undefined) throw error;
    const replayed = info.replayed === "true";
    return note(journal, movement, { transactionId: info.transaction_id, refusal: reason, replayed });
  }
}

const RETRIED = new Set(["UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "CANCELLED"]);

/** Sends a request to one server after the other, beginning with `first`, until one answers. */
export async function retryUntilAnswered(
  servers: readonly Clients[],
  journal: ClientJournal,
  movement: Movement,
  timeoutMs = 2_000,
  first = 0,
): Promise<Answer> {
  const deadline = Date.now() + ANSWER_MS_MAX;
  for (let attempt = first; ; attempt += 1) {
    const server = servers[attempt % servers.length];
    if (server === undefined) throw new Error("there are no servers");
    const answer = await sendOnce(server, journal, movement, timeoutMs);
    if (answer !== undefined) return answer;
    const last = journal.setbacks.at(-1);
    if (Date.now() > deadline) throw new Error(`no answer in ${ANSWER_MS_MAX} ms: ${last?.code} ${last?.reason}`);
    await delay(PAUSE_MS);
  }
}

/** Records an outcome, which must equal an earlier one for the same request. */
function note(journal: ClientJournal, movement: Movement, answer: Answer): Answer {
  const before = journal.answers.get(movement.requestId);
  if (before === undefined) journal.answers.set(movement.requestId, answer);
  else if (before.transactionId !== answer.transactionId || before.refusal !== answer.refusal || !answer.replayed) {
    throw new Error(`${movement.requestId} was answered ${JSON.stringify(before)}, now ${JSON.stringify(answer)}`);
  }
  return answer;
}

function send(
  transactions: Clients["transactions"],
  { kind, requestId, fromWalletId = "", toWalletId = "", amountMinor }: Movement,
  timeoutMs: number,
): Promise<DepositResponse> {
  const common = {
    requestId,
    amount: { currencyCode: CURRENCY, minorUnits: amountMinor },
    description: "",
    metadata: {},
    effectiveTime: undefined,
  };
  switch (kind) {
    case "DEPOSIT":
      return transactions.deposit({ ...common, walletId: toWalletId, systemAccount: "" }, {}, timeoutMs);
    case "WITHDRAWAL":
      return transactions.withdraw({ ...common, walletId: fromWalletId, systemAccount: "" }, {}, timeoutMs);
    case "TRANSFER":
      return transactions.transfer({ ...common, fromWalletId, toWalletId }, {}, timeoutMs);
  }
}

/** A running load. */
export interface Load {
  /** Resolves once this number of movements is answered. */
  answered(count: number): Promise<void>;
  /** Resolves once every movement is answered; rejects if one cannot be. */
  readonly done: Promise<void>;
}

export interface LoadOptions {
  /**
   * Movement n is sent to server n first, and retried on the next one. The servers may be replaced during the load.
   */
  readonly servers: readonly Clients[];
  readonly journal: ClientJournal;
  readonly movements: readonly Movement[];
  /** The number of concurrent callers. */
  readonly callers: number;
  /** The deadline of an attempt. */
  readonly timeoutMs?: number;
}

/** Starts callers that send the movements until each is answered. */
export function startLoad({ servers, journal, movements, callers, timeoutMs = 2_000 }: LoadOptions): Load {
  let next = 0;
  let answeredCount = 0;
  const waiting: { readonly count: number; readonly resolve: () => void }[] = [];
  const caller = async (): Promise<void> => {
    for (let n = next++; n < movements.length; n = next++) {
      const movement = movements[n];
      if (movement === undefined) return;
      await retryUntilAnswered(servers, journal, movement, timeoutMs, n);
      answeredCount += 1;
      for (const { count, resolve } of waiting) if (answeredCount >= count) resolve();
    }
  };
  const done = Promise.all(Array.from({ length: callers }, caller)).then(() => undefined);
  // A failure is reported to the caller that waits for the end.
  done.catch(() => undefined);
  return {
    done,
    answered: (count) => Promise.race([new Promise<void>((resolve) => waiting.push({ count, resolve })), done]),
  };
}

/** Repeats answered movements: each must get the same outcome. */
export async function repeatAll(
  server: Clients,
  journal: ClientJournal,
  movements: readonly Movement[],
): Promise<void> {
  await startLoad({ servers: [server], journal, movements, callers: 16, timeoutMs: ANSWER_MS_MAX }).done;
}
