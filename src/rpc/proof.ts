import { isUtf8 } from "node:buffer";
import { getOption, ScalarType, type DescField, type DescMessage } from "@bufbuild/protobuf";
import { DurationSchema, TimestampSchema } from "@bufbuild/protobuf/wkt";
import {
  field as fieldRules,
  FieldRulesSchema,
  Ignore,
  MapRulesSchema,
  message as messageRules,
  MessageRulesSchema,
  oneof as oneofRules,
  RepeatedRulesSchema,
  type FieldRules,
} from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { assertOnly, numberTest, textTest, timeBounds, UnknownRule, type Annotations } from "./value-rules.js";

/**
 * Returns true if the bytes from `start` to `end` certainly are a message that keeps every rule of the contract and that every
 * decoder reads alike. false proves nothing: the bytes may still be valid.
 */
export type Proof = (bytes: Buffer, start: number, end: number) => boolean;

/**
 * Makes the proof for a type of message from its annotations: one pass over the bytes, without decoding them, for the
 * ordinary message. It leaves everything else to the library that knows all rules: a field that occurs twice or with another
 * wire type, unknown fields, numbers beyond 2^49, a message that breaks a rule.
 * @returns undefined if the type has a rule that is not known here
 */
export function createProof(type: DescMessage, annotations: Annotations): Proof | undefined {
  try {
    return messageProof(type, annotations, []);
  } catch (error) {
    if (error instanceof UnknownRule) return undefined;
    throw error;
  }
}

/** The rules of a field that are read beside those of its type. */
const COMMON = ["required", "ignore"];

const WIRE = { VARINT: 0, DELIMITED: 2 } as const;
/** Longer varints may exceed what a number holds exactly. */
const VARINT_BYTES_MAX = 7;

/** The proof of one field. */
interface FieldProof {
  /** Its bit among the fields that may occur once; 0 for a repeated one. Members of a oneof share theirs. */
  readonly bit: number;
  readonly isDelimited: boolean;
  /** Returns true if the value keeps the rules: the bytes from `start` to `end`, or the number. */
  readonly holds: Proof;
  readonly holdsNumber: (value: number) => boolean;
  readonly itemsMin: number;
  readonly itemsMax: number;
  /** The index of the counter of its items; -1 for a field that may occur once. */
  readonly counter: number;
}

type ValueProof = Pick<FieldProof, "isDelimited" | "holds" | "holdsNumber"> & {
  /** True if the field may be left out. */
  readonly isOptional: boolean;
};

function messageProof(type: DescMessage, annotations: Annotations, above: readonly DescMessage[]): Proof {
  if (above.includes(type)) throw new UnknownRule();
  assertOnly(MessageRulesSchema, getOption(type, messageRules), []);
  const byTag: (FieldProof | undefined)[] = [];
  const counted: FieldProof[] = [];
  const bits = new Map<unknown, number>();
  let needed = 0;
  for (const field of type.fields) {
    const rules = getOption(field, fieldRules);
    const value = fieldProof(field, rules, annotations, [...above, type]);
    const isCounted = field.fieldKind === "list" || field.fieldKind === "map";
    const owner = field.oneof ?? field;
    const bit = isCounted ? 0 : (bits.get(owner) ?? 1 << bits.size);
    if (!isCounted) bits.set(owner, bit);
    if (bits.size > 30 || field.number > 2_000) throw new UnknownRule();
    const { min, max } = isCounted ? itemBounds(rules) : { min: 0, max: 1 };
    const proof = { ...value, bit, itemsMin: min, itemsMax: max, counter: isCounted ? counted.length : -1 };
    byTag[(field.number << 3) | (value.isDelimited ? WIRE.DELIMITED : WIRE.VARINT)] = proof;
    if (isCounted) counted.push(proof);
    else if (field.oneof === undefined && !value.isOptional) needed |= bit;
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

/** Returns the number of bytes of the varint; 0 if it is cut off or too long to be read here. */
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

function fieldProof(
  field: DescField,
  rules: FieldRules,
  annotations: Annotations,
  above: readonly DescMessage[],
): ValueProof {
  const { required } = rules;
  const isIgnoredWhenZero = rules.ignore === Ignore.IF_ZERO_VALUE;
  if (rules.ignore !== Ignore.UNSPECIFIED && !isIgnoredWhenZero) throw new UnknownRule();
  if (field.fieldKind === "list") {
    if (field.listKind !== "message") throw new UnknownRule();
    assertOnly(FieldRulesSchema, rules, ["repeated"]);
    return { ...ofBytes(messageProof(field.message, annotations, above)), isOptional: true };
  }
  if (field.fieldKind === "map") {
    assertOnly(FieldRulesSchema, rules, ["map"]);
    return { ...ofBytes(pairProof(field, rules, annotations)), isOptional: true };
  }
  if (field.fieldKind === "message") {
    const isTime = TIMES.includes(field.message.typeName);
    const holds = isTime ? timeProof(rules, annotations) : nestedProof(field.message, rules, annotations, above);
    return { ...ofBytes(holds), isOptional: !required };
  }
  // In a oneof a value of zero is a value; elsewhere it cannot be told from none.
  const hasPresence = field.oneof !== undefined;
  if (field.fieldKind === "scalar" && field.scalar === ScalarType.STRING) {
    assertOnly(FieldRulesSchema, rules, [...COMMON, "string"]);
    const text = textTest(rules.type.case === "string" ? rules.type.value : undefined, annotations);
    const holdsEmpty = isIgnoredWhenZero || text("");
    const isOptional = !required && (hasPresence || holdsEmpty);
    const mayBeEmpty = !(required && !hasPresence) && holdsEmpty;
    return {
      ...ofBytes((bytes, start, end) => (start === end ? mayBeEmpty : holdsText(bytes, start, end, text))),
      isOptional,
    };
  }
  assertOnly(FieldRulesSchema, rules, [...COMMON, "enum", "int32", "int64"]);
  const holdsValue = numberTest(field, rules, annotations);
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
  annotations: Annotations,
  above: readonly DescMessage[],
): Proof {
  assertOnly(FieldRulesSchema, rules, [...COMMON, "cel"]);
  const holds = messageProof(type, annotations, above);
  const holdsAlso = rules.cel.map(({ expression }) => expressionProof(type, expression));
  return (bytes, start, end) => holds(bytes, start, end) && holdsAlso.every((also) => also(bytes, start, end));
}

function ofBytes(holds: Proof): Pick<ValueProof, "isDelimited" | "holds" | "holdsNumber"> {
  return { isDelimited: true, holds, holdsNumber: () => false };
}

/** Makes the proof of `this.<field> > 0`, for an integer field of a message that is proven otherwise. */
function expressionProof(message: DescMessage, expression: string): Proof {
  const name = /^this\.([a-z_]+) > 0$/.exec(expression)?.[1];
  const field = message.fields.find((one) => one.name === name);
  if (field?.fieldKind !== "scalar" || field.scalar !== ScalarType.INT64 || field.number > 15) throw new UnknownRule();
  const expected = (field.number << 3) | WIRE.VARINT;
  return (bytes, start, end) => {
    let at = start;
    while (at < end) {
      const tagBytes = varintLength(bytes, at, end);
      const tag = varint(bytes, at, tagBytes);
      at += tagBytes;
      const length = varintLength(bytes, at, end);
      const value = varint(bytes, at, length);
      // A negative number takes ten bytes and was not proven.
      if (tag === expected) return value > 0;
      at += (tag & 7) === WIRE.DELIMITED ? length + value : length;
    }
    return false;
  };
}

function pairProof(field: DescField & { fieldKind: "map" }, rules: FieldRules, annotations: Annotations): Proof {
  if (field.mapKind !== "scalar" || field.mapKey !== ScalarType.STRING || field.scalar !== ScalarType.STRING)
    throw new UnknownRule();
  if (rules.type.case !== "map") throw new UnknownRule();
  assertOnly(MapRulesSchema, rules.type.value, ["min_pairs", "max_pairs", "keys", "values"]);
  const partProof = (inner: FieldRules | undefined): ((text: string) => boolean) => {
    if (inner === undefined) return () => true;
    assertOnly(FieldRulesSchema, inner, ["string"]);
    return textTest(inner.type.case === "string" ? inner.type.value : undefined, annotations);
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

/** Makes the proof of a point in time or a duration: seconds and nanos, each at most once, within its rules and those of the type. */
function timeProof(rules: FieldRules, annotations: Annotations): Proof {
  assertOnly(FieldRulesSchema, rules, [...COMMON, "timestamp", "duration"]);
  const bounds = timeBounds(rules, annotations);
  const from = Number(bounds.from);
  const to = Number(bounds.to.seconds);
  const { nanos: toNanos } = bounds.to;
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

function holdsText(bytes: Buffer, start: number, end: number, holds: (text: string) => boolean): boolean {
  let isAscii = true;
  for (let index = start; index < end && isAscii; index += 1) isAscii = (bytes[index] ?? 0) < 0x80;
  if (isAscii) return holds(bytes.toString("latin1", start, end));
  return isUtf8(bytes.subarray(start, end)) && holds(bytes.toString("utf8", start, end));
}
