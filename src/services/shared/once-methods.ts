import {
  CreateAlertRequest,
  CreateAlertResponse,
  DeleteAlertRequest,
  DeleteAlertResponse,
} from "../../../generated/grey/alert/v1/alert_service.js";
import { CreateAccountRequest, CreateAccountResponse } from "../../../generated/grey/ledger/v1/account.js";
import { CreateCurrencyRequest, CreateCurrencyResponse } from "../../../generated/grey/ledger/v1/currency.js";
import {
  SetDefaultLimitsRequest,
  SetDefaultLimitsResponse,
  SetLimitsRequest,
  SetLimitsResponse,
} from "../../../generated/grey/ledger/v1/limits.js";
import { SetRateRequest, SetRateResponse } from "../../../generated/grey/ledger/v1/rate.js";
import {
  CancelScheduleRequest,
  CancelScheduleResponse,
  CreateScheduleRequest,
  CreateScheduleResponse,
  PauseScheduleRequest,
  PauseScheduleResponse,
  ResumeScheduleRequest,
  ResumeScheduleResponse,
} from "../../../generated/grey/schedule/v1/schedule.js";
import {
  SetTransactionMetadataRequest,
  SetTransactionMetadataResponse,
} from "../../../generated/grey/transaction/v1/metadata.js";
import {
  CreateUserRequest,
  CreateUserResponse,
  DeleteUserRequest,
  DeleteUserResponse,
  UpdateUserRequest,
  UpdateUserResponse,
} from "../../../generated/grey/user/v1/user_service.js";
import {
  CreateWalletRequest,
  CreateWalletResponse,
  UpdateWalletRequest,
  UpdateWalletResponse,
} from "../../../generated/grey/wallet/v1/wallet.js";
import {
  CloseWalletRequest,
  CloseWalletResponse,
  FreezeWalletRequest,
  FreezeWalletResponse,
  ReopenWalletRequest,
  ReopenWalletResponse,
  UnfreezeWalletRequest,
  UnfreezeWalletResponse,
} from "../../../generated/grey/wallet/v1/wallet_state.js";
import type { Uuid } from "../../base/ids.js";
import type { Session } from "../../db/in-transaction.js";
import type { REQUEST_METHOD } from "../../entities/request.js";
import { answerErasedUser } from "../user/user-message.js";

/** A generated message's own object, which encodes and decodes it. */
interface Codec<Message> {
  /** The full name of the message. */
  readonly $type: string;
  encode(message: Message): { finish(): Uint8Array };
  decode(bytes: Uint8Array): Message;
}

/** A method whose requests answerOnce() answers. */
export interface OnceMethod<Request, Response> {
  readonly request: Codec<Request>;
  readonly response: Codec<Response>;
  /** Answers about a resource whose stored answers were erased. */
  readonly answerErased?: (session: Session, resourceId: Uuid) => Promise<Omit<Response, "journalIndex">>;
}

/** A method that answerOnce() answers: any but those that the engine and the scheduler answer. */
export type OnceMethodName = Exclude<keyof typeof REQUEST_METHOD, "POST" | "WITHHOLD_RUN">;

// A method that is missing does not compile.
const METHODS = {
  CREATE_USER: { request: CreateUserRequest, response: CreateUserResponse, answerErased: answerErasedUser },
  UPDATE_USER: { request: UpdateUserRequest, response: UpdateUserResponse, answerErased: answerErasedUser },
  DELETE_USER: { request: DeleteUserRequest, response: DeleteUserResponse, answerErased: answerErasedUser },
  CREATE_WALLET: { request: CreateWalletRequest, response: CreateWalletResponse },
  UPDATE_WALLET: { request: UpdateWalletRequest, response: UpdateWalletResponse },
  FREEZE_WALLET: { request: FreezeWalletRequest, response: FreezeWalletResponse },
  UNFREEZE_WALLET: { request: UnfreezeWalletRequest, response: UnfreezeWalletResponse },
  CLOSE_WALLET: { request: CloseWalletRequest, response: CloseWalletResponse },
  REOPEN_WALLET: { request: ReopenWalletRequest, response: ReopenWalletResponse },
  CREATE_CURRENCY: { request: CreateCurrencyRequest, response: CreateCurrencyResponse },
  CREATE_ACCOUNT: { request: CreateAccountRequest, response: CreateAccountResponse },
  SET_LIMITS: { request: SetLimitsRequest, response: SetLimitsResponse },
  SET_DEFAULT_LIMITS: { request: SetDefaultLimitsRequest, response: SetDefaultLimitsResponse },
  SET_RATE: { request: SetRateRequest, response: SetRateResponse },
  SET_TRANSACTION_METADATA: { request: SetTransactionMetadataRequest, response: SetTransactionMetadataResponse },
  CREATE_SCHEDULE: { request: CreateScheduleRequest, response: CreateScheduleResponse },
  PAUSE_SCHEDULE: { request: PauseScheduleRequest, response: PauseScheduleResponse },
  RESUME_SCHEDULE: { request: ResumeScheduleRequest, response: ResumeScheduleResponse },
  CANCEL_SCHEDULE: { request: CancelScheduleRequest, response: CancelScheduleResponse },
  CREATE_ALERT: { request: CreateAlertRequest, response: CreateAlertResponse },
  DELETE_ALERT: { request: DeleteAlertRequest, response: DeleteAlertResponse },
} satisfies Readonly<Record<OnceMethodName, unknown>>;

export type OnceRequest<Name extends OnceMethodName> = ReturnType<(typeof METHODS)[Name]["request"]["decode"]>;
export type OnceResponse<Name extends OnceMethodName> = ReturnType<(typeof METHODS)[Name]["response"]["decode"]>;

/** The codecs of each method, typed by its messages. */
export const ONCE_METHODS: {
  readonly [Name in OnceMethodName]: OnceMethod<OnceRequest<Name>, OnceResponse<Name>>;
} = METHODS;
