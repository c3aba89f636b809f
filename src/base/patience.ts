/** What a call knows of its caller's patience. */
export interface Patience {
  /** Leaves the call with CALLER_GONE when nobody waits for its answer any more. */
  assertWaiting(): void;
}
