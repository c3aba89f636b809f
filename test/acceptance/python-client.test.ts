import { execFile, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { PROJECT_DIR } from "../../src/config/config.js";
import { startServer, type TestServer } from "../support/server.js";

const HAS_GRPC_TOOLS = spawnSync("python3", ["-c", "import grpc, grpc_tools"]).status === 0;

// What the README says about Python, on an SDK made in another folder.
describe("a Python client", () => {
  let server: TestServer;
  let folder: string;

  before(async function () {
    if (!HAS_GRPC_TOOLS) return;
    folder = mkdtempSync(join(tmpdir(), "grey-python-"));
    server = await startServer();
  });
  after(async () => {
    if (!HAS_GRPC_TOOLS) return;
    await server.stop();
    rmSync(folder, { recursive: true });
  });

  const needs = HAS_GRPC_TOOLS ? "" : " (pending: python3 cannot import grpc and grpc_tools)";
  (HAS_GRPC_TOOLS ? it : it.skip)(`tells the story through a generated SDK${needs}`, async () => {
    const block = readFileSync(join(PROJECT_DIR, "README.md"), "utf8")
      .split("<!-- run: python -->\n```sh\n")[1]
      ?.split("\n```\n")[0];
    const script = block?.replaceAll("sdk/python", folder).replaceAll("localhost:50051", server.address) ?? "exit 1";
    const { output, failed } = await new Promise<{ output: string; failed: boolean }>((resolve) => {
      execFile("sh", ["-ec", `exec 2>&1\n${script}`], { cwd: PROJECT_DIR }, (error, stdout) =>
        resolve({ output: stdout, failed: error !== null }),
      );
    });
    expect(failed, output).to.equal(false);
    expect(output.trim().split("\n")).to.deep.equal([
      "before: Ada 100000, Bob 50000",
      "after: Ada 90000, Bob 60000, replayed False",
      "again: the same transaction True, replayed True",
      "too much: FAILED_PRECONDITION INSUFFICIENT_FUNDS, available 90000",
      "Ada's list shows the lunch: True",
      "Bob's list shows the lunch: True",
      "the books add up: True",
    ]);
  });
});
