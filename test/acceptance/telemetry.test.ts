import { randomUUID } from "node:crypto";
import { credentials, Metadata } from "@grpc/grpc-js";
import { expect } from "chai";
import { HealthClient } from "../../generated/grpc/health/v1/health.js";
import { TransactionState } from "../../generated/grey/transaction/v1/transaction.js";
import { TransactionServiceClient } from "../../generated/grey/transaction/v1/transaction_service.js";
import { WatchTransactionsRequest } from "../../generated/grey/transaction/v1/watch.js";
import { UserServiceClient } from "../../generated/grey/user/v1/user_service.js";
import { call, connect, refusal, type Answer, type Clients } from "../support/client.js";
import { createTestDatabase, type TestDatabase } from "../support/cluster.js";
import { startOtlpReceiver, type OtlpReceiver, type Span } from "../support/otlp-receiver.js";
import { endAllGrey, eventually, startGreyProcess, type GreyProcess } from "../support/process.js";
import { follow } from "../support/watch.js";

const SERVER = 2;
const CLIENT = 3;
const PARENT_ID = "b7ad6b7169203331";
const CANARY = "canary";
const AMOUNT = 918_273_645n;

describe("telemetry", () => {
  let database: TestDatabase;

  before(async () => {
    database = await createTestDatabase();
  });
  after(async () => {
    await endAllGrey();
    await database.drop();
  });

  describe("with OTEL_EXPORTER_OTLP_ENDPOINT", () => {
    let receiver: OtlpReceiver;
    let server: GreyProcess & { readonly address: string };
    let grey: Clients;

    before(async () => {
      receiver = await startOtlpReceiver();
      server = await startGreyProcess({
        DATABASE_URL: database.url,
        OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
        OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
        OTEL_BSP_SCHEDULE_DELAY: "100",
      });
      grey = connect(server.address);
    });
    after(async () => {
      grey.close();
      server.signal("SIGTERM");
      await server.ended;
      await receiver.stop();
    });

    it("a call's span continues the caller's trace, the database's spans are below it, log and trailers name the trace", async () => {
      const traceId = newTraceId();
      const { trailers } = await createUser(server.address, traceId);
      await eventually("spans of server and database", () =>
        [SERVER, CLIENT].every((kind) => spansOf(traceId).some((span) => span.kind === kind)),
      );
      const span = spansOf(traceId).find((one) => one.kind === SERVER)!;
      expect(span.name).to.match(/grey\.user\.v1\.UserService\/CreateUser$/i);
      expect(span.parentSpanId).to.equal(PARENT_ID);
      const below = spansOf(traceId).filter((one) => one.kind === CLIENT);
      expect(below.every((one) => isBelow(one, span, spansOf(traceId)))).to.equal(true);
      expect(below.map((one) => one.name).join()).to.match(/INSERT/);
      expect(trailers.get("grey-trace-id")).to.deep.equal([traceId]);
      await eventually("the log line", () => server.logs.some((line) => line.traceId === traceId));
      expect(server.logs.find((line) => line.traceId === traceId)).to.include({ message: "call", code: "OK" });
    });

    it("a movement's span continues the caller's trace", async () => {
      const traceId = newTraceId();
      const transactions = new TransactionServiceClient(server.address, credentials.createInsecure());
      const request = { ...transferOf(randomUUID(), randomUUID()), requestId: randomUUID() };
      const error = await refusal(call(transactions.transfer, transactions, request, headersOf(traceId)));
      transactions.close();
      expect(error).to.include({ reason: "WALLET_NOT_FOUND", traceId });
      await eventually("a span of the server", () => spansOf(traceId).some((span) => span.kind === SERVER));
    });

    it("an error carries the trace id of its span, also when the caller has no trace", async () => {
      const error = await refusal(grey.users.getUser({ by: { $case: "id", value: randomUUID() } }));
      expect(error.traceId).to.match(/^[0-9a-f]{32}$/);
      await eventually("its span", () => spansOf(error.traceId!).some((span) => span.kind === SERVER));
    });

    it("a watch's span continues the caller's trace and ends with the watch; reads for all watches are not below it", async () => {
      const traceId = newTraceId();
      const client = new TransactionServiceClient(server.address, credentials.createInsecure());
      const metadata = new Metadata();
      for (const [name, value] of Object.entries(headersOf(traceId))) metadata.set(name, value);
      const request = WatchTransactionsRequest.fromPartial({ states: [TransactionState.REJECTED] });
      const watch = await follow(client.watchTransactions(request, metadata));
      await refusal(grey.transactions.transfer({ ...transferOf(randomUUID(), randomUUID()), requestId: randomUUID() }));
      await watch.until("the refusal", (all) => all.some(({ transaction }) => transaction !== undefined));
      expect(spansOf(traceId).filter((span) => span.kind === SERVER)).to.deep.equal([]);
      watch.cancel();
      await eventually("a span of the server", () => spansOf(traceId).some((span) => span.kind === SERVER));
      const span = spansOf(traceId).find((one) => one.kind === SERVER)!;
      expect(span.name).to.match(/TransactionService\/WatchTransactions$/i);
      expect(span.parentSpanId).to.equal(PARENT_ID);
      // Where the watch begins is its own to ask.
      const polls = spansOf(traceId).filter(({ name }) => name.includes("journal-size"));
      expect(polls).to.have.length(1);
      client.close();
    });

    it("health checks leave no span", async () => {
      const health = new HealthClient(server.address, credentials.createInsecure());
      await new Promise<void>((resolve, reject) => {
        health.check({ service: "" }, (error) => (error === null ? resolve() : reject(error)));
      });
      health.close();
      const later = newTraceId();
      await createUser(server.address, later);
      await eventually("a span", () => spansOf(later).some((span) => span.kind === SERVER));
      expect(receiver.spans.map((span) => span.name).join()).not.to.match(/health/i);
    });

    it("no span, metric or log contains text of users or amounts", async () => {
      const metadata = { [`${CANARY}-key`]: `${CANARY}-value` };
      const email = `${CANARY}@example.com`;
      const { user } = await grey.users.createUser({ requestId: randomUUID(), name: CANARY, email, metadata });
      const open = async (): Promise<string> => {
        const initialBalance = { currencyCode: "USD", minorUnits: AMOUNT };
        const request = { requestId: randomUUID(), userId: user!.id, currencyCode: "USD", label: CANARY, metadata };
        return (await grey.wallets.createWallet({ ...request, initialBalance })).wallet!.id;
      };
      const [from, to] = [await open(), await open()];
      await grey.transactions.transfer({ ...transferOf(from, to), metadata, description: CANARY });
      await refusal(grey.transactions.transfer({ ...transferOf(from, to), description: CANARY }));
      await refusal(grey.users.createUser({ requestId: randomUUID(), name: CANARY, email, metadata }));
      await grey.users.getUser({ by: { $case: "email", value: email } });
      // What was exported before the last of these spans is there.
      const last = newTraceId();
      await createUser(server.address, last);
      await eventually("the last span", () => spansOf(last).some((span) => span.kind === SERVER));
      const seen = receiver.text() + JSON.stringify(server.logs);
      expect(seen).to.include("TransactionService");
      expect(seen).not.to.include(CANARY);
      expect(seen).not.to.include(`${AMOUNT}`);
    });

    function spansOf(traceId: string): Span[] {
      return receiver.spans.filter((span) => span.traceId === traceId);
    }
  });

  it("that cannot be sent does not keep the server from answering and stopping", async () => {
    const server = await startGreyProcess({
      DATABASE_URL: database.url,
      OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1",
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      OTEL_BSP_SCHEDULE_DELAY: "50",
    });
    await createUser(server.address, newTraceId());
    const stopping = Date.now();
    server.signal("SIGTERM");
    const { code, signal } = await server.ended;
    expect({ code, signal }).to.deep.equal({ code: 0, signal: null });
    expect(Date.now() - stopping).to.be.below(5_000);
  });

  it("without an endpoint continues the caller's trace in log, trailers and errors", async () => {
    const server = await startGreyProcess({ DATABASE_URL: database.url });
    const traceId = newTraceId();
    const { trailers } = await createUser(server.address, traceId);
    expect(trailers.get("grey-trace-id")).to.deep.equal([traceId]);
    const grey = connect(server.address);
    const other = newTraceId();
    const error = await refusal(grey.users.getUser({ by: { $case: "id", value: randomUUID() } }, headersOf(other)));
    grey.close();
    expect(error.traceId).to.equal(other);
    await eventually("both log lines", () =>
      [traceId, other].every((id) => server.logs.some((line) => line.traceId === id)),
    );
    server.signal("SIGTERM");
    await server.ended;
  });
});

/** Whether the span's line of parents leads to the other one. */
function isBelow(span: Span, above: Span, all: readonly Span[]): boolean {
  if (span.parentSpanId === above.spanId) return true;
  const parent = all.find((one) => one.spanId === span.parentSpanId);
  return parent !== undefined && isBelow(parent, above, all);
}

async function createUser(address: string, traceId: string): Promise<Answer<unknown>> {
  const users = new UserServiceClient(address, credentials.createInsecure());
  const request = { requestId: randomUUID(), name: "Ada", email: `${randomUUID()}@example.com`, metadata: {} };
  const answer = await call(users.createUser, users, request, headersOf(traceId));
  users.close();
  return answer;
}

function headersOf(traceId: string): Record<string, string> {
  return { traceparent: `00-${traceId}-${PARENT_ID}-01` };
}

function newTraceId(): string {
  return randomUUID().replaceAll("-", "");
}

function transferOf(fromWalletId: string, toWalletId: string) {
  return {
    requestId: randomUUID(),
    fromWalletId,
    toWalletId,
    amount: { currencyCode: "USD", minorUnits: AMOUNT },
    description: "",
    metadata: {},
    externalReference: "",
    effectiveTime: undefined,
    preconditions: [],
    amountMode: 0,
    dryRun: false,
  };
}
