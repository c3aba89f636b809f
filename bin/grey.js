#!/usr/bin/env -S node --max-semi-space-size=32
// The command `grey`. Telemetry is loaded first, so that it can instrument what is imported after it.
import "../dist/src/telemetry/preload.js";

await import("../dist/src/cli/grey.js");
