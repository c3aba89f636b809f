/** The part of a call's context that the layers beneath the services use. */
export interface CallerContext {
  /** Fails: CALLER_GONE when the caller no longer waits for the answer; OVERLOADED when the service's own limit of time is reached */
  assertWaiting(): void;
  /** Reads must see this journal record; unset: they see the present state. */
  readonly minJournalIndex?: bigint;
  /** Waits without holding the call's admission slot: for waits that are not work of the service. */
  readonly withoutSlot?: <T>(wait: Promise<T>) => Promise<T>;
}

/** The context of work that no call waits for. */
export const NO_CALLER: CallerContext = { assertWaiting: () => undefined };
