import { expect } from "chai";
import * as fc from "fast-check";
import type { Timestamp } from "../../generated/google/protobuf/timestamp.js";
import {
  TransactionKind,
  TransactionState,
  type Transaction,
} from "../../generated/grey/transaction/v1/transaction.js";
import { ListTransactionsRequest } from "../../generated/grey/transaction/v1/query.js";
import { newId, systemAccountId, type Uuid } from "../../src/base/ids.js";
import { microsDown } from "../../src/base/time.js";
import type { Queryable } from "../../src/db/database.js";
import type { TransactionFilter } from "../../src/ledger/transaction/filter.js";
import { listTransactions } from "../../src/ledger/transaction/list.js";
import { LOCAL_CALLER } from "../../src/rpc/context.js";
import { connect, refusal, type Clients } from "../support/client.js";
import {
  depositRequest,
  insertWallet,
  makeUser,
  makeWallet,
  openAdmin,
  openTestLedger,
  transferRequest,
  withdrawRequest,
  type TestLedger,
} from "../support/ledger.js";
import { startServer, type TestServer } from "../support/server.js";

type Of = NonNullable<ListTransactionsRequest["of"]>;

const byWallet = (value: Uuid): Of => ({ $case: "walletId", value });
const byUser = (value: Uuid): Of => ({ $case: "userId", value });

function listRequest(of: Of, over: Partial<ListTransactionsRequest> = {}): ListTransactionsRequest {
  return { ...ListTransactionsRequest.fromPartial({}), of, ...over };
}

describe("listing transactions", () => {
  let server: TestServer;
  let clients: Clients;
  /** One user with three wallets, and one with another. */
  let userId: Uuid;
  let wallets: Uuid[];
  let stranger: Uuid;
  /** Every transaction that touches the user, oldest first, as GetTransaction tells it. */
  let history: Transaction[];

  before(async () => {
    server = await startServer();
    clients = connect(server.address);
    const { transactions } = clients;
    userId = (await makeUser(clients)).id;
    wallets = [];
    for (let n = 0; n < 3; n += 1)
      wallets.push((await makeWallet(clients, { userId, minorUnits: BigInt(n) * 1_000n })).id);
    stranger = (await makeWallet(clients, { minorUnits: 1_000n })).id;
    const [first, second, third] = wallets as [Uuid, Uuid, Uuid];
    for (let n = 0; n < 4; n += 1) {
      await transactions.transfer(transferRequest(third, first, 10n));
      await transactions.deposit(depositRequest(first, 5n));
      await refusal(transactions.transfer(transferRequest(second, third, 1_000_000n)));
      await transactions.transfer(transferRequest(stranger, second, 7n));
      await transactions.withdraw(withdrawRequest(third, 3n));
      await refusal(transactions.transfer(transferRequest(stranger, first, 1_000_000n)));
      await refusal(transactions.transfer(transferRequest(first, first, 1n)));
      await transactions.transfer(transferRequest(stranger, (await makeWallet(clients)).id, 1n));
    }
    history = await allOf(wallets);
  });
  after(async () => {
    clients.close();
    await server.stop();
  });

  /** Every transaction that names one of the accounts, found one by one: no list is used. */
  async function allOf(ids: readonly Uuid[]): Promise<Transaction[]> {
    const admin = await openAdmin(server.databaseUrl);
    const { rows } = await admin.query<{ id: Uuid }>(
      "SELECT id FROM transactions WHERE debit_account_id = ANY($1) OR credit_account_id = ANY($1) ORDER BY journal_index",
      [ids],
    );
    await admin.end();
    const found: Transaction[] = [];
    for (const { id } of rows)
      found.push((await clients.transactions.getTransaction({ by: { $case: "id", value: id } })).transaction!);
    return found;
  }

  /** All pages one after the other. */
  async function listAll(request: ListTransactionsRequest, pagesMax = 200): Promise<Transaction[]> {
    const listed: Transaction[] = [];
    let pageToken = "";
    for (let page = 0; page < pagesMax; page += 1) {
      const reply = await clients.transactions.listTransactions({ ...request, pageToken });
      expect(reply.transactions.length <= (request.pageSize === 0 ? 50 : request.pageSize)).to.equal(true);
      listed.push(...reply.transactions);
      pageToken = reply.nextPageToken;
      if (pageToken === "") return listed;
    }
    return expect.fail(`there is still a page after ${pagesMax}`);
  }

  it("by wallet gives every transaction that touches it, newest first, rejected ones included", async () => {
    for (const wallet of wallets) {
      const expected = history.filter((one) => touches(one, wallet)).toReversed();
      expect(expected.some((one) => one.state === TransactionState.REJECTED)).to.equal(true);
      expect(await listAll(listRequest(byWallet(wallet)))).to.deep.equal(expected);
    }
  });

  it("by user gives those of all wallets, a transfer between two of them once", async () => {
    const listed = await listAll(listRequest(byUser(userId)));
    expect(listed).to.deep.equal(history.toReversed());
    const between = listed.filter(
      (one) => wallets.includes(one.debitAccountId) && wallets.includes(one.creditAccountId),
    );
    expect(between.map((one) => one.state)).to.include.members([TransactionState.POSTED, TransactionState.REJECTED]);
    expect(new Set(listed.map((one) => one.id)).size).to.equal(listed.length);
  });

  it("gives each side of a transfer the same transaction", async () => {
    const mine = await listAll(listRequest(byWallet(wallets[1]!)));
    const theirs = await listAll(listRequest(byWallet(stranger)));
    const shared = mine.filter((one) => one.debitAccountId === stranger);
    expect(shared).to.have.lengthOf(4);
    expect(theirs).to.deep.include.members(shared);
  });

  it("with any filters and any page size gives exactly what passes them, in the same order", async () => {
    const kinds = [
      TransactionKind.OPENING,
      TransactionKind.DEPOSIT,
      TransactionKind.WITHDRAWAL,
      TransactionKind.TRANSFER,
    ];
    const states = [TransactionState.POSTED, TransactionState.REJECTED];
    const at = fc.option(fc.nat(history.length - 1), { freq: 2 });
    const asked = fc.record({
      of: fc.constantFrom(byUser(userId), ...wallets.map(byWallet)),
      kinds: fc.subarray(kinds),
      states: fc.subarray(states),
      from: at,
      before: at,
      pageSize: fc.integer({ min: 1, max: 9 }),
    });
    let shown = 0;
    await fc.assert(
      fc.asyncProperty(asked, async ({ of, from, before, pageSize, ...filters }) => {
        const createTimeFrom = from === null ? undefined : history[from]!.createTime;
        const createTimeBefore = before === null ? undefined : history[before]!.createTime;
        const passing = history.filter(
          (one) =>
            (of.$case === "userId" || touches(one, of.value)) &&
            (filters.kinds.length === 0 || filters.kinds.includes(one.kind)) &&
            (filters.states.length === 0 || filters.states.includes(one.state)) &&
            (createTimeFrom === undefined || micros(one.createTime) >= micros(createTimeFrom)) &&
            (createTimeBefore === undefined || micros(one.createTime) < micros(createTimeBefore)),
        );
        const listed = await listAll(listRequest(of, { ...filters, pageSize, createTimeFrom, createTimeBefore }));
        expect(listed.map((one) => one.journalIndex)).to.deep.equal(
          passing.map((one) => one.journalIndex).toReversed(),
        );
        shown += listed.length;
      }),
      { numRuns: 40 },
    );
    expect(shown, "transactions that passed").to.be.greaterThan(50);
  });

  it("page by page stays as it was begun while new transactions arrive", async () => {
    const of = byUser(userId);
    const before = (await listAll(listRequest(of))).map((one) => one.id);
    const seen: Uuid[] = [];
    let added = 0;
    let pageToken = "";
    do {
      const page = await clients.transactions.listTransactions(listRequest(of, { pageSize: 7, pageToken }));
      seen.push(...page.transactions.map((one) => one.id));
      pageToken = page.nextPageToken;
      await clients.transactions.deposit(depositRequest(wallets[0]!, 1n));
      await refusal(clients.transactions.withdraw(withdrawRequest(wallets[1]!, 1_000_000n)));
      added += 2;
    } while (pageToken !== "");
    expect(added).to.be.greaterThan(6);
    expect(seen).to.deep.equal(before);
    history = await allOf(wallets);
    expect((await listAll(listRequest(of))).length).to.equal(before.length + added);
  });

  it("goes on only with the wallet and the filters that the page was of", async () => {
    const request = listRequest(byWallet(wallets[0]!), {
      pageSize: 2,
      kinds: [TransactionKind.TRANSFER, TransactionKind.DEPOSIT],
    });
    const { nextPageToken } = await clients.transactions.listTransactions(request);
    expect(nextPageToken).not.to.equal("");
    const next = { ...request, pageToken: nextPageToken };
    const others: ListTransactionsRequest[] = [
      { ...next, of: byWallet(wallets[1]!) },
      { ...next, of: byUser(userId) },
      { ...next, kinds: [TransactionKind.TRANSFER] },
      { ...next, states: [TransactionState.POSTED] },
      { ...next, createTimeFrom: { seconds: 0n, nanos: 0 } },
      { ...next, createTimeBefore: { seconds: 4_000_000_000n, nanos: 0 } },
      { ...next, pageToken: `${nextPageToken.slice(0, -2)}AA` },
    ];
    for (const other of others) {
      const error = await refusal(clients.transactions.listTransactions(other));
      expect([error.code, error.reason]).to.deep.equal(["INVALID_ARGUMENT", "PAGE_TOKEN_INVALID"]);
    }
    const ofUsers = await refusal(clients.users.listUsers({ pageSize: 1, pageToken: nextPageToken }));
    expect(ofUsers.reason).to.equal("PAGE_TOKEN_INVALID");
    const larger = await clients.transactions.listTransactions({ ...next, pageSize: 5 });
    expect(larger.transactions).to.have.lengthOf(5);
  });

  it("of a wallet or user that does not exist says so; of one without transactions is an empty page", async () => {
    const wallet = await refusal(clients.transactions.listTransactions(listRequest(byWallet(newId()))));
    expect([wallet.code, wallet.reason]).to.deep.equal(["NOT_FOUND", "WALLET_NOT_FOUND"]);
    const user = await refusal(clients.transactions.listTransactions(listRequest(byUser(newId()))));
    expect([user.code, user.reason]).to.deep.equal(["NOT_FOUND", "USER_NOT_FOUND"]);
    const empty = { transactions: [], nextPageToken: "" };
    expect(
      await clients.transactions.listTransactions(listRequest(byUser((await makeUser(clients)).id))),
    ).to.deep.equal(empty);
    expect(
      await clients.transactions.listTransactions(listRequest(byWallet((await makeWallet(clients)).id))),
    ).to.deep.equal(empty);
  });
});

function touches(transaction: Transaction, wallet: Uuid): boolean {
  return transaction.debitAccountId === wallet || transaction.creditAccountId === wallet;
}

function micros(time: Timestamp | undefined): bigint {
  return microsDown(time!);
}

describe("listing from long histories", () => {
  /** Rows: this many transactions, with two entries each unless they are rejected. */
  const TRANSACTIONS = 30_000;
  const WALLETS = 20;
  let ledger: TestLedger;
  let wallets: Uuid[];

  before(async () => {
    ledger = await openTestLedger();
    wallets = Array.from({ length: WALLETS }, newId);
    for (const id of wallets) await insertWallet(ledger.admin, { id });
    // Every tenth transaction is a rejected transfer; the others are deposits from cash, to the wallets in turn.
    await ledger.admin.query(
      `WITH made AS (
         SELECT n, gen_random_uuid() AS id, ($2::uuid[])[1 + n % $3] AS wallet, n % 10 = 9 AS is_rejected,
           timestamptz '2026-01-01' + n * interval '1 second' AS time,
           n - n / 10 + 1 AS cash_sequence
         FROM generate_series(0, $1::bigint - 1) AS n
       ), numbered AS (
         SELECT *, count(*) FILTER (WHERE NOT is_rejected) OVER (PARTITION BY wallet ORDER BY n) AS wallet_sequence FROM made
       ), new_transactions AS (
         INSERT INTO transactions (id, journal_index, kind, state, caller, request_id, debit_account_id, credit_account_id,
           debit_sequence, credit_sequence, currency_code, amount, description, create_time, failure)
         SELECT id, n, CASE WHEN is_rejected THEN 4 ELSE 2 END, CASE WHEN is_rejected THEN 2 ELSE 1 END, $4::uuid, gen_random_uuid(),
           $5::uuid, wallet, CASE WHEN NOT is_rejected THEN cash_sequence END, CASE WHEN NOT is_rejected THEN wallet_sequence END,
           'USD', 1, '', time, CASE WHEN is_rejected THEN '{"reason":"WALLET_FROZEN","walletId":""}' END
         FROM numbered
       ), new_requests AS (
         INSERT INTO requests (caller, request_id, method, transaction_id) SELECT $4::uuid, id, 1, id FROM numbered
       ), new_records AS (
         INSERT INTO journal_batches (first_index, record_ids, record_types, create_time)
         SELECT n, ARRAY[id], ARRAY[CASE WHEN is_rejected THEN 2 ELSE 1 END]::smallint[], time FROM numbered
       ), new_head AS (
         UPDATE journal_head SET size = $1::bigint
       )
       INSERT INTO entries (account_id, sequence, transaction_id, journal_index, amount, balance_after, create_time)
       SELECT $5::uuid, cash_sequence, id, n, 1, cash_sequence, time FROM numbered WHERE NOT is_rejected
       UNION ALL
       SELECT wallet, wallet_sequence, id, n, -1, wallet_sequence, time FROM numbered WHERE NOT is_rejected`,
      [TRANSACTIONS, wallets, WALLETS, LOCAL_CALLER, systemAccountId("USD", "cash")],
    );
    await ledger.admin.query("VACUUM ANALYZE transactions, entries, requests");
  });
  after(() => ledger.close());

  const TABLES = ["entries", "transactions", "accounts", "requests"];

  /** How often each table was scanned and how many of its rows were fetched by index so far, also inside functions. */
  async function rowsRead(
    client: Queryable,
  ): Promise<Map<string, { readonly scans: bigint; readonly fetched: bigint }>> {
    const { rows } = await client.query<{ name: string; scans: bigint; fetched: bigint }>(
      `SELECT relname AS name, seq_scan AS scans, coalesce(idx_tup_fetch, 0) AS fetched FROM pg_stat_xact_user_tables
       WHERE relname = ANY ($1)`,
      [TABLES],
    );
    return new Map(rows.map((row) => [row.name, row]));
  }

  const all: TransactionFilter = {
    accountIds: [],
    kinds: [],
    states: [],
    from: null,
    before: null,
    minAmount: null,
    maxAmount: null,
    currencyCode: "",
    descriptionPrefix: "",
    externalReference: "",
    metadata: [],
  };
  const day = 86_400_000_000n;
  const start = 1_767_225_600_000_000n;
  const cases: readonly {
    readonly title: string;
    readonly filter: (ids: readonly Uuid[]) => TransactionFilter;
    readonly below?: bigint;
  }[] = [
    { title: "one wallet's newest", filter: ([id]) => ({ ...all, accountIds: [id!] }) },
    {
      title: "one wallet's from the middle",
      filter: ([id]) => ({ ...all, accountIds: [id!] }),
      below: BigInt(TRANSACTIONS / 2),
    },
    { title: "all wallets of a user", filter: (ids) => ({ ...all, accountIds: ids }) },
    { title: "the longest account of all", filter: () => ({ ...all, accountIds: [systemAccountId("USD", "cash")] }) },
    { title: "rejected ones", filter: (ids) => ({ ...all, accountIds: ids, states: [2] }) },
    {
      title: "rejected ones of a time long ago",
      filter: () => ({
        ...all,
        accountIds: [systemAccountId("USD", "cash")],
        states: [2],
        before: start + 7_200_000_000n,
      }),
    },
    {
      title: "posted ones of a time",
      filter: ([id]) => ({ ...all, accountIds: [id!], states: [1], from: start + day / 8n, before: start + day / 4n }),
    },
    { title: "a kind that is rare", filter: ([id]) => ({ ...all, accountIds: [id!], kinds: ["WITHDRAWAL"] }) },
  ];
  for (const { title, filter, below } of cases) {
    it(`reads ${title} without a sequential scan of entries or transactions, and few rows`, async () => {
      const pageSize = 50;
      const client = await ledger.database.pool.connect();
      try {
        await client.query("BEGIN");
        const before = await rowsRead(client);
        const page = await listTransactions(client, filter(wallets), below, pageSize);
        if (!title.startsWith("a kind")) expect(page.transactions).to.have.lengthOf(pageSize);
        const after = await rowsRead(client);
        const read = (table: string, what: "scans" | "fetched") => after.get(table)![what] - before.get(table)![what];
        for (const table of TABLES) expect(read(table, "scans"), `sequential scans of ${table}`).to.equal(0n);
        const accounts = BigInt(filter(wallets).accountIds!.length);
        // A page of each account, twice, and the binary search; a rare kind may look at 20 pages.
        const bound = (title.startsWith("a kind") ? 21n : 2n) * 51n * (accounts + 2n) + 64n * accounts;
        for (const table of ["entries", "transactions"]) {
          const fetched = read(table, "fetched");
          expect(fetched <= bound, `${fetched} rows of ${table}, at most ${bound}`).to.equal(true);
        }
        await client.query("ROLLBACK");
      } finally {
        client.release();
      }
    });
  }

  it("has plans without a sequential scan of entries, transactions or requests, as EXPLAIN shows them", async () => {
    const client = await ledger.database.pool.connect();
    try {
      await listTransactions(client, { ...all, accountIds: wallets }, undefined, 50);
      // The statements themselves, as this session has prepared them.
      const { rows: prepared } = await client.query<{ name: string; types: string[] }>(
        "SELECT name, parameter_types::text[] AS types FROM pg_prepared_statements WHERE name LIKE 'transactions-%'",
      );
      expect(prepared.map((one) => one.name)).to.include("transactions-list");
      const values: Readonly<Record<string, string>> = {
        "uuid[]": `'{${wallets.join(",")}}'`,
        "smallint[]": "'{1,2}'",
        bigint: "1000",
        integer: "51",
        "timestamp with time zone": "'2026-01-01 02:00:00Z'",
      };
      for (const { name, types } of prepared) {
        const { rows } = await client.query<{ "QUERY PLAN": string }>(
          `EXPLAIN EXECUTE "${name}" (${types.map((type) => values[type] ?? `'${type}'`).join(", ")})`,
        );
        const plan = rows.map((row) => row["QUERY PLAN"]).join("\n");
        expect(plan, plan).to.match(/Index/);
        expect(plan, plan).not.to.match(/Seq Scan on (entries|transactions|requests)/);
      }
    } finally {
      client.release();
    }
  });
});
