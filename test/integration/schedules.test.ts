import { expect } from "chai";
import pg from "pg";
import { newId, type Uuid } from "../../src/base/ids.js";
import type { Micros } from "../../src/base/time.js";
import { inTransaction } from "../../src/db/in-transaction.js";
import { RECORD_TYPE } from "../../src/entities/journal.js";
import { FUNDS_POLICY, RUN_STATE, SCHEDULE_STATE } from "../../src/entities/schedule.js";
import {
  findDueSchedules,
  insertSchedule,
  lockSchedules,
  readSchedule,
  updateSchedules,
} from "../../src/ledger/schedule/store.js";
import { applyPause } from "../../src/ledger/schedule/rules.js";
import { runDue, startScheduler } from "../../src/ledger/schedule/scheduler.js";
import type { Schedule } from "../../src/ledger/schedule/schedule.js";
import { listRuns, withholdRun } from "../../src/ledger/schedule/runs.js";
import { readClock } from "../../src/db/clock.js";
import { openEngineLedger, WAIT_MS_MAX, type EngineLedger, type TestEngine } from "../support/engine.js";
import { startFaultProxy, type FaultProxy } from "../support/fault-proxy.js";
import { assertIntegrity, deposit, PATIENT } from "../support/ledger.js";
import { eventually } from "../support/process.js";
import { recurring, createSchedule } from "../support/schedules.js";

const MINUTE = 60_000_000n;

describe("scheduled runs", () => {
  let ledger: EngineLedger;
  let one: TestEngine;
  let other: TestEngine;
  let from: Uuid;
  let to: Uuid;

  beforeEach(async () => {
    ledger = await openEngineLedger();
    [one, other] = [await ledger.startEngine(), await ledger.startEngine()];
    [from = "", to = ""] = await ledger.openWallets(2);
    await one.postOne(deposit(from, 1_000_000n));
  });
  afterEach(() => ledger.close());

  function now(): Promise<Micros> {
    return readClock(ledger.admin);
  }

  async function add(plannedTime: Micros, over: Partial<Schedule> = {}): Promise<Schedule> {
    const schedule = createSchedule(from, to, plannedTime, over);
    await insertSchedule(ledger.admin, schedule);
    return schedule;
  }

  /** Attempts the due runs once, in this process. */
  function run({ database, engine }: TestEngine = one): Promise<number> {
    return runDue(database, database.pool, engine, 1_000);
  }

  function read(id: Uuid): Promise<Schedule> {
    return readSchedule(ledger.admin, id).then((found) => found!);
  }

  async function runsOf(id: Uuid) {
    return (await listRuns(ledger.admin, id, { before: undefined, limit: 1_000 })).toReversed();
  }

  /** Lists the transfers in the order of the journal. */
  async function transfers(state = 1): Promise<{ id: Uuid; create_time: Micros }[]> {
    const { rows } = await ledger.admin.query<{ id: Uuid; create_time: Micros }>(
      `SELECT id, (extract(epoch FROM create_time) * 1000000)::bigint AS create_time FROM transactions
       WHERE kind = 4 AND state = $1 ORDER BY journal_index`,
      [state],
    );
    return rows;
  }

  async function recordsOf(id: Uuid): Promise<number[]> {
    const { rows } = await ledger.admin.query<{ type: number }>(
      `SELECT type FROM journal_batches, unnest(record_ids, record_types) WITH ORDINALITY AS r (id, type, position)
       WHERE r.id = $1 ORDER BY first_index, position`,
      [id],
    );
    return rows.map((row) => row.type);
  }

  it("are each made once by several processes that poll at the same time", async () => {
    const time = await now();
    const schedules: Schedule[] = [];
    for (let index = 0; index < 120; index += 1) schedules.push(await add(time - BigInt(index)));
    const errors: unknown[] = [];
    const schedulers = [one, other, one].map(({ database, engine }) =>
      startScheduler(database, engine, { intervalMs: 10, batchMax: 7 }, (error) => errors.push(error)),
    );
    await eventually(
      "the end of all schedules",
      async () => (await findDueSchedules(ledger.admin, 1)).length === 0,
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
    await assertIntegrity(ledger.database);
  });

  it("are each made once even without the advisory lock", async () => {
    const time = await now();
    const rule = { times: recurring("* * * * *"), maxRuns: 5 };
    const { id } = await add((time / MINUTE) * MINUTE - 30n * MINUTE, rule);
    while ((await read(id)).state === SCHEDULE_STATE.ACTIVE) {
      await Promise.all([run(one), run(other), run(one), run(other)]);
    }
    expect(await transfers()).to.have.lengthOf(5);
    expect((await runsOf(id)).map(({ state }) => state)).to.deep.equal(Array(5).fill(RUN_STATE.POSTED));
    await assertIntegrity(ledger.database);
  });

  it("that were missed are made one right after the other, in order, also rejected ones", async () => {
    const last = ((await now()) / MINUTE) * MINUTE;
    const rule = { times: recurring("* * * * *") };
    const missed = { a: 60, poor: 20, last: 1 };
    const many = await add(last - BigInt(missed.a - 1) * MINUTE, { ...rule, maxRuns: missed.a });
    const poor = createSchedule(to, from, last - BigInt(missed.poor - 1) * MINUTE, { ...rule, maxRuns: missed.poor });
    const tooMuch = { ...poor, movement: { ...poor.movement, amountMinor: 10_000_000n } };
    await insertSchedule(ledger.admin, tooMuch);
    const { id: single } = await add(last);
    const errors: unknown[] = [];
    // They poll once: nothing waits for the next interval.
    const schedulers = [one, other].map(({ database, engine }) =>
      startScheduler(database, engine, { intervalMs: 3_600_000, batchMax: 100 }, (error) => errors.push(error)),
    );
    await eventually(
      "the end of all schedules",
      async () => (await findDueSchedules(ledger.admin, 1)).length === 0,
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
      // Recorded in the same order.
      const times = runs.map((each) => each.createTime);
      expect(times).to.deep.equal(times.toSorted((a, b) => Number(a - b)));
    }
    expect(await transfers()).to.have.lengthOf(missed.a + missed.last);
    expect(await transfers(2)).to.have.lengthOf(missed.poor);
    await assertIntegrity(ledger.database);
  });

  it("are not made before their planned time by the database's clock", async () => {
    const plannedTime = (await now()) + 700_000n;
    const { id } = await add(plannedTime);
    await eventually("the run", async () => {
      await run();
      return (await read(id)).state === SCHEDULE_STATE.COMPLETED;
    });
    const [transaction] = await transfers();
    expect(transaction!.create_time >= plannedTime).to.equal(true);
  });

  it("that were missed are each made once, in order, with their planned time", async () => {
    const first = ((await now()) / MINUTE) * MINUTE - 4n * MINUTE;
    const { id } = await add(first, { times: recurring("* * * * *"), maxRuns: 4 });
    for (let due = await run(); due > 0; due = await run(other));
    const runs = await runsOf(id);
    expect(runs.map(({ plannedTime }) => plannedTime)).to.deep.equal([0n, 1n, 2n, 3n].map((n) => first + n * MINUTE));
    expect(runs.map(({ transactionId }) => transactionId)).to.deep.equal((await transfers()).map((row) => row.id));
    const { rows } = await ledger.admin.query<{ time: Micros }>(
      `SELECT (extract(epoch FROM effective_time) * 1000000)::bigint AS time FROM transactions WHERE kind = 4 ORDER BY journal_index`,
    );
    expect(rows.map((row) => row.time)).to.deep.equal(runs.map(({ plannedTime }) => plannedTime));
  });

  it("without funds are skipped or retried, or end the schedule, by its policy", async () => {
    await one.postOne(deposit(to, 1n));
    const [poor = ""] = await ledger.openWallets(1);
    const planned = ((await now()) / MINUTE) * MINUTE;
    const movement = { ...createSchedule(poor, to, planned).movement };
    const over = { movement, times: recurring("0 0 1 1 *") };
    const skip = await add(planned, over);
    const fail = await add(planned, { ...over, onInsufficientFunds: FUNDS_POLICY.FAIL });
    const retries = { onInsufficientFunds: FUNDS_POLICY.RETRY, retryIntervalMicros: 1_000n, retryMax: 2 };
    const retry = await add(planned, { ...over, ...retries });
    const lucky = await add(planned, { ...over, ...retries });
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
    // The funds suffice for one of the two; the other is skipped after its second retry.
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
    // Each attempt has a transaction of its own.
    expect(await transfers(2)).to.have.lengthOf(1 + 1 + 2 + 3);
    expect(await recordsOf(fail.id)).to.deep.equal([RECORD_TYPE.SCHEDULE_FAILED]);
    await assertIntegrity(ledger.database);
  });

  describe("of a process that dies between posting and recording", () => {
    let proxy: FaultProxy;
    let doomed: TestEngine;
    let schedule: Schedule;

    beforeEach(async () => {
      proxy = await startFaultProxy(ledger.url);
      doomed = await ledger.startEngine({}, proxy.url);
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
      await ledger.stopEngines();
      await proxy.stop();
    });

    it("are recorded by the next process, with the posted transaction", async () => {
      await run(other);
      const [transaction] = await transfers();
      const [only] = await runsOf(schedule.id);
      expect(only).to.include({ transactionId: transaction!.id, state: RUN_STATE.POSTED, attempts: 1 });
      expect(await transfers()).to.have.lengthOf(1);
      expect((await read(schedule.id)).runCount).to.equal(1);
      await assertIntegrity(ledger.database);
    });

    it("are recorded by a pause that comes first", async () => {
      await pause(schedule.id);
      const [transaction] = await transfers();
      expect(await runsOf(schedule.id)).to.have.lengthOf(1);
      expect((await runsOf(schedule.id))[0]).to.include({ transactionId: transaction!.id });
      expect(await read(schedule.id)).to.include({ state: SCHEDULE_STATE.PAUSED, runCount: 1 });
      await run(other);
      expect(await transfers()).to.have.lengthOf(1);
      await assertIntegrity(ledger.database);
    });
  });

  it("in progress when the schedule is paused are not made", async () => {
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
    await assertIntegrity(ledger.database);
  });

  it("and concurrent pauses agree on whether money moved", async () => {
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
    await assertIntegrity(ledger.database);
  });

  /** Pauses the schedule like PauseSchedule. */
  async function pause(id: Uuid): Promise<void> {
    await inTransaction(ledger.database, PATIENT, async ({ client }) => {
      const [locked] = await lockSchedules(client, [id]);
      if (locked!.state !== SCHEDULE_STATE.ACTIVE) return;
      const schedule = await withholdRun(client, locked!);
      if (schedule.state !== SCHEDULE_STATE.ACTIVE) return;
      await updateSchedules(client, [{ id, progress: applyPause(schedule) }], await readClock(client));
    });
  }

  it("are unique by schedule and planned time in the database", async () => {
    const { id, plannedTime } = await add(await now());
    await run();
    const { rows } = await ledger.admin.query<{ planned_time: Date }>("SELECT planned_time FROM schedule_runs");
    expect(plannedTime).not.to.equal(null);
    const again = ledger.admin.query(
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
