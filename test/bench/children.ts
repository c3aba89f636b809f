import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { Cleanup } from "./cleanup.js";
import type { LoadPlan, LoadResult } from "./load-plan.js";

// The benchmark's processes besides Grey. Each exits when this one does.

/** Starts a program of this folder, to be ended at cleanup. */
export function startChild(cleanup: Cleanup, program: string, args: readonly string[] = []): ChildProcess {
  const child = fork(join(import.meta.dirname, program), args, {
    execArgv: [],
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const ended = once(child, "exit");
  const drop = cleanup.add(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  child.once("exit", drop);
  return child;
}

/** Returns the child's first message; throws if it exits without one. */
export function receiveMessage<T>(child: ChildProcess, program: string): Promise<T> {
  return new Promise((resolve, reject) => {
    child.once("message", (message) => resolve(message as T));
    child.once("exit", (code, signal) => reject(new Error(`${program} ended (${signal ?? code}) without an answer`)));
    child.once("error", reject);
  });
}

/** Runs a program that takes a plan and returns a result. */
export async function runChild<T>(cleanup: Cleanup, program: string, plan: object): Promise<T> {
  const child = startChild(cleanup, program);
  const answer = receiveMessage<{ result?: T; error?: string }>(child, program);
  child.send(plan);
  const { result, error } = await answer;
  if (result === undefined) throw new Error(`${program}: ${error ?? "no result"}`);
  return result;
}

/** Runs a load from a separate process. */
export function runLoad(cleanup: Cleanup, plan: LoadPlan): Promise<LoadResult> {
  return runChild(cleanup, "load-client.js", plan);
}

/** Starts a server program and returns its address. */
export async function startServing(
  cleanup: Cleanup,
  program: string,
  args: readonly string[] = [],
): Promise<{ readonly address: string; readonly pid: number; stop(): Promise<void> }> {
  const child = startChild(cleanup, program, args);
  const { address } = await receiveMessage<{ address: string }>(child, program);
  return {
    address,
    pid: child.pid ?? 0,
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, "exit");
      child.disconnect();
      await ended;
    },
  };
}
