// Makes everything under generated/ from proto/: the TypeScript of ts-proto and the descriptors that reflection and validation use.
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

const root = join(import.meta.dirname, "..");
const buf = (...args) =>
  execFileSync(process.execPath, [join(root, "node_modules/@bufbuild/buf/bin/buf"), ...args], {
    cwd: root,
    stdio: "inherit",
  });

rmSync(join(root, "generated"), { recursive: true, force: true });
buf("generate");
// Messages of calls are written by one writer, see src/rpc/serialize.ts.
const MADE_ANEW = /Buffer\.from\((\w+)\.encode\(value\)\.finish\(\)\)/g;
const grey = join(root, "generated/grey");
for (const name of readdirSync(grey, { recursive: true }).filter((one) => one.endsWith("_service.ts"))) {
  const file = join(grey, name);
  const path = relative(dirname(file), join(root, "src/rpc/serialize.js")).replaceAll("\\", "/");
  const text = readFileSync(file, "utf8").replaceAll(MADE_ANEW, "serialize($1, value)");
  writeFileSync(file, text.replace(/^import /m, `import { serialize } from "${path}";\nimport `));
}
// The annotations are read from the descriptors; nothing imports their TypeScript.
rmSync(join(root, "generated/buf"), { recursive: true, force: true });
buf("build", "--output", "generated/descriptors.binpb");
