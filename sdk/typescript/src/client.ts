import {
  type CallOptions,
  type ChannelCredentials,
  Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  credentials,
  Metadata,
} from "@grpc/grpc-js";
import { AlertServiceDefinition } from "../../../generated/grey/alert/v1/alert_service.js";
import { LedgerServiceDefinition } from "../../../generated/grey/ledger/v1/ledger_service.js";
import { ScheduleServiceDefinition } from "../../../generated/grey/schedule/v1/schedule_service.js";
import { TransactionServiceDefinition } from "../../../generated/grey/transaction/v1/transaction_service.js";
import { UserServiceDefinition } from "../../../generated/grey/user/v1/user_service.js";
import { WalletServiceDefinition } from "../../../generated/grey/wallet/v1/wallet_service.js";

/** A message whose fields may be left out: an unset field has the default that the contract documents. */
export type DeepPartial<T> = T extends string | number | bigint | boolean | Uint8Array | undefined
  ? T
  : T extends readonly (infer Item)[]
    ? readonly DeepPartial<Item>[]
    : // A oneof keeps the name of the field that is set.
      T extends { readonly $case: string; readonly value: infer Value }
      ? { readonly $case: T["$case"]; readonly value: DeepPartial<Value> }
      : { readonly [Field in keyof T]?: DeepPartial<T[Field]> | undefined };

/** The generated code of a message that a client needs. */
interface MessageType {
  readonly encode: (message: never) => { finish(): Uint8Array };
  readonly decode: (bytes: Uint8Array) => unknown;
  readonly fromPartial: (message: never) => unknown;
}

interface Method {
  readonly name: string;
  readonly requestType: MessageType;
  readonly requestStream: boolean;
  readonly responseType: MessageType;
  readonly responseStream: boolean;
}

/** The generated definition of a service. */
interface ServiceDefinition {
  readonly fullName: string;
  readonly methods: Readonly<Record<string, Method>>;
}

type Request<M extends Method> = DeepPartial<ReturnType<M["requestType"]["decode"]>>;
type Response<M extends Method> = ReturnType<M["responseType"]["decode"]>;

/** A call: unary calls return a promise, server streams are read with `for await`, and client streams are written to. */
type Call<M extends Method> = M["requestStream"] extends true
  ? (options?: CallOptions) => ClientDuplexStream<Request<M>, Response<M>>
  : M["responseStream"] extends true
    ? (request: Request<M>, options?: CallOptions) => ClientReadableStream<Response<M>>
    : (request: Request<M>, options?: CallOptions) => Promise<Response<M>>;

export type ServiceClient<Definition extends ServiceDefinition> = {
  readonly [Name in keyof Definition["methods"]]: Call<Definition["methods"][Name]>;
};

/** The services of one server, over one connection. */
export interface GreyClient {
  readonly users: ServiceClient<UserServiceDefinition>;
  readonly wallets: ServiceClient<WalletServiceDefinition>;
  readonly transactions: ServiceClient<TransactionServiceDefinition>;
  readonly ledger: ServiceClient<LedgerServiceDefinition>;
  readonly schedules: ServiceClient<ScheduleServiceDefinition>;
  readonly alerts: ServiceClient<AlertServiceDefinition>;
  close(): void;
}

export interface ConnectOptions {
  /** The credentials of the connection; without TLS by default. */
  readonly credentials?: ChannelCredentials;
  /** The deadline of a unary call whose options set none. */
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 10_000;

/**
 * Creates a client of the server at host:port, which connects on the first call. A failed call rejects with grpc-js's
 * ServiceError, whose reason `decodeCallFailure` returns.
 */
export function connect(address: string, options: ConnectOptions = {}): GreyClient {
  const { timeoutMs = TIMEOUT_MS } = options;
  const connection = new Client(address, options.credentials ?? credentials.createInsecure());
  const serve = <Definition extends ServiceDefinition>({ fullName, methods }: Definition) =>
    Object.fromEntries(
      Object.entries(methods).map(([key, method]) => [
        key,
        createCall(connection, `/${fullName}/${method.name}`, method, timeoutMs),
      ]),
    ) as ServiceClient<Definition>;
  return {
    users: serve(UserServiceDefinition),
    wallets: serve(WalletServiceDefinition),
    transactions: serve(TransactionServiceDefinition),
    ledger: serve(LedgerServiceDefinition),
    schedules: serve(ScheduleServiceDefinition),
    alerts: serve(AlertServiceDefinition),
    close: () => connection.close(),
  };
}

function createCall(connection: Client, path: string, method: Method, timeoutMs: number) {
  const { requestType, responseType } = method;
  // fromPartial completes the message with defaults.
  const write = (request: unknown): Buffer =>
    Buffer.from(requestType.encode(requestType.fromPartial(request as never) as never).finish());
  const read = (bytes: Buffer): unknown => responseType.decode(bytes);
  if (method.requestStream) {
    return (options: CallOptions = {}) => connection.makeBidiStreamRequest(path, write, read, options);
  }
  if (method.responseStream) {
    return (request: unknown, options: CallOptions = {}) =>
      connection.makeServerStreamRequest(path, write, read, request, options);
  }
  return (request: unknown, options: CallOptions = {}) =>
    new Promise((resolve, reject) => {
      const until = { deadline: Date.now() + timeoutMs, ...options };
      connection.makeUnaryRequest(path, write, read, request, new Metadata(), until, (error, response) => {
        if (error === null) resolve(response);
        else reject(error);
      });
    });
}
