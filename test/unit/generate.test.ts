import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { PROJECT_DIR } from "../../src/config/config.js";

describe("generating code", () => {
  it("fails and names each pattern of a replacement that matches nothing", () => {
    const folder = mkdtempSync(join(tmpdir(), "grey-generate-"));
    try {
      for (const path of ["scripts/generate.mjs", "third_party", "buf.yaml", "buf.gen.yaml"]) {
        cpSync(join(PROJECT_DIR, path), join(folder, path), { recursive: true });
      }
      symlinkSync(join(PROJECT_DIR, "node_modules"), join(folder, "node_modules"), "junction");
      mkdirSync(join(folder, "proto/grey/a/v1"), { recursive: true });
      // A message without a service and without a time.
      writeFileSync(join(folder, "proto/grey/a/v1/a.proto"), 'syntax = "proto3";\npackage grey.a.v1;\nmessage A {}\n');
      const { status, stderr } = spawnSync(process.execPath, ["scripts/generate.mjs"], {
        cwd: folder,
        encoding: "utf8",
      });
      expect(status).to.equal(1);
      const [, patterns = ""] = /^Error: the plugin generated nothing that matches (.*)$/m.exec(stderr) ?? [];
      expect(patterns.split(" or ").map((pattern) => /Buffer|toISOString|function/.exec(pattern)?.[0])).to.deep.equal([
        "Buffer",
        "toISOString",
        "function",
      ]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
