import { isDeepStrictEqual } from "node:util";
import { fromBinary, getOption, type DescField, type DescMessage } from "@bufbuild/protobuf";
import { reflect, type ReflectMessage } from "@bufbuild/protobuf/reflect";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { field as fieldRules, type FieldRules } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { assertPresent } from "../../base/assert.js";
import { microsUp } from "../../base/time.js";
import { loadDescriptors } from "../../rpc/descriptors.js";

/**
 * Returns the contract's names of the fields in which two requests differ; of a choice, that of the member that is set. Ids are
 * compared without case, and times as they are stored. Defaults are filled in already.
 * @param typeName the full name of their message
 */
export function findDifferingFields(typeName: string, a: Uint8Array, b: Uint8Array): string[] {
  const type = assertPresent(loadDescriptors().registry.getMessage(typeName), typeName);
  const [one, other] = [a, b].map((bytes) => canonical(reflect(type, fromBinary(type, bytes)))) as [Fields, Fields];
  return [...new Set([...Object.keys(one), ...Object.keys(other)])]
    .filter((name) => !isDeepStrictEqual(one[name], other[name]))
    .filter((name) => !isReplaced(type, name, one, other));
}

/** The fields that are set, by the contract's names. */
type Fields = Readonly<Record<string, unknown>>;

/** Reports whether another member of the same choice is set in the first request: that member shows the difference already. */
function isReplaced(type: DescMessage, name: string, one: Fields, other: Fields): boolean {
  const { oneof } = assertPresent(
    type.fields.find((field) => field.name === name),
    name,
  );
  return name in other && !(name in one) && (oneof?.fields.some((member) => member.name in one) ?? false);
}

/** Returns the request in a form in which equal requests are deeply equal. */
function canonical(message: ReflectMessage): Fields {
  return Object.fromEntries(
    message.fields.filter((field) => message.isSet(field)).map((field) => [field.name, canonicalValue(message, field)]),
  );
}

function canonicalValue(message: ReflectMessage, field: DescField): unknown {
  const rules = getOption(field, fieldRules);
  switch (field.fieldKind) {
    case "message":
      return canonicalMessage(message.get(field));
    case "list": {
      const items = rules.type.case === "repeated" ? rules.type.value.items : undefined;
      return [...message.get(field)].map((item) =>
        field.listKind === "message" ? canonicalMessage(item as ReflectMessage) : canonicalScalar(item, items),
      );
    }
    case "map":
      return Object.fromEntries(message.get(field));
    default:
      return canonicalScalar(message.get(field), rules);
  }
}

const TIMES = ["google.protobuf.Timestamp", "google.protobuf.Duration"];

/** Rounds times up: in these requests they are bounds. */
function canonicalMessage(message: ReflectMessage): unknown {
  return TIMES.includes(message.desc.typeName) ? microsUp(message.message as Timestamp) : canonical(message);
}

/** Returns a UUID in lower case, and any other scalar as it is. */
function canonicalScalar(value: unknown, rules: FieldRules | undefined): unknown {
  const isId = rules?.type.case === "string" && rules.type.value.wellKnown.case === "uuid";
  return isId ? String(value).toLowerCase() : value;
}
