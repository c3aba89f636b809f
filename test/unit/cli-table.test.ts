import { stripVTControlCharacters } from "node:util";
import { expect } from "chai";
import * as fc from "fast-check";
import stringWidth from "string-width";
import { shortenIds, PLAIN, renderFields, renderTable, type Column } from "../../src/cli/table.js";

const COLUMNS: readonly Column[] = [
  { title: "time" },
  { title: "amount", align: "right" },
  { title: "account" },
  { title: "id", kind: "id", drop: 2 },
  { title: "state", kind: "state", drop: 1 },
  { title: "description", kind: "text" },
];
const ID = "01890a5d-ac96-774b-bcce-b302099a8057";

function row(description: string, id = ID, state = "posted") {
  return [
    { forms: ["2026-11-25T23:04:39.123456+01:00", "2026-11-25 23:04:39", "11-25 23:04"], onTerminal: 1 },
    "12.34 USD",
    { forms: [`${ID} ada@example.com/savings`, "ada@example.com/savings", "ada@…/savings"] },
    id,
    state,
    description,
  ];
}

function widest(text: string): number {
  return Math.max(
    ...text
      .split("\n")
      .filter((line) => !line.startsWith("(hidden"))
      .map((line) => stringWidth(line)),
  );
}

describe("a table", () => {
  it("shows everything in full without a width limit", () => {
    const text = renderTable(COLUMNS, [row("lunch")], PLAIN);
    expect(text)
      .to.include("2026-11-25T23:04:39.123456+01:00  12.34 USD")
      .and.to.include(`${ID} ada@example.com/savings  ${ID}  posted`);
  });

  it("is no wider than the terminal from 70 columns on, and keeps every amount and every word", () => {
    const texts = fc.array(fc.constantFrom("lunch", "昼食", "a", "concert tickets for two", "👩‍🚀"), { maxLength: 20 });
    fc.assert(
      fc.property(fc.integer({ min: 70, max: 300 }), fc.array(texts, { minLength: 1, maxLength: 4 }), (width, all) => {
        const text = renderTable(
          COLUMNS,
          all.map((words) => row(words.join(" "))),
          { width, colours: false },
        );
        expect(widest(text)).to.be.at.most(width);
        expect(text.match(/12\.34 USD/g)).to.have.length(all.length);
        for (const word of all.flat().join(" ").split(" ")) expect(text).to.include(word);
      }),
    );
  });

  it("hides the least important columns first, with a note", () => {
    const at = (width: number) => renderTable(COLUMNS, [row("lunch")], { width, colours: false });
    expect(at(200)).to.include(ID).and.to.include("posted").and.to.include("2026-11-25 23:04:39");
    expect(at(130)).to.include(`ada@example.com/savings  ${ID}`).and.not.to.include(`${ID} ada`);
    expect(at(100)).to.include("01890a5d-ac96").and.not.to.include(ID);
    expect(at(60))
      .to.include("11-25 23:04")
      .and.to.match(/\(hidden: state, id; .*\)$/);
  });

  it("is split for very many rows, each part with its titles, and loses none", () => {
    const columns: Column[] = [
      { title: "id", kind: "id" },
      { title: "text", kind: "text" },
    ];
    const rows = Array.from({ length: 10_001 }, (_, index) => [`${index}`, "b"]);
    const lines = renderTable(columns, rows, { width: 80, colours: false }).split("\n");
    expect(lines.filter((line) => line.startsWith("ID"))).to.have.length(2);
    expect(lines).to.have.length(10_001 + 2 + 1);
  });

  it("colours states and dims ids on a colour terminal, and is otherwise the same", () => {
    const rows = [row("lunch"), row("rent", ID, "rejected")];
    const coloured = renderTable(COLUMNS, rows, { width: 200, colours: true });
    expect(coloured)
      .to.include("\u001b[32mposted\u001b[39m")
      .and.to.include("\u001b[31mrejected")
      .and.to.include(`\u001b[2m${ID}`);
    const trimmed = (text: string) => text.replaceAll(/ +$/gm, "");
    expect(trimmed(stripVTControlCharacters(coloured))).to.equal(
      renderTable(COLUMNS, rows, { width: 200, colours: false }),
    );
  });

  it("is never coloured by the text in its cells", () => {
    expect(renderTable(COLUMNS, [row("\u001b[31mred")], { width: 200, colours: false })).not.to.include("\u001b");
  });

  it("cuts ids to a distinct prefix, but never within their timestamp", () => {
    const other = "01890a5d-ac96-774b-bcce-b302099a9999";
    expect(shortenIds([ID])).to.deep.equal(["01890a5d-ac96"]);
    expect(shortenIds([ID, other, ID])).to.deep.equal([ID.slice(0, 33), other.slice(0, 33), ID.slice(0, 33)]);
  });

  it("of fields dims ids and colours the state", () => {
    const fields = [
      ["wallet", ID],
      ["state", "frozen"],
    ] as const;
    expect(renderFields(fields, { width: 80, colours: true })).to.equal(
      `wallet  \u001b[2m${ID}\u001b[22m\nstate   \u001b[33mfrozen\u001b[39m`,
    );
    expect(renderFields(fields, PLAIN)).to.equal(`wallet  ${ID}\nstate   frozen`);
  });
});
