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
const REPLACED = [
  // Messages of calls are written by one writer, see src/rpc/serialize.ts.
  [/Buffer\.from\((\w+)\.encode\(value\)\.finish\(\)\)/g, "serialize($1, value)", "src/rpc/serialize.js"],
  // JSON tells times to the microsecond, as the contract does; the plugin cuts them to milliseconds.
  [/fromTimestamp\(([\w.]+)\)\.toISOString\(\)/g, "timeText($1)", "src/base/time.js"],
];
const grey = join(root, "generated/grey");
for (const name of readdirSync(grey, { recursive: true }).filter((one) => one.endsWith(".ts"))) {
  const file = join(grey, name);
  let text = readFileSync(file, "utf8");
  for (const [made, wanted, module] of REPLACED) {
    if (text.search(made) < 0) continue;
    const path = relative(dirname(file), join(root, module)).replaceAll("\\", "/");
    const what = wanted.slice(0, wanted.indexOf("("));
    text = text.replaceAll(made, wanted).replace(/^import /m, `import { ${what} } from "${path}";\nimport `);
  }
  writeFileSync(file, text.replace(/\nfunction fromTimestamp\(t: Timestamp\): Date \{[^}]*\}\n/, ""));
}
// The annotations are read from the descriptors; nothing imports their TypeScript.
rmSync(join(root, "generated/buf"), { recursive: true, force: true });
buf("build", "--output", "generated/descriptors.binpb");
