import { randomUUID } from "node:crypto";
import { expect } from "chai";
import pg from "pg";
import { WalletState } from "../../generated/grey/wallet/v1/wallet.js";
import { connect, refusal, type CallError, type Clients } from "../support/client.js";
import { startServer, type TestServer } from "../support/server.js";

/** Freezing, unfreezing, closing and reopening, as a client has them. */
describe("a wallet's state", function () {
  this.timeout(60_000);

  let servers: readonly TestServer[];
  let grey: Clients;
  let there: Clients;
  let admin: pg.Client;
  let userId: string;

  before(async () => {
    const first = await startServer();
    servers = [first, await startServer({ DATABASE_URL: first.databaseUrl })];
    grey = connect(first.address);
    there = connect(servers[1]!.address);
    admin = new pg.Client(first.databaseUrl);
    await admin.connect();
    userId = await createUser();
  });
  after(async () => {
    const { faults } = await grey.ledger.checkIntegrity({ maxFaults: 10 });
    grey.close();
    there.close();
    await admin.end();
    for (const server of servers.toReversed()) await server.stop();
    expect(faults).to.deep.equal([]);
  });

  const usd = (minorUnits: bigint) => ({ currencyCode: "USD", minorUnits });
  const asked = () => ({ requestId: randomUUID(), description: "", metadata: {}, externalReference: "" });
  const change = (walletId: string, reason = "case 17") => ({ requestId: randomUUID(), walletId, reason });

  async function createUser(): Promise<string> {
    const email = `${randomUUID()}@example.com`;
    const { user } = await grey.users.createUser({ requestId: randomUUID(), name: "Ada", email, metadata: {} });
    return user!.id;
  }

  async function openWallet(minorUnits = 0n, owner = userId): Promise<string> {
    const request = { requestId: randomUUID(), userId: owner, currencyCode: "USD", label: "", metadata: {} };
    return (await grey.wallets.createWallet({ ...request, initialBalance: usd(minorUnits) })).wallet!.id;
  }

  function depositRequest(walletId: string, minorUnits: bigint) {
    return { ...asked(), walletId, amount: usd(minorUnits), systemAccount: "", effectiveTime: undefined };
  }

  async function typesOf(walletId: string): Promise<number[]> {
    const { rows } = await admin.query<{ type: number }>(
      `SELECT type FROM journal_batches, unnest(record_ids, record_types) WITH ORDINALITY AS r (id, type, position)
       WHERE r.id = $1 ORDER BY first_index + position`,
      [walletId],
    );
    return rows.map(({ type }) => type);
  }

  it("frozen keeps it from every movement, until it is unfrozen; both tell why", async () => {
    const [wallet, other] = [await openWallet(10n), await openWallet(10n)];
    // Both servers remember the wallet as open.
    for (const clients of [grey, there]) await clients.transactions.deposit(depositRequest(wallet, 1n));
    const before = (await grey.wallets.getWallet({ id: wallet })).wallet!;
    const request = change(wallet, "case 17");
    const freezing = await grey.wallets.freezeWallet(request);
    const { wallet: frozen, replayed } = freezing;
    expect(frozen).to.deep.include({ state: WalletState.FROZEN, stateReason: "case 17" });
    expect(frozen!.etag).not.to.equal(before.etag);
    expect(replayed).to.equal(false);
    expect((await grey.wallets.getWallet({ id: wallet })).wallet).to.deep.equal(frozen);
    const transfer = { ...asked(), fromWalletId: wallet, toWalletId: other, amount: usd(1n), effectiveTime: undefined };
    for (const clients of [grey, there]) {
      for (const attempt of [
        clients.transactions.deposit(depositRequest(wallet, 1n)),
        clients.transactions.withdraw(depositRequest(wallet, 1n)),
        clients.transactions.transfer({ ...transfer, requestId: randomUUID() }),
        clients.transactions.transfer({
          ...transfer,
          requestId: randomUUID(),
          fromWalletId: other,
          toWalletId: wallet,
        }),
      ]) {
        expect(await refusal(attempt)).to.include({ code: "FAILED_PRECONDITION", reason: "WALLET_FROZEN" });
      }
    }
    expect((await refusal(grey.wallets.freezeWallet(change(wallet)))).reason).to.equal("WALLET_FROZEN");
    expect((await refusal(grey.wallets.closeWallet(change(wallet)))).reason).to.equal("WALLET_FROZEN");
    expect((await refusal(grey.wallets.reopenWallet(change(wallet)))).reason).to.equal("WALLET_NOT_CLOSED");
    const { wallet: open } = await there.wallets.unfreezeWallet(change(wallet, "settled"));
    expect(open).to.deep.include({ state: WalletState.OPEN, stateReason: "settled" });
    expect(await grey.wallets.freezeWallet(request)).to.deep.equal({ ...freezing, replayed: true });
    expect((await refusal(grey.wallets.freezeWallet({ ...request, reason: "x" }))).info.differs).to.equal("reason");
    await grey.transactions.transfer({ ...transfer, requestId: randomUUID() });
    expect((await refusal(grey.wallets.unfreezeWallet(change(wallet)))).reason).to.equal("WALLET_NOT_FROZEN");
    expect(await typesOf(wallet)).to.deep.equal([6, 10, 11]);
  });

  it("closed takes an empty wallet without holds, and keeps it from every movement, until it is reopened", async () => {
    const [wallet, payer] = [await openWallet(5n), await openWallet(10n)];
    const full = await refusal(grey.wallets.closeWallet(change(wallet)));
    expect(full).to.include({ code: "FAILED_PRECONDITION", reason: "WALLET_NOT_EMPTY" });
    expect(full.info).to.include({ posted_minor_units: "5", pending_incoming_minor_units: "0" });
    await grey.transactions.withdraw(depositRequest(wallet, 5n));
    const { hold } = await grey.transactions.hold({
      ...asked(),
      walletId: payer,
      toWalletId: wallet,
      amount: usd(3n),
      expiry: undefined,
    });
    const expecting = await refusal(grey.wallets.closeWallet(change(wallet)));
    expect(expecting.info).to.include({ posted_minor_units: "0", pending_incoming_minor_units: "3" });
    await grey.transactions.releaseHold({ ...asked(), holdId: hold!.id });
    const { wallet: closed } = await grey.wallets.closeWallet(change(wallet, "left"));
    expect(closed).to.deep.include({ state: WalletState.CLOSED, stateReason: "left" });
    for (const clients of [grey, there]) {
      expect((await refusal(clients.transactions.deposit(depositRequest(wallet, 1n)))).reason).to.equal(
        "WALLET_CLOSED",
      );
    }
    for (const attempt of [
      grey.wallets.closeWallet(change(wallet)),
      grey.wallets.freezeWallet(change(wallet)),
      grey.wallets.unfreezeWallet(change(wallet)),
    ]) {
      expect((await refusal(attempt)).reason).to.equal("WALLET_CLOSED");
    }
    await grey.wallets.reopenWallet(change(wallet, "back"));
    await grey.transactions.deposit(depositRequest(wallet, 1n));
    expect(await typesOf(wallet)).to.deep.equal([6, 9, 12]);
  });

  it("stays closed once its user is deleted", async () => {
    const owner = await createUser();
    const wallet = await openWallet(0n, owner);
    await grey.users.deleteUser({ requestId: randomUUID(), userId: owner, etag: "" });
    expect((await refusal(grey.wallets.reopenWallet(change(wallet)))).reason).to.equal("USER_NOT_FOUND");
  });

  it("is changed under an id that is a wallet's only", async () => {
    const { account } = await grey.ledger.getAccount({
      by: { $case: "systemAccount", value: { name: "cash", currencyCode: "USD" } },
    });
    for (const id of [randomUUID(), account!.id]) {
      expect((await refusal(grey.wallets.freezeWallet(change(id)))).reason).to.equal("WALLET_NOT_FOUND");
    }
  });

  it("closing against a deposit: one of them wins, on two servers", async () => {
    for (let round = 0; round < 20; round += 1) {
      const wallet = await openWallet();
      await there.transactions.deposit(depositRequest(wallet, 1n));
      await there.transactions.withdraw(depositRequest(wallet, 1n));
      const [close, deposit] = await Promise.allSettled([
        grey.wallets.closeWallet(change(wallet)),
        (round % 2 === 0 ? grey : there).transactions.deposit(depositRequest(wallet, 5n)),
      ]);
      expect([close.status, deposit.status].sort(), `round ${round}`).to.deep.equal(["fulfilled", "rejected"]);
      if (close.status === "rejected") expect((close.reason as CallError).reason).to.equal("WALLET_NOT_EMPTY");
      if (deposit.status === "rejected") expect((deposit.reason as CallError).reason).to.equal("WALLET_CLOSED");
      const { wallet: now, balance } = await grey.wallets.getWallet({ id: wallet });
      expect(balance!.posted!.minorUnits).to.equal(now!.state === WalletState.CLOSED ? 0n : 5n);
    }
  });

  it("freezing against transfers: whatever is posted was posted before", async () => {
    const [wallet, other] = [await openWallet(1_000n), await openWallet()];
    const attempts = Array.from({ length: 100 }, (_, index) =>
      (index % 2 === 0 ? grey : there).transactions.transfer({
        ...asked(),
        fromWalletId: wallet,
        toWalletId: other,
        amount: usd(1n),
        effectiveTime: undefined,
      }),
    );
    const freezing = grey.wallets.freezeWallet(change(wallet));
    await Promise.allSettled(attempts);
    await freezing;
    const { rows } = await admin.query<{ late: number }>(
      `SELECT count(*)::int AS late FROM transactions t, (
         SELECT first_index + position - 1 AS index FROM journal_batches, unnest(record_ids, record_types)
           WITH ORDINALITY AS r (id, type, position) WHERE r.id = $1 AND type = 10
       ) frozen
       WHERE t.debit_account_id = $1 AND ((t.state = 1 AND t.journal_index > frozen.index) OR (t.state = 2 AND t.journal_index < frozen.index))`,
      [wallet],
    );
    expect(rows[0]!.late).to.equal(0);
  });
});
