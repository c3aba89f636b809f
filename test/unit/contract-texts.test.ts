import { create, getOption, ScalarType, type DescField, type DescMessage } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { createValidator } from "@bufbuild/protovalidate";
import { field as fieldRules, type FieldRules } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { expect } from "chai";
import { registry } from "../support/corpus.js";

/** Tokens that the service made itself, compared as they are; and the names of fields. */
const OPAQUE = ["page_token", "etag", "quote", "paths"];

const messages = new Map<string, DescMessage>();
const collect = (message: DescMessage): void => {
  if (messages.has(message.typeName)) return;
  messages.set(message.typeName, message);
  for (const { message: inner } of message.fields) if (inner !== undefined) collect(inner);
};
for (const type of registry)
  if (type.kind === "service" && type.typeName.startsWith("grey."))
    for (const { input } of type.methods) collect(input);

const validator = createValidator({ registry, regexMatch: (pattern, text) => new RegExp(pattern, "u").test(text) });

/** What the rules say of a message that has nothing but this text in this field. */
function violationsOf(field: DescField, text: string): readonly string[] {
  const type = field.parent;
  const message = create(type);
  const view = reflect(type, message);
  if (field.fieldKind === "list") view.get(field).add(text);
  else if (field.fieldKind === "map") view.get(field).set("key", text);
  else view.set(field, text);
  const { violations = [] } = validator.validate(type, message);
  return violations
    .filter(({ field: [first] }) => first?.kind === "field" && first.name === field.name)
    .map(({ ruleId }) => ruleId);
}

function holdsText(field: DescField): boolean {
  if (field.fieldKind === "map") return field.mapKind === "scalar" && field.scalar === ScalarType.STRING;
  if (field.fieldKind === "list") return field.listKind === "scalar" && field.scalar === ScalarType.STRING;
  return field.fieldKind === "scalar" && field.scalar === ScalarType.STRING;
}

const texts = [...messages.values()].flatMap(({ fields }) => fields).filter(holdsText);
const nameOf = ({ parent, name }: DescField): string => `${parent.name}.${name}`;

describe("every text of a request", () => {
  it("is held to no bare pattern, which would be the message of the violation", () => {
    const rulesOf = (field: DescField): (FieldRules | undefined)[] => {
      const rules = getOption(field, fieldRules);
      const { type } = rules;
      if (type.case === "map") return [type.value.keys, type.value.values];
      return [type.case === "repeated" ? type.value.items : rules];
    };
    const withPattern = texts.filter((field) =>
      rulesOf(field).some((rules) => rules?.type.case === "string" && rules.type.value.pattern !== ""),
    );
    expect(withPattern.map(nameOf)).to.deep.equal([]);
  });

  for (const field of texts.filter(({ name }) => !OPAQUE.includes(name))) {
    it(`is without control characters, C0 as well as C1: ${nameOf(field)}`, () => {
      for (const control of ["\u0000", "\n", "\u001f", "\u007f", "\u0080", "\u009b", "\u009f"])
        expect(violationsOf(field, `a${control}b`), JSON.stringify(control)).not.to.deep.equal([]);
    });
  }

  for (const field of texts.filter(({ name, number }) => name === "request_id" && number === 1)) {
    it(`is no nil or max UUID: ${nameOf(field)}`, () => {
      for (const id of ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-FFFF-FFFFFFFFFFFF"])
        expect(violationsOf(field, id)).to.deep.equal(["request_id.own"]);
      for (const id of ["00000000-0000-0000-0000-000000000001", "0fffffff-ffff-ffff-ffff-ffffffffffff"])
        expect(violationsOf(field, id)).to.deep.equal([]);
    });
  }

  for (const field of texts.filter(({ name }) => name === "rate")) {
    it(`is a decimal number without leading zeros: ${nameOf(field)}`, () => {
      for (const rate of ["1", "0.5", "10.50", "1.0", "0.01"])
        expect(violationsOf(field, rate), rate).to.deep.equal([]);
      for (const rate of ["01", "00.5", "0", "0.0", ".5", "1.", "+1", "-1", "1e3", "", "١"])
        expect(violationsOf(field, rate), rate).not.to.deep.equal([]);
    });
  }

  it("is found by this test", () => {
    expect(texts.filter(({ name }) => name === "request_id")).to.have.length.above(30);
    expect(texts.filter(({ name }) => name === "rate")).to.have.lengthOf(2);
  });
});
