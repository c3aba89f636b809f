import {
  status,
  type handleBidiStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  type ServerUnaryCall,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { fail, FailureError } from "../base/failure.js";
import type { CallTiming } from "./admission.js";
import { resolveDeadline, headerViolations, logCall, openCall, type CallState } from "./call.js";
import { createContext, type CallContext } from "./context.js";
import { CODE, toGrpcError, createTrailers } from "./status.js";
import { knownFailure, retryDelayMs, withCurrency, type Pipeline } from "./pipeline.js";
import { bidiStreamHandler, type BidiStreamMethod } from "./bidi-streams.js";
import { setTrailers } from "./trailers.js";
import { serverStreamHandler, type ServerStreamMethod } from "./server-streams.js";

/** One method of a generated service definition. */
interface UnaryDefinition<Request, Response> {
  readonly path: string;
  readonly requestStream: false;
  readonly responseStream: false;
  readonly requestDeserialize: (bytes: Buffer) => Request;
  readonly responseSerialize: (message: Response) => Buffer;
}

/** A server's stream of a generated service definition. */
interface WatchDefinition<Request, Response> {
  readonly path: string;
  readonly requestStream: false;
  readonly responseStream: true;
  readonly requestDeserialize: (bytes: Buffer) => Request;
  readonly responseSerialize: (message: Response) => Buffer;
}

/** A bidirectional stream of a generated service definition. */
interface StreamDefinition<Request, Response> {
  readonly path: string;
  readonly requestStream: true;
  readonly responseStream: true;
  readonly requestDeserialize: (bytes: Buffer) => Request;
  readonly responseSerialize: (message: Response) => Buffer;
}

/** A service as Grey writes it: a function for each method of the definition, and for no other; for a stream, of its items. */
export type Methods<Definition> = {
  readonly [M in keyof Definition]: Definition[M] extends UnaryDefinition<infer Request, infer Response>
    ? (request: Request, context: CallContext) => Promise<Response>
    : Definition[M] extends StreamDefinition<infer Request, infer Response>
      ? BidiStreamMethod<Request, Response>
      : Definition[M] extends WatchDefinition<infer Request, infer Response>
        ? ServerStreamMethod<Request, Response>
        : never;
};

/** A definition and its implementation, as grpc-js takes them. */
export interface BoundService {
  readonly definition: ServiceDefinition;
  readonly implementation: UntypedServiceImplementation;
}

/**
 * Binds methods to their definition. Each call goes through: load → ids → validation of the bytes it came as → decode →
 * the method → trailers → one log line. A failure leaves as a gRPC error, an unknown error as INTERNAL.
 * @param methods gives undefined while the database has not been reached yet
 */
export function bindMethods<Definition extends object>(
  definition: Definition,
  methods: () => Methods<Definition> | undefined,
  pipeline: Pipeline,
): BoundService {
  const bound: Record<string, unknown> = {};
  const implementation: Record<string, Handler> = {};
  for (const [name, method] of Object.entries(definition) as [string & keyof Definition, AnyDefinition][]) {
    // The bytes are validated before they are decoded; grpc-js would answer a throwing deserializer with its own error.
    bound[name] = { ...method, requestDeserialize: (bytes: Buffer) => bytes };
    implementation[name] = method.requestStream
      ? bidiStreamHandler(method, () => methods()?.[name] as BidiStreamMethod<object, object> | undefined, pipeline)
      : method.responseStream
        ? serverStreamHandler(
            method,
            () => methods()?.[name] as ServerStreamMethod<object, object> | undefined,
            pipeline,
          )
        : unaryHandler(method, () => methods()?.[name] as Method | undefined, pipeline);
  }
  return { definition: bound as unknown as ServiceDefinition, implementation };
}

type AnyDefinition =
  UnaryDefinition<object, object> | StreamDefinition<object, object> | WatchDefinition<object, object>;
type Handler =
  | handleUnaryCall<Buffer, unknown>
  | handleBidiStreamingCall<Buffer, object>
  | handleServerStreamingCall<Buffer, object>;
type Method = (request: object, context: CallContext) => Promise<object>;

function unaryHandler(
  definition: UnaryDefinition<object, object>,
  methodWhenReady: () => Method | undefined,
  pipeline: Pipeline,
): handleUnaryCall<Buffer, unknown> {
  const { admission, logger, findCurrency } = pipeline;
  const validate = pipeline.validatorFor(definition.path);

  async function answer(call: ServerUnaryCall<Buffer, unknown>, state: CallState, stay: CallTiming): Promise<object> {
    const method = methodWhenReady() ?? fail({ reason: "DATABASE_UNAVAILABLE" });
    const wrongHeaders = headerViolations(call.metadata, pipeline.metadataBytesMax);
    if (wrongHeaders.length > 0) fail({ reason: "INVALID_REQUEST", violations: wrongHeaders });
    const { violations, bytes } = validate(call.request);
    if (bytes === undefined || violations.length > 0) fail({ reason: "INVALID_REQUEST", violations });
    const request = definition.requestDeserialize(bytes);
    if ("requestId" in request && typeof request.requestId === "string")
      state.requestId = request.requestId.toLowerCase();
    const context = createContext(call, resolveDeadline(call, pipeline.callTimeoutMs), state);
    context.assertWaiting();
    if ("minJournalIndex" in request && typeof request.minJournalIndex === "bigint")
      return method(request, { ...context, minJournalIndex: request.minJournalIndex, withoutSlot: asideOf(stay) });
    return method(request, context);
  }

  /** What a read that waits for the journal waits in. */
  function asideOf(stay: CallTiming) {
    return async <T>(wait: Promise<T>): Promise<T> => {
      admission.releaseSlot();
      try {
        return await wait;
      } finally {
        admission.retakeSlot(stay);
      }
    };
  }

  return (call, callback) => {
    const started = process.hrtime.bigint();
    const state = openCall(call.metadata);
    const stay = admission.enter();
    const refuse = (known: FailureError): void => {
      callback(toGrpcError(known, state, retryDelayMs(known, pipeline)));
      admission.leave();
      logCall(logger, definition.path, state, started, status[CODE[known.failure.reason]], known);
    };
    if (!admission.admits()) {
      refuse(new FailureError({ reason: "OVERLOADED" }));
      return;
    }
    answer(call, state, stay).then(
      (response) => {
        callback(null, response, setTrailers(call.metadata, createTrailers(state)));
        admission.leave();
        admission.answered(stay, true);
        logCall(logger, definition.path, state, started, "OK");
      },
      async (error: unknown) => {
        const known = await withCurrency(knownFailure(error, logger, definition.path, state), findCurrency);
        refuse(known);
        admission.answered(stay, known.failure.reason !== "CALLER_GONE");
      },
    );
  };
}
