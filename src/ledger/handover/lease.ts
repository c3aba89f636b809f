import { createHash, randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { assertPresent } from "../../base/assert.js";
import { LEASE_MS_MAX } from "../../config/config.js";
import { DATABASE_CLOCK } from "../../db/clock.js";
import type { Queryable } from "../../db/database.js";

/** The holder of the lease: the server that posts for all. */
export interface Holder {
  /** host:port at which other servers reach it. */
  readonly address: string;
  /** A digest of the code that it runs. */
  readonly build: string;
  /** The secret of this term, which only sessions of the database can read. */
  readonly token: Buffer;
}

/**
 * The lease in the database that chooses the server which posts for all. It is a choice, not a lock: a posting is right whoever
 * makes it, since it names the revision of the ledger that it was decided at.
 */
export interface Lease {
  /** A digest of the code that this server runs. */
  readonly build: string;
  /**
   * Claims the lease if it has expired, renews it if this server holds it, and reads who holds it.
   * @returns the holder, and whether it is this server
   */
  claim(client: Queryable): Promise<{ readonly holder: Holder; readonly isMine: boolean }>;
  /** Gives the lease up, if this server holds it. */
  release(client: Queryable): Promise<void>;
  /** Reports whether this server holds the lease for certain: by its own clock, since before it claimed it. */
  readonly isHeld: boolean;
}

/** @param address of this server */
export function createLease(address: string, leaseMs: number, build = digestBuild()): Lease {
  let token = randomBytes(32);
  let heldUntilMs = -Infinity;
  return {
    build,
    claim: async (client) => {
      const sentMs = performance.now();
      const { rows } = await client.query<Holder>({
        name: "lease-claim",
        text: CLAIM,
        values: [address, build, token, leaseMs],
      });
      const holder = assertPresent(rows[0], "the holder of the lease");
      const isMine = token.equals(holder.token);
      // A term that has ended never counts again.
      if (!isMine) token = randomBytes(32);
      heldUntilMs = isMine ? sentMs + leaseMs : -Infinity;
      return { holder, isMine };
    },
    release: async (client) => {
      heldUntilMs = -Infinity;
      await client.query({ name: "lease-release", text: RELEASE, values: [token] });
    },
    get isHeld() {
      return performance.now() < heldUntilMs;
    },
  };
}

// A time beyond that of the longest lease is left over from before the clock went back.
const CLAIM = `
WITH claimed AS (
  INSERT INTO posting_lease AS lease (address, build, token, expire_time)
  VALUES ($1, $2, $3, ${DATABASE_CLOCK} + $4 * interval '1 ms')
  ON CONFLICT (id) DO UPDATE
  SET address = EXCLUDED.address, build = EXCLUDED.build, token = EXCLUDED.token, expire_time = EXCLUDED.expire_time
  WHERE lease.token = EXCLUDED.token
    OR lease.expire_time NOT BETWEEN ${DATABASE_CLOCK} AND ${DATABASE_CLOCK} + ${LEASE_MS_MAX} * interval '1 ms'
  RETURNING address, build, token
)
SELECT address, build, token FROM claimed
UNION ALL SELECT address, build, token FROM posting_lease WHERE NOT EXISTS (SELECT FROM claimed)`;

const RELEASE = `UPDATE posting_lease SET expire_time = ${DATABASE_CLOCK} WHERE token = $1`;

/**
 * Returns a digest of the code that runs. Servers of different builds do not hand over to each other: one might not know what a
 * command of the other means.
 */
function digestBuild(): string {
  const folder = join(import.meta.dirname, "../..");
  const hash = createHash("sha256").update(process.version);
  for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" }).sort()) {
    if (name.endsWith(".js")) hash.update(name).update(readFileSync(join(folder, name)));
  }
  return hash.digest("hex");
}
