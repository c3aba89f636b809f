import { findDifferences } from "../../src/services/transaction/find-differences.js";
import { expect } from "chai";
import { newId } from "../../src/base/ids.js";
import { readConfig } from "../../src/config/config.js";
import { createEngine } from "../../src/ledger/post/engine.js";
import { createPostingConnection } from "../../src/ledger/post/connection.js";
import { hold } from "../support/holds.js";
import { insertWallet, openBooks, PATIENT } from "../support/ledger.js";

/** What depends on the time is decided from what the engine remembers once the database has told it the time. */
describe("the posting engine's clock", () => {
  it("is told by the first batch, whichever way it took: an engine that only holds does not lock for ever", async () => {
    const books = await openBooks();
    const config = readConfig({ DATABASE_URL: books.url });
    const connection = createPostingConnection(books.url, config);
    let remembered = 0;
    const engine = createEngine(
      books.database,
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
    await insertWallet(books.admin, { id: wallet, minBalance: -1_000n });
    for (let count = 0; count < 4; count += 1) {
      const [outcome] = await engine.post({ commands: [hold(wallet, 1n)], mode: "INDEPENDENT" }, PATIENT);
      expect(outcome).to.have.nested.property("transaction.failure", null);
    }
    // Only the first had to ask for the time.
    expect(remembered).to.equal(3);
    await connection.stop();
    await books.close();
  });
});
