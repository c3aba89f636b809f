import { BlockList, isIP, isIPv6 } from "node:net";

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet("127.0.0.0", 8, "ipv4");
LOOPBACK.addAddress("::1", "ipv6");

/**
 * Parses a host name or IP address, IPv6 with or without square brackets. Returns its canonical form: lower case, IPv4 as four
 * decimal numbers, IPv6 in its shortest form without brackets. Returns undefined for anything else.
 */
export function readHost(text: string): string | undefined {
  const bare = text.replace(/^\[(.*)\]$/, "$1");
  if (!isIPv6(bare) && !/^[\w.-]+$/.test(text)) return undefined;
  const written = isIPv6(bare) ? `[${bare}]` : text;
  if (!URL.canParse(`http://${written}`)) return undefined;
  return new URL(`http://${written}`).hostname.replace(/^\[(.*)\]$/, "$1");
}

/** Returns true if the host, as returned by readHost(), is loopback. */
export function isLoopback(host: string): boolean {
  if (isIP(host) === 0) return /^localhost\.?$/.test(host);
  return LOOPBACK.check(host, isIPv6(host) ? "ipv6" : "ipv4");
}

/** Formats host:port, with IPv6 in square brackets. */
export function formatAddress(host: string, port: number): string {
  return `${isIPv6(host) ? `[${host}]` : host}:${port}`;
}

/** Parses host:port. Returns undefined if it is malformed. */
export function readAddress(text: string): string | undefined {
  const [, written = "", digits = ""] = /^(\[.*\]|[^:]*):(\d{1,5})$/.exec(text) ?? [];
  const host = readHost(written);
  const port = Number(digits);
  return host === undefined || port < 1 || port > 65_535 ? undefined : formatAddress(host, port);
}

/** Parses host:port of one server. Returns undefined if it is malformed, or stands for all addresses of a machine. */
export function readPeerAddress(text: string): string | undefined {
  const address = readAddress(text);
  return address === undefined || ["0.0.0.0", "::"].includes(splitAddress(address).host) ? undefined : address;
}

/** Splits an address that readAddress() returned. */
export function splitAddress(address: string): { readonly host: string; readonly port: number } {
  const at = address.lastIndexOf(":");
  return { host: address.slice(0, at).replace(/^\[(.*)\]$/, "$1"), port: Number(address.slice(at + 1)) };
}

/** Returns the address at which a local client reaches a server that listens on this one. */
export function reachableAddress(address: string): string {
  return address.replace(/^0\.0\.0\.0:/, "127.0.0.1:").replace(/^\[::\]:/, "[::1]:");
}
