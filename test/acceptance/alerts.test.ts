import { credentials } from "@grpc/grpc-js";
import { expect } from "chai";
import { AlertBalance, AlertDirection, type AlertEvent } from "../../generated/grey/alert/v1/alert_service.js";
import { LedgerServiceClient } from "../../generated/grey/ledger/v1/ledger_service.js";
import type { StreamIntegrityCheckResponse } from "../../generated/grey/ledger/v1/integrity.js";
import { EntrySide } from "../../generated/grey/transaction/v1/transaction.js";
import { HoldRequest } from "../../generated/grey/transaction/v1/hold.js";
import { PostTransactionRequest } from "../../generated/grey/transaction/v1/compound.js";
import { newId, type Uuid } from "../../src/base/ids.js";
import { connect, refusal, type CallError, type Clients } from "../support/client.js";
import { depositRequest, makeWallet, money, withdrawRequest } from "../support/ledger.js";
import { eventually } from "../support/process.js";
import { startServer, type TestServer } from "../support/server.js";
import { follow } from "../support/watch.js";

const { UP, DOWN, BOTH } = AlertDirection;

describe("a balance alert", () => {
  let server: TestServer;
  let grey: Clients;
  let ledger: LedgerServiceClient;
  let walletId: Uuid;

  before(async () => {
    server = await startServer({ GREY_ALERT_EVERY_MS: "20" });
    grey = connect(server.address);
    ledger = new LedgerServiceClient(server.address, credentials.createInsecure());
  });
  after(async () => {
    ledger.close();
    grey.close();
    await server.stop();
  });
  beforeEach(async () => {
    walletId = (await makeWallet(grey, { minorUnits: 100n })).id;
  });

  async function watch(threshold: bigint, direction = BOTH, balance = AlertBalance.UNSPECIFIED): Promise<Uuid> {
    const request = { requestId: newId(), walletId, threshold: money(threshold), direction, balance };
    return (await grey.alerts.createAlert(request)).alert!.id;
  }

  async function eventsOf(alertId: Uuid): Promise<AlertEvent[]> {
    return (await grey.alerts.listAlertEvents({ alertId, pageSize: 0, pageToken: "" })).events;
  }

  /** The end of a check of all books, or of what is new from a place in the journal on. */
  async function check(from?: bigint): Promise<StreamIntegrityCheckResponse> {
    const watch = await follow(
      ledger.streamIntegrityCheck({
        maxFaults: 0,
        from: from === undefined ? undefined : { $case: "fromJournalIndex", value: from },
      }),
    );
    expect(await watch.ended).to.equal(undefined);
    return watch.messages.at(-1)!;
  }

  /** Waits until the journal is read up to here: an alert that is made now notes what comes next. */
  async function settled(): Promise<void> {
    const marker = await watch(1_000_000n);
    await grey.transactions.deposit(depositRequest(walletId, 1_000_000n));
    await eventually("the marker's event", async () => (await eventsOf(marker)).length === 1);
  }

  it("notes each crossing once, with the transaction and the balances before and after", async () => {
    const id = await watch(50n, BOTH, AlertBalance.POSTED);
    const down = await grey.transactions.withdraw(withdrawRequest(walletId, 51n));
    await grey.transactions.withdraw(withdrawRequest(walletId, 9n));
    const up = await grey.transactions.deposit(depositRequest(walletId, 10n));
    await settled();
    const [latest, first, ...more] = await eventsOf(id);
    expect(more).to.deep.equal([]);
    expect(first).to.deep.include({
      alertId: id,
      direction: DOWN,
      transactionId: down.transaction!.id,
      balanceBefore: money(100n),
      balanceAfter: money(49n),
      accountSequence: 2n,
      journalIndex: down.transaction!.journalIndex,
    });
    expect(latest).to.deep.include({
      direction: UP,
      transactionId: up.transaction!.id,
      balanceBefore: money(40n),
      balanceAfter: money(50n),
    });
  });

  it("notes only the way that it asks for", async () => {
    const [up, down] = [await watch(50n, UP), await watch(50n, DOWN)];
    for (let round = 0; round < 3; round += 1) {
      await grey.transactions.withdraw(withdrawRequest(walletId, 60n));
      await grey.transactions.deposit(depositRequest(walletId, 60n));
    }
    await settled();
    expect((await eventsOf(up)).map(({ direction }) => direction)).to.deep.equal([UP, UP, UP]);
    expect((await eventsOf(down)).map(({ direction }) => direction)).to.deep.equal([DOWN, DOWN, DOWN]);
  });

  it("watches what is available unless it says otherwise: a hold crosses it", async () => {
    const [available, posted] = [await watch(50n), await watch(50n, BOTH, AlertBalance.POSTED)];
    const { alert } = await grey.alerts.getAlert({ id: available });
    expect(alert).to.include({ balance: AlertBalance.AVAILABLE });
    const hold = await grey.transactions.hold(
      HoldRequest.fromPartial({ requestId: newId(), walletId, amount: money(70n) }),
    );
    await settled();
    expect(await eventsOf(posted)).to.deep.equal([]);
    const [only, ...more] = (await eventsOf(available)).filter(({ direction }) => direction === DOWN);
    expect(more).to.deep.equal([]);
    expect(only).to.deep.include({
      transactionId: hold.transaction!.id,
      balanceBefore: money(100n),
      balanceAfter: money(30n),
    });
  });

  it("takes all legs that a transaction has on the wallet for one step", async () => {
    const id = await watch(50n, BOTH, AlertBalance.POSTED);
    const other = (await makeWallet(grey, { minorUnits: 1_000n })).id;
    const { journalSize: start } = await check();
    const leg = (wallet: Uuid, side: EntrySide, minorUnits: bigint) => ({
      account: { $case: "walletId" as const, value: wallet },
      side,
      amount: money(minorUnits),
    });
    const post = (legs: ReturnType<typeof leg>[]) =>
      grey.transactions.postTransaction(PostTransactionRequest.fromPartial({ requestId: newId(), legs }));
    // On the way the balance would be 10.
    await post([
      leg(walletId, EntrySide.DEBIT, 90n),
      leg(walletId, EntrySide.CREDIT, 80n),
      leg(other, EntrySide.CREDIT, 10n),
    ]);
    const { transaction } = await post([
      leg(walletId, EntrySide.DEBIT, 30n),
      leg(walletId, EntrySide.DEBIT, 20n),
      leg(other, EntrySide.CREDIT, 50n),
    ]);
    // It crosses on the way, and not in the end: nothing is to be noted.
    await post([leg(walletId, EntrySide.CREDIT, 90n), leg(walletId, EntrySide.DEBIT, 90n)]);
    await settled();
    const crossed = (await eventsOf(id)).filter(({ direction }) => direction === DOWN);
    expect(crossed).to.have.lengthOf(1);
    expect(crossed[0]).to.deep.include({
      transactionId: transaction!.id,
      balanceBefore: money(90n),
      balanceAfter: money(40n),
      accountSequence: 5n,
    });
    for (const from of [start, undefined]) expect((await check(from)).report!.faults).to.deep.equal([]);
  });

  it("ends when it is deleted, and keeps what it noted", async () => {
    const id = await watch(50n);
    await grey.transactions.withdraw(withdrawRequest(walletId, 60n));
    const { alert } = await grey.alerts.deleteAlert({ requestId: newId(), alertId: id });
    expect(alert?.deleteTime).not.to.equal(undefined);
    await grey.transactions.deposit(depositRequest(walletId, 60n));
    await settled();
    expect((await eventsOf(id)).map(({ direction }) => direction)).to.deep.equal([DOWN]);
    expect((await grey.alerts.getAlert({ id })).alert).to.deep.equal(alert);
    const again = await refusal(grey.alerts.deleteAlert({ requestId: newId(), alertId: id }));
    expect(again).to.include({ reason: "ALERT_NOT_FOUND", code: "NOT_FOUND" });
  });

  it("is listed by its wallet, newest first, page by page, until it is deleted", async () => {
    const [a, b, c] = [await watch(1n), await watch(2n), await watch(3n)];
    await grey.alerts.deleteAlert({ requestId: newId(), alertId: b });
    const first = await grey.alerts.listAlerts({ walletId, pageSize: 1, pageToken: "" });
    expect(first.alerts.map(({ id }) => id)).to.deep.equal([c]);
    const rest = await grey.alerts.listAlerts({ walletId, pageSize: 1, pageToken: first.nextPageToken });
    expect([rest.alerts.map(({ id }) => id), rest.nextPageToken]).to.deep.equal([[a], ""]);
    const missing = { walletId: newId(), pageSize: 0, pageToken: "" };
    expect((await refusal(grey.alerts.listAlerts(missing))).reason).to.equal("WALLET_NOT_FOUND");
  });

  it("tells its events page by page, latest first", async () => {
    const alertId = await watch(50n);
    for (let round = 0; round < 2; round += 1) {
      await grey.transactions.withdraw(withdrawRequest(walletId, 60n));
      await grey.transactions.deposit(depositRequest(walletId, 60n));
    }
    await settled();
    const all = await eventsOf(alertId);
    expect(all).to.have.lengthOf(4);
    const first = await grey.alerts.listAlertEvents({ alertId, pageSize: 3, pageToken: "" });
    const rest = await grey.alerts.listAlertEvents({ alertId, pageSize: 3, pageToken: first.nextPageToken });
    expect([...first.events, ...rest.events]).to.deep.equal(all);
    const missing = { alertId: newId(), pageSize: 0, pageToken: "" };
    expect((await refusal(grey.alerts.listAlertEvents(missing))).reason).to.equal("ALERT_NOT_FOUND");
  });

  it("is refused for a wallet that does not exist, and in another currency", async () => {
    const request = { walletId, threshold: money(1n), direction: DOWN, balance: AlertBalance.POSTED };
    const nobody = await refusal(grey.alerts.createAlert({ ...request, requestId: newId(), walletId: newId() }));
    expect(nobody.reason).to.equal("WALLET_NOT_FOUND");
    const other = { ...request, requestId: newId(), threshold: money(1n, "EUR") };
    expect((await refusal(grey.alerts.createAlert(other))).reason).to.equal("CURRENCY_MISMATCH");
    const unset = await refusal(
      grey.alerts.createAlert({ ...request, requestId: newId(), direction: AlertDirection.UNSPECIFIED }),
    );
    expect([...unset.violations.keys()]).to.deep.equal(["direction"]);
  });

  it("is one of at most a hundred of its wallet, also when more are made at the same time", async () => {
    const made = await Promise.allSettled(Array.from({ length: 130 }, (_, index) => watch(BigInt(index + 1))));
    const refused = made.filter((one) => one.status === "rejected");
    expect(refused.map(({ reason }) => (reason as CallError).reason)).to.deep.equal(Array(30).fill("TOO_MANY_ALERTS"));
    const { alerts } = await grey.alerts.listAlerts({ walletId, pageSize: 1_000, pageToken: "" });
    expect(alerts).to.have.lengthOf(100);
  });

  it("leaves books that add up", async () => {
    expect((await grey.ledger.checkIntegrity({ maxFaults: 0 })).faults).to.deep.equal([]);
  });
});
