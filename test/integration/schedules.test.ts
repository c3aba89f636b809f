import { expect } from "chai";
import pg from "pg";
import { newId, type Uuid } from "../../src/base/ids.js";
import type { Micros } from "../../src/base/time.js";
import { inTransaction } from "../../src/db/in-transaction.js";
import { RECORD_TYPE } from "../../src/entities/journal.js";
import { FUNDS_POLICY, RUN_STATE, SCHEDULE_STATE } from "../../src/entities/schedule.js";
import { findDueSchedules, listRuns, lockSchedules, readSchedule } from "../../src/ledger/schedule/rows.js";
import { afterPause } from "../../src/ledger/schedule/rules.js";
import { runDue, startScheduler } from "../../src/ledger/schedule/scheduler.js";
import type { Schedule } from "../../src/ledger/schedule/schedule.js";
import { insertSchedule, withholdRun, writeProgress } from "../../src/ledger/schedule/write.js";
import { readClock } from "../../src/db/clock.js";
import { openEngineBooks, WAIT_MS_MAX, type EngineBooks, type TestEngine } from "../support/engine.js";
import { startFaultProxy, type FaultProxy } from "../support/fault-proxy.js";
import { assertBooksAddUp, deposit, PATIENT } from "../support/ledger.js";
import { eventually } from "../support/process.js";
import { recurring, scheduleOf } from "../support/schedules.js";

const MINUTE = 60_000_000n;

describe("scheduled runs", () => {
  let books: EngineBooks;
  let one: TestEngine;
  let other: TestEngine;
  let from: Uuid;
  let to: Uuid;

  beforeEach(async () => {
    books = await openEngineBooks();
    [one, other] = [await books.startEngine(), await books.startEngine()];
    [from = "", to = ""] = await books.openWallets(2);
    await one.postOne(deposit(from, 1_000_000n));
  });
  afterEach(() => books.close());

  function now(): Promise<Micros> {
    return readClock(books.admin);
  }

  async function add(plannedTime: Micros, over: Partial<Schedule> = {}): Promise<Schedule> {
    const schedule = scheduleOf(from, to, plannedTime, over);
    await insertSchedule(books.admin, schedule);
    return schedule;
  }

  /** What is due is tried once, by this process. */
  function run({ database, engine }: TestEngine = one): Promise<number> {
    return runDue(database, database.pool, engine, 1_000);
  }

  function read(id: Uuid): Promise<Schedule> {
    return readSchedule(books.admin, id).then((found) => found!);
  }

  async function runsOf(id: Uuid) {
    return (await listRuns(books.admin, id, { before: undefined, limit: 1_000 })).toReversed();
  }

  /** The transfers, in the order of the journal. */
  async function transfers(state = 1): Promise<{ id: Uuid; create_time: Micros }[]> {
    const { rows } = await books.admin.query<{ id: Uuid; create_time: Micros }>(
      `SELECT id, (extract(epoch FROM create_time) * 1000000)::bigint AS create_time FROM transactions
       WHERE kind = 4 AND state = $1 ORDER BY journal_index`,
      [state],
    );
    return rows;
  }

  async function recordsOf(id: Uuid): Promise<number[]> {
    const { rows } = await books.admin.query<{ type: number }>(
      `SELECT type FROM journal_batches, unnest(record_ids, record_types) WITH ORDINALITY AS r (id, type, position)
       WHERE r.id = $1 ORDER BY first_index, position`,
      [id],
    );
    return rows.map((row) => row.type);
  }

  it("are each made once by several processes that look for them at the same time", async () => {
    const time = await now();
    const schedules: Schedule[] = [];
    for (let index = 0; index < 120; index += 1) schedules.push(await add(time - BigInt(index)));
    const errors: unknown[] = [];
    const schedulers = [one, other, one].map(({ database, engine }) =>
      startScheduler(database, engine, { everyMs: 10, atOnceMax: 7 }, (error) => errors.push(error)),
    );
    await eventually(
      "the end of all schedules",
      async () => (await findDueSchedules(books.admin, 1)).length === 0,
      WAIT_MS_MAX,
    );
    for (const scheduler of schedulers) await scheduler.stop();
    expect(errors).to.deep.equal([]);
    expect(await transfers()).to.have.lengthOf(120);
    for (const { id } of schedules) {
      expect((await read(id)).state).to.equal(SCHEDULE_STATE.COMPLETED);
      const [only, ...more] = await runsOf(id);
      expect([only?.state, more.length]).to.deep.equal([RUN_STATE.POSTED, 0]);
      expect(await recordsOf(only!.id)).to.deep.equal([RECORD_TYPE.RUN_POSTED]);
      expect(await recordsOf(id)).to.deep.equal([RECORD_TYPE.SCHEDULE_COMPLETED]);
    }
    await assertBooksAddUp(books.database);
  });

  it("are each made once even by processes that no lock keeps apart", async () => {
    const time = await now();
    const rule = { times: recurring("* * * * *"), maxRuns: 5 };
    const { id } = await add((time / MINUTE) * MINUTE - 30n * MINUTE, rule);
    while ((await read(id)).state === SCHEDULE_STATE.ACTIVE) {
      await Promise.all([run(one), run(other), run(one), run(other)]);
    }
    expect(await transfers()).to.have.lengthOf(5);
    expect((await runsOf(id)).map(({ state }) => state)).to.deep.equal(Array(5).fill(RUN_STATE.POSTED));
    await assertBooksAddUp(books.database);
  });

  it("that were missed are made one right after the other, in their order, also those that are refused", async () => {
    const last = ((await now()) / MINUTE) * MINUTE;
    const rule = { times: recurring("* * * * *") };
    const missed = { a: 60, poor: 20, last: 1 };
    const many = await add(last - BigInt(missed.a - 1) * MINUTE, { ...rule, maxRuns: missed.a });
    const poor = scheduleOf(to, from, last - BigInt(missed.poor - 1) * MINUTE, { ...rule, maxRuns: missed.poor });
    const tooMuch = { ...poor, movement: { ...poor.movement, amountMinor: 10_000_000n } };
    await insertSchedule(books.admin, tooMuch);
    const { id: single } = await add(last);
    const errors: unknown[] = [];
    // They look for what is due once: nothing waits for the next time.
    const schedulers = [one, other].map(({ database, engine }) =>
      startScheduler(database, engine, { everyMs: 3_600_000, atOnceMax: 100 }, (error) => errors.push(error)),
    );
    await eventually(
      "the end of all schedules",
      async () => (await findDueSchedules(books.admin, 1)).length === 0,
      WAIT_MS_MAX,
    );
    for (const scheduler of schedulers) await scheduler.stop();
    expect(errors).to.deep.equal([]);
    for (const [id, count, state] of [
      [many.id, missed.a, RUN_STATE.POSTED],
      [tooMuch.id, missed.poor, RUN_STATE.SKIPPED],
      [single, missed.last, RUN_STATE.POSTED],
    ] as const) {
      const runs = await runsOf(id);
      expect(runs.map((each) => each.state)).to.deep.equal(Array(count).fill(state));
      expect(runs.map((each) => each.plannedTime)).to.deep.equal(
        Array.from({ length: count }, (_, index) => last - BigInt(count - 1 - index) * MINUTE),
      );
      // Recorded in that order, too.
      const times = runs.map((each) => each.createTime);
      expect(times).to.deep.equal(times.toSorted((a, b) => Number(a - b)));
    }
    expect(await transfers()).to.have.lengthOf(missed.a + missed.last);
    expect(await transfers(2)).to.have.lengthOf(missed.poor);
    await assertBooksAddUp(books.database);
  });

  it("are not made before their time by the database's clock", async () => {
    const plannedTime = (await now()) + 700_000n;
    const { id } = await add(plannedTime);
    await eventually("the run", async () => {
      await run();
      return (await read(id)).state === SCHEDULE_STATE.COMPLETED;
    });
    const [made] = await transfers();
    expect(made!.create_time >= plannedTime).to.equal(true);
  });

  it("that were missed are each made once, in their order, with the time for which they were planned", async () => {
    const first = ((await now()) / MINUTE) * MINUTE - 4n * MINUTE;
    const { id } = await add(first, { times: recurring("* * * * *"), maxRuns: 4 });
    for (let due = await run(); due > 0; due = await run(other));
    const runs = await runsOf(id);
    expect(runs.map(({ plannedTime }) => plannedTime)).to.deep.equal([0n, 1n, 2n, 3n].map((n) => first + n * MINUTE));
    expect(runs.map(({ transactionId }) => transactionId)).to.deep.equal((await transfers()).map((row) => row.id));
    const { rows } = await books.admin.query<{ time: Micros }>(
      `SELECT (extract(epoch FROM effective_time) * 1000000)::bigint AS time FROM transactions WHERE kind = 4 ORDER BY journal_index`,
    );
    expect(rows.map((row) => row.time)).to.deep.equal(runs.map(({ plannedTime }) => plannedTime));
  });

  it("that find no money are skipped, retried or end the schedule, as it says", async () => {
    await one.postOne(deposit(to, 1n));
    const [poor = ""] = await books.openWallets(1);
    const planned = ((await now()) / MINUTE) * MINUTE;
    const movement = { ...scheduleOf(poor, to, planned).movement };
    const over = { movement, times: recurring("0 0 1 1 *") };
    const skip = await add(planned, over);
    const fail = await add(planned, { ...over, onInsufficientFunds: FUNDS_POLICY.FAIL });
    const patience = { onInsufficientFunds: FUNDS_POLICY.RETRY, retryIntervalMicros: 1_000n, retryMax: 2 };
    const retry = await add(planned, { ...over, ...patience });
    const lucky = await add(planned, { ...over, ...patience });
    await run();
    expect([(await read(skip.id)).state, (await read(skip.id)).runCount]).to.deep.equal([SCHEDULE_STATE.ACTIVE, 1]);
    expect((await runsOf(skip.id))[0]).to.include({ state: RUN_STATE.SKIPPED, attempts: 1 });
    expect((await read(fail.id)).failure).to.include({ reason: "INSUFFICIENT_FUNDS" });
    expect((await runsOf(fail.id))[0]).to.include({ state: RUN_STATE.FAILED });
    expect((await runsOf(retry.id))[0]).to.include({ state: RUN_STATE.RETRYING, attempts: 1 });
    await eventually("the second attempts", async () => {
      await run();
      return (await runsOf(lucky.id))[0]!.attempts > 1 && (await runsOf(retry.id))[0]!.attempts > 1;
    });
    // Only one of the two fits; the other gives up after its second retry.
    await one.postOne(deposit(poor, 10n));
    await eventually("the end of both runs", async () => {
      await run();
      return (await read(lucky.id)).runCount + (await read(retry.id)).runCount === 2;
    });
    const both = [...(await runsOf(lucky.id)), ...(await runsOf(retry.id))];
    expect(both.map(({ state, attempts }) => [state, attempts]).sort()).to.deep.equal([
      [RUN_STATE.POSTED, 3],
      [RUN_STATE.SKIPPED, 3],
    ]);
    expect(await transfers()).to.have.lengthOf(1);
    // Each attempt is kept as a transaction of its own.
    expect(await transfers(2)).to.have.lengthOf(1 + 1 + 2 + 3);
    expect(await recordsOf(fail.id)).to.deep.equal([RECORD_TYPE.SCHEDULE_FAILED]);
    await assertBooksAddUp(books.database);
  });

  describe("of a process that dies between posting and recording", () => {
    let proxy: FaultProxy;
    let doomed: TestEngine;
    let schedule: Schedule;

    beforeEach(async () => {
      proxy = await startFaultProxy(books.url);
      doomed = await books.startEngine({}, proxy.url);
      const planned = ((await now()) / MINUTE) * MINUTE;
      schedule = await add(planned, { times: recurring("0 0 1 1 *") });
      const trap = proxy.trap(({ sql }) => sql.includes("INSERT INTO schedule_runs"), "RESET_BEFORE");
      const error: unknown = await run(doomed).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      await trap.sprung;
      expect(error).to.be.instanceOf(Error);
      expect(await transfers()).to.have.lengthOf(1);
      expect(await runsOf(schedule.id)).to.deep.equal([]);
    });
    afterEach(async () => {
      await books.stopEngines();
      await proxy.stop();
    });

    it("are recorded by the next one, with the transaction that was posted", async () => {
      await run(other);
      const [made] = await transfers();
      const [only] = await runsOf(schedule.id);
      expect(only).to.include({ transactionId: made!.id, state: RUN_STATE.POSTED, attempts: 1 });
      expect(await transfers()).to.have.lengthOf(1);
      expect((await read(schedule.id)).runCount).to.equal(1);
      await assertBooksAddUp(books.database);
    });

    it("are recorded by whoever pauses the schedule first", async () => {
      await pause(schedule.id);
      const [made] = await transfers();
      expect(await runsOf(schedule.id)).to.have.lengthOf(1);
      expect((await runsOf(schedule.id))[0]).to.include({ transactionId: made!.id });
      expect(await read(schedule.id)).to.include({ state: SCHEDULE_STATE.PAUSED, runCount: 1 });
      await run(other);
      expect(await transfers()).to.have.lengthOf(1);
      await assertBooksAddUp(books.database);
    });
  });

  it("that are on their way when the schedule is paused are not made any more", async () => {
    const { id } = await add(await now());
    one.batches.close();
    one.locked.close();
    const running = run(one);
    await eventually("a batch on its way", () => one.batches.waiting + one.locked.waiting > 0);
    await pause(id);
    one.batches.open();
    one.locked.open();
    await running;
    expect(await transfers()).to.deep.equal([]);
    expect(await runsOf(id)).to.deep.equal([]);
    expect(await read(id)).to.include({ state: SCHEDULE_STATE.PAUSED, runCount: 0 });
    await assertBooksAddUp(books.database);
  });

  it("and pauses, whichever comes first, agree on whether money moved", async () => {
    for (let round = 0; round < 15; round += 1) {
      const { id } = await add(await now());
      const before = (await transfers()).length;
      await Promise.all([run(one), run(other), pause(id)]);
      await run(other);
      const made = (await transfers()).length - before;
      const runs = await runsOf(id);
      expect(runs.length).to.equal(made);
      expect((await read(id)).state).to.equal(made === 1 ? SCHEDULE_STATE.COMPLETED : SCHEDULE_STATE.PAUSED);
    }
    await assertBooksAddUp(books.database);
  });

  /** As PauseSchedule does it. */
  async function pause(id: Uuid): Promise<void> {
    await inTransaction(books.database, PATIENT, async ({ client }) => {
      const [locked] = await lockSchedules(client, [id]);
      if (locked!.state !== SCHEDULE_STATE.ACTIVE) return;
      const schedule = await withholdRun(client, locked!);
      if (schedule.state !== SCHEDULE_STATE.ACTIVE) return;
      await writeProgress(client, [{ id, progress: afterPause(schedule) }], await readClock(client));
    });
  }

  it("are unique by schedule and planned time in the database itself", async () => {
    const { id, plannedTime } = await add(await now());
    await run();
    const { rows } = await books.admin.query<{ planned_time: Date }>("SELECT planned_time FROM schedule_runs");
    expect(plannedTime).not.to.equal(null);
    const again = books.admin.query(
      `INSERT INTO schedule_runs SELECT $1, schedule_id, planned_time, state, attempts, request_id, transaction_id, failure,
         create_time, update_time FROM schedule_runs WHERE schedule_id = $2`,
      [newId(), id],
    );
    const error: unknown = await again.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).to.be.instanceOf(pg.DatabaseError).with.property("constraint", "schedule_runs_planned");
    expect(rows).to.have.lengthOf(1);
  });
});
