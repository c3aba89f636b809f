import { Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { expect } from "chai";
import { BadRequest, ErrorInfo, RequestInfo, RetryInfo } from "../../generated/google/rpc/error_details.js";
import { Status } from "../../generated/google/rpc/status.js";
import { decodeCallFailure } from "../../sdk/typescript/src/failure.js";
import { CallError, describeCallError } from "../../src/cli/failure.js";

const REQUEST_ID = "01890a5d-ac96-774b-bcce-b302099a8057";

describe("the message of a failed call", () => {
  it("is one line with reason, message, each field and its rule once, and the server's request and trace", () => {
    const error = serviceError(status.INVALID_ARGUMENT, "name: is required; and 1 more", [
      detail("ErrorInfo", ErrorInfo.encode({ reason: "INVALID_REQUEST", domain: "grey", metadata: {} }).finish()),
      detail(
        "BadRequest",
        BadRequest.encode(
          BadRequest.fromPartial({
            fieldViolations: [
              { field: "amount.minor_units", description: "must be more than 0" },
              { field: "name", description: "is required" },
            ],
          }),
        ).finish(),
      ),
      detail("RequestInfo", RequestInfo.encode({ requestId: "r-1", servingData: "t-1" }).finish()),
    ]);
    expect(explain(error)).to.equal(
      "INVALID_REQUEST: name: is required; and 1 more (amount.minor_units: must be more than 0) [request r-1, trace t-1]",
    );
  });

  it("adds metadata that the message does not contain", () => {
    const metadata = { wallet_id: "w-1", transaction_id: "t-1", replayed: "true" };
    const error = serviceError(status.FAILED_PRECONDITION, "wallet w-1 is frozen", [
      detail("ErrorInfo", ErrorInfo.encode({ reason: "WALLET_FROZEN", domain: "grey", metadata }).finish()),
    ]);
    expect(explain(error)).to.equal("WALLET_FROZEN: wallet w-1 is frozen [transaction_id t-1, replayed true]");
  });

  it("explains when and how to retry a change that may still succeed", () => {
    const error = serviceError(status.RESOURCE_EXHAUSTED, "too much to do", [
      detail("ErrorInfo", ErrorInfo.encode({ reason: "OVERLOADED", domain: "grey", metadata: {} }).finish()),
      detail("RetryInfo", RetryInfo.encode({ retryDelay: { seconds: 1n, nanos: 500_000_000 } }).finish()),
    ]);
    expect(explain(error).split("\n")).to.deep.equal([
      "OVERLOADED: too much to do (retry in 1500 ms)",
      `To retry safely, repeat the command with --request-id ${REQUEST_ID}`,
    ]);
  });

  it("names the address and explains how to start a server if none is reachable", () => {
    const text = explain(
      serviceError(status.UNAVAILABLE, "No connection established. Last error: ECONNREFUSED. Resolution note: "),
    );
    expect(text).to.match(/^cannot reach a Grey server at example:1: .*ECONNREFUSED\. \(start one with `grey serve`/);
    expect(text).to.include(`--request-id ${REQUEST_ID}`);
  });

  it("names the timeout if no reply came", () => {
    const text = explain(serviceError(status.DEADLINE_EXCEEDED, "Deadline exceeded"));
    expect(text).to.match(/^no reply from example:1 within 1234 ms/);
  });

  it("neutralises control characters that a server sends", () => {
    const metadata = { a: "\u001b]0;owned\u0007" };
    const error = serviceError(status.INTERNAL, "\u001b[2Jgone\nnext", [
      detail("ErrorInfo", ErrorInfo.encode({ reason: "\u001b[1m", domain: "grey", metadata }).finish()),
    ]);
    expect(explain(error).split("\n")[0]).not.to.match(/\p{Cc}/u);
  });

  for (const [title, bytes] of [
    ["no google.rpc.Status", Buffer.from([0xff, 0xff, 0xff])],
    [
      "of no known type",
      Status.encode({ code: 5, message: "", details: [{ typeUrl: "x", value: Buffer.from([1]) }] }).finish(),
    ],
    [
      "broken inside",
      Status.encode({ code: 5, message: "", details: [detail("ErrorInfo", Buffer.from([0x0a, 0x7f]))] }).finish(),
    ],
  ] as const) {
    it(`falls back on code and message when the details are ${title}`, () => {
      const error = serviceError(status.NOT_FOUND, "there is none");
      error.metadata.set("grpc-status-details-bin", Buffer.from(bytes));
      expect(explain(error)).to.equal("NOT_FOUND: there is none");
    });
  }
});

function explain(error: ServiceError): string {
  const call = { address: "example:1", timeoutMs: 1234, requestId: REQUEST_ID };
  return describeCallError(new CallError(decodeCallFailure(error), call));
}

function detail(type: string, value: Uint8Array) {
  return { typeUrl: `type.googleapis.com/google.rpc.${type}`, value: Buffer.from(value) };
}

function serviceError(code: status, message: string, details: ReturnType<typeof detail>[] = []): ServiceError {
  const metadata = new Metadata();
  if (details.length > 0) {
    metadata.set("grpc-status-details-bin", Buffer.from(Status.encode({ code, message, details }).finish()));
  }
  return Object.assign(new Error(message), { code, details: message, metadata });
}
