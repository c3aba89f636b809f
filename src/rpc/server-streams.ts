import type { Writable } from "node:stream";
import type { handleServerStreamingCall } from "@grpc/grpc-js";
import { fail, FailureError } from "../base/failure.js";
import { createContext, type CallContext } from "./context.js";
import { IncomingCall, type Endpoint } from "./incoming-call.js";

/** A server-streaming method. */
export interface ServerStreamMethod<Request, Response> {
  /**
   * Produces the messages. The next one is pulled once the client has taken those before.
   * @param signal aborted when the stream ends
   */
  readonly stream: (request: Request, context: CallContext, signal: AbortSignal) => AsyncIterable<Response>;
  /** Returns the journal index at which a new stream continues after this message; for streams that follow the journal. */
  readonly resumeAt?: (last: Response) => bigint;
}

/**
 * Creates the handler of a server-streaming method. It sends no faster than the client takes. A stream that the server ends
 * reports where a new one continues.
 */
export function serverStreamHandler(
  endpoint: Endpoint<ServerStreamMethod<object, object>>,
): handleServerStreamingCall<Buffer, object> {
  const { serverStreams, draining } = endpoint.pipeline;

  return (call) => {
    const incoming = new IncomingCall(endpoint, call);
    const ending = new AbortController();
    const counts = { messages: 0 };
    let resumeJournalIndex: string | undefined;

    const finish = (failure?: FailureError): void => {
      if (ending.signal.aborted) return;
      ending.abort();
      serverStreams.open -= 1;
      draining.removeEventListener("abort", shutDown);
      incoming.endStream(call, failure, counts);
    };

    const resumption = () => resumeJournalIndex !== undefined && { resumeJournalIndex };
    const shutDown = (): void => finish(new FailureError({ reason: "SHUTTING_DOWN", ...resumption() }));

    const sendAll = async (): Promise<void> => {
      if (serverStreams.open > serverStreams.max) fail({ reason: "OVERLOADED" });
      const method = endpoint.findImplementation();
      incoming.assertHeaders();
      const request = endpoint.parse(call.request);
      // A stream lasts as long as its caller wants.
      const deadline = { deadlineMs: Number(call.getDeadline()), isSetByCaller: true };
      const context = createContext(call, deadline, incoming);
      for await (const message of method.stream(request, context, ending.signal)) {
        if (ending.signal.aborted) return;
        const taken = write(call, message);
        resumeJournalIndex = method.resumeAt?.(message).toString();
        counts.messages += 1;
        if (taken !== undefined && !(await isInTime(taken, serverStreams.stallMs, ending.signal)))
          fail({ reason: "WATCHER_TOO_SLOW", ...resumption() });
      }
    };

    serverStreams.open += 1;
    draining.addEventListener("abort", shutDown);
    call.on("cancelled", () => finish(new FailureError({ reason: "CALLER_GONE" })));
    // The transport reports broken connections; the log line reports the end of the stream.
    call.on("error", () => undefined);
    if (draining.aborted) return shutDown();
    sendAll().then(
      () => finish(),
      (error: unknown) => finish(incoming.toFailure(error)),
    );
  };
}

/**
 * Writes a message to a stream.
 * @returns undefined when the next one may follow at once; else a promise that resolves when it may
 */
export function write(call: Writable, message: object): Promise<void> | undefined {
  let onWritten: () => void = () => undefined;
  call.write(message, () => onWritten());
  if (call.writableLength === 0) return undefined;
  return new Promise((resolve) => {
    onWritten = resolve;
  });
}

/** Waits until the client has taken the message; false after `stallMs`. The end of the stream also counts as taken. */
function isInTime(taken: Promise<void>, stallMs: number, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const end = (isTaken: boolean): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", onTaken);
      resolve(isTaken);
    };
    const onTaken = (): void => end(true);
    const timer = setTimeout(() => end(false), stallMs);
    taken.then(onTaken, onTaken);
    signal.addEventListener("abort", onTaken);
  });
}
