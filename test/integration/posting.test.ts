import { expect } from "chai";
import * as fc from "fast-check";
import type pg from "pg";
import { TransactionKind, TransactionState } from "../../generated/grey/transaction/v1/transaction.js";
import { newId, systemAccountId, type Uuid } from "../../src/base/ids.js";
import { ACCOUNT_STATE } from "../../src/base/codes.js";
import type { MovementCommand } from "../../src/ledger/command/command.js";
import type { Outcome } from "../../src/ledger/post/outcome.js";
import { connect, refusal, type Clients } from "../support/client.js";
import {
  assertIntegrity,
  balanceOf,
  countRows,
  deposit,
  depositRequest,
  insertWallet,
  makeWallet,
  openAdmin,
  openTestLedger,
  postAll,
  transfer,
  transferRequest,
  userRequest,
  withdrawal,
  withdrawRequest,
  type TestLedger,
} from "../support/ledger.js";
import { startServer, type TestServer } from "../support/server.js";

describe("posting many commands in one call", () => {
  let together: TestLedger;
  let oneByOne: TestLedger;

  before(async () => {
    together = await openTestLedger();
    oneByOne = await openTestLedger();
  });
  after(async () => {
    await together.close();
    await oneByOne.close();
  });

  const WALLETS = [
    {},
    {},
    { maxBalance: 400n },
    { minBalance: -100n },
    { currencyCode: "EUR" },
    { state: ACCOUNT_STATE.FROZEN },
    { state: ACCOUNT_STATE.CLOSED },
  ];
  /** One index more than there are wallets: an unknown id. */
  const place = fc.nat(WALLETS.length);
  const amount = fc.bigInt({ min: 1n, max: 300n });
  const currencyCode = fc.constantFrom("USD", "USD", "USD", "EUR");
  const planned = fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({ kind: fc.constant("transfer" as const), from: place, to: place, amount, currencyCode }),
    },
    {
      weight: 3,
      arbitrary: fc.record({ kind: fc.constant("deposit" as const), from: place, to: place, amount, currencyCode }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constant("withdrawal" as const), from: place, to: place, amount, currencyCode }),
    },
  );
  /** The second call: commands of the first, unchanged or with another amount. */
  const repeats = fc.array(fc.record({ of: fc.nat(), isChanged: fc.boolean() }), { maxLength: 5 });

  type Planned = typeof planned extends fc.Arbitrary<infer T> ? T : never;

  function commandOf(
    { kind, from, to, amount: minor, currencyCode: currency }: Planned,
    ids: readonly Uuid[],
  ): MovementCommand {
    const over = {
      currencyCode: currency,
      description: `${kind} of ${minor}`,
      metadata: minor % 2n === 0n ? { parity: "even" } : {},
    };
    if (kind === "transfer") return transfer(ids[from]!, ids[to]!, minor, over);
    if (kind === "deposit") return deposit(ids[to]!, minor, over);
    return withdrawal(ids[from]!, minor, over);
  }

  /** Returns the outcomes without times, which differ between databases. */
  function withoutTime(outcomes: readonly Outcome[]): unknown[] {
    return outcomes.map((outcome) => {
      if ("failure" in outcome) return outcome;
      const { createTime: _, ...transaction } = outcome.transaction;
      return { ...outcome, transaction };
    });
  }

  /** Reads all rows without times and revisions, which differ between databases. */
  async function written(admin: pg.Client): Promise<Record<string, string[]>> {
    const tables = ["accounts", "transactions", "entries", "requests"];
    const result: Record<string, string[]> = {};
    for (const table of tables) {
      const { rows } = await admin.query<{ row: string }>(
        `SELECT (to_jsonb(t) - 'create_time' - 'revision')::text AS row FROM ${table} t ORDER BY 1`,
      );
      result[table] = rows.map(({ row }) => row);
    }
    const { rows } = await admin.query<{ row: string }>(
      `SELECT format('%s %s %s', first_index + position - 1, id, type) AS row
       FROM journal_batches, unnest(record_ids, record_types) WITH ORDINALITY AS r (id, type, position) ORDER BY first_index + position`,
    );
    return { ...result, journal: rows.map(({ row }) => row) };
  }

  it("has the same outcomes and rows as posting them one by one", async () => {
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(
        fc.array(planned, { minLength: 5, maxLength: 30 }),
        fc.array(planned, { maxLength: 10 }),
        repeats,
        async (first, more, again) => {
          const ids = [...WALLETS, "nobody's"].map(() => newId());
          for (const { admin } of [together, oneByOne]) {
            for (const [index, wallet] of WALLETS.entries()) await insertWallet(admin, { id: ids[index]!, ...wallet });
          }
          const commands = first.map((plan) => commandOf(plan, ids));
          const repeated = new Map(
            again.map(({ of, isChanged }) => {
              const command = commands[of % commands.length]!;
              const change = isChanged ? { amountMinor: command.amountMinor + 1n, description: "another" } : {};
              return [command.requestId, { ...command, ...change, transactionId: newId() }];
            }),
          );
          const second = [...more.map((plan) => commandOf(plan, ids)), ...repeated.values()];
          for (const batch of [commands, second]) {
            if (batch.length === 0) continue;
            const answers = await postAll(together.database, batch);
            const single: Outcome[] = [];
            for (const command of batch) single.push(...(await postAll(oneByOne.database, [command])));
            expect(withoutTime(answers)).to.deep.equal(withoutTime(single));
            for (const answer of answers) {
              seen.add("failure" in answer ? answer.failure.reason : (answer.transaction.failure?.reason ?? "POSTED"));
              if ("transaction" in answer && answer.replayed) seen.add("REPLAYED");
            }
          }
          expect(await written(together.admin)).to.deep.equal(await written(oneByOne.admin));
        },
      ),
      { numRuns: 10 },
    );
    expect([...seen]).to.include.members([
      "POSTED",
      "REPLAYED",
      "REQUEST_ID_REUSED",
      "INSUFFICIENT_FUNDS",
      "WALLET_NOT_FOUND",
    ]);
    const reports = [await assertIntegrity(together.database), await assertIntegrity(oneByOne.database)];
    expect(reports[0]).to.deep.equal(reports[1]);
  });

  it("writes nothing when its database transaction is rolled back", async () => {
    const [from, to] = [newId(), newId()];
    await insertWallet(together.admin, { id: from });
    await insertWallet(together.admin, { id: to });
    const before = await written(together.admin);
    const size = await together.admin.query("SELECT * FROM journal_head");
    // The second command has the transaction id of the first, which violates a constraint.
    const first = deposit(from, 100n);
    const twice = { ...transfer(from, to, 1n), transactionId: first.transactionId };
    const failed = await postAll(together.database, [first, twice]).then(
      () => undefined,
      (error: unknown) => error,
    );
    expect((failed as { constraint?: string }).constraint).to.equal("transactions_pkey");
    expect(await written(together.admin)).to.deep.equal(before);
    expect((await together.admin.query("SELECT * FROM journal_head")).rows).to.deep.equal(size.rows);
  });
});

describe("a movement through the service", () => {
  let server: TestServer;
  let clients: Clients;
  let admin: pg.Client;
  let rich: Uuid;
  let poor: Uuid;

  before(async () => {
    server = await startServer();
    clients = connect(server.address);
    admin = await openAdmin(server.databaseUrl);
    rich = (await makeWallet(clients, { minorUnits: 100_000n })).id;
    poor = (await makeWallet(clients)).id;
  });
  after(async () => {
    clients.close();
    await admin.end();
    await server.stop();
  });

  it("returns the transaction, its entries and the balances right after it", async () => {
    const request = transferRequest(rich, poor, 10_000n, { description: "lunch", metadata: { order: "7" } });
    const { transaction, balances, replayed } = await clients.transactions.transfer(request);
    expect(replayed).to.equal(false);
    expect(transaction).to.deep.include({
      requestId: request.requestId,
      kind: TransactionKind.TRANSFER,
      state: TransactionState.POSTED,
      description: "lunch",
      metadata: { order: "7" },
      debitAccountId: rich,
      creditAccountId: poor,
      amount: { currencyCode: "USD", minorUnits: 10_000n },
    });
    expect(transaction!.entries.map((entry) => [entry.accountId, entry.balanceAfter!.minorUnits])).to.deep.equal([
      [rich, 90_000n],
      [poor, 10_000n],
    ]);
    expect(balances.map((balance) => [balance.walletId, balance.available!.minorUnits])).to.deep.equal([
      [rich, 90_000n],
      [poor, 10_000n],
    ]);
    expect(await balanceOf(clients, rich)).to.equal(90_000n);
    expect(await balanceOf(clients, poor)).to.equal(10_000n);
  });

  it("that deposits or withdraws has cash on the other side, and returns only the wallet's balance", async () => {
    const cash = systemAccountId("USD", "cash");
    const wallet = (await makeWallet(clients)).id;
    const into = await clients.transactions.deposit(depositRequest(wallet, 500n));
    expect(into.transaction!.entries.map((entry) => entry.accountId)).to.deep.equal([cash, wallet]);
    expect(into.balances.map((balance) => balance.walletId)).to.deep.equal([wallet]);
    const out = await clients.transactions.withdraw(withdrawRequest(wallet, 200n));
    expect(out.transaction!.entries.map((entry) => entry.accountId)).to.deep.equal([wallet, cash]);
    expect(out.balances[0]!.posted!.minorUnits).to.equal(300n);
    expect(out.balances[0]!.version).to.equal(2n);
  });

  it("that would overdraw leaves a rejected transaction, no entry and no balance change", async () => {
    const wallet = (await makeWallet(clients, { minorUnits: 50n })).id;
    const before = await countRows(admin);
    const balances = await balancesOf(admin);
    const request = transferRequest(wallet, poor, 51n);
    const error = await refusal(clients.transactions.transfer(request));
    expect([error.code, error.reason]).to.deep.equal(["FAILED_PRECONDITION", "INSUFFICIENT_FUNDS"]);
    const { transaction_id: transactionId, journal_index: journalIndex, ...info } = error.info;
    expect(info).to.deep.equal({
      wallet_id: wallet,
      currency_code: "USD",
      available_minor_units: "50",
      required_minor_units: "51",
    });
    expect(await countRows(admin)).to.deep.equal({
      ...before,
      transactions: before.transactions! + 1n,
      requests: before.requests! + 1n,
      records: before.records! + 1n,
    });
    expect(await balancesOf(admin)).to.deep.equal(balances);
    const { transaction } = await clients.transactions.getTransaction({
      by: { $case: "requestId", value: request.requestId },
    });
    expect(transaction!.id).to.equal(transactionId);
    expect(transaction!.journalIndex.toString()).to.equal(journalIndex);
    expect(transaction!.state).to.equal(TransactionState.REJECTED);
    expect(transaction!.entries).to.deep.equal([]);
  });

  it("with a system account's id as a wallet finds no wallet, on either side", async () => {
    const balances = await balancesOf(admin);
    for (const name of ["cash", "opening", "fees", "fx"]) {
      const id = systemAccountId("USD", name);
      const calls = [
        clients.transactions.transfer(transferRequest(id, poor, 1n)),
        clients.transactions.transfer(transferRequest(rich, id, 1n)),
        clients.transactions.deposit(depositRequest(id, 1n)),
        clients.transactions.withdraw(withdrawRequest(id, 1n)),
        clients.wallets.getWallet({ id }),
        clients.wallets.getBalance({ walletId: id }),
        clients.wallets.batchGetWallets({ ids: [rich, id] }),
        clients.transactions.listTransactions(listOf(id)),
      ];
      const errors = await Promise.all(calls.map(refusal));
      for (const [index, error] of errors.entries()) {
        expect([error.code, error.reason, error.info.wallet_id], `call ${index} on ${name}`).to.deep.equal([
          "NOT_FOUND",
          "WALLET_NOT_FOUND",
          id,
        ]);
      }
    }
    expect(await balancesOf(admin)).to.deep.equal(balances);
  });

  it("with an unknown system account finds no account", async () => {
    const error = await refusal(clients.transactions.deposit(depositRequest(rich, 1n, { systemAccount: "nowhere" })));
    expect([error.code, error.reason]).to.deep.equal(["NOT_FOUND", "ACCOUNT_NOT_FOUND"]);
    expect(error.info).to.deep.include({ system_account: "nowhere", currency_code: "USD" });
  });

  function listOf(walletId: Uuid) {
    return {
      of: { $case: "walletId" as const, value: walletId },
      pageSize: 0,
      pageToken: "",
      kinds: [],
      states: [],
      createTimeFrom: undefined,
      createTimeBefore: undefined,
    };
  }
});

/** Reads the columns of accounts that a rejection must not change. */
async function balancesOf(admin: pg.Client): Promise<unknown[]> {
  const { rows } = await admin.query(
    "SELECT id, state, balance, pending_debits, pending_credits, min_balance, max_balance, sequence FROM account_states ORDER BY id",
  );
  return rows;
}

describe("two servers that post to the same ledger", () => {
  const CHAINS = 12;
  const CHAIN_LENGTH = 8;
  let servers: TestServer[];
  let clients: Clients[];
  let admin: pg.Client;

  before(async () => {
    const first = await startServer();
    servers = [await startServer({ DATABASE_URL: first.databaseUrl }), first];
    clients = servers.map((server) => connect(server.address));
    admin = await openAdmin(first.databaseUrl);
  });
  after(async () => {
    for (const one of clients) one.close();
    await admin.end();
    for (const server of servers) await server.stop();
  });

  it("assign journal indexes in the order of commits, and no reader ever sees a gap", async () => {
    const wallets: Uuid[] = [];
    for (let n = 0; n < 4; n += 1) wallets.push((await makeWallet(clients[0]!, { minorUnits: 1_000n })).id);
    let isDone = false;

    /** Sends transfers one after the other: a later response has the higher index. */
    async function chain(n: number): Promise<Map<Uuid, bigint>> {
      const indexesById = new Map<Uuid, bigint>();
      let last = -1n;
      for (let step = 0; step < CHAIN_LENGTH; step += 1) {
        const { transactions, users } = clients[(n + step) % 2]!;
        if (step === 4) await users.createUser(userRequest());
        const request = transferRequest(wallets[(n + step) % 4]!, wallets[(n + 1) % 4]!, BigInt(1 + (step % 3)));
        if (request.fromWalletId === request.toWalletId) continue;
        const { transaction } = await transactions.transfer(request);
        expect(transaction!.journalIndex > last, "an index is above those of earlier responses").to.equal(true);
        last = transaction!.journalIndex;
        indexesById.set(transaction!.id, last);
      }
      return indexesById;
    }

    /** Reads the journal repeatedly while it grows. */
    async function watch(): Promise<Set<bigint>> {
      const sizes = new Set<bigint>();
      while (!isDone) {
        const { rows } = await admin.query<{ size: bigint; records: bigint; end: bigint }>(
          `SELECT size, (SELECT sum(cardinality(record_ids)) FROM journal_batches)::bigint AS records,
             (SELECT max(first_index + cardinality(record_ids)) FROM journal_batches) AS end FROM journal_head`,
        );
        const [{ size, records, end }] = rows as [(typeof rows)[0]];
        expect([records, end], "the journal has no gap").to.deep.equal([size, size]);
        sizes.add(size);
      }
      return sizes;
    }

    const watching = watch();
    const chains = await Promise.all(Array.from({ length: CHAINS }, (_, n) => chain(n))).finally(() => {
      isDone = true;
    });
    expect((await watching).size, "sizes that the reader saw").to.be.greaterThan(3);
    const indexesById = new Map(chains.flatMap((one) => [...one]));
    const { rows } = await admin.query<{ id: Uuid; index: bigint }>(
      `SELECT id, first_index + position - 1 AS index FROM journal_batches, unnest(record_ids) WITH ORDINALITY AS r (id, position)
       ORDER BY 2`,
    );
    expect(rows.map((row) => row.index)).to.deep.equal(rows.map((_, index) => BigInt(index)));
    const indexes = new Map(rows.map((row) => [row.id, row.index]));
    expect(indexesById.size).to.be.greaterThan(CHAINS * 4);
    for (const [id, index] of indexesById) expect(indexes.get(id)).to.equal(index);
    const { ok, faults } = await clients[0]!.ledger.checkIntegrity({ maxFaults: 0 });
    expect(faults).to.deep.equal([]);
    expect(ok).to.equal(true);
  });
});
