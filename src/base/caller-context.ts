/** What a call knows of its caller's patience. */
export interface CallerContext {
  /** Leaves the call with CALLER_GONE when nobody waits for its answer any more. */
  assertWaiting(): void;
  /** What is read must be no older than this record of the journal; unset: as it is. */
  readonly minJournalIndex?: bigint;
  /** Waits for what is not the service's work: meanwhile the call takes no other's place. */
  readonly withoutSlot?: <T>(wait: Promise<T>) => Promise<T>;
}
