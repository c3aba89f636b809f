import { expect } from "chai";
import type pg from "pg";
import { CreateCurrencyRequest } from "../../generated/grey/ledger/v1/currency.js";
import { NormalSide } from "../../generated/grey/ledger/v1/account.js";
import { EntrySide, TransactionKind } from "../../generated/grey/transaction/v1/transaction.js";
import { UpdateWalletRequest, WalletState } from "../../generated/grey/wallet/v1/wallet.js";
import { newId, systemAccountId, type Uuid } from "../../src/base/ids.js";
import { AMOUNT_MAX } from "../../src/base/money.js";
import { connect, refusal, type Clients } from "../support/client.js";
import {
  countRows,
  depositRequest,
  makeUser,
  makeWallet,
  money,
  openAdmin,
  transferRequest,
  walletRequest,
  withdrawRequest,
} from "../support/ledger.js";
import { waitsForLock } from "../support/engine.js";
import { startServer, type TestServer } from "../support/server.js";

describe("wallets", () => {
  let server: TestServer;
  let clients: Clients;
  let admin: pg.Client;

  before(async () => {
    server = await startServer();
    clients = connect(server.address);
    admin = await openAdmin(server.databaseUrl);
  });
  after(async () => {
    clients.close();
    await admin.end();
    await server.stop();
  });

  it("are opened with an initial balance by double entry from the account `opening`", async () => {
    const userId = (await makeUser(clients)).id;
    const opening = { by: { $case: "systemAccount" as const, value: { name: "opening", currencyCode: "USD" } } };
    const before = (await clients.ledger.getAccount(opening)).account!;
    const request = walletRequest({ userId, minorUnits: 100_000n, label: "savings", metadata: { a: "1" } });
    const { wallet, balance, replayed } = await clients.wallets.createWallet(request);
    expect(replayed).to.equal(false);
    expect(wallet).to.deep.include({
      userId,
      currencyCode: "USD",
      label: "savings",
      metadata: { a: "1" },
      state: WalletState.OPEN,
    });
    expect(balance).to.deep.equal({
      walletId: wallet!.id,
      posted: money(100_000n),
      available: money(100_000n),
      pendingOutgoing: money(0n),
      pendingIncoming: money(0n),
      version: 1n,
    });
    const after = (await clients.ledger.getAccount(opening)).account!;
    expect(after.normalSide).to.equal(NormalSide.DEBIT);
    expect(after.balance!.minorUnits - before.balance!.minorUnits).to.equal(100_000n);
    const found = await clients.transactions.getTransaction({ by: { $case: "requestId", value: request.requestId } });
    expect(found.transaction!.kind).to.equal(TransactionKind.OPENING);
    expect(found.transaction!.entries).to.deep.equal([
      {
        accountId: after.id,
        side: EntrySide.DEBIT,
        amount: money(100_000n),
        balanceAfter: after.balance,
        accountSequence: after.accountSequence,
      },
      {
        accountId: wallet!.id,
        side: EntrySide.CREDIT,
        amount: money(100_000n),
        balanceAfter: money(100_000n),
        accountSequence: 1n,
      },
    ]);
  });

  for (const [title, initialBalance] of [
    ["without", undefined],
    ["with a zero", money(0n)],
  ] as const) {
    it(`that are opened ${title} initial balance post nothing`, async () => {
      const userId = (await makeUser(clients)).id;
      const before = await countRows(admin);
      const { balance } = await clients.wallets.createWallet({ ...walletRequest({ userId }), initialBalance });
      const after = await countRows(admin);
      expect([after.transactions, after.entries]).to.deep.equal([before.transactions, before.entries]);
      expect([balance!.posted, balance!.version]).to.deep.equal([money(0n), 0n]);
    });
  }

  const refused: readonly {
    readonly title: string;
    readonly over: Parameters<typeof walletRequest>[0];
    readonly expected: readonly string[];
  }[] = [
    { title: "a user that does not exist", over: { userId: newId() }, expected: ["NOT_FOUND", "USER_NOT_FOUND"] },
    {
      title: "a currency that does not exist",
      over: { currencyCode: "ZZZ" },
      expected: ["NOT_FOUND", "CURRENCY_NOT_FOUND"],
    },
    {
      title: "an initial balance in another currency",
      over: { initialBalance: money(1n, "EUR") },
      expected: ["INVALID_ARGUMENT", "INVALID_REQUEST"],
    },
    {
      title: "a negative initial balance",
      over: { initialBalance: money(-1n) },
      expected: ["INVALID_ARGUMENT", "INVALID_REQUEST"],
    },
    {
      title: "more than the operator's account can hold",
      over: { initialBalance: money(AMOUNT_MAX) },
      expected: ["OUT_OF_RANGE", "BALANCE_OVERFLOW"],
    },
  ];
  for (const { title, over, expected } of refused) {
    it(`are not opened for ${title}, and nothing of them is left`, async () => {
      const userId = (await makeWallet(clients, { minorUnits: 1n })).userId;
      const { requests: _before, ...before } = await countRows(admin);
      const error = await refusal(clients.wallets.createWallet(walletRequest({ userId, ...over })));
      expect([error.code, error.reason]).to.deep.equal(expected);
      const { requests: _after, ...after } = await countRows(admin);
      expect(after).to.deep.equal(before);
    });
  }

  it("hold the highest amount, and nothing more", async () => {
    await clients.ledger.createCurrency(
      CreateCurrencyRequest.fromPartial({ requestId: newId(), code: "MAX", exponent: 18, name: "Most" }),
    );
    const { id } = await makeWallet(clients, { currencyCode: "MAX", minorUnits: AMOUNT_MAX });
    const error = await refusal(clients.transactions.deposit(depositRequest(id, 1n, { amount: money(1n, "MAX") })));
    expect([error.code, error.reason, error.info.account_id]).to.deep.equal(["OUT_OF_RANGE", "BALANCE_OVERFLOW", id]);
    const { balance } = await clients.wallets.getBalance({ walletId: id });
    expect(balance!.available).to.deep.equal(money(AMOUNT_MAX, "MAX"));
  });

  async function update(walletId: Uuid, over: Partial<UpdateWalletRequest>) {
    const request = UpdateWalletRequest.fromPartial({
      requestId: newId(),
      walletId,
      updateMask: Object.keys(over).filter((field) => field !== "etag"),
      ...over,
    });
    return (await clients.wallets.updateWallet(request)).wallet!;
  }

  it("change their label and metadata, only where the mask says so, and never their balance", async () => {
    const made = await makeWallet(clients, { minorUnits: 5n, label: "old", metadata: { a: "1" } });
    const labelled = await update(made.id, { label: "new" });
    expect(labelled).to.deep.include({ id: made.id, label: "new", metadata: { a: "1" }, createTime: made.createTime });
    expect(labelled.etag).not.to.equal(made.etag);
    const noted = await update(made.id, { metadata: { b: "2" } });
    expect(noted).to.deep.include({ label: "new", metadata: { b: "2" } });
    const cleared = await update(made.id, { label: "", metadata: {} });
    expect(cleared).to.deep.include({ label: "", metadata: {} });
    const found = await clients.wallets.getWallet({ id: made.id.toUpperCase() });
    expect(found.wallet).to.deep.equal(cleared);
    expect([found.balance!.posted, found.balance!.version]).to.deep.equal([money(5n), 1n]);
  });

  it("keep their etag when money moves, and are not changed by who has an old one", async () => {
    const made = await makeWallet(clients, { minorUnits: 5n });
    await clients.transactions.withdraw(withdrawRequest(made.id, 1n));
    const changed = await update(made.id, { label: "new", etag: made.etag });
    const error = await refusal(update(made.id, { label: "late", etag: made.etag }));
    expect([error.code, error.reason, error.info.etag]).to.deep.equal(["ABORTED", "ETAG_MISMATCH", changed.etag]);
    expect((await clients.wallets.getWallet({ id: made.id })).wallet!.label).to.equal("new");
  });

  it("of a user are opened beside each other, and not beside a change of the user", async () => {
    const userId = (await makeUser(clients)).id;
    await admin.query("BEGIN");
    try {
      // As another call does that opens a wallet.
      await admin.query("SELECT FROM users WHERE id = $1 FOR SHARE", [userId]);
      await makeWallet(clients, { userId });
      const deleting = clients.users.deleteUser({ requestId: newId(), userId, etag: "" });
      await waitsForLock(admin, "grey");
      await admin.query("ROLLBACK");
      await deleting;
      expect((await refusal(makeWallet(clients, { userId }))).reason).to.equal("USER_NOT_FOUND");
    } finally {
      await admin.query("ROLLBACK");
    }
  });

  it("that do not exist cannot be read or changed", async () => {
    const id = newId();
    const calls = [
      clients.wallets.getWallet({ id }),
      clients.wallets.getBalance({ walletId: id }),
      clients.wallets.batchGetWallets({ ids: [id] }),
      update(id, { label: "new" }),
    ];
    for (const error of await Promise.all(calls.map(refusal))) {
      expect([error.code, error.reason, error.info]).to.deep.equal([
        "NOT_FOUND",
        "WALLET_NOT_FOUND",
        { wallet_id: id },
      ]);
    }
  });

  it("are read many at once in the order asked for; one that is missing fails them all and is named", async () => {
    const made = [];
    for (let n = 0; n < 5; n += 1) made.push(await makeWallet(clients, { minorUnits: BigInt(n) }));
    const ids = made.map((wallet) => wallet.id).toReversed();
    const { wallets } = await clients.wallets.batchGetWallets({ ids });
    expect(wallets.map(({ wallet }) => wallet!.id)).to.deep.equal(ids);
    expect(wallets.map(({ balance }) => balance!.posted!.minorUnits)).to.deep.equal([4n, 3n, 2n, 1n, 0n]);
    const missing = newId();
    const error = await refusal(clients.wallets.batchGetWallets({ ids: [...ids, missing, newId()] }));
    expect([error.reason, error.info.wallet_id]).to.deep.equal(["WALLET_NOT_FOUND", missing]);
  });

  it("of a thousand bad ids are refused with an answer that names the bad ones", async () => {
    const ids = Array.from({ length: 1_000 }, (_, n) => `not-a-uuid-${n}`);
    const error = await refusal(clients.wallets.batchGetWallets({ ids }));
    expect([error.code, error.reason]).to.deep.equal(["INVALID_ARGUMENT", "INVALID_REQUEST"]);
    expect(error.violations.get("ids[0]")).to.match(/UUID/i);
  });

  it("of a user are listed oldest first, page by page", async () => {
    const userId = (await makeUser(clients)).id;
    const made: Uuid[] = [];
    for (let n = 0; n < 5; n += 1) made.push((await makeWallet(clients, { userId })).id);
    await makeWallet(clients);
    const listed: Uuid[] = [];
    let pageToken = "";
    do {
      const page = await clients.wallets.listWallets({ userId, pageSize: 2, pageToken });
      listed.push(...page.wallets.map(({ wallet }) => wallet!.id));
      pageToken = page.nextPageToken;
    } while (pageToken !== "" && listed.length < 100);
    expect(listed).to.deep.equal(made);
    const other = (await makeUser(clients)).id;
    const { nextPageToken } = await clients.wallets.listWallets({ userId, pageSize: 2, pageToken: "" });
    const error = await refusal(clients.wallets.listWallets({ userId: other, pageSize: 2, pageToken: nextPageToken }));
    expect(error.reason).to.equal("PAGE_TOKEN_INVALID");
    expect(
      (await refusal(clients.wallets.listWallets({ userId: newId(), pageSize: 0, pageToken: "" }))).reason,
    ).to.equal("USER_NOT_FOUND");
  });

  it("of a deleted user are closed: they stay listed, refuse every movement, and can be read", async () => {
    const { id, userId } = await makeWallet(clients);
    const rich = (await makeWallet(clients, { minorUnits: 100n })).id;
    await clients.transactions.transfer(transferRequest(rich, id, 5n));
    await clients.transactions.withdraw(withdrawRequest(id, 5n));
    await clients.users.deleteUser({ requestId: newId(), userId, etag: "" });
    const { wallets } = await clients.wallets.listWallets({ userId, pageSize: 0, pageToken: "" });
    expect(wallets.map(({ wallet }) => [wallet!.id, wallet!.state])).to.deep.equal([[id, WalletState.CLOSED]]);
    expect((await clients.wallets.getWallet({ id })).wallet!.state).to.equal(WalletState.CLOSED);
    const movements = [
      clients.transactions.transfer(transferRequest(rich, id, 5n)),
      clients.transactions.transfer(transferRequest(id, rich, 5n)),
      clients.transactions.deposit(depositRequest(id, 5n)),
      clients.transactions.withdraw(withdrawRequest(id, 5n)),
    ];
    for (const error of await Promise.all(movements.map(refusal))) {
      expect([error.code, error.reason, error.info.wallet_id]).to.deep.equal([
        "FAILED_PRECONDITION",
        "WALLET_CLOSED",
        id,
      ]);
    }
    const { faults } = await clients.ledger.checkIntegrity({ maxFaults: 0 });
    expect(faults).to.deep.equal([]);
  });

  it("are accounts of the ledger: credit-normal, never below zero, by the same id", async () => {
    const { id } = await makeWallet(clients, { minorUnits: 5n });
    const { account } = await clients.ledger.getAccount({ by: { $case: "id", value: id } });
    expect(account).to.deep.equal({
      id,
      systemAccount: "",
      currencyCode: "USD",
      normalSide: NormalSide.CREDIT,
      balance: money(5n),
      minBalance: money(0n),
      maxBalance: undefined,
      accountSequence: 1n,
    });
    const { currencies } = await clients.ledger.getTrialBalance({ currencyCode: "USD" });
    expect(currencies.map((one) => one.differenceMinorUnits)).to.deep.equal(["0"]);
    expect(systemAccountId("USD", "cash")).not.to.equal(id);
  });
});
