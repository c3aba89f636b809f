import { expect } from "chai";
import * as fc from "fast-check";
import type pg from "pg";
import { ErrorReason } from "../../generated/grey/error/v1/error_reason.js";
import type { LedgerServiceClient } from "../../generated/grey/ledger/v1/ledger_service.js";
import { ScheduleState, type Schedule as ScheduleMessage } from "../../generated/grey/schedule/v1/schedule.js";
import {
  EntrySide,
  TransactionState,
  type Transaction as TransactionMessage,
} from "../../generated/grey/transaction/v1/transaction.js";
import { HoldState, type Hold as HoldMessage } from "../../generated/grey/transaction/v1/hold.js";
import type { TransactionServiceClient } from "../../generated/grey/transaction/v1/transaction_service.js";
import { WalletState } from "../../generated/grey/wallet/v1/wallet.js";
import type { Balance } from "../../generated/grey/wallet/v1/balance.js";
import type { Uuid } from "../../src/base/ids.js";
import { limitConcurrency } from "../../src/base/concurrency.js";
import { fromMicros, microsDown, type Micros } from "../../src/base/time.js";
import { CallError, type Clients } from "./client.js";
import { brokenInBooks } from "./invariants.js";
import { money } from "./ledger.js";
import * as model from "./ledger-model.js";
import type { Account, Books, Outcome } from "./ledger-model.js";

// A step of a random sequence: it is sent to the service and to the model, and then both are compared.

/** How both stand after the steps so far. */
export interface State {
  books: Books;
  /** When the sequence began. */
  readonly start: Micros;
  /** How many transactions and entries there are, of all sequences so far. */
  rows: Rows;
  /** Requests that were answered, to be sent again. */
  readonly answered: { readonly send: Asked["send"]; readonly reason: string | undefined }[];
}

/** The service, and ways to it. */
export interface Service {
  readonly grey: Clients;
  /** For its streams. */
  readonly ledger: LedgerServiceClient;
  readonly transactions: TransactionServiceClient;
  /** Of its database. */
  readonly admin: pg.Client;
}

/** What a call answered; each has some of it. */
export interface Answer {
  readonly transaction?: TransactionMessage | undefined;
  readonly hold?: HoldMessage | undefined;
  readonly schedule?: ScheduleMessage | undefined;
  readonly balances?: readonly Balance[];
  readonly replayed?: boolean;
}

export interface Told {
  readonly reason: string | undefined;
  /** The ids of the transactions that it made. */
  readonly ids: readonly Uuid[];
  readonly answer: Answer;
}

/** A request: what the model says of it, and how the service is asked. */
export interface Asked {
  readonly outcome: Outcome;
  readonly send: (service: Service, dryRun: boolean) => Promise<Told>;
  /** Whether it can be tried out. */
  readonly canDry?: boolean;
  /** Whether it is time that passes, and no request that could be sent again. */
  readonly isTime?: boolean;
  /** Takes what only the service knows. */
  readonly settle?: (books: Books, answer: Answer) => void;
}

/** One operation, by what was drawn for it; undefined when there is nothing to do it to. */
type Ask = (state: State) => Asked | undefined;

/** A step of a sequence. */
export class Step implements fc.AsyncCommand<State, Service> {
  constructor(
    private readonly name: string,
    private readonly ask: Ask,
    /** Whether it is tried out first. */
    private readonly isTried: boolean,
    /** Which of the requests so far is sent again after it. */
    private readonly again: number | undefined,
  ) {}

  check(state: Readonly<State>): boolean {
    return this.ask(state) !== undefined;
  }

  async run(state: State, service: Service): Promise<void> {
    const { outcome, send, canDry = false, isTime = false, settle } = this.ask(state)!;
    const { books, made, reason } = outcome;
    const tried = this.isTried && canDry ? await send(service, true) : undefined;
    const told = await send(service, false);
    // Had it been written when it was tried out, its request id would be taken.
    expect([told.reason, told.answer.replayed ?? false]).to.deep.equal([reason, false]);
    if (tried !== undefined) expect([tried.reason, lastingOf(tried)]).to.deep.equal([reason, lastingOf(told)]);
    const { transactions, entries } = state.rows;
    state.rows = { transactions: transactions + BigInt(made), entries: entries + enteredBy(state.books, books) };
    state.books = books;
    for (const [index, one] of books.transactions.slice(books.transactions.length - made).entries())
      one.id = told.ids[index]!;
    settle?.(books, told.answer);
    for (const balance of told.answer.balances ?? [])
      expect(balance).to.deep.equal(balanceOf(model.accountOf(books, balance.walletId)));
    if (!isTime) state.answered.push({ send, reason });
    if (this.again !== undefined && state.answered.length > 0) {
      const earlier = pick(state.answered, this.again);
      const { reason: said, answer } = await earlier.send(service, false);
      expect([said, answer.replayed ?? true]).to.deep.equal([earlier.reason, true]);
    }
    await compare(state, service);
    expect(await brokenInBooks(service.admin)).to.deep.equal([]);
    // What was tried out, or sent again, wrote nothing.
    expect(await countRows(service)).to.deep.equal(state.rows);
  }

  toString(): string {
    return `${this.name}${this.isTried ? ", tried out" : ""}${this.again === undefined ? "" : `, again ${this.again}`}`;
  }
}

export function operation<T>(name: string, drawn: fc.Arbitrary<T>, ask: (state: State, given: T) => Asked | undefined) {
  const again = fc.option(fc.nat(), { freq: 6, nil: undefined });
  const isTried = fc.integer({ min: 0, max: 4 }).map((one) => one === 0);
  return fc
    .tuple(drawn, isTried, again)
    .map(
      ([given, isTried, again]) =>
        new Step(`${name} ${fc.stringify(given)}`, (state) => ask(state, given), isTried, again),
    );
}

export const pick = <T>(all: readonly T[], index: number): T => all[index % all.length]!;
/** A day in microseconds. */
export const DAY = 86_400_000_000n;

export function walletsOf({ accounts }: Books): Account[] {
  return [...accounts.values()].filter((account) => account.isWallet);
}

/** How many entries the accounts have got from the one to the other. */
function enteredBy(before: Books, after: Books): bigint {
  return [...after.accounts].reduce(
    (sum, [id, { version }]) => sum + version - model.accountOf(before, id).version,
    0n,
  );
}

/** The balance as the service tells it. */
function balanceOf(account: Account): Balance {
  const { id, currency, balance, out, in: coming, version } = account;
  return {
    walletId: id,
    posted: money(balance, currency),
    available: money(model.available(account), currency),
    pendingOutgoing: money(out, currency),
    pendingIncoming: money(coming, currency),
    version,
  };
}

/** What an answer says that does not depend on whether it was only tried out, and when. */
function lastingOf({ answer: { transaction, hold, balances } }: Told): unknown {
  const unplaced = { id: "", journalIndex: 0n, createTime: undefined, effectiveTime: undefined, holdId: "" };
  return {
    transaction: transaction && { ...transaction, ...unplaced },
    hold: hold && { ...hold, id: "", createTime: undefined, updateTime: undefined },
    balances,
  };
}

/** Sends a unary call. */
export function unary(call: (clients: Clients, dryRun: boolean) => Promise<Answer>): Asked["send"] {
  return ({ grey }, dryRun) =>
    call(grey, dryRun).then(
      (answer) => ({ reason: undefined, ids: [answer.transaction?.id ?? ""], answer }),
      (error: unknown) => {
        if (!(error instanceof CallError)) throw error;
        return { reason: error.reason, ids: [error.info.transaction_id ?? ""], answer: {} };
      },
    );
}

/** How much is written. */
interface Rows {
  readonly transactions: bigint;
  readonly entries: bigint;
}

export async function countRows({ admin }: Pick<Service, "admin">): Promise<Rows> {
  const { rows } = await admin.query<Rows>(
    "SELECT (SELECT count(*) FROM transactions) AS transactions, (SELECT count(*) FROM entries) AS entries",
  );
  return rows[0]!;
}

/** So few at once that the service takes them on, however slow the machine is. */
const inTurn = limitConcurrency(4);

/** Compares all balances, states, holds, schedules, and what is used of limits. */
async function compare({ books }: State, { grey }: Service): Promise<void> {
  const accounts = walletsOf(books);
  const limited = accounts.filter(({ limits }) => limits.length > 0);
  const [{ wallets }, holds, schedules, used] = await Promise.all([
    grey.wallets.batchGetWallets({ ids: accounts.map((one) => one.id) }),
    Promise.all(books.holds.map(({ by }) => inTurn(() => grey.transactions.getHold({ id: by.id })))),
    Promise.all(books.schedules.map(({ id }) => inTurn(() => grey.schedules.getSchedule({ id })))),
    Promise.all(
      limited.map(({ id }) => inTurn(() => grey.ledger.getLimits({ account: { $case: "walletId", value: id } }))),
    ),
  ]);
  expect(wallets.map(({ wallet, balance }) => ({ state: WalletState[wallet!.state], balance }))).to.deep.equal(
    accounts.map((one) => ({ state: one.state, balance: balanceOf(one) })),
  );
  expect(
    holds.map(({ hold }, index) => ({
      state: HoldState[hold!.state],
      amount: hold!.amount!.minorUnits,
      captured: hold!.captured!.minorUnits,
      expires: books.holds[index]!.expires && microsDown(hold!.expireTime!),
    })),
  ).to.deep.equal(books.holds.map(({ state, amount, captured, expires }) => ({ state, amount, captured, expires })));
  expect(
    schedules.map(({ schedule }) => ({ state: ScheduleState[schedule!.state], runs: schedule!.runCount })),
  ).to.deep.equal(books.schedules.map(({ state, runs }) => ({ state, runs })));
  expect(used.map(({ usage }) => usage)).to.deep.equal(
    limited.map(({ limits }) => limits.map(({ name, amount, count }) => ({ name, amount, count }))),
  );
}

/** Compares all transactions as they are told now, and all balances by effective time. */
export async function compareTransactions({ books, start }: State, { grey }: Service): Promise<void> {
  const found = await Promise.all(
    books.transactions.map(({ id }) =>
      inTurn(() => grey.transactions.getTransaction({ by: { $case: "id", value: id } })),
    ),
  );
  const recorded = new Map(found.map(({ transaction }) => [transaction!.id, microsDown(transaction!.createTime!)]));
  for (const [index, { transaction }] of found.entries()) {
    const { kind, refusal, amount, legs, metadata, reversed } = books.transactions[index]!;
    const { state, reason, entries, ...told } = transaction!;
    expect({ refusal: reason === ErrorReason.UNSPECIFIED ? undefined : ErrorReason[reason], metadata }).to.deep.equal({
      refusal,
      metadata: told.metadata,
    });
    if (refusal !== undefined) {
      expect([state, entries]).to.deep.equal([TransactionState.REJECTED, []]);
      continue;
    }
    expect({
      kind: told.kind,
      state,
      amount: told.amount!.minorUnits,
      reversed: told.reversed?.minorUnits ?? 0n,
      time: microsDown(told.effectiveTime!),
      entries: entries.map(({ accountId, side, amount }) => ({
        accountId,
        currency: amount!.currencyCode,
        amount: side === EntrySide.DEBIT ? amount!.minorUnits : -amount!.minorUnits,
      })),
    }).to.deep.equal({
      kind,
      state: TransactionState.POSTED,
      amount,
      reversed,
      time: model.effectiveTimeOf(books.transactions[index]!, recorded),
      entries: legs,
    });
  }
  const times = [-3, -2, -1, 0, 1, 2].flatMap((days) => [-1n, 0n].map((by) => start + BigInt(days) * DAY + by));
  await Promise.all(
    walletsOf(books).flatMap(({ id, currency }) =>
      times.map(async (time) => {
        const asOf = { $case: "effectiveTime" as const, value: fromMicros(time) };
        const { balance } = await inTurn(() => grey.wallets.getBalance({ walletId: id, asOf }));
        expect(balance!.posted).to.deep.equal(money(model.balanceAt(books, id, time, recorded), currency));
      }),
    ),
  );
}
