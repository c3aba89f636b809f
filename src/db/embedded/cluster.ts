import { totalmem } from "node:os";
import { randomBytes } from "node:crypto";
import { readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { SettingError } from "../../config/config.js";
import { type Binaries, withShellSafePath } from "./binaries.js";
import { giveTo, makeFolderWhole, readIfThere, writeSecret } from "./files.js";
import { PASSWORD_FILE, type Place } from "./place.js";
import { runAs } from "./user.js";

const BUFFER_MEGABYTES_MIN = 128;
const BUFFER_MEGABYTES_MAX = 2_048;

/**
 * The settings that initdb writes into postgresql.conf, where an operator may tune them. Settings that the ledger depends on are
 * passed at each start instead. Grey logs failed statements; here they would fill the disk with callers' data.
 */
const TUNABLE = {
  shared_buffers: `${chooseBufferMegabytes(totalmem(), process.constrainedMemory())}MB`,
  max_wal_size: "2GB",
  max_connections: "100",
  wal_compression: "off",
  timezone: "UTC",
  log_timezone: "UTC",
  log_checkpoints: "off",
  log_min_messages: "log",
  log_min_error_statement: "panic",
  log_error_verbosity: "terse",
};

/**
 * Chooses the memory for PostgreSQL's pages: an eighth of the machine's, or of what this process may use. A ledger of a million wallets
 * reads and writes random pages of the entries' key; with too few buffers each posting waits for three of them.
 * @param limit of this process, in bytes; 0 or beyond the machine's for none
 */
export function chooseBufferMegabytes(machine: number, limit: number | undefined): number {
  const memory = limit === undefined || limit === 0 ? machine : Math.min(machine, limit);
  return Math.min(Math.max(Math.floor(memory / 8 / 1_048_576), BUFFER_MEGABYTES_MIN), BUFFER_MEGABYTES_MAX);
}

/**
 * Creates the cluster unless it exists.
 * @throws SettingError when initdb fails, or when another major version of PostgreSQL made the cluster
 */
export async function ensureCluster(
  place: Place,
  binaries: Binaries,
  onProgress: (message: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const versionFile = join(place.clusterDir, "PG_VERSION");
  let version = await readIfThere(versionFile);
  if (version === undefined) {
    onProgress(`making a new database in ${place.clusterDir}`);
    await makeFolderWhole(place.clusterDir, (staging) => initialise(staging, place, binaries, signal));
    version = await readIfThere(versionFile);
  }
  if (version === undefined) {
    throw new SettingError(`GREY_DATA_DIR: ${place.clusterDir} is not empty and not a database: PG_VERSION is missing`);
  }
  if (version.trim() !== binaries.major) {
    throw new SettingError(
      `GREY_DATA_DIR: the database in ${place.clusterDir} needs PostgreSQL ${version.trim()}, and this Grey has ` +
        `${binaries.major}: move the data with pg_dump and pg_restore, or set DATABASE_URL to a PostgreSQL ${version.trim()}`,
    );
  }
}

async function initialise(staging: string, place: Place, binaries: Binaries, signal: AbortSignal): Promise<void> {
  const passwordFile = `${staging}.password`;
  try {
    await giveTo(staging, place.user);
    await writeSecret(passwordFile, `${randomBytes(24).toString("base64url")}\n`, place.user);
    const args = [
      `--pgdata=${staging}`,
      "--username=postgres",
      `--pwfile=${passwordFile}`,
      "--auth=scram-sha-256",
      "--encoding=UTF8",
      "--locale=C",
      "--locale-provider=builtin",
      "--builtin-locale=C.UTF-8",
      "--data-checksums",
      "--no-instructions",
      ...Object.entries(TUNABLE).map(([name, value]) => `--set=${name}=${value}`),
    ];
    const { code, stderr } = await withShellSafePath(binaries.nativeDir, (nativeDir) =>
      runAs(place.user, join(nativeDir, "bin", "initdb"), args, { signal }),
    );
    signal.throwIfAborted();
    if (code !== 0) {
      throw new SettingError(`GREY_DATA_DIR: initdb failed in ${place.dir} (${code}): ${stderr.trim()}`);
    }
    await rename(passwordFile, join(staging, PASSWORD_FILE));
  } finally {
    await rm(passwordFile, { force: true });
  }
}

/** Reads the password of the superuser `postgres`. */
export async function readPassword(place: Place): Promise<string> {
  return (await readFile(join(place.clusterDir, PASSWORD_FILE), "utf8")).trim();
}
