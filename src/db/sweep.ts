import type { PoolClient } from "pg";
import type { Database } from "./database.js";

/** Work that is looked for again and again. */
export interface Sweep {
  /** Waits for what is under way. */
  stop(): Promise<void>;
}

/** How often, and how much at once. */
export interface SweepOptions {
  readonly everyMs: number;
  readonly atOnceMax: number;
}

/**
 * Does what there is to do from now on: again at once while there may be more, else every so often.
 * @param work does so many things at the most, and says whether there may be more to do at once
 * @param onError told of what keeps it from its work, once until it succeeds again; it goes on, with less at once for a while
 */
export function startSweep(
  { everyMs, atOnceMax }: SweepOptions,
  work: (limit: number) => Promise<boolean>,
  onError: (error: unknown) => void,
): Sweep {
  let isStopped = false;
  let timer: NodeJS.Timeout | undefined;
  let wake: () => void = () => undefined;

  const run = async (): Promise<void> => {
    let isFailing = false;
    let limit = atOnceMax;
    while (!isStopped) {
      let mayBeMore = false;
      try {
        mayBeMore = await work(limit);
        isFailing = false;
        limit = atOnceMax;
      } catch (error) {
        if (!isFailing) onError(error);
        isFailing = true;
        // There may be no room for so many.
        limit = Math.max(1, Math.floor(limit / 2));
      }
      if (mayBeMore || isStopped) continue;
      await new Promise<void>((resolve) => {
        wake = resolve;
        timer = setTimeout(resolve, everyMs);
      });
    }
  };
  const running = run();

  return {
    stop: async () => {
      isStopped = true;
      clearTimeout(timer);
      wake();
      await running;
    },
  };
}

/**
 * Does the work under a lock that one process has at a time, and nothing when another one has it: then there is no more to do.
 * @param key any number that nothing else locks in this database
 */
export async function withAdvisoryLock(
  { pool }: Database,
  key: bigint,
  work: (client: PoolClient) => Promise<boolean>,
): Promise<boolean> {
  const client = await pool.connect();
  let isBroken = true;
  // The statement that meets the broken connection reports it.
  client.on("error", ignore);
  try {
    const { rows } = await client.query<{ mine: boolean }>("SELECT pg_try_advisory_lock($1) AS mine", [key]);
    if (rows[0]?.mine !== true) {
      isBroken = false;
      return false;
    }
    const done = await work(client);
    await client.query("SELECT pg_advisory_unlock($1)", [key]);
    isBroken = false;
    return done;
  } finally {
    client.off("error", ignore);
    // A connection that still has the lock, or is gone, is not used again.
    client.release(isBroken);
  }
}

const ignore = (): void => undefined;
