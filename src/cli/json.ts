import { fromBinary, toJson, type FileRegistry, type JsonValue } from "@bufbuild/protobuf";
import { assertPresent } from "../base/assert.js";
import { loadDescriptors } from "../rpc/descriptors.js";
import type { UnaryMethod } from "./client.js";

let loaded: FileRegistry | undefined;

/** Converts a reply to protobuf JSON, including fields with default values: zeros, false and empty lists. */
export function replyToJson<Q, R>(method: UnaryMethod<Q, R>, reply: R): JsonValue {
  const [, serviceName = "", methodName = ""] = method.path.split("/");
  const registry = (loaded ??= loadDescriptors().registry);
  const service = assertPresent(registry.getService(serviceName), serviceName);
  const { output } = assertPresent(
    service.methods.find(({ name }) => name === methodName),
    method.path,
  );
  const message = fromBinary(output, method.responseSerialize(reply));
  return toJson(output, message, { registry, alwaysEmitImplicit: true });
}
