import { execFile, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect } from "chai";
import { PROJECT_DIR } from "../../src/config/config.js";
import { readBlock } from "../support/pages.js";
import { startServer, type TestServer } from "../support/server.js";

const README = readFileSync(join(PROJECT_DIR, "README.md"), "utf8");
const TOUR = "docs/tour.md";
const HERE = "localhost:50051";
const HAS_GRPCURL = spawnSync("grpcurl", ["-version"]).status === 0;

/** Without grpcurl, buf makes the README's calls; the arguments are -plaintext [-d data] address method-or-list. */
const GRPCURL_BY_BUF = `
grpcurl() {
  if [ "$2" = -d ]; then
    npx buf curl --protocol grpc --http2-prior-knowledge -d "$3" "http://$4/$5"
  else
    npx buf curl --protocol grpc --http2-prior-knowledge --list-services "http://$2"
  fi
}`;

/**
 * Runs the page's blocks in one shell, in the clone, against the server.
 * @returns the output of each, including errors; a repeated block has its name with an apostrophe
 */
function type(address: string, page: string, names: readonly string[]): Promise<Map<string, string>> {
  const script = [
    ...(HAS_GRPCURL ? [] : [GRPCURL_BY_BUF]),
    ...names.map(
      (name) => `printf '\\n@@ %s\\n' "${name}"\n${readBlock(page, name.replace("'", "")).replaceAll(HERE, address)}`,
    ),
  ].join("\n");
  // npx must not use a registry: npm ci has installed everything that the README calls.
  const env = {
    ...process.env,
    GREY_ADDRESS: address,
    npm_config_offline: "true",
    npm_config_update_notifier: "false",
  };
  return new Promise((resolve) => {
    execFile("sh", ["-c", `exec 2>&1\n${script}`], { cwd: PROJECT_DIR, env }, (_error, output) => {
      const parts = output.split("\n@@ ").slice(1);
      resolve(new Map(parts.map((part) => [part.slice(0, part.indexOf("\n")), part.slice(part.indexOf("\n") + 1)])));
    });
  });
}

describe("the README and the tour", () => {
  let server: TestServer;
  let printed: Map<string, string>;

  before(async function () {
    // Some twenty commands, each a separate process.
    this.timeout(240_000);
    server = await startServer();
    printed = new Map([
      ...(await type(server.address, "README.md", ["story", "story'"])),
      ...(await type(server.address, TOUR, ["grpcurl", "again", "buf", "grey"])),
    ]);
  });
  after(() => server.stop());

  /** Returns the output of a block; a failing assertion shows it in full. */
  const out = (name: string): string => printed.get(name) ?? "";

  it("run the story with the command `grey`, twice", () => {
    for (const text of [out("story"), out("story'")]) {
      expect(text)
        .to.match(/^debit .* 100\.00 USD/m)
        .and.to.match(/ 600\.00 USD/)
        .and.to.match(/lunch$/m)
        .and.to.include("The books balance.");
      expect(text).not.to.include("grey: ");
    }
  });

  it(`move 100.00 from Ada to Bob (typed with ${HAS_GRPCURL ? "grpcurl" : "buf curl, since grpcurl is not installed"})`, () => {
    const text = out("grpcurl");
    expect(text).to.include("grey.transaction.v1.TransactionService\n").and.to.include("grpc.health.v1.Health\n");
    expect(text).to.include('"state": "TRANSACTION_STATE_POSTED"');
    expect(text).to.match(/"balanceAfter": {\s+"currencyCode": "USD",\s+"minorUnits": "90000"/);
    expect(text).to.match(/"balanceAfter": {\s+"currencyCode": "USD",\s+"minorUnits": "60000"/);
    expect(text).to.include('"transactions": [').and.to.include('"kind": "TRANSACTION_KIND_OPENING"');
    expect(text).not.to.match(/ERROR|"code": "/);
  });

  it("get the same reply again, and a refusal of a different request with the same id", () => {
    const text = out("again");
    expect(text).to.include('"replayed": true');
    expect(text.match(/"replayed": true/g)).to.have.lengthOf(1);
    expect(text).to.match(/Code: AlreadyExists|"code": "already_exists"/);
    expect(text).to.include("a different request already used this request_id");
    // buf leaves the details of an error encoded.
    if (HAS_GRPCURL) expect(text).to.include('"REQUEST_ID_REUSED"').and.to.include('"differs": "amount.minor_units"');
  });

  it("do the same with buf", () => {
    const text = out("buf");
    expect(text).to.include("grey.ledger.v1.LedgerService\n");
    expect(text).to.match(/"available": {\s+"currencyCode": "USD",\s+"minorUnits": "60000"/);
    expect(text).to.include('"ok": true');
  });

  it("do the same with the command `grey`", () => {
    const text = out("grey");
    expect(text)
      .to.match(/grace-\d+@example\.com/)
      .and.to.include("250.00 USD");
    expect(text)
      .to.match(/^debit .* 12\.34 USD/m)
      .and.to.match(/ 612\.34 USD/);
    expect(text)
      .to.match(/lunch$/m)
      .and.to.match(/coffee$/m);
    expect(text)
      .to.match(/^users +5 created$/m)
      .and.to.match(/^transactions +50 created$/m);
    expect(text).to.include("The books balance.");
    expect(text).to.include("GREY_PORT=");
    expect(text).not.to.include("grey: ");
  });

  it("use two npm commands that exist", () => {
    const { scripts } = JSON.parse(readFileSync(join(PROJECT_DIR, "package.json"), "utf8")) as {
      scripts: Record<string, string>;
    };
    expect(README).to.include("npm ci && npm start ").and.to.include("\nnpm test ");
    expect(scripts).to.include.keys("start", "test");
  });

  it("link only to files and headings that exist, like every page in docs/", () => {
    const pages = [
      "README.md",
      "CONTRIBUTING.md",
      ...readdirSync(join(PROJECT_DIR, "docs")).map((name) => `docs/${name}`),
    ];
    const broken = pages.filter((page) => page.endsWith(".md")).flatMap((page) => brokenLinksOf(page));
    expect(broken).to.deep.equal([]);
  });
});

/** Finds the links of a page to missing files and headings. */
function brokenLinksOf(page: string): string[] {
  const read = (path: string): string => readFileSync(join(PROJECT_DIR, path), "utf8");
  const links = [...read(page).matchAll(/\]\((?![a-z]+:)([^)\s]+)\)/g)].map(([, link = ""]) => link);
  return links
    .filter((link) => {
      const [path = "", heading] = link.split("#");
      const target = path === "" ? page : join(dirname(page), path);
      if (!existsSync(join(PROJECT_DIR, target))) return true;
      return heading !== undefined && !anchorsOf(read(target)).has(heading);
    })
    .map((link) => `${page}: ${link}`);
}

/** Returns the anchors of all headings. */
function anchorsOf(markdown: string): Set<string> {
  const headings = [...markdown.matchAll(/^#+ (.*)$/gm)].map(([, text = ""]) => text);
  return new Set(
    headings.map((text) =>
      text
        .toLowerCase()
        .replace(/[^\p{L}\d _-]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
}
