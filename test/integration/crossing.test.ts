import { expect } from "chai";
import * as fc from "fast-check";
import pg from "pg";
import { ALERT_BALANCE, ALERT_DIRECTION, type AlertBalance, type AlertDirection } from "../../src/entities/alert.js";
import { crossingDirection, watchedBalance } from "../../src/entities/crossing.js";
import { createTestDatabase, type TestDatabase } from "../support/cluster.js";

const { UP, DOWN, BOTH } = ALERT_DIRECTION;
const { AVAILABLE, POSTED } = ALERT_BALANCE;

type Step = readonly [before: bigint, after: bigint];

describe("a crossing of a threshold", () => {
  let database: TestDatabase;
  let client: pg.Client;

  before(async () => {
    database = await createTestDatabase();
    client = new pg.Client({ connectionString: database.url });
    await client.connect();
  });
  after(async () => {
    await client.end();
    await database.drop();
  });

  /** Returns the direction of each step, undefined where the threshold is not crossed. */
  async function directionsOf(
    steps: readonly Step[],
    threshold: bigint,
    direction: AlertDirection,
  ): Promise<(AlertDirection | undefined)[]> {
    const { rows } = await client.query<{ crossing: AlertDirection | null }>(
      `SELECT ${crossingDirection("alert", "step.before", "step.after")} AS crossing
       FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS step (before, after, number),
         (VALUES ($3::bigint, $4::smallint)) AS alert (threshold, direction)
       ORDER BY number`,
      [steps.map(([before]) => before), steps.map(([, after]) => after), threshold, direction],
    );
    return rows.map(({ crossing }) => crossing ?? undefined);
  }

  const cases: readonly (readonly [before: bigint, after: bigint, crossed: AlertDirection | undefined])[] = [
    [100n, 99n, DOWN],
    [99n, 100n, UP],
    [100n, 100n, undefined],
    [99n, 98n, undefined],
    [101n, 100n, undefined],
    [100n, 500n, undefined],
    [500n, -500n, DOWN],
    [-1n, 500n, UP],
  ];
  for (const [before, after, crossed] of cases) {
    it(`of 100 is ${crossed === undefined ? "none" : crossed === UP ? "upwards" : "downwards"} from ${before} to ${after}`, async () => {
      const step = [[before, after]] as const;
      expect(await directionsOf(step, 100n, BOTH)).to.deep.equal([crossed]);
      expect(await directionsOf(step, 100n, UP)).to.deep.equal([crossed === UP ? UP : undefined]);
      expect(await directionsOf(step, 100n, DOWN)).to.deep.equal([crossed === DOWN ? DOWN : undefined]);
    });
  }

  it("goes up and down in turn, whatever the balance does, and as often as a model counts", async () => {
    const amount = fc.bigInt({ min: -20n, max: 20n });
    await fc.assert(
      fc.asyncProperty(fc.array(amount, { minLength: 2 }), amount, async (balances, threshold) => {
        const steps = balances.slice(1).map((after, index) => [balances[index]!, after] as const);
        // The model keeps a flag for the side on which the balance is, and counts its changes.
        const model: AlertDirection[] = [];
        let isThere = balances[0]! >= threshold;
        for (const balance of balances) {
          if (isThere && balance < threshold) model.push(DOWN);
          if (!isThere && balance >= threshold) model.push(UP);
          isThere = balance >= threshold;
        }
        for (const direction of [BOTH, UP, DOWN]) {
          const crossings = (await directionsOf(steps, threshold, direction)).filter((one) => one !== undefined);
          expect(crossings).to.deep.equal(model.filter((one) => direction === BOTH || one === direction));
        }
      }),
    );
  });

  it("is one of the posted balance, or of what pending debits leave available", async () => {
    const watched = async (balance: AlertBalance, after: bigint | null, pending: bigint | null): Promise<bigint> => {
      const { rows } = await client.query<{ watched: string }>(
        `SELECT ${watchedBalance("alert", "entry")} AS watched
         FROM (VALUES ($1::smallint)) AS alert (balance), (VALUES ($2::bigint, $3::bigint)) AS entry (balance_after, pending_debits_after)`,
        [balance, after, pending],
      );
      return BigInt(rows[0]!.watched);
    };
    expect(await watched(POSTED, 70n, 30n)).to.equal(70n);
    expect(await watched(AVAILABLE, 70n, 30n)).to.equal(40n);
    expect(await watched(AVAILABLE, 70n, null)).to.equal(70n);
    expect(await watched(AVAILABLE, null, null), "before the first entry").to.equal(0n);
  });
});
