// Links the project's own command, so that `npx grey` works in the clone: npm links only those of dependencies.
import { mkdirSync, rmSync, symlinkSync, writeFileSync, existsSync } from "node:fs";
import { join } from "node:path";

const folder = join(import.meta.dirname, "..", "node_modules", ".bin");
if (existsSync(join(folder, ".."))) {
  mkdirSync(folder, { recursive: true });
  if (process.platform === "win32") {
    writeFileSync(join(folder, "grey.cmd"), '@node "%~dp0\\..\\..\\bin\\grey.js" %*\r\n');
  } else {
    rmSync(join(folder, "grey"), { force: true });
    symlinkSync("../../bin/grey.js", join(folder, "grey"));
  }
}
