import { setTimeout as delay } from "node:timers/promises";
import type { Database } from "./database.js";

const REPEAT_EVERY_MS = 200;

/**
 * Cancels a session's statements repeatedly until the signal: a statement that starts after one cancellation is cancelled by the
 * next. The session must not be reused afterwards.
 * @param pid of the session's backend, which belongs to this pool
 */
export async function cancelUntil(over: AbortSignal, { pool }: Database, pid: number): Promise<void> {
  while (!over.aborted) {
    try {
      const client = await pool.connect();
      try {
        // Only the login may cancel its sessions; the role that it has assumed may not.
        await client.query(`BEGIN; SET LOCAL ROLE NONE; SELECT pg_cancel_backend(${pid}); COMMIT`);
        client.release();
      } catch (error) {
        client.release(true);
        throw error;
      }
    } catch {
      // The database is unavailable or every connection is in use; the next attempt may succeed.
    }
    await delay(REPEAT_EVERY_MS, undefined, { signal: over }).catch(() => undefined);
  }
}
