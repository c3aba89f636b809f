import {
  fromBinary,
  getOption,
  toBinary,
  type DescField,
  type DescMessage,
  type FileRegistry,
} from "@bufbuild/protobuf";
import { pathToString, reflect, type ReflectMessage } from "@bufbuild/protobuf/reflect";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { createValidator, type Violation } from "@bufbuild/protovalidate";
import { field as fieldRules } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { assertPresent } from "../base/assert.js";
import type { FieldViolation } from "../base/failure.js";
import { createProof } from "./proof.js";

/** The result of validating a request. */
export interface Checked {
  /** The violations of rules; empty if the request is valid. */
  readonly violations: readonly FieldViolation[];
  /**
   * The request as it was validated: the original bytes if every decoder reads them alike, else encoded anew. Decoders differ
   * on unusual bytes, such as a field in two parts or of another wire type: what is validated must be what is carried out.
   * undefined if the bytes are not such a message.
   */
  readonly bytes: Buffer | undefined;
}

/** Validates the bytes of one type of request against the contract's annotations. */
export type Validate = (bytes: Buffer) => Checked;

/** The length from which items are counted first: only longer messages can hold so many that validating each would delay all other calls. */
const COUNTED_BYTES_MIN = 1_024;

/**
 * Makes the validation of the input of a method, named by its gRPC path: `/grey.user.v1.UserService/GetUser`.
 * @param prove makes the proof that spares ordinary requests the full check
 */
export function createValidatorFor(
  registry: FileRegistry,
  prove: typeof createProof = createProof,
): (path: string) => Validate {
  const validator = createValidator({ registry, regexMatch: matches });
  return (path) => {
    const input = findInput(registry, path);
    const isProven = prove(input, { registry, regexOf: toRegExp });
    const validate: Validate = (bytes) => {
      if (isProven?.(bytes, 0, bytes.length) === true) return { violations: NONE, bytes };
      let message;
      try {
        message = fromBinary(input, bytes);
      } catch {
        return { violations: [MALFORMED], bytes: undefined };
      }
      const plain = Buffer.from(toBinary(input, message, { writeUnknownFields: false }));
      const overfull = bytes.length > COUNTED_BYTES_MIN ? overfullIn(reflect(input, message), "") : [];
      if (overfull.length > 0) return { violations: overfull, bytes: plain };
      const result = validator.validate(input, message);
      if (result.kind === "error") throw result.error;
      const ofRules = (result.violations ?? []).map(fieldViolation);
      const ofTimes = holdsTimes(input) ? wrongTimesIn(reflect(input, message), "") : [];
      return { violations: [...ofRules, ...ofTimes], bytes: plain };
    };
    // The first validation of a message compiles its rules: at start, not during the first call.
    validate(Buffer.of());
    return validate;
  };
}

function findInput(registry: FileRegistry, path: string): DescMessage {
  const [, serviceName = "", methodName = ""] = path.split("/");
  const service = assertPresent(registry.getService(serviceName), serviceName);
  return assertPresent(
    service.methods.find((method) => method.name === methodName),
    path,
  ).input;
}

const NONE: readonly FieldViolation[] = [];

const MALFORMED: FieldViolation = {
  field: "",
  rule: "must be a well-formed protobuf message with valid UTF-8 strings",
};

/** Finds the lists and maps that exceed their maximum. */
function overfullIn(message: ReflectMessage, above: string): FieldViolation[] {
  return message.fields.flatMap((field) => {
    const path = `${above}${field.name}`;
    if (!message.isSet(field)) return [];
    if (field.fieldKind === "message") return overfullIn(message.get(field), `${path}.`);
    if (field.fieldKind !== "list" && field.fieldKind !== "map") return [];
    const { size } = message.get(field);
    const max = itemsMax(field);
    if (max !== undefined && size > max) return [{ field: path, rule: `must hold no more than ${max}` }];
    if (field.fieldKind !== "list" || field.listKind !== "message") return [];
    return [...message.get(field)].flatMap((item, index) => overfullIn(item as ReflectMessage, `${path}[${index}].`));
  });
}

/** Returns the maximum number of items of the field; undefined for any number. Reading an option decodes it, so the result is cached. */
function itemsMax(field: DescField): number | undefined {
  let max = maxima.get(field);
  if (max === undefined) {
    const { type } = getOption(field, fieldRules);
    max = type.case === "repeated" ? type.value.maxItems : type.case === "map" ? type.value.maxPairs : 0n;
    maxima.set(field, max);
  }
  return max === 0n ? undefined : Number(max);
}

const maxima = new Map<DescField, bigint>();

/** The types with seconds and nanos. No duration of the contract is negative. */
const TIMES = ["google.protobuf.Timestamp", "google.protobuf.Duration"];

/** Finds the timestamps and durations that are invalid by protobuf's own rule, which annotations cannot state. */
function wrongTimesIn(message: ReflectMessage, above: string): FieldViolation[] {
  return message.fields.flatMap((field) => {
    if (field.message === undefined || !holdsTimes(field.message) || !message.isSet(field)) return [];
    const path = `${above}${field.name}`;
    if (field.fieldKind === "list") {
      return [...message.get(field)].flatMap((item, index) =>
        wrongTimesIn(item as ReflectMessage, `${path}[${index}].`),
      );
    }
    if (field.fieldKind !== "message") return [];
    const inner = message.get(field);
    if (!TIMES.includes(inner.desc.typeName)) return wrongTimesIn(inner, `${path}.`);
    const { nanos } = inner.message as Timestamp;
    return nanos >= 0 && nanos < 1_000_000_000 ? [] : [{ field: `${path}.nanos`, rule: "must be 0 to 999999999" }];
  });
}

/** Returns true if a message of this type can hold a timestamp or a duration. */
function holdsTimes(message: DescMessage): boolean {
  let holds = timeHolders.get(message);
  if (holds === undefined) {
    // Recursion alone does not make a type hold a time.
    timeHolders.set(message, false);
    holds =
      TIMES.includes(message.typeName) ||
      message.fields.some((field) => field.message !== undefined && holdsTimes(field.message));
    timeHolders.set(message, holds);
  }
  return holds;
}

const timeHolders = new Map<DescMessage, boolean>();

/** Converts a violation. Messages of message-level rules begin with their field, as in `name: must not be empty`. */
function fieldViolation({ field, message }: Violation): FieldViolation {
  const named = /^([a-z_.]+): (.*)$/s.exec(message);
  const path = pathToString(field);
  if (named === null) return { field: path, rule: message };
  return { field: [path, named[1] ?? ""].filter((part) => part !== "").join("."), rule: named[2] ?? "" };
}

/** Matches with the platform's engine, which is faster than the library's RE2: Grey's own patterns are simple and linear. */
function matches(pattern: string, text: string): boolean {
  return toRegExp(pattern).test(text);
}

function toRegExp(pattern: string): RegExp {
  let expression = expressions.get(pattern);
  if (expression === undefined) {
    expression = new RegExp(pattern, "u");
    expressions.set(pattern, expression);
  }
  return expression;
}

const expressions = new Map<string, RegExp>();
