import { status } from "@grpc/grpc-js";
import { expect } from "chai";
import fc from "fast-check";
import { ErrorReason } from "../../generated/grey/error/v1/error_reason.js";
import { Status } from "../../generated/google/rpc/status.js";
import { FailureError, type Failure, type Reason } from "../../src/base/failure.js";
import { CODE, toGrpcError } from "../../src/rpc/status.js";
import { CallError } from "../support/client.js";
import { FAILURES } from "../support/failures.js";

const IDS = { requestId: "0190b0c0-0000-7000-8000-000000000001", traceId: "4bf92f3577b34da6a3ce929d0e0e4736" };
const RETRY_AFTER_MS = 1_250;

/** The error as a caller receives and unpacks it. */
function received(failure: Failure, details: ConstructorParameters<typeof FailureError>[1] = {}): CallError {
  const { code, details: message, metadata } = toGrpcError(new FailureError(failure, details), IDS, RETRY_AFTER_MS);
  return new CallError(Object.assign(new Error(message), { code, details: message, metadata }));
}

/** Texts of one to four bytes a character, of lone halves of characters, and of what percent-encoding makes three times as long. */
const longText = fc.oneof(
  fc.string({ unit: "binary", maxLength: 2_000 }),
  fc.string({ unit: fc.constantFrom("a", " ", "%", '"', "é", "あ", "😀", "\ud83d", "\udc00"), maxLength: 2_000 }),
);

/** The reasons as the contract has them. */
const REASONS = Object.keys(ErrorReason).filter(
  (name) => Number.isNaN(Number(name)) && !["UNSPECIFIED", "UNRECOGNIZED"].includes(name),
);

/** A name as the contract writes it. */
function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

describe("the gRPC status of a failure", () => {
  it("exists for every reason of the contract, and for no other", () => {
    expect(Object.keys(CODE).sort()).to.deep.equal(REASONS.toSorted());
    expect([...new Set(FAILURES.map((failure) => failure.reason))].sort()).to.deep.equal(REASONS.toSorted());
  });

  for (const failure of FAILURES) {
    const { reason } = failure;
    const fields = Object.entries(failure).filter(([name]) => name !== "reason" && name !== "violations");

    it(`tells ${reason} (${fields.map(([name]) => snake(name)).join(", ") || "no metadata"}) with code, message and details`, () => {
      const error = received(failure);
      expect(error.code).to.equal(status[CODE[reason]]);
      expect(error.code).not.to.be.oneOf(["OK", "UNKNOWN"]);
      expect(error.reason).to.equal(reason);
      expect(error.domain).to.equal("grey");
      expect(error.info).to.deep.equal(Object.fromEntries(fields.map(([name, value]) => [snake(name), String(value)])));
      expect(error.requestId).to.equal(IDS.requestId);
      expect(error.traceId).to.equal(IDS.traceId);
    });
  }

  it("has a message for every reason, of its own and in plain words", () => {
    const messages = new Map(FAILURES.map((failure) => [failure.reason, received(failure).message]));
    for (const [reason, message] of messages) expect(message, reason).to.match(/^\S.*\S$/u);
    expect(new Set(messages.values()).size).to.equal(messages.size);
  });

  it("says the same in grpc-status-details-bin as in code and message", () => {
    for (const failure of FAILURES) {
      const { code, details, metadata } = toGrpcError(new FailureError(failure), IDS, RETRY_AFTER_MS);
      const [packed] = metadata.get("grpc-status-details-bin");
      const decoded = Status.decode(packed as Buffer);
      expect(decoded.code, failure.reason).to.equal(code);
      expect(decoded.message, failure.reason).to.equal(details);
    }
  });

  it("says when to come back for what passes, and for nothing else", () => {
    const retried: Reason[] = [
      "OVERLOADED",
      "DATABASE_UNAVAILABLE",
      "OUTCOME_UNKNOWN",
      "SHUTTING_DOWN",
      "JOURNAL_BEHIND",
    ];
    for (const failure of FAILURES) {
      const expected = retried.includes(failure.reason) ? RETRY_AFTER_MS : undefined;
      expect(received(failure).retryAfterMs, failure.reason).to.equal(expected);
    }
  });

  it("names each field that breaks a rule; the message names the first three and how many follow", () => {
    const violations = ["a", "b.c", "d[3]", "e", "f"].map((field) => ({ field, rule: `rule of ${field}` }));
    const error = received({ reason: "INVALID_REQUEST", violations });
    expect([...error.violations]).to.deep.equal(violations.map(({ field, rule }) => [field, rule]));
    expect(error.message).to.equal("a: rule of a; b.c: rule of b.c; d[3]: rule of d[3]; and 2 more");
  });

  describe("takes less than 8,192 bytes in trailers, with valid UTF-8 and percent-encoding", () => {
    it("for any violations", () => {
      const violation = fc.record({ field: longText, rule: longText });
      fc.assert(
        fc.property(fc.array(violation, { maxLength: 60 }), (violations) => {
          assertFits({ reason: "INVALID_REQUEST", violations });
        }),
        { numRuns: 500 },
      );
    });

    it("for any failure, whatever the caller's texts in it are", () => {
      fc.assert(
        fc.property(
          fc.constantFrom(...FAILURES),
          fc.array(longText, { minLength: 1, maxLength: 12 }),
          (failure, texts) => {
            const entries = Object.entries(failure).map(([name, value], index) => {
              const text = texts[index % texts.length]!;
              // Enumerated words and numbers are not the caller's texts.
              if (["reason", "violations", "measure", "precondition"].includes(name) || /^-?\d+$/.test(`${value}`))
                return [name, value];
              return [name, typeof value === "string" ? text : Array.isArray(value) ? texts : value];
            });
            assertFits(Object.fromEntries(entries) as Failure);
          },
        ),
        { numRuns: 500 },
      );
    });

    /** With the longest ids that there are, and all else that a call's answer can have. */
    function assertFits(failure: Failure): void {
      const ids = { requestId: "r".repeat(128), traceId: IDS.traceId };
      const details = { replayed: true, transactionId: IDS.requestId, journalIndex: 2n ** 63n - 1n };
      const error = toGrpcError(new FailureError(failure, details), ids, 20_000);
      const trailers = {
        ":status": "200",
        "content-type": "application/grpc+proto",
        date: new Date().toUTCString(),
        "grpc-status": `${error.code}`,
        "grpc-message": encodeURI(error.details),
        ...error.metadata.toHttp2Headers(),
      };
      const bytes = Object.entries(trailers).flatMap(([name, value]) =>
        [value].flat().map((one) => name.length + Buffer.byteLength(`${one}`) + 32),
      );
      expect(bytes.reduce((sum, one) => sum + one)).to.be.below(8_192);
      const received = new CallError(
        Object.assign(new Error(error.details), { code: error.code, details: error.details, metadata: error.metadata }),
      );
      expect(received.reason).to.equal(failure.reason);
      expect(decodeURI(trailers["grpc-message"])).to.equal(error.details);
      const texts = [error.details, ...Object.values(received.info), ...received.violations.keys()];
      for (const text of texts) expect(Buffer.from(text).toString()).to.equal(text);
      if (failure.reason === "INVALID_REQUEST" && failure.violations.length > 0)
        expect(received.violations.size).to.be.greaterThan(0);
    }
  });

  it("names 20 ordinary violations, and cuts a long field between two characters", () => {
    const violations = Array.from({ length: 25 }, (_, index) => ({
      field: `transfers[${index}].preconditions[1].min_available_minor_units`,
      rule: "value must be greater than or equal to 0 and less than 9223372036854775807",
    }));
    expect(received({ reason: "INVALID_REQUEST", violations }).violations.size).to.equal(20);
    const [[field]] = [
      ...received({ reason: "INVALID_REQUEST", violations: [{ field: "😀".repeat(90), rule: "" }] }).violations,
    ] as [[string, string]];
    expect(field).to.equal(`${"😀".repeat(49)}…`);
  });

  it("marks a stored answer and names the rejected transaction", () => {
    const refused: Failure = { reason: "SAME_WALLET", walletId: "w1" };
    expect(received(refused).info).to.deep.equal({ wallet_id: "w1" });
    expect(received(refused, { replayed: false }).info).to.deep.equal({ wallet_id: "w1" });
    expect(received(refused, { replayed: true, transactionId: "t1" }).info).to.deep.equal({
      wallet_id: "w1",
      replayed: "true",
      transaction_id: "t1",
    });
  });

  it("tells nothing of the cause", () => {
    const cause = new Error("SELECT secret FROM installation");
    const { details, metadata } = toGrpcError(new FailureError({ reason: "INTERNAL" }, { cause }), IDS, RETRY_AFTER_MS);
    const [packed] = metadata.get("grpc-status-details-bin");
    expect(details).to.equal("internal error");
    expect((packed as Buffer).toString("latin1")).not.to.include("secret");
  });

  it("puts request and trace id into the trailers", () => {
    const error = received({ reason: "INTERNAL" });
    expect(error.trailers.get("grey-request-id")).to.deep.equal([IDS.requestId]);
    expect(error.trailers.get("grey-trace-id")).to.deep.equal([IDS.traceId]);
  });
});
