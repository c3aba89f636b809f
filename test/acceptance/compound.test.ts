import { randomUUID } from "node:crypto";
import { expect } from "chai";
import { NormalSide } from "../../generated/grey/ledger/v1/account.js";
import {
  EntrySide,
  Precondition,
  TransactionKind,
  TransactionState,
} from "../../generated/grey/transaction/v1/transaction.js";
import { type Leg, PostTransactionRequest } from "../../generated/grey/transaction/v1/compound.js";
import { ReverseRequest } from "../../generated/grey/transaction/v1/reversal.js";
import { connect, refusal, type Clients } from "../support/client.js";
import { makeUser, makeWallet, money } from "../support/ledger.js";
import { startServer, type TestServer } from "../support/server.js";

/** Transactions with many legs, as a client has them, on two servers of one database. */
describe("a transaction with many legs", function () {
  this.timeout(60_000);

  let servers: readonly TestServer[];
  let grey: Clients;
  let there: Clients;

  before(async () => {
    const first = await startServer();
    servers = [first, await startServer({ DATABASE_URL: first.databaseUrl })];
    grey = connect(servers[0]!.address);
    there = connect(servers[1]!.address);
    await makeUser(grey);
  });
  after(async () => {
    const { faults } = await grey.ledger.checkIntegrity({ maxFaults: 10 });
    grey.close();
    there.close();
    for (const server of servers.toReversed()) await server.stop();
    expect(faults).to.deep.equal([]);
  });

  const debit = (walletId: string, minorUnits: bigint, currencyCode = "USD"): Leg => ({
    account: { $case: "walletId", value: walletId },
    side: EntrySide.DEBIT,
    amount: money(minorUnits, currencyCode),
  });
  const credit = (walletId: string, minorUnits: bigint, currencyCode = "USD"): Leg => ({
    ...debit(walletId, minorUnits, currencyCode),
    side: EntrySide.CREDIT,
  });
  const system = (name: string, side: EntrySide, minorUnits: bigint, currencyCode = "USD"): Leg => ({
    account: { $case: "systemAccount", value: name },
    side,
    amount: money(minorUnits, currencyCode),
  });
  const request = (legs: readonly Leg[], over: Partial<PostTransactionRequest> = {}): PostTransactionRequest => ({
    ...PostTransactionRequest.fromPartial({ requestId: randomUUID() }),
    legs: [...legs],
    ...over,
  });

  const wallet = async (minorUnits = 0n, currencyCode = "USD") =>
    (await makeWallet(grey, { minorUnits, currencyCode })).id;

  async function posted(walletId: string): Promise<bigint> {
    return (await grey.wallets.getBalance({ walletId })).balance!.posted!.minorUnits;
  }

  async function get(id: string) {
    return (await grey.transactions.getTransaction({ by: { $case: "id", value: id } })).transaction!;
  }

  it("pays somebody and takes the fee in one transaction, and answers it again", async () => {
    const [payer, shop] = [await wallet(1_000n), await wallet()];
    const asked = request([debit(payer, 103n), credit(shop, 100n), system("fees", EntrySide.CREDIT, 3n)], {
      description: "lunch",
      metadata: { order: "17" },
      externalReference: "INV-17",
    });
    const answer = await grey.transactions.postTransaction(asked);
    const { transaction } = answer;
    expect(transaction).to.deep.include({
      kind: TransactionKind.COMPOUND,
      state: TransactionState.POSTED,
      amount: money(103n),
      debitAccountId: payer,
      creditAccountId: shop,
      externalReference: "INV-17",
      description: "lunch",
      metadata: { order: "17" },
    });
    expect(
      transaction!.entries.map((entry) => [entry.side, entry.amount!.minorUnits, entry.balanceAfter!.minorUnits]),
    ).to.deep.equal([
      [EntrySide.DEBIT, 103n, 897n],
      [EntrySide.CREDIT, 100n, 100n],
      [EntrySide.CREDIT, 3n, transaction!.entries[2]!.balanceAfter!.minorUnits],
    ]);
    expect(answer.balances.map((one) => [one.walletId, one.posted!.minorUnits])).to.deep.equal([
      [payer, 897n],
      [shop, 100n],
    ]);
    expect(await get(transaction!.id)).to.deep.equal(transaction);
    expect(await there.transactions.postTransaction(asked)).to.deep.equal({ ...answer, replayed: true });
    for (const [field, over] of [
      ["legs", { legs: [debit(payer, 103n), credit(shop, 103n)] }],
      ["external_reference", { externalReference: "INV-18" }],
      ["description", { description: "supper" }],
      ["effective_time", { effectiveTime: { seconds: 1n, nanos: 0 } }],
      ["metadata", { metadata: {} }],
    ] as const) {
      const error = await refusal(
        grey.transactions.postTransaction(request(asked.legs, { ...asked, ...over } as PostTransactionRequest)),
      );
      expect([error.reason, error.info.differs]).to.deep.equal(["REQUEST_ID_REUSED", field]);
    }
    expect(await posted(payer)).to.equal(897n);
  });

  it("moves several currencies at once, each of which sums to zero", async () => {
    const [dollars, euros] = [await wallet(100n), await wallet(100n, "EUR")];
    const [toDollars, toEuros] = [await wallet(), await wallet(0n, "EUR")];
    const { transaction, balances } = await grey.transactions.postTransaction(
      request([debit(dollars, 7n), credit(toDollars, 7n), debit(euros, 5n, "EUR"), credit(toEuros, 5n, "EUR")]),
    );
    expect(transaction!.entries.map((entry) => entry.amount)).to.deep.equal([
      money(7n),
      money(7n),
      money(5n, "EUR"),
      money(5n, "EUR"),
    ]);
    expect(balances.map((one) => one.posted)).to.deep.equal([
      money(93n),
      money(7n),
      money(95n, "EUR"),
      money(5n, "EUR"),
    ]);
    const error = await refusal(
      grey.transactions.postTransaction(request([debit(dollars, 7n), credit(toEuros, 7n, "EUR")])),
    );
    expect(error).to.include({ code: "INVALID_ARGUMENT", reason: "INVALID_REQUEST" });
    expect(error.violations.get("legs")).to.match(/USD/);
  });

  it("asks limits of what all legs of an account come to, not of each", async () => {
    const [a, b] = [await wallet(10n), await wallet()];
    const asked = request([debit(a, 15n), credit(a, 10n), credit(b, 20n), debit(b, 15n)]);
    const { transaction, balances } = await grey.transactions.postTransaction(asked);
    expect(transaction!.entries.map((entry) => entry.balanceAfter!.minorUnits)).to.deep.equal([-5n, 5n, 20n, 5n]);
    expect(balances.map((one) => [one.walletId, one.posted!.minorUnits, one.version])).to.deep.equal([
      [a, 5n, 3n],
      [b, 5n, 2n],
    ]);
    const error = await refusal(grey.transactions.postTransaction(request([debit(a, 6n), credit(b, 6n)])));
    expect(error).to.include({ code: "FAILED_PRECONDITION", reason: "INSUFFICIENT_FUNDS" });
    expect(error.info).to.include({ wallet_id: a, available_minor_units: "5", required_minor_units: "6" });
  });

  it("is refused as a whole, kept with its reason, and listed for every account that it names", async () => {
    const [a, b, poor] = [await wallet(100n), await wallet(), await wallet()];
    const asked = request([debit(a, 5n), debit(poor, 1n), credit(b, 6n)]);
    const error = await refusal(grey.transactions.postTransaction(asked));
    expect(error.reason).to.equal("INSUFFICIENT_FUNDS");
    expect(error.info).to.include({ wallet_id: poor });
    const again = await refusal(there.transactions.postTransaction(asked));
    expect(again.info).to.deep.include({ replayed: "true", transaction_id: error.info.transaction_id });
    expect([await posted(a), await posted(b)]).to.deep.equal([100n, 0n]);
    for (const id of [a, b, poor]) {
      const { transactions } = await grey.transactions.listTransactions({
        of: { $case: "walletId", value: id },
        kinds: [],
        states: [TransactionState.REJECTED],
        pageSize: 10,
        pageToken: "",
        createTimeFrom: undefined,
        createTimeBefore: undefined,
      });
      expect(transactions.map((one) => [one.id, one.entries.length])).to.deep.equal([[error.info.transaction_id, 0]]);
    }
  });

  it("names the account that there is not, and the one of another currency", async () => {
    const [a, euros] = [await wallet(100n), await wallet(5n, "EUR")];
    const post = (legs: Leg[]) => refusal(grey.transactions.postTransaction(request(legs)));
    const nobody = randomUUID();
    expect(await post([debit(a, 1n), credit(nobody, 1n)])).to.deep.include({ reason: "WALLET_NOT_FOUND" });
    const unknown = await post([debit(a, 1n), system("bank_of_nowhere", EntrySide.CREDIT, 1n)]);
    expect(unknown.info).to.include({ system_account: "bank_of_nowhere", currency_code: "USD" });
    const mixed = await post([debit(a, 1n), credit(euros, 1n)]);
    expect(mixed.info).to.include({ wallet_id: euros, wallet_currency_code: "EUR", amount_currency_code: "USD" });
  });

  it("can be tried out, and obeys preconditions", async () => {
    const [a, b] = [await wallet(100n), await wallet()];
    const legs = [debit(a, 60n), credit(b, 60n)];
    const dry = await grey.transactions.postTransaction(request(legs, { dryRun: true }));
    expect([dry.transaction!.id, dry.balances.map((one) => one.posted!.minorUnits)]).to.deep.equal(["", [40n, 60n]]);
    expect(await posted(a)).to.equal(100n);
    const preconditions = [Precondition.fromPartial({ walletId: a, minBalanceAfter: 41n })];
    const error = await refusal(grey.transactions.postTransaction(request(legs, { preconditions })));
    expect(error.info).to.include({ precondition: "min_balance_after", expected: "41", actual: "40" });
  });

  it("has up to 1,000 legs", async () => {
    const [a, b] = [await wallet(2_000n), await wallet()];
    const credits = Array.from({ length: 999 }, () => credit(b, 2n));
    const { transaction, balances } = await grey.transactions.postTransaction(request([debit(a, 1_998n), ...credits]));
    expect(transaction!.entries).to.have.lengthOf(1_000);
    expect(balances.map((one) => [one.posted!.minorUnits, one.version])).to.deep.equal([
      [2n, 2n],
      [1_998n, 999n],
    ]);
    const error = await refusal(
      grey.transactions.postTransaction(request([debit(a, 2_000n), ...credits, credit(b, 2n)])),
    );
    expect([...error.violations.keys()]).to.deep.equal(["legs"]);
  });

  it("is listed once, however many of its legs are the wallet's", async () => {
    const [a, b] = [await wallet(100n), await wallet()];
    const ids: string[] = [];
    for (let count = 0; count < 4; count += 1) {
      const legs = [debit(a, 6n), credit(b, 1n), credit(b, 2n), credit(b, 3n)];
      ids.unshift((await grey.transactions.postTransaction(request(legs))).transaction!.id);
    }
    const listed: string[] = [];
    for (let pageToken: string | undefined = ""; pageToken !== undefined;) {
      const page = await grey.transactions.listTransactions({
        of: { $case: "walletId", value: b },
        kinds: [],
        states: [],
        pageSize: 2,
        pageToken,
        createTimeFrom: undefined,
        createTimeBefore: undefined,
      });
      listed.push(...page.transactions.map((one) => one.id));
      pageToken = page.nextPageToken === "" ? undefined : page.nextPageToken;
    }
    expect(listed).to.deep.equal(ids);
    const statement = await grey.wallets.getStatement({
      walletId: b,
      from: { seconds: 0n, nanos: 0 },
      before: { seconds: 7_000_000_000n, nanos: 0 },
      pageSize: 5,
      pageToken: "",
    });
    expect(statement.lines).to.have.lengthOf(5);
    expect(statement.closing).to.deep.equal(money(24n));
  });

  it("is read back in a currency whose code is NULL", async () => {
    await grey.ledger.createCurrency({ requestId: randomUUID(), code: "NULL", exponent: 2, name: "Nothing" });
    const [a, b] = [await wallet(5n, "NULL"), await wallet(0n, "NULL")];
    const asked = request([debit(a, 5n, "NULL"), credit(b, 5n, "NULL")]);
    const answer = await grey.transactions.postTransaction(asked);
    expect(await get(answer.transaction!.id)).to.deep.equal(answer.transaction);
    expect(await there.transactions.postTransaction(asked)).to.deep.equal({ ...answer, replayed: true });
  });

  it("fills no page with more entries than a client takes, and leaves none out", async () => {
    const [a, b] = [await wallet(100_000n), await wallet()];
    const credits = Array.from({ length: 999 }, () => credit(b, 1n));
    for (let count = 0; count < 40; count += 1)
      await grey.transactions.postTransaction(request([debit(a, 999n), ...credits]));
    const list = (pageToken: string) =>
      grey.transactions.listTransactions({
        of: { $case: "walletId", value: b },
        kinds: [],
        states: [],
        pageSize: 1_000,
        pageToken,
        createTimeFrom: undefined,
        createTimeBefore: undefined,
      });
    const first = await list("");
    const second = await list(first.nextPageToken);
    const ids = [...first.transactions, ...second.transactions].map(({ id }) => id);
    expect(first.transactions.length).to.be.within(1, 39);
    expect([ids.length, new Set(ids).size, second.nextPageToken]).to.deep.equal([40, 40, ""]);
  });

  it("uses system accounts of the operator's own", async () => {
    const name = "commission";
    const account = {
      systemAccount: { name, currencyCode: "USD" },
      normalSide: NormalSide.CREDIT,
      minBalance: 0n,
      maxBalance: 10n,
    };
    const asked = { requestId: randomUUID(), ...account };
    const made = await grey.ledger.createAccount(asked);
    expect(made.account).to.deep.include({ systemAccount: name, minBalance: money(0n), maxBalance: money(10n) });
    expect(await there.ledger.createAccount(asked)).to.deep.equal({ ...made, replayed: true });
    const reserved = { ...account, systemAccount: { ...account.systemAccount, name: "wallets" } };
    const error = await refusal(grey.ledger.createAccount({ requestId: randomUUID(), ...reserved }));
    expect([...error.violations.keys()]).to.deep.equal(["system_account.name"]);
    const twice = await refusal(grey.ledger.createAccount({ requestId: randomUUID(), ...account }));
    expect(twice).to.include({ code: "ALREADY_EXISTS", reason: "ACCOUNT_EXISTS" });
    const a = await wallet(100n);
    await grey.transactions.postTransaction(request([debit(a, 8n), system(name, EntrySide.CREDIT, 8n)]));
    const full = await refusal(
      there.transactions.postTransaction(request([debit(a, 3n), system(name, EntrySide.CREDIT, 3n)])),
    );
    expect(full.reason).to.equal("MAX_BALANCE_EXCEEDED");
    expect(full.info).to.include({ max_balance_minor_units: "10", room_minor_units: "2", required_minor_units: "3" });
    const { account: after } = await grey.ledger.getAccount({
      by: { $case: "systemAccount", value: account.systemAccount },
    });
    expect(after!.balance).to.deep.equal(money(8n));
  });

  describe("its reversal", () => {
    const reverse = (transactionId: string, minorUnits?: bigint, clients = grey) =>
      clients.transactions.reverse(
        ReverseRequest.fromPartial({
          requestId: randomUUID(),
          transactionId,
          amount: minorUnits === undefined ? undefined : money(minorUnits),
        }),
      );

    it("mirrors every leg, in full", async () => {
      const [payer, shop] = [await wallet(1_000n), await wallet()];
      const { transaction } = await grey.transactions.postTransaction(
        request([debit(payer, 103n), credit(shop, 100n), system("fees", EntrySide.CREDIT, 3n)]),
      );
      const undone = await reverse(transaction!.id);
      expect(undone.transaction).to.deep.include({ kind: TransactionKind.REVERSAL, reversesId: transaction!.id });
      expect(undone.transaction!.entries.map((one) => [one.side, one.amount!.minorUnits])).to.deep.equal([
        [EntrySide.CREDIT, 103n],
        [EntrySide.DEBIT, 100n],
        [EntrySide.DEBIT, 3n],
      ]);
      expect([await posted(payer), await posted(shop)]).to.deep.equal([1_000n, 0n]);
      expect((await refusal(reverse(transaction!.id))).reason).to.equal("REVERSAL_EXCEEDED");
    });

    it("is made in proportion, in parts that come to exactly the whole", async () => {
      const [payer, shop] = [await wallet(1_000n), await wallet()];
      const { transaction } = await grey.transactions.postTransaction(
        request([debit(payer, 100n), credit(shop, 67n), system("fees", EntrySide.CREDIT, 33n)]),
      );
      const parts = [];
      for (const minorUnits of [10n, 45n, 1n]) {
        const { entries } = (await reverse(transaction!.id, minorUnits)).transaction!;
        parts.push(entries.map((one) => one.amount!.minorUnits));
      }
      parts.push((await reverse(transaction!.id)).transaction!.entries.map((one) => one.amount!.minorUnits));
      expect(parts.map(([whole, ...rest]) => [whole, rest.reduce((sum, one) => sum + one, 0n)])).to.deep.equal([
        [10n, 10n],
        [45n, 45n],
        [1n, 1n],
        [44n, 44n],
      ]);
      expect([await posted(payer), await posted(shop)]).to.deep.equal([1_000n, 0n]);
      expect(await get(transaction!.id)).to.deep.include({ reversed: money(100n) });
    });

    it("never exceeds the original, however many ask at once on two servers", async () => {
      const [payer, shop] = [await wallet(1_000n), await wallet()];
      const { transaction } = await grey.transactions.postTransaction(
        request([debit(payer, 100n), credit(shop, 97n), system("fees", EntrySide.CREDIT, 3n)]),
      );
      const outcomes = await Promise.allSettled(
        Array.from({ length: 20 }, (_, index) => reverse(transaction!.id, 7n, index % 2 === 0 ? grey : there)),
      );
      expect(outcomes.filter((one) => one.status === "fulfilled")).to.have.lengthOf(14);
      expect(await posted(payer)).to.equal(998n);
    });
  });

  it("loses and makes nothing, whatever many callers post at once", async () => {
    const wallets = await Promise.all(Array.from({ length: 6 }, () => wallet(100n)));
    const calls = Array.from({ length: 200 }, (_, index) => {
      const [a, b, c] = [wallets[index % 6]!, wallets[(index * 5 + 1) % 6]!, wallets[(index * 3 + 2) % 6]!];
      const legs = [debit(a, 30n), credit(b, 18n), credit(c, 11n), system("fees", EntrySide.CREDIT, 1n)];
      return (index % 2 === 0 ? grey : there).transactions.postTransaction(request(legs)).then(
        () => true,
        () => false,
      );
    });
    const before = (await grey.ledger.getAccount({ by: FEES })).account!.balance!.minorUnits;
    const posts = (await Promise.all(calls)).filter(Boolean).length;
    const total = (await Promise.all(wallets.map(posted))).reduce((sum, one) => sum + one, 0n);
    const after = (await grey.ledger.getAccount({ by: FEES })).account!.balance!.minorUnits;
    expect(posts).to.be.greaterThan(0);
    expect(after - before).to.equal(BigInt(posts));
    expect(total + after - before).to.equal(600n);
    for (const id of wallets) expect((await posted(id)) >= 0n).to.equal(true);
  });

  const FEES = { $case: "systemAccount", value: { name: "fees", currencyCode: "USD" } } as const;
});
