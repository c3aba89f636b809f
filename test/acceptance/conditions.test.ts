import { randomUUID } from "node:crypto";
import { expect } from "chai";
import { AmountMode, type Precondition } from "../../generated/grey/transaction/v1/transaction.js";
import type { TransferRequest } from "../../generated/grey/transaction/v1/movement.js";
import { connect, refusal, type Clients } from "../support/client.js";
import { startServer, type TestServer } from "../support/server.js";

/** Amounts up to what there is, and preconditions, as a client has them. */
describe("a movement", function () {
  this.timeout(60_000);

  let servers: readonly TestServer[];
  let grey: Clients;
  let there: Clients;
  let userId: string;

  before(async () => {
    const first = await startServer();
    servers = [first, await startServer({ DATABASE_URL: first.databaseUrl })];
    grey = connect(first.address);
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

  async function openWallet(minorUnits = 0n): Promise<string> {
    const request = { requestId: randomUUID(), userId, currencyCode: "USD", label: "", metadata: {} };
    return (await grey.wallets.createWallet({ ...request, initialBalance: usd(minorUnits) })).wallet!.id;
  }

  async function balance(walletId: string) {
    return (await grey.wallets.getBalance({ walletId })).balance!;
  }

  function transferRequest(from: string, to: string, minorUnits: bigint, over: Partial<TransferRequest> = {}) {
    const sides = { fromWalletId: from, toWalletId: to, amount: usd(minorUnits), effectiveTime: undefined };
    return { ...asked(), ...sides, ...over };
  }

  function needs(walletId: string, over: Partial<Precondition>): { preconditions: Precondition[] } {
    const anything = { expectedVersion: undefined, minBalanceAfter: undefined, maxBalanceAfter: undefined };
    return { preconditions: [{ walletId, ...anything, ...over }] };
  }

  describe("of an amount UP_TO", () => {
    const upTo = { amountMode: AmountMode.UP_TO };

    it("moves what the wallet can spend, and no more than the amount; the transaction tells how much it was", async () => {
      const [from, to] = [await openWallet(100n), await openWallet()];
      await grey.transactions.hold({ ...asked(), walletId: from, toWalletId: "", amount: usd(30n), expiry: undefined });
      const small = await grey.transactions.transfer(transferRequest(from, to, 10n, upTo));
      expect(small.transaction!.amount).to.deep.equal(usd(10n));
      const request = transferRequest(from, to, 1_000n, upTo);
      const rest = await grey.transactions.transfer(request);
      expect(rest.transaction!.amount).to.deep.equal(usd(60n));
      expect(rest.transaction!.entries.map((entry) => entry.amount)).to.deep.equal([usd(60n), usd(60n)]);
      expect((await balance(from)).available).to.deep.equal(usd(0n));
      const none = await refusal(grey.transactions.transfer(transferRequest(from, to, 5n, upTo)));
      expect(none.reason).to.equal("INSUFFICIENT_FUNDS");
      expect(none.info).to.include({ available_minor_units: "0", required_minor_units: "5" });
      expect(await grey.transactions.transfer(request)).to.deep.equal({ ...rest, replayed: true });
      const other = await refusal(grey.transactions.transfer({ ...request, amount: usd(60n) }));
      expect(other.info.differs).to.equal("amount.minor_units");
      const exact = await refusal(grey.transactions.transfer({ ...request, amountMode: AmountMode.EXACT }));
      expect(exact.info.differs).to.equal("amount_mode");
    });

    it("is taken out of a wallet in the same way", async () => {
      const wallet = await openWallet(7n);
      const request = { ...asked(), walletId: wallet, systemAccount: "", effectiveTime: undefined };
      const { transaction } = await grey.transactions.withdraw({ ...request, amount: usd(10n), ...upTo });
      expect(transaction!.amount).to.deep.equal(usd(7n));
    });

    it("is shared out among many that come at once: all of it moves, and nothing twice", async () => {
      const [from, to] = [await openWallet(1_000n), await openWallet()];
      const moved = await Promise.all(
        Array.from({ length: 40 }, (_, index) =>
          (index % 2 === 0 ? grey : there).transactions
            .transfer(transferRequest(from, to, 70n, upTo))
            .then(({ transaction }) => transaction!.amount!.minorUnits)
            .catch(() => 0n),
        ),
      );
      expect(moved.reduce((sum, one) => sum + one, 0n)).to.equal(1_000n);
      expect(moved.filter((one) => one > 0n && one < 70n)).to.deep.equal([20n]);
    });
  });

  describe("with preconditions", () => {
    it("is posted when they hold, at their bounds", async () => {
      const [from, to] = [await openWallet(100n), await openWallet(10n)];
      const preconditions = [
        { walletId: from, expectedVersion: 1n, minBalanceAfter: 60n, maxBalanceAfter: 60n },
        { walletId: to, expectedVersion: undefined, minBalanceAfter: undefined, maxBalanceAfter: 50n },
      ];
      const request = transferRequest(from, to, 40n, { preconditions });
      const { transaction } = await grey.transactions.transfer(request);
      expect((await grey.transactions.transfer(request)).transaction).to.deep.equal(transaction);
      const other = { ...request, preconditions: preconditions.slice(1) };
      expect((await refusal(grey.transactions.transfer(other))).info.differs).to.equal("preconditions");
    });

    it("is refused, and kept so, when one does not; the error tells which and what was", async () => {
      const [from, to] = [await openWallet(100n), await openWallet(10n)];
      const third = await openWallet(1n);
      for (const [walletId, over, precondition, expected, actual] of [
        [from, { expectedVersion: 2n }, "expected_version", "2", "1"],
        [from, { minBalanceAfter: 61n }, "min_balance_after", "61", "60"],
        [to, { maxBalanceAfter: 49n }, "max_balance_after", "49", "50"],
        [third, { minBalanceAfter: 2n }, "min_balance_after", "2", "1"],
      ] as const) {
        const error = await refusal(grey.transactions.transfer(transferRequest(from, to, 40n, needs(walletId, over))));
        expect(error).to.include({ code: "FAILED_PRECONDITION", reason: "PRECONDITION_FAILED" });
        expect(error.info).to.include({ wallet_id: walletId, precondition, expected, actual });
        const id = error.info.transaction_id!;
        const { transaction } = await grey.transactions.getTransaction({ by: { $case: "id", value: id } });
        expect(transaction!.entries).to.deep.equal([]);
      }
      const nobody = transferRequest(from, to, 1n, needs(randomUUID(), {}));
      expect((await refusal(grey.transactions.transfer(nobody))).reason).to.equal("WALLET_NOT_FOUND");
      const rule = transferRequest(from, to, 101n, needs(from, { expectedVersion: 9n }));
      expect((await refusal(grey.transactions.transfer(rule))).reason).to.equal("INSUFFICIENT_FUNDS");
      expect((await balance(from)).version).to.equal(1n);
    });

    it("lets one of many that saw the same version win, on two servers", async () => {
      const [from, to] = [await openWallet(100n), await openWallet()];
      for (let version = 1n; version <= 10n; version += 1n) {
        const results = await Promise.allSettled(
          Array.from({ length: 8 }, (_, index) =>
            (index % 2 === 0 ? grey : there).transactions.transfer(
              transferRequest(from, to, 1n, needs(from, { expectedVersion: version })),
            ),
          ),
        );
        expect(results.filter(({ status }) => status === "fulfilled")).to.have.length(1);
      }
      expect((await balance(to)).posted).to.deep.equal(usd(10n));
    });

    it("may be a deposit, a hold, its increase and capture, or a reversal", async () => {
      const wallet = await openWallet(10n);
      const to = await openWallet();
      const full = { maxBalanceAfter: 10n };
      const deposit = { ...asked(), walletId: wallet, amount: usd(1n), systemAccount: "", effectiveTime: undefined };
      const hold = { ...asked(), walletId: wallet, toWalletId: to, amount: usd(4n), expiry: undefined };
      const { hold: made } = await grey.transactions.hold({ ...hold, ...needs(wallet, { minBalanceAfter: 6n }) });
      const step = { ...asked(), holdId: made!.id, amount: usd(1n) };
      const capture = { ...step, ...asked(), final: false, to: undefined };
      const paid = await grey.transactions.transfer(transferRequest(wallet, to, 1n));
      const reversal = { ...asked(), transactionId: paid.transaction!.id, amount: undefined };
      for (const attempt of [
        grey.transactions.deposit({ ...deposit, ...needs(wallet, { maxBalanceAfter: 9n }) }),
        grey.transactions.hold({ ...hold, requestId: randomUUID(), ...needs(wallet, { minBalanceAfter: 6n }) }),
        grey.transactions.increaseHold({ ...step, ...needs(to, { maxBalanceAfter: 5n }) }),
        grey.transactions.captureHold({ ...capture, ...needs(wallet, { expectedVersion: 1n }) }),
        grey.transactions.reverse({
          ...reversal,
          atEffectiveTimeOfOriginal: false,
          ...needs(wallet, { maxBalanceAfter: 9n }),
        }),
      ]) {
        expect((await refusal(attempt)).reason).to.equal("PRECONDITION_FAILED");
      }
      const now = await balance(wallet);
      expect([now.posted, now.pendingOutgoing]).to.deep.equal([usd(9n), usd(4n)]);
      await grey.transactions.deposit({ ...deposit, requestId: randomUUID(), ...needs(wallet, full) });
    });
  });
});
