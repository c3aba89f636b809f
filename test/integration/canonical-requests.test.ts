import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  clearField,
  clone,
  fromBinary,
  fromJson,
  getOption,
  ScalarType,
  toBinary,
  type DescField,
  type DescMessage,
  type DescMethod,
  type JsonValue,
  type Message,
} from "@bufbuild/protobuf";
import { reflect, type ReflectMessage } from "@bufbuild/protobuf/reflect";
import { field as fieldRules } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { expect } from "chai";
import { newId } from "../../src/base/ids.js";
import { connect, type Clients } from "../support/client.js";
import { registry, requestFieldsOf } from "../support/corpus.js";
import { createWorld, EXAMPLES, keyOf, METHODS, requestOf, type World } from "../support/examples.js";
import { connectRaw, type RawClient } from "../support/raw-call.js";
import { startServer, type TestServer } from "../support/server.js";

const KINDS = ["DEPOSIT", "WITHDRAWAL", "TRANSFER", "HOLD", "HOLD_CAPTURE", "COMPOUND", "EXCHANGE"];

/** What the contract says that a field means when it is left out; of a choice, when none of it is set. As JSON. */
const DEFAULTS: Readonly<Record<string, JsonValue>> = {
  "DepositRequest.system_account": "cash",
  "WithdrawRequest.system_account": "cash",
  "WithdrawRequest.amount_mode": "AMOUNT_MODE_EXACT",
  "TransferRequest.amount_mode": "AMOUNT_MODE_EXACT",
  "HoldRequest.expires_in": "604800s",
  "CaptureHoldRequest.to_system_account": "cash",
  "ExchangeRequest.rounding": "ROUNDING_HALF_EVEN",
  "ScheduledDeposit.system_account": "cash",
  "ScheduledWithdrawal.system_account": "cash",
  "ScheduledWithdrawal.amount_mode": "AMOUNT_MODE_EXACT",
  "ScheduledTransfer.amount_mode": "AMOUNT_MODE_EXACT",
  "CreateScheduleRequest.on_insufficient_funds": "INSUFFICIENT_FUNDS_POLICY_SKIP",
  "CreateScheduleRequest.retry_interval": "3600s",
  "CreateScheduleRequest.retry_max": 3,
  "CreateAlertRequest.balance": "ALERT_BALANCE_AVAILABLE",
  "CreateWalletRequest.initial_balance": { currencyCode: "USD", minorUnits: "0" },
  // Of a wallet and of new wallets.
  "Limits.min_balance": "0",
  "VelocityLimit.kinds": KINDS.map((kind) => `TRANSACTION_KIND_${kind}`),
};

/** Fields that mean something when they are left out, which no value of theirs says. */
const UNSAYABLE = [
  "DepositRequest.effective_time",
  "WithdrawRequest.effective_time",
  "TransferRequest.effective_time",
  "PostTransactionRequest.effective_time",
  "ExchangeRequest.effective_time",
  "HoldRequest.to_wallet_id",
  "CaptureHoldRequest.amount",
  "ReverseRequest.amount",
  "Recurring.start_time",
  "Recurring.end_time",
  "Recurring.max_runs",
  "SetRateRequest.valid_from",
  "SetRateRequest.valid_until",
];

/** Made by the service. */
const TOKENS = ["quote", "etag"];

const LABEL = "abcdef01-2345-6789-abcd-ef0123456789";

const mutating = METHODS.filter(
  ({ input, methodKind }) =>
    methodKind === "unary" && input.fields.some(({ name, oneof }) => name === "request_id" && !oneof),
);

/** A field of a message or of a message in it, where the message is there. */
interface Site {
  readonly holder: ReflectMessage;
  readonly field: DescField;
  /** The field of the request that it is in. */
  readonly top: string;
}

function sitesIn(holder: ReflectMessage, top?: string): Site[] {
  return holder.fields.flatMap((field) => {
    const name = top ?? field.name;
    const inner =
      field.fieldKind === "message" && holder.isSet(field)
        ? [holder.get(field)]
        : field.fieldKind === "list" && field.listKind === "message"
          ? ([...holder.get(field)] as ReflectMessage[])
          : [];
    const own = inner.filter(({ desc }) => desc.typeName.startsWith("grey."));
    return [{ holder, field, top: name }, ...own.flatMap((one) => sitesIn(one, name))];
  });
}

const nameOf = ({ parent, name }: DescField): string => `${parent.name}.${name}`;

/** The request with one of its fields changed, and an id of its own unless one is given. */
function changed(input: DescMessage, request: Message, change: (sites: readonly Site[]) => void, requestId?: string) {
  const copy = clone(input, request);
  const view = reflect(input, copy);
  change(sitesIn(view));
  if (requestId !== undefined) view.set(input.field.requestId!, requestId);
  return toBinary(input, copy);
}

function setDefault({ holder, field }: Site): void {
  const said = reflect(field.parent, fromJson(field.parent, { [field.name]: DEFAULTS[nameOf(field)]! }, { registry }));
  if (field.fieldKind === "list") for (const item of said.get(field)) holder.get(field).add(item);
  else holder.set(field, said.get(field));
}

const TIMES = ["google.protobuf.Timestamp", "google.protobuf.Duration"];

function setNanos({ holder, field }: Site, nanos: number): void {
  const time = holder.get(field) as ReflectMessage;
  time.set(time.desc.field.nanos!, nanos);
}

function leaveOut({ holder, field }: Site): void {
  for (const one of field.oneof?.fields ?? [field]) clearField(holder.message, one);
}

/** Whether the site holds text, of which the contract does not say that it is an id. */
function isText({ field }: Site): boolean {
  if (TOKENS.includes(field.name)) return false;
  const { type } = getOption(field, fieldRules);
  if (field.fieldKind === "map") return field.mapKind === "scalar" && field.scalar === ScalarType.STRING;
  if (field.fieldKind !== "scalar" || field.scalar !== ScalarType.STRING) return false;
  return type.case === "string" && type.value.wellKnown.case === undefined;
}

function isId({ holder, field }: Site): boolean {
  const { type } = getOption(field, fieldRules);
  return type.case === "string" && type.value.wellKnown.case === "uuid" && holder.isSet(field);
}

function write({ holder, field }: Site, text: string): void {
  if (field.fieldKind === "map") {
    holder.get(field).clear();
    holder.get(field).set("label", text);
  } else {
    holder.set(field, text);
  }
}

/** One request that was answered has one meaning, however it is written. */
describe("a request that was answered before", function () {
  this.timeout(120_000);

  let server: TestServer;
  let grey: Clients;
  let raw: RawClient;
  let world: World;

  before(async () => {
    server = await startServer({
      GREY_HOLD_EXPIRY_EVERY_MS: "3600000",
      GREY_SCHEDULE_EVERY_MS: "3600000",
      GREY_ALERT_EVERY_MS: "3600000",
    });
    grey = connect(server.address);
    raw = connectRaw(server.address);
    world = await createWorld(grey);
  });
  after(async () => {
    raw.close();
    grey.close();
    await server.stop();
  });

  /** What the request came to: "new", "replayed", or why it was refused and which fields differ. */
  async function send(method: DescMethod, bytes: Uint8Array): Promise<string> {
    const answer = await raw.call(`/${keyOf(method)}`, bytes, { timeoutMs: 20_000 });
    if (answer.error !== undefined) return [answer.error.reason, answer.error.info.differs].filter(Boolean).join(": ");
    const message = reflect(method.output, fromBinary(method.output, answer.bytes));
    return message.get(method.output.field.replayed!) === true ? "replayed" : "new";
  }

  /** Both ways round, each under an id of its own, one request is the other. */
  async function expectSame(method: DescMethod, one: (id: string) => Uint8Array, other: (id: string) => Uint8Array) {
    for (const [first, second] of [
      [one, other],
      [other, one],
    ] as const) {
      const id = newId();
      const answer = await send(method, first(id));
      expect(answer).not.to.equal("INVALID_REQUEST");
      expect(await send(method, second(id))).to.equal(answer === "new" ? "replayed" : answer);
    }
  }

  const shown = new Set<string>();

  for (const method of mutating) {
    const { input } = method;
    EXAMPLES[keyOf(method)]!.forEach((example, exampleIndex) => {
      const title = `${keyOf(method)}, example ${exampleIndex + 1}`;
      const request = () => requestOf(method, example(world));

      it(`is the same with its ids in another case: ${title}`, async () => {
        const one = request();
        const upper = changed(input, one, (sites) =>
          sites
            .filter(isId)
            .forEach(({ holder, field }) => holder.set(field, (holder.get(field) as string).toUpperCase())),
        );
        const answer = await send(method, toBinary(input, one));
        expect(await send(method, upper)).to.equal(answer === "new" ? "replayed" : answer);
      });

      it(`is the same with what its unset fields mean: ${title}`, async () => {
        const one = request();
        const sites = sitesIn(reflect(input, one));
        for (const [index, { field }] of sites.entries()) {
          const name = nameOf(field);
          // A system account has no least balance of its own.
          if (!(name in DEFAULTS) || (name === "Limits.min_balance" && "system_account" in example(world))) continue;
          await expectSame(
            method,
            (id) => changed(input, one, (all) => leaveOut(all[index]!), id),
            (id) =>
              changed(
                input,
                one,
                (all) => {
                  leaveOut(all[index]!);
                  setDefault(all[index]!);
                },
                id,
              ),
          );
          shown.add(name);
        }
      });

      it(`is the same with a time that is kept as the same microsecond: ${title}`, async () => {
        const one = request();
        const sites = sitesIn(reflect(input, one));
        for (const [index, { holder, field }] of sites.entries()) {
          if (!TIMES.includes(field.message?.typeName ?? "") || !holder.isSet(field)) continue;
          const [some, others] = field.name === "effective_time" ? [0, 999] : [1, 1_000];
          const at = (nanos: number) => (id: string) => changed(input, one, (all) => setNanos(all[index]!, nanos), id);
          await expectSame(method, at(some), at(others));
        }
      });

      it(`is another one with a text in another case, also one that looks like an id: ${title}`, async () => {
        const one = request();
        const sites = sitesIn(reflect(input, one));
        for (const [index, site] of sites.entries()) {
          if (!isText(site)) continue;
          const id = newId();
          const lower = changed(input, one, (all) => write(all[index]!, LABEL), id);
          // Codes, names of accounts and the like can have no such text.
          if ((await send(method, lower)) === "INVALID_REQUEST") continue;
          const upper = changed(input, one, (all) => write(all[index]!, LABEL.toUpperCase()), id);
          expect(await send(method, upper), nameOf(site.field)).to.equal(`REQUEST_ID_REUSED: ${site.top}`);
        }
      });
    });
  }

  it("was shown for every default", () => expect([...shown].sort()).to.deep.equal(Object.keys(DEFAULTS).sort()));

  it("is looked at in every field of which the contract says what it means when it is left out", () => {
    const saying = fieldsThatSay(/\b(unset|unspecified|empty|0)( or 0)?( means|:| posts nothing)|\bUnset:/i);
    const enums = mutating
      .flatMap(({ input }) => requestFieldsOf(input))
      .filter(({ field }) => field.fieldKind === "enum")
      .filter(({ field }) => {
        const { type } = getOption(field, fieldRules);
        return type.case === "enum" && !type.value.notIn.includes(0);
      })
      .map(({ field }) => nameOf(field));
    const asked = new Set(mutating.flatMap(({ input }) => requestFieldsOf(input).map(({ field }) => nameOf(field))));
    const found = new Set([...saying.filter((name) => asked.has(name)), ...enums]);
    const known = [...Object.keys(DEFAULTS), ...UNSAYABLE];
    expect([...found].filter((name) => !known.includes(name))).to.deep.equal([]);
  });

  /** The fields whose comments in the contract match. */
  function fieldsThatSay(pattern: RegExp): string[] {
    const root = join(import.meta.dirname, "../../../proto");
    return readdirSync(root, { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".proto"))
      .flatMap((file) => {
        let message = "";
        let comment = "";
        return readFileSync(join(root, file), "utf8")
          .split("\n")
          .flatMap((line) => {
            message = /^message (\w+)/.exec(line)?.[1] ?? message;
            const said = /^\s*\/\/ (.*)/.exec(line)?.[1];
            if (said !== undefined) {
              comment += ` ${said}`;
              return [];
            }
            const name = /^\s*(?:repeated |optional )?[\w.]+(?:<.*>)? (\w+) = \d+/.exec(line)?.[1];
            const matches = name !== undefined && pattern.test(comment);
            comment = "";
            return matches ? [`${message}.${name}`] : [];
          });
      });
  }
});
