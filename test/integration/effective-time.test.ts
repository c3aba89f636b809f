import { expect } from "chai";
import * as fc from "fast-check";
import type { Timestamp } from "../../generated/google/protobuf/timestamp.js";
import { EntrySide, type Transaction } from "../../generated/grey/transaction/v1/transaction.js";
import { BatchMode } from "../../generated/grey/transaction/v1/batch.js";
import { PostTransactionRequest } from "../../generated/grey/transaction/v1/compound.js";
import { ReverseRequest } from "../../generated/grey/transaction/v1/reversal.js";
import { StatementOrder } from "../../generated/grey/wallet/v1/statement.js";
import { newId, systemAccountId, type Uuid } from "../../src/base/ids.js";
import { fromMicros, microsDown, type Micros } from "../../src/base/time.js";
import type { Queryable } from "../../src/db/database.js";
import { findEffectiveBalance } from "../../src/ledger/statement/effective-balance.js";
import { findEffectiveStatement, readEffectiveLines } from "../../src/ledger/statement/effective-statement.js";
import { LOCAL_CALLER } from "../../src/rpc/context.js";
import { connect, refusal, type Clients } from "../support/client.js";
import {
  depositRequest,
  insertWallet,
  makeWallet,
  money,
  openAdmin,
  openTestLedger,
  transferRequest,
  withdrawRequest,
  type TestLedger,
} from "../support/ledger.js";
import { startServer, type TestServer } from "../support/server.js";

const DAY = 86_400_000_000n;
const now = (): Micros => BigInt(Date.now()) * 1_000n;

/** Returns a time at a distance from now. */
const fromNow = (micros: bigint): Timestamp => fromMicros(now() + micros);

describe("a balance by effective time", () => {
  let server: TestServer;
  let clients: Clients;
  let wallets: Uuid[];
  let history: Transaction[];

  before(async () => {
    server = await startServer();
    clients = connect(server.address);
    const { transactions } = clients;
    wallets = [];
    for (let n = 0; n < 2; n += 1) wallets.push((await makeWallet(clients, { minorUnits: 1_000n })).id);
    const [first, second] = wallets as [Uuid, Uuid];
    // Distances from the least to the greatest, on both sides; about every third has no effective time.
    const lags = [0n, 1n, 999_999n, 1_000_000n, 1_000_001n, 64_000_000n, 3_600_000_000n, 5n * DAY, 30n * DAY];
    for (const [n, lag] of lags.entries()) {
      for (const effectiveTime of [fromNow(-lag), fromNow(lag), fromNow(-12n * lag), undefined]) {
        await transactions.transfer(transferRequest(first, second, BigInt(n + 1), { effectiveTime }));
        await transactions.deposit(depositRequest(first, BigInt(10 * n + 1), { effectiveTime }));
      }
      await refusal(transactions.withdraw(withdrawRequest(first, 1_000_000n, { effectiveTime: fromNow(-lag) })));
    }
    const leg = (walletId: Uuid, side: EntrySide, minorUnits: bigint) => ({
      account: { $case: "walletId" as const, value: walletId },
      side,
      amount: money(minorUnits),
    });
    const { transaction } = await transactions.postTransaction(
      PostTransactionRequest.fromPartial({
        requestId: newId(),
        legs: [
          leg(first, EntrySide.DEBIT, 30n),
          leg(second, EntrySide.CREDIT, 20n),
          { account: { $case: "systemAccount", value: "fees" }, side: EntrySide.CREDIT, amount: money(10n) },
        ],
        effectiveTime: fromNow(-20n * DAY),
      }),
    );
    await transactions.reverse(
      ReverseRequest.fromPartial({
        requestId: newId(),
        transactionId: transaction!.id,
        amount: undefined,
        atEffectiveTimeOfOriginal: true,
      }),
    );
    history = await readAll();
  });
  after(async () => {
    clients.close();
    await server.stop();
  });

  async function readAll(): Promise<Transaction[]> {
    const admin = await openAdmin(server.databaseUrl);
    const { rows } = await admin.query<{ id: Uuid }>("SELECT id FROM transactions ORDER BY journal_index");
    await admin.end();
    const found: Transaction[] = [];
    for (const { id } of rows)
      found.push((await clients.transactions.getTransaction({ by: { $case: "id", value: id } })).transaction!);
    return found;
  }

  /** Sums a wallet's entries of transactions that took effect at the time or before. */
  function expectedAt(walletId: Uuid, time: Micros): bigint {
    return history
      .filter(({ effectiveTime }) => microsDown(effectiveTime!) <= time)
      .flatMap(({ entries }) => entries)
      .filter(({ accountId }) => accountId === walletId)
      .reduce((sum, { side, amount }) => sum + (side === EntrySide.CREDIT ? 1n : -1n) * amount!.minorUnits, 0n);
  }

  async function balanceAt(walletId: Uuid, time: Micros) {
    const asOf = { $case: "effectiveTime" as const, value: fromMicros(time) };
    return (await clients.wallets.getBalance({ walletId, asOf })).balance!;
  }

  it("is the sum of all entries that took effect at the time or before, whenever they were recorded", async () => {
    const times = new Set(
      history.flatMap(({ effectiveTime, createTime }) =>
        [microsDown(effectiveTime!), microsDown(createTime!)].flatMap((time) => [time - 1n, time, time + 1n]),
      ),
    );
    for (const walletId of wallets) {
      const seen = new Set<bigint>();
      for (const time of times) {
        const { posted } = await balanceAt(walletId, time);
        expect(posted!.minorUnits, `at ${time}`).to.equal(expectedAt(walletId, time));
        seen.add(posted!.minorUnits);
      }
      expect(seen.size).to.be.greaterThan(30);
    }
  });

  it("is correct at any time, and reports no holds", async () => {
    const [walletId] = wallets as [Uuid];
    const last = 253_402_300_799_999_999n;
    const anyTime = fc.oneof(
      fc.bigInt(0n, last),
      fc.bigInt(now() - 400n * DAY, now() + 40n * DAY),
      fc.constantFrom(0n, last),
    );
    await fc.assert(
      fc.asyncProperty(anyTime, async (time) => {
        expect(await balanceAt(walletId, time)).to.deep.equal({
          walletId,
          posted: money(expectedAt(walletId, time)),
          available: undefined,
          pendingOutgoing: undefined,
          pendingIncoming: undefined,
          version: 0n,
        });
      }),
      { numRuns: 100 },
    );
  });

  it("leaves balances by record time unchanged", async () => {
    const [walletId] = wallets as [Uuid];
    const time = now() - 10n * DAY;
    const asOf = { $case: "recordTime" as const, value: fromMicros(time) };
    const { balance } = await clients.wallets.getBalance({ walletId, asOf });
    expect(balance!.posted!.minorUnits).to.equal(0n);
    expect((await balanceAt(walletId, time)).posted!.minorUnits).not.to.equal(0n);
  });

  it("of an unknown wallet is WALLET_NOT_FOUND", async () => {
    for (const walletId of [newId(), systemAccountId("USD", "cash")]) {
      const error = await refusal(balanceAt(walletId, now()));
      expect(error.reason).to.equal("WALLET_NOT_FOUND");
      expect((await refusal(statement(walletId, 0n, 1n))).reason).to.equal("WALLET_NOT_FOUND");
    }
  });

  const statement = (walletId: Uuid, from: Micros, before: Micros, pageSize = 1_000, pageToken = "") =>
    clients.wallets.getStatement({
      walletId,
      from: fromMicros(from),
      before: fromMicros(before),
      order: StatementOrder.EFFECTIVE_TIME,
      pageSize,
      pageToken,
    });

  it("equals the sum of a statement by effective time, line by line in order of effect", async () => {
    const [walletId] = wallets as [Uuid];
    const all = await statement(walletId, 0n, 253_402_300_799_000_000n);
    const moved = history
      .filter(({ entries }) => entries.some((entry) => entry.accountId === walletId))
      .map(({ id, effectiveTime, createTime }) => ({ id, effectiveTime: effectiveTime!, createTime: createTime! }))
      // Transactions of the same effective time are in the order of the journal.
      .sort((a, b) => Number(microsDown(a.effectiveTime) - microsDown(b.effectiveTime)));
    expect(
      all.lines.map((line) => ({
        id: line.transactionId,
        effectiveTime: line.effectiveTime,
        createTime: line.createTime,
      })),
    ).to.deep.equal(moved);
    expect(all.opening).to.deep.equal(money(0n));
    let balance = 0n;
    for (const { amount, balanceAfter } of all.lines) {
      balance += amount!.minorUnits;
      expect(balanceAfter!.minorUnits).to.equal(balance);
    }
    expect(all.closing!.minorUnits).to.equal(balance);
  });

  it("opens and closes the statement of any period, whatever its page size", async () => {
    const [, walletId] = wallets as [Uuid, Uuid];
    const all = (await statement(walletId, 0n, 253_402_300_799_000_000n)).lines;
    const places = fc.nat(all.length - 1);
    await fc.assert(
      fc.asyncProperty(places, places, fc.integer({ min: 1, max: 7 }), async (a, b, pageSize) => {
        const [from, before] = [Math.min(a, b), Math.max(a, b)].map((place) => microsDown(all[place]!.effectiveTime!));
        const whole = await statement(walletId, from!, before!);
        expect(whole.lines).to.deep.equal(
          all.filter(
            ({ effectiveTime }) => microsDown(effectiveTime!) >= from! && microsDown(effectiveTime!) < before!,
          ),
        );
        expect(whole.opening).to.deep.equal((await balanceAt(walletId, from! - 1n)).posted);
        expect(whole.closing).to.deep.equal((await balanceAt(walletId, before! - 1n)).posted);
        const lines = [];
        let pageToken = "";
        do {
          const page = await statement(walletId, from!, before!, pageSize, pageToken);
          expect({ ...page, lines: [], nextPageToken: "" }).to.deep.equal({ ...whole, lines: [] });
          lines.push(...page.lines);
          pageToken = page.nextPageToken;
        } while (pageToken !== "");
        expect(lines).to.deep.equal(whole.lines);
      }),
      { numRuns: 30 },
    );
  });

  it("of a statement stays as on its first page, whatever is posted before later pages are read", async () => {
    const { id: walletId } = await makeWallet(clients);
    const post = (effectiveTime?: Timestamp) =>
      clients.transactions.deposit(depositRequest(walletId, 1n, { effectiveTime }));
    for (let n = 0; n < 12; n += 1) await post(n % 3 === 0 ? undefined : fromNow(-BigInt(n) * DAY));
    const [from, before] = [now() - 30n * DAY, now() + DAY];
    for (const order of [StatementOrder.EFFECTIVE_TIME, StatementOrder.RECORD_TIME]) {
      const page = (pageSize: number, pageToken: string) =>
        clients.wallets.getStatement({
          walletId,
          from: fromMicros(from),
          before: fromMicros(before),
          order,
          pageSize,
          pageToken,
        });
      const whole = await page(1_000, "");
      const lines = [];
      let pageToken = "";
      do {
        const { lines: more, nextPageToken, ...summary } = await page(5, pageToken);
        expect({ ...summary, lines: [], nextPageToken: "" }).to.deep.equal({ ...whole, lines: [] });
        lines.push(...more);
        pageToken = nextPageToken;
        for (const lag of [-20n, -5n, -1n]) await post(fromNow(lag * DAY));
        await post();
      } while (pageToken !== "");
      expect(lines).to.deep.equal(whole.lines);
      const after = await page(1_000, "");
      expect(after.lines).to.have.lengthOf(whole.lines.length + 4 * Math.ceil(whole.lines.length / 5));
    }
  });

  it("of a statement refuses a page token of another order", async () => {
    const [walletId] = wallets as [Uuid];
    const { nextPageToken: pageToken } = await statement(walletId, 0n, now(), 2);
    const other = { walletId, from: fromMicros(0n), before: fromMicros(now()), pageSize: 2, pageToken };
    expect((await refusal(clients.wallets.getStatement(other))).reason).to.equal("PAGE_TOKEN_INVALID");
  });

  it("leaves the ledger's integrity intact", async () => {
    const { faults } = await clients.ledger.checkIntegrity({ maxFaults: 0 });
    expect(faults).to.deep.equal([]);
  });
});

describe("an effective time", () => {
  let server: TestServer;
  let clients: Clients;
  let wallet: Uuid;

  before(async () => {
    server = await startServer({ GREY_BACKDATE_MAX_DAYS: "10", GREY_POSTDATE_MAX_DAYS: "2" });
    clients = connect(server.address);
    wallet = (await makeWallet(clients, { minorUnits: 1_000n })).id;
  });
  after(async () => {
    clients.close();
    await server.stop();
  });

  const deposit = (effectiveTime: Timestamp) => depositRequest(wallet, 1n, { effectiveTime });
  const minute = 60_000_000n;

  it("within the window is accepted; outside, the refusal names it and leaves the request id unused", async () => {
    const { transactions } = clients;
    for (const inside of [-10n * DAY + minute, 0n, 2n * DAY - minute])
      await transactions.deposit(deposit(fromNow(inside)));
    for (const outside of [-10n * DAY - minute, 2n * DAY + minute]) {
      const request = deposit(fromNow(outside));
      const error = await refusal(transactions.deposit(request));
      expect([error.code, error.reason]).to.deep.equal(["INVALID_ARGUMENT", "INVALID_REQUEST"]);
      expect([...error.violations]).to.deep.equal([
        ["effective_time", "must be no more than 10 days ago, and no more than 2 days ahead"],
      ]);
      expect((await refusal(transactions.deposit({ ...request, dryRun: true }))).reason).to.equal("INVALID_REQUEST");
      const { replayed } = await transactions.deposit({ ...request, effectiveTime: undefined });
      expect(replayed).to.equal(false);
    }
  });

  it("outside the window is refused with its index in a batch, and nothing of the batch is posted", async () => {
    const other = (await makeWallet(clients)).id;
    const transfers = [0n, -11n * DAY, -1n, 3n * DAY].map((micros) =>
      transferRequest(wallet, other, 1n, { effectiveTime: fromNow(micros) }),
    );
    const error = await refusal(clients.transactions.batchTransfer({ transfers, mode: BatchMode.INDEPENDENT }));
    expect([...error.violations.keys()]).to.deep.equal(["transfers[1].effective_time", "transfers[3].effective_time"]);
    const { balance } = await clients.wallets.getBalance({ walletId: other });
    expect(balance!.version).to.equal(0n);
  });

  it("of a completed request is not checked again: the window moves, the response stays", async () => {
    const request = deposit(fromNow(-5n * DAY));
    const first = await clients.transactions.deposit(request);
    const later = await startServer({ DATABASE_URL: server.databaseUrl, GREY_BACKDATE_MAX_DAYS: "4" });
    const there = connect(later.address);
    try {
      expect(await there.transactions.deposit(request)).to.deep.equal({ ...first, replayed: true });
      const reused = await refusal(there.transactions.deposit({ ...request, effectiveTime: fromNow(-6n * DAY) }));
      expect([reused.reason, reused.info.differs]).to.deep.equal(["REQUEST_ID_REUSED", "effective_time"]);
      const isNew = await refusal(there.transactions.deposit({ ...request, requestId: newId() }));
      expect(isNew.reason).to.equal("INVALID_REQUEST");
    } finally {
      there.close();
      await later.stop();
    }
  });
});

describe("a balance by effective time in a long history", () => {
  const TRANSACTIONS = 100_000;
  let ledger: TestLedger;
  const wallet = newId();
  const start = 1_767_225_600_000_000n;

  before(async () => {
    ledger = await openTestLedger();
    await insertWallet(ledger.admin, { id: wallet });
    // Every transaction took effect within a minute of its record time; every thousandth a month before.
    await ledger.admin.query(
      `INSERT INTO transactions (id, journal_index, kind, state, caller, request_id, debit_account_id, credit_account_id,
         debit_sequence, credit_sequence, currency_code, amount, description, create_time, effective_time)
       SELECT gen_random_uuid(), n, 2, 1, '${LOCAL_CALLER}', gen_random_uuid(), '${systemAccountId("USD", "cash")}', '${wallet}', n + 1, n + 1,
         'USD', 1, '', time, CASE WHEN n % 1000 = 0 THEN time - interval '30 days' ELSE time + (n % 120 - 60) * interval '1 second' END
       FROM generate_series(0, ${TRANSACTIONS} - 1) AS n, LATERAL (SELECT timestamptz '2026-01-01' + n * interval '10 seconds' AS time) t`,
    );
    await ledger.admin.query(
      `INSERT INTO entries (account_id, sequence, transaction_id, journal_index, amount, balance_after, create_time)
       SELECT '${wallet}', credit_sequence, id, journal_index, -1, credit_sequence, create_time FROM transactions`,
    );
    await ledger.admin.query(
      `INSERT INTO journal_batches (first_index, record_ids, record_types, create_time)
       SELECT journal_index, ARRAY[id], ARRAY[1::smallint], create_time FROM transactions;
       UPDATE journal_head SET size = ${TRANSACTIONS}`,
    );
    await ledger.admin.query("VACUUM ANALYZE dated_entries, entries, journal_batches");
  });
  after(() => ledger.close());

  async function rowsRead(client: Queryable, table: string): Promise<number> {
    const { rows } = await client.query<{ read: bigint }>(
      "SELECT coalesce(idx_tup_fetch, 0) + seq_tup_read AS read FROM pg_stat_xact_user_tables WHERE relname = $1",
      [table],
    );
    return Number(rows[0]!.read);
  }

  it("reads only entries near the time, whatever the number of entries", async () => {
    const client = await ledger.database.pool.connect();
    try {
      for (let time = 0; time < 8; time += 1) {
        const at = start + (BigInt(time) * BigInt(TRANSACTIONS) * 10_000_000n) / 8n + 3_000_000n;
        await client.query("BEGIN");
        const before = await rowsRead(client, "dated_entries");
        const found = await findEffectiveBalance(client, wallet, at);
        const read = (await rowsRead(client, "dated_entries")) - before;
        await client.query("ROLLBACK");
        const { rows } = await ledger.admin.query<{ sum: string }>(
          "SELECT count(*)::text AS sum FROM transactions WHERE effective_time <= to_timestamp($1::numeric / 1000000)",
          [at],
        );
        expect(found!.balanceMinor.toString()).to.equal(rows[0]!.sum);
        // Every thousandth entry of a month: 259 rows, and up to as many again; and the entries of a minute.
        expect(read, `rows read the ${time}th time`).to.be.within(1, 700);
      }
    } finally {
      client.release();
    }
  });

  it("opens a statement that reads only its period and entries near its ends, and whose pages read only their lines", async () => {
    const client = await ledger.database.pool.connect();
    try {
      for (let time = 0; time < 8; time += 1) {
        const from = start + (BigInt(time) * BigInt(TRANSACTIONS) * 10_000_000n) / 8n;
        await client.query("BEGIN");
        const read = [await rowsRead(client, "dated_entries"), await rowsRead(client, "entries")] as const;
        const period = { from, before: from + 3_600_000_000n };
        const found = await findEffectiveStatement(client, wallet, period);
        expect((await rowsRead(client, "dated_entries")) - read[0]).to.be.at.most(4_000);
        expect((await rowsRead(client, "entries")) - read[1]).to.be.at.most(2_000);
        const { summary, position } = found!;
        for (const [before, most] of [
          [period.before, 200],
          // A long period.
          [start + 10n * BigInt(TRANSACTIONS) * 1_000_000n, 200],
        ] as const) {
          const readThen = await rowsRead(client, "entries");
          const lines = await readEffectiveLines(client, summary.account, {
            ...summary,
            after: position,
            before,
            limit: 10,
          });
          expect((await rowsRead(client, "entries")) - readThen).to.be.at.most(most);
          expect(lines).to.have.lengthOf(10);
        }
        await client.query("ROLLBACK");
      }
    } finally {
      client.release();
    }
  });
});
