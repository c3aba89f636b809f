import { Client, credentials, Metadata, type MethodDefinition, type ServiceError } from "@grpc/grpc-js";
import { decodeCallFailure } from "../../sdk/typescript/src/failure.js";
import { CallError } from "./failure.js";

/** A method that takes one request, as the generated service definitions describe it. */
export type UnaryMethod<Q, R> = Pick<
  MethodDefinition<Q, R>,
  "path" | "requestSerialize" | "responseDeserialize" | "responseSerialize"
>;

/** Fits a page of 1,000 transactions with the maximum of metadata. */
const REPLY_BYTES_MAX = 64 * 1024 * 1024;

/** A connection to one server, shared by the calls of all services. */
export class GreyClient {
  readonly #client: Client;

  constructor(
    private readonly address: string,
    private readonly timeoutMs: number,
  ) {
    this.#client = new Client(address, credentials.createInsecure(), {
      "grpc.max_receive_message_length": REPLY_BYTES_MAX,
      // An HTTP proxy from the environment would also receive calls to 127.0.0.1.
      "grpc.enable_http_proxy": 0,
    });
  }

  /**
   * Calls a unary method and returns the reply.
   * @throws CallError with the server's failure
   */
  call<Q extends object, R>(method: UnaryMethod<Q, R>, request: Q): Promise<R> {
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        new Metadata(),
        { deadline: Date.now() + this.timeoutMs },
        (error, reply) => {
          if (error) {
            const call = { address: this.address, timeoutMs: this.timeoutMs, requestId: findRequestId(request) };
            reject(new CallError(decodeCallFailure(error), call, { cause: error }));
          } else if (reply !== undefined) resolve(reply);
        },
      );
    });
  }

  /**
   * Passes the messages of a server stream to `take` until the stream ends, `take` returns false or the signal aborts.
   * @param timeoutMs the deadline of the whole stream; undefined: none
   * @throws CallError with the server's failure
   */
  async watch<Q extends object, R>(
    method: UnaryMethod<Q, R>,
    request: Q,
    take: (message: R) => boolean | Promise<boolean>,
    signal: AbortSignal,
    timeoutMs?: number,
  ): Promise<void> {
    const { path, requestSerialize, responseDeserialize } = method;
    const options = timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs };
    const stream = this.#client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request, options);
    signal.addEventListener("abort", () => stream.cancel());
    try {
      for await (const message of stream as AsyncIterable<R>) if (!(await take(message))) return;
    } catch (error) {
      if (signal.aborted) return;
      const call = { address: this.address, timeoutMs: timeoutMs ?? this.timeoutMs, requestId: undefined };
      throw new CallError(decodeCallFailure(error as ServiceError), call, { cause: error });
    } finally {
      stream.cancel();
    }
  }

  close(): void {
    this.#client.close();
  }
}

function findRequestId(request: object): string | undefined {
  return "requestId" in request && typeof request.requestId === "string" ? request.requestId : undefined;
}
