import { expect } from "chai";
import * as fc from "fast-check";
import { RECORD_TYPE } from "../../src/entities/journal.js";
import { measureRecord, type JournalPage, type WatchedRecord } from "../../src/ledger/watch/journal-page.js";
import type { JournalTail, PageRequest, WatchFilter } from "../../src/ledger/watch/journal-tail.js";
import { watchJournal, type WatchEvent } from "../../src/ledger/watch/watch-journal.js";

/** Returns a journal with one record for each subject id. */
function createJournal(ids: readonly number[]): WatchedRecord[] {
  return ids.map((id, index) => ({
    id: String(id),
    type: RECORD_TYPE.USER_UPDATED,
    index: BigInt(index),
    transaction: undefined,
  }));
}

/** Returns a tail that serves the journal in pages of a size, and keeps the requests. */
function createTail(
  journal: readonly WatchedRecord[],
  pageSize: number,
): JournalTail & { readonly requests: PageRequest[] } {
  const requests: PageRequest[] = [];
  return {
    requests,
    join: () => () => undefined,
    next: (request) => {
      requests.push(request);
      const first = Math.floor(Number(request.index) / pageSize) * pageSize;
      const records = journal.slice(first, first + pageSize);
      const page: JournalPage = {
        first: BigInt(first),
        end: BigInt(first + records.length),
        records,
        weight: records.reduce((sum, record) => sum + measureRecord(record), 0),
        subjectIds: new Set(records.map(({ id }) => id)),
        newWalletOwners: new Map(),
      };
      return Promise.resolve({ index: request.index, page: request.index < page.end ? page : undefined });
    },
  };
}

/** Returns a filter for the records of some subjects. */
function filterSubjects(ids: ReadonlySet<string>): WatchFilter {
  return {
    mayMatch: ({ subjectIds }) => [...ids].some((id) => subjectIds.has(id)),
    matches: ({ id }) => ids.has(id),
  };
}

/** Collects the events up to the journal's end. */
async function watch(tail: JournalTail, size: number, from: bigint, filter: WatchFilter): Promise<WatchEvent[]> {
  const events: WatchEvent[] = [];
  const ending = new AbortController();
  // With no interval, progress is reported at the end of every page.
  for await (const one of watchJournal(tail, { from, filter, progressMs: 0 }, ending.signal)) {
    events.push(one);
    if (one.index >= BigInt(size) - 1n) return events;
  }
  return events;
}

describe("a watch of the journal", () => {
  it("yields the matching records from any index on, each once, in order, for any page size", async () => {
    const subjects = fc.array(fc.nat(5), { minLength: 1, maxLength: 400 });
    await fc.assert(
      fc.asyncProperty(
        subjects,
        fc.integer({ min: 1, max: 300 }),
        fc.nat(400),
        fc.nat(5),
        async (all, pageSize, at, id) => {
          const journal = createJournal(all);
          const from = BigInt(at % all.length);
          const ids = new Set([String(id)]);
          const events = await watch(createTail(journal, pageSize), all.length, from, filterSubjects(ids));
          const expected = journal.filter((record) => record.index >= from && ids.has(record.id));
          expect(events.flatMap(({ record }) => record ?? [])).to.deep.equal(expected);
          expect(events[0]).to.deep.equal({ index: from - 1n, record: undefined });
          expect(events.every(({ index }, n) => n === 0 || index >= events[n - 1]!.index)).to.equal(true);
          // A watch that resumes after any event gets the rest.
          const cut = events[events.length >> 1]!.index + 1n;
          if (cut >= BigInt(all.length)) return;
          const rest = await watch(createTail(journal, pageSize), all.length, cut, filterSubjects(ids));
          expect(rest.flatMap(({ record }) => record ?? [])).to.deep.equal(
            expected.filter(({ index }) => index >= cut),
          );
        },
      ),
      { numRuns: 200 },
    );
  });

  it("reports its progress at least every 10,000 records, whatever its interval, and requests replies in time", async () => {
    const journal = createJournal(Array.from({ length: 25_000 }, () => 1));
    const tail = createTail(journal, 1_000);
    const indexes: bigint[] = [];
    const options = { from: 0n, filter: filterSubjects(new Set(["2"])), progressMs: 3_600_000 };
    for await (const { index } of watchJournal(tail, options, new AbortController().signal)) {
      indexes.push(index);
      if (indexes.length === 3) break;
    }
    expect(indexes).to.deep.equal([-1n, 9_999n, 19_999n]);
    expect(new Set(tail.requests.map(({ indexMax }) => indexMax))).to.deep.equal(new Set([10_000n, 20_000n]));
  });

  it("reads small pages where many records match, since it may have to buffer them, and larger ones where few do", async () => {
    for (const [id, recordsMax] of [
      ["1", 128n],
      ["2", 1_000n],
    ] as const) {
      const tail = createTail(createJournal(Array.from({ length: 1_000 }, () => 1)), 100);
      await watch(tail, 1_000, 0n, filterSubjects(new Set([id])));
      expect(tail.requests.at(-1)!.recordsMax).to.equal(recordsMax);
    }
  });
});
