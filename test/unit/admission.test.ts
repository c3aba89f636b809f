import { expect } from "chai";
import * as fc from "fast-check";
import { Admission } from "../../src/rpc/admission.js";

const MAX = 10_000;
const WAIT_MS = 1_000;
const RETRY_AFTER_MS = 500;

/** A server that answers so many calls a second, one after the other, and callers who wait until their deadline. */
class Simulation {
  now = 0;
  readonly admission = new Admission(
    { callsInFlightMax: MAX, callWaitMs: WAIT_MS, retryAfterMs: RETRY_AFTER_MS },
    () => this.now,
  );
  readonly #queue: number[] = [];
  /** Calls that were answered in time in the latest run. */
  good = 0;

  /**
   * Lets so many calls come evenly for a time; each that is taken on waits for its turn.
   * @param perSecond calls that are answered in a second; a call whose caller has gone costs nothing
   */
  run(ms: number, arrivingPerSecond: number, perSecond: number, deadlineMs = 2_000): void {
    this.good = 0;
    let arrivals = 0;
    let turns = 0;
    for (const end = this.now + ms; this.now < end; this.now += 1) {
      for (arrivals += arrivingPerSecond / 1_000; arrivals >= 1; arrivals -= 1) this.#arrive();
      for (turns += perSecond / 1_000; turns >= 1; turns -= 1) this.#answerOne(deadlineMs);
    }
  }

  get waiting(): number {
    return this.#queue.length;
  }

  #arrive(): void {
    this.admission.enter();
    if (this.admission.admits()) this.#queue.push(this.now);
    else this.admission.leave();
  }

  #answerOne(deadlineMs: number): void {
    for (let since = this.#queue.shift(); since !== undefined; since = this.#queue.shift()) {
      const durationMs = this.now - since;
      const isUseful = durationMs < deadlineMs;
      this.admission.leave();
      this.admission.answered(durationMs, isUseful);
      if (!isUseful) continue;
      this.good += 1;
      return;
    }
  }
}

describe("admission", () => {
  it("takes on as many calls as are allowed while nothing says that it is too much", () => {
    const { admission } = new Simulation();
    let taken = 0;
    for (let index = 0; index < MAX + 500; index += 1) {
      admission.enter();
      if (admission.admits()) taken += 1;
      else admission.leave();
    }
    expect(taken).to.equal(MAX);
  });

  it("keeps a server useful under many times what it can do, whatever that is", () => {
    fc.assert(
      fc.property(fc.integer({ min: 100, max: 20_000 }), fc.integer({ min: 2, max: 20 }), (perSecond, times) => {
        const simulation = new Simulation();
        simulation.run(5_000, perSecond * times, perSecond);
        simulation.run(4_000, perSecond * times, perSecond);
        expect(simulation.good).to.be.at.least(0.8 * 4 * perSecond);
        expect(simulation.waiting).to.be.at.most(Math.max(64, 1.2 * perSecond));
      }),
      { numRuns: 30 },
    );
  });

  it("follows a server that becomes slow, and one that becomes fast again", () => {
    const simulation = new Simulation();
    simulation.run(4_000, 20_000, 5_000);
    simulation.run(8_000, 20_000, 500);
    simulation.run(2_000, 20_000, 500);
    expect(simulation.good).to.be.at.least(0.8 * 2 * 500);
    simulation.run(8_000, 20_000, 5_000);
    simulation.run(2_000, 20_000, 5_000);
    expect(simulation.good).to.be.at.least(0.8 * 2 * 5_000);
  });

  it("forgets an overload that has passed: a burst is taken on again", () => {
    const simulation = new Simulation();
    simulation.run(5_000, 10_000, 1_000);
    simulation.run(30_000, 800, 1_000);
    expect(simulation.good).to.be.at.least(30 * 800);
    for (let index = 0; index < MAX - simulation.waiting; index += 1) {
      simulation.admission.enter();
      expect(simulation.admission.admits()).to.equal(true);
    }
  });

  it("tells refused callers to come back one by one, at a tenth of the rate, and after 20 s at the latest", () => {
    const simulation = new Simulation();
    simulation.run(5_000, 10_000, 1_000);
    const { admission } = simulation;
    simulation.now += 100_000;
    const waits = Array.from({ length: 10_000 }, () => admission.retryAfterMs());
    expect(waits[0]).to.equal(RETRY_AFTER_MS);
    expect(waits[1_000]! - waits[0]!).to.be.closeTo(10_000, 1_000);
    expect(waits.at(-1)).to.equal(20_000);
    simulation.now += 20_000;
    expect(admission.retryAfterMs()).to.equal(RETRY_AFTER_MS);
  });

  it("takes calls on beside any number of messages of streams, as far as that is allowed in all", () => {
    const simulation = new Simulation();
    simulation.run(5_000, 1_000, 10);
    const { admission } = simulation;
    const calls = admission.count;
    for (let index = 0; index < 5_000; index += 1) admission.enterItem();
    for (let index = 0; index < calls; index += 1) admission.leave();
    admission.enter();
    expect(admission.admits()).to.equal(true);
    for (let index = admission.count; index < MAX; index += 1) admission.enterItem();
    admission.enter();
    expect(admission.admits()).to.equal(false);
  });

  it("takes other calls on in the place of those that wait aside, as far as that is allowed in all", () => {
    const simulation = new Simulation();
    simulation.run(5_000, 1_000, 10);
    const { admission } = simulation;
    let taken = admission.count;
    for (; taken < MAX; taken += 1) {
      admission.enter();
      if (!admission.admits()) break;
    }
    expect(taken).to.be.lessThan(MAX);
    for (let index = 0; index < taken; index += 1) admission.stepAside();
    admission.enter();
    expect(admission.admits()).to.equal(true);
    admission.leave();
    for (let index = 0; index < taken; index += 1) admission.stepBack();
    admission.enter();
    expect(admission.admits()).to.equal(false);
    // They are still under way.
    expect(admission.count).to.be.greaterThan(taken);
  });

  it("says when nothing is worked on any more", async () => {
    const { admission } = new Simulation();
    await admission.whenIdle();
    admission.enter();
    let isIdle = false;
    const idle = admission.whenIdle().then(() => (isIdle = true));
    await Promise.resolve();
    expect(isIdle).to.equal(false);
    admission.leave();
    await idle;
  });
});
