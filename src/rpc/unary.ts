import type { handleUnaryCall, sendUnaryData } from "@grpc/grpc-js";
import { FailureError } from "../base/failure.js";
import type { CallTiming } from "./admission.js";
import type { CallContext } from "./context.js";
import { IncomingCall, type Endpoint } from "./incoming-call.js";
import { createTrailers } from "./status.js";
import { setTrailers } from "./trailers.js";

/** A unary method: answers a request with one message, or throws a failure. */
export type UnaryMethod<Request, Response> = (request: Request, context: CallContext) => Promise<Response>;

/** Creates the handler of a unary method. */
export function unaryHandler(endpoint: Endpoint<UnaryMethod<object, object>>): handleUnaryCall<Buffer, object> {
  const { admission } = endpoint.pipeline;

  async function answer(incoming: IncomingCall, bytes: Buffer, timing: CallTiming): Promise<object> {
    const method = endpoint.findImplementation();
    incoming.assertHeaders();
    const request = endpoint.parse(bytes);
    if ("requestId" in request && typeof request.requestId === "string")
      incoming.requestId = request.requestId.toLowerCase();
    const context = incoming.createContext();
    context.assertWaiting();
    if ("minJournalIndex" in request && typeof request.minJournalIndex === "bigint") {
      return method(request, {
        ...context,
        minJournalIndex: request.minJournalIndex,
        withoutSlot: (wait) => waitWithoutSlot(wait, timing),
      });
    }
    return method(request, context);
  }

  /** Waits without holding the call's admission slot: the wait is not work of the service. */
  async function waitWithoutSlot<T>(wait: Promise<T>, timing: CallTiming): Promise<T> {
    admission.releaseSlot();
    try {
      return await wait;
    } finally {
      admission.retakeSlot(timing);
    }
  }

  function refuse(incoming: IncomingCall, callback: sendUnaryData<object>, failure: FailureError): void {
    callback(incoming.toGrpcError(failure));
    admission.leave();
    incoming.log(failure);
  }

  return (call, callback) => {
    const incoming = new IncomingCall(endpoint, call);
    const timing = admission.enter();
    if (!admission.admits()) {
      refuse(incoming, callback, new FailureError({ reason: "OVERLOADED" }));
      return;
    }
    answer(incoming, call.request, timing).then(
      (response) => {
        callback(null, response, setTrailers(call.metadata, createTrailers(incoming)));
        admission.leave();
        admission.answered(timing, true);
        incoming.log();
      },
      async (error: unknown) => {
        const failure = await incoming.toFailureWithCurrency(error);
        refuse(incoming, callback, failure);
        admission.answered(timing, failure.failure.reason !== "CALLER_GONE");
      },
    );
  };
}
