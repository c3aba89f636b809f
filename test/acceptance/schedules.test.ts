import { expect } from "chai";
import type pg from "pg";
import { ErrorReason } from "../../generated/grey/error/v1/error_reason.js";
import {
  CreateScheduleRequest,
  InsufficientFundsPolicy,
  ScheduleState,
  type Schedule,
} from "../../generated/grey/schedule/v1/schedule.js";
import { RunState, type Run } from "../../generated/grey/schedule/v1/run.js";
import { AmountMode } from "../../generated/grey/transaction/v1/transaction.js";
import { newId, type Uuid } from "../../src/base/ids.js";
import { connect, refusal, type Clients } from "../support/client.js";
import { balanceOf, depositRequest, makeWallet, money, openAdmin } from "../support/ledger.js";
import { endAllGrey, eventually, startGreyProcess } from "../support/process.js";
import { startServer, type TestServer } from "../support/server.js";

type When = CreateScheduleRequest["when"];
type Movement = CreateScheduleRequest["movement"];

const FAR = { seconds: 9_000_000_000n, nanos: 0, toString: () => "9000000000 s" };
const WAIT_MS_MAX = 30_000;

describe("a schedule", () => {
  let server: TestServer;
  let grey: Clients;
  let admin: pg.Client;
  let from: Uuid;
  let to: Uuid;

  before(async () => {
    server = await startServer({ GREY_SCHEDULE_EVERY_MS: "20" });
    grey = connect(server.address);
    admin = await openAdmin(server.databaseUrl);
  });
  after(async () => {
    await endAllGrey();
    grey.close();
    await admin.end();
    await server.stop();
  });
  beforeEach(async () => {
    from = (await makeWallet(grey, { minorUnits: 100n })).id;
    to = (await makeWallet(grey)).id;
  });

  /** A time so many ms from now. */
  function inMs(ms: number): { seconds: bigint; nanos: number } {
    const time = Date.now() + ms;
    return { seconds: BigInt(Math.floor(time / 1_000)), nanos: (time % 1_000) * 1_000_000 };
  }

  function once(ms: number): When {
    return { $case: "once", value: inMs(ms) };
  }

  function cron(text: string, over: object = {}): When {
    const value = { cron: text, timeZone: "Europe/Berlin", startTime: undefined, endTime: undefined, maxRuns: 0 };
    return { $case: "recurring", value: { ...value, ...over } };
  }

  function transfer(minorUnits = 10n, over: object = {}): Movement {
    const value = { fromWalletId: from, toWalletId: to, amount: money(minorUnits), description: "rent", metadata: {} };
    return { $case: "transfer", value: { ...value, amountMode: AmountMode.EXACT, ...over } };
  }

  function requestOf(over: Partial<CreateScheduleRequest> = {}): CreateScheduleRequest {
    return {
      ...CreateScheduleRequest.fromPartial({ requestId: newId() }),
      movement: transfer(),
      when: cron("0 9 1 * *"),
      ...over,
    };
  }

  async function create(over: Partial<CreateScheduleRequest> = {}): Promise<Schedule> {
    return (await grey.schedules.createSchedule(requestOf(over))).schedule!;
  }

  async function get(id: Uuid): Promise<Schedule> {
    return (await grey.schedules.getSchedule({ id })).schedule!;
  }

  async function runsOf(scheduleId: Uuid): Promise<Run[]> {
    return (await grey.schedules.listRuns({ scheduleId, pageSize: 0, pageToken: "" })).runs;
  }

  async function until(id: Uuid, condition: (schedule: Schedule, runs: readonly Run[]) => boolean): Promise<void> {
    await eventually("what the schedule comes to", async () => condition(await get(id), await runsOf(id)), WAIT_MS_MAX);
  }

  /** Turns time back for a schedule: its next run was planned so many minutes ago. */
  async function missMinutes(id: Uuid, minutes: number): Promise<void> {
    await admin.query(
      `UPDATE schedules SET planned_time = date_trunc('minute', clock_timestamp()) - $2 * interval '1 minute',
         due_time = date_trunc('minute', clock_timestamp()) - $2 * interval '1 minute' WHERE id = $1`,
      [id, minutes],
    );
  }

  it("of a single time is made at it, once, and tells the transaction", async () => {
    const when = once(1_500);
    const made = await create({ when });
    expect(made).to.deep.include({ state: ScheduleState.ACTIVE, when, runCount: 0, nextRunTime: when!.value });
    expect(await runsOf(made.id)).to.deep.equal([]);
    expect(await balanceOf(grey, to)).to.equal(0n);
    await until(made.id, ({ state }) => state === ScheduleState.COMPLETED);
    const done = await get(made.id);
    expect(done).to.deep.include({ runCount: 1, nextRunTime: undefined, reason: ErrorReason.UNSPECIFIED });
    const [run, ...more] = await runsOf(made.id);
    expect(more).to.deep.equal([]);
    expect(run).to.deep.include({ state: RunState.POSTED, attempts: 1, plannedTime: when!.value });
    const { transaction } = await grey.transactions.getTransaction({ by: { $case: "id", value: run!.transactionId } });
    expect(transaction).to.deep.include({ description: "rent", amount: money(10n), effectiveTime: when!.value });
    const { seconds, nanos } = transaction!.createTime!;
    const planned = when!.value as { seconds: bigint; nanos: number };
    expect(
      seconds * 1_000_000_000n + BigInt(nanos) >= planned.seconds * 1_000_000_000n + BigInt(planned.nanos),
    ).to.equal(true);
    expect(await balanceOf(grey, to)).to.equal(10n);
  });

  it("brings money in, takes it out, and moves what there is up to an amount", async () => {
    const moved = { amount: money(60n), description: "", metadata: { invoice: "7" } };
    const when = once(1_500);
    const deposit = await create({
      when,
      movement: { $case: "deposit", value: { walletId: to, systemAccount: "", ...moved } },
    });
    const withdrawal = await create({
      when,
      movement: {
        $case: "withdrawal",
        value: { walletId: from, systemAccount: "fees", amountMode: AmountMode.UP_TO, ...moved, amount: money(1_000n) },
      },
    });
    expect(deposit.movement?.value).to.deep.include({ systemAccount: "cash", metadata: { invoice: "7" } });
    expect(withdrawal.movement?.value).to.deep.include({ systemAccount: "fees", amountMode: AmountMode.UP_TO });
    for (const { id } of [deposit, withdrawal]) await until(id, ({ state }) => state === ScheduleState.COMPLETED);
    expect([await balanceOf(grey, from), await balanceOf(grey, to)]).to.deep.equal([0n, 60n]);
  });

  it("that recurs plans by the clocks of its zone, and makes what it missed, each once and in order", async () => {
    const winter = await create({
      when: cron("30 9 * * *", { startTime: { seconds: BigInt(Date.UTC(2027, 0, 5) / 1_000), nanos: 0 } }),
    });
    expect(winter.nextRunTime).to.deep.equal({ seconds: BigInt(Date.UTC(2027, 0, 5, 8, 30) / 1_000), nanos: 0 });
    const { id } = await create({ when: cron("* * * * *", { maxRuns: 3 }) });
    await missMinutes(id, 4);
    await until(id, ({ state }) => state === ScheduleState.COMPLETED);
    const runs = (await runsOf(id)).toReversed();
    expect(runs.map(({ state }) => state)).to.deep.equal([RunState.POSTED, RunState.POSTED, RunState.POSTED]);
    const [first, ...later] = runs.map(({ plannedTime }) => plannedTime!.seconds);
    expect(later.map((seconds) => seconds - first!)).to.deep.equal([60n, 120n]);
    expect(await balanceOf(grey, to)).to.equal(30n);
  });

  it("skips a run that there is no money for, and makes the next", async () => {
    const { id } = await create({ movement: transfer(101n), when: cron("0 0 1 1 *", { maxRuns: 2 }) });
    await missMinutes(id, 1);
    await until(id, (_, runs) => runs.length === 1);
    await grey.transactions.deposit(depositRequest(from, 5n));
    await missMinutes(id, 0);
    await until(id, ({ state }) => state === ScheduleState.COMPLETED);
    const [latest, first] = await runsOf(id);
    expect([first?.state, first?.reason]).to.deep.equal([RunState.SKIPPED, ErrorReason.INSUFFICIENT_FUNDS]);
    expect(latest?.state).to.equal(RunState.POSTED);
    const refused = await grey.transactions.getTransaction({ by: { $case: "id", value: first!.transactionId } });
    expect(refused.transaction?.reason).to.equal(ErrorReason.INSUFFICIENT_FUNDS);
  });

  it("tries again until there is money", async () => {
    const { id, retryInterval, retryMax } = await create({
      movement: transfer(101n),
      when: once(1_500),
      onInsufficientFunds: InsufficientFundsPolicy.RETRY,
      retryInterval: { seconds: 1n, nanos: 0 },
      retryMax: 50,
    });
    expect([retryInterval, retryMax]).to.deep.equal([{ seconds: 1n, nanos: 0 }, 50]);
    await until(id, (_, [run]) => run?.state === RunState.RETRYING);
    await grey.transactions.deposit(depositRequest(from, 5n));
    await until(id, ({ state }) => state === ScheduleState.COMPLETED);
    const [run, ...more] = await runsOf(id);
    expect(run!.attempts).to.be.greaterThan(1);
    expect([run!.state, run!.reason, more.length]).to.deep.equal([RunState.POSTED, ErrorReason.UNSPECIFIED, 0]);
  });

  it("fails when it is to fail without money, and whenever a wallet is closed", async () => {
    const closing = await create({ when: once(1_500) });
    await grey.wallets.closeWallet({ requestId: newId(), walletId: to, reason: "left" });
    await until(closing.id, ({ state }) => state === ScheduleState.FAILED);
    expect(await get(closing.id)).to.include({ reason: ErrorReason.WALLET_CLOSED, runCount: 1 });
    expect((await runsOf(closing.id)).map(({ state }) => state)).to.deep.equal([RunState.FAILED]);
    const poor = (await makeWallet(grey)).id;
    const failing = await create({
      movement: transfer(1n, { fromWalletId: poor, toWalletId: from }),
      when: once(1_500),
      onInsufficientFunds: InsufficientFundsPolicy.FAIL,
    });
    await until(failing.id, ({ state }) => state === ScheduleState.FAILED);
    expect((await get(failing.id)).reason).to.equal(ErrorReason.INSUFFICIENT_FUNDS);
  });

  it("skips a run of a frozen wallet and goes on", async () => {
    // More than are due now: those that were missed are made one right after the other.
    const { id } = await create({ when: cron("* * * * *", { maxRuns: 4 }) });
    await grey.wallets.freezeWallet({ requestId: newId(), walletId: from, reason: "a case" });
    await missMinutes(id, 1);
    await until(id, (_, [run]) => run?.state === RunState.SKIPPED && run.reason === ErrorReason.WALLET_FROZEN);
    expect((await get(id)).state).to.equal(ScheduleState.ACTIVE);
  });

  it("does nothing while it is paused; a single run is made once it is resumed", async () => {
    const paused = await create({ when: once(1_500) });
    const other = await create({ when: once(1_600) });
    const reply = await grey.schedules.pauseSchedule({ requestId: newId(), scheduleId: paused.id });
    expect(reply.schedule).to.deep.include({ state: ScheduleState.PAUSED, nextRunTime: undefined });
    // The other one's run shows that the time has passed.
    await until(other.id, ({ state }) => state === ScheduleState.COMPLETED);
    expect(await runsOf(paused.id)).to.deep.equal([]);
    const resumed = await grey.schedules.resumeSchedule({ requestId: newId(), scheduleId: paused.id });
    expect(resumed.schedule?.state).to.equal(ScheduleState.ACTIVE);
    await until(paused.id, ({ state }) => state === ScheduleState.COMPLETED);
    expect(await runsOf(paused.id)).to.have.lengthOf(1);
    expect(await balanceOf(grey, to)).to.equal(20n);
  });

  it("makes no run after it was cancelled, and skips the one that was being retried", async () => {
    const cancelled = await create({ when: once(1_500) });
    const retrying = await create({
      movement: transfer(101n),
      when: once(1_500),
      onInsufficientFunds: InsufficientFundsPolicy.RETRY,
    });
    const other = await create({ when: once(1_600) });
    const { schedule } = await grey.schedules.cancelSchedule({ requestId: newId(), scheduleId: cancelled.id });
    expect(schedule).to.deep.include({ state: ScheduleState.CANCELLED, nextRunTime: undefined, runCount: 0 });
    await until(retrying.id, (_, [run]) => run?.state === RunState.RETRYING);
    const ended = await grey.schedules.cancelSchedule({ requestId: newId(), scheduleId: retrying.id });
    expect(ended.schedule).to.include({ state: ScheduleState.CANCELLED, runCount: 1 });
    expect((await runsOf(retrying.id))[0]).to.include({ state: RunState.SKIPPED, attempts: 1 });
    await until(other.id, ({ state }) => state === ScheduleState.COMPLETED);
    expect(await runsOf(cancelled.id)).to.deep.equal([]);
    expect(await balanceOf(grey, to)).to.equal(10n);
  });

  it("takes no step that does not fit its state", async () => {
    const { id: scheduleId } = await create();
    const ask = (method: "pauseSchedule" | "resumeSchedule" | "cancelSchedule") =>
      grey.schedules[method]({ requestId: newId(), scheduleId });
    expect((await refusal(ask("resumeSchedule"))).reason).to.equal("SCHEDULE_NOT_PAUSED");
    await ask("pauseSchedule");
    expect((await refusal(ask("pauseSchedule"))).reason).to.equal("SCHEDULE_NOT_ACTIVE");
    await ask("cancelSchedule");
    for (const method of ["pauseSchedule", "resumeSchedule", "cancelSchedule"] as const) {
      const error = await refusal(ask(method));
      expect(error).to.include({ reason: "SCHEDULE_ENDED", code: "FAILED_PRECONDITION" });
      expect(error.info).to.include({ schedule_id: scheduleId, schedule_state: "CANCELLED" });
    }
  });

  const impossible: readonly (readonly [
    title: string,
    over: () => Promise<Partial<CreateScheduleRequest>>,
    reason: string,
  ])[] = [
    ["whose time has passed", async () => ({ when: once(-1_000) }), "SCHEDULE_TIME_INVALID"],
    ["more than ten years ahead", async () => ({ when: once(11 * 366 * 86_400_000) }), "SCHEDULE_TIME_INVALID"],
    ["on a day that never comes", async () => ({ when: cron("0 0 30 2 *") }), "SCHEDULE_TIME_INVALID"],
    ["whose end has passed", async () => ({ when: cron("0 0 * * *", { endTime: inMs(-1) }) }), "SCHEDULE_TIME_INVALID"],
    ["to the wallet that pays", async () => ({ movement: transfer(1n, { toWalletId: from }) }), "SAME_WALLET"],
    [
      "to a wallet that does not exist",
      async () => ({ movement: transfer(1n, { toWalletId: newId() }) }),
      "WALLET_NOT_FOUND",
    ],
    [
      "in another currency",
      async () => ({ movement: transfer(1n, { amount: money(1n, "EUR") }) }),
      "CURRENCY_MISMATCH",
    ],
    [
      "to a closed wallet",
      async () => {
        await grey.wallets.closeWallet({ requestId: newId(), walletId: to, reason: "left" });
        return {};
      },
      "WALLET_CLOSED",
    ],
    [
      "from a frozen wallet to a closed one",
      async () => {
        await grey.wallets.closeWallet({ requestId: newId(), walletId: to, reason: "left" });
        await grey.wallets.freezeWallet({ requestId: newId(), walletId: from, reason: "case 17" });
        return {};
      },
      "WALLET_CLOSED",
    ],
  ];
  for (const [title, over, reason] of impossible) {
    it(`${title} is refused with ${reason}, for ever`, async () => {
      const request = requestOf(await over());
      expect((await refusal(grey.schedules.createSchedule(request))).reason).to.equal(reason);
      const again = await refusal(grey.schedules.createSchedule(request));
      expect(again.info).to.include({ replayed: "true" });
      const { schedules } = await grey.schedules.listSchedules({
        walletId: from,
        states: [],
        pageSize: 0,
        pageToken: "",
      });
      expect(schedules).to.deep.equal([]);
    });
  }

  it("may be for money that is not there yet, and for a wallet that is frozen", async () => {
    await grey.wallets.freezeWallet({ requestId: newId(), walletId: from, reason: "a case" });
    expect((await create({ movement: transfer(1_000_000n) })).state).to.equal(ScheduleState.ACTIVE);
  });

  for (const [field, over] of [
    ["recurring.cron", { cron: "61 * * * *" }],
    ["recurring.cron", { cron: "* * * * * *" }],
    ["recurring.cron", { cron: "@daily" }],
    ["recurring.time_zone", { timeZone: "Nowhere/City" }],
    ["recurring.end_time", { endTime: FAR, startTime: FAR }],
    ["recurring.max_runs", { maxRuns: -1 }],
  ] as const) {
    it(`with a ${field} of ${Object.values(over).map(String).join(" and ")} is INVALID_REQUEST and names it`, async () => {
      const error = await refusal(grey.schedules.createSchedule(requestOf({ when: cron("0 9 * * *", over) })));
      expect(error).to.include({ reason: "INVALID_REQUEST", code: "INVALID_ARGUMENT" });
      expect([...error.violations.keys()]).to.deep.equal([field]);
    });
  }

  it("is listed by either wallet and by state, newest first, page by page", async () => {
    const [a, b, c] = [await create(), await create(), await create()];
    await grey.schedules.pauseSchedule({ requestId: newId(), scheduleId: b.id });
    const list = async (over: object) => {
      const request = { walletId: "", states: [] as ScheduleState[], pageSize: 0, pageToken: "", ...over };
      return grey.schedules.listSchedules(request);
    };
    const idsOf = async (over: object) => (await list(over)).schedules.map(({ id }) => id);
    for (const walletId of [from, to]) expect(await idsOf({ walletId })).to.deep.equal([c.id, b.id, a.id]);
    expect(await idsOf({ walletId: from, states: [ScheduleState.PAUSED] })).to.deep.equal([b.id]);
    expect(await idsOf({ walletId: from, states: [ScheduleState.ACTIVE] })).to.deep.equal([c.id, a.id]);
    expect((await idsOf({ pageSize: 3 })).toSorted()).to.deep.equal([a.id, b.id, c.id].toSorted());
    const first = await list({ walletId: from, pageSize: 2 });
    expect(first.schedules.map(({ id }) => id)).to.deep.equal([c.id, b.id]);
    expect(await idsOf({ walletId: from, pageSize: 2, pageToken: first.nextPageToken })).to.deep.equal([a.id]);
    const foreign = await refusal(list({ walletId: to, pageToken: first.nextPageToken }));
    expect(foreign.reason).to.equal("PAGE_TOKEN_INVALID");
    expect((await refusal(list({ walletId: newId() }))).reason).to.equal("WALLET_NOT_FOUND");
  });

  it("tells its runs page by page, latest first", async () => {
    const { id: scheduleId } = await create({ movement: transfer(1n), when: cron("* * * * *", { maxRuns: 5 }) });
    await missMinutes(scheduleId, 8);
    await until(scheduleId, ({ state }) => state === ScheduleState.COMPLETED);
    const all = await runsOf(scheduleId);
    expect(all).to.have.lengthOf(5);
    const first = await grey.schedules.listRuns({ scheduleId, pageSize: 3, pageToken: "" });
    const rest = await grey.schedules.listRuns({ scheduleId, pageSize: 3, pageToken: first.nextPageToken });
    expect([...first.runs, ...rest.runs]).to.deep.equal(all);
    expect(rest.nextPageToken).to.equal("");
    const missing = { scheduleId: newId(), pageSize: 0, pageToken: "" };
    expect((await refusal(grey.schedules.listRuns(missing))).reason).to.equal("SCHEDULE_NOT_FOUND");
  });

  it("is made once when one of two servers is killed in the midst of many runs", async () => {
    const settings = {
      DATABASE_URL: server.databaseUrl,
      GREY_PORT: "0",
      GREY_SCHEDULE_EVERY_MS: "10",
      GREY_LOG_FORMAT: "json",
    };
    const doomed = await startGreyProcess(settings);
    await grey.transactions.deposit(depositRequest(from, 1_000n));
    const when = once(5_000);
    const schedules = await Promise.all(Array.from({ length: 100 }, () => create({ movement: transfer(1n), when })));
    await eventually("the first runs", async () => (await balanceOf(grey, to)) > 0n, WAIT_MS_MAX);
    doomed.signal("SIGKILL");
    await doomed.ended;
    for (const { id } of schedules) await until(id, ({ state }) => state === ScheduleState.COMPLETED);
    expect(await balanceOf(grey, to)).to.equal(100n);
    const runs = await Promise.all(schedules.map(({ id }) => runsOf(id)));
    expect(runs.map((some) => some.length)).to.deep.equal(Array(100).fill(1));
    expect(new Set(runs.flat().map(({ transactionId }) => transactionId)).size).to.equal(100);
  });

  it("leaves books that add up", async () => {
    expect((await grey.ledger.checkIntegrity({ maxFaults: 0 })).faults).to.deep.equal([]);
  });
});
