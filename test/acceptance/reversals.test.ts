import { randomUUID } from "node:crypto";
import { expect } from "chai";
import { TransactionKind } from "../../generated/grey/transaction/v1/transaction.js";
import type { ReverseRequest } from "../../generated/grey/transaction/v1/reversal.js";
import { connect, refusal, type Clients } from "../support/client.js";
import { startServer, type TestServer } from "../support/server.js";

/** Reversals, as a client has them. */
describe("a reversal", function () {
  this.timeout(60_000);

  let servers: readonly TestServer[];
  let grey: Clients;
  let there: Clients;
  let userId: string;

  before(async () => {
    const first = await startServer({ GREY_BACKDATE_MAX_DAYS: "3000000" });
    servers = [first, await startServer({ DATABASE_URL: first.databaseUrl, GREY_BACKDATE_MAX_DAYS: "3000000" })];
    grey = connect(servers[0]!.address);
    there = connect(servers[1]!.address);
    const email = `${randomUUID()}@example.com`;
    const { user } = await grey.users.createUser({ requestId: randomUUID(), name: "Ada", email, metadata: {} });
    userId = user!.id;
  });
  after(async () => {
    const { faults } = await grey.ledger.checkIntegrity({ maxFaults: 10 });
    grey.close();
    there.close();
    for (const server of servers.toReversed()) await server.stop();
    expect(faults).to.deep.equal([]);
  });

  const usd = (minorUnits: bigint) => ({ currencyCode: "USD", minorUnits });
  const asked = () => ({ requestId: randomUUID(), description: "", metadata: {}, externalReference: "" });
  const reverseRequest = (transactionId: string, over: Partial<ReverseRequest> = {}): ReverseRequest => ({
    ...asked(),
    transactionId,
    amount: undefined,
    atEffectiveTimeOfOriginal: false,
    preconditions: [],
    dryRun: false,
    ...over,
  });

  async function openWallet(minorUnits = 0n): Promise<string> {
    const request = { requestId: randomUUID(), userId, currencyCode: "USD", label: "", metadata: {} };
    return (await grey.wallets.createWallet({ ...request, initialBalance: usd(minorUnits) })).wallet!.id;
  }

  async function transfer(from: string, to: string, minorUnits: bigint, effectiveSeconds?: bigint): Promise<string> {
    const { transaction } = await grey.transactions.transfer({
      ...asked(),
      fromWalletId: from,
      toWalletId: to,
      amount: usd(minorUnits),
      effectiveTime: effectiveSeconds === undefined ? undefined : { seconds: effectiveSeconds, nanos: 0 },
    });
    return transaction!.id;
  }

  async function get(id: string) {
    return (await grey.transactions.getTransaction({ by: { $case: "id", value: id } })).transaction!;
  }

  async function posted(walletId: string): Promise<bigint> {
    return (await grey.wallets.getBalance({ walletId })).balance!.posted!.minorUnits;
  }

  it("mirrors a transfer in full, and each names the other", async () => {
    const [from, to] = [await openWallet(100n), await openWallet()];
    const original = await transfer(from, to, 40n, 1_700_000_000n);
    const request = reverseRequest(original, { description: "sent twice", atEffectiveTimeOfOriginal: true });
    const { transaction, balances, replayed } = await grey.transactions.reverse(request);
    expect(transaction).to.deep.include({ kind: TransactionKind.REVERSAL, reversesId: original, amount: usd(40n) });
    expect(transaction).to.deep.include({ debitAccountId: to, creditAccountId: from, description: "sent twice" });
    expect(transaction!.effectiveTime).to.deep.equal({ seconds: 1_700_000_000n, nanos: 0 });
    expect(replayed).to.equal(false);
    expect(balances.map((one) => [one.walletId, one.posted!.minorUnits])).to.deep.equal([
      [to, 0n],
      [from, 100n],
    ]);
    expect(await get(original)).to.deep.include({ reversed: usd(40n), reversalIds: [transaction!.id], reversesId: "" });
    expect(await grey.transactions.reverse(request)).to.deep.equal({ transaction, balances, replayed: true });
    const other = await refusal(grey.transactions.reverse({ ...request, amount: usd(40n) }));
    expect(other.info.differs).to.equal("amount.currency_code,amount.minor_units");
    const again = await refusal(grey.transactions.reverse(reverseRequest(original)));
    expect(again).to.include({ code: "FAILED_PRECONDITION", reason: "REVERSAL_EXCEEDED" });
    expect(again.info).to.include({ original_id: original, remaining_minor_units: "0" });
  });

  it("may be for 1,000 parts, of which a list names the latest 20, and then only for all that is left", async () => {
    const [from, to] = [await openWallet(2_000n), await openWallet()];
    const original = await transfer(from, to, 2_000n);
    const part = () => grey.transactions.reverse(reverseRequest(original, { amount: usd(1n) }));
    for (let count = 0; count < 1_000; count += 50) await Promise.all(Array.from({ length: 50 }, part));
    const error = await refusal(part());
    expect(error).to.include({ code: "FAILED_PRECONDITION", reason: "TOO_MANY_REVERSALS" });
    expect(error.info).to.include({ original_id: original, max: "1000" });
    const last = await grey.transactions.reverse(reverseRequest(original));
    expect(last.transaction!.amount).to.deep.equal(usd(1_000n));
    const { reversed, reversalIds } = await get(original);
    expect(reversed).to.deep.equal(usd(2_000n));
    expect(new Set(reversalIds).size).to.equal(1_001);
    expect(reversalIds.at(-1)).to.equal(last.transaction!.id);
    const { transactions } = await grey.transactions.listTransactions({
      of: { $case: "walletId", value: from },
      pageSize: 100,
      pageToken: "",
      kinds: [TransactionKind.TRANSFER],
      states: [],
      createTimeFrom: undefined,
      createTimeBefore: undefined,
    });
    expect(transactions[0]!.reversalIds).to.deep.equal(reversalIds.slice(-20));
    expect(await posted(from)).to.equal(2_000n);
  });

  it("may be for parts, up to the original", async () => {
    const [from, to] = [await openWallet(100n), await openWallet(100n)];
    const original = await transfer(from, to, 50n);
    const reverse = (minorUnits: bigint) =>
      grey.transactions.reverse(reverseRequest(original, { amount: usd(minorUnits) }));
    const first = await reverse(20n);
    const error = await refusal(reverse(31n));
    expect(error.info).to.include({ remaining_minor_units: "30", required_minor_units: "31", currency_code: "USD" });
    const second = await grey.transactions.reverse(reverseRequest(original));
    expect(second.transaction!.amount).to.deep.equal(usd(30n));
    const ids = [first.transaction!.id, second.transaction!.id];
    expect(await get(original)).to.deep.include({ reversed: usd(50n), reversalIds: ids });
    const { transactions } = await grey.transactions.listTransactions({
      of: { $case: "walletId", value: from },
      pageSize: 10,
      pageToken: "",
      kinds: [TransactionKind.TRANSFER],
      states: [],
      createTimeFrom: undefined,
      createTimeBefore: undefined,
    });
    expect(transactions.map((one) => [one.id, one.reversed, one.reversalIds])).to.deep.equal([
      [original, usd(50n), ids],
    ]);
    expect([await posted(from), await posted(to)]).to.deep.equal([100n, 100n]);
  });

  it("undoes deposits, withdrawals, openings and captures, and nothing else", async () => {
    const wallet = await openWallet(30n);
    const to = await openWallet();
    const movement = { ...asked(), walletId: wallet, amount: usd(10n), systemAccount: "", effectiveTime: undefined };
    const deposit = await grey.transactions.deposit(movement);
    const withdrawal = await grey.transactions.withdraw({ ...movement, requestId: randomUUID() });
    const { hold } = await grey.transactions.hold({
      ...asked(),
      walletId: wallet,
      toWalletId: to,
      amount: usd(10n),
      expiry: undefined,
    });
    const step = { ...asked(), holdId: hold!.id, amount: undefined, final: false, to: undefined };
    const capture = await grey.transactions.captureHold(step);
    const { transactions } = await grey.transactions.listTransactions({
      of: { $case: "walletId", value: wallet },
      pageSize: 10,
      pageToken: "",
      kinds: [TransactionKind.OPENING],
      states: [],
      createTimeFrom: undefined,
      createTimeBefore: undefined,
    });
    const reversed: string[] = [];
    for (const id of [capture, deposit, withdrawal].map((one) => one.transaction!.id).concat(transactions[0]!.id)) {
      reversed.push((await grey.transactions.reverse(reverseRequest(id))).transaction!.id);
    }
    expect([await posted(wallet), await posted(to)]).to.deep.equal([0n, 0n]);
    const rejected = await refusal(grey.transactions.withdraw({ ...movement, requestId: randomUUID() }));
    for (const id of [reversed[0]!, hold!.id, rejected.info.transaction_id!]) {
      const error = await refusal(grey.transactions.reverse(reverseRequest(id)));
      expect(error).to.include({ code: "FAILED_PRECONDITION", reason: "NOT_REVERSIBLE" });
      expect(error.info).to.include({ original_id: id });
    }
    const request = reverseRequest(randomUUID());
    expect((await refusal(grey.transactions.reverse(request))).reason).to.equal("TRANSACTION_NOT_FOUND");
  });

  it("of what moved nothing is refused, and kept so: an extension, and a final capture of nothing", async () => {
    const [wallet, to] = [await openWallet(10n), await openWallet()];
    const request = { ...asked(), walletId: wallet, toWalletId: to, amount: usd(5n), expiry: undefined };
    const { hold } = await grey.transactions.hold(request);
    const expiry = { $case: "expiresIn" as const, value: { seconds: 864_000n, nanos: 0 } };
    const extension = await grey.transactions.extendHold({ ...asked(), holdId: hold!.id, expiry });
    const end = { ...asked(), holdId: hold!.id, amount: usd(0n), final: true, to: undefined };
    const capture = await grey.transactions.captureHold(end);
    for (const { transaction } of [extension, capture]) {
      const reversal = reverseRequest(transaction!.id);
      const error = await refusal(grey.transactions.reverse(reversal));
      expect(error.reason).to.equal("NOT_REVERSIBLE");
      const again = await refusal(grey.transactions.reverse(reversal));
      expect(again.info).to.deep.equal({ ...error.info, replayed: "true" });
    }
  });

  it("takes back no money that was spent, and none in another currency", async () => {
    const [from, to, third] = [await openWallet(10n), await openWallet(), await openWallet()];
    const original = await transfer(from, to, 10n);
    await transfer(to, third, 1n);
    const error = await refusal(grey.transactions.reverse(reverseRequest(original)));
    expect(error).to.include({ reason: "INSUFFICIENT_FUNDS" });
    expect(error.info).to.include({ wallet_id: to, available_minor_units: "9", required_minor_units: "10" });
    const amount = { currencyCode: "EUR", minorUnits: 1n };
    const other = await refusal(grey.transactions.reverse(reverseRequest(original, { amount })));
    expect(other.reason).to.equal("CURRENCY_MISMATCH");
    await grey.transactions.reverse(reverseRequest(original, { amount: usd(9n) }));
    expect(await posted(from)).to.equal(9n);
  });

  it("never exceeds the original, however many come at once, on two servers, among other transfers", async () => {
    const [from, to] = [await openWallet(1_000n), await openWallet(1_000n)];
    for (let round = 0; round < 10; round += 1) {
      const original = await transfer(from, to, 10n);
      const attempts = Array.from({ length: 8 }, (_, index) =>
        (index % 2 === 0 ? grey : there).transactions.reverse(
          reverseRequest(original, round % 2 === 0 ? {} : { amount: usd(4n) }),
        ),
      );
      const others = Array.from({ length: 8 }, (_, index) =>
        (index % 2 === 0 ? grey : there).transactions.transfer({
          ...asked(),
          fromWalletId: index % 4 < 2 ? from : to,
          toWalletId: index % 4 < 2 ? to : from,
          amount: usd(1n),
          effectiveTime: undefined,
        }),
      );
      const results = await Promise.allSettled(attempts);
      await Promise.all(others);
      expect(results.filter(({ status }) => status === "fulfilled")).to.have.length(round % 2 === 0 ? 1 : 2);
      expect((await get(original)).reversed).to.deep.equal(usd(round % 2 === 0 ? 10n : 8n));
    }
    expect((await posted(from)) + (await posted(to))).to.equal(2_000n);
  });
});
