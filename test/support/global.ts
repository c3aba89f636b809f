import { stopCluster } from "./cluster.js";

/** Stops PostgreSQL; Mocha calls it after the last test. */
export async function mochaGlobalTeardown(): Promise<void> {
  await stopCluster();
}
