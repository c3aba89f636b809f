import { expect } from "chai";
import * as fc from "fast-check";
import type pg from "pg";
import { EntrySide, TransactionKind, type Transaction } from "../../generated/grey/transaction/v1/transaction.js";
import { ListTransactionsRequest, type MetadataFilter } from "../../generated/grey/transaction/v1/query.js";
import { PostTransactionRequest } from "../../generated/grey/transaction/v1/compound.js";
import { SetTransactionMetadataRequest } from "../../generated/grey/transaction/v1/metadata.js";
import { newId, systemAccountId, type Uuid } from "../../src/base/ids.js";
import type { Queryable } from "../../src/db/database.js";
import { RECORD_TYPE } from "../../src/entities/journal.js";
import type { TransactionFilter } from "../../src/ledger/transaction/filter.js";
import { listTransactions } from "../../src/ledger/transaction/list.js";
import { LOCAL_CALLER } from "../../src/rpc/context.js";
import { connect, refusal, type Clients } from "../support/client.js";
import {
  depositRequest,
  insertWallet,
  makeUser,
  makeWallet,
  money,
  openAdmin,
  openTestLedger,
  transferRequest,
  withdrawRequest,
  type TestLedger,
} from "../support/ledger.js";
import { startServer, type TestServer } from "../support/server.js";

const listRequest = (over: Partial<ListTransactionsRequest>): ListTransactionsRequest => ({
  ...ListTransactionsRequest.fromPartial({}),
  ...over,
});
const equals = (key: string, value: string): MetadataFilter => ({ key, condition: { $case: "equals", value } });
const anyOf = (key: string, ...values: string[]): MetadataFilter => ({
  key,
  condition: { $case: "anyOf", value: { values } },
});
const exists = (key: string): MetadataFilter => ({ key, condition: undefined });
const range = (key: string, from: string, before: string): MetadataFilter => ({
  key,
  condition: { $case: "range", value: { from, before } },
});
const setRequest = (transactionId: Uuid, set: Record<string, string>, remove: string[] = []) =>
  SetTransactionMetadataRequest.fromPartial({ requestId: newId(), transactionId, set, remove });

/** A key and a value of maximum length, in distinct characters of four bytes. */
const LONGEST_KEY = Array.from({ length: 64 }, (_, index) => "abcdefghijklmnopqrstuvwxyz0123456789"[index % 36]).join(
  "",
);
const longest = (first: number) => Array.from({ length: 512 }, (_, n) => String.fromCodePoint(first + n)).join("");

describe("finding transactions", () => {
  let server: TestServer;
  let clients: Clients;
  let admin: pg.Client;
  let wallets: Uuid[];
  /** All transactions of the ledger, oldest first, as GetTransaction returns them. */
  let history: Transaction[];

  before(async () => {
    server = await startServer();
    clients = connect(server.address);
    admin = await openAdmin(server.databaseUrl);
    const { transactions } = clients;
    wallets = [];
    for (const currencyCode of ["USD", "USD", "EUR", "USD"])
      wallets.push((await makeWallet(clients, { currencyCode, minorUnits: 10_000n })).id);
    const [first, second, euros, third] = wallets as [Uuid, Uuid, Uuid, Uuid];
    const created: Uuid[] = [];
    for (let n = 0; n < 40; n += 1) {
      const about = {
        description: ["rent", "rent for May", "100% fun_", ""][n % 4]!,
        externalReference: n % 5 === 0 ? `invoice-${n % 3}` : "",
        metadata: {
          ...(n % 2 === 0 && { env: n % 6 === 0 ? "test" : "prod" }),
          ...(n % 3 === 0 && { order: `${n}`.padStart(4, "0") }),
          ...(n % 7 === 0 && { name: "Zoë" }),
        },
      };
      const { transaction } =
        n % 4 === 3
          ? await transactions.deposit(depositRequest(euros, BigInt(n), { ...about, amount: money(BigInt(n), "EUR") }))
          : await transactions.transfer(
              transferRequest(n % 2 === 0 ? first : second, n % 2 === 0 ? second : first, BigInt(n + 1), about),
            );
      created.push(transaction!.id);
      if (n % 6 === 1) await refusal(transactions.withdraw(withdrawRequest(first, 1_000_000n, about)));
      // Journal records of no transaction.
      if (n % 10 === 0) await makeUser(clients);
    }
    // A transaction with several entries on one wallet, and one on another wallet.
    const leg = (walletId: Uuid, side: EntrySide, minorUnits: bigint) => ({
      account: { $case: "walletId" as const, value: walletId },
      side,
      amount: money(minorUnits),
    });
    await transactions.postTransaction(
      PostTransactionRequest.fromPartial({
        requestId: newId(),
        legs: [
          leg(first, EntrySide.DEBIT, 6n),
          leg(second, EntrySide.CREDIT, 2n),
          leg(second, EntrySide.CREDIT, 3n),
          leg(third, EntrySide.CREDIT, 1n),
        ],
        metadata: { env: "prod" },
      }),
    );
    await transactions.setTransactionMetadata(setRequest(created[2]!, { env: "changed", order: "0002" }));
    await transactions.setTransactionMetadata(setRequest(created[4]!, { late: "yes" }, ["env"]));
    await transactions.setTransactionMetadata(setRequest(created[6]!, { env: "prod" }, ["order"]));
    await transactions.setTransactionMetadata(setRequest(created[6]!, { order: "0006" }, ["env"]));
    history = await readAll();
  });
  after(async () => {
    await admin.end();
    clients.close();
    await server.stop();
  });

  /** Reads every transaction by id, without a list. */
  async function readAll(): Promise<Transaction[]> {
    const { rows } = await admin.query<{ id: Uuid }>("SELECT id FROM transactions ORDER BY journal_index");
    const found: Transaction[] = [];
    for (const { id } of rows)
      found.push((await clients.transactions.getTransaction({ by: { $case: "id", value: id } })).transaction!);
    return found;
  }

  async function listAll(request: ListTransactionsRequest): Promise<Transaction[]> {
    const listed: Transaction[] = [];
    let pageToken = "";
    do {
      const page = await clients.transactions.listTransactions({ ...request, pageToken });
      listed.push(...page.transactions);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    return listed;
  }

  function metadataPasses({ key, condition }: MetadataFilter, { metadata }: Transaction): boolean {
    const value = metadata[key];
    if (value === undefined) return false;
    switch (condition?.$case) {
      case undefined:
        return true;
      case "equals":
        return value === condition.value;
      case "anyOf":
        return condition.value.values.includes(value);
      case "range": {
        // Without characters beyond the basic plane, JavaScript compares strings like UTF-8 bytes.
        const { from, before } = condition.value;
        return value >= from && (before === "" || value < before);
      }
    }
  }

  it("without a wallet or a user returns all transactions of the ledger, newest first", async () => {
    expect(await listAll(listRequest({}))).to.deep.equal(history.toReversed());
    expect(await listAll(listRequest({ pageSize: 3 }))).to.deep.equal(history.toReversed());
  });

  it("with any filters and page size returns exactly the transactions that match all filters, in the same order", async () => {
    const criteria = fc.record({
      of: fc.option(fc.constantFrom(0, 1, 2, 3), { freq: 2 }),
      kinds: fc.subarray([TransactionKind.DEPOSIT, TransactionKind.WITHDRAWAL, TransactionKind.TRANSFER], {
        maxLength: 2,
      }),
      minAmount: fc.option(fc.bigInt(0n, 30n), { nil: undefined, freq: 2 }),
      maxAmount: fc.option(fc.bigInt(30n, 50n), { nil: undefined, freq: 2 }),
      currencyCode: fc.constantFrom("", "", "USD", "EUR", "CHF"),
      descriptionPrefix: fc.constantFrom("", "", "", "rent", "rent for M", "100% fun_", "100_"),
      externalReference: fc.constantFrom("", "", "", "invoice-0", "invoice-1", "invoice"),
      metadataFilters: fc.subarray(
        [
          equals("env", "prod"),
          equals("env", "changed"),
          anyOf("env", "test", "changed", "test"),
          exists("order"),
          exists("late"),
          range("order", "0002", "0020"),
          range("order", "", "0009"),
          range("name", "Zoé", ""),
          equals("name", "Zoë"),
          exists("nothing"),
        ],
        { maxLength: 2 },
      ),
      from: fc.option(fc.nat(history.length - 1), { freq: 1 }),
      pageSize: fc.integer({ min: 1, max: 9 }),
    });
    let shown = 0;
    await fc.assert(
      fc.asyncProperty(criteria, async ({ of, from, ...filter }) => {
        const wallet = of === null ? undefined : wallets[of]!;
        const createTimeFrom = from === null ? undefined : history[from]!.createTime;
        const expected = history.filter(
          (one, index) =>
            (wallet === undefined ||
              [one.debitAccountId, one.creditAccountId, ...one.entries.map(({ accountId }) => accountId)].includes(
                wallet,
              )) &&
            (filter.kinds.length === 0 || filter.kinds.includes(one.kind)) &&
            (filter.minAmount === undefined || one.amount!.minorUnits >= filter.minAmount) &&
            (filter.maxAmount === undefined || one.amount!.minorUnits <= filter.maxAmount) &&
            (filter.currencyCode === "" || one.amount!.currencyCode === filter.currencyCode) &&
            (filter.externalReference === "" || one.externalReference === filter.externalReference) &&
            one.description.startsWith(filter.descriptionPrefix) &&
            filter.metadataFilters.every((condition) => metadataPasses(condition, one)) &&
            (from === null || index >= from),
        );
        const request = listRequest({
          ...filter,
          createTimeFrom,
          ...(wallet !== undefined && { of: { $case: "walletId", value: wallet } }),
        });
        const listed = await listAll(request);
        expect(listed.map((one) => one.journalIndex)).to.deep.equal(
          expected.map((one) => one.journalIndex).toReversed(),
        );
        shown += listed.length;
      }),
      { numRuns: 150 },
    );
    expect(shown, "transactions that passed").to.be.greaterThan(100);
  });

  it("page by page is not affected by new transactions", async () => {
    const request = listRequest({ pageSize: 4, metadataFilters: [exists("env")] });
    const before = (await listAll(request)).map((one) => one.id);
    const seen: Uuid[] = [];
    let pageToken = "";
    do {
      const page = await clients.transactions.listTransactions({ ...request, pageToken });
      seen.push(...page.transactions.map((one) => one.id));
      pageToken = page.nextPageToken;
      await clients.transactions.deposit(depositRequest(wallets[0]!, 1n, { metadata: { env: "new" } }));
    } while (pageToken !== "");
    expect(before.length).to.be.greaterThan(12);
    expect(seen).to.deep.equal(before);
  });

  it("continues only with the filters of the first page", async () => {
    const request = listRequest({ pageSize: 1, minAmount: 1n, maxAmount: 100n, metadataFilters: [exists("env")] });
    const { nextPageToken: pageToken } = await clients.transactions.listTransactions(request);
    expect(pageToken).not.to.equal("");
    for (const other of [
      { minAmount: undefined },
      { maxAmount: 101n },
      { currencyCode: "USD" },
      { descriptionPrefix: "r" },
      { externalReference: "r" },
      { metadataFilters: [] },
      { metadataFilters: [equals("env", "prod")] },
    ]) {
      const error = await refusal(clients.transactions.listTransactions({ ...request, ...other, pageToken }));
      expect(error.reason, Object.keys(other).join()).to.equal("PAGE_TOKEN_INVALID");
    }
  });

  it("finds a metadata key and value of maximum length", async () => {
    const [one, another] = [longest(0x10_000), longest(0x20_000)];
    const deposit = (value: string) =>
      clients.transactions.deposit(depositRequest(wallets[0]!, 1n, { metadata: { [LONGEST_KEY]: value } }));
    const [{ transaction }] = [await deposit(one), await deposit(another)];
    const found = await listAll(listRequest({ metadataFilters: [equals(LONGEST_KEY, one)] }));
    expect(found.map(({ id }) => id)).to.deep.equal([transaction!.id]);
  });

  describe("after changes of metadata", () => {
    let request: ReturnType<typeof depositRequest>;
    let id: Uuid;

    const read = async () =>
      (await clients.transactions.getTransaction({ by: { $case: "id", value: id } })).transaction!;
    const idsOf = async (filter: MetadataFilter) =>
      (await listAll(listRequest({ metadataFilters: [filter] }))).map((one) => one.id);

    beforeEach(async () => {
      request = depositRequest(wallets[0]!, 1n, { metadata: { stage: newId(), extra: "as it was" } });
      id = (await clients.transactions.deposit(request)).transaction!.id;
    });

    it("finds and returns the current metadata, not the original", async () => {
      const value = newId();
      const { transaction } = await clients.transactions.setTransactionMetadata(
        setRequest(id, { stage: value }, ["extra"]),
      );
      expect(transaction!.metadata).to.deep.equal({ stage: value });
      expect(await read()).to.deep.equal(transaction);
      expect(await idsOf(equals("stage", value))).to.deep.equal([id]);
      expect(await idsOf(equals("stage", request.metadata.stage!))).to.deep.equal([]);
      expect(await idsOf(equals("extra", "as it was"))).not.to.include(id);
      const { transaction: byRequest } = await clients.transactions.getTransaction({
        by: { $case: "requestId", value: request.requestId },
      });
      expect(byRequest).to.deep.equal(transaction);
      const [listed] = await listAll(listRequest({ metadataFilters: [equals("stage", value)] }));
      expect(listed).to.deep.equal(transaction);
    });

    it("leaves the response to the original request, and its comparison with repeats, unchanged", async () => {
      const before = await clients.transactions.deposit(request);
      await clients.transactions.setTransactionMetadata(setRequest(id, { stage: "new" }, ["extra"]));
      expect(await clients.transactions.deposit(request)).to.deep.equal(before);
      const reused = await refusal(clients.transactions.deposit({ ...request, metadata: { stage: "new" } }));
      expect([reused.reason, reused.info.differs]).to.deep.equal(["REQUEST_ID_REUSED", "metadata"]);
    });

    it("accepts changes of a rejected transaction, and removal of absent keys", async () => {
      const error = await refusal(clients.transactions.withdraw(withdrawRequest(wallets[0]!, 1_000_000_000n)));
      id = error.info.transaction_id!;
      const value = newId();
      await clients.transactions.setTransactionMetadata(setRequest(id, { why: value }, ["nothing"]));
      expect(await idsOf(equals("why", value))).to.deep.equal([id]);
      await clients.transactions.setTransactionMetadata(setRequest(id, {}, ["why"]));
      expect((await read()).metadata).to.deep.equal({});
      expect(await idsOf(equals("why", value))).to.deep.equal([]);
    });

    it("keeps every change with its caller, and a journal record for each; the transaction's row stays unchanged", async () => {
      const row = "SELECT * FROM transactions WHERE id = $1";
      const { rows: before } = await admin.query(row, [id]);
      await clients.transactions.setTransactionMetadata(setRequest(id, { a: "1" }, ["extra"]));
      await clients.transactions.setTransactionMetadata(setRequest(id, { a: "2" }));
      const { rows } = await admin.query<Record<string, unknown>>(
        "SELECT revision, caller, set_pairs, removed_keys, metadata FROM metadata_changes WHERE transaction_id = $1 ORDER BY revision",
        [id],
      );
      const stage = request.metadata.stage!;
      expect(rows).to.deep.equal([
        {
          revision: 1,
          caller: LOCAL_CALLER,
          set_pairs: { a: "1" },
          removed_keys: ["extra"],
          metadata: { stage, a: "1" },
        },
        { revision: 2, caller: LOCAL_CALLER, set_pairs: { a: "2" }, removed_keys: [], metadata: { stage, a: "2" } },
      ]);
      const { rows: records } = await admin.query<{ types: number[] }>(
        "SELECT record_types AS types FROM journal_batches WHERE $1 = ANY (record_ids) ORDER BY first_index",
        [id],
      );
      expect(records.map(({ types }) => types)).to.deep.equal([
        [RECORD_TYPE.TRANSACTION_POSTED],
        [RECORD_TYPE.TRANSACTION_METADATA_SET],
        [RECORD_TYPE.TRANSACTION_METADATA_SET],
      ]);
      expect((await admin.query(row, [id])).rows).to.deep.equal(before);
      const page = (pageToken: string) =>
        clients.transactions.listMetadataChanges({ transactionId: id, pageSize: 1, pageToken });
      const newest = await page("");
      const oldest = await page(newest.nextPageToken);
      const { createTime, ...change } = newest.changes[0]!;
      expect(createTime).not.to.equal(undefined);
      expect(change).to.deep.equal({
        revision: 2,
        caller: LOCAL_CALLER,
        set: { a: "2" },
        removed: [],
        metadata: { stage, a: "2" },
      });
      expect(oldest.changes.map(({ revision, removed }) => [revision, removed])).to.deep.equal([[1, ["extra"]]]);
      expect(oldest.nextPageToken).to.equal("");
      const other = { transactionId: newId(), pageSize: 1, pageToken: "" };
      expect((await refusal(clients.transactions.listMetadataChanges(other))).reason).to.equal("TRANSACTION_NOT_FOUND");
    });

    it("combines all concurrent changes", async () => {
      const keys = Array.from({ length: 20 }, (_, index) => `k${index}`);
      await Promise.all(
        keys.map((key) => clients.transactions.setTransactionMetadata(setRequest(id, { [key]: key }, ["extra"]))),
      );
      expect((await read()).metadata).to.deep.equal({
        stage: request.metadata.stage,
        ...Object.fromEntries(keys.map((key) => [key, key])),
      });
      for (const key of keys) expect(await idsOf(equals(key, key))).to.include(id);
    });

    it("refuses more than 32 pairs, also on a retry, and changes nothing", async () => {
      const pairs = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, n) => [`p${n}`, "v"]));
      const tooMany = setRequest(id, pairs(31));
      const change = () => clients.transactions.setTransactionMetadata(tooMany);
      const error = await refusal(change());
      expect([error.code, error.reason]).to.deep.equal(["FAILED_PRECONDITION", "METADATA_EXCEEDED"]);
      expect(error.info).to.deep.equal({ transaction_id: id, pairs: "33" });
      expect((await read()).metadata).to.deep.equal(request.metadata);
      expect(await idsOf(exists("p30"))).to.deep.equal([]);
      await clients.transactions.setTransactionMetadata(setRequest(id, pairs(30)));
      await clients.transactions.setTransactionMetadata(setRequest(id, { q: "v" }, ["extra"]));
      expect(Object.keys((await read()).metadata)).to.have.lengthOf(32);
      expect((await refusal(change())).info).to.deep.equal({ ...error.info, replayed: "true" });
    });

    it("refuses an unknown transaction with TRANSACTION_NOT_FOUND, and contradictory and empty changes", async () => {
      const missing = await refusal(clients.transactions.setTransactionMetadata(setRequest(newId(), { a: "1" })));
      expect(missing.reason).to.equal("TRANSACTION_NOT_FOUND");
      for (const [field, wrong] of [
        ["set", setRequest(id, {})],
        ["remove", setRequest(id, { a: "1" }, ["a"])],
        ["remove", setRequest(id, {}, ["a", "a"])],
        ["remove[0]", setRequest(id, {}, ["not a key"])],
        ['set["not a key"]', setRequest(id, { "not a key": "1" })],
      ] as const) {
        const error = await refusal(clients.transactions.setTransactionMetadata(wrong));
        expect([error.reason, ...error.violations.keys()]).to.deep.equal(["INVALID_REQUEST", field]);
      }
    });
  });

  it("leaves the ledger's integrity intact", async () => {
    const { faults } = await clients.ledger.checkIntegrity({ maxFaults: 0 });
    expect(faults).to.deep.equal([]);
  });
});

describe("finding transactions among many", () => {
  const TRANSACTIONS = 300_000;
  const WALLETS = 20;
  const PAGE_SIZE = 50;
  let ledger: TestLedger;
  let wallets: Uuid[];

  before(async () => {
    ledger = await openTestLedger();
    const { admin } = ledger;
    wallets = Array.from({ length: WALLETS }, newId);
    for (const id of wallets) await insertWallet(admin, { id });
    // Deposits to each wallet in turn, with frequent and rare pairs and references; journal batches of one and of a thousand records, some
    // without a transaction.
    await admin.query(
      `CREATE TEMPORARY TABLE made AS
       SELECT n, gen_random_uuid() AS id, ($2::uuid[])[n % $3 + 1] AS wallet, timestamptz '2026-01-01' + n * interval '1 second' AS time
       FROM generate_series(0, $1::bigint - 1) AS n`,
      [TRANSACTIONS, wallets, WALLETS],
    );
    await admin.query(
      `INSERT INTO transactions (id, journal_index, kind, state, caller, request_id, debit_account_id, credit_account_id,
         debit_sequence, credit_sequence, currency_code, amount, description, metadata, create_time, external_reference)
       SELECT id, n, 2, 1, '${LOCAL_CALLER}', id, '${systemAccountId("USD", "cash")}', wallet, n + 1, n / ${WALLETS} + 1,
         'USD', n % 1000 + 1, CASE WHEN n % 50000 = 7 THEN 'rare' ELSE 'frequent' END,
         CASE WHEN n % 10 = 0 THEN jsonb_build_object('env', 'prod', 'order', n::text)
           WHEN n % 60000 = 9 THEN jsonb_build_object('rare', 'yes') END,
         time, CASE WHEN n % 20 = 3 THEN 'frequent' WHEN n % 60000 = 11 THEN 'rare' END
       FROM made`,
    );
    await admin.query(
      `INSERT INTO entries (account_id, sequence, transaction_id, journal_index, amount, balance_after, create_time)
       SELECT '${systemAccountId("USD", "cash")}'::uuid, n + 1, id, n, 1, n + 1, time FROM made
       UNION ALL SELECT wallet, n / ${WALLETS} + 1, id, n, -1, n / ${WALLETS} + 1, time FROM made`,
    );
    await admin.query(
      `INSERT INTO journal_batches (first_index, record_ids, record_types, create_time)
       SELECT min(n), array_agg(id ORDER BY n), array_agg(CASE WHEN n BETWEEN 250000 AND 260000 THEN 4 ELSE 1 END::smallint ORDER BY n), max(time)
       FROM made GROUP BY CASE WHEN n % 10000 < 5000 THEN n ELSE n / 1000 * 1000 END;
       UPDATE journal_head SET size = ${TRANSACTIONS}`,
    );
    await admin.query("VACUUM ANALYZE transactions, entries, transaction_metadata, journal_batches");
  });
  after(() => ledger.close());

  const TABLES = ["entries", "transactions", "transaction_metadata", "metadata_changes", "journal_batches", "accounts"];

  /** Reads the number of scans of each table and of rows read so far, also inside functions. */
  async function rowsRead(client: Queryable): Promise<Map<string, { readonly scans: bigint; readonly read: bigint }>> {
    const { rows } = await client.query<{ name: string; scans: bigint; read: bigint }>(
      `SELECT relname AS name, seq_scan AS scans, coalesce(idx_tup_fetch, 0) + seq_tup_read AS read
       FROM pg_stat_xact_user_tables WHERE relname = ANY ($1)`,
      [TABLES],
    );
    return new Map(rows.map((row) => [row.name, row]));
  }

  const all: TransactionFilter = {
    accountIds: null,
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
  const pair = (key: string, ...values: string[]) => ({
    key,
    values: values.length === 0 ? null : values,
    range: null,
  });
  const middle = BigInt(TRANSACTIONS / 2);
  const cases: readonly {
    readonly title: string;
    readonly filter: () => Partial<TransactionFilter>;
    readonly below?: bigint;
    /** The number of transactions on the first page. */
    readonly found: number;
    /** The maximum number of rows read from a table: two pages, unless most rows do not match. */
    readonly most?: number;
  }[] = [
    { title: "everything", filter: () => ({}), found: PAGE_SIZE },
    { title: "everything, from the middle", filter: () => ({}), below: middle, found: PAGE_SIZE },
    {
      title: "everything of a period",
      filter: () => ({ before: 1_767_225_600_000_000n + 9_000_000_000n }),
      found: PAGE_SIZE,
    },
    { title: "a frequent reference", filter: () => ({ externalReference: "frequent" }), found: PAGE_SIZE },
    {
      title: "a frequent reference, from the middle",
      filter: () => ({ externalReference: "frequent" }),
      below: middle,
      found: PAGE_SIZE,
    },
    { title: "a rare reference", filter: () => ({ externalReference: "rare" }), found: 5 },
    { title: "an unknown reference", filter: () => ({ externalReference: "none" }), found: 0 },
    { title: "a frequent pair", filter: () => ({ metadata: [pair("env", "prod")] }), found: PAGE_SIZE },
    {
      title: "a frequent pair, from the middle",
      filter: () => ({ metadata: [pair("env", "prod")] }),
      below: middle,
      found: PAGE_SIZE,
    },
    { title: "a rare pair", filter: () => ({ metadata: [pair("order", "150000")] }), found: 1 },
    { title: "a rare key", filter: () => ({ metadata: [pair("rare")] }), found: 5 },
    { title: "one of many values", filter: () => ({ metadata: [pair("order", "10", "20", "150000", "x")] }), found: 3 },
    {
      title: "a frequent and a rare pair",
      filter: () => ({ metadata: [pair("env", "prod"), pair("order", "70")] }),
      found: 1,
      most: 300,
    },
    {
      title: "a rare pair of the longest account",
      filter: () => ({ accountIds: [systemAccountId("USD", "cash")], metadata: [pair("rare", "yes")] }),
      found: 5,
      most: 300,
    },
    { title: "a rare description", filter: () => ({ descriptionPrefix: "rare" }), found: 0, most: 3_000 },
    {
      title: "amounts of a range",
      filter: () => ({ minAmount: 1n, maxAmount: 500n, currencyCode: "USD" }),
      found: PAGE_SIZE,
      most: 1_500,
    },
    {
      title: "a range of values",
      filter: () => ({ metadata: [{ key: "order", values: null, range: { from: "1", before: "2" } }] }),
      found: 0,
      most: 3_000,
    },
  ];
  for (const { title, filter, below, found, most = 250 } of cases) {
    it(`reads ${title} without a sequential scan, and few rows, with a custom and a generic plan`, async () => {
      const client = await ledger.database.pool.connect();
      try {
        // The first five plans are custom plans; after them PostgreSQL may choose a generic one.
        for (let time = 0; time < 8; time += 1) {
          await client.query("BEGIN");
          const before = await rowsRead(client);
          const page = await listTransactions(client, { ...all, ...filter() }, below, PAGE_SIZE);
          const after = await rowsRead(client);
          await client.query("ROLLBACK");
          expect(page.transactions).to.have.lengthOf(found);
          for (const table of TABLES) {
            const [was, is] = [before.get(table), after.get(table)];
            expect(`${is!.scans - was!.scans} scans of ${table}`).to.equal(`0 scans of ${table}`);
            expect(Number(is!.read - was!.read), `rows of ${table}, the ${time}th time`).to.be.at.most(most);
          }
        }
      } finally {
        client.release();
      }
    });
  }

  it("unnests no more journal batches than it needs", async () => {
    const client = await ledger.database.pool.connect();
    try {
      await listTransactions(client, all, undefined, PAGE_SIZE);
      const { rows } = await client.query<{ "QUERY PLAN": string }>(
        `EXPLAIN (ANALYZE, TIMING off, SUMMARY off) EXECUTE "transactions-of-journal" (${TRANSACTIONS}, 0, 51)`,
      );
      const plan = rows.map((row) => row["QUERY PLAN"]).join("\n");
      const unnested = /Function Scan on (?:unnest )?r .*?actual rows=([\d.]+) loops=(\d+)/.exec(plan);
      expect(unnested, plan).not.to.equal(null);
      expect(Number(unnested![2]), plan).to.be.at.most(2);
    } finally {
      client.release();
    }
  });

  it("continues below the examined range, page by page to the end", async () => {
    const ids = new Set<Uuid>();
    let pages = 0;
    let below: bigint | undefined;
    do {
      const page = await listTransactions(ledger.database.pool, { ...all, descriptionPrefix: "rare" }, below, 1_000);
      for (const { transaction } of page.transactions) ids.add(transaction.id);
      pages += 1;
      below = page.nextBelow;
    } while (below !== undefined);
    // The sixth page is where the journal has no transactions.
    expect(ids.size).to.equal(5);
    expect(pages).to.be.within(15, 17);
  });
});
