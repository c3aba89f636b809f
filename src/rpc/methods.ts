import type {
  handleBidiStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
  ServiceDefinition,
  UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { bidiStreamHandler, type BidiStreamMethod } from "./bidi-streams.js";
import { Endpoint } from "./incoming-call.js";
import type { Pipeline } from "./pipeline.js";
import { serverStreamHandler, type ServerStreamMethod } from "./server-streams.js";
import { unaryHandler, type UnaryMethod } from "./unary.js";

/** A method of a generated service definition. */
interface Definition<RequestStream extends boolean, ResponseStream extends boolean, Request, Response> {
  readonly path: string;
  readonly requestStream: RequestStream;
  readonly responseStream: ResponseStream;
  readonly requestDeserialize: (bytes: Buffer) => Request;
  readonly responseSerialize: (message: Response) => Buffer;
}

/** The implementation of a service: one member for each method of the definition, and no other. */
export type Methods<Service> = {
  readonly [M in keyof Service]: Service[M] extends Definition<false, false, infer Request, infer Response>
    ? UnaryMethod<Request, Response>
    : Service[M] extends Definition<true, true, infer Request, infer Response>
      ? BidiStreamMethod<Request, Response>
      : Service[M] extends Definition<false, true, infer Request, infer Response>
        ? ServerStreamMethod<Request, Response>
        : never;
};

/** A definition and its implementation, as grpc-js takes them. */
export interface BoundService {
  readonly definition: ServiceDefinition;
  readonly implementation: UntypedServiceImplementation;
}

/**
 * Binds the methods of a service to its definition. What every call goes through is in incoming-call.ts, and how the messages
 * of each kind of method flow is in unary.ts, server-streams.ts and bidi-streams.ts.
 * @param methods returns undefined until the database has been reached
 */
export function bindMethods<Service extends object>(
  service: Service,
  methods: () => Methods<Service> | undefined,
  pipeline: Pipeline,
): BoundService {
  const bound: Record<string, unknown> = {};
  const implementation: Record<string, Handler> = {};
  for (const [name, method] of Object.entries(service) as [string & keyof Service, AnyDefinition][]) {
    // Requests are validated before they are decoded; grpc-js would answer a throwing deserializer with its own error.
    bound[name] = { ...method, requestDeserialize: (bytes: Buffer) => bytes };
    const endpoint = <Method>() => new Endpoint(method, () => methods()?.[name] as Method | undefined, pipeline);
    if (method.requestStream) implementation[name] = bidiStreamHandler(endpoint());
    else if (method.responseStream) implementation[name] = serverStreamHandler(endpoint());
    else implementation[name] = unaryHandler(endpoint());
  }
  return { definition: bound as unknown as ServiceDefinition, implementation };
}

type AnyDefinition = Definition<boolean, boolean, object, object>;
type Handler =
  handleUnaryCall<Buffer, object> | handleBidiStreamingCall<Buffer, object> | handleServerStreamingCall<Buffer, object>;
