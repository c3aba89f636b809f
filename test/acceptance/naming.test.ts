import { expect } from "chai";
import { IdKind } from "../../generated/grey/ledger/v1/naming.js";
import { newId, systemAccountId } from "../../src/base/ids.js";
import { connect, refusal, type Clients } from "../support/client.js";
import { userRequest, walletRequest } from "../support/ledger.js";
import { startServer, type TestServer } from "../support/server.js";

describe("what people read and type in place of ids", () => {
  let server: TestServer;
  let grey: Clients;

  before(async () => {
    server = await startServer();
    grey = connect(server.address);
  });
  after(async () => {
    grey.close();
    await server.stop();
  });

  it("names a wallet by its owner and label, a system account by its name, and leaves out what is no account", async () => {
    const { user } = await grey.users.createUser(userRequest());
    const { wallet } = await grey.wallets.createWallet({ ...walletRequest({ userId: user!.id }), label: "savings" });
    const cash = systemAccountId("USD", "cash");
    const nobody = newId();
    const { names } = await grey.ledger.nameAccounts({
      accountIds: [wallet!.id.toUpperCase(), cash, nobody, user!.id],
    });
    const byId = new Map(names.map(({ accountId, ...rest }) => [accountId, rest]));
    expect([...byId.keys()].sort()).to.deep.equal([wallet!.id, cash].sort());
    const { name: userName, email, id: userId } = user!;
    expect(byId.get(wallet!.id)).to.deep.equal({
      currencyCode: wallet!.currencyCode,
      systemAccount: "",
      label: "savings",
      userId,
      userName,
      email,
    });
    expect(byId.get(cash)).to.include({ systemAccount: "cash", currencyCode: "USD", userId: "", email: "" });
  });

  it("says nothing of an owner who was deleted", async () => {
    const { user } = await grey.users.createUser(userRequest());
    const { wallet } = await grey.wallets.createWallet(walletRequest({ userId: user!.id }));
    await grey.users.deleteUser({ requestId: newId(), userId: user!.id, etag: "" });
    const { names } = await grey.ledger.nameAccounts({ accountIds: [wallet!.id] });
    expect(names).to.have.length(1);
    expect(names[0]).to.include({ userId: user!.id, userName: "", email: "" });
  });

  it("finds an id of each kind by any beginning of it, in any case, with hyphens or without, and ten at the most", async () => {
    const { user } = await grey.users.createUser(userRequest());
    const wallets: string[] = [];
    for (let count = 0; count < 11; count += 1)
      wallets.push((await grey.wallets.createWallet(walletRequest({ userId: user!.id }))).wallet!.id);
    const find = async (prefix: string, kind = IdKind.WALLET) => (await grey.ledger.findIds({ prefix, kind })).ids;
    const [first = ""] = wallets;
    for (const prefix of [first, first.slice(0, -1), first.toUpperCase(), first.replaceAll("-", "")])
      expect(await find(prefix), prefix).to.deep.equal([first]);
    expect(await find(first, IdKind.USER)).to.deep.equal([]);
    expect(await find(user!.id, IdKind.USER)).to.deep.equal([user!.id]);
    const many = await find("0");
    expect(many).to.have.length(10);
    expect(many).to.deep.equal(many.toSorted());
    const error = await refusal(find("01zz"));
    expect(error.violations.get("prefix")).to.match(/^must be the beginning of an id/);
  });
});
