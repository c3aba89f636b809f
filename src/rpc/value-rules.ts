import {
  fromJson,
  getExtension,
  getOption,
  ScalarType,
  type DescField,
  type DescMessage,
  type MessageShape,
  type Registry,
} from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { TimestampSchema, type Timestamp } from "@bufbuild/protobuf/wkt";
import {
  DurationRulesSchema,
  EnumRulesSchema,
  Int32RulesSchema,
  Int64RulesSchema,
  predefined,
  StringRulesSchema,
  TimestampRulesSchema,
  type FieldRules,
  type Int32Rules,
  type Int64Rules,
  type StringRules,
  type TimestampRules,
} from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";

// Tests of single values, made from the annotations of the contract. Expressions are known by their text: the few forms that the
// contract uses.

/** A rule that is not known here: the value must go to the library that knows all rules. */
export class UnknownRule extends Error {}

/** The means to read annotations. */
export interface Annotations {
  /** The contract, in which predefined rules are looked up. */
  readonly registry: Registry;
  /** Compiles a pattern. */
  readonly regexOf: (pattern: string) => RegExp;
}

/** Throws UnknownRule if another rule is set than the standard ones with these names. */
export function assertOnly<Rules extends DescMessage>(
  type: Rules,
  rules: MessageShape<Rules>,
  names: readonly string[],
): void {
  assertOnlyOrPredefined(type, rules, names);
  if ((rules.$unknown?.length ?? 0) > 0) throw new UnknownRule();
}

/** As assertOnly, but lets predefined rules pass, which the caller reads with readPredefined. */
function assertOnlyOrPredefined<Rules extends DescMessage>(
  type: Rules,
  rules: MessageShape<Rules>,
  names: readonly string[],
): void {
  const message = reflect(type, rules);
  if (message.fields.some((field) => message.isSet(field) && !names.includes(field.name))) throw new UnknownRule();
}

/** An expression of a predefined rule, and the value that the rule is set to. */
interface Predefined {
  readonly expression: string;
  readonly rule: unknown;
}

/** Reads the predefined rules: extensions of the message of standard rules, which its own type does not know. */
function readPredefined<Rules extends DescMessage>(
  type: Rules,
  rules: MessageShape<Rules>,
  { registry }: Annotations,
): Predefined[] {
  return (rules.$unknown ?? []).flatMap(({ no }) => {
    const extension = registry.getExtensionFor(type, no);
    if (extension === undefined) throw new UnknownRule();
    const rule: unknown = getExtension(rules, extension);
    return getOption(extension, predefined).cel.map(({ expression }) => ({ expression, rule }));
  });
}

const UUID = /^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$/;

/** Makes the test of a text. */
export function textTest(rules: StringRules | undefined, annotations: Annotations): (text: string) => boolean {
  if (rules === undefined) return () => true;
  assertOnlyOrPredefined(StringRulesSchema, rules, ["max_len", "uuid"]);
  const isUuid = rules.wellKnown.case === "uuid" && rules.wellKnown.value;
  let lengthMax = rules.maxLen === 0n ? Infinity : Number(rules.maxLen);
  const patterns: RegExp[] = isUuid ? [UUID] : [];
  const unwanted: RegExp[] = [];
  for (const { expression, rule } of readPredefined(StringRulesSchema, rules, annotations)) {
    const bound = /^this\.size\(\) <= (?:(\d+)|rule \? '' : '[^']*'\.format\(\[rule\]\))$/.exec(expression);
    if (bound !== null) {
      lengthMax = Math.min(lengthMax, Number(bound[1] ?? rule));
      continue;
    }
    const [, not, raw, plain] = /^(!?)this\.matches\((?:r'([^']+)'|'([^'\\]+)')\)$/.exec(expression) ?? [];
    const pattern = raw ?? plain;
    if (pattern === undefined) throw new UnknownRule();
    (not === "!" ? unwanted : patterns).push(annotations.regexOf(pattern));
  }
  // Characters are counted as UTF-16 units here, of which there are no fewer than characters.
  return (text) => {
    if (text.length > lengthMax) return false;
    for (const pattern of patterns) if (!pattern.test(text)) return false;
    for (const pattern of unwanted) if (pattern.test(text)) return false;
    return true;
  };
}

/** Makes the test of a number, a bool or the number of an enum's value. No negative number passes it. */
export function numberTest(
  field: DescField,
  { type }: FieldRules,
  annotations: Annotations,
): (value: number) => boolean {
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
  if (field.scalar === ScalarType.INT64 && type.case === "int64") return int64Test(type.value);
  if (field.scalar === ScalarType.INT32) {
    if (type.case === undefined) return (value) => value <= 0x7f_ff_ff_ff;
    if (type.case === "int32") return int32Test(type.value, annotations);
  }
  throw new UnknownRule();
}

function int64Test(rules: Int64Rules): (value: number) => boolean {
  assertOnly(Int64RulesSchema, rules, ["gte"]);
  const from = rules.greaterThan.case === "gte" ? Number(rules.greaterThan.value) : 0;
  return (value) => value >= from;
}

function int32Test(rules: Int32Rules, annotations: Annotations): (value: number) => boolean {
  assertOnlyOrPredefined(Int32RulesSchema, rules, ["gte", "lte"]);
  const { greaterThan, lessThan } = rules;
  let from = greaterThan.case === "gte" ? greaterThan.value : 0;
  let to = lessThan.case === "lte" ? lessThan.value : 0x7f_ff_ff_ff;
  for (const { expression } of readPredefined(Int32RulesSchema, rules, annotations)) {
    const [, low, high] = /^this >= (\d+) && this <= (\d+)$/.exec(expression) ?? [];
    if (low === undefined) throw new UnknownRule();
    from = Math.max(from, Number(low));
    to = Math.min(to, Number(high));
  }
  return (value) => value >= from && value <= to;
}

/** The bounds of a point in time or a duration, both included; the lower one in whole seconds. */
export interface TimeBounds {
  readonly from: bigint;
  readonly to: Pick<Timestamp, "seconds" | "nanos">;
}

/** The bounds of a timestamp without rules. An earlier one has longer bytes, which are not read here. */
const ANY_TIME: TimeBounds = { from: 0n, to: { seconds: 253_402_300_799n, nanos: 999_999_999 } };

/** Reads the bounds of a point in time or of a duration. */
export function timeBounds({ type }: FieldRules, annotations: Annotations): TimeBounds {
  if (type.case === undefined) return ANY_TIME;
  if (type.case === "timestamp") return timestampBounds(type.value, annotations);
  if (type.case !== "duration") throw new UnknownRule();
  assertOnly(DurationRulesSchema, type.value, ["gte", "lte"]);
  const { greaterThan, lessThan } = type.value;
  if (greaterThan.case !== "gte" || lessThan.case !== "lte" || greaterThan.value.nanos !== 0) throw new UnknownRule();
  return { from: greaterThan.value.seconds, to: lessThan.value };
}

function timestampBounds(rules: TimestampRules, annotations: Annotations): TimeBounds {
  assertOnlyOrPredefined(TimestampRulesSchema, rules, []);
  const [only, another] = readPredefined(TimestampRulesSchema, rules, annotations);
  if (only === undefined || another !== undefined) throw new UnknownRule();
  const [, low, high] =
    /^this >= timestamp\('([^']+)'\) && this <= timestamp\('([^']+)'\)$/.exec(only.expression) ?? [];
  if (low === undefined || high === undefined) throw new UnknownRule();
  const from = fromJson(TimestampSchema, low);
  if (from.nanos !== 0) throw new UnknownRule();
  return { from: from.seconds, to: fromJson(TimestampSchema, high) };
}
