import { execFile } from "node:child_process";
import { join } from "node:path";
import { expect } from "chai";
import { PROJECT_DIR } from "../../src/config/config.js";
import { startServer, type TestServer } from "../support/server.js";

interface Run {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

describe("the command `grey` against a server", function () {
  // Each run of the command is a process of its own; on a busy machine they take seconds.
  this.timeout(180_000);

  let server: TestServer;

  before(async () => {
    server = await startServer();
  });
  after(() => server.stop());

  /** Runs the command as a user does; only GREY_ADDRESS is set. */
  function grey(...args: readonly string[]): Promise<Run> {
    return greyAt(server.address, ...args);
  }

  /** What the command prints with --json; it must succeed. */
  // eslint-disable-next-line typescript/no-explicit-any -- a test reads replies of every kind
  async function greyJson(...args: readonly string[]): Promise<any> {
    const { code, out, err } = await grey(...args, "--json");
    expect(code, err).to.equal(0);
    return JSON.parse(out);
  }

  it("makes a user, shows it by id and by email, and lists it", async () => {
    const made = await grey(
      "user",
      "create",
      "--name",
      "Ada Lovelace",
      "--email",
      "ada@example.com",
      "--metadata",
      "a=1",
      "b=2",
    );
    expect(made.code, made.err).to.equal(0);
    const id = field(made.out, "user");
    expect(made.out).to.match(/^metadata +a=1 b=2$/m);
    expect(field(made.out, "request id")).to.match(/^[0-9a-f-]{36}$/);
    expect((await grey("user", "get", "ADA@example.com")).out).to.include(id);
    expect((await greyJson("user", "get", id)).user.name).to.equal("Ada Lovelace");
    expect((await grey("user", "list")).out).to.include(id);
  });

  it("opens wallets, moves money between them, and shows transaction, entries and balances", async () => {
    const [from, to] = await twoWallets("mover@example.com", "100.00 USD");
    const deposit = await grey("deposit", from, "12.34", "USD", "--description", "top-up");
    expect(deposit.code, deposit.err).to.equal(0);
    expect(deposit.out).to.match(/^debit .*\(cash\) +12\.34 USD/m);
    expect(deposit.out).to.match(new RegExp(`^credit +${from} +12\\.34 USD +112\\.34 USD`, "m"));
    expect(deposit.out).to.match(new RegExp(`^${from} +112\\.34 USD +112\\.34 USD`, "m"));

    const transfer = await grey("transfer", from, to, "2.34 USD");
    expect(transfer.out).to.match(new RegExp(`^${from} +110\\.00 USD`, "m"));
    expect(transfer.out).to.match(new RegExp(`^${to} +2\\.34 USD`, "m"));

    expect((await grey("withdraw", to, "2.34 USD")).code).to.equal(0);
    const { balance } = await greyJson("balance", to);
    expect(balance.posted).to.deep.equal({ currencyCode: "USD" });
    expect((await greyJson("wallet", "get", from)).balance.posted.minorUnits).to.equal("11000");

    const listed = await grey("transactions", "--wallet", from);
    expect(listed.out).to.match(/transfer +-2\.34 USD +110\.00 USD/);
    expect(listed.out).to.match(/deposit +12\.34 USD +112\.34 USD +cash/);
    expect(listed.out).to.match(/opening +100\.00 USD +100\.00 USD +opening/);
  });

  it("finds transactions by what they are, changes their metadata, and tells a balance by effective time", async () => {
    const [wallet] = await twoWallets("finder@example.com", "100.00 USD");
    const pay = (amount: string, ...more: string[]) => greyJson("withdraw", wallet, amount, ...more);
    const { transaction } = await pay("5 USD", "--reference", "invoice-17", "--metadata", "order=4711", "draft=yes");
    await pay("7 USD", "--description", "rent for May");
    const found = async (...filters: string[]) => {
      const { transactions = [] } = await greyJson("transactions", ...filters);
      return (transactions as { id: string }[]).map(({ id }) => id);
    };
    const mine = ["--wallet", wallet];
    expect(await found("--reference", "invoice-17")).to.deep.equal([transaction.id]);
    expect(await found("--metadata", "order=4711", "draft")).to.deep.equal([transaction.id]);
    expect(await found(...mine, "--min", "4.99", "USD", "--max", "6 USD")).to.deep.equal([transaction.id]);
    expect(await found(...mine, "--description", "rent")).to.have.length(1);
    expect(await found(...mine, "--currency", "EUR")).to.deep.equal([]);
    expect(await found(...mine, "--before", "2020-01-01T00:00:00Z")).to.deep.equal([]);
    const changed = await grey(
      "transactions",
      "set-metadata",
      transaction.id,
      "--set",
      "paid=yes",
      "--remove",
      "draft",
    );
    expect(changed.out, changed.err).to.match(/^metadata +order=4711 paid=yes$/m);
    expect(await found("--metadata", "draft")).to.deep.equal([]);
    expect(await found("--metadata", "paid=yes")).to.deep.equal([transaction.id]);
    expect((await grey("transactions", "changes", transaction.id)).out).to.match(/^1 +\S.* paid=yes +draft$/m);
    const effective = await grey("balance", wallet, "--effective", "2020-01-01T00:00:00Z");
    expect(effective.out, effective.err).to.match(/ 0\.00 USD *$/m);
    const period = ["--from", "2020-01-01T00:00:00Z", "--before", "2199-01-01T00:00:00Z"];
    expect((await grey("statement", wallet, "--effective", ...period)).out).to.match(/^closing +88\.00 USD$/m);
  });

  it("replays a movement under its request id and moves nothing again", async () => {
    const [wallet] = await twoWallets("replayed@example.com", "1 USD");
    const requestId = "0190b3c1-5f8e-7cc4-8f5a-9f1d5f3a0c11";
    const first = await greyJson("deposit", wallet, "5 USD", "--request-id", requestId);
    const again = await greyJson("deposit", wallet, "5 USD", "--request-id", requestId);
    expect(again).to.deep.equal({ ...first, replayed: true });
    expect((await grey("deposit", wallet, "5 USD", "--request-id", requestId)).out).to.match(/^replayed +yes/m);
    expect((await greyJson("balance", wallet)).balance.posted.minorUnits).to.equal("600");

    const other = await grey("deposit", wallet, "6 USD", "--request-id", requestId);
    expect(other.code).to.equal(1);
    expect(other.err).to.match(/^grey: REQUEST_ID_REUSED: /);
  });

  it("tells a refusal in one line on standard error and keeps it as a rejected transaction", async () => {
    const [wallet] = await twoWallets("refused@example.com", "1 USD");
    const refused = await grey("withdraw", wallet, "1.01 USD");
    expect(refused).to.include({ code: 1, out: "" });
    expect(refused.err).to.match(/^grey: INSUFFICIENT_FUNDS: .+\n$/);
    expect((await grey("transactions", "--wallet", wallet, "--state", "rejected")).out).to.include(
      "rejected: INSUFFICIENT_FUNDS",
    );
    expect((await greyJson("balance", wallet)).balance.posted.minorUnits).to.equal("100");
  });

  it("names the fields that break a rule", async () => {
    const { code, err } = await grey(
      "user",
      "create",
      "--name",
      "No Mail",
      "--email",
      "none@example.com",
      "--request-id",
      "x",
    );
    expect(code).to.equal(1);
    expect(err).to.match(/^grey: INVALID_REQUEST: .*request_id: .+\n$/);
  });

  it("lists every page with --all and says when a list is cut short", async () => {
    const [wallet] = await twoWallets("paged@example.com", "1 USD");
    for (const amount of ["1 USD", "2 USD", "3 USD"]) await greyJson("deposit", wallet, amount);
    const cut = await grey("transactions", "--user", "paged@example.com", "--limit", "2");
    expect(cut.out).to.include("There are more");
    expect((await greyJson("transactions", "--wallet", wallet, "--limit", "2")).transactions).to.have.length(2);
    expect((await greyJson("transactions", "--wallet", wallet, "--all")).transactions).to.have.length(4);
    const deposits = await greyJson("transactions", "--wallet", wallet, "--kind", "deposit");
    expect(deposits.transactions).to.have.length(3);
  });

  it("refuses an amount with too many decimals, and moves nothing", async () => {
    const [wallet] = await twoWallets("decimals@example.com", "1 USD");
    const { code, err } = await grey("deposit", wallet, "1.005 USD");
    expect(code).to.equal(2);
    expect(err).to.equal('grey: amount "1.005 USD": USD has 2 decimal places, not 3\n');
    expect((await greyJson("balance", wallet)).balance.posted.minorUnits).to.equal("100");
  });

  it("seeds a history in which the books add up, and changes nothing the second time", async () => {
    const options = ["seed", "--users", "4", "--transactions", "40", "--seed", "7"];
    const first = await greyJson(...options);
    expect(first.transactions).to.deep.equal({ made: 40, replayed: 0, refused: 0 });
    const before = (await grey("wallet", "list", "ada.1.7@example.com")).out;
    const second = await greyJson(...options);
    expect(second.transactions).to.deep.equal({ made: 0, replayed: 40, refused: 0 });
    expect(second.users).to.deep.equal({ made: 0, replayed: 4, refused: 0 });
    expect(second.walletIds).to.deep.equal(first.walletIds);
    expect((await grey("wallet", "list", "ada.1.7@example.com")).out).to.equal(before);

    const check = await grey("check");
    expect(check.code, check.err).to.equal(0);
    expect(check.out).to.include("All books add up.");
    expect((await greyJson("check")).ok).to.equal(true);
  });

  it("says which address has no server, and how to try again", async () => {
    const { code, err } = await greyAt("127.0.0.1:1", "user", "create", "--name", "A", "--email", "a@example.com");
    expect(code).to.equal(1);
    expect(err).to.match(
      /^grey: cannot reach a Grey server at 127\.0\.0\.1:1: .*grey serve.*\n.*--request-id [0-9a-f-]{36}\n$/,
    );
  });

  it("ends with 2 when it is typed or set wrongly", async () => {
    expect((await grey("nonsense")).code).to.equal(2);
    expect((await grey("transactions", "--min", "5 USD", "--max", "6 EUR")).code).to.equal(2);
    const set = await greyAt("nowhere", "user", "list");
    expect(set).to.include({ code: 2, err: "grey: GREY_ADDRESS: must be host:port\n" });
  });

  it("prints help, version and settings without a server", async () => {
    expect((await greyAt("127.0.0.1:1", "--help")).code).to.equal(0);
    expect((await greyAt("127.0.0.1:1", "--version")).out).to.match(/^\d+\.\d+\.\d+\n$/);
    expect((await greyAt("127.0.0.1:1", "config")).out).to.match(/^GREY_ADDRESS=127\.0\.0\.1:1 /m);
  });

  async function twoWallets(email: string, initial: string): Promise<[string, string]> {
    await greyJson("user", "create", "--name", "Somebody", "--email", email);
    const first = await greyJson("wallet", "create", email, "USD", "--initial", initial);
    const second = await greyJson("wallet", "create", email, "USD", "--label", "other");
    expect((await greyJson("wallet", "list", email)).wallets).to.have.length(2);
    return [first.wallet.id, second.wallet.id];
  }
});

function greyAt(address: string, ...args: readonly string[]): Promise<Run> {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("GREY_"));
  const env = { ...Object.fromEntries(inherited), GREY_ADDRESS: address };
  return new Promise((resolve) => {
    execFile(process.execPath, [join(PROJECT_DIR, "bin/grey.js"), ...args], { env }, (error, out, err) => {
      resolve({ code: typeof error?.code === "number" ? error.code : error ? -1 : 0, out, err });
    });
  });
}

function field(text: string, name: string): string {
  const match = new RegExp(`^${name} +(\\S+)$`, "m").exec(text);
  expect(match, `field ${name} of:\n${text}`).not.to.equal(null);
  return match![1]!;
}
