import { expect } from "chai";
import * as fc from "fast-check";
import { Admission, type CallTiming } from "../../src/rpc/admission.js";

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
  readonly #queue: CallTiming[] = [];
  /** Parts of answers that are due. */
  #turns = 0;
  /** Calls that were answered in time in the latest run. */
  good = 0;

  /**
   * Lets so many calls come evenly for a time; each that is taken on waits for its turn.
   * @param perSecond calls that are answered in a second; a call whose caller has gone costs nothing
   */
  run(ms: number, arrivingPerSecond: number, perSecond: number, deadlineMs = 2_000): void {
    this.good = 0;
    let arrivals = 0;
    for (const end = this.now + ms; this.now < end; this.now += 1) {
      for (arrivals += arrivingPerSecond / 1_000; arrivals >= 1; arrivals -= 1) this.#arrive();
      for (this.#turns += perSecond / 1_000; this.#turns >= 1; this.#turns -= 1) this.#answerOne(deadlineMs);
    }
  }

  get waiting(): number {
    return this.#queue.length;
  }

  /** Lets so many calls come at once, and answers those that are taken on. @returns how many those are */
  burst(calls: number, perSecond: number): number {
    const before = this.waiting;
    for (let call = 0; call < calls; call += 1) this.#arrive();
    const taken = this.waiting - before;
    while (this.waiting > 0) this.run(1, 0, perSecond, Infinity);
    return taken;
  }

  #arrive(): void {
    const stay = this.admission.enter();
    if (this.admission.admits()) this.#queue.push(stay);
    else this.admission.leave();
  }

  #answerOne(deadlineMs: number): void {
    for (let stay = this.#queue.shift(); stay !== undefined; stay = this.#queue.shift()) {
      const isUseful = this.now - stay.sinceMs < deadlineMs;
      this.admission.leave();
      this.admission.answered(stay, isUseful);
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

  /** Calls that are answered in time at this rate. */
  const inTime = (perSecond: number, part: number): number =>
    Math.min(MAX - 1, Math.max(20, Math.floor((part * perSecond * WAIT_MS) / 1_000)));
  const perSecondOf = fc.integer({ min: 100, max: 20_000 });
  const pauses = fc.array(fc.integer({ min: 0, max: 60_000 }), { minLength: 1, maxLength: 12 });

  it("refuses nobody in bursts that are answered in time, however long nobody asks between them", () => {
    fc.assert(
      fc.property(perSecondOf, pauses, fc.double({ min: 0.05, max: 0.8, noNaN: true }), (perSecond, all, part) => {
        const simulation = new Simulation();
        const calls = inTime(perSecond, part);
        for (const pauseMs of all) {
          expect(simulation.burst(calls, perSecond)).to.equal(calls);
          simulation.now += pauseMs;
        }
      }),
      { numRuns: 50 },
    );
  });

  const event = fc.oneof(
    fc.record({ stallMs: fc.integer({ min: 1, max: 10_000 }), calls: fc.integer({ min: 1, max: 3_000 }) }),
    fc.record({ pauseMs: fc.integer({ min: 1, max: 60_000 }) }),
    fc.record({ calls: fc.integer({ min: 1, max: 3_000 }) }),
    fc.record({ loadMs: fc.integer({ min: 1, max: 3_000 }), load: fc.double({ min: 0.1, max: 5, noNaN: true }) }),
  );

  it("takes on what is answered in time after a second of work, whatever stalls, pauses and bursts came before", () => {
    fc.assert(
      fc.property(
        perSecondOf,
        fc.array(event, { maxLength: 12 }),
        pauses,
        fc.boolean(),
        (perSecond, events, all, isWatched) => {
          const simulation = new Simulation();
          // One call that is worked on all the time says nothing about the others.
          if (isWatched) simulation.admission.enter();
          for (const one of events) {
            if ("loadMs" in one) simulation.run(one.loadMs, one.load * perSecond, perSecond);
            if ("pauseMs" in one) simulation.now += one.pauseMs;
            if ("stallMs" in one) simulation.run(one.stallMs, (1_000 * one.calls) / one.stallMs, 0);
            if ("calls" in one) simulation.burst(one.calls, perSecond);
          }
          simulation.burst(0, perSecond);
          const calls = inTime(perSecond, 0.8);
          for (let [work, turn] = [0, 0]; work < perSecond; turn += 1) {
            work += simulation.burst(calls, perSecond);
            simulation.now += all[turn % all.length]!;
          }
          expect(simulation.burst(calls, perSecond)).to.equal(calls);
        },
      ),
      { numRuns: 50 },
    );
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
    for (let index = 0; index < taken; index += 1) admission.releaseSlot();
    admission.enter();
    expect(admission.admits()).to.equal(true);
    admission.leave();
    for (let index = 0; index < taken; index += 1) admission.retakeSlot({ sinceMs: 0, answersBefore: 0 });
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
