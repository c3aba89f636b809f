// Puts beside the built code what tsc does not carry over.
import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
mkdirSync(join(root, "dist/generated"), { recursive: true });
copyFileSync(join(root, "generated/descriptors.binpb"), join(root, "dist/generated/descriptors.binpb"));
