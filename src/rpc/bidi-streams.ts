import type { handleBidiStreamingCall, ServerDuplexStream } from "@grpc/grpc-js";
import type { Status } from "../../generated/google/rpc/status.js";
import { fail, FailureError } from "../base/failure.js";
import type { CallContext } from "./context.js";
import { IncomingCall, type Endpoint } from "./incoming-call.js";

/** A bidirectional streaming method: answers each message with one message. */
export interface BidiStreamMethod<Request, Response> {
  /** Returns the request_id of the message, for its errors. */
  readonly readRequestId: (request: Request) => string;
  readonly answer: (request: Request, context: CallContext) => Promise<Response>;
  /** Returns the answer to a message that is refused; the stream goes on. */
  readonly refuse: (request: Request, error: Status) => Response;
}

/** The messages of one stream that are worked on at once. The transport holds back the others, which slows down their sender. */
const ITEMS_IN_FLIGHT_MAX = 1_024;

/**
 * Creates the handler of a bidirectional streaming method. Messages reach the method in the order in which they arrive. The
 * stream is read no faster than its answers are taken, so that neither waiting messages nor waiting answers pile up.
 */
export function bidiStreamHandler(
  endpoint: Endpoint<BidiStreamMethod<object, object>>,
): handleBidiStreamingCall<Buffer, object> {
  const { admission, draining, serverStreams } = endpoint.pipeline;

  return (call: ServerDuplexStream<Buffer, object>) => {
    const incoming = new IncomingCall(endpoint, call);
    const counts = { items: 0, refused: 0 };
    let open = 0;
    let isSlow = false;
    let stalling: NodeJS.Timeout | undefined;
    let hasEnded = false;
    let isOver = false;
    /** The reason for taking no more messages; the stream ends once those before are answered. */
    let ending: FailureError | undefined;

    const regulate = (): void => {
      if (draining.aborted) ending ??= new FailureError({ reason: "SHUTTING_DOWN" });
      if (isSlow || open >= ITEMS_IN_FLIGHT_MAX || ending !== undefined) call.pause();
      else if (call.isPaused()) call.resume();
      if (open === 0 && (hasEnded || ending !== undefined)) finish(ending);
    };

    const finish = (failure?: FailureError): void => {
      if (isOver) return;
      isOver = true;
      clearTimeout(stalling);
      draining.removeEventListener("abort", regulate);
      incoming.endStream(call, failure, counts);
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
      stalling = setTimeout(() => finish(new FailureError({ reason: "WATCHER_TOO_SLOW" })), serverStreams.stallMs);
    };

    /** Answers one message. Throws only what ends the stream: a failure that no message can answer. */
    const answer = async (received: Buffer): Promise<void> => {
      const method = endpoint.findImplementation();
      const { item, violations } = endpoint.parseItem(received);
      const ids = { requestId: method.readRequestId(item), traceId: incoming.traceId };
      try {
        if (!admission.admitsItem()) fail({ reason: "OVERLOADED" });
        if (violations.length > 0) fail({ reason: "INVALID_REQUEST", violations });
        const context = incoming.createContext(ids);
        context.assertWaiting();
        respond(await method.answer(item, context));
      } catch (error) {
        counts.refused += 1;
        const failure = await incoming.toFailureWithCurrency(error, ids);
        respond(method.refuse(item, incoming.toStatus(failure, ids)));
      }
    };

    call.on("data", (bytes: Buffer) => {
      // Messages that are read after the end stay unanswered.
      if (isOver || ending !== undefined) return;
      counts.items += 1;
      open += 1;
      admission.enterItem();
      answer(bytes)
        .catch((error: unknown) => {
          ending ??= incoming.toFailure(error);
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
    // The transport reports broken connections; the log line reports the end of the stream.
    call.on("error", () => undefined);
    draining.addEventListener("abort", regulate);
    try {
      incoming.assertHeaders();
    } catch (error) {
      ending = incoming.toFailure(error);
    }
    regulate();
  };
}
