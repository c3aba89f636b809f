import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createFileRegistry, fromBinary, type FileRegistry } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema, type FileDescriptorProto } from "@bufbuild/protobuf/wkt";

/** The contract as buf describes it, with options and annotations, for reflection and validation. */
export interface Descriptors {
  readonly files: readonly FileDescriptorProto[];
  readonly registry: FileRegistry;
}

let loaded: Descriptors | undefined;

/** Returns the descriptors of the generated code, which are read once. */
export function loadDescriptors(): Descriptors {
  return (loaded ??= read());
}

function read(): Descriptors {
  const bytes = readFileSync(join(import.meta.dirname, "../../generated/descriptors.binpb"));
  const set = fromBinary(FileDescriptorSetSchema, bytes);
  return { files: set.file, registry: createFileRegistry(set) };
}
