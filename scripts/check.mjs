// `npm run check`: all checks that need no running service. Prints a line per step, and all failures at the end.
import { execFile } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";

const ROOT = join(import.meta.dirname, "..");
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;
/** The inputs of `npm run generate`. */
const GENERATED_FROM = ["proto", "third_party", "buf.yaml", "buf.gen.yaml", "scripts/generate.mjs"];

const PROGRAM = {
  buf: "@bufbuild/buf/bin/buf",
  mocha: "mocha/bin/mocha.js",
  oxlint: "oxlint/bin/oxlint",
  prettier: "prettier/bin/prettier.cjs",
};

/** The results of a step: a fault, or a note. */
const wrong = (text) => ({ wrong: text });
const note = (text) => ({ note: text });

/** Runs a program to its end. */
function run(file, args, cwd = ROOT) {
  return new Promise((resolve) => {
    execFile(file, args, { cwd, maxBuffer: OUTPUT_BYTES_MAX, encoding: "buffer" }, (error, stdout, stderr) => {
      resolve({
        ok: error === null,
        stdout,
        text: `${stdout}${stderr}${error?.code === "ENOENT" ? error.message : ""}`.trim(),
      });
    });
  });
}

/** Runs a JavaScript program of this project or of an installed package; returns undefined on success. */
async function must(program, ...args) {
  const script = program in PROGRAM ? join(ROOT, "node_modules", PROGRAM[program]) : join(ROOT, program);
  const { ok, text } = await run(process.execPath, [script, ...args]);
  return ok ? undefined : wrong(text);
}

function git(...args) {
  return run("git", ["-c", "safe.directory=*", ...args]);
}

async function inTemporaryFolder(work) {
  const folder = mkdtempSync(join(tmpdir(), "grey-check-"));
  try {
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Generates code in a copy, so that the working tree is not changed. */
function checkGenerated() {
  return inTemporaryFolder(async (folder) => {
    for (const path of GENERATED_FROM) cpSync(join(ROOT, path), join(folder, path), { recursive: true });
    symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"), "junction");
    const { ok, text } = await run(process.execPath, [join(folder, "scripts/generate.mjs")], folder);
    if (!ok) return wrong(text);
    const differing = differences(join(ROOT, "generated"), join(folder, "generated"));
    if (differing.length > 0) return wrong(`run \`npm run generate\`; these differ:\n${differing.join("\n")}`);
  });
}

/** Lists the files that differ or exist in one folder only. */
function differences(one, other) {
  const paths = new Set([...filesOf(one), ...filesOf(other)]);
  const isSame = (path) =>
    [one, other].every((folder) => existsSync(join(folder, path))) &&
    readFileSync(join(one, path)).equals(readFileSync(join(other, path)));
  return [...paths].filter((path) => !isSame(path));
}

function filesOf(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)));
}

/** Compares the contract with that of the main branch. */
async function checkBreaking() {
  for (const ref of ["origin/main", "main"]) {
    const { ok, stdout } = await git("ls-tree", "--name-only", ref, "proto", "third_party", "buf.yaml");
    const paths = ok ? `${stdout}`.split("\n").filter(Boolean) : [];
    if (!paths.includes("proto") || !paths.includes("buf.yaml")) continue;
    return inTemporaryFolder(async (folder) => {
      const archive = join(folder, "main.tar");
      const packed = await git("archive", "--format=tar", `--output=${archive}`, ref, ...paths);
      if (!packed.ok) return wrong(packed.text);
      return (await must("buf", "breaking", "--against", archive)) ?? note(`against ${ref}`);
    });
  }
  return note("skipped: no branch main with a contract");
}

function checkLock() {
  const lock = readFileSync(join(ROOT, "package-lock.json"), "utf8");
  // An install uses the registry that its user has configured.
  const urls = lock.match(/^.*"resolved".*$|^.*registry\..*$/gm) ?? [];
  if (urls.length > 0)
    return wrong(`package-lock.json names registries (npm's omit-lockfile-registry-resolved):\n${urls[0]}`);
}

/** Finds what a merge has left behind. */
async function checkConflicts() {
  const { stdout } = await git("grep", "-nE", "^(<{7}|>{7})( |$)");
  if (stdout.length > 0) return wrong(`${stdout}`);
}

/** The steps in order: later ones use the build of the types step. */
const STEPS = [
  ["the lock file names no registry", checkLock],
  ["no conflict markers", checkConflicts],
  ["generated code is up to date", checkGenerated],
  ["buf lint", () => must("buf", "lint")],
  ["buf format", () => must("buf", "format", "proto", "--diff", "--exit-code")],
  ["buf breaking", checkBreaking],
  ["prettier", () => must("prettier", "--check", "--log-level=warn", ".")],
  ["oxlint", () => must("oxlint", "--type-aware")],
  ["types (tsc)", () => must("scripts/build.mjs")],
  ["layers", () => must("mocha", "--no-config", "dist/test/unit/layers.test.js")],
  ["docs/errors.md is up to date", () => must("scripts/errors-doc.mjs", "--check")],
];

const failed = [];
for (const [title, check] of STEPS) {
  const started = performance.now();
  const found = await check();
  const seconds = ((performance.now() - started) / 1_000).toFixed(1);
  const mark = found?.wrong === undefined ? "ok  " : "FAIL";
  console.log(`${mark} ${seconds.padStart(5)} s  ${title}${found?.note === undefined ? "" : ` (${found.note})`}`);
  if (found?.wrong !== undefined) failed.push({ title, text: found.wrong });
}
for (const { title, text } of failed) console.log(`\n── ${title}\n${text}`);
console.log(failed.length === 0 ? "\nall checks passed" : `\n${failed.length} of ${STEPS.length} checks failed`);
process.exitCode = failed.length === 0 ? 0 : 1;
