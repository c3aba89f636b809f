import { expect } from "chai";
import type pg from "pg";
import { UpdateUserRequest, type User } from "../../generated/grey/user/v1/user_service.js";
import { WalletState } from "../../generated/grey/wallet/v1/wallet.js";
import { newId, type Uuid } from "../../src/base/ids.js";
import { connect, refusal, type CallError, type Clients } from "../support/client.js";
import {
  depositRequest,
  makeUser,
  makeWallet,
  openAdmin,
  userRequest,
  walletRequest,
  withdrawRequest,
} from "../support/ledger.js";
import { startServer, type TestServer } from "../support/server.js";

describe("users", () => {
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

  async function update(userId: Uuid, over: Partial<UpdateUserRequest>): Promise<User> {
    const request = UpdateUserRequest.fromPartial({
      requestId: newId(),
      userId,
      updateMask: Object.keys(over).filter((field) => field !== "etag"),
      ...over,
    });
    return (await clients.users.updateUser(request)).user!;
  }

  function remove(userId: Uuid, etag = ""): Promise<{ user: User | undefined; replayed: boolean }> {
    return clients.users.deleteUser({ requestId: newId(), userId, etag });
  }

  function get(id: Uuid): Promise<{ user: User | undefined }> {
    return clients.users.getUser({ by: { $case: "id", value: id } });
  }

  function getByEmail(email: string): Promise<{ user: User | undefined }> {
    return clients.users.getUser({ by: { $case: "email", value: email } });
  }

  function expectFailure(error: CallError, code: string, reason: string): void {
    expect([error.code, error.reason]).to.deep.equal([code, reason]);
  }

  it("are found by id in any case and by email in any case, as they were made", async () => {
    const email = `Ada.Lovelace+${newId()}@Example.COM`;
    const made = await makeUser(clients, { name: "Ada 🚀 Ünïcode", email, metadata: { tier: "gold" } });
    expect(made).to.deep.include({ name: "Ada 🚀 Ünïcode", email, metadata: { tier: "gold" }, deleteTime: undefined });
    expect(made.createTime).to.deep.equal(made.updateTime);
    for (const found of [
      await get(made.id),
      await get(made.id.toUpperCase()),
      await getByEmail(email),
      await getByEmail(email.toUpperCase()),
      await getByEmail(email.toLowerCase()),
    ]) {
      expect(found.user).to.deep.equal(made);
    }
  });

  it("that do not exist are not found", async () => {
    const id = newId();
    const byId = await refusal(get(id));
    expectFailure(byId, "NOT_FOUND", "USER_NOT_FOUND");
    expect(byId.info).to.deep.equal({ user_id: id });
    const byEmail = await refusal(getByEmail(`${id}@example.com`));
    expectFailure(byEmail, "NOT_FOUND", "USER_NOT_FOUND");
    expect(byEmail.info).to.deep.equal({});
  });

  it("cannot have an email that differs from another's in case only, when made or changed", async () => {
    const email = `${newId()}@example.com`;
    const ada = await makeUser(clients, { email });
    expectFailure(await refusal(makeUser(clients, { email: email.toUpperCase() })), "ALREADY_EXISTS", "EMAIL_TAKEN");
    const bob = await makeUser(clients);
    expectFailure(await refusal(update(bob.id, { email: email.toUpperCase() })), "ALREADY_EXISTS", "EMAIL_TAKEN");
    expect((await get(bob.id)).user).to.deep.equal(bob);
    const shouting = await update(ada.id, { email: email.toUpperCase() });
    expect(shouting.email, "their own email in another case").to.equal(email.toUpperCase());
  });

  it("that are made with the same email at once are one user, and every other call is told that it is taken", async () => {
    const email = `${newId()}@example.com`;
    const settled = await Promise.allSettled(
      Array.from({ length: 10 }, (_, n) => makeUser(clients, { email: n % 2 === 0 ? email : email.toUpperCase() })),
    );
    const refusals = settled.filter((one) => one.status === "rejected").map((one) => one.reason as CallError);
    expect(refusals).to.have.lengthOf(9);
    for (const error of refusals) expectFailure(error, "ALREADY_EXISTS", "EMAIL_TAKEN");
  });

  it("change only in the fields that the mask names", async () => {
    const made = await makeUser(clients, { metadata: { a: "1", b: "2" } });
    const request = UpdateUserRequest.fromPartial({
      requestId: newId(),
      userId: made.id,
      name: "Countess",
      email: "ignored@example.com",
      metadata: { ignored: "yes" },
      updateMask: ["name"],
    });
    const { user: renamed } = await clients.users.updateUser(request);
    expect(renamed).to.deep.include({
      name: "Countess",
      email: made.email,
      metadata: made.metadata,
      createTime: made.createTime,
    });
    expect(renamed!.etag).not.to.equal(made.etag);
    const emptied = await update(made.id, { metadata: {} });
    expect(emptied).to.deep.include({ name: "Countess", email: made.email, metadata: {} });
    const both = await update(made.id, { name: "Ada", email: `new-${made.email}`, metadata: { c: "3" } });
    expect(both).to.deep.include({ name: "Ada", email: `new-${made.email}`, metadata: { c: "3" } });
    expect((await get(made.id)).user).to.deep.equal(both);
    expectFailure(await refusal(getByEmail(made.email)), "NOT_FOUND", "USER_NOT_FOUND");
  });

  const masks: readonly {
    readonly title: string;
    readonly over: Partial<UpdateUserRequest>;
    readonly field: string;
  }[] = [
    { title: "no field", over: { updateMask: [] }, field: "update_mask" },
    { title: "an unknown field", over: { updateMask: ["nickname"] }, field: "update_mask" },
    { title: "a field that is not theirs to change", over: { updateMask: ["create_time"] }, field: "update_mask" },
    { title: "everything by a star", over: { updateMask: ["*"] }, field: "update_mask" },
    { title: "a name that is empty", over: { updateMask: ["name"], name: "" }, field: "name" },
    { title: "an email that is empty", over: { updateMask: ["email"], email: "" }, field: "email" },
  ];
  for (const { title, over, field } of masks) {
    it(`cannot be changed with a mask that names ${title}`, async () => {
      const made = await makeUser(clients);
      const request = UpdateUserRequest.fromPartial({ requestId: newId(), userId: made.id, ...over });
      const error = await refusal(clients.users.updateUser(request));
      expectFailure(error, "INVALID_ARGUMENT", "INVALID_REQUEST");
      expect([...error.violations.keys()]).to.deep.equal([field]);
      expect((await get(made.id)).user).to.deep.equal(made);
    });
  }

  it("are changed and deleted only by who has read their present state, when an etag is given", async () => {
    const made = await makeUser(clients);
    const changed = await update(made.id, { name: "Countess", etag: made.etag });
    const stale = [update(made.id, { name: "Late", etag: made.etag }), remove(made.id, made.etag)];
    for (const error of await Promise.all(stale.map(refusal))) {
      expectFailure(error, "ABORTED", "ETAG_MISMATCH");
      expect(error.info).to.deep.equal({ etag: changed.etag });
    }
    expect((await get(made.id)).user).to.deep.equal(changed);
    expect((await remove(made.id, changed.etag)).user!.deleteTime).not.to.equal(undefined);
  });

  it("of ten changes at once with the same etag get one", async () => {
    const made = await makeUser(clients);
    const settled = await Promise.allSettled(
      Array.from({ length: 10 }, (_, n) => update(made.id, { name: `Ada ${n}`, etag: made.etag })),
    );
    const done = settled.filter((one) => one.status === "fulfilled").map((one) => one.value);
    expect(done).to.have.lengthOf(1);
    expect((await get(made.id)).user).to.deep.equal(done[0]);
  });

  it("are listed oldest first, page by page, without the deleted ones and also while new ones are made", async () => {
    const before = await Promise.all(Array.from({ length: 7 }, () => makeUser(clients)));
    await remove(before[3]!.id);
    const listed: User[] = [];
    let pageToken = "";
    do {
      const page = await clients.users.listUsers({ pageSize: 3, pageToken });
      expect(page.users.length).to.be.at.most(3);
      listed.push(...page.users);
      pageToken = page.nextPageToken;
      if (listed.length < 40) await makeUser(clients);
    } while (pageToken !== "" && listed.length < 500);
    const ids = listed.map((user) => user.id);
    expect(ids).to.deep.equal(ids.toSorted());
    expect(new Set(ids).size).to.equal(ids.length);
    expect(ids).to.include.members(before.filter((_, n) => n !== 3).map((user) => user.id));
    expect(ids).not.to.include(before[3]!.id);
    expect(listed.every((user) => user.deleteTime === undefined)).to.equal(true);
  });

  it("with money in a wallet cannot be deleted; the wallet is named", async () => {
    const { id, userId } = await makeWallet(clients, { minorUnits: 5n });
    await makeWallet(clients, { userId });
    const error = await refusal(remove(userId));
    expectFailure(error, "FAILED_PRECONDITION", "USER_HAS_FUNDS");
    expect(error.info).to.deep.equal({ user_id: userId, wallet_id: id });
    expect((await clients.wallets.getWallet({ id })).wallet!.state).to.equal(WalletState.OPEN);
    await clients.transactions.withdraw(withdrawRequest(id, 5n));
    expect((await remove(userId)).user!.deleteTime).not.to.equal(undefined);
  });

  it("are deleted while money is on its way to them either before it arrives or not at all", async () => {
    for (let round = 0; round < 5; round += 1) {
      const { id, userId } = await makeWallet(clients);
      const [deposited, removed] = await Promise.allSettled([
        clients.transactions.deposit(depositRequest(id, 5n)),
        remove(userId),
      ]);
      const outcomes = [deposited.status, removed.status].sort();
      expect(outcomes).to.deep.equal(["fulfilled", "rejected"]);
      const error = (
        deposited.status === "rejected" ? deposited.reason : (removed as PromiseRejectedResult).reason
      ) as CallError;
      expect(error.reason).to.equal(deposited.status === "rejected" ? "WALLET_CLOSED" : "USER_HAS_FUNDS");
    }
  });

  it("that are deleted are found by id, erased, and by nothing else; their email can be used again", async () => {
    const made = await makeUser(clients, { metadata: { a: "1" } });
    const { user } = await remove(made.id);
    expect(user).to.deep.include({ id: made.id, name: "", email: "", metadata: {}, createTime: made.createTime });
    expect((await get(made.id)).user).to.deep.equal(user);
    expectFailure(await refusal(getByEmail(made.email)), "NOT_FOUND", "USER_NOT_FOUND");
    const again = await makeUser(clients, { email: made.email.toUpperCase() });
    expect(again.id).not.to.equal(made.id);
    expect((await getByEmail(made.email)).user).to.deep.equal(again);
  });

  it("that are deleted leave closed wallets without the reason of an earlier state", async () => {
    const { id } = await makeUser(clients);
    const { wallet } = await clients.wallets.createWallet(walletRequest({ userId: id }));
    const walletId = wallet!.id;
    await clients.wallets.freezeWallet({ requestId: newId(), walletId, reason: "Ada is being looked at" });
    await remove(id);
    const after = (await clients.wallets.getWallet({ id: walletId })).wallet!;
    expect(after).to.deep.include({ state: WalletState.CLOSED, stateReason: "" });
  });

  it("that are deleted cannot be changed, deleted again or given a wallet", async () => {
    const { id } = await makeUser(clients);
    await remove(id);
    const refused = [
      update(id, { name: "Ghost" }),
      remove(id),
      clients.wallets.createWallet(walletRequest({ userId: id })),
    ];
    for (const error of await Promise.all(refused.map(refusal))) expectFailure(error, "NOT_FOUND", "USER_NOT_FOUND");
  });

  it("that are deleted are told as erased by every stored answer about them", async () => {
    const request = userRequest({ metadata: { a: "1" } });
    const created = await clients.users.createUser(request);
    const { user } = created;
    const renaming = UpdateUserRequest.fromPartial({
      requestId: newId(),
      userId: user!.id,
      name: "Countess",
      updateMask: ["name"],
    });
    const renamed = await clients.users.updateUser(renaming);
    const deleting = { requestId: newId(), userId: user!.id, etag: "" };
    const deleted = await clients.users.deleteUser(deleting);
    const now = { user: deleted.user, replayed: true };
    expect(await clients.users.createUser(request)).to.deep.equal({ ...created, ...now });
    expect(await clients.users.updateUser(renaming)).to.deep.equal({ ...renamed, ...now });
    expect(await clients.users.deleteUser(deleting)).to.deep.equal({ ...deleted, ...now });
  });

  /** The tables in which the text stands, in any column of any type. */
  async function tablesWith(text: string): Promise<string[]> {
    const { rows: tables } = await admin.query<{ name: string }>(
      "SELECT relname AS name FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
    );
    const found: string[] = [];
    for (const { name } of tables) {
      // A row as text shows bytea as hexadecimal digits.
      const { rows } = await admin.query<{ count: bigint }>(
        `SELECT count(*) FROM ${name} t WHERE t::text ILIKE $1 OR t::text ILIKE $2`,
        [`%${text}%`, `%${Buffer.from(text).toString("hex")}%`],
      );
      if (rows[0]!.count > 0n) found.push(name);
    }
    return found.sort();
  }

  describe("that are erased leave nothing personal in any table", () => {
    /** Texts that stand nowhere else. */
    function canaries(): { name: string; email: string; metadata: Record<string, string>; all: string[] } {
      const [name, box, value] = [newId(), newId(), newId()].map((id) => `canary${id.replaceAll("-", "")}`) as [
        string,
        string,
        string,
      ];
      return { name, email: `${box}@example.com`, metadata: { note: value }, all: [name, box, value] };
    }

    async function expectErased(texts: readonly string[], server_: TestServer): Promise<void> {
      for (const text of texts) expect(await tablesWith(text), text).to.deep.equal([]);
      expect(
        JSON.stringify(server_.logs, (_, value: unknown) => (typeof value === "bigint" ? value.toString() : value)),
      ).not.to.match(/canary/i);
    }

    it("after they were made, changed and had wallets", async () => {
      const first = canaries();
      const second = canaries();
      const { id } = await makeUser(clients, first);
      for (const text of first.all)
        expect(await tablesWith(text), "the search finds them before").to.deep.equal(["requests", "users"]);
      await makeWallet(clients, { userId: id });
      await update(id, { name: second.name, email: second.email, metadata: second.metadata });
      await remove(id);
      await expectErased([...first.all, ...second.all], server);
    });

    it("after a request that spoke of them was refused because its etag was old", async () => {
      const made = canaries();
      const asked = canaries();
      const { id } = await makeUser(clients, made);
      await refusal(update(id, { name: asked.name, email: asked.email, metadata: asked.metadata, etag: "old" }));
      await remove(id);
      await expectErased([...made.all, ...asked.all], server);
    });

    it("after somebody else asked for their email, when made or changed", async () => {
      const made = canaries();
      const { id } = await makeUser(clients, made);
      const other = await makeUser(clients);
      await refusal(makeUser(clients, { email: made.email }));
      await refusal(update(other.id, { email: made.email }));
      await remove(id);
      await expectErased(made.all, server);
    });

    it("after they asked for somebody else's email", async () => {
      const other = await makeUser(clients);
      const made = canaries();
      const asked = canaries();
      const { id } = await makeUser(clients, made);
      await refusal(update(id, { name: asked.name, email: other.email, metadata: asked.metadata }));
      await remove(id);
      await expectErased([...made.all, asked.name, asked.metadata.note!], server);
    });

    it("after a request for them that came too late", async () => {
      const made = canaries();
      const asked = canaries();
      const { id } = await makeUser(clients, made);
      await remove(id);
      expectFailure(await refusal(update(id, { name: asked.name, email: asked.email })), "NOT_FOUND", "USER_NOT_FOUND");
      await expectErased([...made.all, ...asked.all], server);
    });

    it("after requests that came at the moment of their erasure", async () => {
      for (let round = 0; round < 4; round += 1) {
        const made = canaries();
        const asked = canaries();
        const { id } = await makeUser(clients, made);
        const other = await makeUser(clients);
        await Promise.allSettled([
          update(other.id, { email: made.email }),
          update(id, { name: asked.name, etag: "old" }),
          remove(id),
          update(id, { name: asked.name, email: other.email }),
          update(id, { metadata: asked.metadata }),
        ]);
        // The other user may have taken the email when it was free again; it is theirs then.
        const mine = (await get(other.id)).user!.email === made.email ? [made.name, made.metadata.note!] : made.all;
        await expectErased([...mine, ...asked.all], server);
      }
    });

    it("after somebody asked for their email at the moment when they took it", async () => {
      const made = canaries();
      const settled = await Promise.allSettled(
        Array.from({ length: 8 }, () =>
          clients.users.createUser(userRequest({ name: made.name, email: made.email, metadata: made.metadata })),
        ),
      );
      const [winner] = settled.filter((one) => one.status === "fulfilled").map((one) => one.value.user!);
      await remove(winner!.id);
      await expectErased(made.all, server);
    });
  });
});
