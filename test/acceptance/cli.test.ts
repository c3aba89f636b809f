import { execFile } from "node:child_process";
import { mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { expect } from "chai";
import { PROJECT_DIR } from "../../src/config/config.js";
import { newId } from "../../src/base/ids.js";
import { connect } from "../support/client.js";
import { depositRequest, makeWallet, money, withdrawRequest } from "../support/ledger.js";
import { eventually } from "../support/process.js";
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

  /** Runs the command with --json, which must succeed, and returns the reply. */
  // eslint-disable-next-line typescript/no-explicit-any -- a test reads replies of every kind
  async function greyJson(...args: readonly string[]): Promise<any> {
    const { code, out, err } = await grey(...args, "--json");
    expect(code, err).to.equal(0);
    return JSON.parse(out);
  }

  it("creates a user, shows it by id and email, and lists it", async () => {
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
    expect(deposit.out).to.match(/^debit +cash +12\.34 USD/m);
    expect(deposit.out).to.match(new RegExp(`^credit +${from} \\S+ +12\\.34 USD +112\\.34 USD`, "m"));
    expect(deposit.out).to.match(new RegExp(`^${from} \\S+ +112\\.34 USD +112\\.34 USD`, "m"));

    const transfer = await grey("transfer", from, to, "2.34 USD");
    expect(transfer.out).to.match(new RegExp(`^${from} \\S+ +110\\.00 USD`, "m"));
    expect(transfer.out).to.match(new RegExp(`^${to} \\S+ +2\\.34 USD`, "m"));

    expect((await grey("withdraw", to, "2.34 USD")).code).to.equal(0);
    const { balance } = await greyJson("balance", to);
    expect(balance.posted).to.deep.equal({ currencyCode: "USD", minorUnits: "0" });
    expect((await greyJson("wallet", "get", from)).balance.posted.minorUnits).to.equal("11000");

    const listed = await grey("transactions", "--wallet", from);
    expect(listed.out).to.match(/transfer +-2\.34 USD +110\.00 USD/);
    expect(listed.out).to.match(/deposit +12\.34 USD +112\.34 USD +cash/);
    expect(listed.out).to.match(/opening +100\.00 USD +100\.00 USD +opening/);
  });

  it("finds transactions by filters, changes their metadata, and shows a balance by effective time", async () => {
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
    // The first of each is the change's own, and the same request again is told as such.
    const [requestId] = /(?<=^request id +)\S+/m.exec(changed.out)!;
    expect(requestId).not.to.equal(transaction.requestId);
    const again = await grey(
      "transactions",
      "set-metadata",
      transaction.id,
      "--set",
      "paid=yes",
      "--remove",
      "draft",
      "--request-id",
      requestId,
    );
    expect(again.out, again.err).to.match(/^replayed +yes/m);
    expect(await found("--metadata", "draft")).to.deep.equal([]);
    expect(await found("--metadata", "paid=yes")).to.deep.equal([transaction.id]);
    expect((await grey("transactions", "changes", transaction.id)).out).to.match(/^1 +\S.* paid=yes +draft$/m);
    const effective = await grey("balance", wallet, "--effective", "2020-01-01T00:00:00Z");
    expect(effective.out, effective.err).to.match(/ 0\.00 USD *$/m);
    const period = ["--from", "2020-01-01T00:00:00Z", "--before", "2199-01-01T00:00:00Z"];
    expect((await grey("statement", wallet, "--effective", ...period)).out).to.match(/^closing +88\.00 USD$/m);
  });

  it("posts compound transactions, exchanges by rate and quote, and sets limits", async () => {
    const [payer, shop] = await twoWallets("many@example.com", "100.00 USD");
    const made = await grey("account", "create", "commission", "USD", "--max", "50.00");
    expect(made.code, made.err).to.equal(0);
    expect(made.out).to.match(/^max +50\.00 USD$/m);
    const legs = ["--debit", `${payer}=10.30 USD`, "--credit", `${shop}=10.00 USD`, "--credit", "commission=0.30 USD"];
    const posted = await grey("post", ...legs, "--reference", "INV-17");
    expect(posted.code, posted.err).to.equal(0);
    expect(posted.out)
      .to.match(/^kind +compound$/m)
      .and.match(/^reference +INV-17$/m);
    expect(posted.out).to.match(new RegExp(`^${payer} \\S+ +89\\.70 USD`, "m"));
    expect((await grey("account", "list", "--currency", "USD")).out).to.match(/^commission +0\.30 USD +credit/m);
    expect((await grey("transactions", "--wallet", payer)).out).to.match(/compound +-10\.30 USD +89\.70 USD/);

    expect((await grey("transactions", "--wallet", payer, "--kind", "compound")).out).to.include("compound");

    const euros = (await greyJson("wallet", "create", "many@example.com", "EUR")).wallet.id as string;
    expect((await grey("rate", "set", "usd", "eur", "0.92")).out).to.match(/^rate +1 USD = 0\.92 EUR$/m);
    expect((await grey("rate", "get", "USD", "EUR")).out).to.include("1 USD = 0.92 EUR");
    expect((await grey("rate", "list", "USD", "EUR")).out).to.match(/^0\.92 +20/m);
    const changed = await grey("exchange", payer, euros, "10.00 USD");
    expect(changed.out, changed.err).to.match(/^received +9\.20 EUR$/m);
    const { quote } = await greyJson("quote", "20.00", "USD", "--to", "EUR", "--expires-in", "5m");
    expect((await grey("exchange", payer, euros, "--quote", quote as string)).out).to.match(/^received +18\.40 EUR$/m);

    const daily = "name=daily,window=1d,amount=5.00,count=3,direction=out,kinds=transfer+withdrawal";
    const wrong = await grey("limits", "set", payer, "--min", "-1 JPY", "--reason", "a policy");
    expect(wrong).to.include({ code: 2, err: 'grey: amount "-1 JPY": must be in USD\n' });
    const set = await grey("limits", "set", payer, "--min", "-1.00", "--velocity", daily, "--reason", "a policy");
    expect(set.code, set.err).to.equal(0);
    const refused = await grey("transfer", payer, shop, "5.01 USD");
    expect(refused.err).to.match(/^grey: VELOCITY_EXCEEDED: /);
    expect((await grey("transfer", payer, shop, "4.99 USD")).code).to.equal(0);
    const shown = (await grey("limits", "show", payer)).out;
    expect(shown)
      .to.match(/^min +-1\.00 USD$/m)
      .and.match(/^daily +outgoing +transfer withdrawal +86400 s +5\.00 USD +3 +4\.99 USD +1$/m);
    expect((await grey("limits", "changes", payer)).out).to.match(/^reason +a policy$/m);
    expect((await grey("limits", "defaults", "JPY", "--max", "1000", "--reason", "a policy")).out).to.match(
      /^max +1000 JPY$/m,
    );
    expect((await grey("post", "--debit", "fees")).code).to.equal(2);
  });

  it("watches transactions and a wallet, and reports how to resume", async () => {
    const [from, to] = await twoWallets("watched@example.com", "100.00 USD");
    const { transaction } = await greyJson("transfer", from, to, "2.34 USD");
    const index = Number(transaction.journalIndex);
    const limited = ["--from", String(index), "--limit", "1"];
    const watched = await grey("transactions", "watch", "--wallet", from, to, "--kind", "transfer", ...limited);
    expect(watched.code, watched.err).to.equal(0);
    expect(watched.out).to.match(
      new RegExp(`^${index}  \\S+  transfer  2\\.34 USD  ${from} \\S+ -> ${to} \\S+  posted  .*\n$`),
    );
    expect(watched.err).to.equal(`watching from journal index ${index}\nto resume: --from ${index + 1}\n`);

    const json = await grey("transactions", "watch", "--user", "watched@example.com", ...limited, "--json");
    const lines = json.out.trim().split("\n");
    const [beginning, message] = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(beginning).to.deep.include({ journalIndex: String(index - 1) });
    expect(message).to.deep.include({ journalIndex: String(index), transaction });

    const ofWallet = await grey("wallet", "watch", from, "--from", String(index), "--limit", "2");
    expect(ofWallet.out).to.match(/^\d+  posted 100\.00 USD  available 100\.00 USD  version 1\n/);
    expect(ofWallet.out).to.match(new RegExp(`^${index}  posted 97\\.66 USD .* version 2  by ${transaction.id}$`, "m"));

    const waiting = grey("balance", to, "--min-index", String(index + 1));
    await grey("deposit", to, "1.00 USD");
    expect((await waiting).out).to.match(new RegExp(`^${to} \\S+ +3\\.34 USD`, "m"));

    const unknown = await grey("wallet", "watch", "0190b3c1-5f8e-7cc4-8f5a-9f1d5f3a0c99");
    expect(unknown).to.include({ code: 3, out: "" });
    expect(unknown.err).to.match(/^grey: WALLET_NOT_FOUND: /);
  });

  it("schedules a movement, pauses, resumes and cancels it, and lists schedules and runs", async () => {
    const [from, to] = await twoWallets("planner@example.com", "100.00 USD");
    const rule = ["--cron", "0 9 1 * *", "--time-zone", "Europe/Berlin", "--max-runs", "12"];
    const made = await grey("schedule", "create", "5.00", "USD", "--from", from, "--to", to, ...rule);
    expect(made.code, made.err).to.equal(0);
    const id = field(made.out, "schedule");
    expect(made.out).to.match(new RegExp(`^moves +5\\.00 USD from ${from} \\S+ to ${to} \\S+$`, "m"));
    expect(made.out).to.match(/^when +0 9 1 \* \* in Europe\/Berlin, 12 times$/m);
    expect(field((await grey("schedule", "get", id)).out, "next run")).to.match(/-01T0[78]:00:00Z$/);
    for (const [verb, state] of [
      ["pause", "paused"],
      ["resume", "active"],
      ["cancel", "cancelled"],
    ] as const) {
      const changed = await grey("schedule", verb, id);
      expect(changed.code, changed.err).to.equal(0);
      expect(field(changed.out, "state")).to.equal(state);
    }
    expect((await grey("schedule", "list", "--wallet", to, "--state", "cancelled")).out).to.include(id);
    expect((await grey("schedule", "list", "--wallet", to, "--state", "active")).out).not.to.include(id);
    expect((await grey("schedule", "runs", id)).out).to.include("no runs yet");
    const at = ["--at", "2030-01-01T00:00:00Z"];
    for (const [options, name] of [
      [["--to", to, ...at, "--max-runs", "4"], "--max-runs requires --cron"],
      [["--to", to, ...at, "--up-to"], "--up-to requires --from"],
      [["--to", to, ...at, "--retry-max", "4"], "--retry-max requires --if-short retry"],
      [["--from", from, "--to", to, ...at, "--system", "fees"], "--system requires a deposit or a withdrawal"],
    ] as const)
      expect(await grey("schedule", "create", "5.00", "USD", ...options)).to.include({
        code: 2,
        err: `grey: ${name}\n`,
      });
    const none = await grey("schedule", "create", "5.00", "USD", "--to", to);
    expect(none.code).to.equal(2);
    expect(none.err).to.include("--at");
  });

  it("creates an alert, shows its crossings, and deletes it", async () => {
    const [wallet] = await twoWallets("watcher@example.com", "100.00 USD");
    const made = await grey("alert", "create", wallet, "50.00 USD", "--direction", "down");
    expect(made.code, made.err).to.equal(0);
    const id = field(made.out, "alert");
    expect((await grey("alert", "list", wallet)).out).to.match(new RegExp(`^${id} +50\\.00 USD +down +available`, "m"));
    await grey("withdraw", wallet, "60.00 USD");
    await eventually("the crossing", async () =>
      /down +100\.00 USD +40\.00 USD/.test((await grey("alert", "events", id)).out),
    );
    expect(field((await grey("alert", "delete", id)).out, "deleted")).not.to.equal("");
    expect((await greyJson("alert", "get", id)).alert.direction).to.equal("ALERT_DIRECTION_DOWN");
    expect((await grey("alert", "list", wallet)).out).to.include("no alerts");
  });

  it("accepts a wallet by owner and currency, label, or id prefix, and lists the candidates if it is ambiguous", async () => {
    const [first, second] = await twoWallets("named@example.com", "10 USD");
    expect((await greyJson("balance", "named@example.com/other")).balance.walletId).to.equal(second);
    const both = await greyJson("balance", "named@example.com");
    expect(both.wallets.map((one: { balance: { walletId: string } }) => one.balance.walletId)).to.deep.equal([
      first,
      second,
    ]);
    const sent = await grey("transfer", first, "named@example.com/OTHER", "1 USD");
    expect(sent.code, sent.err).to.equal(0);
    const unclear = await grey("withdraw", "named@example.com", "1 USD");
    expect(unclear).to.include({ code: 2, out: "" });
    expect(unclear.err).to.match(/^grey: named@example\.com matches several wallets; choose one of:\n/);
    expect(unclear.err).to.include(`${second}  named@example.com/other  1.00 USD`);
    const none = await grey("withdraw", "named@example.com/EUR", "1 EUR");
    expect(none.err).to.match(/^grey: named@example\.com has no wallet EUR; choose one of:\n/);
    expect((await greyJson("wallet", "get", first.slice(0, -1))).wallet.id).to.equal(first);
    const many = await grey("wallet", "get", first.slice(0, 4));
    expect(many).to.include({ code: 2 });
    expect(many.err).to.include("type more of it");
    expect((await grey("wallet", "get", "ffffffff")).err).to.equal(
      "grey: no wallet has an id that begins with ffffffff\n",
    );
    expect((await grey("wallet", "get", "savings")).err).to.include("does not name a wallet");
    expect(
      (await greyJson("user", "get", both.wallets[0] && (await userIdOf(first)).slice(0, -1))).user.email,
    ).to.equal("named@example.com");
  });

  it("draws a transaction's T-accounts with equal sums of debits and credits", async () => {
    const [from, to] = await twoWallets("drawn@example.com", "10 USD");
    const { transaction } = await greyJson("transfer", from, to, "2.34 USD", "--description", "tea");
    const { out, err } = await grey("transactions", "show", transaction.id.slice(0, -1));
    expect(out, err).to.match(/^ +drawn@example\.com\/USD +drawn@example\.com\/other$/m);
    expect(out).to.match(/^ +2\.34 USD │ +│ +2\.34 USD$/m);
    expect(out).to.include("balance after  7.66 USD");
    expect(out).to.include("debits = credits = 2.34 USD");
    expect(out).to.match(/^description +tea$/m);
  });

  it("prints errors as JSON with --json, sets the exit code, and writes only replies to standard output", async () => {
    const [wallet] = await twoWallets("ends@example.com", "1 USD");
    const errorOf = ({ err }: Run) => {
      const lines = err.trim().split("\n");
      for (const line of lines) JSON.parse(line);
      return (JSON.parse(lines.at(-1)!) as { error: Record<string, unknown> }).error;
    };
    const refused = await grey("withdraw", wallet, "2 USD", "--json");
    expect(refused).to.include({ code: 3, out: "" });
    expect(errorOf(refused)).to.deep.include({ kind: "refused", exitCode: 3, reason: "INSUFFICIENT_FUNDS" });
    expect(errorOf(refused).metadata).to.include({ required_minor_units: "200", available_minor_units: "100" });
    const wrong = await grey("withdraw", wallet, "--json");
    expect(wrong).to.include({ code: 2, out: "" });
    expect(errorOf(wrong)).to.deep.include({
      kind: "wrong_use",
      message: "missing required argument 'amount' (see --help)",
    });
    const malformed = await grey("withdraw", wallet, "1 USD", "--request-id", "x", "--json");
    expect(malformed.code).to.equal(2);
    expect(errorOf(malformed).violations).to.deep.equal([{ field: "request_id", rule: "must be a valid UUID" }]);
    const silent = await greyAt("127.0.0.1:1", "withdraw", wallet, "1 USD", "--json");
    expect(silent.code).to.equal(4);
    expect(errorOf(silent)).to.deep.include({ kind: "unreachable", code: "UNAVAILABLE" });
  });

  it("explains the alternatives to moving a negative amount", async () => {
    const [wallet] = await twoWallets("below@example.com", "1 USD");
    for (const amount of [["-5 USD"], ["-5", "USD"]]) {
      const { code, err } = await grey("deposit", wallet, ...amount);
      expect(code).to.equal(2);
      expect(err).to.include("-5 USD").and.to.include("swap the wallets, or use withdraw");
    }
  });

  it("shows local times, and with --utc times in UTC", async () => {
    const [wallet] = await twoWallets("zone@example.com", "1 USD");
    const { createTime } = (await greyJson("wallet", "get", wallet)).wallet;
    const zone = { TZ: "Asia/Kathmandu" };
    const local = field((await runGrey(server.address, ["wallet", "get", wallet], zone)).out, "created");
    expect(local).to.match(/\+05:45$/);
    expect(Date.parse(local)).to.equal(Date.parse(createTime as string));
    const utc = field((await runGrey(server.address, ["wallet", "get", wallet, "--utc"], zone)).out, "created");
    expect(utc).to.match(/Z$/);
  });

  it("fits tables to a terminal of 80 columns, shows everything in 200, and honours NO_COLOR", async () => {
    const [from, to] = await twoWallets("terminal.of.eighty.columns@example.com", "10 USD");
    await greyJson("transfer", from, to, "1 USD", "--description", "a description of quite some length, which wraps");
    const list = ["transactions", "--user", "terminal.of.eighty.columns@example.com"];
    const narrow = await onTerminal(80, list);
    expect(
      Math.max(
        ...plain(narrow)
          .split("\r\n")
          .map((line) => line.length),
      ),
    ).to.be.at.most(80);
    expect(plain(narrow)).to.include("1.00 USD").and.to.include("(hidden: ");
    const wide = await onTerminal(240, list);
    expect(plain(wide)).to.include("terminal.of.eighty.columns@example.com/other").and.to.include("posted");
    expect(wide).to.include("\u001b[32mposted");
    expect(plain(wide)).to.match(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d /m);
    expect(await onTerminal(240, list, { NO_COLOR: "1" })).not.to.include("\u001b[32m");
    const piped = (await grey(...list)).out;
    expect(piped).not.to.include("\u001b");
    expect(piped).to.include(from).and.to.include(to).and.to.include("which wraps");
  });

  for (const [shell, script] of [
    [
      "bash",
      'eval "$(grey completion bash)"; COMP_WORDS=(grey transactions --ki); COMP_CWORD=2; _grey; echo "${COMPREPLY[@]}"',
    ],
    [
      "zsh",
      'autoload -Uz compinit; compinit -D; eval "$(grey completion zsh)"; compadd() { shift; print -r -- "$@" }; words=(grey transactions --ki); CURRENT=3; _grey',
    ],
    ["fish", 'grey completion fish | source; complete -C "grey transactions --ki"'],
  ] as const) {
    it(`completes in ${shell}`, async function () {
      const bin = await mkdtemp(join(tmpdir(), "grey-bin-"));
      await symlink(join(PROJECT_DIR, "bin/grey.js"), join(bin, "grey"));
      const { code, out, err } = await run(shell, shell === "fish" ? ["--no-config", "-c", script] : ["-c", script], {
        PATH: `${bin}:${process.env.PATH ?? ""}`,
        HOME: bin,
      });
      await rm(bin, { recursive: true });
      // Where the shell is not installed there is nothing to try.
      if (code === -1 && err === "") return this.skip();
      expect(out.trim(), err).to.equal("--kind");
    });
  }

  it("replays a movement under its request id and moves nothing again", async () => {
    const [wallet] = await twoWallets("replayed@example.com", "1 USD");
    const requestId = "0190b3c1-5f8e-7cc4-8f5a-9f1d5f3a0c11";
    const first = await greyJson("deposit", wallet, "5 USD", "--request-id", requestId);
    const again = await greyJson("deposit", wallet, "5 USD", "--request-id", requestId);
    expect(again).to.deep.equal({ ...first, replayed: true });
    expect((await grey("deposit", wallet, "5 USD", "--request-id", requestId)).out).to.match(/^replayed +yes/m);
    expect((await greyJson("balance", wallet)).balance.posted.minorUnits).to.equal("600");

    const other = await grey("deposit", wallet, "6 USD", "--request-id", requestId);
    expect(other.code).to.equal(3);
    expect(other.err).to.match(/^grey: REQUEST_ID_REUSED: /);
  });

  it("prints a refusal in one line on standard error, and the server records it as a rejected transaction", async () => {
    const [wallet] = await twoWallets("refused@example.com", "1 USD");
    const refused = await grey("withdraw", wallet, "1.01 USD");
    expect(refused).to.include({ code: 3, out: "" });
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
    expect(code).to.equal(2);
    expect(err).to.match(/^grey: INVALID_REQUEST: .*request_id: .+\n$/);
  });

  it("lists every page with --all, and notes that a list is incomplete", async () => {
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

  it("seeds a history in which the books balance, and changes nothing when repeated", async () => {
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
    expect(check.out).to.include("The books balance.");
    expect((await greyJson("check")).ok).to.equal(true);
  });

  it("checks the records since the last check, and reports from which index", async () => {
    expect((await grey("check")).code).to.equal(0);
    const [from] = await twoWallets("new@example.com", "5.00");
    const { integrity } = await greyJson("check", "--since-last");
    expect(integrity.transactionCount).to.equal("1");
    await grey("deposit", from, "1.00", "USD");
    const check = await grey("check", "--since-last");
    expect(check.code, check.err).to.equal(0);
    expect(check.err).to.match(/^checked records from journal index \d+ on, and the rows they touch\n$/);
    expect(check.out)
      .to.match(/^journal records +1$/m)
      .and.to.include("The books balance.");
    expect((await grey("check", "--since-last", "--from", "3")).code).to.equal(2);
  });

  it("prints a statement as table, JSON and CSV, and nothing for a missing wallet", async () => {
    const [from, to] = await twoWallets("statement@example.com", "5.00");
    await grey("transfer", from, to, "1.25", "USD", "--description", '=1, "two"');
    const period = ["--from", "2020-01-01T00:00:00Z", "--before", "2200-01-01T00:00:00Z"];
    const json = await greyJson("statement", from, ...period);
    expect(json.lines).to.have.lengthOf(2);
    expect(json.closing).to.deep.equal({ currencyCode: "USD", minorUnits: "375" });
    const table = (await grey("statement", from, ...period)).out;
    expect(table)
      .to.match(/^opening +0\.00 USD$/m)
      .and.to.match(/^closing +3\.75 USD$/m);
    const csv = (await grey("statement", from, ...period, "--csv")).out.split("\n");
    expect(csv).to.have.lengthOf(4);
    expect(csv[0]).to.match(/^create_time,/);
    expect(csv[2]).to.match(/,-125,375,USD,[0-9a-f-]{36},\d+,"'=1, ""two""",\d{4}-[^,]+Z$/);
    const none = await grey("statement", "01890a5d-ac96-774b-bcce-b302099a8057", ...period, "--csv");
    expect(none).to.include({ code: 3, out: "" });
    expect(none.err).to.include("WALLET_NOT_FOUND");
  });

  it("shows a statement and a balance by effective time whose sums exceed int64", async () => {
    const clients = connect(server.address);
    await clients.ledger.createCurrency({ requestId: newId(), code: "WEI", exponent: 18, name: "Wei" });
    const wallet = await makeWallet(clients, { currencyCode: "WEI" });
    const nine = money(9n * 10n ** 18n, "WEI");
    const effectiveTime = { seconds: BigInt(Math.floor(Date.now() / 1_000) - 86_400), nanos: 0 };
    const deposit = () => clients.transactions.deposit(depositRequest(wallet.id, 1n, { amount: nine, effectiveTime }));
    await deposit();
    await clients.transactions.withdraw(withdrawRequest(wallet.id, 1n, { amount: nine }));
    await deposit();
    clients.close();
    const period = ["--from", "1970-01-01T00:00:00Z", "--before", "9999-12-31T23:59:59Z"];
    for (const order of [[], ["--effective"]]) {
      const table = (await grey("statement", wallet.id, ...period, ...order)).out;
      expect(table).to.match(/^credits +18\.0{18} WEI$/m);
      expect(table).to.match(/^closing +9\.0{18} WEI$/m);
      expect(table.includes("  18.000000000000000000 WEI  ")).to.equal(order.length > 0);
    }
    const csv = (await grey("statement", wallet.id, ...period, "--effective", "--csv")).out.split("\n");
    expect(csv[2]).to.include(",9000000000000000000,18000000000000000000,WEI,");
    const asOf = ["--effective", new Date(Date.now() - 3_600_000).toISOString()];
    expect((await grey("balance", wallet.id, ...asOf)).out).to.include("18000000000000000000 minor units");
  });

  it("names the address without a server, and explains how to retry", async () => {
    const { code, err } = await greyAt("127.0.0.1:1", "user", "create", "--name", "A", "--email", "a@example.com");
    expect(code).to.equal(4);
    expect(err).to.match(
      /^grey: cannot reach a Grey server at 127\.0\.0\.1:1: .*grey serve.*\n.*--request-id [0-9a-f-]{36}\n$/,
    );
  });

  it("exits with 2 for bad arguments or settings", async () => {
    expect((await grey("nonsense")).code).to.equal(2);
    expect((await grey("transactions", "--min", "5 USD", "--max", "6 EUR")).code).to.equal(2);
    const set = await greyAt("nowhere", "user", "list");
    expect(set).to.include({
      code: 2,
      err: "grey: GREY_ADDRESS: must be host:port, such as 127.0.0.1:50051 or [::1]:50051\n",
    });
  });

  it("prints help, version and settings without a server", async () => {
    expect((await greyAt("127.0.0.1:1", "--help")).code).to.equal(0);
    expect((await greyAt("127.0.0.1:1", "--version")).out).to.match(/^\d+\.\d+\.\d+\n$/);
    expect((await greyAt("127.0.0.1:1", "config")).out).to.match(/^GREY_ADDRESS=127\.0\.0\.1:1 /m);
  });

  async function userIdOf(wallet: string): Promise<string> {
    return (await greyJson("wallet", "get", wallet)).wallet.userId as string;
  }

  /** Returns the command's output on a terminal of this width. */
  async function onTerminal(columns: number, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
    const command = [process.execPath, join(PROJECT_DIR, "bin/grey.js"), ...args].map((word) => `'${word}'`).join(" ");
    // Variables of the tests' environment that disable colours.
    const plainly = Object.keys(env).includes("NO_COLOR") ? "CI" : "CI NO_COLOR";
    const terminal = ["-qec", `unset ${plainly}; stty cols ${columns}; ${command}`, "/dev/null"];
    const { out, err } = await run("script", terminal, {
      GREY_ADDRESS: server.address,
      TERM: "xterm-256color",
      ...env,
    });
    expect(out, err).not.to.equal("");
    return out;
  }

  async function twoWallets(email: string, initial: string): Promise<[string, string]> {
    await greyJson("user", "create", "--name", "Somebody", "--email", email);
    const first = await greyJson("wallet", "create", email, "USD", "--initial", initial);
    const second = await greyJson("wallet", "create", email, "USD", "--label", "other");
    expect((await greyJson("wallet", "list", email)).wallets).to.have.length(2);
    return [first.wallet.id, second.wallet.id];
  }
});

function greyAt(address: string, ...args: readonly string[]): Promise<Run> {
  return runGrey(address, args, {});
}

function runGrey(address: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<Run> {
  return run(process.execPath, [join(PROJECT_DIR, "bin/grey.js"), ...args], { GREY_ADDRESS: address, ...env });
}

/** Removes colours. */
function plain(text: string): string {
  return stripVTControlCharacters(text);
}

function run(file: string, args: readonly string[], more: NodeJS.ProcessEnv): Promise<Run> {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("GREY_") && name !== "NO_COLOR");
  const env = { ...Object.fromEntries(inherited), TZ: "UTC", ...more };
  return new Promise((resolve) => {
    execFile(file, args, { env }, (error, out, err) => {
      resolve({ code: typeof error?.code === "number" ? error.code : error ? -1 : 0, out, err });
    });
  });
}

function field(text: string, name: string): string {
  const match = new RegExp(`^${name} +(\\S+)$`, "m").exec(text);
  expect(match, `field ${name} of:\n${text}`).not.to.equal(null);
  return match![1]!;
}
