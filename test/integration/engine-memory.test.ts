import { setTimeout as pause } from "node:timers/promises";
import { expect } from "chai";
import * as fc from "fast-check";
import { AMOUNT_MAX } from "../../src/base/money.js";
import { newId, systemAccountId, type Uuid } from "../../src/base/ids.js";
import type { Micros } from "../../src/base/time.js";
import { readClock } from "../../src/db/clock.js";
import { readAccounts } from "../../src/ledger/account/store.js";
import type { Account } from "../../src/ledger/account/account.js";
import { readHolds } from "../../src/ledger/hold/rows.js";
import { encodeVelocity } from "../../src/ledger/account/limits.js";
import type { Command } from "../../src/ledger/command/command.js";
import { oldestSliceAt, type VelocityTerms } from "../../src/ledger/account/velocity.js";
import type { Outcome } from "../../src/ledger/post/outcome.js";
import { openEngineBooks, WAIT_MS_MAX, type EngineBooks, type TestEngine } from "../support/engine.js";
import { startFaultProxy, type FaultProxy } from "../support/fault-proxy.js";
import { capture, extend, hold, hours, increase, release } from "../support/holds.js";
import { assertBooksAddUp, deposit, PATIENT, transfer, withdrawal } from "../support/ledger.js";
import { eventually } from "../support/process.js";

/** Slices of 20 ms, which a batch on its way outlasts. */
const WINDOW_MICROS = 2_000_000n;
const SLICE_MS = 20;
const LATENCY_MS = 30;

/** What the engine remembers leads to nothing false, because the database checks revisions; but only if it is also true. */
describe("what a posting engine remembers", function () {
  this.timeout(180_000);

  let books: EngineBooks;
  let proxy: FaultProxy;
  let wallets: readonly Uuid[];
  const holdIds: Uuid[] = [];

  before(async () => {
    books = await openEngineBooks();
    proxy = await startFaultProxy(books.url);
    wallets = await books.openWallets(6, { minBalance: -1_000_000n });
    const limit = (name: string, over: Partial<VelocityTerms> = {}): VelocityTerms => ({
      name,
      direction: "OUTGOING",
      kinds: [],
      windowMicros: WINDOW_MICROS,
      maxAmountMinor: null,
      maxCount: null,
      since: 0n,
      ...over,
    });
    // Of some wallets hardly anything is refused, of others much.
    for (const [index, id] of wallets.entries()) {
      if (index === 0) continue;
      const terms = [
        limit("out", { maxAmountMinor: index % 2 === 0 ? 60n : AMOUNT_MAX }),
        limit("in", { direction: "INCOMING", maxCount: index % 3 === 0 ? 12n : null }),
        limit("holds", { kinds: ["HOLD"], windowMicros: 60_000_000n }),
      ];
      await books.admin.query("UPDATE accounts SET velocity_limits = $2 WHERE id = $1", [id, encodeVelocity(terms)]);
    }
  });
  afterEach(async () => {
    await books.stopEngines();
  });
  after(async () => {
    await assertBooksAddUp(books.database);
    await proxy.stop();
    await books.close();
  });

  /** The account with what a window can still reach at this time. */
  function live(book: Account, now: Micros): Account {
    const velocity = book.velocity?.map((limit) => ({
      ...limit,
      slices: limit.slices.filter(({ slice }) => slice >= oldestSliceAt(limit, now)),
    }));
    return { ...book, velocity: velocity ?? null };
  }

  /**
   * Compares all that is remembered of the state that the database is in.
   * @param isAlone whether nobody else changes the books, so that all that is remembered is of this state
   * @returns how many accounts and holds those are
   */
  async function assertTrue({ memory }: TestEngine, isAlone: boolean): Promise<number> {
    let compared = 0;
    const told = memory.clock.now();
    const now = await readClock(books.admin);
    if (told !== undefined) expect(told <= now, `the clock is ${told - now} us ahead`).to.equal(true);
    const accounts = await readAccounts(books.admin, [...wallets, systemAccountId("USD", "cash")]);
    for (const { account: book, revision } of accounts) {
      const remembered = memory.accounts.get(book.id);
      if (remembered === undefined || (!isAlone && remembered.revision !== revision)) continue;
      expect(remembered.revision).to.equal(revision);
      expect(live(remembered.account, now)).to.deep.equal(live(book, now));
      compared += 1;
    }
    for (const { hold: stored, revision } of await readHolds(books.admin, holdIds)) {
      const remembered = memory.holds.get(stored.id);
      if (remembered === undefined || (!isAlone && remembered.revision !== revision)) continue;
      expect(remembered.revision).to.equal(revision);
      expect(remembered.hold).to.deep.equal(stored);
      compared += 1;
    }
    return compared;
  }

  const wallet = fc.nat({ max: 5 });
  const step = fc.record({
    what: fc.constantFrom("transfer", "transfer", "deposit", "withdraw", "hold", "heldFor", "capture", "part"),
    other: fc.constantFrom("increase", "extend", "release", "extendTo"),
    isOther: fc.boolean(),
    from: wallet,
    by: fc.integer({ min: 1, max: 5 }),
    amountMinor: fc.bigInt({ min: 1n, max: 20n }),
  });
  type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;
  const round = fc.record({
    works: fc.array(fc.array(step, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 6 }),
    /** Batches are held up on their way until the slice of their decision has passed. */
    isHeldUp: fc.boolean(),
    /** Nobody asks for so long. */
    pauseMs: fc.constantFrom(0, 0, SLICE_MS / 2, 2 * SLICE_MS),
  });
  type Round = typeof round extends fc.Arbitrary<infer T> ? T : never;

  function commandOf({ what, other, isOther, from, by, amountMinor }: Step): Command {
    const [a, b] = [wallets[from]!, wallets[(from + by) % wallets.length]!];
    const holdId = holdIds[Number(amountMinor) % Math.max(1, holdIds.length)];
    if (isOther && holdId !== undefined) {
      switch (other) {
        case "increase":
          return increase(holdId, 1n);
        case "extend":
          return extend(holdId, hours(amountMinor));
        case "extendTo":
          return extend(holdId, { at: BigInt(Date.now()) * 1_000n + (10n + amountMinor) * 3_600_000_000n });
        case "release":
          return release(holdId);
      }
    }
    switch (what) {
      case "deposit":
        return deposit(a, amountMinor);
      case "withdraw":
        return withdrawal(a, amountMinor);
      case "hold":
      case "heldFor": {
        const at = BigInt(Date.now()) * 1_000n + 7_200_000_000n;
        const command = hold(a, amountMinor, {
          toWalletId: what === "heldFor" ? b : null,
          ...(by % 2 === 0 && { expiry: { at } }),
        });
        holdIds.push(command.transactionId);
        return command;
      }
      case "capture":
      case "part":
        if (holdId !== undefined) return capture(holdId, what === "part" ? 1n : null);
        return transfer(a, b, amountMinor);
      default:
        return transfer(a, b, amountMinor);
    }
  }

  async function play(engine: TestEngine, { works, isHeldUp, pauseMs }: Round): Promise<void> {
    if (isHeldUp) engine.batches.close();
    const answers: Promise<Outcome[]>[] = [];
    for (const steps of works) {
      answers.push(engine.engine.post({ commands: steps.map(commandOf), mode: "INDEPENDENT" }, PATIENT));
      // In a batch of its own, as far as batches go out.
      if (pauseMs > 0) await pause(pauseMs);
    }
    const all = Promise.all(answers);
    if (isHeldUp) {
      const since = performance.now();
      await eventually("the next slice", () => performance.now() - since > SLICE_MS, WAIT_MS_MAX);
      engine.batches.open();
    }
    await all;
  }

  it("is what the database says, however long batches were on their way", async () => {
    proxy.setLatencyMs(LATENCY_MS);
    const engine = await books.startEngine({}, proxy.url);
    let compared = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(round, { minLength: 1, maxLength: 4 }), async (rounds) => {
        for (const one of rounds) {
          await play(engine, one);
          compared += await assertTrue(engine, true);
        }
      }),
      { numRuns: 25 },
    );
    expect(compared).to.be.greaterThan(50);
  });

  it("is what the database says wherever it is of the same revision, beside another engine", async () => {
    proxy.setLatencyMs(0);
    const engines = [await books.startEngine(), await books.startEngine({}, proxy.url)];
    let compared = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(round, round), { minLength: 1, maxLength: 3 }), async (rounds) => {
        for (const both of rounds) {
          await Promise.all(both.map((one, index) => play(engines[index]!, one)));
          for (const engine of engines) compared += await assertTrue(engine, false);
        }
      }),
      { numRuns: 15 },
    );
    expect(compared).to.be.greaterThan(10);
  });

  it("refuses nothing that a limit allows, though each batch is recorded later than it was decided", async () => {
    proxy.setLatencyMs(2 * LATENCY_MS);
    const engine = await books.startEngine({}, proxy.url);
    const id = newId();
    const [spender] = await books.openWallets(1, { minBalance: -1_000_000n });
    const terms = [{ name: id.slice(0, 8), direction: "OUTGOING", kinds: [], windowMicros: WINDOW_MICROS, since: 0n }];
    const limits = terms.map((one) => ({ ...one, maxAmountMinor: 30n, maxCount: null }) as VelocityTerms);
    const json = encodeVelocity(limits);
    await books.admin.query("UPDATE accounts SET velocity_limits = $2 WHERE id = $1", [spender, json]);
    // So far away, no more than 17 fit into a window, and at last twice as many were posted as it allows.
    for (let count = 0; count < 60; count += 1) {
      const [outcome] = await engine.engine.post(
        { commands: [withdrawal(spender!, 1n)], mode: "INDEPENDENT" },
        PATIENT,
      );
      expect(outcome).to.have.nested.property("transaction.failure", null);
    }
  });
});
