import { setTimeout as pause } from "node:timers/promises";
import { expect } from "chai";
import * as fc from "fast-check";
import { AMOUNT_MAX } from "../../src/base/money.js";
import { newId, systemAccountId, type Uuid } from "../../src/base/ids.js";
import type { Micros } from "../../src/base/time.js";
import { readClock } from "../../src/db/clock.js";
import { readHead } from "../../src/journal/head.js";
import { readAccounts } from "../../src/ledger/account/store.js";
import type { Account } from "../../src/ledger/account/account.js";
import { readHolds } from "../../src/ledger/hold/store.js";
import { encodeVelocity } from "../../src/ledger/account/limits.js";
import type { Command } from "../../src/ledger/command/command.js";
import { oldestSliceAt, type VelocityTerms } from "../../src/ledger/account/velocity.js";
import type { Outcome } from "../../src/ledger/post/outcome.js";
import { openEngineLedger, WAIT_MS_MAX, type EngineLedger, type TestEngine } from "../support/engine.js";
import { startFaultProxy, type FaultProxy } from "../support/fault-proxy.js";
import { capture, extend, hold, hours, increase, release } from "../support/holds.js";
import { assertIntegrity, deposit, PATIENT, transfer, withdrawal } from "../support/ledger.js";
import { eventually } from "../support/process.js";

/** A window with slices of 20 ms, shorter than a delayed batch. */
const WINDOW_MICROS = 2_000_000n;
const SLICE_MS = 20;
const LATENCY_MS = 30;

// The database checks the ledger's revision, but not that an account is remembered as it is then: the memory must be correct.
describe("the memory of a posting engine", function () {
  this.timeout(180_000);

  let ledger: EngineLedger;
  let proxy: FaultProxy;
  let wallets: readonly Uuid[];
  const holdIds: Uuid[] = [];

  before(async () => {
    ledger = await openEngineLedger();
    proxy = await startFaultProxy(ledger.url);
    wallets = await ledger.openWallets(6, { minBalance: -1_000_000n });
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
    // Some wallets reject few commands, others many.
    for (const [index, id] of wallets.entries()) {
      if (index === 0) continue;
      const terms = [
        limit("out", { maxAmountMinor: index % 2 === 0 ? 60n : AMOUNT_MAX }),
        limit("in", { direction: "INCOMING", maxCount: index % 3 === 0 ? 12n : null }),
        limit("holds", { kinds: ["HOLD"], windowMicros: 60_000_000n }),
      ];
      await ledger.admin.query("UPDATE accounts SET velocity_limits = $2 WHERE id = $1", [id, encodeVelocity(terms)]);
    }
  });
  afterEach(async () => {
    await ledger.stopEngines();
  });
  after(async () => {
    await assertIntegrity(ledger.database);
    await proxy.stop();
    await ledger.close();
  });

  /** Returns the account with the slices that are within a window at this time. */
  function live(account: Account, now: Micros): Account {
    const velocity = account.velocity?.map((limit) => ({
      ...limit,
      slices: limit.slices.filter(({ slice }) => slice >= oldestSliceAt(limit, now)),
    }));
    return { ...account, velocity: velocity ?? null };
  }

  /**
   * Compares the remembered accounts with the database if the ledger's revision is the remembered one, and holds of equal revisions.
   * @param isAlone true when no other writer exists, so that all revisions must be equal
   * @returns the number of accounts and holds compared
   */
  async function assertCacheIsCurrent({ memory }: TestEngine, isAlone: boolean): Promise<number> {
    let compared = 0;
    const clockTime = memory.clock.now();
    const now = await readClock(ledger.admin);
    if (clockTime !== undefined) expect(clockTime <= now, `the clock is ${clockTime - now} us ahead`).to.equal(true);
    const accounts = await readAccounts(ledger.admin, [...wallets, systemAccountId("USD", "cash")]);
    const { revision: current } = await readHead(ledger.admin);
    const isExact = memory.place?.revision === current;
    if (isAlone) expect(isExact).to.equal(true);
    for (const account of isExact ? accounts : []) {
      const remembered = memory.getAccount(account.id);
      if (remembered === undefined) continue;
      expect(live(remembered, now)).to.deep.equal(live(account, now));
      compared += 1;
    }
    for (const { hold: stored, revision } of await readHolds(ledger.admin, holdIds)) {
      const cached = memory.holds.get(stored.id);
      if (cached === undefined || (!isAlone && cached.revision !== revision)) continue;
      expect(cached.revision).to.equal(revision);
      expect(cached.hold).to.deep.equal(stored);
      compared += 1;
    }
    return compared;
  }

  const wallet = fc.nat({ max: 5 });
  const step = fc.record({
    kind: fc.constantFrom("transfer", "transfer", "deposit", "withdraw", "hold", "hold-for", "capture", "part"),
    other: fc.constantFrom("increase", "extend", "release", "extendTo"),
    isOther: fc.boolean(),
    from: wallet,
    by: fc.integer({ min: 1, max: 5 }),
    amountMinor: fc.bigInt({ min: 1n, max: 20n }),
  });
  type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;
  const round = fc.record({
    units: fc.array(fc.array(step, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 6 }),
    /** Batches are delayed until the slice of their decision has passed. */
    isDelayed: fc.boolean(),
    /** The time without any command. */
    pauseMs: fc.constantFrom(0, 0, SLICE_MS / 2, 2 * SLICE_MS),
  });
  type Round = typeof round extends fc.Arbitrary<infer T> ? T : never;

  function commandOf({ kind, other, isOther, from, by, amountMinor }: Step): Command {
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
    switch (kind) {
      case "deposit":
        return deposit(a, amountMinor);
      case "withdraw":
        return withdrawal(a, amountMinor);
      case "hold":
      case "hold-for": {
        const at = BigInt(Date.now()) * 1_000n + 7_200_000_000n;
        return hold(a, amountMinor, {
          toWalletId: kind === "hold-for" ? b : null,
          ...(by % 2 === 0 && { expiry: { at } }),
        });
      }
      case "capture":
      case "part":
        if (holdId !== undefined) return capture(holdId, kind === "part" ? 1n : null);
        return transfer(a, b, amountMinor);
      default:
        return transfer(a, b, amountMinor);
    }
  }

  async function play(engine: TestEngine, { units, isDelayed, pauseMs }: Round): Promise<void> {
    if (isDelayed) engine.batches.close();
    const answers: Promise<Outcome[]>[] = [];
    for (const steps of units) {
      const commands = steps.map(commandOf);
      answers.push(engine.engine.post({ commands, mode: "INDEPENDENT" }, PATIENT));
      // No unit names a hold that it makes: no caller knows the id before the answer.
      for (const { kind, transactionId } of commands) if (kind === "HOLD") holdIds.push(transactionId);
      // In a batch of its own, unless earlier batches are still in progress.
      if (pauseMs > 0) await pause(pauseMs);
    }
    const all = Promise.all(answers);
    if (isDelayed) {
      const since = performance.now();
      await eventually("the next slice", () => performance.now() - since > SLICE_MS, WAIT_MS_MAX);
      engine.batches.open();
    }
    await all;
  }

  it("equals the database, however long batches are delayed", async () => {
    proxy.setLatencyMs(LATENCY_MS);
    const engine = await ledger.startEngine({}, proxy.url);
    let compared = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(round, { minLength: 1, maxLength: 4 }), async (rounds) => {
        for (const one of rounds) {
          await play(engine, one);
          compared += await assertCacheIsCurrent(engine, true);
        }
      }),
      { numRuns: 25 },
    );
    expect(compared).to.be.greaterThan(50);
  });

  it("equals the database at the same revision, beside another engine", async () => {
    proxy.setLatencyMs(0);
    const engines = [await ledger.startEngine(), await ledger.startEngine({}, proxy.url)];
    let compared = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(round, round), { minLength: 1, maxLength: 3 }), async (rounds) => {
        for (const both of rounds) {
          await Promise.all(both.map((one, index) => play(engines[index]!, one)));
          for (const engine of engines) compared += await assertCacheIsCurrent(engine, false);
        }
      }),
      { numRuns: 15 },
    );
    expect(compared).to.be.greaterThan(10);
  });

  it("rejects nothing that a limit permits, although each batch is recorded later than it is decided", async () => {
    proxy.setLatencyMs(2 * LATENCY_MS);
    const engine = await ledger.startEngine({}, proxy.url);
    const id = newId();
    const [spender] = await ledger.openWallets(1, { minBalance: -1_000_000n });
    const terms = [{ name: id.slice(0, 8), direction: "OUTGOING", kinds: [], windowMicros: WINDOW_MICROS, since: 0n }];
    const limits = terms.map((one) => ({ ...one, maxAmountMinor: 30n, maxCount: null }) as VelocityTerms);
    const json = encodeVelocity(limits);
    await ledger.admin.query("UPDATE accounts SET velocity_limits = $2 WHERE id = $1", [spender, json]);
    // With these delays at most 17 fit into a window, and in the end twice the maximum was posted.
    for (let count = 0; count < 60; count += 1) {
      const [outcome] = await engine.engine.post(
        { commands: [withdrawal(spender!, 1n)], mode: "INDEPENDENT" },
        PATIENT,
      );
      expect(outcome).to.have.nested.property("transaction.failure", null);
    }
  });
});
