import { create, createFileRegistry, fromBinary, getOption, hasOption, type FileRegistry } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema, type FileDescriptorProto } from "@bufbuild/protobuf/wkt";
import { field as fieldRules } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { credentials } from "@grpc/grpc-js";
import { expect } from "chai";
import {
  ServerReflectionClient,
  type ServerReflectionRequest,
  type ServerReflectionResponse,
} from "../../generated/grpc/reflection/v1/reflection.js";
import { ServerReflectionClient as ServerReflectionAlphaClient } from "../../generated/grpc/reflection/v1alpha/reflection.js";
import { loadDescriptors } from "../../src/rpc/descriptors.js";
import { startServer, type TestServer } from "../support/server.js";

type Question = NonNullable<ServerReflectionRequest["messageRequest"]>;
type Reply = NonNullable<ServerReflectionResponse["messageResponse"]>;

const SERVICES = [
  "grey.user.v1.UserService",
  "grey.wallet.v1.WalletService",
  "grey.transaction.v1.TransactionService",
  "grey.ledger.v1.LedgerService",
  "grey.schedule.v1.ScheduleService",
  "grey.alert.v1.AlertService",
  "grpc.health.v1.Health",
  "grpc.reflection.v1.ServerReflection",
  "grpc.reflection.v1alpha.ServerReflection",
];

const NOT_FOUND = 5;
const INVALID_ARGUMENT = 3;

const registryMessages = [...loadDescriptors().registry]
  .filter((desc) => desc.kind === "message")
  .map((desc) => desc.typeName);

for (const [version, Client] of [
  ["v1", ServerReflectionClient],
  ["v1alpha", ServerReflectionAlphaClient],
] as const) {
  describe(`reflection ${version}`, () => {
    let server: TestServer;
    let client: ServerReflectionClient;

    before(async () => {
      server = await startServer();
      client = new Client(server.address, credentials.createInsecure());
    });
    after(async () => {
      client.close();
      await server.stop();
    });

    /** The answers to questions that are asked one after the other on one stream. */
    function ask(...questions: (Question | undefined)[]): Promise<ServerReflectionResponse[]> {
      return new Promise((resolve, reject) => {
        const answers: ServerReflectionResponse[] = [];
        const stream = client.serverReflectionInfo();
        stream.on("data", (answer: ServerReflectionResponse) => answers.push(answer));
        stream.on("end", () => resolve(answers));
        stream.on("error", reject);
        for (const messageRequest of questions) stream.write({ host: "here", messageRequest });
        stream.end();
      });
    }

    async function askOne(question: Question): Promise<Reply> {
      const [answer] = await ask(question);
      return answer!.messageResponse!;
    }

    async function filesWith(symbol: string): Promise<FileDescriptorProto[]> {
      return filesOf(await askOne({ $case: "fileContainingSymbol", value: symbol }));
    }

    it("lists every service", async () => {
      const reply = await askOne({ $case: "listServices", value: "" });
      expect(reply.$case).to.equal("listServicesResponse");
      const { service } = reply.value as { service: { name: string }[] };
      expect(service.map(({ name }) => name)).to.have.members(SERVICES);
    });

    it("repeats the request in its answer, and answers many on one stream in order", async () => {
      const questions: Question[] = [
        { $case: "fileContainingSymbol", value: "grey.user.v1.User" },
        { $case: "listServices", value: "" },
        { $case: "fileByFilename", value: "grey/type/v1/money.proto" },
      ];
      const answers = await ask(...questions);
      expect(answers.map(({ validHost }) => validHost)).to.deep.equal(["here", "here", "here"]);
      expect(answers.map(({ originalRequest }) => originalRequest?.messageRequest)).to.deep.equal(questions);
      expect(answers.map(({ messageResponse }) => messageResponse?.$case)).to.deep.equal([
        "fileDescriptorResponse",
        "listServicesResponse",
        "fileDescriptorResponse",
      ]);
    });

    it("returns each service's file with all that it imports: enough to build a client", async () => {
      for (const name of SERVICES) {
        const registry = registryOf(await filesWith(name));
        const service = registry.getService(name);
        expect(service?.methods, name).not.to.deep.equal([]);
      }
    });

    it("finds a symbol of each kind: message, nested message, field, oneof, enum, value, service, method", async () => {
      const symbols = [
        "grey.wallet.v1.Balance",
        "grey.user.v1.User.MetadataEntry",
        "grey.wallet.v1.Wallet.label",
        "grey.transaction.v1.ListTransactionsRequest.of",
        "grey.error.v1.ErrorReason",
        "grey.error.v1.ERROR_REASON_INTERNAL",
        "grey.ledger.v1.LedgerService",
        "grey.transaction.v1.TransactionService.Transfer",
        "grpc.health.v1.HealthCheckResponse.ServingStatus",
        "grpc.health.v1.HealthCheckResponse.SERVING",
      ];
      const questions = symbols.map((value) => ({ $case: "fileContainingSymbol" as const, value }));
      const answers = await ask(...questions);
      const missing = symbols.filter((symbol, index) => {
        const reply = answers[index]!.messageResponse!;
        return reply.$case !== "fileDescriptorResponse" || !symbol.startsWith(filesOf(reply)[0]!.package);
      });
      expect(missing).to.deep.equal([]);
    });

    it("finds every message of every service", async () => {
      const names = registryMessages.filter((name) => name.startsWith("grey."));
      expect(names.length).to.be.greaterThan(50);
      for (const name of names) {
        const [file] = await filesWith(name);
        expect(file!.messageType.map((message) => `${file!.package}.${message.name}`)).to.include(name);
      }
    });

    it("returns the files with the rules of their fields and their comments", async () => {
      const registry = registryOf(await filesWith("grey.transaction.v1.TransactionService"));
      const request = registry.getMessage("grey.transaction.v1.TransferRequest")!;
      const requestId = request.fields.find((field) => field.name === "request_id")!;
      expect(hasOption(requestId, fieldRules)).to.equal(true);
      const rules = getOption(requestId, fieldRules);
      expect(rules.required).to.equal(true);
      expect(rules.type.case === "string" && rules.type.value.wellKnown.case).to.equal("uuid");
      const comments = request.file.proto.sourceCodeInfo?.location.filter((one) => one.leadingComments !== "");
      expect(comments).not.to.deep.equal([]);
    });

    it("returns a file by its name", async () => {
      const [file] = filesOf(await askOne({ $case: "fileByFilename", value: "grey/type/v1/money.proto" }));
      expect(file!.messageType.map(({ name }) => name)).to.deep.equal(["Money"]);
    });

    it("finds the messages of error details", async () => {
      for (const name of ["ErrorInfo", "RequestInfo", "RetryInfo", "BadRequest", "BadRequest.FieldViolation"]) {
        const files = await filesWith(`google.rpc.${name}`);
        expect(registryOf(files).getMessage(`google.rpc.${name}`), name).not.to.equal(undefined);
      }
    });

    it("returns the numbers of a message's extensions, and the file of each", async () => {
      const files = loadDescriptors().files;
      const extensions = files.flatMap((file) => file.extension.map((extension) => ({ file, extension })));
      const extendees = new Set(extensions.map(({ extension }) => extension.extendee.slice(1)));
      expect(extendees).to.include("google.protobuf.FieldOptions");
      for (const value of extendees) {
        const reply = await askOne({ $case: "allExtensionNumbersOfType", value });
        const expected = extensions.filter(({ extension }) => extension.extendee === `.${value}`);
        expect(reply.$case).to.equal("allExtensionNumbersResponse");
        const { baseTypeName, extensionNumber } = reply.value as { baseTypeName: string; extensionNumber: number[] };
        expect(baseTypeName).to.equal(value);
        expect(extensionNumber).to.have.members(expected.map(({ extension }) => extension.number));
        for (const { file, extension } of expected) {
          const asked = { containingType: value, extensionNumber: extension.number };
          const [first] = filesOf(await askOne({ $case: "fileContainingExtension", value: asked }));
          expect(first!.name).to.equal(file.name);
        }
      }
    });

    it("returns no numbers for a message without extensions", async () => {
      for (const value of registryMessages) {
        const reply = await askOne({ $case: "allExtensionNumbersOfType", value });
        if (reply.$case !== "allExtensionNumbersResponse") throw new Error(`${value}: ${reply.$case}`);
        if (value.startsWith("grey.")) expect(reply.value.extensionNumber, value).to.deep.equal([]);
      }
    });

    it("answers an empty request with INVALID_ARGUMENT, and continues", async () => {
      const [nothing, list] = await ask(undefined, { $case: "listServices", value: "" });
      expect((nothing!.messageResponse!.value as { errorCode: number }).errorCode).to.equal(INVALID_ARGUMENT);
      expect(list!.messageResponse!.$case).to.equal("listServicesResponse");
    });

    for (const question of [
      { $case: "allExtensionNumbersOfType", value: "grey.user.v1.Nobody" },
      { $case: "fileContainingExtension", value: { containingType: "grey.user.v1.User", extensionNumber: 7 } },
      { $case: "fileContainingExtension", value: { containingType: "__proto__", extensionNumber: -1 } },
      { $case: "fileContainingSymbol", value: "grey.user.v1.Nobody" },
      { $case: "fileContainingSymbol", value: "" },
      { $case: "fileContainingSymbol", value: "__proto__" },
      { $case: "fileByFilename", value: "../../package.json" },
      { $case: "fileByFilename", value: "constructor" },
    ] as const) {
      it(`answers ${question.$case} ${JSON.stringify(question.value)} with NOT_FOUND, and continues`, async () => {
        const [missing, list] = await ask(question, { $case: "listServices", value: "" });
        expect(missing!.messageResponse).to.deep.include({ $case: "errorResponse" });
        expect((missing!.messageResponse!.value as { errorCode: number }).errorCode).to.equal(NOT_FOUND);
        expect(list!.messageResponse!.$case).to.equal("listServicesResponse");
      });
    }
  });
}

function filesOf(reply: Reply): FileDescriptorProto[] {
  expect(reply.$case, JSON.stringify(reply)).to.equal("fileDescriptorResponse");
  const { fileDescriptorProto } = reply.value as { fileDescriptorProto: Uint8Array[] };
  return fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
}

/** A registry of the files alone; it fails when an import is missing. */
function registryOf(files: readonly FileDescriptorProto[]): FileRegistry {
  const byName = new Map(files.map((file) => [file.name, file]));
  const sorted: FileDescriptorProto[] = [];
  const add = (file: FileDescriptorProto): void => {
    if (sorted.includes(file)) return;
    for (const name of file.dependency) {
      const imported = byName.get(name);
      expect(imported, `${name}, imported by ${file.name}`).not.to.equal(undefined);
      add(imported!);
    }
    sorted.push(file);
  };
  files.forEach(add);
  return createFileRegistry(create(FileDescriptorSetSchema, { file: sorted }));
}
