import { create, fromBinary, fromJson, toBinary, type DescMessage, type JsonObject } from "@bufbuild/protobuf";
import { expect } from "chai";
import * as fc from "fast-check";
import { AlertServiceService } from "../../generated/grey/alert/v1/alert_service.js";
import { LedgerServiceService } from "../../generated/grey/ledger/v1/ledger_service.js";
import { ScheduleServiceService } from "../../generated/grey/schedule/v1/schedule_service.js";
import { TransactionServiceService } from "../../generated/grey/transaction/v1/transaction_service.js";
import { UserServiceService } from "../../generated/grey/user/v1/user_service.js";
import { WalletServiceService } from "../../generated/grey/wallet/v1/wallet_service.js";
import { createProof } from "../../src/rpc/proof.js";
import { createValidatorFor } from "../../src/rpc/validate.js";
import { registry, samplesOf } from "../support/corpus.js";

const ID = "01890a5d-ac96-774b-bcce-b302099a8057";
const MOVEMENT = {
  request_id: ID,
  amount: { currency_code: "USD", minor_units: "250" },
  description: "Grüße: rent",
  metadata: { team: "a", "order.id": "7" },
  external_reference: "INV-2026/17",
  effective_time: "2026-11-22T20:00:00.5Z",
};
const TRANSFER = { ...MOVEMENT, from_wallet_id: ID, to_wallet_id: ID };

/** Ordinary requests of the methods that have to be fast. */
const ORDINARY: Readonly<Record<string, JsonObject>> = {
  "/grey.transaction.v1.TransactionService/Deposit": { ...MOVEMENT, wallet_id: ID, system_account: "bank" },
  "/grey.transaction.v1.TransactionService/Withdraw": { ...MOVEMENT, wallet_id: ID },
  "/grey.transaction.v1.TransactionService/Transfer": TRANSFER,
  "/grey.transaction.v1.TransactionService/BatchTransfer": {
    mode: "BATCH_MODE_ATOMIC",
    transfers: [TRANSFER, { ...TRANSFER, metadata: {} }],
  },
  "/grey.transaction.v1.TransactionService/StreamTransfers": { correlation: "7", transfer: TRANSFER },
  "/grey.transaction.v1.TransactionService/GetTransaction": { id: ID, min_journal_index: "123456789" },
  "/grey.wallet.v1.WalletService/GetBalance": { wallet_id: ID },
};

interface Method {
  readonly path: string;
  readonly input: DescMessage;
  readonly decode: (bytes: Buffer) => unknown;
}

const methods: Method[] = [
  AlertServiceService,
  LedgerServiceService,
  ScheduleServiceService,
  TransactionServiceService,
  UserServiceService,
  WalletServiceService,
]
  .flatMap((definitions) => Object.values(definitions))
  .map(({ path, requestDeserialize }) => {
    const [, service = "", name = ""] = path.split("/");
    const { input } = registry.getService(service)!.methods.find((method) => method.name === name)!;
    return { path, input, decode: requestDeserialize };
  });

describe("the proof that a request keeps the rules", () => {
  const fullCheckFor = createValidatorFor(registry, () => undefined);
  const proofFor = ({ input }: Method) =>
    createProof(input, { registry, regexOf: (pattern: string) => new RegExp(pattern, "u") });

  it("is made for every method but those with a rule that only the full check knows", () => {
    const unproven = methods.filter((method) => proofFor(method) === undefined).map(({ path }) => path.split("/")[2]);
    expect(unproven.sort()).to.deep.equal([
      "BatchGetWallets",
      "CaptureHold",
      "CreateAccount",
      "CreateUser",
      "CreateWallet",
      "Exchange",
      "GetQuote",
      "GetUser",
      "ListSchedules",
      "ListTransactions",
      "NameAccounts",
      "SetDefaultLimits",
      "SetLimits",
      "SetTransactionMetadata",
      "UpdateUser",
      "UpdateWallet",
      "WatchTransactions",
    ]);
  });

  for (const method of methods) {
    const proof = proofFor(method);
    if (proof === undefined) continue;

    it(`holds only for what the full check takes, and what is read alike: ${method.path}`, () => {
      const check = fullCheckFor(method.path);
      const { input } = method;
      const ordinary = ORDINARY[method.path];
      const example = ordinary === undefined ? create(input) : fromJson(input, ordinary, { registry });
      const samples = samplesOf(input, () => example)
        .map(({ bytes }) => Buffer.from(bytes))
        .filter((bytes) => bytes.length < 20_000);
      const one = fc.constantFrom(...samples);
      const change = fc.option(fc.record({ at: fc.nat(300), byte: fc.nat(255), cut: fc.boolean() }), { freq: 1 });
      const messages = fc.tuple(one, fc.option(one, { freq: 1 }), change).map(([first, second, changed]) => {
        const bytes = Buffer.concat([first, second ?? Buffer.of()]);
        if (changed === null || bytes.length === 0) return bytes;
        const at = changed.at % bytes.length;
        if (changed.cut) return bytes.subarray(0, at);
        bytes[at] = changed.byte;
        return bytes;
      });
      const assertSound = (bytes: Buffer): void => {
        if (!proof(bytes, 0, bytes.length)) return;
        const full = check(bytes);
        expect(full.violations).to.deep.equal([]);
        expect(method.decode(bytes)).to.deep.equal(method.decode(full.bytes!));
        expect(fromBinary(input, bytes)).to.deep.equal(fromBinary(input, full.bytes!));
      };
      for (const sample of samples) assertSound(sample);
      fc.assert(fc.property(messages, assertSound), { numRuns: 2_000 });
    });
  }

  for (const id of [
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "fFfFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
  ]) {
    it(`does not hold for the request id ${id}, which the full check refuses`, () => {
      const method = methods.find(({ path }) => path.endsWith("/Transfer"))!;
      const bytes = Buffer.from(encode(method.input, { ...TRANSFER, request_id: id }));
      expect(proofFor(method)?.(bytes, 0, bytes.length)).to.equal(false);
      expect(fullCheckFor(method.path)(bytes).violations).to.deep.equal([
        { field: "request_id", rule: "must not be the nil or the max UUID" },
      ]);
    });
  }

  for (const [path, ordinary] of Object.entries(ORDINARY)) {
    it(`holds for an ordinary request, as any encoder writes it: ${path}`, () => {
      const method = methods.find((one) => one.path === path)!;
      const bytes = Buffer.from(encode(method.input, ordinary));
      expect(proofFor(method)?.(bytes, 0, bytes.length)).to.equal(true);
    });
  }
});

function encode(input: DescMessage, json: JsonObject): Uint8Array {
  return toBinary(input, fromJson(input, json, { registry }));
}
