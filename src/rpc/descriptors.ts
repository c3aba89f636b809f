import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createFileRegistry, fromBinary, type FileRegistry } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema, type FileDescriptorProto } from "@bufbuild/protobuf/wkt";

/** The contract as buf described it, with options and annotations: what reflection serves and validation obeys. */
export interface Descriptors {
  readonly files: readonly FileDescriptorProto[];
  readonly registry: FileRegistry;
}

let loaded: Descriptors | undefined;

/** Reads the descriptors that stand beside the generated code, once. */
export function loadDescriptors(): Descriptors {
  return (loaded ??= read());
}

function read(): Descriptors {
  const bytes = readFileSync(join(import.meta.dirname, "../../generated/descriptors.binpb"));
  const set = fromBinary(FileDescriptorSetSchema, bytes);
  return { files: set.file, registry: createFileRegistry(set) };
}
