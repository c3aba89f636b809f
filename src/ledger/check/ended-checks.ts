import type { CallerContext } from "../../base/caller-context.js";
import { CLOCK } from "../../db/clock.js";
import type { Database, Queryable } from "../../db/database.js";
import { inTransaction } from "../../db/in-transaction.js";

/** A check that came to an end. */
export interface EndedCheck {
  readonly from: bigint;
  readonly journalSize: bigint;
  readonly faultCount: bigint;
}

// After a fault nothing is taken as checked, and a check that leaves a gap adds nothing.
const REMEMBER = `
INSERT INTO integrity_checks (number, from_index, journal_size, fault_count, checked_index, create_time)
SELECT coalesce(latest.number, 0) + 1, $1, $2, $3,
  CASE WHEN $3::bigint > 0 THEN 0
    WHEN $1::bigint <= coalesce(latest.checked_index, 0) THEN greatest($2::bigint, latest.checked_index)
    ELSE coalesce(latest.checked_index, 0) END,
  ${CLOCK}
FROM (VALUES (1)) AS this (check_number)
LEFT JOIN (SELECT number, checked_index FROM integrity_checks ORDER BY number DESC LIMIT 1) latest ON true`;

/** Remembers the check, for those who begin where all have come to. */
export async function rememberCheck(database: Database, context: CallerContext, check: EndedCheck): Promise<void> {
  await inTransaction(database, context, async ({ client }) => {
    // Each check builds on the one before: one after the other.
    await client.query("SELECT pg_advisory_xact_lock(hashtextextended('integrity_checks', 0))");
    await client.query(REMEMBER, [check.from, check.journalSize, check.faultCount]);
  });
}

/** The first record of the journal that was not checked yet, or not since a fault was found. */
export async function findUnchecked(client: Queryable): Promise<bigint> {
  const { rows } = await client.query<{ index: bigint }>(
    "SELECT checked_index AS index FROM integrity_checks ORDER BY number DESC LIMIT 1",
  );
  return rows[0]?.index ?? 0n;
}
