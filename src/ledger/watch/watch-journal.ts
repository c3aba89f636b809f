import { measureRecord, type WatchedRecord } from "./journal-page.js";
import type { JournalTail, PageReply, WatchFilter } from "./journal-tail.js";

/** An event of a watch: a matching record, or without one the journal index up to which everything was read. */
export interface WatchEvent {
  readonly index: bigint;
  readonly record: WatchedRecord | undefined;
}

/** The number of records without a match after which a watch reports its progress. */
const UNREPORTED_MAX = 10_000n;
/** The weight that a watcher buffers while its client reads, but at least one record: there may be many slow clients. */
const BUFFERED_WEIGHT_MAX = 256;
/** The number of records that a lagging watch reads at once, where many match and where few do. */
const READ_MAX = { dense: 128n, sparse: 1_000n } as const;

/**
 * Yields the matching records in the journal's order, without end. Reads no faster than its consumer and holds no page meanwhile, so that
 * a slow consumer costs no more than a fast one.
 * @param from the first journal index to read
 * @param progressMs the interval without an event after which progress is reported; it is reported at the start too
 */
export async function* watchJournal(
  tail: JournalTail,
  { from, filter, progressMs }: { readonly from: bigint; readonly filter: WatchFilter; readonly progressMs: number },
  signal: AbortSignal,
): AsyncGenerator<WatchEvent, void, undefined> {
  const leave = tail.join();
  try {
    yield { index: from - 1n, record: undefined };
    let index = from;
    let reported = from;
    let reportedAt = performance.now();
    let recordsMax: bigint = READ_MAX.dense;
    while (!signal.aborted) {
      const waitMs = Math.max(0, reportedAt + progressMs - performance.now());
      const request = { index, filter, recordsMax, waitMs, indexMax: reported + UNREPORTED_MAX };
      // Keeps the matching records only, so that the page can be freed.
      const { start, records, end } = selectMatching(await tail.next(request, signal), filter);
      for (const record of records) {
        yield { index: record.index, record };
        reported = record.index + 1n;
        reportedAt = performance.now();
      }
      recordsMax = 8n * BigInt(records.length) > end - start ? READ_MAX.dense : READ_MAX.sparse;
      index = end;
      if (index - reported >= UNREPORTED_MAX || performance.now() - reportedAt >= progressMs) {
        yield { index: index - 1n, record: undefined };
        reported = index;
        reportedAt = performance.now();
      }
    }
  } finally {
    leave();
  }
}

/** Selects the matching records of a page, up to BUFFERED_WEIGHT_MAX, and the range of journal indexes that they cover. */
function selectMatching(
  { index, page }: PageReply,
  { mayMatch, matches }: WatchFilter,
): { start: bigint; records: readonly WatchedRecord[]; end: bigint } {
  if (page === undefined) return { start: index, records: [], end: index };
  if (!mayMatch(page)) return { start: index, records: [], end: page.end };
  const records: WatchedRecord[] = [];
  let weight = 0;
  for (const record of page.records.slice(Number(index - page.first))) {
    if (!matches(record)) continue;
    weight += measureRecord(record);
    if (records.length > 0 && weight > BUFFERED_WEIGHT_MAX) return { start: index, records, end: record.index };
    records.push(record);
  }
  return { start: index, records, end: page.end };
}
