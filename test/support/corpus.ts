import { createHash, randomUUID } from "node:crypto";
import {
  clone,
  create,
  fromBinary,
  getExtension,
  getOption,
  hasOption,
  ScalarType,
  toBinary,
  type DescField,
  type DescMessage,
  type DescMethod,
  type Message,
} from "@bufbuild/protobuf";
import { reflect, type ReflectList, type ReflectMap, type ReflectMessage } from "@bufbuild/protobuf/reflect";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import {
  field as fieldOption,
  message as messageOption,
  oneof as oneofOption,
  type FieldRules,
} from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { loadDescriptors } from "../../src/rpc/descriptors.js";

// What no caller should be able to break a service with, put into every field of a message; and which fields of a
// message break a rule of the contract, found without the library that the service uses.

/** The contract. */
export const { registry } = loadDescriptors();

/** A request, as bytes, that is valid but for one thing. */
export interface Sample {
  readonly label: string;
  readonly bytes: Uint8Array;
}

/**
 * Every sample for a message of this type.
 * @param isTried whether to try what begins at this field of the message
 */
export function samplesOf(
  input: DescMessage,
  example: () => Message,
  isTried: (name: string) => boolean = () => true,
): Sample[] {
  const paths = fieldPathsOf(input).filter(([top]) => isTried(top!.name));
  const inFields = paths.flatMap((path) =>
    piecesOf(path.at(-1)!, valueAt(input, example(), path)).map(({ label, bytes }) => ({
      label: `${path.map((field) => field.name).join(".")}: ${label}`,
      bytes: encodeWith(input, example(), path, bytes),
    })),
  );
  const whole = WHOLE.map(({ label, bytes }) => ({
    label: `the message: ${label}`,
    bytes: Buffer.concat([toBinary(input, example()), bytes]),
  }));
  return [...inFields, ...whole, ...GARBAGE];
}

/** The paths of all fields, nested ones too; into a message that holds itself only once. */
function fieldPathsOf(message: DescMessage, above: readonly DescField[] = []): DescField[][] {
  return message.fields.flatMap((field) => {
    const path = [...above, field];
    const isNested = field.message !== undefined && !above.some((one) => one.message === field.message);
    return [path, ...(isNested ? fieldPathsOf(field.message, path) : [])];
  });
}

/** The message's bytes, with these in place of the field at the end of the path. */
function encodeWith(desc: DescMessage, message: Message, path: readonly DescField[], bytes: Uint8Array): Uint8Array {
  const [field, ...rest] = path;
  const without = clone(desc, message);
  const child = childOf(reflect(desc, message), field!);
  reflect(desc, without).clear(field!);
  const own = toBinary(desc, without);
  if (rest.length === 0) return Buffer.concat([own, bytes]);
  return Buffer.concat([own, delimited(field!.number, encodeWith(field!.message!, child, rest, bytes))]);
}

/** The message in the field, the first of a list; an empty one where there is none. */
function childOf(parent: ReflectMessage, field: DescField): Message {
  if (field.fieldKind === "message" && parent.isSet(field)) return parent.get(field).message;
  if (field.fieldKind === "list" && field.listKind === "message") {
    const first = (parent.get(field) as ReflectList<ReflectMessage>).get(0);
    if (first !== undefined) return first.message;
  }
  return create(field.message ?? parent.desc);
}

/** The bytes of a message field's value in the example. */
function valueAt(desc: DescMessage, message: Message, path: readonly DescField[]): Uint8Array {
  const [field, ...rest] = path;
  if (field?.message === undefined) return new Uint8Array();
  const child = childOf(reflect(desc, message), field);
  return rest.length === 0 ? toBinary(field.message, child) : valueAt(field.message, child, rest);
}

interface Piece {
  readonly label: string;
  /** With the field's tag. */
  readonly bytes: Uint8Array;
}

function piecesOf(field: DescField, example: Uint8Array): Piece[] {
  const no = field.number;
  switch (field.fieldKind) {
    case "scalar":
      return [...scalarPieces(no, field.scalar, rulesOf(field)), ...WRONG_WIRE(no)];
    case "enum":
      return [...varintPieces(no, ENUMS), ...WRONG_WIRE(no)];
    case "message":
      return [
        { label: "unset", bytes: Buffer.alloc(0) },
        { label: "an empty message", bytes: delimited(no, Buffer.alloc(0)) },
        // The parts of a field that comes twice are one message.
        { label: "twice, then empty", bytes: Buffer.concat([delimited(no, example), delimited(no, Buffer.alloc(0))]) },
        {
          label: "a length beyond its end",
          bytes: Buffer.concat([delimited(no, example), [tag(no, 2), 0x7f]].map(bytesOf)),
        },
        ...(SPECIAL[field.message.typeName]?.(no) ?? []),
        ...WRONG_WIRE(no),
      ];
    case "list":
      return [{ label: "empty", bytes: Buffer.alloc(0) }, ...listPieces(field), ...WRONG_WIRE(no)];
    case "map":
      return [{ label: "empty", bytes: Buffer.alloc(0) }, ...mapPieces(field), ...WRONG_WIRE(no)];
  }
}

function listPieces(field: DescField & { fieldKind: "list" }): Piece[] {
  const no = field.number;
  const rules = rulesOf(field);
  const items =
    field.listKind === "scalar"
      ? scalarPieces(no, field.scalar, itemRules(rules))
      : field.listKind === "enum"
        ? varintPieces(no, ENUMS)
        : [];
  const repeated = rules?.type.case === "repeated" ? Number(rules.type.value.maxItems) : 0;
  const [, , sound = { label: "", bytes: delimited(no, Buffer.alloc(0)) }] = items;
  const distinct = Array.from({ length: repeated + 1 }, (_, index) =>
    field.listKind === "enum"
      ? new BinaryWriter().uint32(tag(no, 0)).int32(index).finish()
      : delimited(no, Buffer.from(field.listKind === "scalar" ? randomUUID() : "")),
  );
  return [
    ...items,
    { label: "the same twice", bytes: Buffer.concat([sound.bytes, sound.bytes]) },
    { label: "one more than the most", bytes: Buffer.concat(distinct) },
    { label: "the most", bytes: Buffer.concat(distinct.slice(1)) },
    {
      label: "ten thousand wrong ones",
      bytes: Buffer.concat(Array.from({ length: 10_000 }, () => items.at(-1)?.bytes ?? sound.bytes)),
    },
  ];
}

function mapPieces(field: DescField & { fieldKind: "map" }): Piece[] {
  if (field.mapKey !== ScalarType.STRING || field.mapKind !== "scalar" || field.scalar !== ScalarType.STRING) {
    throw new Error(`teach the corpus maps such as ${field.toString()}`);
  }
  const no = field.number;
  const rules = rulesOf(field);
  const map = rules?.type.case === "map" ? rules.type.value : undefined;
  const entry = (...parts: Uint8Array[]): Uint8Array => delimited(no, Buffer.concat(parts));
  const text = (part: number, value: string): Uint8Array => delimited(part, Buffer.from(value));
  const pairs = (count: number): Uint8Array =>
    Buffer.concat(Array.from({ length: count }, (_, index) => entry(text(1, `k${index}`), text(2, "v"))));
  const maxPairs = Number(map?.maxPairs ?? 0);
  return [
    ...scalarPieces(1, ScalarType.STRING, map?.keys).map(({ label, bytes }) => ({
      label: `the key ${label}`,
      bytes: entry(bytes, text(2, "v")),
    })),
    ...scalarPieces(2, ScalarType.STRING, map?.values).map(({ label, bytes }) => ({
      label: `the value ${label}`,
      bytes: entry(text(1, "k"), bytes),
    })),
    { label: "an entry without a key", bytes: entry(text(2, "v")) },
    { label: "an entry without a value", bytes: entry(text(1, "k")) },
    {
      label: "the same key twice",
      bytes: Buffer.concat([entry(text(1, "k"), text(2, "1")), entry(text(1, "k"), text(2, "2"))]),
    },
    { label: "the most pairs", bytes: pairs(maxPairs) },
    { label: "one pair more than the most", bytes: pairs(maxPairs + 1) },
  ];
}

function scalarPieces(no: number, type: ScalarType, rules: FieldRules | undefined): Piece[] {
  switch (type) {
    case ScalarType.STRING: {
      const max = lengthMaxOf(rules);
      const lengths = max === undefined ? [] : [max, max + 1];
      return [
        ...STRINGS(),
        ...lengths.flatMap((length) => [
          [`${length} letters`, "A".repeat(length)] as const,
          [`${length} emoji`, "😀".repeat(length)] as const,
        ]),
      ]
        .map(([label, value]) => ({ label, bytes: delimited(no, Buffer.from(value)) }))
        .concat(NO_UTF8.map(([label, bytes]) => ({ label, bytes: delimited(no, Buffer.from(bytes)) })));
    }
    case ScalarType.INT32:
    case ScalarType.INT64: {
      const least = rules?.type.value as {
        greaterThan?: { value?: number | bigint };
        lessThan?: { value?: number | bigint };
      };
      const range = isSet("page_size", rules) ? PAGE_SIZE : [];
      const bounds = [least?.greaterThan?.value, least?.lessThan?.value, ...range].flatMap((bound) =>
        bound === undefined ? [] : [BigInt(bound) - 1n, BigInt(bound), BigInt(bound) + 1n],
      );
      return [
        ...varintPieces(no, [...INTEGERS, ...bounds]),
        { label: "a varint of 11 bytes", bytes: Uint8Array.from([tag(no, 0), ...Array(10).fill(0xff), 1]) },
        // It takes a reader that does not look at wire types for 5 and an unknown field, any other for an unknown field.
        { label: "5, within a fixed64", bytes: Uint8Array.from([tag(no, 1), 5, 0x7a, 5, 0, 0, 0, 0, 0]) },
      ];
    }
    case ScalarType.BOOL:
      return varintPieces(no, [0n, 1n, 2n]);
    default:
      throw new Error(`teach the corpus scalars of type ${ScalarType[type]}`);
  }
}

const NIL = "00000000-0000-0000-0000-000000000000";
const MAX = "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF";

/** New for each field: some are ids, which must not be used twice. */
const STRINGS = (): (readonly [label: string, value: string])[] => [
  ["empty", ""],
  ["a letter", "a"],
  ["an id of nothing", randomUUID()],
  ["an id in upper case", randomUUID().toUpperCase()],
  ["the nil id", NIL],
  ["the max id", MAX],
  ["an id without hyphens", randomUUID().replaceAll("-", "")],
  ["an id in braces", `{${randomUUID()}}`],
  ["an id as a URN", `urn:uuid:${randomUUID()}`],
  ["an id and a line feed", `${randomUUID()}\n`],
  ["an id in full-width digits", randomUUID().replaceAll(/\d/g, "\uff11")],
  ["blanks", "   "],
  ["1 MB", "A".repeat(1_048_576)],
  ["NUL", "a\0b"],
  ["CR LF", "a\r\nx-forged: 1"],
  ["a delete character", "a\u007fb"],
  ["a C1 control character", "a\u009bb"],
  ["a line separator", "a\u2028b"],
  ["NFC", "\u00e9"],
  ["NFD", "e\u0301"],
  ["zero width", "a\u200bb\ufeffc"],
  ["right to left", "\u202egnp.exe"],
  ["a character that is none", "\uffff"],
  ["__proto__", "__proto__"],
  ["constructor", "constructor"],
  ["toString", "toString"],
  ["SQL", "'; DROP TABLE users; --"],
  ["LIKE", "%_\\%"],
  ["a template", "${7*7} {{7*7}} %s %n"],
  ["a path", "../../../../etc/passwd"],
  ["an email", `${randomUUID()}@example.com`],
  ["an email in upper case", `${randomUUID().toUpperCase()}@EXAMPLE.COM`],
  ["the shortest email", "a@b"],
  ["an email and CR LF", "ada@example.com\r\nBcc: eve@example.com"],
  ["an email beyond ASCII", "ada@exämple.com"],
  ["an email with two at signs", "a@b@example.com"],
  ["another currency", "EUR"],
  ["an unknown currency", "ZQZ"],
  ["a currency in lower case", "usd"],
  ["a currency and a line feed", "USD\n"],
  ["base64", Buffer.from(randomUUID()).toString("base64url")],
  ["a number", "-1e308"],
];

/** Not even text. */
const NO_UTF8: readonly (readonly [label: string, bytes: readonly number[]])[] = [
  ["a lone surrogate", [0xed, 0xa0, 0x80]],
  ["an overlong NUL", [0xc0, 0x80]],
  ["half a character", [0x61, 0xc3]],
  ["a byte of no character", [0xff]],
  ["beyond Unicode", [0xf4, 0x90, 0x80, 0x80]],
];

const INTEGERS: readonly bigint[] = [
  0n,
  1n,
  -1n,
  2n ** 31n - 1n,
  2n ** 31n,
  -(2n ** 31n),
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 53n + 1n,
  2n ** 63n - 1n,
  // As bytes, the same as int64's maximum and 1.
  -(2n ** 63n),
  -(2n ** 63n) + 1n,
];
const ENUMS: readonly bigint[] = [0n, 1n, 2n, 3n, -1n, 99n, 2n ** 31n - 1n];

const YEAR_0 = -62_167_219_200n;
const YEAR_10000 = 253_402_300_800n;
const TIMES: readonly (readonly [label: string, seconds: bigint, nanos: number])[] = [
  ["now", 1_700_000_000n, 123_456_789],
  ["1970", 0n, 0],
  ["just before 1970", -1n, 999_999_999],
  ["year 0", YEAR_0, 0],
  ["the end of year 9999", YEAR_10000 - 1n, 999_999_999],
  ["year 10000", YEAR_10000, 0],
  ["negative nanos", 5n, -1],
  ["negative nanos in 1970", 0n, -1],
  ["nanos = 10^9", 5n, 1_000_000_000],
  ["the highest nanos", 5n, 2_147_483_647],
  ["the least seconds", -(2n ** 63n), 0],
  ["the highest seconds", 2n ** 63n - 1n, 0],
];
const MASKS: readonly (readonly string[])[] = [
  [],
  [""],
  ["*"],
  ["name", "name"],
  ["Name"],
  ["name,email"],
  ["id"],
  ["request_id"],
  ["metadata.a"],
  ["__proto__"],
];

/** Values for messages whose fields only make sense together. */
const SPECIAL: Readonly<Record<string, (no: number) => Piece[]>> = {
  "google.protobuf.Timestamp": (no) =>
    TIMES.map(([label, seconds, nanos]) => ({
      label,
      bytes: delimited(no, new BinaryWriter().uint32(tag(1, 0)).int64(seconds).uint32(tag(2, 0)).int32(nanos).finish()),
    })),
  "google.protobuf.Duration": (no) =>
    DURATIONS.map(([label, seconds, nanos]) => ({
      label,
      bytes: delimited(no, new BinaryWriter().uint32(tag(1, 0)).int64(seconds).uint32(tag(2, 0)).int32(nanos).finish()),
    })),
  "google.protobuf.FieldMask": (no) =>
    MASKS.map((paths) => ({
      label: JSON.stringify(paths),
      bytes: delimited(no, Buffer.concat(paths.map((path) => delimited(1, Buffer.from(path))))),
    })),
};

const DURATIONS = [
  ["0 s", 0n, 0],
  ["less than a second", 0n, 999_999_999],
  ["a second", 1n, 0],
  ["a negative duration", -5n, 0],
  ["negative nanos", 5n, -1],
  ["a second's nanos", 5n, 1_000_000_000],
  ["400 days", 34_560_000n, 0],
  ["more than 400 days", 34_560_000n, 1],
  ["the greatest", 315_576_000_000n, 999_999_999],
  ["int64's greatest", 2n ** 63n - 1n, 0],
] as const;

/** The field as other wire types than its own. */
const WRONG_WIRE = (no: number): Piece[] => [
  { label: "as a varint", bytes: Uint8Array.from([tag(no, 0), 1]) },
  { label: "as a fixed32", bytes: Uint8Array.from([tag(no, 5), 1, 2, 3, 4]) },
  { label: "as text", bytes: delimited(no, Buffer.from("text")) },
  { label: "as a group", bytes: Uint8Array.from([tag(no, 3), tag(no, 4)]) },
];

/** What comes after an otherwise valid message. */
const WHOLE: readonly Sample[] = [
  { label: "as it is", bytes: Buffer.alloc(0) },
  {
    label: "with unknown fields",
    bytes: Buffer.concat([delimited(9_999, Buffer.from("new")), [0xf8, 0xac, 0x04, 1]].map(bytesOf)),
  },
  { label: "with an unknown group", bytes: Uint8Array.from([0x7b, 0x08, 1, 0x7c]) },
  { label: "with the end of a group", bytes: Uint8Array.from([0x7c]) },
  { label: "with field number 0", bytes: Uint8Array.from([0, 0]) },
  { label: "with wire type 7", bytes: Uint8Array.from([0x7f]) },
  { label: "cut off", bytes: Uint8Array.from([0x7a, 5, 1]) },
  { label: "with a length of 2^32", bytes: Uint8Array.from([0x7a, 0xff, 0xff, 0xff, 0xff, 0x0f]) },
  { label: "with groups 10,000 deep", bytes: Buffer.alloc(10_000, 0x7b) },
];

const GARBAGE: readonly Sample[] = [
  { label: "no bytes at all", bytes: Buffer.alloc(0) },
  ...Array.from({ length: 20 }, (_, index) => ({
    label: `garbage ${index}`,
    bytes: createHash("sha512").update(`${index}`).digest(),
  })),
];

function varintPieces(no: number, values: readonly bigint[]): Piece[] {
  return values.map((value) => ({
    label: `${value}`,
    bytes: new BinaryWriter().uint32(tag(no, 0)).int64(value).finish(),
  }));
}

function delimited(no: number, bytes: Uint8Array): Uint8Array {
  return new BinaryWriter().tag(no, WireType.LengthDelimited).bytes(bytes).finish();
}

function tag(no: number, wireType: number): number {
  return (no << 3) | wireType;
}

function bytesOf(bytes: Uint8Array | readonly number[]): Uint8Array {
  return Uint8Array.from(bytes);
}

// The rules of the contract, read without the library that enforces them.

const ruleCache = new Map<DescField, FieldRules>();

/** The field's rules; decoded once. */
function rulesOf(field: DescField): FieldRules {
  const rules = ruleCache.get(field) ?? getOption(field, fieldOption);
  ruleCache.set(field, rules);
  return rules;
}

/** Returns true if this predefined rule is set; throws for any other, which the corpus does not know. */
function isSet(name: string, rules: FieldRules | undefined): boolean {
  const names = predefinedOf(rules).map((one) => one.name);
  const unknown = names.find((one) => one !== name);
  if (unknown !== undefined) throw new Error(`teach the corpus the rule ${unknown}`);
  return names.length > 0;
}

/** The predefined rules that are set, with their values. */
function predefinedOf(rules: FieldRules | undefined): { name: string; value: unknown }[] {
  const standard = rules?.type.value as Message | undefined;
  return (standard?.$unknown ?? []).map(({ no }) => {
    const extension = registry.getExtensionFor(registry.getMessage(standard!.$typeName)!, no)!;
    return { name: extension.name, value: getExtension(standard!, extension) };
  });
}

const PAGE_SIZE = [0, 1_000] as const;

/** What the predefined rules of texts take, by their name: at most so many characters, which match. */
const TEXTS: Readonly<Record<string, (value: unknown) => { lengthMax?: number; matches: (text: string) => boolean }>> =
  {
    request_id: () => ({ matches: (text) => ![NIL, MAX].includes(text.toUpperCase()) }),
    line_max_len: (value) => ({ lengthMax: Number(value), matches: (text) => !/\p{Cc}/u.test(text) }),
    currency_code: () => ({ lengthMax: 12, matches: (text) => /^[A-Z][A-Z0-9]{2,}$/.test(text) }),
    system_account: () => ({ lengthMax: 32, matches: (text) => /^[a-z][a-z0-9_]*$/.test(text) }),
    limit_name: () => ({ lengthMax: 32, matches: (text) => /^[a-z][a-z0-9_-]*$/.test(text) }),
    metadata_key: () => ({ lengthMax: 64, matches: (text) => /^[A-Za-z0-9][A-Za-z0-9_.:/-]*$/.test(text) }),
    rate: () => ({ lengthMax: 37, matches: (text) => /^(0|[1-9]\d*)(\.\d+)?$/.test(text) && /[1-9]/.test(text) }),
    cron: () => ({ lengthMax: 200, matches: (text) => /^([0-9A-Z*,/-]+( |$)){5}$/.test(text) && !text.endsWith(" ") }),
    time_zone: () => ({ lengthMax: 64, matches: (text) => /^[A-Za-z][A-Za-z0-9_+/-]*$/.test(text) }),
    id_prefix: () => ({ lengthMax: 36, matches: (text) => /^[0-9a-f][0-9a-f-]*$/i.test(text) }),
    page_token: () => ({ lengthMax: 512, matches: () => true }),
  };

/** The predefined rules of a text. */
function textRulesOf(rules: FieldRules | undefined) {
  return predefinedOf(rules).map(({ name, value }) => {
    const rule = TEXTS[name];
    if (rule === undefined) throw new Error(`teach the corpus the rule ${name}`);
    return rule(value);
  });
}

/** The most characters that a text may have; undefined for any number. */
function lengthMaxOf(rules: FieldRules | undefined): number | undefined {
  if (rules?.type.case !== "string") return undefined;
  const bounds = [
    ...(rules.type.value.maxLen > 0n ? [Number(rules.type.value.maxLen)] : []),
    ...textRulesOf(rules).flatMap(({ lengthMax }) => lengthMax ?? []),
  ];
  return bounds.length === 0 ? undefined : Math.min(...bounds);
}

const celCache = new Map<DescMessage, readonly string[]>();

/** The ids of the rules of the message as a whole. */
function celOf(message: DescMessage): readonly string[] {
  const ids = celCache.get(message) ?? getOption(message, messageOption).cel.map(({ id }) => id);
  celCache.set(message, ids);
  return ids;
}

function itemRules(rules: FieldRules | undefined): FieldRules | undefined {
  return rules?.type.case === "repeated" ? rules.type.value.items : undefined;
}

/** Whether nothing in the contract says how much the field may hold. */
export function isUnbounded(field: DescField): boolean {
  const rules = rulesOf(field)?.type;
  switch (field.fieldKind) {
    case "scalar":
      return field.scalar === ScalarType.STRING && !isBoundedText(rulesOf(field));
    case "list":
      return (
        rules?.case !== "repeated" ||
        rules.value.maxItems === 0n ||
        (field.listKind === "scalar" && field.scalar === ScalarType.STRING && !isBoundedText(rules.value.items))
      );
    case "map":
      return (
        rules?.case !== "map" ||
        rules.value.maxPairs === 0n ||
        !isBoundedText(rules.value.keys) ||
        !isBoundedText(rules.value.values)
      );
    default:
      return false;
  }
}

function isBoundedText(rules: FieldRules | undefined): boolean {
  if (rules?.type.case !== "string") return false;
  return lengthMaxOf(rules) !== undefined || rules.type.value.wellKnown.case === "uuid";
}

/** The fields of all requests, nested ones too, by their path; those of Google's own messages are not Grey's to bound. */
export function requestFieldsOf(input: DescMessage): { path: string; field: DescField }[] {
  return fieldPathsOf(input)
    .filter((path) => !path.at(-1)!.parent.typeName.startsWith("google."))
    .map((path) => ({ path: path.map((one) => one.name).join("."), field: path.at(-1)! }));
}

/** What cel rules say, by their id: the field that they name when they are of a whole message, and whether they hold. */
const CEL: Readonly<Record<string, { field: string; holds: (message: ReflectMessage) => boolean }>> = {
  "amount.positive": { field: "", holds: (amount) => (read(amount, "minor_units") as bigint) > 0n },
  "initial_balance.not_negative": { field: "", holds: (amount) => (read(amount, "minor_units") as bigint) >= 0n },
  "initial_balance.currency": {
    field: "initial_balance.currency_code",
    holds: (request) => {
      const initial = read(request, "initial_balance") as ReflectMessage | undefined;
      return initial === undefined || read(initial, "currency_code") === read(request, "currency_code");
    },
  },
  "amounts.ordered": {
    field: "max_amount",
    holds: (request) => {
      const [min, max] = ["min_amount", "max_amount"].map((name) => request.fields.find((one) => one.name === name)!);
      return (
        !request.isSet(min!) || !request.isSet(max!) || read(request, "min_amount")! <= read(request, "max_amount")!
      );
    },
  },
  "range.bounded": { field: "", holds: (range) => read(range, "from") !== "" || read(range, "before") !== "" },
  "metadata.changes": {
    field: "set",
    holds: (request) => [...(read(request, "set") as ReflectMap)].length > 0 || removedBy(request).length > 0,
  },
  "metadata.set_or_removed": {
    field: "remove",
    holds: (request) => removedBy(request).every((key) => !(read(request, "set") as ReflectMap).has(key)),
  },
  "capture.amount": {
    field: "amount",
    holds: (request) => {
      const amount = read(request, "amount") as ReflectMessage | undefined;
      const minorUnits = amount === undefined ? 1n : (read(amount, "minor_units") as bigint);
      return minorUnits > 0n || (minorUnits === 0n && read(request, "final") === true);
    },
  },
  "exchange.amounts": {
    field: "source_amount",
    holds: (request) => has(request, "source_amount") || has(request, "target_amount") || has(request, "quote"),
  },
  "exchange.quote_amounts": {
    field: "quote",
    holds: (request) => !has(request, "quote") || (!has(request, "source_amount") && !has(request, "target_amount")),
  },
  "exchange.rate": {
    field: "rate",
    holds: (request) => !has(request, "rate") || !has(request, "source_amount") || !has(request, "target_amount"),
  },
  "velocity.maximum": {
    field: "max_amount",
    holds: (limit) => has(limit, "max_amount") || has(limit, "max_count"),
  },
  "update_mask.whole_fields": {
    field: "",
    holds: (mask) => [...(read(mask, "paths") as Iterable<string>)].every((path) => !path.includes(".")),
  },
  "update_mask.not_empty": {
    field: "update_mask",
    holds: (request) => read(request, "update_mask") === undefined || masked(request).length > 0,
  },
  "name.required": {
    field: "name",
    holds: (request) => !masked(request).includes("name") || read(request, "name") !== "",
  },
  "email.required": {
    field: "email",
    holds: (request) => !masked(request).includes("email") || read(request, "email") !== "",
  },
};

function celRule(id: string) {
  const rule = CEL[id];
  if (rule === undefined) throw new Error(`teach the corpus the rule ${id}`);
  return rule;
}

function has(message: ReflectMessage, name: string): boolean {
  return message.isSet(message.fields.find((one) => one.name === name)!);
}

function read(message: ReflectMessage, name: string): unknown {
  const field = message.fields.find((one) => one.name === name)!;
  return field.fieldKind === "message" && !message.isSet(field) ? undefined : message.get(field);
}

function removedBy(request: ReflectMessage): string[] {
  return [...(read(request, "remove") as Iterable<string>)];
}

function masked(request: ReflectMessage): string[] {
  const mask = read(request, "update_mask") as ReflectMessage | undefined;
  return mask === undefined ? [] : [...(read(mask, "paths") as Iterable<string>)];
}

/** The paths of the fields that break a rule, `""` for what is no such message; empty for what the contract allows. */
export function brokenFieldsOf(input: DescMessage, bytes: Uint8Array): string[] {
  let message: Message;
  try {
    message = fromBinary(input, bytes);
  } catch {
    return [""];
  }
  return [...new Set(brokenIn(reflect(input, message), ""))].sort();
}

function brokenIn(message: ReflectMessage, above: string): string[] {
  const { desc } = message;
  const broken = [
    ...message.fields.flatMap((field) => brokenAt(message, field, `${above}${field.name}`)),
    ...message.oneofs
      .filter((oneof) => hasOption(oneof, oneofOption) && message.oneofCase(oneof) === undefined)
      .map((oneof) => `${above}${oneof.name}`),
    ...celOf(desc)
      .map(celRule)
      .filter(({ holds }) => !holds(message))
      .map(({ field }) => `${above}${field}`),
  ];
  // The service's own rules are asked once the annotations hold.
  const own = broken.length === 0 ? OWN_RULES[desc.typeName]?.(message) : undefined;
  return own === undefined ? broken : [`${above}${own}`];
}

const TIME_ZONES = new Set(["UTC", ...Intl.supportedValuesOf("timeZone")].map((name) => name.toLowerCase()));

/** Rules that the service itself asks: the field of the message that breaks one. */
const OWN_RULES: Readonly<Record<string, (message: ReflectMessage) => string | undefined>> = {
  // As an annotation it would have each of ten thousand transfers looked at by an interpreter.
  "grey.transaction.v1.BatchTransferRequest": (message) => {
    const transfers = [...(read(message, "transfers") as Iterable<ReflectMessage>)];
    return transfers.some((transfer) => read(transfer, "dry_run") === true) ? "transfers.dry_run" : undefined;
  },
  "grey.transaction.v1.PostTransactionRequest": (message) => {
    const sums = new Map<string, bigint>();
    let debits = 0n;
    for (const leg of read(message, "legs") as Iterable<ReflectMessage>) {
      const amount = read(leg, "amount") as ReflectMessage;
      const code = read(amount, "currency_code") as string;
      const minorUnits = read(amount, "minor_units") as bigint;
      const isDebit = read(leg, "side") === 1;
      sums.set(code, (sums.get(code) ?? 0n) + (isDebit ? minorUnits : -minorUnits));
      if (isDebit) debits += minorUnits;
    }
    return [...sums.values()].some((sum) => sum !== 0n) || debits >= 2n ** 63n ? "legs" : undefined;
  },
  "grey.transaction.v1.GetQuoteRequest": sameCurrencies,
  "grey.ledger.v1.SetRateRequest": (message) => {
    const same = sameCurrencies(message);
    if (same !== undefined) return same;
    const [from, until] = ["valid_from", "valid_until"].map((name) => {
      const time = read(message, name) as ReflectMessage | undefined;
      return time === undefined
        ? undefined
        : nanosOf({ seconds: read(time, "seconds") as bigint, nanos: read(time, "nanos") as number });
    });
    const now = BigInt(Date.now()) * 1_000_000n;
    if (from !== undefined && from < now) return "valid_from";
    return until !== undefined && until <= (from ?? now) ? "valid_until" : undefined;
  },
  "grey.ledger.v1.SetLimitsRequest": (message) => {
    const isWallet = has(message, "wallet_id");
    const limits = read(message, "limits") as ReflectMessage;
    const velocity = [...(read(limits, "velocity") as Iterable<ReflectMessage>)];
    return wrongLimit(limits, isWallet) ?? (!isWallet && velocity.length > 0 ? "limits.velocity" : undefined);
  },
  "grey.ledger.v1.SetDefaultLimitsRequest": (message) => {
    const limits = read(message, "limits") as ReflectMessage;
    const wrong = wrongLimit(limits, true);
    if (wrong !== undefined) return wrong;
    if (has(limits, "min_balance") && (read(limits, "min_balance") as bigint) > 0n) return "limits.min_balance";
    return has(limits, "max_balance") && (read(limits, "max_balance") as bigint) < 0n
      ? "limits.max_balance"
      : undefined;
  },
  // Texts of the corpus are no cron expressions, which the annotations see.
  "grey.schedule.v1.Recurring": (message) => {
    if (!TIME_ZONES.has((read(message, "time_zone") as string).toLowerCase())) return "time_zone";
    const [start, end] = ["start_time", "end_time"].map((name) => {
      const time = read(message, name) as ReflectMessage | undefined;
      if (time === undefined) return undefined;
      return nanosOf({ seconds: read(time, "seconds") as bigint, nanos: read(time, "nanos") as number }) / 1_000n;
    });
    return start !== undefined && end !== undefined && end <= start ? "end_time" : undefined;
  },
  "grey.wallet.v1.GetStatementRequest": endsBeforeItBegins,
  "grey.wallet.v1.StreamStatementRequest": endsBeforeItBegins,
};

function endsBeforeItBegins(message: ReflectMessage): string | undefined {
  const [from, before] = ["from", "before"].map((name) => {
    const time = read(message, name) as ReflectMessage;
    return nanosOf({ seconds: read(time, "seconds") as bigint, nanos: read(time, "nanos") as number });
  });
  return before! < from! ? "before" : undefined;
}

function sameCurrencies(message: ReflectMessage): string | undefined {
  const [source, target] = ["source_currency_code", "target_currency_code"].map((name) => read(message, name));
  return source === target ? "target_currency_code" : undefined;
}

function wrongLimit(limits: ReflectMessage, isWallet: boolean): string | undefined {
  const [min, max] = ["min_balance", "max_balance"].map((name) =>
    has(limits, name) ? (read(limits, name) as bigint) : undefined,
  );
  const least = min ?? (isWallet ? 0n : undefined);
  if (least !== undefined && max !== undefined && least > max) return "limits.max_balance";
  const names = [...(read(limits, "velocity") as Iterable<ReflectMessage>)].map((one) => read(one, "name"));
  return new Set(names).size < names.length ? "limits.velocity.name" : undefined;
}

function brokenAt(message: ReflectMessage, field: DescField, path: string): string[] {
  const rules = rulesOf(field);
  const isSet = message.isSet(field);
  if (!isSet && rules.required) return [path];
  const hasPresence = field.fieldKind === "message" || field.oneof !== undefined;
  if (!isSet && (hasPresence || rules.ignore === 1)) return [];
  switch (field.fieldKind) {
    case "scalar":
    case "enum":
      return breaks(field, rules, message.get(field)) ? [path] : [];
    case "message": {
      const value = message.get(field);
      const own = rules.cel.every(({ id }) => celRule(id).holds(value)) ? [] : [path];
      if (!field.message.typeName.startsWith("google.protobuf.")) return [...own, ...brokenIn(value, `${path}.`)];
      return [...new Set([...own, ...breaksAsMessage(path, rules, value)])];
    }
    case "list": {
      const items = [...message.get(field)];
      const inItems = items.flatMap((item) =>
        field.listKind === "message"
          ? brokenIn(item as ReflectMessage, `${path}.`)
          : breaks(field, itemRules(rules), item)
            ? [path]
            : [],
      );
      if (!breaksAsList(rules, items)) return inItems;
      // The messages of a list that is far too long need not be looked at.
      return field.listKind === "message" && items.length > 100 ? [path] : [path, ...inItems];
    }
    case "map":
      return breaksAsMap(rules, message.get(field)) ? [path] : [];
  }
}

function breaks(field: DescField, rules: FieldRules | undefined, value: unknown): boolean {
  switch (rules?.type.case) {
    case "string":
      return breaksAsText(rules, value as string);
    case "int32":
    case "int64":
      if (isSet("page_size", rules)) return !((value as number) >= 0 && (value as number) <= 1_000);
      return isOutside(rules.type.value, (bound) => compare(BigInt(value as number), BigInt(bound as number)));
    case "enum": {
      const { definedOnly, notIn, in: only } = rules.type.value;
      const isDefined = field.enum!.values.some((one) => one.number === value);
      return (
        (definedOnly && !isDefined) ||
        notIn.includes(value as number) ||
        (only.length > 0 && !only.includes(value as number))
      );
    }
    case undefined:
      return false;
    default:
      throw new Error(`teach the corpus the rules ${rules!.type.case}`);
  }
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
// The addresses that a browser's form takes. Source: the HTML standard.
const EMAIL =
  /^[a-z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/i;

function breaksAsText(rules: FieldRules | undefined, value: string): boolean {
  if (rules?.type.case !== "string") return false;
  const { pattern, wellKnown } = rules.type.value;
  if (pattern !== "") throw new Error("teach the corpus bare patterns");
  if (rules.required && value === "") return true;
  if (Array.from(value).length > (lengthMaxOf(rules) ?? Infinity)) return true;
  if (wellKnown.case === "uuid" && !UUID.test(value)) return true;
  if (wellKnown.case === "email" && !EMAIL.test(value)) return true;
  if (rules.cel.length > 0) throw new Error("teach the corpus cel rules of texts");
  return textRulesOf(rules).some(({ matches }) => !matches(value));
}

function breaksAsMessage(path: string, rules: FieldRules, message: ReflectMessage): string[] {
  if (rules.type.case === "timestamp" || rules.type.case === "duration") {
    const time = { seconds: read(message, "seconds") as bigint, nanos: read(message, "nanos") as number };
    const isWrong = isSet("recordable", rules)
      ? nanosOf(time) < 0n || nanosOf(time) >= YEAR_10000 * 1_000_000_000n
      : isOutside(rules.type.value, (bound) => compare(nanosOf(time), nanosOf(bound as Timestamp)));
    // Protobuf's own rule.
    const isNone = time.nanos < 0 || time.nanos > 999_999_999;
    return [...(isWrong ? [path] : []), ...(isNone ? [`${path}.nanos`] : [])];
  }
  if (rules.type.case === "fieldMask") {
    const { in: known } = rules.type.value;
    return [...(read(message, "paths") as Iterable<string>)].every((name) => known.includes(name)) ? [] : [path];
  }
  throw new Error(`teach the corpus ${message.desc.typeName}`);
}

function breaksAsList(rules: FieldRules | undefined, items: readonly unknown[]): boolean {
  if (rules?.type.case !== "repeated") return false;
  const { minItems, maxItems, unique } = rules.type.value;
  const count = BigInt(items.length);
  return count < minItems || (maxItems > 0n && count > maxItems) || (unique && new Set(items).size < items.length);
}

function breaksAsMap(rules: FieldRules | undefined, map: ReflectMap): boolean {
  if (rules?.type.case !== "map") return false;
  const { maxPairs, keys, values } = rules.type.value;
  return (
    (maxPairs > 0n && BigInt(map.size) > maxPairs) ||
    [...map].some(([key, value]) => breaksAsText(keys, key as string) || breaksAsText(values, value as string))
  );
}

function nanosOf({ seconds, nanos }: Pick<Timestamp, "seconds" | "nanos">): bigint {
  return seconds * 1_000_000_000n + BigInt(nanos);
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** One of gt, gte, lt and lte, or none. */
interface Limit {
  readonly case: string | undefined;
  readonly value?: unknown;
}

function isOutside(
  { greaterThan, lessThan }: { readonly greaterThan: Limit; readonly lessThan: Limit },
  compareTo: (bound: unknown) => number,
): boolean {
  return [greaterThan, lessThan].some(({ case: kind, value }) => {
    switch (kind) {
      case "gt":
        return compareTo(value) <= 0;
      case "gte":
        return compareTo(value) < 0;
      case "lt":
        return compareTo(value) >= 0;
      case "lte":
        return compareTo(value) > 0;
      default:
        return false;
    }
  });
}

/** The reasons that the contract says an RPC may answer with; it may speak of those of another RPC. */
export function documentedReasonsOf(method: DescMethod): Set<string> {
  const reasons = registry.getEnum("grey.error.v1.ErrorReason")!.values.map((one) => one.localName);
  const comment = commentOf(method);
  const named = [...comment.matchAll(/\b[A-Z][A-Z_]+[A-Z]\b/g)]
    .map(([name]) => name)
    .filter((name) => reasons.includes(name));
  const others = [...comment.matchAll(/those of (\w+)/g)].map(([, name]) =>
    method.parent.methods.find((other) => other.name === name),
  );
  return new Set([
    ...named,
    ...others.flatMap((other) => (other === undefined ? [] : [...documentedReasonsOf(other)])),
  ]);
}

function commentOf({ parent, name }: DescMethod): string {
  const { file } = parent;
  const path = [6, file.services.indexOf(parent), 2, parent.methods.findIndex((method) => method.name === name)];
  const location = file.proto.sourceCodeInfo?.location.find((one) => one.path.join() === path.join());
  return (location?.leadingComments ?? "").replaceAll(/\s+/g, " ");
}
