import type { Metadata } from "@grpc/grpc-js";
import type { FieldViolation } from "../base/failure.js";
import { MALFORMED_TIMEOUT } from "./transport.js";

/** The bytes that HTTP/2 counts for a header besides its name and value. Source: RFC 9113, section 6.5.2 */
const HEADER_OVERHEAD_BYTES = 32;

const TIMEOUT_VIOLATION: FieldViolation = {
  field: "",
  rule: "the header grpc-timeout must be up to 8 digits and one of the units H, M, S, m, u, n",
};

/** Finds what is wrong with the headers of a call: their size, or a deadline that cannot be read. The transport's own limits are far higher. */
export function findHeaderViolations(headers: Metadata, bytesMax: number): FieldViolation[] {
  let bytes = 0;
  for (const [name, values] of Object.entries(headers.toJSON())) {
    if (name === MALFORMED_TIMEOUT) return [TIMEOUT_VIOLATION];
    for (const value of values) bytes += name.length + value.length + HEADER_OVERHEAD_BYTES;
  }
  return bytes <= bytesMax ? [] : [{ field: "", rule: `headers must take no more than ${bytesMax} bytes` }];
}

/** Reads a header that is safe to log and to send back: 1 to 128 visible ASCII characters; undefined for anything else. */
export function readIdHeader(headers: Metadata, name: string): string | undefined {
  const [value] = headers.get(name);
  return typeof value === "string" && /^[!-~]{1,128}$/.test(value) ? value : undefined;
}
