import type { CallerContext } from "../../base/caller-context.js";
import { CLOCK } from "../../db/clock.js";
import type { Database, Queryable } from "../../db/database.js";
import { inTransaction } from "../../db/in-transaction.js";

/** A check that has ended. */
export interface EndedCheck {
  readonly from: bigint;
  readonly journalSize: bigint;
  readonly faultCount: bigint;
}

// A fault sets the checked index to 0; a check that leaves a gap does not advance it.
const RECORD = `
INSERT INTO integrity_checks (number, from_index, journal_size, fault_count, checked_index, create_time)
SELECT coalesce(latest.number, 0) + 1, $1, $2, $3,
  CASE WHEN $3::bigint > 0 THEN 0
    WHEN $1::bigint <= coalesce(latest.checked_index, 0) THEN greatest($2::bigint, latest.checked_index)
    ELSE coalesce(latest.checked_index, 0) END,
  ${CLOCK}
FROM (VALUES (1)) AS this (check_number)
LEFT JOIN (SELECT number, checked_index FROM integrity_checks ORDER BY number DESC LIMIT 1) latest ON true`;

/** Records the check, for later ones that continue where all before have left off. */
export async function recordCheck(database: Database, context: CallerContext, check: EndedCheck): Promise<void> {
  await inTransaction(database, context, async ({ client }) => {
    // Each check builds on the one before, so they are recorded one after the other.
    await client.query("SELECT pg_advisory_xact_lock(hashtextextended('integrity_checks', 0))");
    await client.query(RECORD, [check.from, check.journalSize, check.faultCount]);
  });
}

/** Returns the index of the first journal record that was not checked yet, or not since a fault was found. */
export async function findUnchecked(client: Queryable): Promise<bigint> {
  const { rows } = await client.query<{ index: bigint }>(
    "SELECT checked_index AS index FROM integrity_checks ORDER BY number DESC LIMIT 1",
  );
  return rows[0]?.index ?? 0n;
}
