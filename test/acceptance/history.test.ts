import { randomUUID } from "node:crypto";
import { expect } from "chai";
import type { Timestamp } from "../../generated/google/protobuf/timestamp.js";
import type { Transaction } from "../../generated/grey/transaction/v1/transaction.js";
import type { Balance } from "../../generated/grey/wallet/v1/balance.js";
import { connect, refusal, type Clients } from "../support/client.js";
import { startServer, type TestServer } from "../support/server.js";

/** What wallets held in the past, as a client asks for it. */
describe("a balance as of", function () {
  this.timeout(60_000);

  let server: TestServer;
  let grey: Clients;
  let wallet: string;
  let other: string;
  /** Every change of the wallet with the balance that its answer told. */
  const history: { readonly transaction: Transaction; readonly balance: Balance }[] = [];

  const usd = (minorUnits: bigint) => ({ currencyCode: "USD", minorUnits });
  const asked = () => ({ requestId: randomUUID(), description: "", metadata: {}, externalReference: "" });

  before(async () => {
    server = await startServer();
    grey = connect(server.address);
    const email = `${randomUUID()}@example.com`;
    const { user } = await grey.users.createUser({ requestId: randomUUID(), name: "Ada", email, metadata: {} });
    const open = async (minorUnits: bigint) => {
      const request = { requestId: randomUUID(), userId: user!.id, currencyCode: "USD", label: "", metadata: {} };
      return (await grey.wallets.createWallet({ ...request, initialBalance: usd(minorUnits) })).wallet!.id;
    };
    other = await open(1_000n);
    wallet = await open(0n);
    const keep = ({
      transaction,
      balances,
    }: {
      transaction: Transaction | undefined;
      balances: readonly Balance[];
    }) => {
      history.push({ transaction: transaction!, balance: balances.find((one) => one.walletId === wallet)! });
    };
    const transfer = (from: string, to: string, minorUnits: bigint) =>
      grey.transactions.transfer({
        ...asked(),
        fromWalletId: from,
        toWalletId: to,
        amount: usd(minorUnits),
        effectiveTime: undefined,
      });
    for (let round = 1n; round <= 8n; round += 1n) {
      keep(await transfer(other, wallet, 10n * round));
      const hold = { ...asked(), walletId: wallet, toWalletId: other, amount: usd(round), expiry: undefined };
      const held = await grey.transactions.hold(hold);
      keep(held);
      const { transaction: between } = await transfer(other, wallet, 1n);
      keep({ transaction: between, balances: [(await grey.wallets.getBalance({ walletId: wallet })).balance!] });
      keep(
        await grey.transactions.captureHold({
          ...asked(),
          holdId: held.hold!.id,
          amount: undefined,
          final: false,
          to: undefined,
        }),
      );
    }
  });
  after(async () => {
    grey.close();
    await server.stop();
  });

  async function at(asOf: { $case: "recordTime"; value: Timestamp } | { $case: "journalIndex"; value: bigint }) {
    return (await grey.wallets.getBalance({ walletId: wallet, asOf })).balance!;
  }

  it("a journal index is what the answer to that transaction told", async () => {
    for (const { transaction, balance } of history) {
      expect(await at({ $case: "journalIndex", value: transaction.journalIndex })).to.deep.equal(balance);
    }
  });

  it("a place between two of its entries is that after the first", async () => {
    const [first, second] = history.slice(2);
    for (let index = first!.transaction.journalIndex; index < second!.transaction.journalIndex; index += 1n) {
      expect(await at({ $case: "journalIndex", value: index })).to.deep.equal(first!.balance);
    }
  });

  it("a record time is that after everything that was recorded then or before", async () => {
    for (const [index, { transaction, balance }] of history.entries()) {
      const { seconds, nanos } = transaction.createTime!;
      expect(await at({ $case: "recordTime", value: { seconds, nanos } })).to.deep.equal(balance);
      const micros = seconds * 1_000_000n + BigInt(nanos / 1_000) - 1n;
      const before = { seconds: micros / 1_000_000n, nanos: Number(micros % 1_000_000n) * 1_000 };
      const expected = index === 0 ? 0n : history[index - 1]!.balance.posted!.minorUnits;
      expect((await at({ $case: "recordTime", value: before })).posted!.minorUnits).to.equal(expected);
    }
  });

  it("a moment before it was opened is nothing, and one to come is now", async () => {
    const now = (await grey.wallets.getBalance({ walletId: wallet })).balance!;
    const nothing = {
      posted: usd(0n),
      available: usd(0n),
      pendingOutgoing: usd(0n),
      pendingIncoming: usd(0n),
      version: 0n,
    };
    expect(await at({ $case: "journalIndex", value: 0n })).to.deep.equal({ walletId: wallet, ...nothing });
    expect(await at({ $case: "recordTime", value: { seconds: 0n, nanos: 0 } })).to.deep.include({ version: 0n });
    expect(await at({ $case: "journalIndex", value: 2n ** 63n - 1n })).to.deep.equal(now);
    expect(await at({ $case: "recordTime", value: { seconds: 253_402_300_799n, nanos: 999_999_999 } })).to.deep.equal(
      now,
    );
  });

  describe("a statement", () => {
    const ALL = { from: { seconds: 0n, nanos: 0 }, before: { seconds: 253_402_300_799n, nanos: 0 } };
    const plus = ({ seconds, nanos }: Timestamp, micros: number): Timestamp => {
      const total = seconds * 1_000_000n + BigInt(nanos / 1_000 + micros);
      return { seconds: total / 1_000_000n, nanos: Number(total % 1_000_000n) * 1_000 };
    };
    const statement = (period: { from: Timestamp; before: Timestamp }, pageSize = 1_000, pageToken = "") =>
      grey.wallets.getStatement({ walletId: wallet, ...period, pageSize, pageToken });

    it("of all times begins with nothing, tells each entry that moved money, and ends with the balance", async () => {
      const all = await statement(ALL);
      const moved = history.filter(({ transaction }) => transaction.entries.length > 0);
      expect(all.lines.map((line) => [line.transactionId, line.balanceAfter, line.createTime])).to.deep.equal(
        moved.map(({ transaction, balance }) => [transaction.id, balance.posted, transaction.createTime]),
      );
      const { balance } = await grey.wallets.getBalance({ walletId: wallet });
      expect([all.opening, all.closing]).to.deep.equal([usd(0n), balance!.posted]);
      expect(all.credits!.minorUnits - all.debits!.minorUnits).to.equal(all.closing!.minorUnits);
      const sum = all.lines.reduce((total, line) => total + line.amount!.minorUnits, 0n);
      expect(sum).to.equal(all.closing!.minorUnits);
    });

    it("of any period adds up, and begins where the one before it ends", async () => {
      for (let first = 0; first < history.length; first += 5) {
        const middle = history[first]!.transaction.createTime!;
        const [head, tail] = [await statement({ ...ALL, before: middle }), await statement({ ...ALL, from: middle })];
        expect(tail.opening).to.deep.equal(head.closing);
        expect([...head.lines, ...tail.lines]).to.deep.equal((await statement(ALL)).lines);
        for (const { opening, credits, debits, closing } of [head, tail])
          expect(opening!.minorUnits + credits!.minorUnits - debits!.minorUnits).to.equal(closing!.minorUnits);
      }
    });

    it("comes in pages, each with the balances and totals of the whole period", async () => {
      const { createTime: from } = history[3]!.transaction;
      const { createTime: last } = history.at(-4)!.transaction;
      const period = { from: from!, before: plus(last!, 1) };
      const whole = await statement(period);
      const lines = [];
      let pageToken = "";
      do {
        const page = await statement(period, 4, pageToken);
        expect({ ...page, lines: [], nextPageToken: "" }).to.deep.equal({ ...whole, lines: [] });
        lines.push(...page.lines);
        pageToken = page.nextPageToken;
      } while (pageToken !== "");
      expect(lines).to.deep.equal(whole.lines);
      const { nextPageToken } = await statement(period, 4);
      expect((await refusal(statement(ALL, 4, nextPageToken))).reason).to.equal("PAGE_TOKEN_INVALID");
    });

    it("of nothing is empty; one that ends before it begins, and one of no wallet, are refused", async () => {
      const future = { from: { seconds: 250_000_000_000n, nanos: 0 }, before: { seconds: 250_000_000_001n, nanos: 0 } };
      const empty = await statement(future);
      expect(empty).to.deep.include({ lines: [], credits: usd(0n), debits: usd(0n) });
      expect(empty.opening).to.deep.equal(empty.closing);
      const error = await refusal(statement({ from: future.before, before: future.from }));
      expect([...error.violations.keys()]).to.deep.equal(["before"]);
      const nobody = grey.wallets.getStatement({ walletId: randomUUID(), ...ALL, pageSize: 0, pageToken: "" });
      expect((await refusal(nobody)).reason).to.equal("WALLET_NOT_FOUND");
    });
  });

  it("an id that is no wallet's is WALLET_NOT_FOUND", async () => {
    const { account } = await grey.ledger.getAccount({
      by: { $case: "systemAccount", value: { name: "cash", currencyCode: "USD" } },
    });
    for (const walletId of [randomUUID(), account!.id]) {
      const asOf = { $case: "journalIndex" as const, value: 5n };
      expect((await refusal(grey.wallets.getBalance({ walletId, asOf }))).reason).to.equal("WALLET_NOT_FOUND");
    }
  });
});
