#!/usr/bin/env -S node --max-semi-space-size=32
// The command `grey`. Telemetry is loaded first, so that it can instrument what is imported after it.
import { existsSync } from "node:fs";

const BUILT = new URL("../dist/src/", import.meta.url);
if (existsSync(new URL("cli/grey.js", BUILT))) {
  await import(String(new URL("telemetry/preload.js", BUILT)));
  await import(String(new URL("cli/grey.js", BUILT)));
} else {
  console.error("grey: nothing is built yet; `npm run build` does it, and so does `npm start`");
  process.exitCode = 1;
}
