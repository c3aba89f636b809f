import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";
import { PROJECT_DIR } from "../../src/config/config.js";
import { startServer, type TestServer } from "../support/server.js";
import { STORY_OUTPUT } from "../support/story.js";

const run = promisify(execFile);

/** The example as a project of its own: with the packed client, and of other packages only those that it or the client names. */
describe("a TypeScript client", () => {
  let server: TestServer;
  let folder: string;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "grey-typescript-"));
    server = await startServer();
  });
  after(async () => {
    await server.stop();
    rmSync(folder, { recursive: true });
  });

  it("tells the story with the package that npm packs, in a project of its own", async () => {
    const packed = join(PROJECT_DIR, "sdk/typescript");
    const { stdout } = await run("npm", ["pack", "--silent", "--pack-destination", folder], { cwd: packed });
    const project = join(folder, "project");
    cpSync(join(PROJECT_DIR, "examples/typescript"), project, {
      recursive: true,
      filter: (path) => !/node_modules|dist$/.test(path),
    });
    const client = join(project, "node_modules/grey-client");
    mkdirSync(client, { recursive: true });
    await run("tar", ["-xzf", join(folder, stdout.trim()), "-C", client, "--strip-components=1"]);
    for (const name of new Set([...packagesOf(project), ...packagesOf(client)])) {
      if (name === "grey-client") continue;
      mkdirSync(dirname(join(project, "node_modules", name)), { recursive: true });
      symlinkSync(join(PROJECT_DIR, "node_modules", name), join(project, "node_modules", name), "junction");
    }

    const tsc = createRequire(import.meta.url)
      .resolve("typescript/package.json")
      .replace("package.json", "bin/tsc");
    // Everything that the client's types say is checked, too.
    await run(process.execPath, [tsc, "--skipLibCheck", "false"], { cwd: project }).catch(
      ({ stdout: said }: { stdout: string }) => {
        throw new Error(said);
      },
    );
    const told = await run(process.execPath, ["dist/story.js", server.address], { cwd: project });
    expect(told.stdout.trim().split("\n")).to.deep.equal(
      STORY_OUTPUT.map((line) => line.replaceAll("True", "true").replaceAll("False", "false")),
    );
  });

  it("gets a package with the client and what it needs, and nothing else", async () => {
    const { stdout } = await run("npm", ["pack", "--dry-run", "--json"], { cwd: join(PROJECT_DIR, "sdk/typescript") });
    const [packed] = Object.values(JSON.parse(stdout) as Record<string, { files: { path: string }[] }>);
    const places = new Set(packed?.files.map(({ path }) => path.split("/").slice(0, 3).join("/")));
    expect([...places].toSorted()).to.deep.equal([
      "LICENSE",
      "dist/generated/google",
      "dist/generated/grey",
      "dist/runtime/serialize.d.ts",
      "dist/runtime/serialize.js",
      "dist/runtime/time-text.d.ts",
      "dist/runtime/time-text.js",
      "dist/sdk/typescript",
      "package.json",
    ]);
  });
});

/** The packages that a project names, those for its development included. */
function packagesOf(project: string): string[] {
  const { dependencies, devDependencies } = JSON.parse(readFileSync(join(project, "package.json"), "utf8")) as Record<
    string,
    Record<string, string> | undefined
  >;
  return Object.keys({ ...dependencies, ...devDependencies });
}
