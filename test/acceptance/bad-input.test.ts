import { randomUUID } from "node:crypto";
import { gzipSync } from "node:zlib";
import { fromBinary, toBinary, type DescMethod } from "@bufbuild/protobuf";
import { reflect, type ReflectMessage } from "@bufbuild/protobuf/reflect";
import { Metadata } from "@grpc/grpc-js";
import { expect } from "chai";
import pg from "pg";
import { Status } from "../../generated/google/rpc/status.js";
import { TransferRequest } from "../../generated/grey/transaction/v1/movement.js";
import { LEDGER_CALLER } from "../../src/base/ids.js";
import { CallError, connect, refusal, type Clients } from "../support/client.js";
import {
  brokenFieldsOf,
  documentedReasonsOf,
  isUnbounded,
  requestFieldsOf,
  samplesOf,
  type Sample,
} from "../support/corpus.js";
import {
  createWorld,
  depositOf,
  EXAMPLES,
  keyOf,
  METHODS,
  newCode,
  newEmail,
  openWallet,
  requestOf,
  transferOf,
  type Example,
  type World,
} from "../support/examples.js";
import { connectRaw, frame, postBare, type RawAnswer, type RawClient } from "../support/raw-call.js";
import { startServer, type TestServer } from "../support/server.js";

const METHOD_OF = new Map(METHODS.map((method) => [keyOf(method), method]));

/** What each item of a batch or a stream is. */
const ITEM = METHOD_OF.get("grey.transaction.v1.TransactionService/Transfer")!;

/** How each kind of method is asked for one answer. */
const WAY = {
  unary: "call",
  server_streaming: "watch",
  bidi_streaming: "stream",
  // There are none.
  client_streaming: "stream",
} as const;

const VIOLATIONS_MAX = 20;

/** Codes that say the caller is at fault, or the state of things. */
const FITTING = ["INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION", "OUT_OF_RANGE", "ABORTED"];

const AT_ONCE = 16;

describe("bad input", function () {
  let server: TestServer;
  let grey: Clients;
  let raw: RawClient;
  let database: pg.Client;
  let world: World;

  before(async () => {
    // Nothing is to change but by what is asked for.
    server = await startServer({
      GREY_HOLD_EXPIRY_EVERY_MS: "3600000",
      // The window of effective times has tests of its own.
      GREY_BACKDATE_MAX_DAYS: "3000000",
      GREY_POSTDATE_MAX_DAYS: "3000000",
      GREY_SCHEDULE_EVERY_MS: "3600000",
      GREY_ALERT_EVERY_MS: "3600000",
      GREY_READ_WAIT_MS: "1",
    });
    grey = connect(server.address);
    raw = connectRaw(server.address);
    database = new pg.Client(server.databaseUrl);
    await database.connect();
    world = await createWorld(grey);
  });
  after(async () => {
    raw.close();
    grey.close();
    await database.end();
    await server.stop();
  });

  describe("in every field of every RPC", () => {
    for (const method of METHODS) {
      const examples = EXAMPLES[keyOf(method)] ?? [];

      it(`${keyOf(method)} answers its examples`, async () => {
        expect(examples, "valid requests in EXAMPLES").not.to.deep.equal([]);
        // Another world, since an example may delete what it speaks of.
        const own = await createWorld(grey);
        for (const example of examples) {
          const bytes = toBinary(method.input, requestOf(method, example(own)));
          expect(brokenFieldsOf(method.input, bytes)).to.deep.equal([]);
          const { error } = await send(method, bytes);
          expect(error, error?.message).to.equal(undefined);
        }
      });

      it(`${keyOf(method)} bounds every field`, () => {
        const unbounded = requestFieldsOf(method.input).filter(({ field }) => isUnbounded(field));
        expect(unbounded.map(({ path }) => path)).to.deep.equal([]);
      });

      it(`${keyOf(method)} names each field that breaks a rule, and writes nothing`, async () => {
        const bad = allSamples(method, examples).flatMap((sample) => {
          const fields = brokenFieldsOf(method.input, sample.bytes);
          return fields.length === 0 ? [] : [{ ...sample, fields }];
        });
        const before = await contentsOf();
        const problems = await inParallel(bad, async ({ label, bytes, fields }) => {
          const { error } = await send(method, bytes);
          if (error === undefined) return `${label}: answered, and breaks ${fields.join()}`;
          const named = [...new Set([...error.violations.keys()].map(withoutSubscript))].sort();
          // Of very many, an error names the first.
          const isComplete = error.violations.size >= VIOLATIONS_MAX || named.join() === fields.join();
          const isRight =
            error.code === "INVALID_ARGUMENT" &&
            error.reason === "INVALID_REQUEST" &&
            named.length > 0 &&
            named.every((field) => fields.includes(field)) &&
            isComplete &&
            [...error.violations.values()].every((rule) => rule !== "");
          return isRight
            ? undefined
            : `${label}: ${error.code} ${error.reason} names ${named.join()}, breaks ${fields.join()}: ${error.message.slice(0, 200)}`;
        });
        expect(problems).to.deep.equal([]);
        expect(await contentsOf()).to.deep.equal(before);
      });

      it(`${keyOf(method)} answers what breaks no rule, or refuses it for a documented reason`, async () => {
        const good = allSamples(method, examples).filter(
          ({ bytes }) => brokenFieldsOf(method.input, bytes).length === 0,
        );
        expect(good).not.to.deep.equal([]);
        const documented = documentedReasonsOf(method);
        if (hasItems(method)) for (const reason of documentedReasonsOf(ITEM)) documented.add(reason);
        const judge = ({ label }: Sample, { error }: RawAnswer): string | undefined =>
          error === undefined ||
          ((FITTING.includes(error.code) || error.reason === "JOURNAL_BEHIND") &&
            error.reason !== "INVALID_REQUEST" &&
            documented.has(error.reason ?? ""))
            ? undefined
            : `${label}: ${error.code} ${error.reason} ${error.message.slice(0, 200)} [${[...documented].join(" ")}]`;
        const problems: string[] = [];
        if (!isMutating(method)) {
          const before = await contentsOf();
          problems.push(...(await inParallel(good, async (one) => judge(one, await send(method, one.bytes)))));
          expect(await contentsOf()).to.deep.equal(before);
        } else {
          let before = await countsOf();
          for (const sample of good) {
            const answer = await send(method, sample.bytes);
            const after = await countsOf();
            const problem = judge(sample, answer) ?? wrongTraceOf(method, sample, answer, before, after);
            if (problem !== undefined) problems.push(problem);
            before = after;
          }
        }
        expect(problems).to.deep.equal([]);
      });
    }
  });

  describe("money", () => {
    for (const [amountMinor, code] of [
      [0n, "INVALID_ARGUMENT"],
      [-1n, "INVALID_ARGUMENT"],
      [-(2n ** 63n), "INVALID_ARGUMENT"],
      [1n, undefined],
      [2n ** 53n - 1n, undefined],
      [2n ** 53n, undefined],
      [2n ** 53n + 1n, undefined],
      [2n ** 63n - 1n, undefined],
    ] as const) {
      it(`a transfer of ${amountMinor} minor units is ${code === undefined ? "exact" : "refused and names amount"}`, async () => {
        // Cash of the currency has room for one such amount.
        const currencyCode = newCode();
        await grey.ledger.createCurrency({ requestId: randomUUID(), code: currencyCode, exponent: 2, name: "Points" });
        const from = await openWallet(grey, { currencyCode, minorUnits: 2n ** 63n - 1n }, world.userId);
        const to = await openWallet(grey, { currencyCode, minorUnits: 0n }, world.userId);
        const before = await contentsOf();
        const transfer = grey.transactions.transfer({
          ...transferOf(from, to),
          amount: { currencyCode, minorUnits: amountMinor },
        });
        if (code === undefined) {
          await transfer;
          expect(await balanceOf(to)).to.equal(amountMinor);
          expect(await balanceOf(from)).to.equal(2n ** 63n - 1n - amountMinor);
        } else {
          const error = await refusal(transfer);
          expect(error).to.include({ code, reason: "INVALID_REQUEST" });
          expect([...error.violations]).to.deep.equal([["amount", "must be more than 0 minor units"]]);
          expect(await contentsOf()).to.deep.equal(before);
        }
      });
    }

    it("a sum beyond int64 is BALANCE_OVERFLOW, and leaves the balance as it was", async () => {
      const walletId = await openWallet(grey, { currencyCode: "XAF", minorUnits: 2n ** 63n - 1n }, world.userId);
      const error = await refusal(
        grey.transactions.deposit({ ...depositOf(walletId), amount: { currencyCode: "XAF", minorUnits: 1n } }),
      );
      expect(error).to.include({ code: "OUT_OF_RANGE", reason: "BALANCE_OVERFLOW" });
      expect(await balanceOf(walletId)).to.equal(2n ** 63n - 1n);
    });

    it("a wallet in a currency that does not exist is CURRENCY_NOT_FOUND, an amount in one is CURRENCY_MISMATCH", async () => {
      const wallet = await refusal(openWallet(grey, { currencyCode: "ZQY", minorUnits: 1n }, world.userId));
      expect(wallet).to.include({ code: "NOT_FOUND", reason: "CURRENCY_NOT_FOUND" });
      expect(wallet.info).to.include({ currency_code: "ZQY" });
      const transfer = await refusal(
        grey.transactions.transfer({
          ...transferOf(world.walletId, world.otherWalletId),
          amount: { currencyCode: "ZQY", minorUnits: 1n },
        }),
      );
      expect(transfer).to.include({ code: "FAILED_PRECONDITION", reason: "CURRENCY_MISMATCH" });
      expect(transfer.info).to.include({ wallet_currency_code: "USD", amount_currency_code: "ZQY" });
    });

    it("a transfer to the same wallet is SAME_WALLET, however its id is written", async () => {
      const { walletId } = world;
      const before = await balanceOf(walletId);
      const error = await refusal(grey.transactions.transfer(transferOf(walletId, walletId.toUpperCase())));
      expect(error).to.include({ code: "INVALID_ARGUMENT", reason: "SAME_WALLET" });
      expect(await balanceOf(walletId)).to.equal(before);
    });
  });

  describe("paging", () => {
    for (const pageSize of [-1, -(2 ** 31), 1_001, 2 ** 31 - 1]) {
      it(`a page_size of ${pageSize} is refused and named`, async () => {
        const error = await refusal(grey.users.listUsers({ pageSize, pageToken: "" }));
        expect(error).to.include({ code: "INVALID_ARGUMENT", reason: "INVALID_REQUEST" });
        expect([...error.violations.keys()]).to.deep.equal(["page_size"]);
      });
    }

    it("a token with any other byte is PAGE_TOKEN_INVALID", async () => {
      const { nextPageToken: token } = await grey.ledger.listCurrencies({ pageSize: 1, pageToken: "" });
      expect(token).not.to.equal("");
      const tampered = Array.from(token, (letter, index) => {
        const other = letter === "A" ? "B" : "A";
        return token.slice(0, index) + other + token.slice(index + 1);
      });
      for (const one of [...tampered, `${token}=`, `${token}A`, ` ${token}`, token.slice(1), token.slice(0, -1), "A"]) {
        const error = await refusal(grey.ledger.listCurrencies({ pageSize: 1, pageToken: one }));
        expect(error, one).to.include({ code: "INVALID_ARGUMENT", reason: "PAGE_TOKEN_INVALID" });
      }
    });

    it("a token of another method is PAGE_TOKEN_INVALID", async () => {
      const { nextPageToken } = await grey.users.listUsers({ pageSize: 1, pageToken: "" });
      expect(nextPageToken).not.to.equal("");
      const error = await refusal(grey.ledger.listCurrencies({ pageSize: 1, pageToken: nextPageToken }));
      expect(error).to.include({ code: "INVALID_ARGUMENT", reason: "PAGE_TOKEN_INVALID" });
    });

    it("a token serves only the filters that it was made for, and any page size", async () => {
      const { userId, walletId } = world;
      const request = {
        of: { $case: "userId", value: userId },
        pageSize: 1,
        pageToken: "",
        kinds: [1, 2, 3, 4],
        states: [1, 2],
        createTimeFrom: { seconds: 1n, nanos: 0 },
        createTimeBefore: { seconds: 9_000_000_000n, nanos: 0 },
      } as const satisfies Parameters<Clients["transactions"]["listTransactions"]>[0];
      const list = (changed: object) =>
        grey.transactions.listTransactions({
          ...request,
          kinds: [...request.kinds],
          states: [...request.states],
          ...changed,
        });
      const { nextPageToken: pageToken } = await list({});
      expect(pageToken).not.to.equal("");
      for (const changed of [
        { of: { $case: "walletId", value: walletId } },
        { of: { $case: "userId", value: world.spareUserId } },
        { kinds: [1, 2, 3] },
        { kinds: [] },
        { states: [1] },
        { createTimeFrom: undefined },
        { createTimeFrom: { seconds: 1n, nanos: 1_000 } },
        { createTimeBefore: { seconds: 9_000_000_001n, nanos: 0 } },
      ]) {
        const error = await refusal(list({ ...changed, pageToken }));
        expect(error, JSON.stringify(Object.keys(changed))).to.include({
          code: "INVALID_ARGUMENT",
          reason: "PAGE_TOKEN_INVALID",
        });
      }
      expect((await list({ pageToken, pageSize: 5 })).transactions).not.to.deep.equal([]);
    });

    it("a token of one account filter does not serve another", async () => {
      const request = { pageSize: 1, pageToken: "", currencyCode: "USD", systemOnly: true };
      const { nextPageToken: pageToken } = await grey.ledger.listAccounts(request);
      for (const changed of [{ currencyCode: "EUR" }, { currencyCode: "" }, { systemOnly: false }]) {
        const error = await refusal(grey.ledger.listAccounts({ ...request, pageToken, ...changed }));
        expect(error).to.include({ reason: "PAGE_TOKEN_INVALID" });
      }
    });
  });

  describe("text", () => {
    it("whatever is legal comes back letter by letter: no form is normalised, nothing is taken for syntax", async () => {
      const names = ["é", "e\u0301", "a\u200bb", "\u202egnp.exe", "'; DROP TABLE users; --", "%_\\%", "{}", "a\u2028b"];
      const metadata = Object.fromEntries([
        ["constructor", "a"],
        ["toString", "b"],
        ["a__proto__", "c"],
        ...names.map((name, index) => [`k${index}`, name]),
      ]) as Record<string, string>;
      for (const name of names) {
        const made = await grey.users.createUser({ requestId: randomUUID(), name, email: newEmail(), metadata });
        const { user } = await grey.users.getUser({ by: { $case: "id", value: made.user!.id } });
        expect(user).to.deep.include({ name, metadata });
      }
    });

    it("the key __proto__ is refused, and no object of the service gets a property by it", async () => {
      const metadata = Object.defineProperty({}, "__proto__", { value: "polluted", enumerable: true });
      const error = await refusal(
        grey.users.createUser({ requestId: randomUUID(), name: "Ada", email: newEmail(), metadata }),
      );
      expect(error).to.include({ code: "INVALID_ARGUMENT", reason: "INVALID_REQUEST" });
      expect([...error.violations.keys()].map(withoutSubscript)).to.deep.equal(["metadata"]);
    });

    it("headers named as Object's own properties change nothing", async () => {
      const headers: Record<string, string> = {};
      for (const name of ["__proto__", "constructor", "hasownproperty"]) {
        Object.defineProperty(headers, name, { value: "polluted", enumerable: true });
      }
      const ending = await postBare(
        server.address,
        "/grey.user.v1.UserService/ListUsers",
        frame(Buffer.alloc(0)),
        headers,
      );
      expect(ending?.["grpc-status"]).to.equal("0");
    });

    it("an error about a long text is short enough to arrive", async () => {
      const long = "A".repeat(700_000);
      const named = await refusal(
        grey.users.createUser({ requestId: long, name: long, email: long, metadata: { [long]: long } }),
      );
      expect(named).to.include({ code: "INVALID_ARGUMENT", reason: "INVALID_REQUEST" });
      expect(new Set([...named.violations.keys()].map(withoutSubscript))).to.deep.equal(
        new Set(["request_id", "name", "email", "metadata"]),
      );
      const many = await refusal(
        grey.wallets.batchGetWallets({ ids: Array.from({ length: 20_000 }, (_, index) => `no id ${index}`) }),
      );
      expect(many).to.include({ code: "INVALID_ARGUMENT", reason: "INVALID_REQUEST" });
      expect(many.message.length).to.be.lessThan(1_000);
    });
  });

  describe("structure", () => {
    for (const [what, list] of [
      ["kinds", { kinds: [99] }],
      ["kinds", { kinds: [0] }],
      ["kinds", { kinds: [-1] }],
      ["kinds", { kinds: [1, 1] }],
      ["states", { states: [3] }],
      ["create_time_from", { createTimeFrom: { seconds: -62_167_219_200n, nanos: 0 } }],
      ["create_time_from.nanos", { createTimeFrom: { seconds: 5n, nanos: -1 } }],
      ["create_time_before", { createTimeBefore: { seconds: 253_402_300_800n, nanos: 0 } }],
      ["create_time_before.nanos", { createTimeBefore: { seconds: 5n, nanos: 1_000_000_000 } }],
      ["min_amount", { minAmount: -1n }],
      ["max_amount", { minAmount: 2n, maxAmount: 1n }],
      ["currency_code", { currencyCode: "usd" }],
      ["description_prefix", { descriptionPrefix: "a\0b" }],
      ["external_reference", { externalReference: "A".repeat(129) }],
      ["metadata_filters.key", { metadataFilters: [{ key: "", condition: undefined }] }],
      [
        "metadata_filters.any_of.values",
        { metadataFilters: [{ key: "a", condition: { $case: "anyOf", value: { values: [] } } }] },
      ],
      [
        "metadata_filters.range",
        { metadataFilters: [{ key: "a", condition: { $case: "range", value: { from: "", before: "" } } }] },
      ],
    ] as const) {
      it(`${what} of ${JSON.stringify(list, (_key, value: unknown) => (typeof value === "bigint" ? `${value}` : value))} is refused and named`, async () => {
        const error = await refusal(
          grey.transactions.listTransactions({
            of: { $case: "userId", value: world.userId },
            pageSize: 0,
            pageToken: "",
            createTimeFrom: undefined,
            createTimeBefore: undefined,
            ...({ kinds: [], states: [], ...list } as { kinds: []; states: [] }),
          }),
        );
        expect(error).to.include({ code: "INVALID_ARGUMENT", reason: "INVALID_REQUEST" });
        expect([...error.violations.keys()].map(withoutSubscript)).to.deep.equal([what]);
      });
    }

    it("a field that the service does not know is passed over", async () => {
      const request = TransferRequest.encode(transferOf(world.walletId, world.otherWalletId)).finish();
      const answer = await raw.call(TRANSFER, Buffer.concat([request, Buffer.from([0xfa, 0x07, 3, 1, 2, 3])]));
      expect(answer.error).to.equal(undefined);
    });

    it("what was checked is what is posted: a field sent in two parts is not read in two ways", async () => {
      const request = transferOf(world.walletId, world.otherWalletId);
      const whole = TransferRequest.encode(request).finish();
      const before = await balanceOf(world.otherWalletId);
      // The amount once more, as an empty message: by protobuf's rules both parts are one.
      const inTwoParts = await raw.call(TRANSFER, Buffer.concat([whole, Buffer.from([0x22, 0])]));
      expect(inTwoParts.error, inTwoParts.error?.message).to.equal(undefined);
      expect(await balanceOf(world.otherWalletId)).to.equal(before + 1n);
    });

    it("what is no protobuf message is INVALID_REQUEST", async () => {
      for (const bytes of [[0xff], [0x0a, 0x7f], [0x0a, 2, 0xff, 0xfe], [0x07]]) {
        const { error } = await raw.call(TRANSFER, Uint8Array.from(bytes));
        expect(error).to.include({ code: "INVALID_ARGUMENT", reason: "INVALID_REQUEST" });
      }
    });
  });

  describe("frames", () => {
    afterEach("others are served", async () => {
      await grey.users.getUser({ by: { $case: "id", value: world.userId } });
    });

    it("a message beyond GREY_REQUEST_BYTES_MAX is RESOURCE_EXHAUSTED", async () => {
      const { error } = await raw.call(TRANSFER, Buffer.alloc(4_194_305, 0x41));
      expect(error?.code).to.equal("RESOURCE_EXHAUSTED");
    });

    it("a small message that unpacks to a huge one is RESOURCE_EXHAUSTED", async () => {
      const bomb = gzipSync(Buffer.alloc(256 * 1_048_576));
      expect(bomb.length).to.be.lessThan(1_048_576);
      const ending = await postBare(server.address, TRANSFER, frame(bomb, { isCompressed: true }), {
        "grpc-encoding": "gzip",
      });
      expect(ending?.["grpc-status"]).to.equal("8");
    });

    it("a frame that is shorter than it says is not answered as a call", async () => {
      const request = TransferRequest.encode(transferOf(world.walletId, world.otherWalletId)).finish();
      const before = await contentsOf();
      const cut = frame(request).subarray(0, 5 + request.length - 1);
      const ending = await postBare(server.address, TRANSFER, cut);
      expect(ending?.["grpc-status"]).not.to.equal("0");
      expect(await contentsOf()).to.deep.equal(before);
    });

    it("a compression that nobody knows is UNIMPLEMENTED", async () => {
      const ending = await postBare(server.address, TRANSFER, frame(Buffer.from("?"), { isCompressed: true }), {
        "grpc-encoding": "snappy",
      });
      expect(ending?.["grpc-status"]).to.equal("12");
    });
  });

  /** The answer to the request; that of the item, where a batch or a stream answers for each. */
  async function send(method: DescMethod, bytes: Uint8Array): Promise<RawAnswer> {
    const answer = await raw[WAY[method.methodKind]](`/${keyOf(method)}`, bytes, { timeoutMs: 20_000 });
    if (answer.error !== undefined) return answer;
    const [refused] = itemErrorsOf(reflect(method.output, fromBinary(method.output, answer.bytes)));
    return refused === undefined ? answer : { error: refused, trailers: answer.trailers };
  }

  function allSamples(method: DescMethod, examples: readonly Example[]): Sample[] {
    // A field that an earlier example has is not tried again.
    return examples.flatMap((example, index) => {
      const earlier = examples.slice(0, index).flatMap((one) => Object.keys(one(world)));
      return samplesOf(
        method.input,
        () => requestOf(method, example(world)),
        (name) => index === 0 || (name in example(world) && !earlier.includes(name)),
      );
    });
  }

  /** What is wrong with what a request left in the database; undefined when nothing is. */
  function wrongTraceOf(
    method: DescMethod,
    { label, bytes }: Sample,
    { error }: RawAnswer,
    before: Counts,
    after: Counts,
  ): string | undefined {
    const changed = (Object.keys(after) as (keyof Counts)[]).filter((name) => after[name] !== before[name]);
    const isOneMore = (name: keyof Counts): boolean => after[name] - before[name] === 1n;
    // What is only tried out leaves no trace.
    if (isTriedOut(method, bytes) && changed.length === 0) return undefined;
    if (error === undefined)
      return isOneMore("requests") ? undefined : `${label}: answered without keeping the request`;
    const isMovement = error.info.transaction_id !== undefined && error.reason !== "METADATA_EXCEEDED";
    const expected =
      error.reason === "REQUEST_ID_REUSED" ||
      error.reason === "HOLD_NOT_FOUND" ||
      error.reason === "QUOTE_INVALID" ||
      error.reason === "TRANSACTION_NOT_FOUND"
        ? []
        : isMovement
          ? (["journal", "rejected", "requests"] as const)
          : (["requests"] as const);
    const isRight = [...changed].sort().join() === expected.join() && expected.every(isOneMore);
    return isRight ? undefined : `${label}: ${error.reason} of ${method.name} changed ${changed.join()}`;
  }

  /** How much there is of what requests write. */
  async function countsOf(): Promise<Counts> {
    const { rows } = await database.query<Record<keyof Counts, string>>(`
      SELECT (SELECT count(*) FROM requests WHERE caller <> '${LEDGER_CALLER}') AS requests,
        (SELECT count(*) FROM transactions WHERE state = 2) AS rejected,
        (SELECT count(*) FROM transactions WHERE state = 1) AS posted,
        (SELECT count(*) FROM entries) AS entries,
        (SELECT size FROM journal_head) AS journal,
        (SELECT count(*) + sum(revision) FROM users) AS users,
        (SELECT count(*) + sum(revision) FROM wallets) AS wallets,
        (SELECT count(*) + sum(sequence) + sum(balance) FROM account_states) AS accounts,
        (SELECT count(*) FROM currencies) AS currencies`);
    return Object.fromEntries(
      Object.entries(rows[0]!).map(([name, count]) => [name, BigInt(count)]),
    ) as unknown as Counts;
  }

  /** A digest of every table. */
  async function contentsOf(): Promise<unknown> {
    const { rows: tables } = await database.query<{ name: string }>(
      // That the books were checked changes nothing of them.
      `SELECT table_name AS name FROM information_schema.tables
       WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND table_name <> 'integrity_checks'`,
    );
    expect(tables.length).to.be.greaterThan(9);
    const digests = tables.map(
      ({ name }) =>
        `SELECT '${name}' AS name, md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) AS digest FROM "${name}" t`,
    );
    return (await database.query(`${digests.join(" UNION ALL ")} ORDER BY name`)).rows;
  }

  async function balanceOf(walletId: string): Promise<bigint> {
    return (await grey.wallets.getBalance({ walletId })).balance!.posted!.minorUnits;
  }
});

type Counts = Readonly<
  Record<
    "requests" | "rejected" | "posted" | "entries" | "journal" | "users" | "wallets" | "accounts" | "currencies",
    bigint
  >
>;

const TRANSFER = "/grey.transaction.v1.TransactionService/Transfer";

/** Whether requests of the method, or their items, have an id that they are answered under for ever. */
function isMutating({ input }: DescMethod): boolean {
  return requestFieldsOf(input).some(({ field }) => field.name === "request_id" && field.oneof === undefined);
}

/** Whether the request, as the service understands it, is only tried out: odd bytes of another field may say so. */
function isTriedOut({ input }: DescMethod, bytes: Uint8Array): boolean {
  const message = reflect(input, fromBinary(input, bytes));
  const item = input.fields.find((field) => field.name === "transfer");
  const holders = item?.fieldKind === "message" && message.isSet(item) ? [message, message.get(item)] : [message];
  return holders.some((holder) => {
    const field = holder.desc.fields.find((one) => one.name === "dry_run");
    return field !== undefined && holder.get(field) === true;
  });
}

/** Whether the answer may hold errors of its own. */
function hasItems({ output }: DescMethod): boolean {
  return requestFieldsOf(output).some(({ field }) => field.message?.typeName === "google.rpc.Status");
}

function itemErrorsOf(message: ReflectMessage): CallError[] {
  return message.fields.flatMap((field) => {
    if (field.fieldKind === "list" && field.listKind === "message") {
      return [...(message.get(field) as Iterable<ReflectMessage>)].flatMap(itemErrorsOf);
    }
    if (field.fieldKind !== "message" || !message.isSet(field)) return [];
    const inner = message.get(field);
    if (inner.desc.typeName !== "google.rpc.Status") return itemErrorsOf(inner);
    const bytes = Buffer.from(toBinary(inner.desc, inner.message));
    const { code, message: details } = Status.decode(bytes);
    const metadata = new Metadata();
    metadata.set("grpc-status-details-bin", bytes);
    return [new CallError(Object.assign(new Error(details), { code, details, metadata }))];
  });
}

/** `metadata["a"]` and `ids[3]` are of the fields metadata and ids. */
function withoutSubscript(field: string): string {
  return field.replace(/\[("[\s\S]*|\d+\])/g, "");
}

/** What the work found wrong. */
async function inParallel<T>(things: readonly T[], work: (thing: T) => Promise<string | undefined>): Promise<string[]> {
  const problems: string[] = [];
  const rest = things.values();
  const worker = async (): Promise<void> => {
    for (const thing of rest) {
      const problem = await work(thing);
      if (problem !== undefined) problems.push(problem);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return problems;
}
