import { randomUUID } from "node:crypto";
import { expect } from "chai";
import pg from "pg";
import { AmountMode, TransactionState, type Transaction } from "../../generated/grey/transaction/v1/transaction.js";
import { BatchMode } from "../../generated/grey/transaction/v1/batch.js";
import { connect, refusal, type CallError, type Clients } from "../support/client.js";
import { startServer, type TestServer } from "../support/server.js";

/** What every call that moves money answers. */
interface Reply {
  readonly transaction: Transaction | undefined;
  readonly replayed: boolean;
}

/** Calls that are only tried out, as a client has them. */
describe("a dry run", function () {
  this.timeout(60_000);

  let server: TestServer;
  let grey: Clients;
  let admin: pg.Client;
  let from: string;
  let to: string;
  let holdId: string;
  let transactionId: string;

  before(async () => {
    server = await startServer({ GREY_HOLD_EXPIRY_EVERY_MS: "3600000" });
    grey = connect(server.address);
    admin = new pg.Client(server.databaseUrl);
    await admin.connect();
    const email = `${randomUUID()}@example.com`;
    const { user } = await grey.users.createUser({ requestId: randomUUID(), name: "Ada", email, metadata: {} });
    const open = async () => {
      const wallet = { requestId: randomUUID(), userId: user!.id, currencyCode: "USD", label: "", metadata: {} };
      return (await grey.wallets.createWallet({ ...wallet, initialBalance: usd(1_000n) })).wallet!.id;
    };
    [from, to] = [await open(), await open()];
    const hold = { ...asked(), walletId: from, toWalletId: to, amount: usd(100n), expiry: undefined };
    holdId = (await grey.transactions.hold(hold)).hold!.id;
    transactionId = (await grey.transactions.transfer(transferRequest(10n))).transaction!.id;
  });
  after(async () => {
    grey.close();
    await admin.end();
    await server.stop();
  });

  const usd = (minorUnits: bigint) => ({ currencyCode: "USD", minorUnits });
  const asked = () => ({ requestId: randomUUID(), description: "", metadata: {}, externalReference: "" });

  function transferRequest(minorUnits: bigint) {
    const amount = usd(minorUnits);
    return { ...asked(), fromWalletId: from, toWalletId: to, amount, effectiveTime: undefined };
  }

  /** All that is in the books. */
  async function contents(): Promise<string[]> {
    const tables = ["accounts", "transactions", "entries", "holds", "requests", "journal_head", "journal_batches"];
    const digests: string[] = [];
    for (const table of tables) {
      const { rows } = await admin.query<{ digest: string }>(
        `SELECT md5(coalesce(string_agg(t::text, ',' ORDER BY t::text), '')) AS digest FROM ${table} t`,
      );
      digests.push(`${table} ${rows[0]!.digest}`);
    }
    return digests;
  }

  /** What the answer to the real call has beside what only it can have. */
  function comparable(reply: Reply): unknown {
    return JSON.parse(
      JSON.stringify(reply, (key, value: unknown) => {
        if (["id", "holdId", "journalIndex", "createTime", "updateTime", "effectiveTime", "expireTime"].includes(key))
          return 0;
        return typeof value === "bigint" ? value.toString() : value;
      }),
    );
  }

  const movement = () => ({ ...asked(), walletId: from, amount: usd(5n), systemAccount: "", effectiveTime: undefined });
  const calls: Readonly<Record<string, (request: { requestId: string; dryRun: boolean }) => Promise<Reply>>> = {
    Deposit: (over) => grey.transactions.deposit({ ...movement(), ...over }),
    Withdraw: (over) =>
      grey.transactions.withdraw({ ...movement(), amount: usd(2_000n), amountMode: AmountMode.UP_TO, ...over }),
    Transfer: (over) =>
      grey.transactions.transfer({ ...transferRequest(1n), fromWalletId: to, toWalletId: from, ...over }),
    Hold: (over) =>
      grey.transactions.hold({
        ...asked(),
        walletId: to,
        toWalletId: from,
        amount: usd(7n),
        expiry: undefined,
        ...over,
      }),
    IncreaseHold: (over) => grey.transactions.increaseHold({ ...asked(), holdId: spare(), amount: usd(1n), ...over }),
    ExtendHold: (over) =>
      grey.transactions.extendHold({
        ...asked(),
        holdId: spare(),
        expiry: {
          $case: "expireTime",
          value: { seconds: BigInt(Math.floor(Date.now() / 86_400_000) + 30) * 86_400n, nanos: 0 },
        },
        ...over,
      }),
    CaptureHold: (over) =>
      grey.transactions.captureHold({ ...asked(), holdId, amount: usd(30n), final: false, to: undefined, ...over }),
    ReleaseHold: (over) => grey.transactions.releaseHold({ ...asked(), holdId, ...over }),
    Reverse: (over) =>
      grey.transactions.reverse({
        ...asked(),
        transactionId,
        amount: usd(4n),
        atEffectiveTimeOfOriginal: false,
        ...over,
      }),
  };
  let spareHoldId = "";
  const spare = (): string => spareHoldId;
  before(async () => {
    const hold = { ...asked(), walletId: to, toWalletId: "", amount: usd(9n), expiry: undefined };
    spareHoldId = (await grey.transactions.hold(hold)).hold!.id;
  });

  for (const [name, send] of Object.entries(calls)) {
    it(`of ${name} tells what would come of it, writes nothing and uses no request id`, async () => {
      const requestId = randomUUID();
      const before = await contents();
      const dry = await send({ requestId, dryRun: true });
      expect(await contents()).to.deep.equal(before);
      expect(dry.transaction).to.deep.include({ id: "", journalIndex: 0n, requestId });
      const real = await send({ requestId, dryRun: false });
      expect(real).to.deep.include({ replayed: false });
      expect(comparable(dry)).to.deep.equal(comparable(real));
      const after = await contents();
      // Now there is an answer, which the call would get.
      expect(await send({ requestId, dryRun: true })).to.deep.equal({ ...real, replayed: true });
      expect(await contents()).to.deep.equal(after);
    });
  }

  it("under a request id that was used tells that", async () => {
    const { requestId } = transferRequest(1n);
    const refused = { ...transferRequest(1_000_000n), requestId };
    const first = await refusal(grey.transactions.transfer(refused));
    const again = await refusal(grey.transactions.transfer({ ...refused, dryRun: true }));
    expect(again.info).to.deep.equal({ ...first.info, replayed: "true" });
    const other = await refusal(grey.transactions.deposit({ ...movement(), requestId, dryRun: true }));
    expect(other).to.include({ reason: "REQUEST_ID_REUSED" });
    const line = { ...refused, amountMode: AmountMode.EXACT, preconditions: [], dryRun: false };
    const batch = { mode: BatchMode.INDEPENDENT, transfers: [line], dryRun: true };
    const { results } = await grey.transactions.batchTransfer(batch);
    expect(results.map((one) => [one.transactionId, one.replayed])).to.deep.equal([[first.info.transaction_id, true]]);
  });

  it("is refused for the reason that the call would be refused for, and names no transaction", async () => {
    const before = await contents();
    const request = { ...transferRequest(1_000_000n), dryRun: true };
    const error: CallError = await refusal(grey.transactions.transfer(request));
    expect(error).to.include({ code: "FAILED_PRECONDITION", reason: "INSUFFICIENT_FUNDS" });
    expect(error.info).not.to.have.any.keys("transaction_id", "replayed");
    for (const attempt of [
      grey.transactions.releaseHold({ ...asked(), holdId: randomUUID(), dryRun: true }),
      grey.transactions.reverse({
        ...asked(),
        transactionId: holdId,
        amount: undefined,
        atEffectiveTimeOfOriginal: false,
        dryRun: true,
      }),
    ]) {
      expect(["HOLD_NOT_FOUND", "NOT_REVERSIBLE"]).to.include((await refusal(attempt)).reason);
    }
    expect(await contents()).to.deep.equal(before);
  });

  it("of a batch tells of each of its transfers, each seeing those before it", async () => {
    const { balance } = await grey.wallets.getBalance({ walletId: from });
    const all = balance!.available!.minorUnits;
    const line = (minorUnits: bigint) => ({
      ...transferRequest(minorUnits),
      preconditions: [],
      amountMode: AmountMode.EXACT,
      dryRun: false,
    });
    const transfers = [line(all), line(1n)];
    const before = await contents();
    const dry = await grey.transactions.batchTransfer({ mode: BatchMode.INDEPENDENT, transfers, dryRun: true });
    expect(dry.results.map((one) => [one.transactionId, one.state, one.journalIndex])).to.deep.equal([
      ["", TransactionState.POSTED, 0n],
      ["", TransactionState.REJECTED, 0n],
    ]);
    const wrong = { mode: BatchMode.ATOMIC, transfers: [{ ...line(1n), dryRun: true }], dryRun: false };
    const error = await refusal(grey.transactions.batchTransfer(wrong));
    expect([...error.violations.keys()]).to.deep.equal(["transfers[0].dry_run"]);
    expect(await contents()).to.deep.equal(before);
  });
});
