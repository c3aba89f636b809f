import { expect } from "chai";
import * as fc from "fast-check";
import { RECORD_TYPE } from "../../src/entities/journal.js";
import {
  weigh,
  type WatchFilter,
  type JournalPage,
  type WatchedRecord,
  type JournalTail,
  type PageRequest,
} from "../../src/ledger/watch/journal-tail.js";
import { watchJournal, type WatchEvent } from "../../src/ledger/watch/watch-journal.js";

/** A journal whose records are about the thing of their number, one after the other. */
function journalOf(ids: readonly number[]): WatchedRecord[] {
  return ids.map((id, index) => ({
    id: String(id),
    type: RECORD_TYPE.USER_UPDATED,
    index: BigInt(index),
    transaction: undefined,
  }));
}

/** The journal in pages of so many records; what is wanted is kept. */
function tailOf(journal: readonly WatchedRecord[], pageSize: number): JournalTail & { readonly asked: PageRequest[] } {
  const asked: PageRequest[] = [];
  return {
    asked,
    join: () => () => undefined,
    next: (wanted) => {
      asked.push(wanted);
      const first = Math.floor(Number(wanted.place) / pageSize) * pageSize;
      const sights = journal.slice(first, first + pageSize);
      const page: JournalPage = {
        first: BigInt(first),
        end: BigInt(first + sights.length),
        records: sights,
        weight: sights.reduce((sum, record) => sum + weigh(record), 0),
        touched: new Set(sights.map(({ id }) => id)),
        opened: new Map(),
      };
      return Promise.resolve({ place: wanted.place, page: wanted.place < page.end ? page : undefined });
    },
  };
}

function interestIn(wanted: ReadonlySet<string>): WatchFilter {
  return {
    mayMatch: ({ touched }) => [...wanted].some((id) => touched.has(id)),
    matches: ({ id }) => wanted.has(id),
  };
}

/** What is told up to the journal's end. */
async function watch(tail: JournalTail, size: number, from: bigint, filter: WatchFilter): Promise<WatchEvent[]> {
  const told: WatchEvent[] = [];
  const ending = new AbortController();
  // Without patience every end of a page is told.
  for await (const one of watchJournal(tail, { from, filter, progressMs: 0 }, ending.signal)) {
    told.push(one);
    if (one.index >= BigInt(size) - 1n) return told;
  }
  return told;
}

describe("watching a journal", () => {
  it("tells what is of interest from any place on, each once, in order, whatever the pages", async () => {
    const ids = fc.array(fc.nat(5), { minLength: 1, maxLength: 400 });
    await fc.assert(
      fc.asyncProperty(ids, fc.integer({ min: 1, max: 300 }), fc.nat(400), fc.nat(5), async (all, pageSize, at, id) => {
        const journal = journalOf(all);
        const from = BigInt(at % all.length);
        const wanted = new Set([String(id)]);
        const told = await watch(tailOf(journal, pageSize), all.length, from, interestIn(wanted));
        const expected = journal.filter((record) => record.index >= from && wanted.has(record.id));
        expect(told.flatMap(({ record }) => record ?? [])).to.deep.equal(expected);
        expect(told[0]).to.deep.equal({ index: from - 1n, record: undefined });
        expect(told.every(({ index }, n) => n === 0 || index >= told[n - 1]!.index)).to.equal(true);
        // Whoever goes on after any message gets the rest.
        const cut = told[told.length >> 1]!.index + 1n;
        if (cut >= BigInt(all.length)) return;
        const rest = await watch(tailOf(journal, pageSize), all.length, cut, interestIn(wanted));
        expect(rest.flatMap(({ record }) => record ?? [])).to.deep.equal(expected.filter(({ index }) => index >= cut));
      }),
      { numRuns: 200 },
    );
  });

  it("tells how far it is at least every 10,000 records, however patient, and asks to be told so", async () => {
    const journal = journalOf(Array.from({ length: 25_000 }, () => 1));
    const tail = tailOf(journal, 1_000);
    const indexes: bigint[] = [];
    const options = { from: 0n, filter: interestIn(new Set(["2"])), progressMs: 3_600_000 };
    for await (const { index } of watchJournal(tail, options, new AbortController().signal)) {
      indexes.push(index);
      if (indexes.length === 3) break;
    }
    expect(indexes).to.deep.equal([-1n, 9_999n, 19_999n]);
    expect(new Set(tail.asked.map(({ placeMax }) => placeMax))).to.deep.equal(new Set([10_000n, 20_000n]));
  });

  it("reads little at once where much is of interest, since it may have to hold it, and more where little is", async () => {
    for (const [id, atOnce] of [
      ["1", 128n],
      ["2", 1_000n],
    ] as const) {
      const tail = tailOf(journalOf(Array.from({ length: 1_000 }, () => 1)), 100);
      await watch(tail, 1_000, 0n, interestIn(new Set([id])));
      expect(tail.asked.at(-1)!.atOnce).to.equal(atOnce);
    }
  });
});
