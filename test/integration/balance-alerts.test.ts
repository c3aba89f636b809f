import { expect } from "chai";
import * as fc from "fast-check";
import { newId, type Uuid } from "../../src/base/ids.js";
import { readConfig } from "../../src/config/config.js";
import { connectDatabase } from "../../src/db/database.js";
import { ALERT_BALANCE, ALERT_DIRECTION, type AlertBalance, type AlertDirection } from "../../src/entities/alert.js";
import { RECORD_TYPE } from "../../src/entities/journal.js";
import { readPage, startBalanceAlerts } from "../../src/readers/balance-alerts.js";
import { openEngineLedger, WAIT_MS_MAX, type EngineLedger, type TestEngine } from "../support/engine.js";
import { startFaultProxy } from "../support/fault-proxy.js";
import { capture, hold, release } from "../support/holds.js";
import { assertIntegrity, deposit, PATIENT, transfer, withdrawal } from "../support/ledger.js";
import { eventually } from "../support/process.js";

const { UP, DOWN, BOTH } = ALERT_DIRECTION;
const { AVAILABLE, POSTED } = ALERT_BALANCE;

interface Event {
  readonly direction: AlertDirection;
  readonly balance_before: bigint;
  readonly balance_after: bigint;
}

describe("balance alerts", () => {
  let ledger: EngineLedger;
  let engine: TestEngine;
  let wallet: Uuid;
  let other: Uuid;

  beforeEach(async () => {
    ledger = await openEngineLedger();
    engine = await ledger.startEngine();
    [wallet = "", other = ""] = await ledger.openWallets(2);
  });
  afterEach(() => ledger.close());

  /** Creates an alert that counts from the next record of the journal on. */
  async function watch(
    threshold: bigint,
    direction: AlertDirection = BOTH,
    balance: AlertBalance = POSTED,
    account = wallet,
  ): Promise<Uuid> {
    const id = newId();
    await ledger.admin.query(
      `INSERT INTO balance_alerts (id, account_id, currency_code, threshold, direction, balance, start_index, create_time)
       SELECT $1, $2, 'USD', $3, $4, $5, size - 1, clock_timestamp() FROM journal_head`,
      [id, account, threshold, direction, balance],
    );
    return id;
  }

  async function readAll(limit = 1_000): Promise<void> {
    while ((await readPage(ledger.database, limit)) > 0);
  }

  async function eventsOf(alertId: Uuid): Promise<Event[]> {
    const { rows } = await ledger.admin.query<Event>(
      "SELECT direction, balance_before, balance_after FROM balance_alert_events WHERE alert_id = $1 ORDER BY sequence",
      [alertId],
    );
    return rows;
  }

  async function crossingsOf(alertId: Uuid): Promise<(readonly [AlertDirection, bigint, bigint])[]> {
    return (await eventsOf(alertId)).map((one) => [one.direction, one.balance_before, one.balance_after]);
  }

  async function recordCount(): Promise<bigint> {
    const { rows } = await ledger.admin.query<{ count: bigint }>(
      `SELECT count(*) FROM journal_batches, unnest(record_ids, record_types) AS r (id, type)
       JOIN balance_alert_events e ON e.id = r.id WHERE r.type = ${RECORD_TYPE.BALANCE_ALERT_CROSSED}`,
    );
    return rows[0]!.count;
  }

  it("record each crossing within one batch", async () => {
    const both = await watch(100n);
    const [up, down] = [await watch(100n, UP), await watch(100n, DOWN)];
    await engine.post([
      deposit(wallet, 100n),
      withdrawal(wallet, 1n),
      deposit(wallet, 500n),
      withdrawal(wallet, 200n),
      transfer(wallet, other, 300n),
    ]);
    await readAll();
    expect(await crossingsOf(both)).to.deep.equal([
      [UP, 0n, 100n],
      [DOWN, 100n, 99n],
      [UP, 99n, 599n],
      [DOWN, 399n, 99n],
    ]);
    expect((await crossingsOf(up)).map(([way]) => way)).to.deep.equal([UP, UP]);
    expect((await crossingsOf(down)).map(([way]) => way)).to.deep.equal([DOWN, DOWN]);
    expect(await recordCount()).to.equal(8n);
    await assertIntegrity(ledger.database);
  });

  it("on the available balance see holds, those on the posted balance do not", async () => {
    await engine.postOne(deposit(wallet, 100n));
    const [available, posted] = [await watch(50n, BOTH, AVAILABLE), await watch(50n, BOTH, POSTED)];
    const [first, second] = [hold(wallet, 60n), hold(wallet, 30n)];
    await engine.engine.post({ commands: [first, second], mode: "INDEPENDENT" }, PATIENT);
    await engine.engine.post({ commands: [release(first.transactionId)], mode: "INDEPENDENT" }, PATIENT);
    await engine.engine.post({ commands: [capture(second.transactionId, null)], mode: "INDEPENDENT" }, PATIENT);
    await readAll();
    expect(await crossingsOf(available)).to.deep.equal([
      [DOWN, 100n, 40n],
      [UP, 10n, 70n],
    ]);
    expect(await crossingsOf(posted)).to.deep.equal([]);
    await assertIntegrity(ledger.database);
  });

  it("record crossings after they are created, and none after they are deleted", async () => {
    await engine.postOne(deposit(wallet, 100n));
    const id = await watch(50n);
    await engine.postOne(withdrawal(wallet, 60n));
    await ledger.admin.query(
      "UPDATE balance_alerts SET delete_time = now(), end_index = (SELECT size FROM journal_head) WHERE id = $1",
      [id],
    );
    await engine.postOne(deposit(wallet, 60n));
    await readAll();
    expect(await crossingsOf(id)).to.deep.equal([[DOWN, 100n, 40n]]);
    await assertIntegrity(ledger.database);
  });

  it("record the crossings of both wallets of a transfer", async () => {
    await engine.postOne(deposit(wallet, 100n));
    const [mine, its] = [await watch(50n), await watch(50n, BOTH, POSTED, other)];
    await engine.postOne(transfer(wallet, other, 70n));
    await readAll();
    expect(await crossingsOf(mine)).to.deep.equal([[DOWN, 100n, 30n]]);
    expect(await crossingsOf(its)).to.deep.equal([[UP, 0n, 70n]]);
  });

  it("agree with a model that looks at every entry, whatever the pages and however many processes read", async () => {
    const second = await connectDatabase(ledger.url, readConfig({ DATABASE_URL: ledger.url }));
    const wallets = [wallet, other, ...(await ledger.openWallets(2))];
    const thresholds = [1n, 25n, 60n];
    const alerts: { id: Uuid; account: Uuid; threshold: bigint; start: bigint }[] = [];
    for (const account of wallets.slice(0, 3)) {
      for (const threshold of thresholds) {
        const id = await watch(threshold, BOTH, POSTED, account);
        const { rows } = await ledger.admin.query<{ start_index: bigint }>(
          "SELECT start_index FROM balance_alerts WHERE id = $1",
          [id],
        );
        alerts.push({ id, account, threshold, start: rows[0]!.start_index });
      }
    }
    const pick = fc.integer({ min: 0, max: 3 });
    const movement = fc.record({ kind: pick, a: pick, b: pick, amount: fc.bigInt({ min: 1n, max: 50n }) });
    await fc.assert(
      fc.asyncProperty(
        fc.array(movement, { minLength: 1, maxLength: 30 }),
        fc.integer({ min: 1, max: 9 }),
        async (moves, limit) => {
          // Each round crosses every threshold twice, whatever fast-check draws.
          const drains = wallets.map((id) => withdrawal(id, 1_000_000n, { isUpTo: true }));
          await engine.post([...drains, ...wallets.map((id) => deposit(id, 100n))]);
          const posting = moves.map(({ kind, a, b, amount }) => {
            const [from, to] = [wallets[a]!, wallets[b]!];
            if (kind === 0 || from === to) return engine.postOne(deposit(to, amount));
            return kind === 1
              ? engine.postOne(withdrawal(from, amount))
              : engine.post([deposit(from, amount), transfer(from, to, amount * 2n)]);
          });
          const reading = [ledger.database, second, second].map((database) => readPage(database, limit));
          await Promise.all([...posting, ...reading]);
        },
      ),
      { numRuns: 15 },
    );
    await Promise.all([readAll(3), readAll(5)]);
    await readAll();
    await second.dataSource.destroy();
    let crossed = 0;
    for (const { id, account, threshold, start } of alerts) {
      const { rows } = await ledger.admin.query<{ after: bigint; index: bigint }>(
        "SELECT balance_after AS after, journal_index AS index FROM entries WHERE account_id = $1 ORDER BY sequence",
        [account],
      );
      const model: [AlertDirection, bigint, bigint][] = [];
      let before = 0n;
      for (const { after, index } of rows) {
        if (index > start && before >= threshold && after < threshold) model.push([DOWN, before, after]);
        if (index > start && before < threshold && after >= threshold) model.push([UP, before, after]);
        before = after;
      }
      expect(await crossingsOf(id)).to.deep.equal(model);
      crossed += model.length;
    }
    expect(crossed).to.be.greaterThan(200);
    expect(await recordCount()).to.equal(BigInt(crossed));
    await assertIntegrity(ledger.database);
  });

  it("catch up after a pause, and after a reader that died while it wrote", async () => {
    const id = await watch(50n);
    for (let round = 0; round < 20; round += 1) {
      await engine.post([deposit(wallet, 60n), withdrawal(wallet, 60n)]);
    }
    const proxy = await startFaultProxy(ledger.url);
    const doomed = await connectDatabase(proxy.url, readConfig({ DATABASE_URL: proxy.url }));
    for (const effect of ["RESET_BEFORE", "LOSE_REPLY"] as const) {
      const trap = proxy.trap(({ sql }) => sql.includes("INSERT INTO balance_alert_events"), effect);
      await readPage(doomed, 7).catch(() => undefined);
      await trap.sprung;
    }
    const commit = proxy.trap(({ sql, hasWritten }) => /COMMIT/i.test(sql) && hasWritten, "LOSE_REPLY");
    await readPage(doomed, 7).catch(() => undefined);
    await commit.sprung;
    await doomed.dataSource.destroy();
    await proxy.stop();
    await readAll(7);
    expect((await crossingsOf(id)).map(([way]) => way)).to.deep.equal(
      Array.from({ length: 20 }, () => [UP, DOWN]).flat(),
    );
    expect(await recordCount()).to.equal(40n);
    await assertIntegrity(ledger.database);
  });

  it("are read in the background, by one of several processes", async () => {
    const id = await watch(50n);
    const errors: unknown[] = [];
    const readers = [engine.database, ledger.database].map((database) =>
      startBalanceAlerts(database, { intervalMs: 10, batchMax: 3 }, (error) => errors.push(error)),
    );
    for (let round = 0; round < 10; round += 1) {
      await engine.postOne(deposit(wallet, 60n));
      await engine.postOne(withdrawal(wallet, 60n));
    }
    await eventually("all crossings", async () => (await eventsOf(id)).length === 20, WAIT_MS_MAX);
    for (const reader of readers) await reader.stop();
    expect(errors).to.deep.equal([]);
    await readAll();
    expect(await eventsOf(id)).to.have.lengthOf(20);
  });

  it("read only the sizes of the journal's batches while there are none", async () => {
    await engine.post([deposit(wallet, 60n), withdrawal(wallet, 60n)]);
    await readAll();
    const { rows } = await ledger.admin.query("SELECT FROM reader_cursors, journal_head WHERE next_index = size");
    expect(rows).to.have.lengthOf(1);
    expect(await readPage(ledger.database, 10)).to.equal(0);
  });
});
