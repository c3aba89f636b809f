import { weightOf, type Given, type Interest, type Sight, type Tail } from "./tail.js";

/** Something that a watcher is told: a sight, or only that everything up to the index was read. */
export interface Told {
  readonly index: bigint;
  readonly sight: Sight | undefined;
}

/** How many records are read at the most before a watcher is told how far it is. */
const SILENT_MAX = 10_000n;
/** What a watcher holds at the most while its client takes it, by weight, and one record at least: many may be slow. */
const HELD_WEIGHT_MAX = 256;
/** How much one who is behind reads at once, where most of it is of interest and where little is. */
const AT_ONCE = { dense: 128n, sparse: 1_000n } as const;

/**
 * Tells what is of interest, in the journal's order, without end. It reads no faster than it is asked, and keeps nothing
 * but its place meanwhile: who is slow costs as much as who is not.
 * @param from the first place that is read
 * @param progressMs after so long without anything to tell it tells how far it is; at the beginning too
 */
export async function* watchJournal(
  tail: Tail,
  { from, interest, progressMs }: { readonly from: bigint; readonly interest: Interest; readonly progressMs: number },
  signal: AbortSignal,
): AsyncGenerator<Told, void, undefined> {
  const leave = tail.join();
  try {
    yield { index: from - 1n, sight: undefined };
    let place = from;
    let told = from;
    let toldAt = performance.now();
    let atOnce: bigint = AT_ONCE.dense;
    while (!signal.aborted) {
      const waitMs = Math.max(0, toldAt + progressMs - performance.now());
      const wanted = { place, interest, atOnce, waitMs, placeMax: told + SILENT_MAX };
      // The page itself is not held meanwhile.
      const { start, sights, end } = partOf(await tail.next(wanted, signal), interest);
      for (const sight of sights) {
        yield { index: sight.index, sight };
        told = sight.index + 1n;
        toldAt = performance.now();
      }
      atOnce = 8n * BigInt(sights.length) > end - start ? AT_ONCE.dense : AT_ONCE.sparse;
      place = end;
      if (place - told >= SILENT_MAX || performance.now() - toldAt >= progressMs) {
        yield { index: place - 1n, sight: undefined };
        told = place;
        toldAt = performance.now();
      }
    }
  } finally {
    leave();
  }
}

/** What is of interest in what was given, no more than may be held, and from where to where that is. */
function partOf(
  { place, page }: Given,
  { concerns, wants }: Interest,
): { start: bigint; sights: readonly Sight[]; end: bigint } {
  if (page === undefined) return { start: place, sights: [], end: place };
  if (!concerns(page)) return { start: place, sights: [], end: page.end };
  const sights: Sight[] = [];
  let weight = 0;
  for (const sight of page.sights.slice(Number(place - page.first))) {
    if (!wants(sight)) continue;
    weight += weightOf(sight);
    if (sights.length > 0 && weight > HELD_WEIGHT_MAX) return { start: place, sights, end: sight.index };
    sights.push(sight);
  }
  return { start: place, sights, end: page.end };
}
