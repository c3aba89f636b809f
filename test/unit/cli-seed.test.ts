import { expect } from "chai";
import * as fc from "fast-check";
import { runInOrder } from "../../src/cli/in-order.js";
import { collect } from "../../src/cli/paging.js";
import { planSeed, type SeedOptions } from "../../src/cli/seed-plan.js";

const OPTIONS: SeedOptions = { seed: 1, users: 10, transactions: 200, currencyCode: "USD" };

const anyOptions = fc.record({
  seed: fc.nat(),
  users: fc.integer({ min: 1, max: 20 }),
  transactions: fc.integer({ min: 0, max: 300 }),
  currencyCode: fc.constantFrom("USD", "JPY"),
});

describe("the plan of a seed", () => {
  it("is the same for the same options", () => {
    fc.assert(
      fc.property(anyOptions, (options) => void expect(planSeed(options)).to.deep.equal(planSeed(options))),
      {
        numRuns: 20,
      },
    );
  });

  it("never spends more than its own movements brought in, so that no movement is refused", () => {
    fc.assert(
      fc.property(anyOptions, (options) => {
        const plan = planSeed(options);
        const balances = plan.wallets.map(() => 0n);
        for (const movement of plan.movements) {
          expect(movement.amountMinor > 0n).to.equal(true);
          if (movement.kind !== "deposit") balances[movement.debit]! -= movement.amountMinor;
          if (movement.kind !== "withdrawal") balances[movement.credit]! += movement.amountMinor;
          if (movement.kind === "transfer") expect(movement.debit).not.to.equal(movement.credit);
          expect(balances.every((balance) => balance >= 0n)).to.equal(true);
        }
      }),
      { numRuns: 30 },
    );
  });

  it("gives every request a unique id, even across seeds, currencies and numbers of users", () => {
    const plans = [{}, { seed: 2 }, { currencyCode: "EUR", users: 11 }].map((other) =>
      planSeed({ ...OPTIONS, ...other }),
    );
    const ids = plans.flatMap((plan) => [...plan.wallets, ...plan.movements].map(({ requestId }) => requestId));
    expect(new Set(ids).size).to.equal(ids.length);
  });

  it("extends a smaller plan", () => {
    const small = planSeed({ ...OPTIONS, transactions: 50 });
    expect(planSeed(OPTIONS).movements.slice(0, 50)).to.deep.equal(small.movements);
    const { users, wallets } = planSeed({ ...OPTIONS, users: 20 });
    expect(users.slice(0, 10)).to.deep.equal(small.users);
    expect(wallets.slice(0, small.wallets.length)).to.deep.equal(small.wallets);
  });

  it("contains deposits, withdrawals and transfers", () => {
    const { users, movements } = planSeed(OPTIONS);
    expect(users[0]!.email).to.equal("ada.1.1@example.com");
    expect(new Set(users.map(({ email }) => email)).size).to.equal(users.length);
    for (const kind of ["deposit", "withdrawal", "transfer"]) {
      expect(movements.filter((movement) => movement.kind === kind).length, kind).to.be.greaterThan(20);
    }
  });
});

describe("running in order", () => {
  it("runs items that share a resource one after the other in their order, and at most the limit at once", async () => {
    const touching = fc.array(fc.array(fc.nat(4), { minLength: 1, maxLength: 2 }), { maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(touching, fc.integer({ min: 1, max: 8 }), fc.scheduler(), async (items, limit, scheduler) => {
        const seen = new Map<number, number[]>();
        const busy = new Set<number>();
        let inFlight = 0;
        const run = runInOrder(
          items.entries(),
          ([, things]) => things,
          async ([index, things]) => {
            const own = new Set(things);
            expect([...own].some((thing) => busy.has(thing))).to.equal(false);
            for (const thing of own) busy.add(thing);
            expect(++inFlight).to.be.at.most(limit);
            await scheduler.schedule(Promise.resolve());
            inFlight--;
            for (const thing of own) {
              busy.delete(thing);
              seen.set(thing, [...(seen.get(thing) ?? []), index]);
            }
          },
          limit,
        );
        await scheduler.waitFor(run);
        for (const indexes of seen.values()) expect(indexes).to.deep.equal(indexes.toSorted((a, b) => a - b));
        expect(new Set([...seen.values()].flat()).size).to.equal(items.length);
      }),
      { numRuns: 50 },
    );
  });

  it("throws the first error once started items have ended, and starts no more", async () => {
    const begun: number[] = [];
    const work = async (item: number) => {
      begun.push(item);
      if (item === 2) throw new Error("two");
    };
    const error = await runInOrder([1, 2, 3, 4, 5], () => ["same"], work, 2).then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(error).to.have.property("message", "two");
    expect(begun).to.deep.equal([1, 2]);
  });
});

describe("collecting pages", () => {
  it("continues past short and empty pages until the last page or the limit", async () => {
    const pages = [[1, 2], [], [3, 4, 5]];
    const asked: number[] = [];
    const fetchPage = async ({ pageSize, pageToken }: { pageSize: number; pageToken: string }) => {
      asked.push(pageSize);
      const at = Number(pageToken);
      return { items: pages[at]!.slice(0, pageSize), nextPageToken: at + 1 < pages.length ? String(at + 1) : "" };
    };
    expect(await collect(Infinity, fetchPage)).to.deep.equal({ items: [1, 2, 3, 4, 5], nextPageToken: "" });
    expect(await collect(2, fetchPage)).to.deep.equal({ items: [1, 2], nextPageToken: "1" });
    expect(asked).to.deep.equal([1000, 1000, 1000, 2]);
  });
});
