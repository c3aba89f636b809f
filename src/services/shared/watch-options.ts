import type { JournalTail } from "../../ledger/watch/journal-tail.js";

/** The end of the journal, which all watches share, and their timing. */
export interface WatchOptions {
  readonly tail: JournalTail;
  /** A watch without anything to report reports its progress after this time, in ms. */
  readonly progressMs: number;
}
