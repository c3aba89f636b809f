import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { PROJECT_DIR, SETTINGS } from "../../src/config/config.js";

describe("docs/configuration.md", () => {
  it("names every setting with its default and what it is for", () => {
    const page = readFileSync(join(PROJECT_DIR, "docs/configuration.md"), "utf8");
    // A failing test prints the table to be copied.
    expect(page.split("<!-- configuration -->\n")[1]?.split("\n\n")[0]).to.equal(settingsTable());
  });
});

/** The table of settings as the page shows it. */
function settingsTable(): string {
  const rows = Object.entries(SETTINGS).map(([name, setting]) => {
    const shown = setting.default?.replace(PROJECT_DIR, "").replace(/^[/\\]/, "");
    return `| \`${name}\` | ${shown === undefined ? "" : `\`${shown}\``} | ${setting.about} |`;
  });
  return ["| variable | default | what it is for |", "|---|---|---|", ...rows].join("\n");
}
