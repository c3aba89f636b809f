import { execFile, spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { expect } from "chai";
import { PROJECT_DIR } from "../../src/config/config.js";
import { readBlock } from "../support/pages.js";
import { startServer, type TestServer } from "../support/server.js";
import { STORY_OUTPUT } from "../support/story.js";

const PAGE = "docs/sdks.md";
/** With it, a language whose tools are missing fails; without, its test is pending. */
const IS_REQUIRED = process.env.TEST_SYSTEMS_REQUIRED === "1";
/** What the page's commands read; they write into a copy. */
const PLACES = ["proto", "third_party", "buf.yaml", "buf.gen.sdk-go.yaml", "buf.gen.sdk-java.yaml", "package.json"];
const EXAMPLES = ["python", "go", "java", "typescript"].map((language) => `examples/${language}`);
const CLIENT = ["sdk/typescript", "generated", "runtime", "tsconfig.json", "LICENSE"];

const PATH = ["sdk/venv/bin", "sdk/bin"]
  .map((place) => join(PROJECT_DIR, place))
  .concat(process.env.PATH ?? "")
  .join(delimiter);

/** The languages of the page, and what shows that the tools which it tells to install are there. */
const LANGUAGES = [
  { name: "python", isThere: () => hasRun("python3", "-c", "import grpc, grpc_tools") },
  { name: "go", isThere: () => hasRun("go", "version") && hasRun("protoc-gen-go-grpc", "--version") },
  // Run without input, the plugin ends well.
  { name: "java", isThere: () => hasRun("mvn", "-version") && hasRun("protoc-gen-grpc-java") },
  // It downloads what the example names; typescript-client.test.ts does without.
  { name: "typescript", isThere: () => IS_REQUIRED },
];

function hasRun(command: string, ...args: string[]): boolean {
  return spawnSync(command, args, { env: { ...process.env, PATH }, input: "" }).status === 0;
}

describe("the clients of docs/sdks.md", () => {
  let server: TestServer;
  let folder: string;

  before(async () => {
    server = await startServer();
    folder = mkdtempSync(join(tmpdir(), "grey-sdks-"));
    for (const place of [...PLACES, ...EXAMPLES, ...CLIENT]) {
      const filter = (path: string): boolean => !/(node_modules|dist|target)$/.test(path);
      cpSync(join(PROJECT_DIR, place), join(folder, place), { recursive: true, filter });
    }
    symlinkSync(join(PROJECT_DIR, "node_modules"), join(folder, "node_modules"), "junction");
  });
  after(async () => {
    await server.stop();
    rmSync(folder, { recursive: true });
  });

  for (const { name, isThere } of LANGUAGES) {
    const runs = IS_REQUIRED || isThere();
    const title = `tell the story in ${name}${runs ? "" : " (pending: its tools are not installed)"}`;
    (runs ? it : it.skip)(title, async function () {
      // Compilers take their time when they have nothing cached.
      this.timeout(600_000);
      const script = readBlock(PAGE, name).replaceAll("localhost:50051", server.address);
      const { output, failed } = await new Promise<{ output: string; failed: boolean }>((resolve) => {
        const env = { ...process.env, PATH, npm_config_update_notifier: "false", NO_COLOR: "1" };
        execFile("sh", ["-ec", `exec 2>&1\n${script}`], { cwd: folder, env }, (error, stdout) =>
          resolve({ output: stdout, failed: error !== null }),
        );
      });
      expect(failed, output).to.equal(false);
      const told = stripVTControlCharacters(output).trim().split("\n").slice(-STORY_OUTPUT.length);
      expect(told.map(inOneSpelling)).to.deep.equal(STORY_OUTPUT.map(inOneSpelling));
    });
  }

  it("have the versions that scripts/systems/sdk-tools.sh installs", () => {
    const script = readFileSync(join(PROJECT_DIR, "scripts/systems/sdk-tools.sh"), "utf8");
    const versions = script.match(/\S+(==|@v)[\d.]+/g) ?? [];
    expect(versions).not.to.have.lengthOf(0);
    for (const version of versions) expect(readFileSync(join(PROJECT_DIR, PAGE), "utf8")).to.include(version);
  });
});

/** Languages write true and FAILED_PRECONDITION in ways of their own. */
function inOneSpelling(line: string): string {
  return line.toLowerCase().replaceAll("_", "");
}
