// Generates docs/errors.md: the reasons and their comments from the contract's descriptors, the rest from the built code.
// `--check` changes nothing and fails if the file is out of date.
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

/** Reads the comment of each reason but the unspecified one: `{ reason, meaning, metadata }`. */
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
    const again = isRetried ? "retry after RetryInfo" : isRefusal({ reason }) ? "same response" : "";
    return `| \`${reason}\` | \`${status[CODE[reason]]}\` | ${meaning} | ${metadata} | ${again} |`;
  });
  return `${INTRODUCTION}\n${rows.join("\n")}\n`;
}

const INTRODUCTION = `<!-- Made by scripts/errors-doc.mjs from proto/grey/error/v1/error_reason.proto and src/rpc/status.ts. Do not edit. -->

# Errors

Every error is a gRPC status with details in the trailer \`grpc-status-details-bin\` (a \`google.rpc.Status\`, according to AIP-193):

| detail | when | content |
|---|---|---|
| \`google.rpc.ErrorInfo\` | always | \`reason\`: one of the table below; \`domain\`: \`grey\`; \`metadata\`: the keys in the table |
| \`google.rpc.RequestInfo\` | always | \`request_id\`: the call's request id; \`serving_data\`: its trace id, which is in every log line of the call |
| \`google.rpc.BadRequest\` | with \`INVALID_REQUEST\` | each field that breaks a rule, and the rule |
| \`google.rpc.RetryInfo\` | when a retry helps | the time to wait before the retry |

Match on \`reason\`, never on the message, which is for people and may change. The ids are also in the trailers
\`grey-request-id\` and \`grey-trace-id\` of every response, errors or not. Errors of the transport, which Grey never sees, have none of these: a message longer than
GREY_REQUEST_BYTES_MAX (\`RESOURCE_EXHAUSTED\`), a method that does not exist (\`UNIMPLEMENTED\`), a call whose connection broke
(\`UNAVAILABLE\`). \`INTERNAL\` without an ErrorInfo also comes from the transport, for example when it closes a connection on which too many
calls were cancelled: the call may have been carried out, so retry with the same \`request_id\` to learn the outcome.

The column **retry** says what a retry of the request with the same \`request_id\` returns:

- *same response*: a business rule refused the call and, if it has a \`request_id\`, the refusal is stored: every retry returns
  it, with \`replayed\` = \`true\` in the metadata. Once the cause is resolved, use a new \`request_id\`. A refused movement is also
  recorded as a \`REJECTED\` transaction, whose id is \`transaction_id\` in the metadata. (A read is simply carried out again.)
- *retry after RetryInfo*: the request_id is not used. After \`OUTCOME_UNKNOWN\` the request may have been carried out: an
  unchanged retry returns the outcome and never carries it out twice.
- empty: the request_id is not used; correct the request, or look into the log for \`INTERNAL\`.

| reason | gRPC code | meaning | metadata | retry |
|---|---|---|---|---|`;

const text = await render();
if (process.argv[2] !== "--check") writeFileSync(TARGET, text);
else if (!existsSync(TARGET) || readFileSync(TARGET, "utf8") !== text) {
  console.error("docs/errors.md is out of date: run `npm run generate:docs`");
  process.exitCode = 1;
}
