import { expect } from "chai";
import type pg from "pg";
import { ErrorInfo } from "../../generated/google/rpc/error_details.js";
import type { Status } from "../../generated/google/rpc/status.js";
import { TransactionState } from "../../generated/grey/transaction/v1/transaction.js";
import { BatchMode, type BatchTransferResponse } from "../../generated/grey/transaction/v1/batch.js";
import type { TransferRequest } from "../../generated/grey/transaction/v1/movement.js";
import { newId, type Uuid } from "../../src/base/ids.js";
import { connect, refusal, type Clients } from "../support/client.js";
import {
  balanceOf,
  countRows,
  depositRequest,
  makeUser,
  makeWallet,
  openAdmin,
  transferRequest,
} from "../support/ledger.js";
import { startServer, type TestServer } from "../support/server.js";

/** The wallets of each case: a has 100, the others nothing; z is in euros, and nobody has n. */
type Name = "a" | "b" | "c" | "d" | "n" | "z";
type Planned = readonly [from: Name, to: Name, minorUnits: bigint];

interface Case {
  readonly what: string;
  readonly transfers: readonly Planned[];
  /** By mode: for each transfer POSTED or why it is refused, and then the balances of a, b, c and d. */
  readonly atomic: readonly [results: readonly string[], balances: readonly bigint[]];
  readonly independent: readonly [results: readonly string[], balances: readonly bigint[]];
}

const UNCHANGED = [100n, 0n, 0n, 0n] as const;

const CASES: readonly Case[] = [
  {
    what: "of transfers that all can be made makes them all",
    transfers: [
      ["a", "b", 10n],
      ["a", "c", 20n],
      ["a", "d", 70n],
    ],
    atomic: [
      ["POSTED", "POSTED", "POSTED"],
      [0n, 10n, 20n, 70n],
    ],
    independent: [
      ["POSTED", "POSTED", "POSTED"],
      [0n, 10n, 20n, 70n],
    ],
  },
  {
    what: "whose first transfer is refused",
    transfers: [
      ["b", "a", 1n],
      ["a", "b", 10n],
      ["a", "c", 20n],
    ],
    atomic: [
      ["INSUFFICIENT_FUNDS", "BATCH_ABORTED 0 INSUFFICIENT_FUNDS", "BATCH_ABORTED 0 INSUFFICIENT_FUNDS"],
      UNCHANGED,
    ],
    independent: [
      ["INSUFFICIENT_FUNDS", "POSTED", "POSTED"],
      [70n, 10n, 20n, 0n],
    ],
  },
  {
    what: "whose middle transfer is refused",
    transfers: [
      ["a", "b", 10n],
      ["a", "n", 1n],
      ["a", "c", 20n],
    ],
    atomic: [["BATCH_ABORTED 1 WALLET_NOT_FOUND", "WALLET_NOT_FOUND", "BATCH_ABORTED 1 WALLET_NOT_FOUND"], UNCHANGED],
    independent: [
      ["POSTED", "WALLET_NOT_FOUND", "POSTED"],
      [70n, 10n, 20n, 0n],
    ],
  },
  {
    what: "whose last transfer is refused",
    transfers: [
      ["a", "b", 10n],
      ["a", "c", 20n],
      ["a", "z", 1n],
    ],
    atomic: [
      ["BATCH_ABORTED 2 CURRENCY_MISMATCH", "BATCH_ABORTED 2 CURRENCY_MISMATCH", "CURRENCY_MISMATCH"],
      UNCHANGED,
    ],
    independent: [
      ["POSTED", "POSTED", "CURRENCY_MISMATCH"],
      [70n, 10n, 20n, 0n],
    ],
  },
  {
    what: "of which two are refused names the first",
    transfers: [
      ["a", "b", 10n],
      ["c", "d", 1n],
      ["a", "a", 1n],
    ],
    atomic: [
      ["BATCH_ABORTED 1 INSUFFICIENT_FUNDS", "INSUFFICIENT_FUNDS", "BATCH_ABORTED 1 INSUFFICIENT_FUNDS"],
      UNCHANGED,
    ],
    independent: [
      ["POSTED", "INSUFFICIENT_FUNDS", "SAME_WALLET"],
      [90n, 10n, 0n, 0n],
    ],
  },
  {
    what: "whose transfers hand on what they get from those before",
    transfers: [
      ["a", "b", 100n],
      ["b", "c", 100n],
      ["c", "d", 100n],
      ["d", "a", 40n],
    ],
    atomic: [
      ["POSTED", "POSTED", "POSTED", "POSTED"],
      [40n, 0n, 0n, 60n],
    ],
    independent: [
      ["POSTED", "POSTED", "POSTED", "POSTED"],
      [40n, 0n, 0n, 60n],
    ],
  },
  {
    what: "that breaks in the middle of such a chain",
    transfers: [
      ["a", "b", 100n],
      ["b", "c", 101n],
      ["c", "d", 100n],
      ["b", "d", 30n],
    ],
    atomic: [
      [
        "BATCH_ABORTED 1 INSUFFICIENT_FUNDS",
        "INSUFFICIENT_FUNDS",
        "BATCH_ABORTED 1 INSUFFICIENT_FUNDS",
        "BATCH_ABORTED 1 INSUFFICIENT_FUNDS",
      ],
      UNCHANGED,
    ],
    // The refused one is as if it had never been asked for; the third lacks what it would have got.
    independent: [
      ["POSTED", "INSUFFICIENT_FUNDS", "INSUFFICIENT_FUNDS", "POSTED"],
      [0n, 70n, 0n, 30n],
    ],
  },
  {
    what: "that spends what it has to the last unit, and then one more",
    transfers: [
      ["a", "b", 60n],
      ["a", "c", 40n],
      ["a", "d", 1n],
    ],
    atomic: [
      ["BATCH_ABORTED 2 INSUFFICIENT_FUNDS", "BATCH_ABORTED 2 INSUFFICIENT_FUNDS", "INSUFFICIENT_FUNDS"],
      UNCHANGED,
    ],
    independent: [
      ["POSTED", "POSTED", "INSUFFICIENT_FUNDS"],
      [0n, 60n, 40n, 0n],
    ],
  },
];

describe("BatchTransfer", function () {
  this.timeout(60_000);

  let server: TestServer;
  let grey: Clients;
  let admin: pg.Client;
  let userId: Uuid;

  before(async () => {
    server = await startServer();
    grey = connect(server.address);
    admin = await openAdmin(server.databaseUrl);
    userId = (await makeUser(grey)).id;
  });
  after(async () => {
    const { faults } = await grey.ledger.checkIntegrity({ maxFaults: 0 });
    grey.close();
    await admin.end();
    await server.stop();
    expect(faults).to.deep.equal([]);
  });

  async function makeWallets(): Promise<Record<Name, Uuid>> {
    const open = async (minorUnits: bigint, currencyCode = "USD") =>
      (await makeWallet(grey, { userId, minorUnits, currencyCode })).id;
    return {
      a: await open(100n),
      b: await open(0n),
      c: await open(0n),
      d: await open(0n),
      n: newId(),
      z: await open(0n, "EUR"),
    };
  }

  const requestsOf = (wallets: Record<Name, Uuid>, planned: readonly Planned[]): TransferRequest[] =>
    planned.map(([from, to, minorUnits]) => transferRequest(wallets[from], wallets[to], minorUnits));

  const balancesOf = ({ a, b, c, d }: Record<Name, Uuid>): Promise<bigint[]> =>
    Promise.all([a, b, c, d].map((id) => balanceOf(grey, id)));

  /** How many database transactions have written to the journal. */
  async function countBatches(): Promise<bigint> {
    const { rows } = await admin.query<{ count: bigint }>("SELECT count(*) FROM journal_batches");
    return rows[0]!.count;
  }

  const send = (mode: BatchMode, transfers: TransferRequest[]) =>
    grey.transactions.batchTransfer({ mode, transfers }, {}, 60_000);

  for (const { what, transfers, ...expected } of CASES) {
    for (const mode of ["atomic", "independent"] as const) {
      it(`${what} (${mode})`, async () => {
        const [results, balances] = expected[mode];
        const wallets = await makeWallets();
        const requests = requestsOf(wallets, transfers);
        const before = await countRows(admin);
        const batchesBefore = await countBatches();
        const answer = await send(MODES[mode], requests);
        expect(answer.results.map(resultOf)).to.deep.equal(results);
        expect(await balancesOf(wallets)).to.deep.equal(balances);
        const postedCount = results.filter((result) => result === "POSTED").length;
        // In one database transaction; what was refused has its row and no entry.
        expect(await countRows(admin)).to.deep.equal({
          ...before,
          transactions: before.transactions! + BigInt(transfers.length),
          requests: before.requests! + BigInt(transfers.length),
          entries: before.entries! + BigInt(2 * postedCount),
          records: before.records! + BigInt(transfers.length),
        });
        expect(await countBatches()).to.equal(batchesBefore + 1n);

        // The transactions, in the order of the request, one after the other in the journal.
        for (const [index, result] of answer.results.entries()) {
          const { transaction } = await grey.transactions.getTransaction({
            by: { $case: "id", value: result.transactionId },
          });
          expect(transaction).to.deep.include({
            requestId: requests[index]!.requestId,
            debitAccountId: requests[index]!.fromWalletId,
            amount: requests[index]!.amount,
            state: result.state,
            journalIndex: answer.results[0]!.journalIndex + BigInt(index),
          });
          expect(transaction!.entries).to.have.length(results[index] === "POSTED" ? 2 : 0);
        }
        // The balances after the batch, of the wallets that were moved.
        const told = new Map(answer.balances.map((balance) => [balance.walletId, balance.posted!.minorUnits]));
        const moved = new Set(
          requests.flatMap(({ fromWalletId, toWalletId }, n) =>
            results[n] === "POSTED" ? [fromWalletId, toWalletId] : [],
          ),
        );
        expect([...told.keys()]).to.have.members([...moved]);
        for (const [walletId, balance] of told) expect(balance).to.equal(await balanceOf(grey, walletId));

        // Sent again it replays every result, and writes nothing.
        const after = await countRows(admin);
        const again = await send(MODES[mode], requests);
        expect(again.results.map(withoutError)).to.deep.equal(
          answer.results.map((result) => ({ ...withoutError(result), replayed: true })),
        );
        expect(again.results.map(resultOf)).to.deep.equal(results);
        expect(await countRows(admin)).to.deep.equal(after);
        expect(await balancesOf(wallets)).to.deep.equal(balances);
      });
    }
  }

  it("tells for each refusal what Transfer would have told: metadata, the transaction that keeps it and the request id", async () => {
    const wallets = await makeWallets();
    const requests = requestsOf(wallets, [
      ["a", "b", 10n],
      ["a", "c", 101n],
    ]);
    const { results } = await send(BatchMode.INDEPENDENT, requests);
    const error = await refusal(grey.transactions.transfer(requests[1]!));
    expect(infoOf(results[1]!.error!).metadata).to.deep.equal({
      wallet_id: wallets.a,
      currency_code: "USD",
      available_minor_units: "90",
      required_minor_units: "101",
      transaction_id: results[1]!.transactionId,
      journal_index: results[1]!.journalIndex.toString(),
    });
    expect(error.info).to.deep.equal({ ...infoOf(results[1]!.error!).metadata, replayed: "true" });
  });

  for (const mode of ["atomic", "independent"] as const) {
    describe(`with a request id that was used before (${mode})`, () => {
      it("for the same transfer, posted: replays it and posts the others", async () => {
        const wallets = await makeWallets();
        const requests = requestsOf(wallets, [
          ["a", "b", 30n],
          ["b", "c", 20n],
        ]);
        const { transaction } = await grey.transactions.transfer(requests[0]!);
        const { results } = await send(MODES[mode], requests);
        expect(results.map(resultOf)).to.deep.equal(["POSTED", "POSTED"]);
        expect(results.map((result) => result.replayed)).to.deep.equal([true, false]);
        expect(results[0]!.transactionId).to.equal(transaction!.id);
        expect(await balancesOf(wallets)).to.deep.equal([70n, 10n, 20n, 0n]);
      });

      it("for the same transfer, refused: it stays refused, even if it could be made now", async () => {
        const wallets = await makeWallets();
        const requests = requestsOf(wallets, [
          ["a", "b", 30n],
          ["c", "d", 5n],
        ]);
        const refused = await refusal(grey.transactions.transfer(requests[1]!));
        await grey.transactions.deposit(depositRequest(wallets.c, 5n));
        const { results } = await send(MODES[mode], requests);
        expect(results.map(resultOf)).to.deep.equal([
          mode === "atomic" ? "BATCH_ABORTED 1 INSUFFICIENT_FUNDS" : "POSTED",
          "INSUFFICIENT_FUNDS",
        ]);
        expect(results.map((result) => result.replayed)).to.deep.equal([false, true]);
        expect(results[1]!.transactionId).to.equal(refused.info.transaction_id);
        expect(await balancesOf(wallets)).to.deep.equal(mode === "atomic" ? [100n, 0n, 5n, 0n] : [70n, 30n, 5n, 0n]);
      });

      it("by another request: is refused without a transaction, and its id keeps its answer", async () => {
        const wallets = await makeWallets();
        const requests = requestsOf(wallets, [
          ["a", "b", 30n],
          ["a", "c", 20n],
          ["a", "d", 10n],
        ]);
        const { transaction } = await grey.transactions.deposit(
          depositRequest(wallets.a, 7n, { requestId: requests[1]!.requestId }),
        );
        const { results } = await send(MODES[mode], requests);
        expect(results.map(resultOf)).to.deep.equal(
          mode === "atomic"
            ? ["BATCH_ABORTED 1 REQUEST_ID_REUSED", "REQUEST_ID_REUSED", "BATCH_ABORTED 1 REQUEST_ID_REUSED"]
            : ["POSTED", "REQUEST_ID_REUSED", "POSTED"],
        );
        expect(results[1]).to.include({ transactionId: "", state: TransactionState.UNSPECIFIED, journalIndex: 0n });
        expect(infoOf(results[1]!.error!).metadata).to.deep.equal({
          request_id: requests[1]!.requestId,
          differs: "method",
        });
        expect(await balancesOf(wallets)).to.deep.equal(mode === "atomic" ? [107n, 0n, 0n, 0n] : [67n, 30n, 0n, 10n]);
        const found = await grey.transactions.getTransaction({
          by: { $case: "requestId", value: requests[1]!.requestId },
        });
        expect(found.transaction).to.deep.equal(transaction);
      });

      it("by a transfer of another amount: names the field", async () => {
        const wallets = await makeWallets();
        const requests = requestsOf(wallets, [["a", "b", 30n]]);
        await grey.transactions.transfer(requests[0]!);
        const { results } = await send(MODES[mode], [
          { ...requests[0]!, amount: { currencyCode: "USD", minorUnits: 31n } },
        ]);
        expect(results.map(resultOf)).to.deep.equal(["REQUEST_ID_REUSED"]);
        expect(infoOf(results[0]!.error!).metadata.differs).to.equal("amount.minor_units");
        expect(await balancesOf(wallets)).to.deep.equal([70n, 30n, 0n, 0n]);
      });
    });
  }

  it("whose atomic first attempt was aborted stays aborted when it is sent again as independent transfers", async () => {
    const wallets = await makeWallets();
    const requests = requestsOf(wallets, [
      ["a", "b", 30n],
      ["c", "d", 5n],
    ]);
    const first = await send(BatchMode.ATOMIC, requests);
    await grey.transactions.deposit(depositRequest(wallets.c, 5n));
    const again = await send(BatchMode.INDEPENDENT, requests);
    expect(again.results.map(resultOf)).to.deep.equal(["BATCH_ABORTED 1 INSUFFICIENT_FUNDS", "INSUFFICIENT_FUNDS"]);
    expect(again.results.map(withoutError)).to.deep.equal(
      first.results.map((result) => ({ ...withoutError(result), replayed: true })),
    );
    expect(await balancesOf(wallets)).to.deep.equal([100n, 0n, 5n, 0n]);
  });

  it("sent ten times at once is made once", async () => {
    const wallets = await makeWallets();
    const requests = requestsOf(wallets, [
      ["a", "b", 30n],
      ["b", "c", 20n],
      ["c", "d", 999n],
    ]);
    const before = await countRows(admin);
    const answers = await Promise.all(Array.from({ length: 10 }, () => send(BatchMode.INDEPENDENT, requests)));
    for (const { results } of answers) {
      expect(results.map(resultOf)).to.deep.equal(["POSTED", "POSTED", "INSUFFICIENT_FUNDS"]);
      expect(results.map((result) => result.transactionId)).to.deep.equal(
        answers[0]!.results.map((result) => result.transactionId),
      );
    }
    expect(answers.filter(({ results }) => results.every((result) => !result.replayed))).to.have.length(1);
    expect((await countRows(admin)).transactions! - before.transactions!).to.equal(3n);
    expect(await balancesOf(wallets)).to.deep.equal([70n, 10n, 20n, 0n]);
  });

  describe("that breaks the contract is refused as a whole, names the field, and writes nothing:", () => {
    let wallets: Record<Name, Uuid>;
    before(async () => {
      wallets = await makeWallets();
    });
    const broken: readonly (readonly [
      what: string,
      make: () => [BatchMode, TransferRequest[]],
      fields: readonly string[],
    ])[] = [
      ["without transfers", () => [BatchMode.ATOMIC, []], ["transfers"]],
      ["without a mode", () => [BatchMode.UNSPECIFIED, requestsOf(wallets, [["a", "b", 1n]])], ["mode"]],
      ["with an unknown mode", () => [7 as BatchMode, requestsOf(wallets, [["a", "b", 1n]])], ["mode"]],
      [
        "with more than 10,000 transfers",
        () => [BatchMode.INDEPENDENT, Array.from({ length: 10_001 }, () => transferRequest(wallets.a, wallets.b, 1n))],
        ["transfers"],
      ],
      [
        "with a bad transfer among good ones",
        () => [
          BatchMode.INDEPENDENT,
          requestsOf(wallets, [
            ["a", "b", 1n],
            ["a", "b", 0n],
            ["a", "b", 1n],
          ]),
        ],
        ["transfers[1].amount"],
      ],
      [
        "with a request id twice, in whatever case",
        () => {
          const [one, other] = requestsOf(wallets, [
            ["a", "b", 1n],
            ["a", "c", 1n],
          ]) as [TransferRequest, TransferRequest];
          return [BatchMode.ATOMIC, [one, other, { ...one }, { ...other, requestId: other.requestId.toUpperCase() }]];
        },
        ["transfers[2].request_id", "transfers[3].request_id"],
      ],
    ];
    for (const [what, make, fields] of broken) {
      it(what, async () => {
        const before = await countRows(admin);
        const [mode, transfers] = make();
        const error = await refusal(send(mode, transfers));
        expect([error.code, error.reason]).to.deep.equal(["INVALID_ARGUMENT", "INVALID_REQUEST"]);
        expect([...error.violations.keys()]).to.deep.equal(fields);
        expect(await countRows(admin)).to.deep.equal(before);
        expect(await balancesOf(wallets)).to.deep.equal(UNCHANGED);
      });
    }
  });

  it("takes 10,000 transfers in one database transaction, and answers each in its place", async () => {
    const wallets = await makeWallets();
    await grey.transactions.deposit(depositRequest(wallets.a, 900n));
    // There and back; every thousandth asks for more than there is.
    const requests = Array.from({ length: 10_000 }, (_, n) => {
      const [from, to] = n % 2 === 0 ? [wallets.a, wallets.b] : [wallets.b, wallets.a];
      return transferRequest(from, to, n % 1_000 === 500 ? 1_001n : 1n);
    });
    const before = await countBatches();
    const { results } = await send(BatchMode.INDEPENDENT, requests);
    expect(results).to.have.length(10_000);
    const refused = results.flatMap((result, index) => (resultOf(result) === "POSTED" ? [] : [index]));
    // Without the money of the refused one, the one after it finds nothing to send back.
    expect(refused).to.deep.equal(Array.from({ length: 10 }, (_, n) => [1_000 * n + 500, 1_000 * n + 501]).flat());
    expect(await countBatches()).to.equal(before + 1n);
    expect(results.map((result) => result.journalIndex - results[0]!.journalIndex)).to.deep.equal(
      results.map((_, index) => BigInt(index)),
    );
    expect(await balancesOf(wallets)).to.deep.equal([1_000n, 0n, 0n, 0n]);
  });

  it("and single transfers whose row the database itself refuses fail alone as INTERNAL; those beside them are answered", async () => {
    const wallets = await makeWallets();
    await admin.query("ALTER TABLE transactions ADD CHECK (description <> 'poison')");
    const poison = () => transferRequest(wallets.a, wallets.b, 1n, { description: "poison" });
    const good = () => transferRequest(wallets.a, wallets.b, 1n);
    const [first, refused, batch, last] = await Promise.all([
      grey.transactions.transfer(good()),
      refusal(grey.transactions.transfer(poison())),
      refusal(send(BatchMode.INDEPENDENT, [good(), poison()])),
      grey.transactions.transfer(good()),
    ]);
    expect([first.replayed, last.replayed]).to.deep.equal([false, false]);
    for (const error of [refused, batch]) {
      expect([error.code, error.reason]).to.deep.equal(["INTERNAL", "INTERNAL"]);
      expect(error.message).not.to.match(/poison|check|constraint|transactions/i);
    }
    expect(await balancesOf(wallets)).to.deep.equal([98n, 2n, 0n, 0n]);
  });
});

const MODES = { atomic: BatchMode.ATOMIC, independent: BatchMode.INDEPENDENT } as const;

type Result = BatchTransferResponse["results"][number];

/** POSTED, or why it was refused; for BATCH_ABORTED with the culprit's place and reason. */
function resultOf({ state, error }: Result): string {
  if (error === undefined) return state === TransactionState.POSTED ? "POSTED" : `no error, and ${state}`;
  const { reason, metadata } = infoOf(error);
  if (state !== TransactionState.REJECTED && reason !== "REQUEST_ID_REUSED") return `${reason}, and ${state}`;
  return reason === "BATCH_ABORTED" ? `${reason} ${metadata.culprit_index} ${metadata.culprit_reason}` : reason;
}

function infoOf({ details }: Status): ErrorInfo {
  const info = details.find((detail) => detail.typeUrl === "type.googleapis.com/google.rpc.ErrorInfo");
  return ErrorInfo.decode(info!.value);
}

/** All but the error, which says itself when it is replayed. */
function withoutError({ transactionId, state, journalIndex, replayed }: Result): Omit<Result, "error"> {
  return { transactionId, state, journalIndex, replayed };
}
