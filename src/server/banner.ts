import { reachableAddress } from "../config/address.js";
import { DEFAULT_ADDRESS } from "../config/config.js";

/** Writes the next steps as commands that work as they stand in a terminal without settings. */
export function formatBanner(address: string, dataPlace: string): string {
  const reachable = reachableAddress(address);
  const grey = reachable === DEFAULT_ADDRESS ? "npx grey" : `npx grey --address ${reachable}`;
  // An address that no earlier start has used.
  const email = `ada.${Date.now().toString(36)}@example.com`;
  return `
  Grey serves on ${address}
  Data:  ${dataPlace}
  Stop:  Ctrl-C

  Next, in another terminal:
    ${grey} user create --name Ada --email ${email}
    ${grey} wallet create ${email} USD --initial "1000.00 USD"
    ${grey} --help
  or, with grpcurl:
    grpcurl -plaintext ${reachable} list

`;
}
