import { credentials } from "@grpc/grpc-js";
import { expect } from "chai";
import pg from "pg";
import { EntrySide, TransactionKind, TransactionState } from "../../generated/grey/transaction/v1/transaction.js";
import { PostTransactionRequest } from "../../generated/grey/transaction/v1/compound.js";
import { TransactionServiceClient } from "../../generated/grey/transaction/v1/transaction_service.js";
import { WatchTransactionsRequest, type WatchTransactionsResponse } from "../../generated/grey/transaction/v1/watch.js";
import { WalletServiceClient } from "../../generated/grey/wallet/v1/wallet_service.js";
import { WalletState } from "../../generated/grey/wallet/v1/wallet.js";
import { WatchWalletRequest, type WatchWalletResponse } from "../../generated/grey/wallet/v1/watch.js";
import { newId, type Uuid } from "../../src/base/ids.js";
import { connect, refusal, type Clients } from "../support/client.js";
import { createTestDatabase, type TestDatabase } from "../support/cluster.js";
import {
  depositRequest,
  makeUser,
  makeWallet,
  money,
  openAdmin,
  transferRequest,
  walletRequest,
  withdrawRequest,
} from "../support/ledger.js";
import { eventually, createRoute } from "../support/process.js";
import { startServer, type TestServer } from "../support/server.js";
import { follow, type Watch } from "../support/watch.js";

type Told = WatchTransactionsResponse;

describe("a watch", function () {
  this.timeout(120_000);

  let database: TestDatabase;
  let admin: pg.Client;
  /** On one database. */
  let servers: readonly [TestServer, TestServer];
  let clients: readonly [Clients, Clients];
  let transactions: TransactionServiceClient;
  let wallets: WalletServiceClient;
  let grey: Clients;
  const opened: { cancel(): void }[] = [];

  before(async () => {
    database = await createTestDatabase();
    admin = await openAdmin(database.url);
    const settings = { DATABASE_URL: database.url, GREY_JOURNAL_POLL_MS: "10", GREY_WATCH_PROGRESS_MS: "100" };
    servers = [await startServer(settings), await startServer(settings)];
    clients = [connect(servers[0].address), connect(servers[1].address)];
    [grey] = clients;
    transactions = new TransactionServiceClient(servers[0].address, credentials.createInsecure());
    wallets = new WalletServiceClient(servers[0].address, credentials.createInsecure());
  });
  afterEach(() => {
    for (const one of opened.splice(0)) one.cancel();
  });
  after(async () => {
    transactions.close();
    wallets.close();
    for (const client of clients) client.close();
    for (const server of servers) await server.stop();
    await admin.end();
    await database.drop();
  });

  async function watch(
    request: Partial<WatchTransactionsRequest> = {},
    client: TransactionServiceClient = transactions,
  ): Promise<Watch<Told>> {
    return remember(await follow(client.watchTransactions(WatchTransactionsRequest.fromPartial(request))));
  }

  async function watchWallet(walletId: Uuid, fromJournalIndex?: bigint): Promise<Watch<WatchWalletResponse>> {
    const request = WatchWalletRequest.fromPartial({
      walletId,
      ...(fromJournalIndex !== undefined && { fromJournalIndex }),
    });
    return remember(await follow(wallets.watchWallet(request)));
  }

  function remember<T extends { cancel(): void }>(one: T): T {
    opened.push(one);
    return one;
  }

  async function journalSize(): Promise<bigint> {
    const { rows } = await admin.query<{ size: bigint }>("SELECT size FROM journal_head");
    return rows[0]!.size;
  }

  /** The ids of all transactions from an index on, in the journal's order. */
  async function idsFrom(index: bigint, condition = "state = 1"): Promise<Uuid[]> {
    const { rows } = await admin.query<{ id: Uuid }>(
      `SELECT id FROM transactions WHERE journal_index >= $1 AND ${condition} ORDER BY journal_index`,
      [index],
    );
    return rows.map((row) => row.id);
  }

  /** Deposits, withdrawals that are refused and a new wallet, by both servers at once. */
  async function makeTraffic(rounds: number): Promise<void> {
    const [a, b] = [await makeWallet(grey, { minorUnits: 1_000n }), await makeWallet(grey, { minorUnits: 1_000n })];
    const round = async (n: number): Promise<void> => {
      const client = clients[n % 2]!;
      const [from, to] = n % 3 === 0 ? [a, b] : [b, a];
      await Promise.all([
        client.transactions.transfer(transferRequest(from.id, to.id, 1n)),
        refusal(client.transactions.withdraw(withdrawRequest(a.id, 1_000_000n))),
      ]);
      if (n % 10 === 0) await makeWallet(client);
    };
    // No more at once than any server takes on.
    for (let n = 0; n < rounds; n += 25) {
      await Promise.all(Array.from({ length: Math.min(25, rounds - n) }, (_, offset) => round(n + offset)));
    }
  }

  describe("of transactions", () => {
    it("begins with its own index, and sends each transaction once, in the journal's order, with its balances", async () => {
      const [from, to] = [await makeWallet(grey, { minorUnits: 100n }), await makeWallet(grey)];
      const size = await journalSize();
      const watched = await watch();
      expect(watched.messages[0]).to.deep.equal({ journalIndex: size - 1n, transaction: undefined, balances: [] });
      const transfer = await grey.transactions.transfer(transferRequest(from.id, to.id, 30n));
      await watched.until("the transfer", (all) => told(all).length === 1);
      const [message] = told(watched.messages);
      expect(message).to.deep.equal({
        journalIndex: transfer.transaction!.journalIndex,
        transaction: transfer.transaction,
        balances: transfer.balances,
      });
    });

    it("sends each one once while two servers post at once", async () => {
      const size = await journalSize();
      const both = [await watch(), await watchAt(servers[1])];
      const traffic = makeTraffic(150);
      const late = await watch({ fromJournalIndex: size });
      await traffic;
      const expected = await idsFrom(size);
      expect(expected.length).to.be.greaterThan(150);
      for (const watched of [...both, late]) {
        await watched.until("the last transaction", (all) => told(all).length >= expected.length);
        expect(told(watched.messages).map(idOf)).to.deep.equal(expected);
        assertRising(watched.messages);
      }
    });

    it("resumed at any index sends exactly what follows, also when that is long ago", async () => {
      const start = await journalSize();
      await makeTraffic(60);
      const whole = await watch({ fromJournalIndex: start, states: BOTH });
      const end = await journalSize();
      await whole.until("the end", (all) => all.at(-1)!.journalIndex === end - 1n);
      const all = told(whole.messages);
      expect(all.map(idOf)).to.deep.equal(await idsFrom(start, "true"));
      for (const at of [0, 1, 17, all.length - 2, all.length - 1]) {
        const resumed = await watch({ fromJournalIndex: all[at]!.journalIndex + 1n, states: BOTH });
        expect(resumed.messages[0]!.journalIndex).to.equal(all[at]!.journalIndex);
        await resumed.until("the end", (seen) => seen.at(-1)!.journalIndex === end - 1n);
        expect(told(resumed.messages)).to.deep.equal(all.slice(at + 1));
      }
    });

    it("from 0 sends everything", async () => {
      const watched = await watch({ fromJournalIndex: 0n, states: BOTH });
      const size = await journalSize();
      await watched.until("the end", (all) => all.at(-1)!.journalIndex >= size - 1n, 60_000);
      expect(told(watched.messages).map(idOf)).to.deep.equal(await idsFrom(0n, "true"));
    });

    it("from a future index waits for it", async () => {
      const to = (await makeWallet(grey)).id;
      const size = await journalSize();
      const watched = await watch({ fromJournalIndex: size + 1n });
      await grey.transactions.deposit(depositRequest(to, 1n));
      const second = await grey.transactions.deposit(depositRequest(to, 2n));
      await watched.until("the second", (all) => told(all).length > 0);
      expect(told(watched.messages).map(idOf)).to.deep.equal([second.transaction!.id]);
    });

    it("from a future index includes the wallets that its user opens before it", async () => {
      const { id: userId } = await makeUser(grey);
      const size = await journalSize();
      const watched = await watch({ fromJournalIndex: size + 2n, userId });
      expect(watched.messages[0]!.journalIndex).to.equal(size + 1n);
      const { id } = await makeWallet(grey, { userId });
      await grey.transactions.deposit(depositRequest(id, 1n));
      const third = await grey.transactions.deposit(depositRequest(id, 1n));
      expect(third.transaction!.journalIndex).to.equal(size + 2n);
      await watched.until("the third record", (all) => told(all).length > 0);
      expect(told(watched.messages).map(idOf)).to.deep.equal([third.transaction!.id]);
      assertRising(watched.messages);
    });

    it("with filters sends only what passes all of them, and its progress meanwhile", async () => {
      const ada = await makeUser(grey);
      const [hers, other] = [await makeWallet(grey, { userId: ada.id, minorUnits: 100n }), await makeWallet(grey)];
      const third = await makeWallet(grey, { minorUnits: 100n });
      const { DEPOSIT, TRANSFER } = TransactionKind;
      const byFilter = {
        wallet: await watch({ walletIds: [hers.id.toUpperCase(), other.id] }),
        user: await watch({ userId: ada.id.toUpperCase() }),
        kind: await watch({ walletIds: [hers.id, other.id, third.id], kinds: [DEPOSIT] }),
        both: await watch({ userId: ada.id, walletIds: [other.id], kinds: [TRANSFER] }),
        rejected: await watch({ walletIds: [hers.id], states: [TransactionState.REJECTED] }),
        nothing: await watch({ walletIds: [(await makeWallet(grey)).id] }),
      };
      const a = await grey.transactions.transfer(transferRequest(hers.id, other.id, 1n));
      const b = await grey.transactions.deposit(depositRequest(other.id, 1n));
      const c = await grey.transactions.transfer(transferRequest(third.id, other.id, 1n));
      const refused = await refusal(grey.transactions.withdraw(withdrawRequest(hers.id, 1_000n)));
      // A wallet that is opened only now is the user's as well.
      const later = await grey.wallets.createWallet(walletRequest({ userId: ada.id, minorUnits: 7n }));
      const d = await grey.transactions.deposit(depositRequest(later.wallet!.id, 1n));
      const [opening] = await idsFrom(later.journalIndex);
      const end = d.transaction!.journalIndex;
      for (const watched of Object.values(byFilter)) {
        await watched.until("the end", (all) => all.at(-1)!.journalIndex >= end);
        assertRising(watched.messages);
      }
      const ids = Object.fromEntries(
        Object.entries(byFilter).map(([name, { messages }]) => [name, told(messages).map(idOf)]),
      );
      const [A, B, C, D] = [a, b, c, d].map(({ transaction }) => transaction!.id);
      expect(ids).to.deep.equal({
        wallet: [A, B, C],
        user: [A, opening, D],
        kind: [B],
        both: [A],
        rejected: [refused.info.transaction_id],
        nothing: [],
      });
      const [message] = told(byFilter.rejected.messages);
      expect(message!.transaction).to.include({ state: TransactionState.REJECTED });
      expect(message!.balances).to.deep.equal([]);
    });

    it("sends a refused transaction of many legs to watchers of any of its accounts", async () => {
      const [poor, payee, payer] = [await makeWallet(grey), await makeWallet(grey), await makeWallet(grey)];
      const watched = await watch({ walletIds: [payee.id], states: [TransactionState.REJECTED] });
      const request = PostTransactionRequest.fromPartial({
        requestId: newId(),
        legs: [
          leg(payer.id, EntrySide.DEBIT, 1n),
          leg(poor.id, EntrySide.DEBIT, 1n),
          leg(payer.id, EntrySide.CREDIT, 1n),
          leg(payee.id, EntrySide.CREDIT, 1n),
        ],
      });
      const refused = await refusal(grey.transactions.postTransaction(request));
      await watched.until("the refused transaction", (messages) => told(messages).length === 1);
      const [message] = told(watched.messages);
      expect(message!.transaction).to.include({ id: refused.info.transaction_id, creditAccountId: payer.id });
    });

    it("sends transactions of many legs among others, however many legs they have together", async () => {
      const [from, to] = [await makeWallet(grey, { minorUnits: 100_000n }), await makeWallet(grey)];
      const start = await journalSize();
      const pair = [leg(from.id, EntrySide.DEBIT, 1n), leg(to.id, EntrySide.CREDIT, 1n)];
      for (let n = 0; n < 24; n++) {
        const legs = Array.from({ length: n % 4 === 0 ? 1 : 500 }, () => pair).flat();
        await grey.transactions.postTransaction(PostTransactionRequest.fromPartial({ requestId: newId(), legs }));
      }
      const watched = await watch({ fromJournalIndex: start });
      const expected = await idsFrom(start);
      await watched.until("all of them", (all) => told(all).length === expected.length, 60_000);
      expect(told(watched.messages).map(idOf)).to.deep.equal(expected);
      const many = told(watched.messages).filter(({ transaction }) => transaction!.entries.length === 1_000);
      expect(many).to.have.lengthOf(18);
      assertRising(watched.messages);
    });

    it("sends its progress while nothing happens", async () => {
      const watched = await watch();
      await watched.until("three messages", (all) => all.length >= 3);
      expect(new Set(watched.messages.map(({ journalIndex }) => journalIndex)).size).to.equal(1);
    });

    it("is refused for a wallet or a user that does not exist, and for what the contract does not allow", async () => {
      const walletId = newId();
      for (const [request, expected] of [
        [{ walletIds: [walletId] }, { code: "NOT_FOUND", reason: "WALLET_NOT_FOUND" }],
        [{ userId: newId() }, { code: "NOT_FOUND", reason: "USER_NOT_FOUND" }],
        [{ walletIds: ["a"] }, { code: "INVALID_ARGUMENT", reason: "INVALID_REQUEST" }],
        [{ walletIds: [walletId, walletId] }, { code: "INVALID_ARGUMENT", reason: "INVALID_REQUEST" }],
        [{ fromJournalIndex: -1n }, { code: "INVALID_ARGUMENT", reason: "INVALID_REQUEST" }],
        [{ kinds: [TransactionKind.UNSPECIFIED] }, { code: "INVALID_ARGUMENT", reason: "INVALID_REQUEST" }],
      ] as const) {
        const stream = transactions.watchTransactions(
          WatchTransactionsRequest.fromPartial(request as Partial<WatchTransactionsRequest>),
        );
        expect(await refusal(follow(stream))).to.include(expected);
      }
    });
  });

  describe("of a wallet", () => {
    it("sends its balance and state at once, then each change of them, and nothing about other wallets", async () => {
      const [wallet, other] = [await makeWallet(grey, { minorUnits: 100n }), await makeWallet(grey)];
      const watched = await watchWallet(wallet.id);
      const [first] = watched.messages;
      expect(first).to.include({ state: WalletState.OPEN, transactionId: "" });
      expect(first!.balance!.posted!.minorUnits).to.equal(100n);
      await grey.transactions.deposit(depositRequest(other.id, 5n));
      await refusal(grey.transactions.withdraw(withdrawRequest(wallet.id, 1_000n)));
      const moved = await grey.transactions.transfer(transferRequest(wallet.id, other.id, 40n));
      const held = await grey.transactions.hold({ ...hold(wallet.id, 10n) });
      const reason = { walletId: wallet.id, reason: "a case" };
      const frozen = await grey.wallets.freezeWallet({ requestId: newId(), ...reason });
      const thawed = await grey.wallets.unfreezeWallet({ requestId: newId(), ...reason });
      await watched.until("the last change", (all) => changes(all).length >= 5);
      const changed = changes(watched.messages).slice(1);
      const nothing = { balance: undefined, state: WalletState.UNSPECIFIED, transactionId: "" };
      expect(changed).to.deep.equal([
        {
          ...nothing,
          journalIndex: moved.transaction!.journalIndex,
          balance: moved.balances.find(({ walletId }) => walletId === wallet.id),
          transactionId: moved.transaction!.id,
        },
        {
          ...nothing,
          journalIndex: held.transaction!.journalIndex,
          balance: held.balances[0],
          transactionId: held.transaction!.id,
        },
        { ...nothing, journalIndex: frozen.journalIndex, state: WalletState.FROZEN },
        { ...nothing, journalIndex: thawed.journalIndex, state: WalletState.OPEN },
      ]);
      // Whoever resumes gets the rest, and the balance from which it went on.
      for (const [at, message] of changed.entries()) {
        const resumed = await watchWallet(wallet.id, message.journalIndex + 1n);
        await resumed.until("the rest", (all) => all.at(-1)!.journalIndex >= thawed.journalIndex);
        const [beginning, ...rest] = changes(resumed.messages);
        expect(rest).to.deep.equal(changed.slice(at + 1));
        expect(beginning!.journalIndex).to.equal(message.journalIndex);
        expect(beginning!.balance).to.deep.equal(changed.slice(0, at + 1).findLast(({ balance }) => balance)!.balance);
      }
      const whole = await watchWallet(wallet.id, 0n);
      await whole.until("the end", (all) => all.at(-1)!.journalIndex >= thawed.journalIndex, 60_000);
      const [nothingYet, created, opening] = changes(whole.messages);
      expect(nothingYet).to.include({ journalIndex: -1n });
      expect(nothingYet!.balance!.version).to.equal(0n);
      expect(created).to.include({ state: WalletState.OPEN, transactionId: "" });
      expect(opening!.balance).to.deep.equal(first!.balance);
    });

    it("from a future index sends its state right before it, and each change from there on", async () => {
      const { id } = await makeWallet(grey, { minorUnits: 100n });
      for (const ahead of [0n, 1n, 2n, 3n]) {
        const size = await journalSize();
        const watched = await watchWallet(id, size + ahead);
        const made = [];
        for (let n = 0; n < 4; n += 1) made.push(await grey.transactions.deposit(depositRequest(id, 10n)));
        const last = made.at(-1)!;
        await watched.until("the last", (all) => all.at(-1)!.transactionId === last.transaction!.id);
        const [beginning, ...rest] = watched.messages.filter(({ balance }) => balance !== undefined);
        const version = made[0]!.balances[0]!.version + ahead - 1n;
        expect(beginning).to.deep.include({ journalIndex: size + ahead - 1n, transactionId: "" });
        expect(beginning!.balance!.version).to.equal(version);
        expect(rest.map(({ transactionId }) => transactionId)).to.deep.equal(
          made.slice(Number(ahead)).map(({ transaction }) => transaction!.id),
        );
        assertRising(watched.messages);
      }
    });

    it("is refused for one that does not exist, and for a system account", async () => {
      const { account } = await grey.ledger.getAccount({
        by: { $case: "systemAccount", value: { name: "cash", currencyCode: "USD" } },
      });
      for (const walletId of [newId(), account!.id]) {
        const error = await refusal(follow(wallets.watchWallet(WatchWalletRequest.fromPartial({ walletId }))));
        expect(error).to.include({ code: "NOT_FOUND", reason: "WALLET_NOT_FOUND" });
      }
    });
  });

  describe("that many clients have opened", () => {
    const WATCHERS = 1_000;

    it(`sends the same transaction to ${WATCHERS} of them, and reads it from the database once`, async () => {
      const own = await startServer({ DATABASE_URL: database.url, GREY_WATCH_PROGRESS_MS: "60000" });
      const client = new TransactionServiceClient(own.address, credentials.createInsecure());
      const to = (await makeWallet(grey)).id;
      try {
        const watchers: Watch<Told>[] = [];
        while (watchers.length < WATCHERS) {
          const next = Array.from({ length: 50 }, (_, n) => watch(n % 2 === 0 ? {} : { walletIds: [to] }, client));
          watchers.push(...(await Promise.all(next)));
        }
        const statements = countStatements();
        const { transaction } = await grey.transactions.deposit(depositRequest(to, 1n));
        await Promise.all(
          watchers.map((one) =>
            one.until("the deposit", (all) => told(all).some((m) => idOf(m) === transaction!.id), 20_000),
          ),
        );
        const counts = statements.stop();
        // Each server that watches reads what was committed once.
        expect(counts.get("journal-records")).to.equal(1);
        expect(counts.get("transactions-by-id")).to.equal(1);
        for (const one of watchers) {
          expect(told(one.messages).map(idOf)).to.deep.equal([transaction!.id]);
          one.cancel();
        }
        await eventually("all watches to end", () => watchesEnded(own) === WATCHERS);
      } finally {
        client.close();
        await own.stop();
      }
    });

    it("is OVERLOADED beyond GREY_WATCHES_MAX, until one of them ends", async () => {
      const own = await startServer({ DATABASE_URL: database.url, GREY_WATCHES_MAX: "2" });
      const client = new TransactionServiceClient(own.address, credentials.createInsecure());
      try {
        const [first] = [await watch({}, client), await watch({}, client)];
        const error = await refusal(watch({}, client));
        expect(error).to.include({ code: "RESOURCE_EXHAUSTED", reason: "OVERLOADED" });
        expect(error.retryAfterMs).to.be.greaterThan(0);
        first.cancel();
        await eventually("room", () =>
          watch({}, client).then(
            () => true,
            () => false,
          ),
        );
      } finally {
        client.close();
        await own.stop();
      }
    });
  });

  describe("whose client is slow", () => {
    it("delays no other watch, and the client gets everything once it continues to read", async () => {
      const size = await journalSize();
      const to = (await makeWallet(grey)).id;
      const stream = transactions.watchTransactions(
        WatchTransactionsRequest.fromPartial({ fromJournalIndex: size, walletIds: [to] }),
      );
      const slow = remember(await follow(stream));
      stream.pause();
      const others = await watch({ fromJournalIndex: size, walletIds: [to] });
      await depositMany(to, 2_000);
      await others.until("all of it", (all) => told(all).length === 2_000, 60_000);
      expect(told(slow.messages).length).to.be.lessThan(2_000);
      stream.resume();
      await slow.until("all of it", (all) => told(all).length === 2_000, 60_000);
      expect(told(slow.messages)).to.deep.equal(told(others.messages));
    });

    it("ends after GREY_WATCH_STALL_MS, with the index to resume at", async () => {
      const own = await startServer({ DATABASE_URL: database.url, GREY_WATCH_STALL_MS: "2000" });
      const client = new TransactionServiceClient(own.address, credentials.createInsecure());
      try {
        const size = await journalSize();
        const to = (await makeWallet(grey)).id;
        await depositMany(to, 2_000);
        const stream = client.watchTransactions(
          WatchTransactionsRequest.fromPartial({ fromJournalIndex: size, walletIds: [to] }),
        );
        const slow = remember(await follow(stream));
        stream.pause();
        await eventually("the watch to end", () => watchesEnded(own) === 1, 30_000);
        stream.resume();
        const error = await slow.ended;
        expect(error).to.include({ code: "RESOURCE_EXHAUSTED", reason: "WATCHER_TOO_SLOW" });
        // The server has written no more than what was on the way, and the client gets all of that.
        const line = own.logs.find(({ method }) => String(method).endsWith("WatchTransactions"));
        expect(line!.messages).to.equal(slow.messages.length);
        const last = slow.messages.at(-1)!.journalIndex;
        expect(error!.info).to.deep.equal({ resume_journal_index: `${last + 1n}` });
        const rest = await watch({ fromJournalIndex: last + 1n, walletIds: [to] });
        const missing = 2_000 - told(slow.messages).length;
        expect(missing).to.be.greaterThan(0);
        await rest.until("the rest", (all) => told(all).length === missing, 60_000);
        const ids = [...told(slow.messages), ...told(rest.messages)].map(idOf);
        expect(ids).to.deep.equal(await idsFrom(size, "kind = 2"));
      } finally {
        client.close();
        await own.stop();
      }
    });

    async function depositMany(to: Uuid, count: number): Promise<void> {
      const description = "x".repeat(500);
      const transfers = Array.from({ length: count }, () => depositRequest(to, 1n, { description }));
      // No more at once than any server takes on.
      for (let at = 0; at < count; at += 50) {
        await Promise.all(transfers.slice(at, at + 50).map((one) => grey.transactions.deposit(one)));
      }
    }
  });

  describe("when the server stops", () => {
    it("ends at once, with the index to resume at", async () => {
      const own = await startServer({ DATABASE_URL: database.url });
      const client = new TransactionServiceClient(own.address, credentials.createInsecure());
      const to = (await makeWallet(grey)).id;
      const watchers: Watch<Told>[] = [];
      while (watchers.length < 500) {
        const next = Array.from({ length: 50 }, () => watch({ walletIds: [to] }, client));
        watchers.push(...(await Promise.all(next)));
      }
      const { transaction } = await grey.transactions.deposit(depositRequest(to, 1n));
      for (const one of watchers) await one.until("the deposit", (all) => told(all).length === 1);
      const started = Date.now();
      const stopped = own.stop();
      for (const one of watchers) {
        const error = await one.ended;
        expect(error).to.include({ code: "UNAVAILABLE", reason: "SHUTTING_DOWN" });
        const last = one.messages.at(-1)!.journalIndex;
        expect(last >= transaction!.journalIndex).to.equal(true);
        expect(error!.info).to.deep.equal({ resume_journal_index: `${last + 1n}` });
        expect(error!.retryAfterMs).to.be.greaterThan(0);
      }
      await stopped;
      expect(Date.now() - started).to.be.lessThan(9_000);
      client.close();
    });
  });

  describe("while the database is unavailable", () => {
    it("stays open, and continues without a gap when it is back", async () => {
      const way = await createRoute(database.url);
      await way.open();
      const own = await startServer({ DATABASE_URL: way.url, GREY_WATCH_PROGRESS_MS: "100" });
      const client = new TransactionServiceClient(own.address, credentials.createInsecure());
      try {
        const size = await journalSize();
        const watched = await watch({}, client);
        await way.cut();
        await makeTraffic(20);
        const before = watched.messages.length;
        await watched.until("a sign of life", (all) => all.length > before);
        await way.open();
        const expected = await idsFrom(size);
        await watched.until("all of it", (all) => told(all).length >= expected.length, 30_000);
        expect(told(watched.messages).map(idOf)).to.deep.equal(expected);
      } finally {
        client.close();
        await own.stop();
        await way.cut();
      }
    });
  });

  it("that its client cancels leaves one line in the log, with its number of messages", async () => {
    const watched = await watch();
    const before = servers[0].logs.length;
    watched.cancel();
    const isLine = (line: Record<string, unknown>): boolean =>
      line.message === "call" && String(line.method).endsWith("WatchTransactions");
    await eventually("the line", () => servers[0].logs.slice(before).some(isLine));
    const line = servers[0].logs.slice(before).find(isLine)!;
    expect(line).to.include({ level: "info", code: "CANCELLED", reason: "CALLER_GONE" });
    expect(line.messages).to.be.greaterThan(0);
  });

  it("lasts beyond GREY_CALL_TIMEOUT_MS, and to the caller's own deadline", async () => {
    const own = await startServer({
      DATABASE_URL: database.url,
      GREY_CALL_TIMEOUT_MS: "100",
      GREY_WATCH_PROGRESS_MS: "50",
    });
    const client = new TransactionServiceClient(own.address, credentials.createInsecure());
    try {
      const watched = await watch({}, client);
      const started = Date.now();
      await watched.until("messages after it", () => Date.now() - started > 300 && watched.messages.length > 4);
      const stream = client.watchTransactions(WatchTransactionsRequest.fromPartial({}), {
        deadline: Date.now() + 300,
      });
      const error = await (await follow(stream)).ended;
      expect(error).to.include({ code: "DEADLINE_EXCEEDED" });
    } finally {
      client.close();
      await own.stop();
    }
  });

  async function watchAt(server: TestServer): Promise<Watch<Told>> {
    const client = new TransactionServiceClient(server.address, credentials.createInsecure());
    opened.push({ cancel: () => client.close() });
    return watch({}, client);
  }
});

const BOTH = [TransactionState.POSTED, TransactionState.REJECTED];

/** The messages that hold a transaction. */
function told(messages: readonly Told[]): Told[] {
  return messages.filter(({ transaction }) => transaction !== undefined);
}

function idOf({ transaction }: Told): Uuid {
  return transaction!.id;
}

/** The messages that tell a change, the first among them. */
function changes(messages: readonly WatchWalletResponse[]): WatchWalletResponse[] {
  return messages.filter(({ balance, state }) => balance !== undefined || state !== WalletState.UNSPECIFIED);
}

function assertRising(messages: readonly { readonly journalIndex: bigint }[]): void {
  const indexes = messages.map(({ journalIndex }) => journalIndex);
  expect(indexes.every((index, n) => n === 0 || index >= indexes[n - 1]!)).to.equal(true);
}

function hold(walletId: Uuid, minorUnits: bigint) {
  const amount = { currencyCode: "USD", minorUnits };
  return { requestId: newId(), walletId, toWalletId: "", amount, expiry: undefined, description: "", metadata: {} };
}

/** How many watches the server has logged the end of. */
function watchesEnded({ logs }: TestServer): number {
  return logs.filter(({ method, code }) => String(method).endsWith("WatchTransactions") && code !== undefined).length;
}

/** Counts the named statements of all servers in this process. */
function countStatements(): { stop(): Map<string, number> } {
  const { query } = pg.Client.prototype;
  const counts = new Map<string, number>();
  pg.Client.prototype.query = function (this: pg.Client, ...given: unknown[]) {
    const { name } = given[0] as { name?: string };
    if (name !== undefined) counts.set(name, (counts.get(name) ?? 0) + 1);
    return (query as (...all: unknown[]) => unknown).apply(this, given);
  } as typeof query;
  return {
    stop: () => {
      pg.Client.prototype.query = query;
      return counts;
    },
  };
}

function leg(walletId: string, side: EntrySide, minorUnits: bigint) {
  return { account: { $case: "walletId" as const, value: walletId }, side, amount: money(minorUnits) };
}
