import { status, type ClientReadableStream, type ServiceError } from "@grpc/grpc-js";
import { CallError } from "./client.js";
import { eventually } from "./process.js";

/** A watch that a test has opened. */
export interface Watch<Message> {
  /** What it has told so far. */
  readonly messages: readonly Message[];
  readonly stream: ClientReadableStream<Message>;
  /** The error that it ended with; undefined when it was cancelled or ended well. */
  readonly ended: Promise<CallError | undefined>;
  /** Resolves once the condition holds; fails when the watch ends before. */
  until(what: string, condition: (messages: readonly Message[]) => boolean, timeoutMs?: number): Promise<void>;
  cancel(): void;
}

/** Follows the stream, and waits for its first message: from then on it misses nothing. */
export async function follow<Message>(stream: ClientReadableStream<Message>): Promise<Watch<Message>> {
  const messages: Message[] = [];
  let isOver = false;
  let failure: CallError | undefined;
  stream.on("data", (message: Message) => messages.push(message));
  const ended = new Promise<CallError | undefined>((resolve) => {
    stream.on("end", () => resolve(undefined));
    stream.on("error", (error: ServiceError) => {
      failure = error.code === status.CANCELLED && error.details.includes("client") ? undefined : new CallError(error);
      resolve(failure);
    });
  }).finally(() => (isOver = true));
  const until: Watch<Message>["until"] = (what, condition, timeoutMs) =>
    eventually(
      what,
      () => {
        if (condition(messages)) return true;
        if (isOver) throw failure ?? new Error(`the watch ended before ${what}`);
        return false;
      },
      timeoutMs,
    );
  await until("the first message", () => messages.length > 0);
  return { messages, stream, ended, until, cancel: () => stream.cancel() };
}
