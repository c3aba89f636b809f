import { setTimeout as delay } from "node:timers/promises";
import type { Database } from "./database.js";

const AGAIN_EVERY_MS = 200;

/**
 * Has PostgreSQL give up what a session is working on, again and again until it is over: a statement that only sets out when
 * the first cancellation comes is cancelled by the next. The session must not be used by anybody else afterwards.
 * @param pid of the session's backend, one of this pool's
 */
export async function cancelUntil(over: AbortSignal, { pool }: Database, pid: number): Promise<void> {
  while (!over.aborted) {
    try {
      const client = await pool.connect();
      try {
        // Only the login itself may cancel its sessions; the role that it has taken on may not.
        await client.query(`BEGIN; SET LOCAL ROLE NONE; SELECT pg_cancel_backend(${pid}); COMMIT`);
        client.release();
      } catch (error) {
        client.release(true);
        throw error;
      }
    } catch {
      // The database is away or every connection is in use: the next time may do.
    }
    await delay(AGAIN_EVERY_MS, undefined, { signal: over }).catch(() => undefined);
  }
}
