import { readdirSync, readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { dirname, join, normalize, relative } from "node:path";
import { expect } from "chai";
import { PROJECT_DIR } from "../../src/config/config.js";

/** The folders of src/ that the files of each may import, besides their own: the table in docs/architecture.md. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  base: [],
  config: ["base"],
  telemetry: ["base", "config"],
  entities: ["base"],
  db: ["base", "config", "entities", "telemetry"],
  journal: ["base", "db", "entities", "telemetry"],
  ledger: ["base", "config", "telemetry", "entities", "db", "journal"],
  readers: ["base", "db", "entities", "journal", "telemetry"],
  rpc: ["base", "config", "telemetry", "generated"],
  services: [
    "base", "config", "telemetry", "entities", "db", "journal", "ledger", "readers", "rpc", "generated",
  ], // prettier-ignore
  migrations: ["base"],
  // The client's package has nothing of the server.
  generated: ["runtime"],
  runtime: [],
  sdk: ["generated"],
};

/** These put the parts together and may import anything. */
const COMPOSE = ["main.ts", "server", "cli"];

/** The only packages of the pure core: `uuid` makes ids. Everything else there is Node's. */
const BASE_PACKAGES = ["uuid"];

interface Import {
  /** The file that imports, from the project's folder. */
  readonly from: string;
  /** The file that is imported, from the project's folder; or the package. */
  readonly to: string;
}

/** Every import of a source file: static, dynamic, type-only, re-export. */
function importsOf(from: string, source: string): Import[] {
  const specifiers = source.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*["']([^"']+)["']/g);
  return [...specifiers].map(([, specifier = ""]) => ({
    from,
    to: specifier.startsWith(".") ? normalize(join(dirname(from), specifier)).replace(/\.js$/, ".ts") : specifier,
  }));
}

/** `base` for src/base/money.ts, `main.ts` for src/main.ts, `generated` and `migrations` for files of theirs. */
function layerOf(file: string): string {
  const [top = "", next = ""] = file.split("/");
  return top === "src" ? next : top;
}

function violationsOf(imports: readonly Import[]): string[] {
  return imports
    .filter(({ from, to }) => {
      const [layer, target] = [layerOf(from), layerOf(to)];
      if (COMPOSE.includes(layer)) return false;
      const isFile = to.endsWith(".ts");
      if (!isFile) return layer === "base" && !isOfNode(to) && !BASE_PACKAGES.includes(to);
      return layer !== target && MAY_IMPORT[layer]?.includes(target) !== true;
    })
    .map(({ from, to }) => `${from} imports ${to}`);
}

function isOfNode(specifier: string): boolean {
  return specifier.startsWith("node:") || builtinModules.includes(specifier);
}

/** A cycle of imports as the files on it, or undefined. */
function findCycle(imports: readonly Import[]): string[] | undefined {
  const targets = new Map<string, string[]>();
  for (const { from, to } of imports) targets.set(from, [...(targets.get(from) ?? []), to]);
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): string[] | undefined => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return undefined;
    for (const target of targets.get(file) ?? []) {
      const cycle = visit(target, [...path, file]);
      if (cycle !== undefined) return cycle;
    }
    done.add(file);
    return undefined;
  };
  for (const file of targets.keys()) {
    const cycle = visit(file, []);
    if (cycle !== undefined) return cycle;
  }
  return undefined;
}

/** The paths of the source files of a folder, from the project's folder. */
function sourcesOf(folder: string): string[] {
  return readdirSync(join(PROJECT_DIR, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts"))
    .map((entry) => relative(PROJECT_DIR, join(entry.parentPath, entry.name)).replaceAll("\\", "/"));
}

describe("the layers", () => {
  const files = ["src", "migrations", "generated", "runtime", "sdk/typescript/src"].flatMap(sourcesOf);
  const imports = files.flatMap((file) => importsOf(file, readFileSync(join(PROJECT_DIR, file), "utf8")));

  it("are folders that the table knows", () => {
    const unknown = files.filter((file) => !(layerOf(file) in MAY_IMPORT) && !COMPOSE.includes(layerOf(file)));
    expect(unknown).to.deep.equal([]);
  });

  it("import down only, as the table says", () => expect(violationsOf(imports)).to.deep.equal([]));

  it("keep decisions pure: they import accounts and commands only, and reach nothing but them and the base", () => {
    const isDecision = (file: string) => file.startsWith("src/ledger/decide/");
    const allowed = ["src/base/", "src/ledger/account/", "src/ledger/command/", "src/ledger/decide/"];
    const isAllowed = (file: string) => allowed.some((folder) => file.startsWith(folder));
    const targets = new Map<string, string[]>();
    for (const { from, to } of imports) targets.set(from, [...(targets.get(from) ?? []), to]);
    const reached = new Set(files.filter(isDecision));
    expect(reached).not.to.have.lengthOf(0);
    for (const file of reached) if (isAllowed(file)) for (const target of targets.get(file) ?? []) reached.add(target);
    // What the base itself imports is checked above.
    const impure = [...reached].filter((file) => !isAllowed(file) && !isOfNode(file) && !BASE_PACKAGES.includes(file));
    expect(impure).to.deep.equal([]);
  });

  it("keep SQL out of the services: only what answers a request once has statements, in a file of its own", () => {
    const isService = (file: string) => file.startsWith("src/services/") && file !== "src/services/shared/requests.ts";
    const services = files.filter(isService);
    expect(services).not.to.have.lengthOf(0);
    const withSql = services.filter((file) =>
      /\.query[<(]|createQueryBuilder/.test(readFileSync(join(PROJECT_DIR, file), "utf8")),
    );
    expect(withSql).to.deep.equal([]);
  });

  it("have no cycle of imports", () => expect(findCycle(imports)?.join(" → ")).to.equal(undefined));

  it("import files that exist", () => {
    const known = new Set(files);
    const dangling = imports.filter(({ to }) => to.endsWith(".ts") && !known.has(to));
    expect(dangling).to.deep.equal([]);
  });
});

describe("the check of the layers", () => {
  const source = `
    import { readFile } from "node:fs/promises";
    import type { Config } from "../config/config.js";
    import {
      post,
    } from "../ledger/post.js";
    import "./side-effect.js";
    export { x } from './x.js';
    const { y } = await import("../../generated/y.js");
  `;

  it("sees every form of an import", () => {
    expect(importsOf("src/base/file.ts", source).map(({ to }) => to)).to.deep.equal([
      "node:fs/promises",
      "src/config/config.ts",
      "src/ledger/post.ts",
      "src/base/side-effect.ts",
      "src/base/x.ts",
      "generated/y.ts",
    ]);
  });

  it("names what goes up, and lets the parts that compose import anything", () => {
    expect(violationsOf(importsOf("src/base/file.ts", source))).to.have.lengthOf(3);
    expect(violationsOf(importsOf("src/readers/file.ts", source))).to.have.lengthOf(3);
    expect(violationsOf(importsOf("src/services/file.ts", source))).to.have.lengthOf(0);
    expect(violationsOf(importsOf("src/cli/file.ts", source))).to.have.lengthOf(0);
    expect(violationsOf(importsOf("src/main.ts", source))).to.have.lengthOf(0);
    expect(violationsOf(importsOf("src/base/file.ts", `import pg from "pg";`))).to.deep.equal([
      "src/base/file.ts imports pg",
    ]);
  });

  it("names a cycle, and nothing where two ways lead to the same file", () => {
    const edge = (from: string, to: string): Import => ({ from, to });
    expect(findCycle([edge("a", "b"), edge("b", "c"), edge("c", "b")])).to.deep.equal(["b", "c", "b"]);
    expect(findCycle([edge("a", "a")])).to.deep.equal(["a", "a"]);
    expect(findCycle([edge("a", "b"), edge("a", "c"), edge("b", "d"), edge("c", "d")])).to.equal(undefined);
  });
});
