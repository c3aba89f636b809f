import { setImmediate as nextTurn } from "node:timers/promises";
import { metrics } from "@opentelemetry/api";
import { metrics as sdk } from "@opentelemetry/sdk-node";
import { expect } from "chai";
import { FailureError, type Failure } from "../../src/base/failure.js";
import { newId, type Uuid } from "../../src/base/ids.js";
import type { CallerContext } from "../../src/base/caller-context.js";
import { readHead } from "../../src/journal/head.js";
import { sqlState } from "../../src/db/sqlstate.js";
import { ACCOUNT_STATE } from "../../src/base/codes.js";
import { NO_CALLER_DATA, type MovementCommand } from "../../src/ledger/command/command.js";
import type { LedgerTransaction } from "../../src/ledger/transaction/transaction.js";
import type { Outcome } from "../../src/ledger/post/outcome.js";
import {
  lockLedger,
  openEngineLedger,
  waitsForLock,
  WAIT_MS_MAX,
  type EngineLedger,
  type RowLock,
  type TestEngine,
} from "../support/engine.js";
import { startFaultProxy, type FaultProxy } from "../support/fault-proxy.js";
import { assertIntegrity, deposit, insertWallet, PATIENT, transfer, withdrawal } from "../support/ledger.js";
import { eventually } from "../support/process.js";

describe("the posting engine", function () {
  this.timeout(60_000);

  let ledger: EngineLedger;

  before(async () => {
    ledger = await openEngineLedger();
  });
  afterEach(() => ledger.stopEngines());
  after(async () => {
    expect(await ledger.violations()).to.deep.equal([]);
    await ledger.close();
  });

  /** Opens wallets; deposits the amount into the first. */
  async function walletsOf(engine: TestEngine, count: number, amountMinor: bigint): Promise<Uuid[]> {
    const wallets = await ledger.openWallets(count);
    await engine.postOne(deposit(wallets[0]!, amountMinor));
    return wallets;
  }

  async function balances(ids: readonly Uuid[]): Promise<bigint[]> {
    const { rows } = await ledger.admin.query<{ id: Uuid; balance: bigint }>(
      "SELECT id, balance FROM account_states WHERE id = ANY($1)",
      [ids],
    );
    return ids.map((id) => rows.find((row) => row.id === id)!.balance);
  }

  /** Lists the ids of the commands' transactions, in the order of the journal. */
  async function postedFor(commands: readonly MovementCommand[]): Promise<Uuid[]> {
    const { rows } = await ledger.admin.query<{ id: Uuid }>(
      "SELECT id FROM transactions WHERE request_id = ANY($1) ORDER BY journal_index",
      [commands.map((command) => command.requestId)],
    );
    return rows.map((row) => row.id);
  }

  /** Counts these commands' transactions in each batch that has any. */
  async function batchSizes(commands: readonly MovementCommand[]): Promise<number[]> {
    const ids = new Set(commands.map((command) => command.transactionId));
    const batches = await ledger.postedBatches();
    return batches.map((batch) => batch.filter((id) => ids.has(id)).length).filter((size) => size > 0);
  }

  describe("group commit", () => {
    it("posts a lone call at once, in a database transaction of its own", async () => {
      const engine = await ledger.startEngine();
      const [wallet] = await ledger.openWallets(1);
      const commands = [deposit(wallet!, 1n), deposit(wallet!, 2n), withdrawal(wallet!, 3n)];
      for (const command of commands) expect(posted(await engine.postOne(command)).id).to.equal(command.transactionId);
      expect(await batchSizes(commands)).to.deep.equal([1, 1, 1]);
    });

    it("has at most two batches in progress, and posts commands that arrive meanwhile together", async () => {
      const engine = await ledger.startEngine();
      const wallets = await walletsOf(engine, 2, 100n);
      const commands = Array.from({ length: 22 }, () => transfer(wallets[0]!, wallets[1]!, 1n));
      engine.batches.close();
      const answers: Promise<Outcome>[] = [];
      for (const [index, command] of commands.entries()) {
        answers.push(engine.postOne(command));
        if (index < 2) await eventually("a batch", () => engine.batches.waiting === index + 1, WAIT_MS_MAX);
      }
      await nextTurn();
      await nextTurn();
      expect([engine.batches.waiting, engine.engine.depth]).to.deep.equal([2, 20]);
      engine.batches.open();
      for (const answer of answers) posted(await answer);
      const [first, second, ...others] = await batchSizes(commands);
      expect([first, second]).to.deep.equal([1, 1]);
      expect(others.length, "database transactions for the other 20").to.be.lessThan(5);
      expect(engine.engine.depth).to.equal(0);
    });

    it("decides calls that arrive together in the order in which they were sent", async () => {
      const engine = await ledger.startEngine();
      const wallets = await walletsOf(engine, 10, 5n);
      const commands = wallets.slice(1).map((to, index) => transfer(wallets[index]!, to, 5n));
      for (const answer of commands.map((command) => engine.postOne(command))) posted(await answer);
      expect(await postedFor(commands)).to.deep.equal(commands.map((command) => command.transactionId));
    });

    it("a thousand opposing transfers at once net to zero", async () => {
      const engine = await ledger.startEngine();
      const [a, b] = (await ledger.openWallets(2)) as [Uuid, Uuid];
      await engine.post([deposit(a, 500n), deposit(b, 500n)]);
      const commands = Array.from({ length: 1_000 }, (_, n) => (n % 2 === 0 ? transfer(a, b, 1n) : transfer(b, a, 1n)));
      const outcomes = await Promise.all(commands.map((command) => engine.postOne(command)));
      for (const outcome of outcomes) posted(outcome);
      expect(await balances([a, b])).to.deep.equal([500n, 500n]);
      expect((await batchSizes(commands)).length, "database transactions").to.be.lessThan(200);
    });

    it("overlapping batches in opposite order from two engines never deadlock", async () => {
      const engines = [await ledger.startEngine(), await ledger.startEngine()];
      const wallets = await ledger.openWallets(12);
      await engines[0]!.post(wallets.map((wallet) => deposit(wallet, 1_000n)));
      const around = wallets.map((wallet, n) => [wallet, wallets[(n + 1) % wallets.length]!] as const);
      const rounds = Array.from({ length: 15 }, (_, round) =>
        engines.map((engine, index) => {
          const pairs = index === 0 ? around : around.toReversed();
          const commands = pairs.map(([from, to]) => (index === 0 ? transfer(from, to, 1n) : transfer(to, from, 1n)));
          return engine.post(commands, round % 2 === 0 ? "ATOMIC" : "INDEPENDENT");
        }),
      );
      for (const outcomes of await Promise.all(rounds.flat())) for (const outcome of outcomes) posted(outcome);
      expect(await balances(wallets)).to.deep.equal(wallets.map(() => 1_000n));
    });

    it("decides a unit of work that touches more accounts than it caches from all of them", async () => {
      // A ledger of its own: so many wallets would slow down the other tests' integrity check.
      const own = await openEngineLedger();
      try {
        const engine = await own.startEngine({ GREY_POSTING_MEMORY_BYTES: "65536" });
        const wallets = await own.openWallets(1_300);
        const into = wallets.map((wallet) => deposit(wallet, 1n));
        for (const outcome of await engine.post(into, "ATOMIC")) posted(outcome);
        const out = wallets.map((wallet) => withdrawal(wallet, 1n));
        for (const outcome of await engine.post(out, "INDEPENDENT")) posted(outcome);
        await assertIntegrity(own.database);
      } finally {
        await own.close();
      }
    });
  });

  describe("accounts that another engine has changed", () => {
    interface Change {
      readonly title: string;
      /** The commands that the engine posts first, so that it caches the wallets. */
      readonly first: (a: Uuid, b: Uuid) => readonly MovementCommand[];
      readonly change: (other: TestEngine, a: Uuid, b: Uuid) => Promise<unknown>;
      /** The outcome of a transfer of 50 from a to b. */
      readonly expected: "POSTED" | Failure["reason"];
    }

    const changes: readonly Change[] = [
      {
        title: "money spent through another engine cannot be spent again",
        first: (a) => [deposit(a, 100n)],
        change: (other, a, b) => other.postOne(transfer(a, b, 60n)),
        expected: "INSUFFICIENT_FUNDS",
      },
      {
        title: "money received through another engine can be spent",
        first: (a, b) => [transfer(a, b, 1n)],
        change: (other, a) => other.postOne(deposit(a, 50n)),
        expected: "POSTED",
      },
      {
        title: "a frozen wallet rejects the transfer",
        first: (a) => [deposit(a, 100n)],
        change: (_, a) => ledger.changeAccount(a, { state: ACCOUNT_STATE.FROZEN }),
        expected: "WALLET_FROZEN",
      },
      {
        title: "a closed receiver rejects the transfer",
        first: (a, b) => [deposit(a, 100n), transfer(a, b, 1n)],
        change: (_, _a, b) => ledger.changeAccount(b, { state: ACCOUNT_STATE.CLOSED }),
        expected: "WALLET_CLOSED",
      },
      {
        title: "a new limit applies",
        first: (a, b) => [deposit(a, 100n), transfer(a, b, 1n)],
        change: (_, _a, b) => ledger.changeAccount(b, { max_balance: 10n }),
        expected: "MAX_BALANCE_EXCEEDED",
      },
      {
        title: "a new overdraft can be used",
        first: (a, b) => [transfer(a, b, 50n)],
        change: (_, a) => ledger.changeAccount(a, { min_balance: -50n }),
        expected: "POSTED",
      },
    ];

    for (const { title, first, change, expected } of changes) {
      it(title, async () => {
        const [engine, other] = [await ledger.startEngine(), await ledger.startEngine()];
        const [a, b] = (await ledger.openWallets(2)) as [Uuid, Uuid];
        await engine.post(first(a, b));
        await change(other, a, b);
        const outcome = await engine.postOne(transfer(a, b, 50n));
        expect(stateOf(outcome)).to.equal(expected);
        // The next transfer is decided from the current state.
        expect(stateOf(await engine.postOne(transfer(a, b, 50n)))).to.equal(
          expected === "POSTED" ? "INSUFFICIENT_FUNDS" : expected,
        );
      });
    }

    it("an unfrozen wallet is no longer rejected", async () => {
      const engine = await ledger.startEngine();
      const [a, b] = (await walletsOf(engine, 2, 100n)) as [Uuid, Uuid];
      await ledger.changeAccount(a, { state: ACCOUNT_STATE.FROZEN });
      expect(stateOf(await engine.postOne(transfer(a, b, 50n)))).to.equal("WALLET_FROZEN");
      await ledger.changeAccount(a, { state: ACCOUNT_STATE.OPEN });
      expect(stateOf(await engine.postOne(transfer(a, b, 50n)))).to.equal("POSTED");
    });

    it("a wallet opened after it was not found is found", async () => {
      const engine = await ledger.startEngine();
      const id = newId();
      expect(stateOf(await engine.postOne(deposit(id, 1n)))).to.equal("WALLET_NOT_FOUND");
      await insertWallet(ledger.admin, { id });
      expect(stateOf(await engine.postOne(deposit(id, 1n)))).to.equal("POSTED");
    });

    it("calls of one sender are decided in order despite conflicts", async () => {
      const engine = await ledger.startEngine();
      for (let round = 0; round < 4; round += 1) {
        const wallets = await walletsOf(engine, 13, 7n);
        // Every account is cached, and every third one changes.
        for (const wallet of wallets.slice(1)) await engine.postOne(withdrawal(wallet, 1n));
        for (let n = round % 3; n < wallets.length; n += 3) {
          await ledger.changeAccount(wallets[n]!, { state: ACCOUNT_STATE.FROZEN });
          await ledger.changeAccount(wallets[n]!, { state: ACCOUNT_STATE.OPEN });
        }
        // Each transfer depends on the one before it.
        const commands = wallets.slice(1).map((to, index) => transfer(wallets[index]!, to, 7n));
        const answers: Promise<Outcome>[] = [];
        for (const command of commands) {
          answers.push(engine.postOne(command));
          await nextTurn();
        }
        for (const outcome of await Promise.all(answers)) posted(outcome);
        expect(await postedFor(commands)).to.deep.equal(commands.map((command) => command.transactionId));
      }
    });

    it("what a failover has lost is forgotten, also when others have posted since", async () => {
      const own = await openEngineLedger();
      try {
        const [engine, other] = [await own.startEngine(), await own.startEngine()];
        const [a] = (await own.openWallets(1)) as [Uuid];
        await engine.postOne(deposit(a, 100n));
        await other.postOne(deposit(a, 1n));
        const { size, revision } = await readHead(own.admin);
        posted(await engine.postOne(withdrawal(a, 101n)));
        await own.admin.query(`
          DELETE FROM requests WHERE transaction_id IN (SELECT id FROM transactions WHERE journal_index >= ${size});
          DELETE FROM transactions WHERE journal_index >= ${size}; DELETE FROM entries WHERE journal_index >= ${size};
          DELETE FROM journal_batches WHERE first_index >= ${size};
          UPDATE journal_head SET size = ${size}, revision = ${revision}`);
        for (let n = 0; n < 3; n += 1) posted(await other.postOne(deposit(a, 1n)));
        posted(await engine.postOne(withdrawal(a, 104n)));
        await assertIntegrity(own.database);
      } finally {
        await own.close();
      }
    });

    it("a failed batch is decided again before the next one, which depends on it", async () => {
      const engine = await ledger.startEngine();
      const [a, b, c] = (await ledger.openWallets(3)) as [Uuid, Uuid, Uuid];
      await engine.post([deposit(a, 102n), transfer(a, b, 1n), transfer(a, c, 1n)]);
      await ledger.changeAccount(a, { state: ACCOUNT_STATE.FROZEN });
      await ledger.changeAccount(a, { state: ACCOUNT_STATE.OPEN });
      const commands = [transfer(a, b, 100n), transfer(b, c, 100n)];
      const endedBefore = engine.batches.ended;
      engine.batches.close();
      const answers: Promise<Outcome>[] = [];
      for (const [index, command] of commands.entries()) {
        answers.push(engine.postOne(command));
        await eventually("a batch", () => engine.batches.waiting === index + 1, WAIT_MS_MAX);
      }
      engine.batches.let(2);
      await eventually("two conflicts", () => engine.batches.ended === endedBefore + 2, WAIT_MS_MAX);
      await eventually("the first batch", () => engine.batches.waiting > 0, WAIT_MS_MAX);
      await nextTurn();
      await nextTurn();
      expect(engine.batches.waiting, "batches that are decided again").to.equal(1);
      engine.batches.open();
      for (const answer of answers) posted(await answer);
      expect(await postedFor(commands)).to.deep.equal(commands.map((command) => command.transactionId));
    });

    it("a batch that depends on a failed one is not written, even if another writer has changed the same account meanwhile", async () => {
      const engine = await ledger.startEngine();
      const [a, b, c] = (await ledger.openWallets(3)) as [Uuid, Uuid, Uuid];
      await engine.post([deposit(a, 100n), transfer(a, b, 1n), transfer(a, c, 1n)]);
      await ledger.changeAccount(a, { state: ACCOUNT_STATE.FROZEN });
      engine.batches.close();
      // Decided from stale accounts: b receives 98, and transfers them.
      const first = engine.postOne(transfer(a, b, 98n));
      await eventually("the first batch", () => engine.batches.waiting === 1, WAIT_MS_MAX);
      const second = engine.postOne(transfer(b, c, 98n));
      await eventually("the second batch", () => engine.batches.waiting === 2, WAIT_MS_MAX);
      engine.batches.let(1);
      await eventually("the first batch again", () => engine.batches.waiting === 2, WAIT_MS_MAX);
      engine.batches.open();
      expect(stateOf(await first)).to.equal("WALLET_FROZEN");
      expect(stateOf(await second)).to.equal("INSUFFICIENT_FUNDS");
      expect(await balances([a, b, c])).to.deep.equal([98n, 1n, 1n]);
    });

    it("a batch whose accounts change while it reads others is decided from all of them", async () => {
      const engine = await ledger.startEngine();
      const [a, b] = (await ledger.openWallets(2)) as [Uuid, Uuid];
      const [unknown] = await ledger.openWallets(1);
      await engine.post([deposit(a, 10n), deposit(b, 10n)]);
      await ledger.changeAccount(a, { state: ACCOUNT_STATE.FROZEN });
      engine.batches.close();
      const first = engine.postOne(transfer(a, b, 1n));
      await eventually("the first batch", () => engine.batches.waiting === 1, WAIT_MS_MAX);
      engine.reads.close();
      const second = engine.postOne(transfer(b, unknown!, 1n));
      await eventually("the second batch's read", () => engine.reads.waiting === 1, WAIT_MS_MAX);
      engine.batches.open();
      expect(stateOf(await first)).to.equal("WALLET_FROZEN");
      engine.reads.open();
      expect(stateOf(await second)).to.equal("POSTED");
    });
  });

  describe("repeats of a request", () => {
    for (const mode of ["ATOMIC", "INDEPENDENT"] as const) {
      it(`while it is in progress return its transaction, marked replayed (${mode})`, async () => {
        const engine = await ledger.startEngine();
        const wallets = await walletsOf(engine, 2, 10n);
        const command = transfer(wallets[0]!, wallets[1]!, 4n);
        engine.batches.close();
        const first = engine.postOne(command);
        await eventually("the batch", () => engine.batches.waiting === 1, WAIT_MS_MAX);
        const other = transfer(wallets[0]!, wallets[1]!, 3n);
        const copies = [engine.postOne(copyOf(command)), engine.post([other, copyOf(command)], mode)];
        engine.batches.open();
        const original = posted(await first);
        expect(await first).to.include({ replayed: false });
        expect(await copies[0]).to.deep.equal({ transaction: original, replayed: true });
        const [ofOther, ofCopy] = (await copies[1]) as [Outcome, Outcome];
        posted(ofOther);
        expect(ofCopy).to.deep.equal({ transaction: original, replayed: true });
        expect(await postedFor([command])).to.deep.equal([original.id]);
      });
    }

    it("completed recently or long ago return its transaction, also from another engine", async () => {
      const [engine, other] = [await ledger.startEngine(), await ledger.startEngine()];
      const wallets = await walletsOf(engine, 2, 10n);
      for (const command of [transfer(wallets[0]!, wallets[1]!, 4n), transfer(wallets[0]!, wallets[1]!, 400n)]) {
        const { transaction } = (await engine.postOne(command)) as { transaction: LedgerTransaction };
        expect(await engine.postOne(copyOf(command))).to.deep.equal({ transaction, replayed: true });
        for (let n = 0; n < 3; n += 1) await engine.postOne(transfer(wallets[0]!, wallets[1]!, 1n));
        expect(await engine.postOne(copyOf(command))).to.deep.equal({ transaction, replayed: true });
        expect(await other.postOne(copyOf(command))).to.deep.equal({ transaction, replayed: true });
        expect(await postedFor([command])).to.deep.equal([transaction.id]);
      }
    });

    it("sent fifty times concurrently through two engines post one transaction", async () => {
      const engines = [await ledger.startEngine(), await ledger.startEngine()];
      const wallets = await walletsOf(engines[0]!, 2, 10n);
      const command = transfer(wallets[0]!, wallets[1]!, 4n);
      const outcomes = await Promise.all(
        Array.from({ length: 50 }, (_, n) => engines[n % 2]!.postOne(copyOf(command))),
      );
      expect(new Set(outcomes.map((outcome) => posted(outcome).id)).size).to.equal(1);
      expect(outcomes.filter((outcome) => "replayed" in outcome && !outcome.replayed)).to.have.length(1);
      expect(await balances(wallets)).to.deep.equal([6n, 4n]);
    });

    it("with another amount are refused during and after it, and the refusal names the field", async () => {
      const engine = await ledger.startEngine();
      const wallets = await walletsOf(engine, 2, 10n);
      const command = transfer(wallets[0]!, wallets[1]!, 4n);
      const reused = {
        failure: { reason: "REQUEST_ID_REUSED", requestId: command.requestId, differs: ["amount.minor_units"] },
      };
      engine.batches.close();
      const first = engine.postOne(command);
      await eventually("the batch", () => engine.batches.waiting === 1, WAIT_MS_MAX);
      const changed = engine.postOne({ ...copyOf(command), amountMinor: 5n });
      engine.batches.open();
      posted(await first);
      expect(await changed).to.deep.equal(reused);
      expect(await engine.postOne({ ...copyOf(command), amountMinor: 5n })).to.deep.equal(reused);
      expect(await balances(wallets)).to.deep.equal([6n, 4n]);
    });

    it("are posted when the one in progress fails", async () => {
      const engine = await ledger.startEngine();
      const wallets = await walletsOf(engine, 2, 10n);
      const command = transfer(wallets[0]!, wallets[1]!, 4n);
      const first = failing(engine.postOne(command, GONE));
      const copy = engine.postOne(copyOf(command));
      expect(reasonOf(await first)).to.equal("CALLER_GONE");
      expect(await copy).to.include({ replayed: false });
      expect(await postedFor([command])).to.have.length(1);
    });
  });

  describe("a command that the database rejects", () => {
    before(() => ledger.admin.query("ALTER TABLE transactions ADD CHECK (description <> 'poison')"));

    it("fails alone: other commands succeed, and it leaves nothing", async () => {
      const engine = await ledger.startEngine();
      const wallets = await walletsOf(engine, 2, 100n);
      const commands = Array.from({ length: 9 }, (_, n) =>
        transfer(
          wallets[0]!,
          wallets[1]!,
          1n,
          n % 4 === 1 ? { data: { ...NO_CALLER_DATA, description: "poison" } } : {},
        ),
      );
      engine.batches.close();
      const settled = Promise.allSettled(
        commands.map(async (command, index) => {
          const outcome = engine.postOne(command);
          if (index < 2) await nextTurn();
          return outcome;
        }),
      );
      await eventually("the batches", () => engine.batches.waiting === 2, WAIT_MS_MAX);
      engine.batches.open();
      for (const [index, one] of (await settled).entries()) {
        if (index % 4 !== 1) expect(one.status, `command ${index}`).to.equal("fulfilled");
        else {
          expect(one.status, `command ${index}`).to.equal("rejected");
          // An unknown error: INTERNAL to the caller.
          expect(sqlState((one as PromiseRejectedResult).reason)).to.equal("23514");
        }
      }
      const sound = commands.filter((_, index) => index % 4 !== 1);
      expect(await postedFor(commands)).to.have.members(sound.map((command) => command.transactionId));
      expect(await balances(wallets)).to.deep.equal([93n, 7n]);
    });

    it("fails its whole unit of work, and no other unit", async () => {
      const engine = await ledger.startEngine();
      const wallets = await walletsOf(engine, 2, 100n);
      const unit = [
        transfer(wallets[0]!, wallets[1]!, 1n),
        transfer(wallets[0]!, wallets[1]!, 1n, { data: { ...NO_CALLER_DATA, description: "poison" } }),
      ];
      const other = transfer(wallets[0]!, wallets[1]!, 1n);
      const [failed, done] = await Promise.all([failing(engine.post(unit)), engine.postOne(other)]);
      expect(sqlState(failed)).to.equal("23514");
      posted(done);
      expect(await postedFor(unit)).to.deep.equal([]);
      expect(await balances(wallets)).to.deep.equal([99n, 1n]);
    });
  });

  describe("the queue", () => {
    it("refuses commands beyond its maximum number at once, and never posts them", async () => {
      const engine = await ledger.startEngine({ GREY_POSTING_QUEUE_MAX: "5" });
      const wallets = await walletsOf(engine, 2, 100n);
      const one = (): MovementCommand => transfer(wallets[0]!, wallets[1]!, 1n);
      engine.batches.close();
      const under = [one(), one()];
      const taken: Promise<Outcome[]>[] = [];
      for (const [index, command] of under.entries()) {
        taken.push(engine.post([command]));
        await eventually("a batch", () => engine.batches.waiting === index + 1, WAIT_MS_MAX);
      }
      taken.push(engine.post([one(), one(), one()]));
      const refused = [one(), one(), one(), one()];
      // Refused at once, since no batch completes meanwhile.
      expect(reasonOf(await failing(engine.post(refused.slice(0, 3))))).to.equal("OVERLOADED");
      taken.push(engine.post([one()]), engine.post([one()]));
      expect(reasonOf(await failing(engine.postOne(refused[3]!)))).to.equal("OVERLOADED");
      expect(engine.engine.depth).to.equal(5);
      engine.batches.open();
      for (const outcomes of await Promise.all(taken)) for (const outcome of outcomes) posted(outcome);
      expect(await postedFor(refused)).to.deep.equal([]);
      expect(await balances(wallets)).to.deep.equal([93n, 7n]);
      // Accepts commands again, also those it refused.
      posted(await engine.postOne(refused[3]!));
    });

    it("refuses commands beyond its maximum size at once, and never posts them", async () => {
      const engine = await ledger.startEngine({ GREY_POSTING_QUEUE_BYTES_MAX: "65536" });
      const wallets = await walletsOf(engine, 2, 100n);
      // The contract's maximum: 32 pairs of 512 characters, of two bytes each in memory.
      const metadata = Object.fromEntries(Array.from({ length: 32 }, (_, n) => [`key-${n}`, "x".repeat(512)]));
      const large = (): MovementCommand =>
        transfer(wallets[0]!, wallets[1]!, 1n, { data: { ...NO_CALLER_DATA, metadata } });
      engine.batches.close();
      const taken: Promise<Outcome>[] = [];
      for (const waiting of [1, 2]) {
        taken.push(engine.postOne(large()));
        await eventually("a batch", () => engine.batches.waiting === waiting, WAIT_MS_MAX);
      }
      taken.push(engine.postOne(large()));
      const refused = large();
      expect(reasonOf(await failing(engine.postOne(refused)))).to.equal("OVERLOADED");
      taken.push(engine.postOne(transfer(wallets[0]!, wallets[1]!, 1n)));
      engine.batches.open();
      for (const outcome of await Promise.all(taken)) posted(outcome);
      expect(await postedFor([refused])).to.deep.equal([]);
      posted(await engine.postOne(refused));
    });

    for (const bound of ["GREY_POSTING_QUEUE_MAX", "GREY_POSTING_QUEUE_BYTES_MAX"]) {
      it(`accepts a unit of work larger than ${bound} when it is empty, and then nothing more`, async () => {
        const engine = await ledger.startEngine({ [bound]: bound.includes("BYTES") ? "65536" : "5" });
        const wallets = await walletsOf(engine, 2, 1_000n);
        const many = (): MovementCommand[] =>
          Array.from({ length: 200 }, () =>
            transfer(wallets[0]!, wallets[1]!, 1n, { data: { ...NO_CALLER_DATA, metadata: { a: "x" } } }),
          );
        engine.batches.close();
        const taken = [engine.post(many())];
        await eventually("a batch", () => engine.batches.waiting === 1, WAIT_MS_MAX);
        taken.push(engine.post(many()));
        await eventually("a batch", () => engine.batches.waiting === 2, WAIT_MS_MAX);
        // Two batches are in progress, and the queue is empty.
        taken.push(engine.post(many(), "ATOMIC"));
        const [refused, alone] = [many(), transfer(wallets[0]!, wallets[1]!, 1n)];
        expect(reasonOf(await failing(engine.post(refused)))).to.equal("OVERLOADED");
        expect(reasonOf(await failing(engine.postOne(alone)))).to.equal("OVERLOADED");
        engine.batches.open();
        for (const outcomes of await Promise.all(taken)) for (const outcome of outcomes) posted(outcome);
        expect(await postedFor([...refused, alone])).to.deep.equal([]);
        expect(await balances(wallets)).to.deep.equal([400n, 600n]);
        for (const outcome of await engine.post(refused)) posted(outcome);
      });
    }

    it("drops calls whose caller has left before they are sent to the database, and posts those whose caller leaves later", async () => {
      const engine = await ledger.startEngine();
      const wallets = await walletsOf(engine, 2, 100n);
      const callers = Array.from({ length: 6 }, createLeavingCaller);
      const commands = callers.map(() => transfer(wallets[0]!, wallets[1]!, 1n));
      engine.batches.close();
      const answers = [];
      for (const [index, command] of commands.entries()) {
        const answer = engine.postOne(command, callers[index]);
        answers.push(answer.catch(reasonOf));
        if (index < 2) await eventually("a batch", () => engine.batches.waiting === index + 1, WAIT_MS_MAX);
      }
      // The first two are in progress, the others are queued.
      for (const index of [0, 2, 4]) callers[index]!.leave();
      engine.batches.open();
      const results = (await Promise.all(answers)).map((one) => (typeof one === "string" ? one : posted(one).id));
      expect(results).to.deep.equal(
        commands.map(({ transactionId }, index) => (index === 2 || index === 4 ? "CALLER_GONE" : transactionId)),
      );
      expect(await postedFor(commands)).to.deep.equal(results.filter((one) => one !== "CALLER_GONE"));
    });
  });

  describe("a broken posting connection", () => {
    let lock: RowLock | undefined;
    let proxy: FaultProxy;
    before(async () => {
      proxy = await startFaultProxy(ledger.url);
    });
    afterEach(async () => {
      await lock?.release();
      lock = undefined;
    });
    after(() => proxy.stop());

    async function sessions(): Promise<number[]> {
      const { rows } = await ledger.admin.query<{ pid: number }>(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'grey-posting'",
      );
      return rows.map((row) => row.pid);
    }

    async function terminate(): Promise<void> {
      for (const pid of await sessions()) await ledger.admin.query("SELECT pg_terminate_backend($1)", [pid]);
    }

    it("during writes fails no call: another connection writes the batches", async () => {
      const engine = await ledger.startEngine();
      const wallets = await walletsOf(engine, 3, 100n);
      lock = await lockLedger(ledger.url);
      const commands = [transfer(wallets[0]!, wallets[1]!, 9n), transfer(wallets[1]!, wallets[2]!, 9n)];
      const first = engine.postOne(commands[0]!);
      await waitsForLock(ledger.admin, "grey-posting");
      const second = engine.postOne(commands[1]!);
      await terminate();
      await lock.release();
      lock = undefined;
      posted(await first);
      posted(await second);
      expect(await postedFor(commands)).to.deep.equal(commands.map((command) => command.transactionId));
    });

    it("repeatedly under load fails no call, and leaves one session", async () => {
      const engine = await ledger.startEngine();
      const wallets = await ledger.openWallets(5);
      await engine.post(wallets.map((wallet) => deposit(wallet, 1_000n)));
      let left = 160;
      let breaks = 0;
      const sender = async (n: number): Promise<void> => {
        while (left > 0) {
          left -= 1;
          posted(await engine.postOne(transfer(wallets[n]!, wallets[(n + 1 + (left % 4)) % 5]!, 1n)));
        }
      };
      const breaker = async (): Promise<void> => {
        while (left > 0) {
          breaks += (await sessions()).length;
          await terminate();
        }
      };
      await Promise.all([...wallets.keys()].map(sender).concat(breaker()));
      expect(breaks, "connections that were broken").to.be.greaterThan(3);
      await engine.postOne(transfer(wallets[0]!, wallets[1]!, 1n));
      await eventually("one session", async () => (await sessions()).length === 1, WAIT_MS_MAX);
    });

    for (const [effect, title] of [
      ["LOSE_REPLY", "after the commit, before its reply"],
      ["RESET_BEFORE", "before the batch arrives"],
    ] as const) {
      it(`${title}, posts each transaction once and reports its outcome`, async () => {
        const engine = await ledger.startEngine({}, proxy.url);
        const wallets = await walletsOf(engine, 3, 100n);
        const trap = proxy.trap(({ sql }) => sql.includes("post_batch"), effect);
        engine.batches.close();
        const commands = [
          transfer(wallets[0]!, wallets[1]!, 30n),
          transfer(wallets[1]!, wallets[2]!, 20n),
          transfer(wallets[2]!, wallets[0]!, 400n),
        ];
        const answers = [];
        for (const command of commands) {
          answers.push(engine.postOne(command));
          await nextTurn();
        }
        await eventually("the batches", () => engine.batches.waiting === 2, WAIT_MS_MAX);
        engine.batches.open();
        const states = (await Promise.all(answers)).map(stateOf);
        await trap.sprung;
        expect(states).to.deep.equal(["POSTED", "POSTED", "INSUFFICIENT_FUNDS"]);
        expect(await postedFor(commands)).to.deep.equal(commands.map((command) => command.transactionId));
        expect(await balances(wallets)).to.deep.equal([70n, 10n, 20n]);
      });
    }

    it("whose batch arrives late posts it once", async () => {
      const engine = await ledger.startEngine({}, proxy.url);
      const wallets = await walletsOf(engine, 2, 100n);
      const trap = proxy.trap(({ sql }) => sql.includes("post_batch"), "ZOMBIE");
      const command = transfer(wallets[0]!, wallets[1]!, 30n);
      const unknownWallet = deposit(newId(), 1n);
      const answers = await Promise.all([engine.postOne(command), engine.postOne(unknownWallet)]);
      await trap.sprung;
      expect(answers.map(stateOf)).to.deep.equal(["POSTED", "WALLET_NOT_FOUND"]);
      await trap.release();
      expect(await postedFor([command, unknownWallet])).to.have.length(2);
      expect(await balances(wallets)).to.deep.equal([70n, 30n]);
    });

    it("after a commit, without a way to reconnect, reports an unknown outcome; a retry reports the outcome", async () => {
      const engine = await ledger.startEngine({}, proxy.url);
      const wallets = await walletsOf(engine, 2, 100n);
      const trap = proxy.trap(({ sql }) => sql.includes("post_batch"), "LOSE_REPLY");
      engine.locked.close();
      const command = transfer(wallets[0]!, wallets[1]!, 30n);
      const failure = failing(engine.postOne(command));
      await trap.sprung;
      await eventually("the way to look it up", () => engine.locked.waiting === 1, WAIT_MS_MAX);
      await proxy.refuse();
      engine.locked.open();
      expect(reasonOf(await failure)).to.equal("OUTCOME_UNKNOWN");
      expect(await postedFor([command])).to.deep.equal([command.transactionId]);
      await proxy.accept();
      expect(await engine.postOne(copyOf(command))).to.include({ replayed: true });
      expect(await balances(wallets)).to.deep.equal([70n, 30n]);
    });

    it("without a way to reconnect posts nothing and reports it; later retries post once", async () => {
      const engine = await ledger.startEngine({}, proxy.url);
      const wallets = await walletsOf(engine, 2, 100n);
      await proxy.refuse();
      const commands = Array.from({ length: 5 }, () => transfer(wallets[0]!, wallets[1]!, 1n));
      const failures = await Promise.all(commands.map((command) => failing(engine.postOne(command))));
      for (const failure of failures)
        expect(reasonOf(failure)).to.be.oneOf(["DATABASE_UNAVAILABLE", "OUTCOME_UNKNOWN"]);
      expect(await postedFor(commands)).to.deep.equal([]);
      await proxy.accept();
      for (const outcome of await Promise.all(commands.map((command) => engine.postOne(command)))) posted(outcome);
      expect(await balances(wallets)).to.deep.equal([95n, 5n]);
    });
  });

  describe("telemetry", () => {
    let reader: InstanceType<typeof sdk.PeriodicExportingMetricReader>;
    let exporter: InstanceType<typeof sdk.InMemoryMetricExporter>;
    let provider: InstanceType<typeof sdk.MeterProvider>;

    before(() => {
      exporter = new sdk.InMemoryMetricExporter(sdk.AggregationTemporality.CUMULATIVE);
      // Collected on demand; the interval never elapses.
      reader = new sdk.PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 });
      provider = new sdk.MeterProvider({ readers: [reader] });
      metrics.setGlobalMeterProvider(provider);
    });
    after(async () => {
      metrics.disable();
      await provider.shutdown();
    });

    /** Collects the data points of each instrument, by name. */
    async function read(): Promise<Record<string, readonly { attributes: object; value: unknown }[]>> {
      exporter.reset();
      await provider.forceFlush();
      const all = exporter.getMetrics().flatMap((resource) => resource.scopeMetrics.flatMap((scope) => scope.metrics));
      return Object.fromEntries(all.map(({ descriptor, dataPoints }) => [descriptor.name, dataPoints]));
    }

    it("reports batch sizes, waits, commits, conflicts, rejections by reason and the depth of the queue", async () => {
      const engine = await ledger.startEngine();
      const wallets = await walletsOf(engine, 2, 100n);
      const tooMuch = transfer(wallets[0]!, wallets[1]!, 1_000n);
      await engine.postOne(tooMuch);
      await engine.post([transfer(wallets[0]!, wallets[1]!, 1n), transfer(wallets[0]!, newId(), 1n)]);
      await ledger.changeAccount(wallets[0]!, { state: ACCOUNT_STATE.FROZEN });
      await engine.postOne(transfer(wallets[0]!, wallets[1]!, 1n));
      // The batch after a repeated request takes its turn too.
      await engine.postOne(copyOf(tooMuch));
      await engine.postOne(deposit(wallets[1]!, 1n));
      engine.batches.close();
      const waiting: Promise<Outcome>[] = [];
      for (const under of [1, 2]) {
        waiting.push(engine.postOne(withdrawal(wallets[1]!, 1n)));
        await eventually("a batch", () => engine.batches.waiting === under, WAIT_MS_MAX);
      }
      waiting.push(engine.postOne(withdrawal(wallets[1]!, 1n)), engine.postOne(withdrawal(wallets[1]!, 1n)));

      const metrics = await read();
      const shaped = (name: string) =>
        metrics[name]!.map(({ attributes, value }) => [attributes, (value as { count: number }).count]);
      // The deposit, the rejection, the pair and the frozen wallet, whose batch met a conflict; the repetition and the deposit after it.
      for (const name of ["grey.posting.batch.size", "grey.posting.wait", "grey.posting.commit"]) {
        expect(shaped(name), name).to.have.deep.members([
          [{ way: "memory" }, 4],
          [{ way: "turn" }, 2],
        ]);
      }
      const sizes = metrics["grey.posting.batch.size"]!.map(({ value }) => (value as { sum: number }).sum);
      expect(sizes).to.have.members([5, 2]);
      expect(metrics["grey.posting.conflicts"]!.map(({ value }) => value)).to.deep.equal([2]);
      expect(
        metrics["grey.posting.rejections"]!.map(({ attributes, value }) => [attributes, value]),
      ).to.have.deep.members([
        [{ reason: "INSUFFICIENT_FUNDS" }, 1],
        [{ reason: "WALLET_NOT_FOUND" }, 1],
        [{ reason: "WALLET_FROZEN" }, 1],
      ]);
      expect(metrics["grey.posting.queue"]!.map(({ value }) => value)).to.deep.equal([2]);

      engine.batches.open();
      await Promise.all(waiting);
      expect((await read())["grey.posting.queue"]!.map(({ value }) => value)).to.deep.equal([0]);
    });
  });
});

/** Returns the transaction of an outcome; throws unless it was posted. */
function posted(outcome: Outcome): LedgerTransaction {
  expect(stateOf(outcome)).to.equal("POSTED");
  return (outcome as { transaction: LedgerTransaction }).transaction;
}

/** Returns POSTED, or the reason of the refusal. */
function stateOf(outcome: Outcome): string {
  return "failure" in outcome ? outcome.failure.reason : (outcome.transaction.failure?.reason ?? "POSTED");
}

/** Returns the same request with another transaction id. */
function copyOf(command: MovementCommand): MovementCommand {
  return { ...command, transactionId: newId() };
}

/** Returns the error with which the promise must reject. */
function failing(call: Promise<unknown>): Promise<unknown> {
  return call.then(
    () => expect.fail("the call succeeded, and should have failed"),
    (error: unknown) => error,
  );
}

function reasonOf(error: unknown): Failure["reason"] {
  if (error instanceof FailureError) return error.failure.reason;
  throw error;
}

interface LeavingCaller extends CallerContext {
  leave(): void;
}

/** A caller who may leave. */
function createLeavingCaller(): LeavingCaller {
  let current: CallerContext = PATIENT;
  return {
    assertWaiting: () => current.assertWaiting(),
    leave: () => {
      current = GONE;
    },
  };
}

/** A caller who has left. */
const GONE: CallerContext = {
  assertWaiting: () => {
    throw new FailureError({ reason: "CALLER_GONE" });
  },
};
