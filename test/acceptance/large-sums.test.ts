import { credentials } from "@grpc/grpc-js";
import { expect } from "chai";
import type { Timestamp } from "../../generated/google/protobuf/timestamp.js";
import { Limits, VelocityDirection } from "../../generated/grey/ledger/v1/limits.js";
import { NormalSide } from "../../generated/grey/ledger/v1/account.js";
import {
  StatementOrder,
  StreamStatementRequest,
  type GetStatementResponse,
  type StatementLine,
  type StreamStatementResponse,
} from "../../generated/grey/wallet/v1/statement.js";
import { WalletServiceClient } from "../../generated/grey/wallet/v1/wallet_service.js";
import { newId } from "../../src/base/ids.js";
import { connect, type Clients } from "../support/client.js";
import { depositRequest, makeWallet, money, withdrawRequest } from "../support/ledger.js";
import { startServer, type TestServer } from "../support/server.js";

const CODE = "WEI";
/** 9 units of 18 decimal places: two of them exceed int64. */
const NINE = 9n * 10n ** 18n;
const INT64_MAX = 2n ** 63n - 1n;
const ALL = { from: { seconds: 0n, nanos: 0 }, before: { seconds: 253_402_300_799n, nanos: 0 } };

describe("sums that exceed int64", function () {
  this.timeout(60_000);
  let server: TestServer;
  let grey: Clients;

  before(async () => {
    server = await startServer();
    grey = connect(server.address);
    await grey.ledger.createCurrency({ requestId: newId(), code: CODE, exponent: 18, name: "Wei" });
  });
  after(async () => {
    grey.close();
    await server.stop();
  });
  afterEach(async () => {
    expect((await grey.ledger.checkIntegrity({ maxFaults: 10 })).faults).to.deep.equal([]);
  });

  const nine = money(NINE, CODE);
  const deposit = (walletId: string, effectiveTime?: Timestamp) =>
    grey.transactions.deposit(depositRequest(walletId, NINE, { amount: nine, effectiveTime }));
  const withdraw = (walletId: string) => grey.transactions.withdraw(withdrawRequest(walletId, NINE, { amount: nine }));

  /** All pages, which must tell the same sums. */
  async function statement(walletId: string, order: StatementOrder, period: Partial<typeof ALL> = {}) {
    const pages: GetStatementResponse[] = [];
    let pageToken = "";
    do {
      const page = await grey.wallets.getStatement({ walletId, ...ALL, ...period, order, pageSize: 2, pageToken });
      pages.push(page);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    const [{ lines: _lines, nextPageToken: _token, ...sums }] = pages as [GetStatementResponse];
    for (const { lines: _1, nextPageToken: _2, ...others } of pages) expect(others).to.deep.equal(sums);
    return { sums, lines: pages.flatMap(({ lines }) => lines) };
  }

  it("are told of a statement as decimal integers, where its opening and closing are within", async () => {
    const { id } = await makeWallet(grey, { currencyCode: CODE });
    await deposit(id);
    for (let round = 0; round < 2; round += 1) {
      await withdraw(id);
      await deposit(id);
    }
    for (const order of [StatementOrder.RECORD_TIME, StatementOrder.EFFECTIVE_TIME]) {
      const { sums, lines } = await statement(id, order);
      expect(sums).to.deep.equal({
        opening: money(0n, CODE),
        credits: undefined,
        debits: undefined,
        closing: nine,
        openingMinorUnits: "0",
        creditMinorUnits: (3n * NINE).toString(),
        debitMinorUnits: (2n * NINE).toString(),
        closingMinorUnits: NINE.toString(),
      });
      expect(lines.map((line) => line.balanceAfter?.minorUnits)).to.deep.equal([NINE, 0n, NINE, 0n, NINE]);
    }
    const streaming = new WalletServiceClient(server.address, credentials.createInsecure());
    const parts: StreamStatementResponse[] = [];
    for await (const part of streaming.streamStatement(
      StreamStatementRequest.fromPartial({ walletId: id, ...ALL }),
    ) as AsyncIterable<StreamStatementResponse>)
      parts.push(part);
    streaming.close();
    expect(parts.at(-1)!.part).to.deep.equal({
      $case: "closing",
      value: {
        credits: undefined,
        debits: undefined,
        closing: nine,
        lineCount: 5n,
        creditMinorUnits: (3n * NINE).toString(),
        debitMinorUnits: (2n * NINE).toString(),
      },
    });
    await withdraw(id);
  });

  it("are told of a balance by effective time, and of the statements around it", async () => {
    const { id } = await makeWallet(grey, { currencyCode: CODE });
    const yesterday = { seconds: BigInt(Math.floor(Date.now() / 1_000) - 86_400), nanos: 0 };
    const hence = { seconds: yesterday.seconds + 3_600n, nanos: 0 };
    await deposit(id, yesterday);
    for (let round = 0; round < 2; round += 1) {
      await withdraw(id);
      await deposit(id, yesterday);
    }
    const asOf = { $case: "effectiveTime", value: hence } as const;
    const { balance, postedMinorUnits } = await grey.wallets.getBalance({ walletId: id, asOf });
    expect(balance!.posted).to.equal(undefined);
    expect(postedMinorUnits).to.equal((3n * NINE).toString());
    const now = await grey.wallets.getBalance({ walletId: id, asOf: { $case: "effectiveTime", value: ALL.before } });
    expect(now.balance!.posted).to.deep.equal(nine);
    expect(now.postedMinorUnits).to.equal(NINE.toString());
    expect((await grey.wallets.getBalance({ walletId: id })).postedMinorUnits).to.equal("");

    const whole = await statement(id, StatementOrder.EFFECTIVE_TIME);
    const balances = whole.lines.map(({ balanceAfter }: StatementLine) => balanceAfter?.minorUnits);
    expect(balances).to.deep.equal([NINE, undefined, undefined, undefined, NINE]);
    const early = await statement(id, StatementOrder.EFFECTIVE_TIME, { before: hence });
    expect([early.sums.closing, early.sums.closingMinorUnits]).to.deep.equal([undefined, (3n * NINE).toString()]);
    const late = await statement(id, StatementOrder.EFFECTIVE_TIME, { from: hence });
    expect([late.sums.opening, late.sums.openingMinorUnits]).to.deep.equal([undefined, (3n * NINE).toString()]);
    expect(late.sums.closing).to.deep.equal(nine);
    await withdraw(id);
  });

  it("are told of a trial balance as decimal integers", async () => {
    const wallets = [await makeWallet(grey, { currencyCode: CODE }), await makeWallet(grey, { currencyCode: CODE })];
    const system = { name: "mint", currencyCode: CODE };
    const unlimited = { minBalance: undefined, maxBalance: undefined };
    await grey.ledger.createAccount({
      requestId: newId(),
      systemAccount: system,
      normalSide: NormalSide.DEBIT,
      ...unlimited,
    });
    await deposit(wallets[0]!.id);
    await grey.transactions.deposit(depositRequest(wallets[1]!.id, NINE, { amount: nine, systemAccount: "mint" }));
    const { currencies } = await grey.ledger.getTrialBalance({ currencyCode: CODE });
    expect(currencies[0]).to.include({
      debitMinorUnits: (2n * NINE).toString(),
      creditMinorUnits: (2n * NINE).toString(),
      differenceMinorUnits: "0",
    });
    await withdraw(wallets[0]!.id);
  });

  it("stand at the highest int64 in what is used of a limit that counts transactions alone", async () => {
    const { id: walletId } = await makeWallet(grey, { currencyCode: CODE });
    const named = { $case: "walletId", value: walletId } as const;
    const set = (maxAmount: bigint | undefined) =>
      grey.ledger.setLimits({
        requestId: newId(),
        account: named,
        limits: Limits.fromPartial({
          velocity: [
            { name: "few", direction: VelocityDirection.OUTGOING, windowSeconds: 86_400n, maxCount: 5n, maxAmount },
          ],
        }),
      });
    await set(undefined);
    for (let round = 0; round < 3; round += 1) {
      await deposit(walletId);
      await withdraw(walletId);
    }
    const { usage } = await grey.ledger.getLimits({ account: named });
    expect(usage).to.deep.equal([{ name: "few", amount: INT64_MAX, count: 3n }]);
    // What was used stays with the limit: the check of the books knows that it is no exact sum.
    await set(INT64_MAX);
    expect((await grey.ledger.getLimits({ account: named })).usage).to.deep.equal(usage);
  });
});
