import { status } from "@grpc/grpc-js";
import { expect } from "chai";
import { CommanderError } from "commander";
import { SettingError } from "../../src/config/config.js";
import { errorToJson, toExitCode } from "../../src/cli/exit.js";
import { CallError, UsageError } from "../../src/cli/failure.js";

const CHANGE = "01890a5d-ac96-774b-bcce-b302099a8057";

function failed(code: status, reason: string | undefined, message: string, requestId?: string): CallError {
  const failure = { code, message, reason, metadata: {}, violations: [], retryAfterMs: undefined };
  return new CallError(
    { ...failure, servedRequestId: "", traceId: "" },
    { address: "example:1", timeoutMs: 1_000, requestId },
  );
}

describe("the exit code", () => {
  const refused = "No connection established. Last error: ECONNREFUSED";
  const cases: [title: string, error: unknown, exitCode: number, kind: string][] = [
    ["a wrong option", new CommanderError(1, "commander.unknownOption", "error: no"), 2, "wrong_use"],
    ["a wrong amount", new UsageError("no"), 2, "wrong_use"],
    ["a wrong setting", new SettingError("no"), 2, "wrong_use"],
    ["a malformed request", failed(status.INVALID_ARGUMENT, "INVALID_REQUEST", "no", CHANGE), 2, "wrong_use"],
    ["a refusal", failed(status.FAILED_PRECONDITION, "INSUFFICIENT_FUNDS", "no", CHANGE), 3, "refused"],
    ["a missing wallet", failed(status.NOT_FOUND, "WALLET_NOT_FOUND", "no"), 3, "refused"],
    ["an outdated etag", failed(status.ABORTED, "ETAG_MISMATCH", "no", CHANGE), 3, "refused"],
    ["no server", failed(status.UNAVAILABLE, undefined, refused, CHANGE), 4, "unreachable"],
    [
      "an unknown host",
      failed(status.UNAVAILABLE, undefined, "Name resolution failed for target", CHANGE),
      4,
      "unreachable",
    ],
    ["a busy server", failed(status.RESOURCE_EXHAUSTED, "OVERLOADED", "no", CHANGE), 4, "unreachable"],
    [
      "a server without its database",
      failed(status.UNAVAILABLE, "DATABASE_UNAVAILABLE", "no", CHANGE),
      4,
      "unreachable",
    ],
    ["a read without an answer", failed(status.DEADLINE_EXCEEDED, undefined, "no"), 4, "unreachable"],
    ["a change without an answer", failed(status.DEADLINE_EXCEEDED, undefined, "no", CHANGE), 5, "outcome_unknown"],
    ["a change cut off", failed(status.UNAVAILABLE, undefined, "read ECONNRESET", CHANGE), 5, "outcome_unknown"],
    [
      "a commit with an unknown outcome",
      failed(status.UNAVAILABLE, "OUTCOME_UNKNOWN", "no", CHANGE),
      5,
      "outcome_unknown",
    ],
    ["a fault in a change", failed(status.INTERNAL, "INTERNAL", "no", CHANGE), 5, "outcome_unknown"],
    ["a fault in a read", failed(status.INTERNAL, "INTERNAL", "no"), 1, "failed"],
    ["any other error", new Error("no"), 1, "failed"],
  ];
  for (const [title, error, exitCode, kind] of cases) {
    it(`of ${title} is ${exitCode}, and its kind in JSON is ${kind}`, () => {
      expect(toExitCode(error)).to.equal(exitCode);
      expect(errorToJson(error, "no")).to.have.property("error").that.includes({ kind, exitCode });
    });
  }

  it("of help and version is 0", () => {
    expect(toExitCode(new CommanderError(0, "commander.helpDisplayed", ""))).to.equal(0);
  });
});
