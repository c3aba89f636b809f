import { toBinary } from "@bufbuild/protobuf";
import { expect } from "chai";
import type pg from "pg";
import { CreateCurrencyRequest } from "../../generated/grey/ledger/v1/currency.js";
import { DeleteUserRequest, UpdateUserRequest } from "../../generated/grey/user/v1/user_service.js";
import { UpdateWalletRequest } from "../../generated/grey/wallet/v1/wallet.js";
import { newId, type Uuid } from "../../src/base/ids.js";
import { connect, refusal, type Clients } from "../support/client.js";
import { createWorld, EXAMPLES, keyOf, METHODS, requestOf, type World } from "../support/examples.js";
import { depositRequest, openAdmin, userRequest, walletRequest } from "../support/ledger.js";
import { eventually } from "../support/process.js";
import { connectRaw, type RawAnswer, type RawClient } from "../support/raw-call.js";
import { startServer, type TestServer } from "../support/server.js";

/** The RPCs that read as of a record of the journal. */
const READS = METHODS.filter(
  ({ input, methodKind }) => methodKind === "unary" && input.fields.some(({ name }) => name === "min_journal_index"),
);

/** A read of a method, as of a record of the journal. */
type Read = (client: RawClient, minJournalIndex: bigint) => Promise<RawAnswer>;

describe("reading one's own writes", () => {
  let server: TestServer;
  let impatient: TestServer;
  let admin: pg.Client;
  let grey: Clients;
  let impatientGrey: Clients;
  let raw: RawClient;
  let impatientRaw: RawClient;
  let world: World;

  before(async () => {
    server = await startServer({ GREY_READ_WAIT_MS: "60000", GREY_JOURNAL_POLL_MS: "10" });
    impatient = await startServer({ DATABASE_URL: server.databaseUrl, GREY_READ_WAIT_MS: "20" });
    admin = await openAdmin(server.databaseUrl);
    grey = connect(server.address);
    impatientGrey = connect(impatient.address);
    raw = connectRaw(server.address);
    impatientRaw = connectRaw(impatient.address);
    world = await createWorld(grey);
  });
  after(async () => {
    for (const client of [grey, impatientGrey, raw, impatientRaw]) client.close();
    await admin.end();
    await impatient.stop();
    await server.stop();
  });

  async function journalSize(): Promise<bigint> {
    const { rows } = await admin.query<{ size: bigint }>("SELECT size FROM journal_head");
    return rows[0]!.size;
  }

  /** The index of the latest record about the thing. */
  async function latestIndexOf(id: Uuid): Promise<bigint> {
    const { rows } = await admin.query<{ index: bigint }>(
      `SELECT max(first_index + position - 1) AS index
       FROM journal_batches, unnest(record_ids) WITH ORDINALITY AS r (id, position) WHERE id = $1`,
      [id],
    );
    return rows[0]!.index;
  }

  it("every change tells the index of its latest record, and a replay the same, also of an erased user", async () => {
    const code = "RYW";
    const created = userRequest();
    const user = await grey.users.createUser(created);
    const userId = user.user!.id;
    expect(user.journalIndex).to.equal(await latestIndexOf(userId));
    const opened = walletRequest({ userId, minorUnits: 5n });
    const wallet = await grey.wallets.createWallet(opened);
    const walletId = wallet.wallet!.id;
    const { transaction } = await grey.transactions.getTransaction({
      by: { $case: "requestId", value: opened.requestId },
    });
    // The opening comes after the wallet.
    expect(wallet.journalIndex).to.equal(transaction!.journalIndex);
    const empty = walletRequest({ userId });
    const closable = await grey.wallets.createWallet(empty);
    expect(closable.journalIndex).to.equal(await latestIndexOf(closable.wallet!.id));
    const ofWallet = { walletId: closable.wallet!.id, reason: "a case" };
    const changes: [
      name: string,
      id: Uuid | undefined,
      send: () => Promise<{ journalIndex: bigint; replayed: boolean }>,
    ][] = [
      ["createUser", undefined, () => grey.users.createUser(created)],
      ["createWallet", undefined, () => grey.wallets.createWallet(opened)],
      ["createWallet", undefined, () => grey.wallets.createWallet(empty)],
      [
        "updateUser",
        userId,
        once({ userId, name: "Eve", updateMask: ["name"] }, (one) =>
          grey.users.updateUser(UpdateUserRequest.fromPartial(one)),
        ),
      ],
      [
        "updateWallet",
        walletId,
        once({ walletId, label: "a", updateMask: ["label"] }, (one) =>
          grey.wallets.updateWallet(UpdateWalletRequest.fromPartial(one)),
        ),
      ],
      ["freezeWallet", ofWallet.walletId, once(ofWallet, (one) => grey.wallets.freezeWallet(one))],
      ["unfreezeWallet", ofWallet.walletId, once(ofWallet, (one) => grey.wallets.unfreezeWallet(one))],
      ["closeWallet", ofWallet.walletId, once(ofWallet, (one) => grey.wallets.closeWallet(one))],
      ["reopenWallet", ofWallet.walletId, once(ofWallet, (one) => grey.wallets.reopenWallet(one))],
      [
        "createCurrency",
        undefined,
        once({ code, exponent: 2, name: "Points" }, (one) =>
          grey.ledger.createCurrency(CreateCurrencyRequest.fromPartial(one)),
        ),
      ],
    ];
    const indexes: bigint[] = [];
    for (const [name, id, send] of changes) {
      const { journalIndex } = await send();
      if (id !== undefined) expect(journalIndex, name).to.equal(await latestIndexOf(id));
      indexes.push(journalIndex);
    }
    expect(indexes.slice(0, 3)).to.deep.equal([user, wallet, closable].map(({ journalIndex }) => journalIndex));
    await grey.transactions.withdraw({ ...depositRequest(walletId, 5n) });
    const deletion = DeleteUserRequest.fromPartial({ requestId: newId(), userId });
    const gone = await grey.users.deleteUser(deletion);
    expect(gone.journalIndex).to.equal(await latestIndexOf(userId));
    for (const [at, [name, , send]] of changes.entries()) {
      expect(await send(), name).to.include({ journalIndex: indexes[at], replayed: true });
    }
    expect(await grey.users.deleteUser(deletion)).to.include({ journalIndex: gone.journalIndex, replayed: true });
  });

  it("is there for every service's reads", () => {
    const some =
      "GetUser GetWallet GetBalance GetStatement GetTransaction ListTransactions GetHold GetAccount GetTrialBalance";
    const others = "GetLimits GetRate GetQuote GetSchedule ListAlerts";
    expect(READS.map(({ name }) => name)).to.include.members(`${some} ${others}`.split(" "));
  });

  for (const method of READS) {
    const read: Read = (client, minJournalIndex) => {
      const [example] = EXAMPLES[keyOf(method)]!;
      const request = requestOf(method, { ...example!(world), min_journal_index: `${minJournalIndex}` });
      return client.call(`/${keyOf(method)}`, toBinary(method.input, request));
    };

    it(`${method.name} waits for its min_journal_index, and sees it`, async () => {
      const size = await journalSize();
      expect((await read(raw, size - 1n)).error).to.equal(undefined);
      let isAnswered = false;
      const waiting = read(raw, size + 1n).finally(() => (isAnswered = true));
      await grey.transactions.deposit(depositRequest(world.walletId, 1n));
      // The one before it is not enough: another read that waits for the same has not been answered either.
      const { error } = await read(impatientRaw, size + 1n);
      expect(error).to.include({ code: "UNAVAILABLE", reason: "JOURNAL_BEHIND" });
      expect(error!.info).to.deep.equal({ min_journal_index: `${size + 1n}`, journal_size: `${size + 1n}` });
      expect(error!.retryAfterMs).to.be.greaterThan(0);
      expect(isAnswered).to.equal(false);
      await grey.transactions.deposit(depositRequest(world.walletId, 1n));
      expect((await waiting).error).to.equal(undefined);
    });

    it(`${method.name} refuses a negative min_journal_index`, async () => {
      const { error } = await read(raw, -1n);
      expect(error).to.include({ code: "INVALID_ARGUMENT", reason: "INVALID_REQUEST" });
      expect([...error!.violations.keys()]).to.deep.equal(["min_journal_index"]);
    });
  }

  it("a read that waits sees what it waited for", async () => {
    const before = (await grey.wallets.getBalance({ walletId: world.walletId })).balance!.posted!.minorUnits;
    const minJournalIndex = await journalSize();
    const waiting = grey.wallets.getBalance({ walletId: world.walletId, minJournalIndex });
    await impatientGrey.transactions.deposit(depositRequest(world.walletId, 7n));
    expect((await waiting).balance!.posted!.minorUnits).to.equal(before + 7n);
  });

  it("reads that wait hold no connection and take no other call's place", async () => {
    const own = await startServer({
      DATABASE_URL: server.databaseUrl,
      GREY_DATABASE_POOL_SIZE: "3",
      // On a busy machine five hundred take their turns at three connections for a while.
      GREY_DATABASE_CONNECT_TIMEOUT_MS: "60000",
      GREY_CALL_WAIT_MS: "60000",
      GREY_READ_WAIT_MS: "60000",
    });
    const client = connect(own.address);
    const minJournalIndex = await journalSize();
    const waiting = Array.from({ length: 500 }, () =>
      client.wallets.getBalance({ walletId: world.walletId, minJournalIndex }),
    );
    for (let n = 0; n < 20; n += 1) await client.wallets.getBalance({ walletId: world.walletId });
    await client.transactions.deposit(depositRequest(world.walletId, 1n));
    await Promise.all(waiting);
    client.close();
    await own.stop();
  });

  it("a read whose caller leaves stops waiting", async () => {
    const minJournalIndex = await journalSize();
    const error = await refusal(grey.wallets.getBalance({ walletId: world.walletId, minJournalIndex }, {}, 100));
    expect(error.code).to.equal("DEADLINE_EXCEEDED");
    await eventually("the end of the call", () => server.logs.some(({ reason }) => reason === "CALLER_GONE"));
  });

  it("a page token serves whatever min_journal_index the next page is asked with", async () => {
    const list = (pageToken: string, minJournalIndex: bigint) =>
      grey.transactions.listTransactions({
        of: { $case: "walletId", value: world.walletId },
        kinds: [],
        states: [],
        createTimeFrom: undefined,
        createTimeBefore: undefined,
        pageSize: 1,
        pageToken,
        minJournalIndex,
      });
    const { nextPageToken } = await list("", 0n);
    expect((await list(nextPageToken, 1n)).transactions).to.have.length(1);
  });
});

/** The same request each time, under an id of its own. */
function once<Fields extends object, Response>(
  fields: Fields,
  send: (request: Fields & { requestId: string }) => Promise<Response>,
): () => Promise<Response> {
  const request = { requestId: newId(), ...fields };
  return () => send(request);
}
