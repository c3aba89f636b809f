import { spawn } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect } from "chai";
import { PROJECT_DIR } from "../../src/config/config.js";

/** A project with little in it, built by the script that builds this one. */
describe("the build", () => {
  let folder: string;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "grey-build-"));
    mkdirSync(join(folder, "scripts"));
    cpSync(join(PROJECT_DIR, "scripts/build.mjs"), join(folder, "scripts/build.mjs"));
    symlinkSync(join(PROJECT_DIR, "node_modules"), join(folder, "node_modules"), "junction");
    const { compilerOptions } = JSON.parse(read(join(PROJECT_DIR, "tsconfig.json"))) as { compilerOptions: object };
    const files = {
      "tsconfig.json": JSON.stringify({
        compilerOptions: { ...compilerOptions, types: [] },
        include: ["src", "generated"],
      }),
      "package.json": '{ "type": "module" }',
      "package-lock.json": "{}",
      "buf.yaml": "version: v2\nmodules:\n  - path: proto\n",
      "proto/a/a.proto": 'syntax = "proto3";\npackage a;\nmessage A {}\n',
      "third_party/README": "",
      // It counts how often it was called.
      "scripts/generate.mjs": `
        import { execFileSync } from "node:child_process";
        import { appendFileSync, mkdirSync } from "node:fs";
        mkdirSync("generated", { recursive: true });
        const buf = "node_modules/@bufbuild/buf/bin/buf";
        execFileSync(process.execPath, [buf, "build", "--output", "generated/descriptors.binpb"]);
        appendFileSync("generated/count.ts", "export {};\\n");`,
      "src/one.ts": "export const one: number = 1;\n",
      "src/two.ts": "export const two: number = 2;\n",
    };
    for (const [path, text] of Object.entries(files)) write(path, text);
    await run("scripts/generate.mjs");
    expect((await build()).code).to.equal(0);
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const read = (path: string): string => readFileSync(path, "utf8");
  const write = (path: string, text: string): void => {
    mkdirSync(join(folder, dirname(path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  };
  const built = (path: string): string => read(join(folder, "dist", path));
  const run = (...args: string[]): Promise<{ code: number | null; said: string }> =>
    new Promise((resolve) => {
      const child = spawn(process.execPath, args, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
      let said = "";
      child.stdout.on("data", (data) => (said += String(data)));
      child.stderr.on("data", (data) => (said += String(data)));
      child.on("close", (code) => resolve({ code, said }));
    });
  const build = (...options: string[]) => run("scripts/build.mjs", ...options);

  it("does nothing, and says nothing, when nothing has changed", async () => {
    expect(await build()).to.deep.equal({ code: 0, said: "" });
    expect(await build("--unchecked")).to.deep.equal({ code: 0, said: "" });
  });

  it("says that it builds, and how long it took", async () => {
    write("src/one.ts", "export const one: number = 11;\n");
    expect((await build()).said).to.match(/^grey: building what has changed …\ngrey: built in \d+\.\d s\n$/);
  });

  it("builds a source that was changed, with whatever time of change", async () => {
    write("src/one.ts", "export const one: number = 11;\n");
    utimesSync(join(folder, "src/one.ts"), new Date(0), new Date(0));
    await build("--unchecked");
    expect(built("src/one.js")).to.include("one = 11");
  });

  it("builds a source that was added", async () => {
    write("src/more/three.ts", "export const three: number = 3;\n");
    await build();
    expect(built("src/more/three.js")).to.include("three = 3");
  });

  it("keeps nothing of a source that was removed or renamed", async () => {
    rmSync(join(folder, "src/two.ts"));
    await build();
    expect(readdirSync(join(folder, "dist/src"))).to.deep.equal(["one.js", "one.js.map"]);
  });

  it("copies an asset that was changed", async () => {
    write("proto/a/a.proto", 'syntax = "proto3";\npackage a;\nmessage A {}\nmessage Second {}\n');
    await build();
    expect(built("generated/descriptors.binpb")).to.include("Second");
  });

  it("copies the SQL files among the sources, those that were added or changed too, and keeps none that was removed", async () => {
    write("src/sql/one.sql", "SELECT 1");
    await build();
    expect(built("src/sql/one.sql")).to.equal("SELECT 1");
    write("src/sql/one.sql", "SELECT 2");
    await build("--unchecked");
    expect(built("src/sql/one.sql")).to.equal("SELECT 2");
    rmSync(join(folder, "dist/src/sql"), { recursive: true });
    await build();
    expect(built("src/sql/one.sql")).to.equal("SELECT 2");
    rmSync(join(folder, "src/sql"), { recursive: true });
    await build();
    expect(existsSync(join(folder, "dist/src/sql/one.sql"))).to.equal(false);
  });

  it("generates code when the contract has changed, and only then", async () => {
    const count = () => read(join(folder, "generated/count.ts")).split("\n").length - 1;
    expect(count()).to.equal(1);
    write("proto/a/a.proto", 'syntax = "proto3";\npackage a;\n// A comment.\nmessage A {}\n');
    expect((await build()).said).to.include("generating code");
    expect(count()).to.equal(2);
    write("proto/b/b.proto", 'syntax = "proto3";\npackage b;\nmessage B {}\n');
    await run("scripts/generate.mjs");
    expect((await build()).said).not.to.include("generating code");
  });

  it("builds anew what somebody has taken out of dist/", async () => {
    rmSync(join(folder, "dist/src/one.js"));
    await build();
    expect(built("src/one.js")).to.include("one = 1");
  });

  it("builds everything anew when the build before did not come to its end", async () => {
    // What was written by a build that was killed, of a source that has its old text again.
    rmSync(join(folder, "dist/.built.json"));
    write("dist/src/one.js", "half");
    await build();
    expect(built("src/one.js")).to.include("one = 1");
  });

  it("fails on a wrong type until it is mended, and unchecked leaves that to the next build", async () => {
    write("src/one.ts", 'export const one: number = "eleven";\n');
    expect((await build("--unchecked")).code).to.equal(0);
    expect(built("src/one.js")).to.include('one = "eleven"');
    for (const _ of ["found", "found again"]) {
      const { code, said } = await build();
      expect(code).not.to.equal(0);
      expect(said).to.include("src/one.ts");
    }
    write("src/one.ts", "export const one: number = 11;\n");
    expect((await build()).code).to.equal(0);
    expect(built("src/one.js")).to.include("one = 11");
  });

  it("is asked for by the command where nothing is built", async () => {
    cpSync(join(PROJECT_DIR, "bin/grey.js"), join(folder, "bin/grey.js"));
    expect(await run("bin/grey.js", "--help")).to.deep.equal({
      code: 1,
      said: "grey: nothing is built yet; `npm run build` does it, and so does `npm start`\n",
    });
  });

  it("waits for another that is under way, and not for one that was killed", async () => {
    write("src/one.ts", "export const one: number = 11;\n");
    const both = await Promise.all([build(), build("--unchecked")]);
    expect(both.map(({ code }) => code)).to.deep.equal([0, 0]);
    expect(both.filter(({ said }) => said.includes("built in"))).to.have.lengthOf(1);
    write("dist/.lock", "");
    utimesSync(join(folder, "dist/.lock"), new Date(0), new Date(0));
    expect(await build()).to.deep.equal({ code: 0, said: "" });
    expect(existsSync(join(folder, "dist/.lock"))).to.equal(false);
  });
});
