// Makes everything under generated/ from proto/: the TypeScript of ts-proto and the descriptors that reflection and validation use.
import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const buf = (...args) =>
  execFileSync(process.execPath, [join(root, "node_modules/@bufbuild/buf/bin/buf"), ...args], {
    cwd: root,
    stdio: "inherit",
  });

rmSync(join(root, "generated"), { recursive: true, force: true });
buf("generate");
// The annotations are read from the descriptors; nothing imports their TypeScript.
rmSync(join(root, "generated/buf"), { recursive: true, force: true });
buf("build", "--output", "generated/descriptors.binpb");
