import type { Writable } from "node:stream";
import { status, type handleServerStreamingCall } from "@grpc/grpc-js";
import { fail, FailureError } from "../base/failure.js";
import { headerViolations, logCall, openCall } from "./call.js";
import { createContext, type CallContext } from "./context.js";
import { knownFailure, retryDelayMs, type Pipeline } from "./pipeline.js";
import { CODE, toGrpcError, createTrailers } from "./status.js";

/** A method that goes on telling, until its caller ends it or everything is told. */
export interface ServerStreamMethod<Request, Response> {
  /** The next message is asked for when the client has taken those before. @param signal the end */
  readonly stream: (request: Request, context: CallContext, signal: AbortSignal) => AsyncIterable<Response>;
  /** Where in the journal a new watch goes on after this message; for what follows the journal. */
  readonly resumeAt?: (last: Response) => bigint;
}

/**
 * Sends what a watch tells, no faster than the client takes it. The watch ends with its caller or the server; an end that
 * the server makes says where to go on.
 */
export function serverStreamHandler(
  definition: { readonly path: string; readonly requestDeserialize: (bytes: Buffer) => object },
  methodWhenReady: () => ServerStreamMethod<object, object> | undefined,
  pipeline: Pipeline,
): handleServerStreamingCall<Buffer, object> {
  const { logger, serverStreams: watches, draining } = pipeline;
  const validate = pipeline.validatorFor(definition.path);

  return (call) => {
    const started = process.hrtime.bigint();
    const state = openCall(call.metadata);
    const ending = new AbortController();
    const counts = { messages: 0 };
    let resumeJournalIndex: string | undefined;

    const finish = (error?: FailureError): void => {
      if (ending.signal.aborted) return;
      ending.abort();
      watches.open -= 1;
      draining.removeEventListener("abort", shutDown);
      if (error === undefined) call.end(createTrailers(state));
      else call.emit("error", toGrpcError(error, state, retryDelayMs(error, pipeline)));
      const code = error === undefined ? "OK" : status[CODE[error.failure.reason]];
      logCall(logger, definition.path, state, started, code, error, counts);
    };

    const resumption = () => resumeJournalIndex !== undefined && { resumeJournalIndex };
    const shutDown = (): void => finish(new FailureError({ reason: "SHUTTING_DOWN", ...resumption() }));

    const tell = async (): Promise<void> => {
      if (watches.open > watches.max) fail({ reason: "OVERLOADED" });
      const method = methodWhenReady() ?? fail({ reason: "DATABASE_UNAVAILABLE" });
      const wrongHeaders = headerViolations(call.metadata, pipeline.metadataBytesMax);
      if (wrongHeaders.length > 0) fail({ reason: "INVALID_REQUEST", violations: wrongHeaders });
      const { violations, bytes } = validate(call.request);
      if (bytes === undefined || violations.length > 0) fail({ reason: "INVALID_REQUEST", violations });
      // A watch lasts as long as its caller wants.
      const deadline = { deadlineMs: Number(call.getDeadline()), isSetByCaller: true };
      const context = createContext(call, deadline, state);
      for await (const message of method.stream(definition.requestDeserialize(bytes), context, ending.signal)) {
        if (ending.signal.aborted) return;
        const taken = write(call, message);
        resumeJournalIndex = method.resumeAt?.(message).toString();
        counts.messages += 1;
        if (taken !== undefined && !(await isInTime(taken, watches.stallMs, ending.signal)))
          fail({ reason: "WATCHER_TOO_SLOW", ...resumption() });
      }
    };

    watches.open += 1;
    draining.addEventListener("abort", shutDown);
    call.on("cancelled", () => finish(new FailureError({ reason: "CALLER_GONE" })));
    // The transport reports what broke; the log line says that the watch is over.
    call.on("error", () => undefined);
    if (draining.aborted) return shutDown();
    tell().then(
      () => finish(),
      (error: unknown) => finish(knownFailure(error, logger, definition.path, state)),
    );
  };
}

/**
 * Writes a message to a stream.
 * @returns undefined when the next one may follow at once; else a promise of the moment when it may
 */
export function write(call: Writable, message: object): Promise<void> | undefined {
  let tell: () => void = () => undefined;
  call.write(message, () => tell());
  if (call.writableLength === 0) return undefined;
  return new Promise((resolve) => {
    tell = resolve;
  });
}

/** Waits until it is time for the next message; false when the client takes nothing for so long. An end is in time. */
function isInTime(taken: Promise<void>, stallMs: number, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const end = (isDone: boolean): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", onTaken);
      resolve(isDone);
    };
    const onTaken = (): void => end(true);
    const timer = setTimeout(() => end(false), stallMs);
    taken.then(onTaken, onTaken);
    signal.addEventListener("abort", onTaken);
  });
}
