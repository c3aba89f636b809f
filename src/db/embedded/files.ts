import { chmod, chown, mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { isAlive, type OsUser } from "./user.js";

/** Returns true for an error of the operating system, such as `ENOENT`. */
export function isSystemError(error: unknown, ...codes: readonly string[]): error is NodeJS.ErrnoException {
  if (!(error instanceof Error) || !("code" in error) || typeof error.code !== "string") return false;
  return codes.length === 0 ? "syscall" in error : codes.includes(error.code);
}

/** Reads the file's text; undefined if there is none. */
export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (isSystemError(error, "ENOENT")) return undefined;
    throw error;
  }
}

/**
 * Creates the folder and its parents. New ones are accessible to all users, whatever the umask. They are created one by one: Node's
 * recursive mkdir never ends in virtual file systems such as /proc.
 */
export async function makeReachableFolder(path: string): Promise<void> {
  if (await makeFolder(path)) return;
  await makeReachableFolder(dirname(path));
  if (!(await makeFolder(path)))
    throw Object.assign(new Error(`no such folder can be made: ${path}`), { code: "ENOENT", path, syscall: "mkdir" });
}

/** Creates the folder unless it exists. Returns false when its parent is missing. */
async function makeFolder(path: string): Promise<boolean> {
  try {
    await mkdir(path);
    await chmod(path, 0o755);
    return true;
  } catch (error) {
    if (isSystemError(error, "ENOENT")) return false;
    if (!isSystemError(error, "EEXIST") || !(await stat(path)).isDirectory()) throw error;
    return true;
  }
}

/** Writes a file that only the user can read, and waits until it is on disk. */
export async function writeSecret(path: string, text: string, user: OsUser): Promise<void> {
  const file = await open(path, "w", 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await giveTo(path, user);
}

export async function giveTo(path: string, user: OsUser): Promise<void> {
  if (user.uid !== undefined && user.gid !== undefined) await chown(path, user.uid, user.gid);
}

/**
 * Creates a folder wholly or not at all: it is filled under another name and then renamed. If another process was faster, its
 * folder stays. Leftovers of a killed process are removed at the next call.
 */
export async function makeFolderWhole(path: string, fill: (staging: string) => Promise<void>): Promise<void> {
  await removeLeftovers(path);
  const staging = `${path}.new-${process.pid}`;
  try {
    await mkdir(staging, { mode: 0o700 });
    await fill(staging);
    await syncFolder(staging);
    await rename(staging, path);
    await syncFolder(dirname(path));
  } catch (error) {
    if (!isSystemError(error, "ENOTEMPTY", "EEXIST")) throw error;
  } finally {
    await rm(staging, { recursive: true, force: true, maxRetries: 3 });
  }
}

async function removeLeftovers(path: string): Promise<void> {
  const prefix = `${basename(path)}.new-`;
  for (const name of await readdir(dirname(path))) {
    if (!name.startsWith(prefix)) continue;
    const maker = Number.parseInt(name.slice(prefix.length), 10);
    if (maker !== process.pid && isAlive(maker)) continue;
    await rm(join(dirname(path), name), { recursive: true, force: true, maxRetries: 3 });
  }
}

/** Syncs a folder, without which a rename in it is not on disk. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
