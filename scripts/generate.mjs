// Generates everything under generated/ from proto/: the TypeScript of ts-proto, and the descriptors that reflection and validation use.
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
/** The code of the plugin that is replaced. Each pattern must match somewhere: otherwise the plugin has changed, and this must follow. */
const REPLACEMENTS = [
  // All messages of calls share one writer.
  {
    pattern: /Buffer\.from\((\w+)\.encode\(value\)\.finish\(\)\)/g,
    replacement: "serialize($1, value)",
    from: "runtime/serialize.js",
  },
  // JSON has times to the microsecond, as the contract does; the plugin truncates them to milliseconds.
  { pattern: /fromTimestamp\(([\w.]+)\)\.toISOString\(\)/g, replacement: "timeText($1)", from: "runtime/time-text.js" },
  { pattern: /\nfunction fromTimestamp\(t: Timestamp\): Date \{[^}]*\}\n/g, replacement: "" },
];
const grey = join(root, "generated/grey");
const unmatched = new Set(REPLACEMENTS);
for (const name of readdirSync(grey, { recursive: true }).filter((one) => one.endsWith(".ts"))) {
  const file = join(grey, name);
  let text = readFileSync(file, "utf8");
  for (const one of REPLACEMENTS) {
    const { pattern, replacement, from } = one;
    if (text.search(pattern) < 0) continue;
    unmatched.delete(one);
    text = text.replaceAll(pattern, replacement);
    if (from === undefined) continue;
    const path = relative(dirname(file), join(root, from)).replaceAll("\\", "/");
    text = text.replace(
      /^import /m,
      `import { ${replacement.slice(0, replacement.indexOf("("))} } from "${path}";\nimport `,
    );
  }
  writeFileSync(file, text);
}
if (unmatched.size > 0) {
  const patterns = [...unmatched].map(({ pattern }) => String(pattern));
  throw new Error(`the plugin generated nothing that matches ${patterns.join(" or ")}`);
}
// Annotations are read from the descriptors; nothing imports their TypeScript.
for (const path of ["buf", "grey/type/v1/rules.ts"])
  rmSync(join(root, "generated", path), { recursive: true, force: true });
buf("build", "--output", "generated/descriptors.binpb");
