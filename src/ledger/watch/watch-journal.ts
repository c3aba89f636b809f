import { weigh, type PageReply, type WatchFilter, type WatchedRecord, type JournalTail } from "./journal-tail.js";

/** An event of a watch: a record that matches, or only that everything up to the index was read. */
export interface WatchEvent {
  readonly index: bigint;
  readonly record: WatchedRecord | undefined;
}

/** After this many records without a match a watch reports its place. */
const SILENT_MAX = 10_000n;
/** What a watcher holds at the most while its client takes it, by weight, and one record at least: many may be slow. */
const HELD_WEIGHT_MAX = 256;
/** Records that a lagging watch reads at once, where most of them match and where few do. */
const AT_ONCE = { dense: 128n, sparse: 1_000n } as const;

/**
 * Yields the matching records in the journal's order, without end. It reads no faster than its consumer takes, and keeps
 * nothing but its place meanwhile, so that a slow consumer costs no more than a fast one.
 * @param from the first place that is read
 * @param progressMs after so long without anything to tell it tells how far it is; at the beginning too
 */
export async function* watchJournal(
  tail: JournalTail,
  { from, filter, progressMs }: { readonly from: bigint; readonly filter: WatchFilter; readonly progressMs: number },
  signal: AbortSignal,
): AsyncGenerator<WatchEvent, void, undefined> {
  const leave = tail.join();
  try {
    yield { index: from - 1n, record: undefined };
    let place = from;
    let reported = from;
    let reportedAt = performance.now();
    let atOnce: bigint = AT_ONCE.dense;
    while (!signal.aborted) {
      const waitMs = Math.max(0, reportedAt + progressMs - performance.now());
      const request = { place, filter, atOnce, waitMs, placeMax: reported + SILENT_MAX };
      // The page itself is not held meanwhile.
      const { start, records, end } = selectMatching(await tail.next(request, signal), filter);
      for (const record of records) {
        yield { index: record.index, record };
        reported = record.index + 1n;
        reportedAt = performance.now();
      }
      atOnce = 8n * BigInt(records.length) > end - start ? AT_ONCE.dense : AT_ONCE.sparse;
      place = end;
      if (place - reported >= SILENT_MAX || performance.now() - reportedAt >= progressMs) {
        yield { index: place - 1n, record: undefined };
        reported = place;
        reportedAt = performance.now();
      }
    }
  } finally {
    leave();
  }
}

/** Selects the matching records of a page, no more than a watch may hold, and the places between which they are. */
function selectMatching(
  { place, page }: PageReply,
  { mayMatch, matches }: WatchFilter,
): { start: bigint; records: readonly WatchedRecord[]; end: bigint } {
  if (page === undefined) return { start: place, records: [], end: place };
  if (!mayMatch(page)) return { start: place, records: [], end: page.end };
  const records: WatchedRecord[] = [];
  let weight = 0;
  for (const record of page.records.slice(Number(place - page.first))) {
    if (!matches(record)) continue;
    weight += weigh(record);
    if (records.length > 0 && weight > HELD_WEIGHT_MAX) return { start: place, records, end: record.index };
    records.push(record);
  }
  return { start: place, records, end: page.end };
}
