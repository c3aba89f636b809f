import { status, type Metadata, type ServerDuplexStream, type ServerWritableStream } from "@grpc/grpc-js";
import type { Status } from "../../generated/google/rpc/status.js";
import { fail, FailureError, type FieldViolation } from "../base/failure.js";
import { newId } from "../base/ids.js";
import { describeError } from "../telemetry/logger.js";
import { parseTraceId } from "../telemetry/trace.js";
import { findCurrencyCode } from "./amounts.js";
import { createContext, resolveDeadline, type CallContext } from "./context.js";
import { findHeaderViolations, readIdHeader } from "./headers.js";
import type { Pipeline } from "./pipeline.js";
import { CODE, createTrailers, toGrpcError, toStatus, type CallIds, type GrpcError } from "./status.js";
import type { Validate } from "./validate.js";

/** A method of a generated service definition, as far as its handler needs it. */
export interface MethodDefinition {
  readonly path: string;
  readonly requestDeserialize: (bytes: Buffer) => object;
}

/** A method with its implementation and the rules for its requests. */
export class Endpoint<Method> {
  readonly path: string;
  readonly pipeline: Pipeline;
  readonly #findImplementation: () => Method | undefined;
  readonly #validate: Validate;
  readonly #deserialize: (bytes: Buffer) => object;

  /** @param findImplementation returns undefined until the database has been reached */
  constructor(definition: MethodDefinition, findImplementation: () => Method | undefined, pipeline: Pipeline) {
    this.path = definition.path;
    this.pipeline = pipeline;
    this.#findImplementation = findImplementation;
    this.#validate = pipeline.validatorFor(definition.path);
    this.#deserialize = definition.requestDeserialize;
  }

  /** Returns what implements the method. Fails: DATABASE_UNAVAILABLE */
  findImplementation(): Method {
    return this.#findImplementation() ?? fail({ reason: "DATABASE_UNAVAILABLE" });
  }

  /** Validates and decodes a request. Fails: INVALID_REQUEST */
  parse(received: Buffer): object {
    const { violations, bytes } = this.#validate(received);
    if (bytes === undefined || violations.length > 0) fail({ reason: "INVALID_REQUEST", violations });
    return this.#deserialize(bytes);
  }

  /**
   * Validates and decodes a message of a stream. One that breaks a rule is decoded too, so that its refusal can name it.
   * Fails: INVALID_REQUEST when the bytes are no such message
   */
  parseItem(received: Buffer): { readonly item: object; readonly violations: readonly FieldViolation[] } {
    const { violations, bytes } = this.#validate(received);
    if (bytes === undefined) fail({ reason: "INVALID_REQUEST", violations });
    return { item: this.#deserialize(bytes), violations };
  }
}

/** The part of a grpc-js call that all kinds of methods share. */
interface ServerCall {
  readonly metadata: Metadata;
  readonly cancelled: boolean;
  getDeadline(): Date | number;
}

/** A call from its headers to its log line. */
export class IncomingCall implements CallIds {
  readonly traceId: string;
  readonly #endpoint: Endpoint<unknown>;
  readonly #call: ServerCall;
  readonly #started = process.hrtime.bigint();
  #requestId: string | undefined;

  constructor(endpoint: Endpoint<unknown>, call: ServerCall) {
    this.#endpoint = endpoint;
    this.#call = call;
    this.#requestId = readIdHeader(call.metadata, "x-request-id");
    this.traceId = parseTraceId(readIdHeader(call.metadata, "traceparent"));
  }

  /** The request_id of the message, else the header's, else a new one, which is only made when it is read. */
  get requestId(): string {
    return (this.#requestId ??= newId());
  }

  set requestId(ofMessage: string) {
    this.#requestId = ofMessage;
  }

  /** Fails: INVALID_REQUEST */
  assertHeaders(): void {
    const violations = findHeaderViolations(this.#call.metadata, this.#endpoint.pipeline.metadataBytesMax);
    if (violations.length > 0) fail({ reason: "INVALID_REQUEST", violations });
  }

  /** Creates the context of a request that is to be answered within the time of one call. */
  createContext(ids: CallIds = this): CallContext {
    return createContext(this.#call, resolveDeadline(this.#call, this.#endpoint.pipeline.callTimeoutMs), ids);
  }

  /** Returns the error as a failure. An unforeseen one becomes INTERNAL, and its description goes to the log. */
  toFailure(error: unknown, { requestId, traceId }: CallIds = this): FailureError {
    if (error instanceof FailureError && error.failure.reason !== "INTERNAL") return error;
    const { path, pipeline } = this.#endpoint;
    pipeline.logger.error("fault", { method: path, requestId, traceId, ...describeError(error) });
    return new FailureError({ reason: "INTERNAL" });
  }

  /** Returns the error as a failure, with the currency that its message needs to show amounts. */
  async toFailureWithCurrency(error: unknown, ids: CallIds = this): Promise<FailureError> {
    const failure = this.toFailure(error, ids);
    const code = findCurrencyCode(failure.failure);
    if (code === undefined) return failure;
    const currency = await this.#endpoint.pipeline.findCurrency(code);
    return new FailureError(failure.failure, { ...failure.details, currency });
  }

  toGrpcError(failure: FailureError): GrpcError {
    return toGrpcError(failure, this, this.#retryDelayMs(failure));
  }

  toStatus(failure: FailureError, ids: CallIds): Status {
    return toStatus(failure, ids, this.#retryDelayMs(failure));
  }

  /** Ends a stream, with the failure if there is one, and logs it. */
  endStream(
    stream: ServerWritableStream<Buffer, object> | ServerDuplexStream<Buffer, object>,
    failure: FailureError | undefined,
    counts: Readonly<Record<string, number>>,
  ): void {
    if (failure === undefined) stream.end(createTrailers(this));
    else stream.emit("error", this.toGrpcError(failure));
    this.log(failure, counts);
  }

  /** Writes the call's one log line: as a warning for what the operator should see, else as information. */
  log(failure?: FailureError, counts: Readonly<Record<string, number>> = {}): void {
    const reason = failure?.failure.reason;
    const code = reason === undefined ? "OK" : status[CODE[reason]];
    const { path, pipeline } = this.#endpoint;
    pipeline.logger.log(WARNED.includes(code) ? "warn" : "info", "call", {
      method: path,
      code,
      durationMs: msSince(this.#started),
      requestId: this.requestId,
      traceId: this.traceId,
      ...counts,
      ...(reason !== undefined && { reason }),
      ...(failure?.cause instanceof Error && { cause: `${failure.cause.name}: ${failure.cause.message}` }),
    });
  }

  #retryDelayMs({ failure }: FailureError): number {
    const { admission, retryAfterMs } = this.#endpoint.pipeline;
    return failure.reason === "OVERLOADED" ? admission.retryAfterMs() : retryAfterMs;
  }
}

/** The gRPC codes for which the operator may have to act. */
const WARNED: readonly string[] = ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL"];

/** Returns the milliseconds since a process.hrtime, with three decimal places. */
function msSince(started: bigint): number {
  return Number((process.hrtime.bigint() - started) / 1_000n) / 1_000;
}
