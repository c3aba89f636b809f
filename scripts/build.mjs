// `npm run build`: what has changed since the last build is built into dist/, and nothing else stays there.
// `--unchecked` leaves the types to the next build without it: `npm start` serves seconds earlier.
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

const ROOT = join(import.meta.dirname, "..");
const DIST = join(ROOT, "dist");
/** What tsc compiles: "include" in tsconfig.json. */
const SOURCES = JSON.parse(readFileSync(join(ROOT, "tsconfig.json"), "utf8")).include;
/** What tsc does not carry over. */
const ASSETS = ["generated/descriptors.binpb", ...filesOf(...SOURCES).filter((path) => path.endsWith(".sql"))];
/** What else decides what a build makes. */
const SETTINGS = ["tsconfig.json", "package.json", "package-lock.json", "scripts/build.mjs", ...ASSETS];
/** What the descriptors are made from. */
const CONTRACT = ["proto", "third_party", "buf.yaml"];
const STAMP = join(DIST, ".built.json");
const BUILD_INFO = join(DIST, ".tsbuildinfo");
const LOCK = join(DIST, ".lock");
const LOCK_TOUCHED_EVERY_MS = 1_000;
/** A lock that was not touched for this long belongs to a build that was killed. */
const LOCK_STALE_MS = 10_000;

/** The exit code of a tsc that has found errors and written everything. */
const WRITTEN_WITH_ERRORS = 2;

const isUnchecked = process.argv.includes("--unchecked");

mkdirSync(DIST, { recursive: true });
await takeLock();
const touching = setInterval(() => utimesSync(LOCK, new Date(), new Date()), LOCK_TOUCHED_EVERY_MS);
try {
  process.exitCode = await build();
} finally {
  clearInterval(touching);
  rmSync(LOCK, { force: true });
}

/** @returns the exit code */
async function build() {
  const stamp = readStamp();
  const contract = hashOf(filesOf(...CONTRACT));
  if (contract !== stamp?.contract && !(await isGeneratedFromContract())) {
    say("generating code: the contract has changed …");
    const { code, text } = await run("scripts/generate.mjs");
    if (code !== 0) return fail(code, text);
  }
  const sources = filesOf(...SOURCES).filter((path) => path.endsWith(".ts") && !path.endsWith(".d.ts"));
  const inputs = hashOf([...sources, ...SETTINGS]);
  const isComplete = tidy(new Set([...sources.flatMap(outputsOf), ...ASSETS]));
  const isBuilt = isComplete && stamp?.inputs === inputs;
  if (isBuilt && (stamp.isChecked || isUnchecked)) {
    if (contract !== stamp.contract) writeStamp({ ...stamp, contract });
    return 0;
  }

  if (!isBuilt) say(`building ${existsSync(BUILD_INFO) ? "what has changed" : "for the first time"} …`);
  const started = performance.now();
  // tsc knows what it has written only if it came to its end and nobody has taken a file away since.
  if (!isComplete || stamp === undefined) rmSync(BUILD_INFO, { force: true });
  rmSync(STAMP, { force: true });
  const { code, text } = await run(
    "node_modules/typescript/bin/tsc",
    "-p",
    "tsconfig.json",
    ...(isUnchecked ? ["--noCheck"] : []),
  );
  for (const path of ASSETS) {
    mkdirSync(dirname(join(DIST, path)), { recursive: true });
    copyFileSync(join(ROOT, path), join(DIST, path));
  }
  if (code === 0 || code === WRITTEN_WITH_ERRORS)
    writeStamp({ contract, inputs: code === 0 ? inputs : "", isChecked: !isUnchecked });
  if (code !== 0) return fail(code, text);
  if (!isBuilt) say(`built in ${((performance.now() - started) / 1_000).toFixed(1)} s`);
  return 0;
}

/** On the standard error: what is started after the build has the standard output to itself. */
function say(text) {
  console.error(`grey: ${text}`);
}

function fail(code, text) {
  console.error(text);
  return code;
}

/** @returns what the last build that came to its end was made from: `{ contract, inputs, isChecked }` */
function readStamp() {
  try {
    return JSON.parse(readFileSync(STAMP, "utf8"));
  } catch {
    return undefined;
  }
}

function writeStamp(stamp) {
  writeFileSync(STAMP, JSON.stringify(stamp));
}

/** Whether the descriptors in generated/ are those of the contract, comments and all. */
async function isGeneratedFromContract() {
  const made = join(DIST, ".descriptors.binpb");
  const { code } = await run("node_modules/@bufbuild/buf/bin/buf", "build", "--output", made);
  const isSame = code === 0 && readFileSync(made).equals(readFileSync(join(ROOT, "generated/descriptors.binpb")));
  rmSync(made, { force: true });
  return isSame;
}

/** The project's files at and under the paths, in order. */
function filesOf(...paths) {
  return paths.flatMap((path) => {
    if (!statSync(join(ROOT, path)).isDirectory()) return [path];
    return namesUnder(join(ROOT, path)).map((name) => `${path}/${name}`);
  });
}

/** The names of the files under the folder, with slashes, in order. */
function namesUnder(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) =>
      join(entry.parentPath, entry.name)
        .slice(folder.length + 1)
        .replaceAll("\\", "/"),
    )
    .sort();
}

function hashOf(paths) {
  const hash = createHash("sha256");
  for (const path of paths)
    hash
      .update(`${path}\0`)
      .update(readFileSync(join(ROOT, path)))
      .update("\0");
  return hash.digest("hex");
}

function outputsOf(source) {
  const made = source.replace(/\.ts$/, ".js");
  return [made, `${made}.map`];
}

/** Removes from dist/ what no source makes any more. @returns whether everything that the sources make is there */
function tidy(expected) {
  const there = namesUnder(DIST).filter((name) => !name.startsWith("."));
  for (const name of there) if (!expected.has(name)) rmSync(join(DIST, name));
  return there.filter((name) => expected.has(name)).length === expected.size;
}

/** Waits until no other build is under way. */
async function takeLock() {
  for (let isFirst = true; ; isFirst = false) {
    try {
      writeFileSync(LOCK, "", { flag: "wx" });
      return;
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
      const touched = statSync(LOCK, { throwIfNoEntry: false })?.mtimeMs;
      if (touched !== undefined && Date.now() - touched > LOCK_STALE_MS) rmSync(LOCK, { force: true });
      else if (isFirst) say("waiting for a build that is under way …");
      await delay(100);
    }
  }
}

function run(script, ...args) {
  return new Promise((resolve) => {
    execFile(process.execPath, [join(ROOT, script), ...args], { cwd: ROOT }, (error, stdout, stderr) => {
      resolve({
        code: error === null ? 0 : typeof error.code === "number" ? error.code : 1,
        text: `${stdout}${stderr}`.trim(),
      });
    });
  });
}
