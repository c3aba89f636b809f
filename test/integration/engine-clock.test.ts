import { findDifferences } from "../../src/services/transaction/find-differences.js";
import { expect } from "chai";
import { newId } from "../../src/base/ids.js";
import { readConfig } from "../../src/config/config.js";
import { createEngine } from "../../src/ledger/post/engine.js";
import { createPostingConnection } from "../../src/ledger/post/connection.js";
import { hold } from "../support/holds.js";
import { insertWallet, openTestLedger, PATIENT } from "../support/ledger.js";

// Commands that depend on the time are decided from the cache only once the engine has the database's time.
describe("the posting engine's clock", () => {
  it("is set by the first batch, optimistic or locked: an engine with holds only does not lock every batch", async () => {
    const ledger = await openTestLedger();
    const config = readConfig({ DATABASE_URL: ledger.url });
    const connection = createPostingConnection(ledger.url, config);
    let remembered = 0;
    const engine = createEngine(
      ledger.database,
      {
        ...connection,
        query: (query) => {
          remembered += 1;
          return connection.query(query);
        },
      },
      config,
      findDifferences,
    );
    const wallet = newId();
    await insertWallet(ledger.admin, { id: wallet, minBalance: -1_000n });
    for (let count = 0; count < 4; count += 1) {
      const [outcome] = await engine.post({ commands: [hold(wallet, 1n)], mode: "INDEPENDENT" }, PATIENT);
      expect(outcome).to.have.nested.property("transaction.failure", null);
    }
    // Only the first batch read the time.
    expect(remembered).to.equal(3);
    await connection.stop();
    await ledger.close();
  });
});
