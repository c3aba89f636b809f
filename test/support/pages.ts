import { readFileSync } from "node:fs";
import { join } from "node:path";
import { PROJECT_DIR } from "../../src/config/config.js";

/** Reads the commands of the fenced block after the mark `<!-- run: … -->` on a page of the project. */
export function readBlock(page: string, name: string): string {
  const text = readFileSync(join(PROJECT_DIR, page), "utf8");
  const block = text.split(`<!-- run: ${name} -->\n\`\`\`sh\n`)[1]?.split("\n```\n")[0];
  if (block === undefined) throw new Error(`${page} has no block ${name}`);
  return block;
}
