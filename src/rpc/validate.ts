import { fromBinary, type DescMessage, type FileRegistry } from "@bufbuild/protobuf";
import { pathToString } from "@bufbuild/protobuf/reflect";
import { createValidator, type Violation } from "@bufbuild/protovalidate";
import { present } from "../base/assert.js";
import type { FieldViolation } from "../base/failure.js";

/** Checks the bytes of one kind of request against the contract's annotations: what is broken, empty when nothing is. */
export type Validate = (bytes: Uint8Array) => readonly FieldViolation[];

/** Makes the check for the input of a method, named as in a gRPC path: `/grey.user.v1.UserService/GetUser`. */
export function createValidatorFor(registry: FileRegistry): (path: string) => Validate {
  const validator = createValidator({ registry, regexMatch: matches });
  return (path) => {
    const input = inputOf(registry, path);
    const validate: Validate = (bytes) => {
      let message;
      try {
        message = fromBinary(input, bytes);
      } catch {
        return [{ field: "", rule: "must be a well-formed protobuf message with valid UTF-8 strings" }];
      }
      const result = validator.validate(input, message);
      if (result.kind === "valid") return [];
      if (result.kind === "error") throw result.error;
      return result.violations.map(fieldViolation);
    };
    // The first check of a message plans its rules: at start, not in the first caller's time.
    validate(new Uint8Array());
    return validate;
  };
}

function inputOf(registry: FileRegistry, path: string): DescMessage {
  const [, serviceName = "", methodName = ""] = path.split("/");
  const service = present(registry.getService(serviceName), serviceName);
  return present(
    service.methods.find((method) => method.name === methodName),
    path,
  ).input;
}

/** Rules of a whole message name their field before a colon, as in `name: must not be empty`. */
function fieldViolation({ field, message }: Violation): FieldViolation {
  const named = /^([a-z_.]+): (.*)$/s.exec(message);
  if (field.length === 0 && named !== null) return { field: named[1] ?? "", rule: named[2] ?? "" };
  return { field: pathToString(field), rule: message };
}

/** Grey's own patterns are simple and linear, so the platform's engine does, which is faster than the library's RE2. */
function matches(pattern: string, text: string): boolean {
  let expression = expressions.get(pattern);
  if (expression === undefined) {
    expression = new RegExp(pattern, "u");
    expressions.set(pattern, expression);
  }
  return expression.test(text);
}

const expressions = new Map<string, RegExp>();
