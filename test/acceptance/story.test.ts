import { randomUUID } from "node:crypto";
import { expect } from "chai";
import { NormalSide } from "../../generated/grey/ledger/v1/account.js";
import { ErrorReason } from "../../generated/grey/error/v1/error_reason.js";
import {
  EntrySide,
  TransactionKind,
  TransactionState,
  type Transaction,
} from "../../generated/grey/transaction/v1/transaction.js";
import { connect, refusal, type Clients } from "../support/client.js";
import { startServer, type TestServer } from "../support/server.js";

// The steps of one story: each builds on those before it.
describe("the story of Ada and Bob", () => {
  let server: TestServer;
  let grey: Clients;
  let ada: string;
  let bob: string;
  let adasWallet: string;
  let bobsWallet: string;
  let lunch: Transaction;

  before(async () => {
    server = await startServer();
    grey = connect(server.address);
  });
  after(async () => {
    grey.close();
    await server.stop();
  });

  it("user A has a wallet of 1000, user B one of 500", async () => {
    ada = await createUser("Ada", "ada@example.com");
    bob = await createUser("Bob", "bob@example.com");
    adasWallet = await createWallet(ada, 1_000_00n);
    bobsWallet = await createWallet(bob, 500_00n);
    expect(await balancesOf(adasWallet, bobsWallet)).to.deep.equal([1_000_00n, 500_00n]);
  });

  it("a transfer of 100 from A to B has one debit and one credit, and changes both balances", async () => {
    const answer = await grey.transactions.transfer({
      ...movement(100_00n, "lunch"),
      fromWalletId: adasWallet,
      toWalletId: bobsWallet,
    });
    lunch = answer.transaction!;
    expect(answer.replayed).to.equal(false);
    expect(lunch).to.deep.include({
      kind: TransactionKind.TRANSFER,
      state: TransactionState.POSTED,
      reason: ErrorReason.UNSPECIFIED,
      description: "lunch",
      amount: usd(100_00n),
      debitAccountId: adasWallet,
      creditAccountId: bobsWallet,
    });
    expect(lunch.entries).to.deep.equal([
      {
        accountId: adasWallet,
        side: EntrySide.DEBIT,
        amount: usd(100_00n),
        balanceAfter: usd(900_00n),
        accountSequence: 2n,
      },
      {
        accountId: bobsWallet,
        side: EntrySide.CREDIT,
        amount: usd(100_00n),
        balanceAfter: usd(600_00n),
        accountSequence: 2n,
      },
    ]);
    expect(answer.balances.map(({ walletId, available }) => [walletId, available])).to.deep.equal([
      [adasWallet, usd(900_00n)],
      [bobsWallet, usd(600_00n)],
    ]);
    expect(await balancesOf(adasWallet, bobsWallet)).to.deep.equal([900_00n, 600_00n]);
  });

  it("both lists of transactions show it first, before the opening", async () => {
    for (const userId of [ada, bob]) {
      const listed = await list(userId);
      expect(listed.map((one) => one.kind)).to.deep.equal([TransactionKind.TRANSFER, TransactionKind.OPENING]);
      expect(listed[0]).to.deep.equal(lunch);
    }
  });

  it("the transaction is found by its id and by the request that made it", async () => {
    const byId = await grey.transactions.getTransaction({ by: { $case: "id", value: lunch.id } });
    const byRequest = await grey.transactions.getTransaction({ by: { $case: "requestId", value: lunch.requestId } });
    expect(byId.transaction).to.deep.equal(lunch);
    expect(byRequest.transaction).to.deep.equal(lunch);
  });

  it("the same request again returns the same reply and moves nothing", async () => {
    const again = await grey.transactions.transfer({
      ...movement(100_00n, "lunch"),
      requestId: lunch.requestId,
      fromWalletId: adasWallet,
      toWalletId: bobsWallet,
    });
    expect(again.replayed).to.equal(true);
    expect(again.transaction).to.deep.equal(lunch);
    expect(await balancesOf(adasWallet, bobsWallet)).to.deep.equal([900_00n, 600_00n]);
  });

  it("a deposit debits cash, a withdrawal credits it", async () => {
    const deposit = await grey.transactions.deposit({
      ...movement(20_00n, "salary"),
      walletId: adasWallet,
      systemAccount: "",
    });
    const withdrawal = await grey.transactions.withdraw({
      ...movement(5_00n, "cash"),
      walletId: bobsWallet,
      systemAccount: "",
    });
    const cash = (
      await grey.ledger.getAccount({
        by: { $case: "systemAccount", value: { name: "cash", currencyCode: "USD" } },
      })
    ).account!;
    expect(deposit.transaction).to.deep.include({
      kind: TransactionKind.DEPOSIT,
      debitAccountId: cash.id,
      creditAccountId: adasWallet,
    });
    expect(withdrawal.transaction).to.deep.include({
      kind: TransactionKind.WITHDRAWAL,
      debitAccountId: bobsWallet,
      creditAccountId: cash.id,
    });
    expect(cash).to.deep.include({ normalSide: NormalSide.DEBIT, balance: usd(15_00n), accountSequence: 2n });
    expect(await balancesOf(adasWallet, bobsWallet)).to.deep.equal([920_00n, 595_00n]);
  });

  it("a transfer of more than the available balance is recorded as a rejected transaction without entries", async () => {
    const request = { ...movement(595_01n, "too much"), fromWalletId: bobsWallet, toWalletId: adasWallet };
    const refused = await refusal(grey.transactions.transfer(request));
    expect(refused).to.include({ code: "FAILED_PRECONDITION", reason: "INSUFFICIENT_FUNDS" });
    expect(refused.info).to.include({
      wallet_id: bobsWallet,
      available_minor_units: "59500",
      required_minor_units: "59501",
      currency_code: "USD",
    });
    const [rejected] = await list(bob);
    expect(rejected).to.deep.include({
      id: refused.info.transaction_id,
      state: TransactionState.REJECTED,
      reason: ErrorReason.INSUFFICIENT_FUNDS,
      entries: [],
      amount: usd(595_01n),
    });
    expect(await balancesOf(adasWallet, bobsWallet)).to.deep.equal([920_00n, 595_00n]);

    const again = await refusal(grey.transactions.transfer(request));
    expect(again).to.include({ code: "FAILED_PRECONDITION", reason: "INSUFFICIENT_FUNDS" });
    expect(again.info).to.deep.equal({ ...refused.info, replayed: "true" });
    expect((await list(bob))[0]).to.deep.equal(rejected);
  });

  it("each other refusal has its own reason, and moves nothing", async () => {
    const euros = (await grey.wallets.createWallet({ ...wallet(bob, "EUR"), initialBalance: undefined })).wallet!.id;
    const nowhere = randomUUID();
    const transfer = (fromWalletId: string, toWalletId: string) =>
      grey.transactions.transfer({ ...movement(1n, "refused"), fromWalletId, toWalletId });
    const reasons = [];
    for (const ask of [
      () => transfer(adasWallet, nowhere),
      () => transfer(nowhere, adasWallet),
      () => transfer(adasWallet, euros),
      () => transfer(adasWallet, adasWallet),
      () =>
        grey.transactions.deposit({ ...movement(2n ** 63n - 1n, "overflow"), walletId: adasWallet, systemAccount: "" }),
      () => grey.users.deleteUser({ requestId: randomUUID(), userId: ada, etag: "" }),
    ]) {
      const { code, reason } = await refusal(ask());
      reasons.push(`${code} ${reason}`);
    }
    expect(reasons).to.deep.equal([
      "NOT_FOUND WALLET_NOT_FOUND",
      "NOT_FOUND WALLET_NOT_FOUND",
      "FAILED_PRECONDITION CURRENCY_MISMATCH",
      "INVALID_ARGUMENT SAME_WALLET",
      "OUT_OF_RANGE BALANCE_OVERFLOW",
      "FAILED_PRECONDITION USER_HAS_FUNDS",
    ]);
    expect(await balancesOf(adasWallet, bobsWallet, euros)).to.deep.equal([920_00n, 595_00n, 0n]);
  });

  it("a different request with a used request_id is refused, with the names of the fields that differ", async () => {
    const reused = await refusal(
      grey.transactions.transfer({
        ...movement(100_01n, "dinner"),
        requestId: lunch.requestId,
        fromWalletId: adasWallet,
        toWalletId: bobsWallet,
      }),
    );
    expect(reused).to.include({ code: "ALREADY_EXISTS", reason: "REQUEST_ID_REUSED" });
    expect(reused.info).to.deep.include({
      request_id: lunch.requestId,
      differs: "amount.minor_units,description",
    });
    expect(await balancesOf(adasWallet, bobsWallet)).to.deep.equal([920_00n, 595_00n]);
  });

  it("the trial balance sums to zero: the operator holds what it owes", async () => {
    const { currencies } = await grey.ledger.getTrialBalance({ currencyCode: "" });
    expect(currencies.map((one) => one.currencyCode)).to.deep.equal(["USD"]);
    const [dollars] = currencies;
    expect(dollars).to.include({
      debitMinorUnits: "151500",
      creditMinorUnits: "151500",
      differenceMinorUnits: "0",
      accountCount: 4n,
    });
    expect(dollars!.lines).to.have.deep.members([
      { name: "cash", debitMinorUnits: "1500", creditMinorUnits: "0" },
      { name: "opening", debitMinorUnits: "150000", creditMinorUnits: "0" },
      { name: "wallets", debitMinorUnits: "0", creditMinorUnits: "151500" },
    ]);
  });

  it("the books balance", async () => {
    const report = await grey.ledger.checkIntegrity({ maxFaults: 0 });
    expect(report).to.deep.include({ ok: true, faultCount: 0n, faults: [], entryCount: 10n });
    // Two openings, lunch, deposit and withdrawal; six refusals, excluding that of deleting a user.
    expect(report.transactionCount).to.equal(11n);
  });

  async function createUser(name: string, email: string): Promise<string> {
    const { user } = await grey.users.createUser({ requestId: randomUUID(), name, email, metadata: {} });
    return user!.id;
  }

  async function createWallet(userId: string, initialMinor: bigint): Promise<string> {
    const answer = await grey.wallets.createWallet({ ...wallet(userId, "USD"), initialBalance: usd(initialMinor) });
    expect(answer.balance).to.deep.include({ posted: usd(initialMinor), available: usd(initialMinor), version: 1n });
    return answer.wallet!.id;
  }

  async function balancesOf(...walletIds: string[]): Promise<bigint[]> {
    const balances = await Promise.all(walletIds.map((walletId) => grey.wallets.getBalance({ walletId })));
    return balances.map(({ balance }) => balance!.posted!.minorUnits);
  }

  async function list(userId: string): Promise<Transaction[]> {
    const { transactions } = await grey.transactions.listTransactions({
      of: { $case: "userId", value: userId },
      pageSize: 0,
      pageToken: "",
      kinds: [],
      states: [],
      createTimeFrom: undefined,
      createTimeBefore: undefined,
    });
    return transactions;
  }
});

function usd(minorUnits: bigint) {
  return { currencyCode: "USD", minorUnits };
}

function movement(amountMinor: bigint, description: string) {
  return { requestId: randomUUID(), amount: usd(amountMinor), description, metadata: {}, effectiveTime: undefined };
}

function wallet(userId: string, currencyCode: string) {
  return { requestId: randomUUID(), userId, currencyCode, label: "", metadata: {} };
}
