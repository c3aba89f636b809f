import type { PoolClient } from "pg";
import type { Database } from "./database.js";

/** A task that runs periodically. */
export interface Sweep {
  /** Runs the task now, or again once it has run. */
  wake(): void;
  /** Stops the sweep, and waits for the run that is under way. */
  stop(): Promise<void>;
}

/** The interval of a sweep, and the maximum number of items in one run. */
export interface SweepOptions {
  readonly intervalMs: number;
  readonly batchMax: number;
}

/**
 * Runs the task from now on: again at once while there may be more to do, else after the interval.
 * @param run handles at most `limit` items, and returns true if there may be more
 * @param onError called at the first of a series of failures; the sweep continues with smaller runs until one succeeds
 */
export function startSweep(
  { intervalMs, batchMax }: SweepOptions,
  run: (limit: number) => Promise<boolean>,
  onError: (error: unknown) => void,
): Sweep {
  let isStopped = false;
  let timer: NodeJS.Timeout | undefined;
  let wake: () => void = () => undefined;
  let isWoken = false;

  const repeat = async (): Promise<void> => {
    let isFailing = false;
    let limit = batchMax;
    while (!isStopped) {
      let mayBeMore = false;
      isWoken = false;
      try {
        mayBeMore = await run(limit);
        isFailing = false;
        limit = batchMax;
      } catch (error) {
        if (!isFailing) onError(error);
        isFailing = true;
        // The posting queue may have no room for as many.
        limit = Math.max(1, Math.floor(limit / 2));
      }
      if (mayBeMore || isWoken || isStopped) continue;
      await new Promise<void>((resolve) => {
        wake = resolve;
        timer = setTimeout(resolve, intervalMs);
      });
    }
  };
  const running = repeat();

  return {
    wake: () => {
      isWoken = true;
      clearTimeout(timer);
      wake();
    },
    stop: async () => {
      isStopped = true;
      clearTimeout(timer);
      wake();
      await running;
    },
  };
}

/**
 * Does the work under an advisory lock. Returns false at once when another process has the lock.
 * @param key any number that nothing else in this database locks
 */
export async function withAdvisoryLock(
  { pool }: Database,
  key: bigint,
  work: (client: PoolClient) => Promise<boolean>,
): Promise<boolean> {
  const client = await pool.connect();
  let isBroken = true;
  // A statement on the broken connection reports it.
  client.on("error", ignore);
  try {
    const { rows } = await client.query<{ locked: boolean }>("SELECT pg_try_advisory_lock($1) AS locked", [key]);
    if (rows[0]?.locked !== true) {
      isBroken = false;
      return false;
    }
    const result = await work(client);
    await client.query("SELECT pg_advisory_unlock($1)", [key]);
    isBroken = false;
    return result;
  } finally {
    client.off("error", ignore);
    // A connection that is broken or still has the lock is not reused.
    client.release(isBroken);
  }
}

const ignore = (): void => undefined;
