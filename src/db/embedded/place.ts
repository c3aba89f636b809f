import { createHash } from "node:crypto";
import { readdir, realpath, stat, writeFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { SettingError } from "../../config/config.js";
import { isSystemError, makeReachableFolder, readIfThere } from "./files.js";
import { canEnter, IS_ROOT, postgresSystemUser, type OsUser } from "./user.js";

/** The folder in which root keeps data that the user postgres could not reach elsewhere. */
export const SYSTEM_DIR = "/var/lib/grey";

const POINTER = "postgres-is-elsewhere.txt";

/** The file with the cluster's password, which only Grey's clusters have. */
export const PASSWORD_FILE = "grey.password";

/** The location of the data, and its owner. */
export interface Place {
  readonly dir: string;
  readonly clusterDir: string;
  readonly logFile: string;
  readonly user: OsUser;
}

/**
 * Decides on the location of the data. Normally it is `dataDir`. If root starts Grey on a folder that the user postgres cannot
 * enter, it is a folder in SYSTEM_DIR whose name is derived from `dataDir`, so that each start finds it. Existing data always
 * takes precedence over a new folder.
 * @throws SettingError
 */
export async function findPlace(dataDir: string, onProgress: (message: string) => void): Promise<Place> {
  const dir = await claimFolder(resolve(dataDir));
  if (!IS_ROOT) return placeOfOrdinaryUser(dir);

  const elsewhere = join(SYSTEM_DIR, elsewhereName(dir));
  const [owner, elsewhereOwner] = [await clusterOwner(dir), await clusterOwner(elsewhere)];
  if (owner !== undefined && elsewhereOwner !== undefined) {
    throw new SettingError(
      `GREY_DATA_DIR: there is a database in ${dir} and one in ${elsewhere}, where root kept it; ` +
        "move away the one that is not wanted",
    );
  }
  if (owner !== undefined) {
    if (await canEnter(owner, dir)) return place(dir, owner);
    throw new SettingError(
      `GREY_DATA_DIR: the database in ${dir} belongs to user ${owner.uid}, who cannot enter that folder; ` +
        "let the user enter it and the folders above",
    );
  }
  const user = elsewhereOwner ?? (await postgresSystemUser(onProgress));
  if (elsewhereOwner === undefined && (await canEnter(user, dir))) return place(dir, user);

  onProgress(`the data is kept in ${elsewhere}, because the user postgres cannot reach ${dir}`);
  await makeReachableFolder(elsewhere);
  await writeFile(join(dir, POINTER), `${elsewhere}\n`);
  return place(elsewhere, user);
}

const RULE = "it must be a new folder, an empty one, or one that Grey has made";

/** The names that Grey creates in the folder, wherever it was interrupted. */
const OWN_NAMES = /^(postgres(\.log(\.1)?|\.new-\d+(\.password)?|-is-elsewhere\.txt)|grey\.lock.*)$/;

/**
 * Creates the folder unless it exists. Returns its real path.
 * @throws SettingError when it cannot be created, or contains files that are not Grey's
 */
async function claimFolder(path: string): Promise<string> {
  try {
    await makeReachableFolder(path);
  } catch (error) {
    if (!isSystemError(error)) throw error;
    throw new SettingError(`GREY_DATA_DIR: the folder ${path} cannot be made (${error.code}); ${RULE}`);
  }
  const dir = await realpath(path);
  // The root of a mounted file system may contain lost+found.
  const names = (await readdir(dir)).filter((name) => name !== "lost+found");
  const isOurs = names.every((name) => OWN_NAMES.test(name)) || names.includes(POINTER) || (await hasCluster(dir));
  if (!isOurs) throw new SettingError(`GREY_DATA_DIR: ${dir} holds what is not Grey's; ${RULE}`);
  return dir;
}

/** Returns true if there is a cluster that Grey created, or one that this user may not read. */
async function hasCluster(dir: string): Promise<boolean> {
  return stat(join(dir, "postgres", PASSWORD_FILE)).then(
    () => true,
    (error: unknown) => isSystemError(error, "EACCES"),
  );
}

async function placeOfOrdinaryUser(dir: string): Promise<Place> {
  const pointer = await readIfThere(join(dir, POINTER));
  if (pointer !== undefined && (await clusterOwner(dir)) === undefined) {
    throw new SettingError(
      `GREY_DATA_DIR: root started Grey on ${dir} before, and the data is in ${pointer.trim()}; ` +
        `start as root, choose another folder, or remove ${join(dir, POINTER)} to begin with an empty database`,
    );
  }
  return place(dir, {});
}

function place(dir: string, user: OsUser): Place {
  return { dir, clusterDir: join(dir, "postgres"), logFile: join(dir, "postgres.log"), user };
}

function elsewhereName(dir: string): string {
  const readable = basename(dir)
    .replaceAll(/[^A-Za-z0-9_-]/g, "_")
    .slice(0, 40);
  return `${readable}-${createHash("sha256").update(dir).digest("hex").slice(0, 16)}`;
}

/** Returns the owner of the cluster in the folder, the only user that PostgreSQL can run as; undefined if there is no cluster. */
async function clusterOwner(dir: string): Promise<OsUser | undefined> {
  const path = join(dir, "postgres");
  try {
    const { uid, gid } = await stat(path);
    if (IS_ROOT && uid === 0) {
      throw new SettingError(
        `GREY_DATA_DIR: ${path} belongs to root, and PostgreSQL does not run as root; run: chown -R postgres: '${path}'`,
      );
    }
    return { uid, gid };
  } catch (error) {
    if (isSystemError(error, "ENOENT")) return undefined;
    throw error;
  }
}
