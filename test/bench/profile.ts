import { readdir, readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { PROJECT_DIR } from "../../src/config/config.js";

/** The relevant parts of V8's .cpuprofile. */
interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly samples: readonly number[];
  /** Microseconds since the previous sample. */
  readonly timeDeltas: readonly number[];
}

const LINES_MAX = 50;
/** Frames in which the event loop waits. */
const IDLE = "(idle)";

/** Renders, for each CPU profile in the folder, the functions with the most self time. */
export async function summariseProfiles(folder: string): Promise<string> {
  const files = (await readdir(folder)).filter((file) => file.endsWith(".cpuprofile"));
  const texts = await Promise.all(
    files.map(
      async (file) => `${file}\n${summarise(JSON.parse(await readFile(join(folder, file), "utf8")) as CpuProfile)}`,
    ),
  );
  return texts.join("\n\n");
}

function summarise({ nodes, samples, timeDeltas }: CpuProfile): string {
  const places = new Map(nodes.map((node) => [node.id, describeLocation(node.callFrame)]));
  const selfUs = new Map<string, number>();
  samples.forEach((id, index) => {
    const place = places.get(id) ?? "(unknown)";
    selfUs.set(place, (selfUs.get(place) ?? 0) + (timeDeltas[index] ?? 0));
  });
  const idleUs = selfUs.get(IDLE) ?? 0;
  selfUs.delete(IDLE);
  const busyUs = [...selfUs.values()].reduce((sum, us) => sum + us, 0);
  const lines = [...selfUs]
    .sort(([, a], [, b]) => b - a)
    .slice(0, LINES_MAX)
    .map(
      ([place, us]) =>
        `${((100 * us) / busyUs).toFixed(1).padStart(6)} %  ${(us / 1_000).toFixed(0).padStart(8)} ms  ${place}`,
    );
  const seconds = (us: number): string => `${(us / 1e6).toFixed(1)} s`;
  return [`busy ${seconds(busyUs)}, idle ${seconds(idleUs)}; self time by function:`, ...lines].join("\n");
}

function describeLocation({ functionName, url, lineNumber }: CpuProfile["nodes"][number]["callFrame"]): string {
  const name = functionName === "" ? "(anonymous)" : functionName;
  if (url === "") return name;
  const file = url.startsWith("file://") ? relative(PROJECT_DIR, fileURLToPath(url)) : url;
  return `${name}  ${file}:${lineNumber + 1}`;
}
