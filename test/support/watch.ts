import { status, type ClientReadableStream, type ServiceError } from "@grpc/grpc-js";
import { CallError } from "./client.js";
import { eventually } from "./process.js";

/** An open watch. */
export interface Watch<Message> {
  /** The messages so far. */
  readonly messages: readonly Message[];
  readonly stream: ClientReadableStream<Message>;
  /** The error that ended it; undefined if it was cancelled or ended normally. */
  readonly ended: Promise<CallError | undefined>;
  /** Resolves once the condition holds; rejects if the watch ends before. */
  until(what: string, condition: (messages: readonly Message[]) => boolean, timeoutMs?: number): Promise<void>;
  cancel(): void;
}

/** Follows the stream and waits for its first message, after which nothing is missed. */
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
