// Builds dist/ for `npm pack`: the client and the generated code, with their types.
import { spawnSync } from "node:child_process";
import { copyFileSync, rmSync } from "node:fs";
import { join } from "node:path";

const HERE = import.meta.dirname;
const ROOT = join(HERE, "../..");

rmSync(join(HERE, "dist"), { recursive: true, force: true });
copyFileSync(join(ROOT, "LICENSE"), join(HERE, "LICENSE"));
// `npm run build` checks the types.
const tsc = [join(ROOT, "node_modules/typescript/bin/tsc"), "-p", HERE, "--noCheck"];
process.exitCode = spawnSync(process.execPath, tsc, { stdio: "inherit" }).status ?? 1;
