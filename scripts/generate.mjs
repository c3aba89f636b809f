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
/** What the plugin makes and should not: each of them is in what it makes, or the plugin has changed and this has to follow. */
const REPLACED = [
  // Messages of calls are written by one writer.
  {
    made: /Buffer\.from\((\w+)\.encode\(value\)\.finish\(\)\)/g,
    wanted: "serialize($1, value)",
    from: "runtime/serialize.js",
  },
  // JSON tells times to the microsecond, as the contract does; the plugin cuts them to milliseconds.
  { made: /fromTimestamp\(([\w.]+)\)\.toISOString\(\)/g, wanted: "timeText($1)", from: "runtime/time-text.js" },
  { made: /\nfunction fromTimestamp\(t: Timestamp\): Date \{[^}]*\}\n/g, wanted: "" },
];
const grey = join(root, "generated/grey");
const unseen = new Set(REPLACED);
for (const name of readdirSync(grey, { recursive: true }).filter((one) => one.endsWith(".ts"))) {
  const file = join(grey, name);
  let text = readFileSync(file, "utf8");
  for (const replacement of REPLACED) {
    const { made, wanted, from } = replacement;
    if (text.search(made) < 0) continue;
    unseen.delete(replacement);
    text = text.replaceAll(made, wanted);
    if (from === undefined) continue;
    const path = relative(dirname(file), join(root, from)).replaceAll("\\", "/");
    text = text.replace(/^import /m, `import { ${wanted.slice(0, wanted.indexOf("("))} } from "${path}";\nimport `);
  }
  writeFileSync(file, text);
}
for (const { made } of unseen) throw new Error(`the plugin made nothing that is like ${made}`);
// Annotations are read from the descriptors; nothing imports their TypeScript.
for (const path of ["buf", "grey/type/v1/rules.ts"])
  rmSync(join(root, "generated", path), { recursive: true, force: true });
buf("build", "--output", "generated/descriptors.binpb");
