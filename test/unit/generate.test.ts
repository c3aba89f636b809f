import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { PROJECT_DIR } from "../../src/config/config.js";

describe("generating code", () => {
  it("fails when the plugin makes nothing that has to be replaced", () => {
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
      expect(stderr).to.include("the plugin made nothing that is like");
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
