import { expect } from "chai";
import * as fc from "fast-check";
import { getUsage, addUse, checkVelocity, type Use, type VelocityLimit } from "../../src/ledger/account/velocity.js";

const WINDOW_MICROS = 60_000_000n;
const SLICE_MICROS = WINDOW_MICROS / 100n;
const limit = (over: Partial<VelocityLimit> = {}): VelocityLimit => ({
  name: "a",
  direction: "OUTGOING",
  kinds: [],
  windowMicros: WINDOW_MICROS,
  maxAmountMinor: 100n,
  maxCount: null,
  since: 0n,
  slices: [],
  ...over,
});
const use = (amountMinor: bigint, over: Partial<Use> = {}): Use => ({
  direction: "OUTGOING",
  kind: "TRANSFER",
  amountMinor,
  count: 1n,
  ...over,
});

describe("a velocity limit", () => {
  const attempts = fc.array(
    fc.record({ afterMicros: fc.bigInt({ min: 0n, max: 20_000_000n }), amountMinor: fc.bigInt({ min: 1n, max: 60n }) }),
    { maxLength: 60 },
  );

  it("is never exceeded in any window, and allows a use again at the reported time, at most a hundredth of the window late", () => {
    fc.assert(
      fc.property(attempts, fc.option(fc.bigInt({ min: 1n, max: 8n })), (tries, maxCount) => {
        let limits: readonly VelocityLimit[] = [limit({ maxCount })];
        let now = 1_000_000_000_000n;
        const uses: { readonly at: bigint; readonly amountMinor: bigint }[] = [];
        for (const { afterMicros, amountMinor } of tries) {
          now += afterMicros;
          const one = use(amountMinor);
          const failure = checkVelocity("w", limits, one, now);
          const within = (micros: bigint) => uses.filter(({ at }) => at > now - micros);
          if (failure === undefined) {
            limits = addUse(limits, one, now);
            uses.push({ at: now, amountMinor });
            const window = within(WINDOW_MICROS);
            expect(window.reduce((sum, { amountMinor: amount }) => sum + amount, 0n) <= 100n).to.equal(true);
            if (maxCount !== null) expect(BigInt(window.length) <= maxCount).to.equal(true);
            continue;
          }
          // Only uses within the window and one more slice count.
          const wider = within(WINDOW_MICROS + SLICE_MICROS);
          const amount = wider.reduce((sum, one) => sum + one.amountMinor, 0n) + amountMinor;
          const isTooMany = maxCount !== null && BigInt(wider.length) + 1n > maxCount;
          expect(amount > 100n || isTooMany).to.equal(true);
          if (failure.reason !== "VELOCITY_EXCEEDED" || failure.freesTime === undefined) continue;
          const micros = /\.(\d{6})Z$/.exec(failure.freesTime)![1]!;
          const frees = BigInt(Date.parse(failure.freesTime.slice(0, 19) + "Z")) * 1_000n + BigInt(micros);
          const isRejected = (at: bigint) => {
            const again = checkVelocity("w", limits, one, at);
            return again?.reason === "VELOCITY_EXCEEDED" && again.measure === failure.measure;
          };
          expect([isRejected(frees - 1n), isRejected(frees)]).to.deep.equal([true, false]);
        }
      }),
    );
  });

  it("counts only its direction and kinds, and never reversals", () => {
    const limits = [limit({ kinds: ["WITHDRAWAL"] }), limit({ name: "b" })];
    const after = [
      use(1n),
      use(2n, { kind: "WITHDRAWAL" }),
      use(4n, { direction: "INCOMING" }),
      use(8n, { kind: "REVERSAL" }),
    ].reduce<readonly VelocityLimit[]>((all, one) => addUse(all, one, 5n), limits);
    expect(after.map((one) => getUsage(one, 5n))).to.deep.equal([
      { amountMinor: 2n, count: 1n },
      { amountMinor: 3n, count: 2n },
    ]);
  });

  it("reports no time for an amount above its maximum", () => {
    const failure = checkVelocity("w", [limit()], use(101n), 5n);
    expect(failure).to.deep.equal({
      reason: "VELOCITY_EXCEEDED",
      walletId: "w",
      limit: "a",
      measure: "amount",
      max: "100",
      used: "0",
      required: "101",
      windowSeconds: "60",
    });
  });

  it("counts into the latest slice when another server's clock is ahead", () => {
    const [first] = addUse([limit()], use(1n), 10n * SLICE_MICROS);
    const [second] = addUse([first!], use(2n), 9n * SLICE_MICROS);
    expect(second!.slices).to.deep.equal([{ slice: 10n, amountMinor: 3n, count: 2n }]);
  });
});
