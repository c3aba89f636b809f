import {
  credentials,
  Metadata,
  status,
  type CallOptions,
  type ClientUnaryCall,
  type ServiceError,
} from "@grpc/grpc-js";
import { BadRequest, ErrorInfo, RequestInfo, RetryInfo } from "../../generated/google/rpc/error_details.js";
import { Status } from "../../generated/google/rpc/status.js";
import { AlertServiceClient } from "../../generated/grey/alert/v1/alert_service.js";
import { LedgerServiceClient } from "../../generated/grey/ledger/v1/ledger_service.js";
import { ScheduleServiceClient } from "../../generated/grey/schedule/v1/schedule_service.js";
import { TransactionServiceClient } from "../../generated/grey/transaction/v1/transaction_service.js";
import { UserServiceClient } from "../../generated/grey/user/v1/user_service.js";
import { WalletServiceClient } from "../../generated/grey/wallet/v1/wallet_service.js";

/** The reply to a call. */
export interface Answer<T> {
  readonly message: T;
  readonly trailers: Metadata;
}

/** An error from the caller's perspective, with decoded details. */
export class CallError extends Error {
  override readonly name = "CallError";
  readonly code: string;
  readonly reason: string | undefined;
  readonly domain: string | undefined;
  readonly info: Readonly<Record<string, string>>;
  /** Rules by field. */
  readonly violations: ReadonlyMap<string, string>;
  readonly retryAfterMs: number | undefined;
  readonly requestId: string | undefined;
  readonly traceId: string | undefined;
  readonly trailers: Metadata;

  constructor(error: ServiceError) {
    super(error.details);
    this.code = status[error.code];
    this.trailers = error.metadata;
    const [packed] = error.metadata.get("grpc-status-details-bin");
    const details = packed === undefined ? [] : Status.decode(packed as Buffer).details;
    const find = (type: string) => findDetail(details, type);
    const decoded = decodeErrorInfo(details);
    this.reason = decoded?.reason;
    this.domain = decoded?.domain;
    this.info = decoded?.metadata ?? {};
    const bad = find("BadRequest");
    this.violations = new Map(
      bad === undefined
        ? []
        : BadRequest.decode(bad).fieldViolations.map((one) => [one.field, one.description] as const),
    );
    const retry = find("RetryInfo");
    const delay = retry === undefined ? undefined : RetryInfo.decode(retry).retryDelay;
    this.retryAfterMs = delay === undefined ? undefined : Number(delay.seconds) * 1_000 + delay.nanos / 1_000_000;
    const request = find("RequestInfo");
    const ids = request === undefined ? undefined : RequestInfo.decode(request);
    this.requestId = ids?.requestId;
    this.traceId = ids?.servingData;
  }
}

function findDetail(details: Status["details"], type: string): Uint8Array | undefined {
  return details.find((detail) => detail.typeUrl === `type.googleapis.com/google.rpc.${type}`)?.value;
}

/** Returns the reason of an error and its metadata. */
export function decodeErrorInfo(details: Status["details"]): ErrorInfo | undefined {
  const info = findDetail(details, "ErrorInfo");
  return info === undefined ? undefined : ErrorInfo.decode(info);
}

/** A unary method of a generated client, by its longest overload. */
type UnaryMethod<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, value: Response) => void,
) => ClientUnaryCall;

/** Defaults of fields that a caller may omit, as in other languages. */
const LEFT_OUT = {
  preconditions: [],
  amountMode: 0,
  dryRun: false,
  asOf: undefined,
  externalReference: "",
  rounding: 0,
  reason: "",
  minAmount: undefined,
  maxAmount: undefined,
  currencyCode: "",
  descriptionPrefix: "",
  metadataFilters: [],
  order: 0,
  pageToken: "",
};
type LeftOut = keyof typeof LEFT_OUT;
type Asked<Request> = Omit<Request, LeftOut> & Partial<Pick<Request, Extract<keyof Request, LeftOut>>>;

/** A client whose unary methods return promises of the message. */
export type Promised<Client> = {
  [
    M in keyof Client as Client[M] extends UnaryMethod<infer _Request, infer _Response> ? M : never
  ]: Client[M] extends UnaryMethod<infer Request, infer Response>
    ? (request: Asked<Request>, headers?: Readonly<Record<string, string>>, timeoutMs?: number) => Promise<Response>
    : never;
};

/** A client of every service. */
export interface Clients {
  readonly users: Promised<UserServiceClient>;
  readonly wallets: Promised<WalletServiceClient>;
  readonly transactions: Promised<TransactionServiceClient>;
  readonly ledger: Promised<LedgerServiceClient>;
  readonly schedules: Promised<ScheduleServiceClient>;
  readonly alerts: Promised<AlertServiceClient>;
  close(): void;
}

const TIMEOUT_MS = 20_000;

export function connect(address: string): Clients {
  const insecure = credentials.createInsecure();
  const users = new UserServiceClient(address, insecure);
  const wallets = new WalletServiceClient(address, insecure);
  const transactions = new TransactionServiceClient(address, insecure);
  const ledger = new LedgerServiceClient(address, insecure);
  const schedules = new ScheduleServiceClient(address, insecure);
  const alerts = new AlertServiceClient(address, insecure);
  const all = [users, wallets, transactions, ledger, schedules, alerts];
  return {
    users: promised(users),
    wallets: promised(wallets),
    transactions: promised(transactions),
    ledger: promised(ledger),
    schedules: promised(schedules),
    alerts: promised(alerts),
    close: () => {
      for (const client of all) client.close();
    },
  };
}

function promised<Client extends object>(client: Client): Promised<Client> {
  return new Proxy(client, {
    get:
      (target, name) =>
      (request: object, headers: Record<string, string> = {}, timeoutMs = TIMEOUT_MS) =>
        call(
          target[name as keyof Client] as UnaryMethod<object, unknown>,
          target,
          { ...LEFT_OUT, ...request },
          headers,
          timeoutMs,
        ).then((answer) => answer.message),
  }) as unknown as Promised<Client>;
}

/** Makes one call and returns the reply with its trailers. */
export function call<Request, Response>(
  method: UnaryMethod<Request, Response>,
  client: unknown,
  request: Request,
  headers: Readonly<Record<string, string>> = {},
  timeoutMs = TIMEOUT_MS,
): Promise<Answer<Response>> {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  return new Promise((resolve, reject) => {
    let message: Response;
    const started = method.call(client, request, metadata, { deadline: Date.now() + timeoutMs }, (error, value) => {
      if (error !== null) return reject(new CallError(error));
      message = value;
    });
    started.on("status", ({ metadata: trailers }) => {
      if (message !== undefined) resolve({ message, trailers });
    });
  });
}

/** Returns the error of a call that must fail. */
export async function refusal(call: Promise<unknown>): Promise<CallError> {
  try {
    await call;
  } catch (error) {
    if (error instanceof CallError) return error;
    throw error;
  }
  throw new Error("the call was answered, and should have been refused");
}
