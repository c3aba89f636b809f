import { stopCluster } from "./cluster.js";

/** Mocha runs it after the last test. */
export async function mochaGlobalTeardown(): Promise<void> {
  await stopCluster();
}
