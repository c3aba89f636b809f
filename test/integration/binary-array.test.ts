import { expect } from "chai";
import * as fc from "fast-check";
import type pg from "pg";
import { AMOUNT_MAX, AMOUNT_MIN } from "../../src/base/money.js";
import { toIso } from "../../src/base/time.js";
import { int2Array, int8Array, textArray, timestampArray, uuidArray } from "../../src/db/binary-array.js";
import { createEmptyDatabase } from "../support/cluster.js";
import { openAdmin } from "../support/ledger.js";

describe("an array parameter in PostgreSQL's binary form", () => {
  let client: pg.Client;
  let drop: () => Promise<void>;

  before(async () => {
    const database = await createEmptyDatabase();
    drop = database.drop;
    client = await openAdmin(database.url);
  });
  after(async () => {
    await client.end();
    await drop();
  });

  /** What PostgreSQL makes of the parameter, element by element, as text. */
  async function received(type: string, parameter: Buffer): Promise<(string | null)[]> {
    const { rows } = await client.query<{ element: string | null }>(
      `SELECT element::text FROM unnest($1::${type}[]) WITH ORDINALITY AS e (element, position) ORDER BY position`,
      [parameter],
    );
    return rows.map((row) => row.element);
  }

  /** The array arrives as it is, whatever it holds. */
  function arrives<T>(
    type: string,
    element: fc.Arbitrary<T>,
    encode: (values: readonly (T | null)[]) => Buffer,
    asText: (value: T) => string,
  ): Promise<void> {
    const values = fc.array(fc.option(element), { maxLength: 20 });
    return fc.assert(
      fc.asyncProperty(values, async (list) => {
        expect(await received(type, encode(list))).to.deep.equal(
          list.map((value) => (value === null ? null : asText(value))),
        );
      }),
      { numRuns: 40 },
    );
  }

  it("carries uuids", () => arrives("uuid", fc.uuid(), uuidArray, (id) => id));

  it("carries bigints over the whole of int64", () =>
    arrives("bigint", fc.bigInt({ min: AMOUNT_MIN, max: AMOUNT_MAX }), int8Array, (value) => value.toString()));

  it("carries smallints", () => arrives("smallint", fc.integer({ min: -32_768, max: 32_767 }), int2Array, String));

  it("carries every text without NUL, in every script", () =>
    arrives(
      "text",
      fc.string({ unit: "binary" }).filter((text) => !text.includes("\0")),
      textArray,
      (text) => text,
    ));

  it("carries points in time to the microsecond", async () => {
    await client.query("SET TIME ZONE 'UTC'");
    await arrives("timestamptz", fc.bigInt({ min: 0n, max: 253_402_300_799_999_999n }), timestampArray, (micros) =>
      toIso(micros)
        .replace("T", " ")
        .replace(/\.?0*Z$/, "+00"),
    );
  });

  it("carries the times before 2000 and 1970", async () => {
    const micros = [0n, -1n, 946_684_800_000_000n, 946_684_799_999_999n];
    const { rows } = await client.query<{ same: boolean[] }>(
      `SELECT array_agg(t = 'epoch'::timestamptz + m * interval '1 microsecond') AS same
       FROM unnest($1::timestamptz[], $2::bigint[]) AS pair (t, m)`,
      [timestampArray(micros), int8Array(micros)],
    );
    expect(rows[0]!.same).to.deep.equal([true, true, true, true]);
  });

  const empty = {
    uuid: uuidArray([]),
    bigint: int8Array([]),
    smallint: int2Array([]),
    text: textArray([]),
    timestamptz: timestampArray([]),
  };
  for (const [type, parameter] of Object.entries(empty)) {
    it(`carries no ${type} at all`, async () => expect(await received(type, parameter)).to.deep.equal([]));
  }

  it("keeps the parts of a row together when several arrays are taken apart side by side", async () => {
    const ids = ["01890a5d-ac96-774b-bcce-b302099a8057", null];
    const { rows } = await client.query(
      "SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::smallint[]) AS r (id, amount, text, kind)",
      [uuidArray(ids), int8Array([1n, -1n]), textArray(['{a,"b"}', "NULL"]), int2Array([null, 2])],
    );
    expect(rows).to.deep.equal([
      { id: ids[0], amount: 1n, text: '{a,"b"}', kind: null },
      { id: null, amount: -1n, text: "NULL", kind: 2 },
    ]);
  });

  const wrong = ["", "01890a5d", "01890a5d-ac96-774b-bcce-b302099a805g", "zzzzzzzz-ac96-774b-bcce-b302099a8057"];
  for (const id of wrong) {
    it(`refuses ${JSON.stringify(id)} as a uuid before anything is sent`, () => {
      expect(() => uuidArray([id])).to.throw("not a UUID");
    });
  }

  it("refuses a bigint that int64 does not hold", () => {
    expect(() => int8Array([AMOUNT_MAX + 1n])).to.throw("exceeds int64");
    expect(() => int8Array([AMOUNT_MIN - 1n])).to.throw("exceeds int64");
  });
});
