export { connect, type ConnectOptions, type DeepPartial, type GreyClient, type ServiceClient } from "./client.js";
export { decodeCallFailure, type CallFailure } from "./failure.js";
