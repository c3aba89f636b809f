import { readlink, rename, rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { SettingError } from "../../config/config.js";
import { isSystemError } from "./files.js";
import { identifyProcess } from "./user.js";

const POLL_MS = 20;

/**
 * Locks the data folder for this process, and returns a function that unlocks it. The lock is a symbolic link whose target names
 * its holder: link and name are created in one step, by one process only, and all others read the name. A lock whose holder has
 * died is taken over.
 * @throws SettingError that names the living Grey which uses the folder
 */
export async function lockDataDir(dir: string): Promise<() => Promise<void>> {
  const path = join(dir, "grey.lock");
  const self = await identifyProcess(process.pid);
  if (self === undefined) throw new Error("this process cannot identify itself");
  const holder = await take(path, self);
  if (holder !== undefined) throw inUseError(dir, holder);
  return async () => {
    if ((await findHolder(path)) === self) await rm(path, { force: true });
  };
}

/**
 * Returns the error for data that a running Grey uses.
 * @param holder `pid:start`, as in its lock or its PostgreSQL
 */
export function inUseError(dir: string, holder: string): SettingError {
  const [pid] = holder.split(":");
  return new SettingError(`GREY_DATA_DIR: another Grey (pid ${pid}) is using the database in ${dir}`);
}

/** Takes the lock. Returns the running process that already has it, which may be this one. */
async function take(path: string, self: string): Promise<string | undefined> {
  for (;;) {
    if (await makeLink(self, path)) return undefined;
    const holder = await findHolder(path);
    if (holder === undefined) continue;
    if (await isHolderAlive(holder)) return holder;
    // Of the processes that find the holder dead, the one with a second lock takes over, unless another has done so before.
    const heir = `${path}.heir`;
    if ((await take(heir, self)) !== undefined) {
      await delay(POLL_MS);
      continue;
    }
    try {
      if ((await findHolder(path)) !== holder) continue;
      await rm(`${path}.new`, { force: true });
      await symlink(self, `${path}.new`);
      await rename(`${path}.new`, path);
      return undefined;
    } finally {
      await rm(heir, { force: true });
    }
  }
}

async function makeLink(target: string, path: string): Promise<boolean> {
  try {
    await symlink(target, path);
    return true;
  } catch (error) {
    if (isSystemError(error, "EEXIST")) return false;
    throw error;
  }
}

async function findHolder(path: string): Promise<string | undefined> {
  try {
    return await readlink(path);
  } catch (error) {
    if (isSystemError(error, "ENOENT")) return undefined;
    throw error;
  }
}

/** Returns true if the process with this identity is still running. */
export async function isHolderAlive(holder: string): Promise<boolean> {
  const pid = Number.parseInt(holder, 10);
  return pid > 0 && (await identifyProcess(pid)) === holder;
}
