import { expect } from "chai";
import { chooseBufferMegabytes } from "../../src/db/embedded/cluster.js";

const GIB = 1_073_741_824;

describe("the embedded PostgreSQL's memory for pages", () => {
  for (const [what, machine, limit, megabytes] of [
    ["an eighth of the machine's", 8 * GIB, undefined, 1_024],
    ["an eighth of what a container allows", 64 * GIB, 4 * GIB, 512],
    ["the machine's eighth when the container's limit is none", 8 * GIB, 0, 1_024],
    ["the machine's eighth when the limit is beyond it", 8 * GIB, 2 ** 63, 1_024],
    ["no less than PostgreSQL's own default", GIB / 2, undefined, 128],
    ["no more than 2 GiB", 512 * GIB, undefined, 2_048],
  ] as const) {
    it(`is ${what}`, () => expect(chooseBufferMegabytes(machine, limit)).to.equal(megabytes));
  }
});
