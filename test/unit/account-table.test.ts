import { expect } from "chai";
import * as fc from "fast-check";
import { ACCOUNT_STATE, NORMAL_SIDE } from "../../src/base/codes.js";
import { newId, systemAccountId, type Uuid } from "../../src/base/ids.js";
import { AMOUNT_MAX } from "../../src/base/money.js";
import type { Account } from "../../src/ledger/account/account.js";
import { createAccountTable } from "../../src/ledger/post/account-table.js";
import { walletAccount } from "../support/accounts.js";

const MEBIBYTE = 1_048_576;

const minor = fc.bigInt({ min: -AMOUNT_MAX - 1n, max: AMOUNT_MAX });
const pending = fc.bigInt({ min: 0n, max: AMOUNT_MAX });
const velocity = fc.constant([
  {
    name: "day",
    direction: "OUTGOING" as const,
    kinds: [],
    windowMicros: 86_400_000_000n,
    maxAmountMinor: 5n,
    maxCount: null,
    since: 0n,
    slices: [],
  },
]);

/** An account of one of these ids. */
function accountOf(ids: readonly Uuid[]): fc.Arbitrary<Account> {
  return fc.record({
    id: fc.constantFrom(...ids),
    isWallet: fc.boolean(),
    currencyCode: fc.constantFrom("USD", "EUR", "POINTS"),
    normalSide: fc.constantFrom(...Object.values(NORMAL_SIDE)),
    state: fc.constantFrom(...Object.values(ACCOUNT_STATE)),
    balanceMinor: minor,
    pendingDebitsMinor: pending,
    pendingCreditsMinor: pending,
    minBalanceMinor: fc.option(minor),
    maxBalanceMinor: fc.option(minor),
    velocity: fc.option(velocity),
    sequence: pending,
  });
}

describe("the table of remembered accounts", () => {
  it("returns each account as it was last set, whatever its columns are", () => {
    const ids = [
      ...Array.from({ length: 20 }, newId),
      systemAccountId("USD", "cash"),
      "ffffffff-ffff-ffff-ffff-ffffffffffff",
    ];
    fc.assert(
      fc.property(fc.array(accountOf(ids), { maxLength: 60 }), (accounts) => {
        const table = createAccountTable(MEBIBYTE);
        const expected = new Map<Uuid, Account>();
        for (const account of accounts) {
          table.set(account);
          expected.set(account.id, account);
        }
        for (const id of ids) expect(table.get(id)).to.deep.equal(expected.get(id));
        table.clear();
        for (const id of ids) expect(table.get(id)).to.equal(undefined);
      }),
    );
  });

  it("that is full forgets accounts, and returns no other account in their place", () => {
    // A bucket of eight accounts.
    const ids = Array.from({ length: 30 }, newId);
    fc.assert(
      fc.property(fc.array(accountOf(ids), { minLength: 1, maxLength: 100 }), (accounts) => {
        const table = createAccountTable(1);
        const expected = new Map<Uuid, Account>();
        for (const account of accounts) {
          table.set(account);
          expected.set(account.id, account);
          expect(table.get(account.id)).to.deep.equal(account);
        }
        const remembered = ids.map((id) => table.get(id)).filter((account) => account !== undefined);
        for (const account of remembered) expect(account).to.deep.equal(expected.get(account.id));
        expect(remembered.length).to.be.at.most(8);
      }),
    );
  });

  it("keeps those that are used, and forgets others, in a full bucket", () => {
    const [kept, ...others] = Array.from({ length: 100 }, () => walletAccount(newId()));
    const table = createAccountTable(1);
    let missed = 0;
    for (const account of others) {
      if (table.get(kept!.id) === undefined) {
        missed += 1;
        table.set(kept!);
      }
      table.set(account);
    }
    expect(missed).to.be.at.most(10);
    expect(others.slice(0, 80).filter(({ id }) => table.get(id) !== undefined)).to.deep.equal([]);
  });

  it("keeps at least 97 of a hundred accounts in twice the memory that they need", () => {
    const table = createAccountTable(2 * 68 * 50_000);
    const ids = Array.from({ length: 50_000 }, newId);
    for (const id of ids) table.set(walletAccount(id));
    expect(ids.filter((id) => table.get(id) !== undefined).length).to.be.at.least(48_500);
  });
});
