import type { ServerDuplexStream } from "@grpc/grpc-js";
import { status } from "@grpc/grpc-js";
import { toBinary } from "@bufbuild/protobuf";
import {
  FileDescriptorProtoSchema,
  type DescriptorProto,
  type EnumDescriptorProto,
  type FileDescriptorProto,
} from "@bufbuild/protobuf/wkt";
import {
  ServerReflectionService,
  type ServerReflectionRequest,
  type ServerReflectionResponse,
} from "../../generated/grpc/reflection/v1/reflection.js";
import { ServerReflectionService as ServerReflectionAlphaService } from "../../generated/grpc/reflection/v1alpha/reflection.js";
import { estimateBytesMax } from "../base/room.js";
import type { Descriptors } from "./descriptors.js";
import type { BoundService } from "./methods.js";

/**
 * Creates server reflection v1 and v1alpha, whose messages are the same. It serves buf's descriptors unchanged, with every
 * option and annotation, so that tools can show and check them.
 * @param serviceNames the services to list
 */
export function reflectionServices(descriptors: Descriptors, serviceNames: readonly string[]): BoundService[] {
  const answer = createAnswer(descriptors, serviceNames);
  const implementation = {
    serverReflectionInfo: (call: ServerDuplexStream<ServerReflectionRequest, ServerReflectionResponse>) => {
      // A client that does not take its answers is not read.
      call.on("data", (request: ServerReflectionRequest) => {
        call.write(answer(request), () => call.resume());
        if (call.writableLength > 0) call.pause();
      });
      call.on("end", () => call.end());
    },
  };
  return [ServerReflectionService, ServerReflectionAlphaService].map((definition) => ({
    definition: definition as unknown as BoundService["definition"],
    implementation,
  }));
}

/** Far longer than any name. An answer repeats its request, and must not become too long for the client. */
const REQUEST_BYTES_MAX = 64 * 1024;
const TOO_LONG: ServerReflectionResponse = {
  validHost: "",
  originalRequest: undefined,
  messageResponse: {
    $case: "errorResponse",
    value: { errorCode: status.INVALID_ARGUMENT, errorMessage: "the request is too long: no name takes 64 KiB" },
  },
};

type Answer = (request: ServerReflectionRequest) => ServerReflectionResponse;

function createAnswer({ files }: Descriptors, serviceNames: readonly string[]): Answer {
  const byName = new Map(files.map((file) => [file.name, file]));
  const bySymbol = new Map(files.flatMap((file) => listSymbols(file).map((symbol) => [symbol, file] as const)));
  const messages = new Set(files.flatMap((file) => listMessages(file).map(({ name }) => name)));
  const byExtendee = collectExtensions(files);
  const listed = serviceNames.map((name) => ({ name }));
  const withImports = (file: FileDescriptorProto, seen = new Set<FileDescriptorProto>()): Set<FileDescriptorProto> => {
    seen.add(file);
    for (const name of file.dependency) {
      const imported = byName.get(name);
      if (imported !== undefined && !seen.has(imported)) withImports(imported, seen);
    }
    return seen;
  };
  const found = (file: FileDescriptorProto | undefined): ServerReflectionResponse["messageResponse"] =>
    file === undefined
      ? { $case: "errorResponse", value: { errorCode: status.NOT_FOUND, errorMessage: "not found" } }
      : {
          $case: "fileDescriptorResponse",
          value: {
            fileDescriptorProto: [...withImports(file)].map((one) =>
              Buffer.from(toBinary(FileDescriptorProtoSchema, one)),
            ),
          },
        };
  return (request) =>
    estimateBytesMax(request) > REQUEST_BYTES_MAX
      ? TOO_LONG
      : { validHost: request.host, originalRequest: request, messageResponse: respond(request.messageRequest) };

  function respond(query: ServerReflectionRequest["messageRequest"]): ServerReflectionResponse["messageResponse"] {
    switch (query?.$case) {
      case "listServices":
        return { $case: "listServicesResponse", value: { service: listed } };
      case "fileByFilename":
        return found(byName.get(query.value));
      case "fileContainingSymbol":
        return found(bySymbol.get(query.value));
      case "fileContainingExtension":
        return found(byExtendee.get(query.value.containingType)?.get(query.value.extensionNumber));
      case "allExtensionNumbersOfType":
        return messages.has(query.value)
          ? {
              $case: "allExtensionNumbersResponse",
              value: { baseTypeName: query.value, extensionNumber: [...(byExtendee.get(query.value)?.keys() ?? [])] },
            }
          : found(undefined);
      case undefined:
        return {
          $case: "errorResponse",
          value: { errorCode: status.INVALID_ARGUMENT, errorMessage: "the request is empty" },
        };
    }
  }
}

/** Lists the full names of everything that a file defines. */
function listSymbols(file: FileDescriptorProto): string[] {
  // An enum's values belong to the enclosing scope.
  const enums = (scope: string, list: readonly EnumDescriptorProto[]): string[] =>
    list.flatMap((one) => [`${scope}.${one.name}`, ...one.value.map((value) => `${scope}.${value.name}`)]);
  return [
    ...listMessages(file).flatMap(({ name, message }) => [
      name,
      ...[...message.field, ...message.oneofDecl, ...message.extension].map((part) => `${name}.${part.name}`),
      ...enums(name, message.enumType),
    ]),
    ...enums(file.package, file.enumType),
    ...file.extension.map((one) => `${file.package}.${one.name}`),
    ...file.service.flatMap((service) => [
      `${file.package}.${service.name}`,
      ...service.method.map((method) => `${file.package}.${service.name}.${method.name}`),
    ]),
  ];
}

/** Lists the messages of a file, nested ones included, with their full names. */
function listMessages(file: FileDescriptorProto): { readonly name: string; readonly message: DescriptorProto }[] {
  const within = (scope: string, list: readonly DescriptorProto[]): ReturnType<typeof listMessages> =>
    list.flatMap((message) => {
      const name = `${scope}.${message.name}`;
      return [{ name, message }, ...within(name, message.nestedType)];
    });
  return within(file.package, file.messageType);
}

/** Maps the full name of each extended message, and the number of each extension, to the extension's file. */
function collectExtensions(files: readonly FileDescriptorProto[]): Map<string, Map<number, FileDescriptorProto>> {
  const byExtendee = new Map<string, Map<number, FileDescriptorProto>>();
  for (const file of files) {
    const nested = listMessages(file).flatMap(({ message }) => message.extension);
    for (const { extendee, number } of [...file.extension, ...nested]) {
      // Descriptors write type names with a leading dot.
      const name = extendee.replace(/^\./, "");
      const numbers = byExtendee.get(name) ?? new Map<number, FileDescriptorProto>();
      byExtendee.set(name, numbers.set(number, file));
    }
  }
  return byExtendee;
}
