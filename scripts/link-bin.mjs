// npm links the commands of dependencies, not those of the project itself: this lets `npx grey` work in the clone.
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
