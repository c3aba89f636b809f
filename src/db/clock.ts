import { assertPresent } from "../base/assert.js";
import type { Micros } from "../base/time.js";
import type { Queryable } from "./database.js";

/**
 * The ledger's clock as an SQL expression: the later of the database's clock and the time of the journal's last record. It never
 * goes back, whatever a failover or NTP does to the database's clock, so that no record is in the future.
 */
export const CLOCK = "(SELECT greatest(clock_timestamp(), last_time) FROM journal_head WHERE id = 1)";

/** The database's clock as it is, for what no record depends on. It may go back. */
export const DATABASE_CLOCK = "clock_timestamp()";

/** Reads the ledger's clock: no earlier record has a later time, and no later record an earlier one. */
export async function readClock(client: Queryable): Promise<Micros> {
  const { rows } = await client.query<{ now: Micros }>({
    name: "clock",
    text: `SELECT (extract(epoch FROM ${CLOCK}) * 1000000)::bigint AS now`,
  });
  return assertPresent(rows[0], "the time").now;
}

/** Reads the ledger's clock, rounded down to the milliseconds of a Date. */
export async function readDate(client: Queryable): Promise<Date> {
  return new Date(Number((await readClock(client)) / 1_000n));
}
