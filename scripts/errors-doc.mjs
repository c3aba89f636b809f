// Makes docs/errors.md: the reasons and their comments from the contract's descriptors, the rest from the built code.
// `--check` changes nothing and fails when the file is not what it would be.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { status } from "@grpc/grpc-js";

const ROOT = join(import.meta.dirname, "..");
const TARGET = join(ROOT, "docs/errors.md");
const PREFIX = "ERROR_REASON_";
/** The number of the field `enum_type` in FileDescriptorProto and of `value` in EnumDescriptorProto: parts of a comment's path. */
const [ENUM_TYPE, VALUE] = [5, 2];

/** @returns what the contract says of each reason but the unspecified one: `{ reason, meaning, metadata }` */
function readReasons() {
  const set = fromBinary(FileDescriptorSetSchema, readFileSync(join(ROOT, "generated/descriptors.binpb")));
  const file = set.file.find(({ name }) => name === "grey/error/v1/error_reason.proto");
  const comments = new Map(
    file.sourceCodeInfo.location.map(({ path, leadingComments }) => [path.join(), leadingComments]),
  );
  return file.enumType[0].value.slice(1).map(({ name }, index) => {
    const comment = comments.get([ENUM_TYPE, 0, VALUE, index + 1].join()) ?? "";
    const [meaning, metadata = ""] = comment
      .trim()
      .replace(/\s+/g, " ")
      .split(/ Metadata: /);
    return { reason: name.slice(PREFIX.length), meaning, metadata: metadata.replace(/\.$/, "") };
  });
}

async function render() {
  const { CODE, toGrpcError } = await import(join(ROOT, "dist/src/rpc/status.js"));
  const { FailureError, isRefusal } = await import(join(ROOT, "dist/src/base/failure.js"));
  const rows = readReasons().map(({ reason, meaning, metadata }) => {
    const error = toGrpcError(new FailureError({ reason, violations: [] }), { requestId: "", traceId: "" }, 1);
    const [details] = error.metadata.get("grpc-status-details-bin");
    const isRetried = details.includes("google.rpc.RetryInfo");
    const again = isRetried ? "the same request, after RetryInfo" : isRefusal({ reason }) ? "same answer" : "";
    return `| \`${reason}\` | \`${status[CODE[reason]]}\` | ${meaning} | ${metadata} | ${again} |`;
  });
  return `${INTRODUCTION}\n${rows.join("\n")}\n`;
}

const INTRODUCTION = `<!-- Made by scripts/errors-doc.mjs from proto/grey/error/v1/error_reason.proto and src/rpc/status.ts. Do not edit. -->

# Errors

Every error is a gRPC status with details in the trailer \`grpc-status-details-bin\` (a \`google.rpc.Status\`, as AIP-193 has it):

| detail | when | what it holds |
|---|---|---|
| \`google.rpc.ErrorInfo\` | always | \`reason\`: one of the table below; \`domain\`: \`grey\`; \`metadata\`: what the table names |
| \`google.rpc.RequestInfo\` | always | \`request_id\`: the call's request id; \`serving_data\`: its trace id, which every log line of the call has |
| \`google.rpc.BadRequest\` | with \`INVALID_REQUEST\` | each field that breaks a rule, and the rule |
| \`google.rpc.RetryInfo\` | when trying again helps | how long to wait before the same request is sent again |

Match on \`reason\`, never on the message, which is for people and may change. The ids are also in the trailers
\`grey-request-id\` and \`grey-trace-id\` of every answer, errors or not. What the transport refuses before Grey sees it has none of these: a message longer than
GREY_REQUEST_BYTES_MAX (\`RESOURCE_EXHAUSTED\`), a method that does not exist (\`UNIMPLEMENTED\`), a call whose connection broke
(\`UNAVAILABLE\`). \`INTERNAL\` without an ErrorInfo also comes from the transport, as when it closes a connection on which too many
calls were cancelled: the call may have been carried out, so send the same request again, with the same \`request_id\`, to learn the outcome.

**Sent again** says what the same request with the same \`request_id\` gets:

- *same answer*: for a call with a \`request_id\`, a rule of business refused it and the refusal is kept: it is the answer for
  ever, with \`replayed\` = \`true\` in the metadata. When the cause is mended, use a new \`request_id\`. A refused movement is also
  kept as a \`REJECTED\` transaction, which the metadata names as \`transaction_id\`. (A read is simply answered anew.)
- *the same request, after RetryInfo*: the request_id is not used up. After \`OUTCOME_UNKNOWN\` the request may have been
  carried out: sending it again, unchanged, gets the truth and never does it twice.
- empty: the request_id is not used up; mend the request, or look into the log for \`INTERNAL\`.

| reason | gRPC code | meaning | metadata | sent again |
|---|---|---|---|---|`;

const text = await render();
if (process.argv[2] !== "--check") writeFileSync(TARGET, text);
else if (!existsSync(TARGET) || readFileSync(TARGET, "utf8") !== text) {
  console.error("docs/errors.md is not what the contract and the code say: run `npm run generate:docs`");
  process.exitCode = 1;
}
