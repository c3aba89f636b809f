import { isUtf8 } from "node:buffer";
import { getOption, ScalarType, type DescField, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { DurationSchema, TimestampSchema } from "@bufbuild/protobuf/wkt";
import {
  DurationRulesSchema,
  EnumRulesSchema,
  field as fieldRules,
  FieldRulesSchema,
  Ignore,
  Int32RulesSchema,
  Int64RulesSchema,
  MapRulesSchema,
  message as messageRules,
  MessageRulesSchema,
  oneof as oneofRules,
  RepeatedRulesSchema,
  StringRulesSchema,
  TimestampRulesSchema,
  type FieldRules,
  type Int32Rules,
  type Int64Rules,
  type StringRules,
} from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";

/**
 * Whether the bytes from `start` to `end` are certainly a message that keeps every rule of the contract, and one that
 * every decoder reads alike. false says nothing: the bytes may still be good.
 */
export type Proof = (bytes: Buffer, start: number, end: number) => boolean;

/**
 * Makes the proof for a type of message from its annotations: one pass over the bytes, without decoding them, for the
 * ordinary message. Whatever it does not know for sure goes to the library that knows all rules: a field twice or of
 * another wire type, unknown fields, numbers beyond 2^49, a message that breaks a rule.
 * @returns undefined when the type has a rule that this does not know
 */
export function proofOf(type: DescMessage, regexOf: (pattern: string) => RegExp): Proof | undefined {
  try {
    return messageProof(type, regexOf, []);
  } catch (error) {
    if (error instanceof UnknownRule) return undefined;
    throw error;
  }
}

class UnknownRule extends Error {}

/** That no other rule is set than these, which are looked at. */
function assertOnly<Rules extends DescMessage>(
  type: Rules,
  rules: MessageShape<Rules>,
  names: readonly string[],
): void {
  const message = reflect(type, rules);
  const others = message.fields.filter((field) => message.isSet(field) && !names.includes(field.name));
  if (others.length > 0 || (rules.$unknown?.length ?? 0) > 0) throw new UnknownRule();
}

/** What is looked at of a field's rules, beside those for its type. */
const COMMON = ["required", "ignore"];

const WIRE = { VARINT: 0, DELIMITED: 2 } as const;
/** Longer varints may exceed what a number holds exactly. */
const VARINT_BYTES_MAX = 7;

/** What is known of one field, by its tag. */
interface FieldProof {
  /** Its bit among the fields that may come once; 0 for a repeated one. Members of a oneof share theirs. */
  readonly bit: number;
  readonly isDelimited: boolean;
  /** Whether the value keeps the rules: the bytes from `start` to `end`, or the number. */
  readonly holds: Proof;
  readonly holdsNumber: (value: number) => boolean;
  readonly itemsMin: number;
  readonly itemsMax: number;
  /** Where its items are counted; -1 for a field that may come once. */
  readonly counter: number;
}

type Known = Pick<FieldProof, "isDelimited" | "holds" | "holdsNumber"> & {
  /** Whether the field may be left out. */
  readonly isOptional: boolean;
};

function messageProof(type: DescMessage, regexOf: (pattern: string) => RegExp, above: readonly DescMessage[]): Proof {
  if (above.includes(type)) throw new UnknownRule();
  assertOnly(MessageRulesSchema, getOption(type, messageRules), []);
  const byTag: (FieldProof | undefined)[] = [];
  const counted: FieldProof[] = [];
  const bits = new Map<unknown, number>();
  let needed = 0;
  for (const field of type.fields) {
    const rules = getOption(field, fieldRules);
    const known = knownField(field, rules, regexOf, [...above, type]);
    const isCounted = field.fieldKind === "list" || field.fieldKind === "map";
    const owner = field.oneof ?? field;
    const bit = isCounted ? 0 : (bits.get(owner) ?? 1 << bits.size);
    if (!isCounted) bits.set(owner, bit);
    if (bits.size > 30 || field.number > 2_000) throw new UnknownRule();
    const { min, max } = isCounted ? itemBounds(rules) : { min: 0, max: 1 };
    const proof = { ...known, bit, itemsMin: min, itemsMax: max, counter: isCounted ? counted.length : -1 };
    byTag[(field.number << 3) | (known.isDelimited ? WIRE.DELIMITED : WIRE.VARINT)] = proof;
    if (isCounted) counted.push(proof);
    else if (field.oneof === undefined && !known.isOptional) needed |= bit;
  }
  for (const oneof of type.oneofs) {
    if (getOption(oneof, oneofRules).required) needed |= bits.get(oneof) ?? 0;
  }
  const minima = counted.map((field) => field.itemsMin);

  return (bytes, start, end) => {
    let seen = 0;
    const counts = minima.length === 0 ? NO_COUNTS : minima.map(() => 0);
    let at = start;
    while (at < end) {
      const tagBytes = varintLength(bytes, at, end);
      const field = tagBytes === 0 ? undefined : byTag[varint(bytes, at, tagBytes)];
      if (field === undefined || (seen & field.bit) !== 0) return false;
      seen |= field.bit;
      if (field.counter >= 0) {
        const count = (counts[field.counter] ?? 0) + 1;
        if (count > field.itemsMax) return false;
        counts[field.counter] = count;
      }
      at += tagBytes;
      const length = varintLength(bytes, at, end);
      if (length === 0) return false;
      const value = varint(bytes, at, length);
      at += length;
      if (!field.isDelimited) {
        if (!field.holdsNumber(value)) return false;
      } else {
        if (value > end - at || !field.holds(bytes, at, at + value)) return false;
        at += value;
      }
    }
    return (seen & needed) === needed && minima.every((min, index) => (counts[index] ?? 0) >= min);
  };
}

const NO_COUNTS: number[] = [];

/** How many bytes the varint has; 0 when it is cut off, or too long to be read here. */
function varintLength(bytes: Buffer, at: number, end: number): number {
  const last = Math.min(end, at + VARINT_BYTES_MAX);
  for (let index = at; index < last; index += 1) if ((bytes[index] ?? 0) < 0x80) return index - at + 1;
  return 0;
}

function varint(bytes: Buffer, at: number, length: number): number {
  let value = 0;
  for (let index = at + length - 1; index >= at; index -= 1) value = value * 128 + ((bytes[index] ?? 0) & 0x7f);
  return value;
}

function itemBounds(rules: FieldRules): { min: number; max: number } {
  const { type } = rules;
  if (type.case === "repeated") {
    assertOnly(RepeatedRulesSchema, type.value, ["min_items", "max_items"]);
    return { min: Number(type.value.minItems), max: Number(type.value.maxItems) || Infinity };
  }
  if (type.case === "map") return { min: Number(type.value.minPairs), max: Number(type.value.maxPairs) || Infinity };
  return { min: 0, max: Infinity };
}

function knownField(
  field: DescField,
  rules: FieldRules,
  regexOf: (pattern: string) => RegExp,
  above: readonly DescMessage[],
): Known {
  const { required } = rules;
  const isIgnoredWhenZero = rules.ignore === Ignore.IF_ZERO_VALUE;
  if (rules.ignore !== Ignore.UNSPECIFIED && !isIgnoredWhenZero) throw new UnknownRule();
  if (field.fieldKind === "list") {
    if (field.listKind !== "message") throw new UnknownRule();
    assertOnly(FieldRulesSchema, rules, ["repeated"]);
    return { ...ofBytes(messageProof(field.message, regexOf, above)), isOptional: true };
  }
  if (field.fieldKind === "map") {
    assertOnly(FieldRulesSchema, rules, ["map"]);
    return { ...ofBytes(pairProof(field, rules, regexOf)), isOptional: true };
  }
  if (field.fieldKind === "message") {
    const isTime = TIMES.includes(field.message.typeName);
    const holds = isTime ? timeProof(rules) : nestedProof(field.message, rules, regexOf, above);
    return { ...ofBytes(holds), isOptional: !required };
  }
  // In a oneof a value of zero is a value; elsewhere it cannot be told from none.
  const hasPresence = field.oneof !== undefined;
  if (field.fieldKind === "scalar" && field.scalar === ScalarType.STRING) {
    assertOnly(FieldRulesSchema, rules, [...COMMON, "string", "cel"]);
    const text = rules.cel.reduce(
      (holds, { expression }) => withoutMatch(holds, expression, regexOf),
      textProof(rules.type.case === "string" ? rules.type.value : undefined, regexOf),
    );
    const holdsEmpty = isIgnoredWhenZero || text("");
    const isOptional = !required && (hasPresence || holdsEmpty);
    const mayBeEmpty = !(required && !hasPresence) && holdsEmpty;
    return {
      ...ofBytes((bytes, start, end) => (start === end ? mayBeEmpty : holdsText(bytes, start, end, text))),
      isOptional,
    };
  }
  assertOnly(FieldRulesSchema, rules, [...COMMON, "enum", "int32", "int64"]);
  const holdsValue = numberProof(field, rules);
  const holdsZero = isIgnoredWhenZero || holdsValue(0);
  const mayBeZero = !(required && !hasPresence) && holdsZero;
  return {
    isDelimited: false,
    holds: () => false,
    holdsNumber: (value) => (value === 0 ? mayBeZero : holdsValue(value)),
    isOptional: !required && (hasPresence || holdsZero),
  };
}

function nestedProof(
  type: DescMessage,
  rules: FieldRules,
  regexOf: (pattern: string) => RegExp,
  above: readonly DescMessage[],
): Proof {
  assertOnly(FieldRulesSchema, rules, [...COMMON, "cel"]);
  const holds = messageProof(type, regexOf, above);
  const holdsAlso = rules.cel.map(({ expression }) => expressionProof(type, expression));
  return (bytes, start, end) => holds(bytes, start, end) && holdsAlso.every((also) => also(bytes, start, end));
}

function ofBytes(holds: Proof): Pick<Known, "isDelimited" | "holds" | "holdsNumber"> {
  return { isDelimited: true, holds, holdsNumber: () => false };
}

/** `this.<field> > 0`, of an integer field. Asked only of messages that are proven otherwise. */
function expressionProof(message: DescMessage, expression: string): Proof {
  const name = /^this\.([a-z_]+) > 0$/.exec(expression)?.[1];
  const field = message.fields.find((one) => one.name === name);
  if (field?.fieldKind !== "scalar" || field.scalar !== ScalarType.INT64 || field.number > 15) throw new UnknownRule();
  const wanted = (field.number << 3) | WIRE.VARINT;
  return (bytes, start, end) => {
    let at = start;
    while (at < end) {
      const tagBytes = varintLength(bytes, at, end);
      const tag = varint(bytes, at, tagBytes);
      at += tagBytes;
      const length = varintLength(bytes, at, end);
      const value = varint(bytes, at, length);
      // A negative one takes ten bytes, which are not read here.
      if (tag === wanted) return value > 0;
      at += (tag & 7) === WIRE.DELIMITED ? length + value : length;
    }
    return false;
  };
}

function pairProof(field: DescField & { fieldKind: "map" }, rules: FieldRules, regexOf: (p: string) => RegExp): Proof {
  if (field.mapKind !== "scalar" || field.mapKey !== ScalarType.STRING || field.scalar !== ScalarType.STRING)
    throw new UnknownRule();
  if (rules.type.case !== "map") throw new UnknownRule();
  assertOnly(MapRulesSchema, rules.type.value, ["min_pairs", "max_pairs", "keys", "values"]);
  const partProof = (inner: FieldRules | undefined): ((text: string) => boolean) => {
    if (inner === undefined) return () => true;
    assertOnly(FieldRulesSchema, inner, ["string"]);
    return textProof(inner.type.case === "string" ? inner.type.value : undefined, regexOf);
  };
  const isKey = partProof(rules.type.value.keys);
  const isValue = partProof(rules.type.value.values);
  return (bytes, start, end) => {
    // As every encoder writes it: the key, then the value.
    if (bytes[start] !== 0x0a) return false;
    const keyLength = bytes[start + 1] ?? 0x80;
    const keyStart = start + 2;
    const keyEnd = keyStart + keyLength;
    if (keyLength >= 0x80 || keyEnd >= end || bytes[keyEnd] !== 0x12) return false;
    const lengthBytes = varintLength(bytes, keyEnd + 1, end);
    if (lengthBytes === 0) return false;
    const valueStart = keyEnd + 1 + lengthBytes;
    if (valueStart + varint(bytes, keyEnd + 1, lengthBytes) !== end) return false;
    return holdsText(bytes, keyStart, keyEnd, isKey) && holdsText(bytes, valueStart, end, isValue);
  };
}

const TIMES: readonly string[] = [TimestampSchema.typeName, DurationSchema.typeName];

/** A point in time or a duration: seconds and nanos, each once at the most, within the rules and what the type itself allows. */
function timeProof(rules: FieldRules): Proof {
  assertOnly(FieldRulesSchema, rules, [...COMMON, "timestamp", "duration"]);
  const { from, to, toNanos } = timeBounds(rules);
  return (bytes, start, end) => {
    let at = start;
    let seconds = 0;
    let nanos = 0;
    let before = 0;
    while (at < end) {
      const tag = bytes[at] ?? 0;
      // 1: seconds, 2: nanos, in this order.
      if ((tag !== 0x08 && tag !== 0x10) || tag <= before) return false;
      before = tag;
      const length = varintLength(bytes, at + 1, end);
      if (length === 0) return false;
      const value = varint(bytes, at + 1, length);
      if (tag === 0x08) seconds = value;
      else nanos = value;
      at += 1 + length;
    }
    return seconds >= from && (seconds < to || (seconds === to && nanos <= toNanos)) && nanos < 1_000_000_000;
  };
}

/** The bounds, both included; the lower one in whole seconds. */
function timeBounds({ type }: FieldRules): { from: number; to: number; toNanos: number } {
  // What a timestamp of the contract may be at all; one that is earlier has longer bytes, which are not read here.
  if (type.case === undefined) return { from: 0, to: 253_402_300_799, toNanos: 999_999_999 };
  if (type.case === "timestamp") assertOnly(TimestampRulesSchema, type.value, ["gte", "lte"]);
  else if (type.case === "duration") assertOnly(DurationRulesSchema, type.value, ["gte", "lte"]);
  else throw new UnknownRule();
  const { greaterThan, lessThan } = type.value;
  if (greaterThan.case !== "gte" || lessThan.case !== "lte" || greaterThan.value.nanos !== 0) throw new UnknownRule();
  const { seconds, nanos } = lessThan.value;
  return { from: Number(greaterThan.value.seconds), to: Number(seconds), toNanos: nanos };
}

function holdsText(bytes: Buffer, start: number, end: number, holds: (text: string) => boolean): boolean {
  let isAscii = true;
  for (let index = start; index < end && isAscii; index += 1) isAscii = (bytes[index] ?? 0) < 0x80;
  if (isAscii) return holds(bytes.toString("latin1", start, end));
  return isUtf8(bytes.subarray(start, end)) && holds(bytes.toString("utf8", start, end));
}

const UUID = /^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$/;

function textProof(rules: StringRules | undefined, regexOf: (pattern: string) => RegExp): (text: string) => boolean {
  if (rules === undefined) return () => true;
  assertOnly(StringRulesSchema, rules, ["max_len", "pattern", "uuid"]);
  const isUuid = rules.wellKnown.case === "uuid" && rules.wellKnown.value;
  const maxLength = rules.maxLen === 0n ? Infinity : Number(rules.maxLen);
  const pattern = rules.pattern === "" ? undefined : regexOf(rules.pattern);
  // Characters are counted as UTF-16 units here, of which there are no fewer than characters.
  return (text) =>
    text.length <= maxLength && (!isUuid || UUID.test(text)) && (pattern === undefined || pattern.test(text));
}

/** `!this.matches('<pattern>')`: a text that holds and does not match the pattern. */
function withoutMatch(
  holds: (text: string) => boolean,
  expression: string,
  regexOf: (pattern: string) => RegExp,
): (text: string) => boolean {
  const pattern = /^!this\.matches\('([^'\\]+)'\)$/.exec(expression)?.[1];
  if (pattern === undefined) throw new UnknownRule();
  const unwanted = regexOf(pattern);
  return (text) => holds(text) && !unwanted.test(text);
}

function numberProof(field: DescField, { type }: FieldRules): (value: number) => boolean {
  if (field.fieldKind === "enum") {
    const values = new Set(field.enum.values.map((value) => value.number));
    if (type.case === undefined) return (value) => values.has(value);
    if (type.case !== "enum") throw new UnknownRule();
    assertOnly(EnumRulesSchema, type.value, ["defined_only", "not_in"]);
    const { notIn } = type.value;
    return (value) => values.has(value) && !notIn.includes(value);
  }
  if (field.fieldKind !== "scalar") throw new UnknownRule();
  if (field.scalar === ScalarType.BOOL && type.case === undefined) return (value) => value <= 1;
  if (field.scalar === ScalarType.INT64 && type.case === undefined) return () => true;
  if (field.scalar === ScalarType.INT64 && type.case === "int64") return int64Proof(type.value);
  if (field.scalar === ScalarType.INT32) {
    if (type.case === undefined) return (value) => value <= 0x7f_ff_ff_ff;
    if (type.case === "int32") return int32Proof(type.value);
  }
  throw new UnknownRule();
}

/** A lower bound; a negative number has longer bytes, which are not read here. */
function int64Proof(rules: Int64Rules): (value: number) => boolean {
  assertOnly(Int64RulesSchema, rules, ["gte"]);
  const from = rules.greaterThan.case === "gte" ? Number(rules.greaterThan.value) : 0;
  return (value) => value >= from;
}

function int32Proof(rules: Int32Rules): (value: number) => boolean {
  assertOnly(Int32RulesSchema, rules, ["gte", "lte"]);
  const { greaterThan, lessThan } = rules;
  if (greaterThan.case !== "gte" || lessThan.case !== "lte") throw new UnknownRule();
  const [from, to] = [greaterThan.value, lessThan.value];
  return (value) => value >= from && value <= to;
}
