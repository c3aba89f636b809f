import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { SettingError } from "../../config/config.js";

/** The operating-system user that PostgreSQL runs as; without ids, that of this process. */
export interface OsUser {
  readonly uid?: number;
  readonly gid?: number;
}

/** PostgreSQL refuses to run as root. */
export const IS_ROOT = process.getuid?.() === 0;

/** The environment of PostgreSQL's programs: without the caller's `PG…` and locale variables, so that messages are in English. */
export const CHILD_ENVIRONMENT = { PATH: process.env["PATH"] ?? "/usr/bin:/bin", LC_ALL: "C", TZ: "UTC" };

export interface Finished {
  /** The exit status, or the error that kept the program from running, such as `EACCES`. */
  readonly code: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end as the user. It starts in `/`, since the user may have no access to the current folder. */
export function runAs(
  user: OsUser,
  file: string,
  args: readonly string[],
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<Finished> {
  return new Promise((resolve) => {
    const settings = { ...user, cwd: "/", env: CHILD_ENVIRONMENT, signal: options.signal };
    try {
      execFile(file, args, settings, (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : (error.code ?? error.signal ?? "killed"), stdout, stderr });
      });
    } catch (error) {
      // Node throws some refusals of the operating system, and calls back with the others.
      resolve({
        code: error instanceof Error && "code" in error ? String(error.code) : "EUNKNOWN",
        stdout: "",
        stderr: "",
      });
    }
  });
}

/** Returns true if there is a process with this pid, which may be a different one than before. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

/**
 * Identifies a process by its pid and start time, so that a later process with the same pid differs. Undefined if there is no
 * such process.
 */
export async function identifyProcess(pid: number): Promise<string | undefined> {
  if (process.platform !== "linux") {
    const { code, stdout } = await runAs({}, "ps", ["-p", `${pid}`, "-o", "lstart="]);
    return code === 0 ? `${pid}:${Date.parse(stdout.trim())}` : undefined;
  }
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  // Field 22 of proc(5), in clock ticks since boot; the second field may contain spaces and ends with the last parenthesis.
  const [state, ...fields] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return state === "" || state === "Z" ? undefined : `${pid}:${fields[18]}`;
}

/**
 * Returns the system user `postgres`, and creates it if it does not exist. Only for root.
 * @throws SettingError when it can be neither found nor created
 */
export async function postgresSystemUser(onProgress: (message: string) => void): Promise<OsUser> {
  const existing = await lookUp("postgres");
  if (existing !== undefined) return existing;
  onProgress("PostgreSQL does not run as root: creating the system user postgres for it");
  const args = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/bin/false"];
  const made = await runAs({}, "useradd", [...args, "postgres"]);
  const user = await lookUp("postgres");
  if (user !== undefined) return user;
  throw new SettingError(
    "the embedded PostgreSQL does not run as root, and the system user postgres could not be created " +
      `(useradd: ${made.stderr.trim() || made.code}); create it, start as an ordinary user, or set DATABASE_URL`,
  );
}

async function lookUp(name: string): Promise<OsUser | undefined> {
  const [uid, gid] = await Promise.all([runAs({}, "id", ["-u", name]), runAs({}, "id", ["-g", name])]);
  if (uid.code !== 0 || gid.code !== 0) return undefined;
  return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
}

/**
 * Returns true if the user can enter the folder.
 * @throws SettingError when this process may not run programs as the user
 */
export async function canEnter(user: OsUser, folder: string): Promise<boolean> {
  const tried = await runAs(user, "/bin/sh", ["-c", 'cd -- "$1"', "sh", folder]);
  if (tried.code === "EPERM") {
    throw new SettingError(
      `root may not start programs as user ${user.uid} here, and PostgreSQL does not run as root; ` +
        "start Grey as an ordinary user or set DATABASE_URL",
    );
  }
  return tried.code === 0;
}
