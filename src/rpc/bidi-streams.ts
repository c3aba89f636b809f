import { status, type handleBidiStreamingCall, type ServerDuplexStream } from "@grpc/grpc-js";
import { fail, FailureError } from "../base/failure.js";
import type { Status } from "../../generated/google/rpc/status.js";
import { resolveDeadline, headerViolations, logCall, openCall } from "./call.js";
import { createContext, type CallContext } from "./context.js";
import { knownFailure, retryDelayMs, withCurrency, type Pipeline } from "./pipeline.js";
import { CODE, toGrpcError, toStatus, createTrailers } from "./status.js";

/** A bidirectional stream as Grey writes it: what answers one message, each with one message. */
export interface BidiStreamMethod<Request, Response> {
  /** The request_id of the message, for its errors. */
  readonly readRequestId: (request: Request) => string;
  readonly answer: (request: Request, context: CallContext) => Promise<Response>;
  /** The answer to a message that is refused; the stream goes on. */
  readonly refuse: (request: Request, error: Status) => Response;
}

/** Messages of one stream that are worked on at once. What comes beyond waits in the transport, which slows its sender. */
const ITEMS_IN_FLIGHT_MAX = 1_024;

/**
 * Answers each message of a stream. Messages are handed to the method in the order in which they come. The stream is read
 * no faster than its answers are taken: neither waiting messages nor waiting answers grow.
 */
export function bidiStreamHandler(
  definition: { readonly path: string; readonly requestDeserialize: (bytes: Buffer) => object },
  methodWhenReady: () => BidiStreamMethod<object, object> | undefined,
  pipeline: Pipeline,
): handleBidiStreamingCall<Buffer, object> {
  const { admission, logger } = pipeline;
  const validate = pipeline.validatorFor(definition.path);

  return (call: ServerDuplexStream<Buffer, object>) => {
    const started = process.hrtime.bigint();
    const state = openCall(call.metadata);
    const counts = { items: 0, refused: 0 };
    let open = 0;
    let isSlow = false;
    let stalling: NodeJS.Timeout | undefined;
    let hasEnded = false;
    let isOver = false;
    /** Why no more messages are taken; the stream ends once those before are answered. */
    let ending: FailureError | undefined;

    const regulate = (): void => {
      if (pipeline.draining.aborted) ending ??= new FailureError({ reason: "SHUTTING_DOWN" });
      if (isSlow || open >= ITEMS_IN_FLIGHT_MAX || ending !== undefined) call.pause();
      else if (call.isPaused()) call.resume();
      if (open === 0 && (hasEnded || ending !== undefined)) finish(ending);
    };

    const finish = (error?: FailureError): void => {
      if (isOver) return;
      isOver = true;
      clearTimeout(stalling);
      pipeline.draining.removeEventListener("abort", regulate);
      if (error === undefined) call.end(createTrailers(state));
      else call.emit("error", toGrpcError(error, state, retryDelayMs(error, pipeline)));
      const code = error === undefined ? "OK" : status[CODE[error.failure.reason]];
      logCall(logger, definition.path, state, started, code, error, counts);
    };

    const respond = (response: object): void => {
      if (isOver || call.cancelled) return;
      call.write(response, () => {
        if (!isSlow) return;
        if (call.writableLength > 0) return stalling?.refresh();
        clearTimeout(stalling);
        isSlow = false;
        regulate();
      });
      if (call.writableLength === 0 || isSlow) return;
      isSlow = true;
      stalling = setTimeout(
        () => finish(new FailureError({ reason: "WATCHER_TOO_SLOW" })),
        pipeline.serverStreams.stallMs,
      );
    };

    /** Answers one message. Throws what ends the stream: what cannot be answered by a message. */
    const answer = async (received: Buffer): Promise<void> => {
      const method = methodWhenReady() ?? fail({ reason: "DATABASE_UNAVAILABLE" });
      const { violations, bytes } = validate(received);
      if (bytes === undefined) fail({ reason: "INVALID_REQUEST", violations });
      const request = definition.requestDeserialize(bytes);
      const ids = { requestId: method.readRequestId(request), traceId: state.traceId };
      try {
        if (!admission.admitsItem()) fail({ reason: "OVERLOADED" });
        if (violations.length > 0) fail({ reason: "INVALID_REQUEST", violations });
        const context = createContext(call, resolveDeadline(call, pipeline.callTimeoutMs), ids);
        context.assertWaiting();
        respond(await method.answer(request, context));
      } catch (error) {
        counts.refused += 1;
        const known = await withCurrency(
          knownFailure(error, logger, definition.path, { ...ids }),
          pipeline.findCurrency,
        );
        respond(method.refuse(request, toStatus(known, ids, retryDelayMs(known, pipeline))));
      }
    };

    call.on("data", (bytes: Buffer) => {
      // What is read after the end is left unanswered.
      if (isOver || ending !== undefined) return;
      counts.items += 1;
      open += 1;
      admission.enterItem();
      answer(bytes)
        .catch((error: unknown) => {
          ending ??= knownFailure(error, logger, definition.path, state);
        })
        .finally(() => {
          open -= 1;
          admission.leaveItem();
          regulate();
        });
      regulate();
    });
    call.on("end", () => {
      hasEnded = true;
      regulate();
    });
    call.on("cancelled", () => finish(new FailureError({ reason: "CALLER_GONE" })));
    // The transport reports what broke; the log line says that the stream is over.
    call.on("error", () => undefined);
    pipeline.draining.addEventListener("abort", regulate);
    const wrongHeaders = headerViolations(call.metadata, pipeline.metadataBytesMax);
    if (wrongHeaders.length > 0) ending = new FailureError({ reason: "INVALID_REQUEST", violations: wrongHeaders });
    regulate();
  };
}
