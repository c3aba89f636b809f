import { expect } from "chai";
import { connect } from "../support/client.js";
import { createTestDatabase, type TestDatabase } from "../support/cluster.js";
import { endAllGrey, startGreyProcess } from "../support/process.js";

/** Has the process reject a promise that nobody waits for. */
const FAULT = `process.on("SIGUSR2", () => { Promise.reject(new Error("nobody waits for it")); });`;

describe("a promise that is rejected and that nobody waits for", () => {
  let database: TestDatabase;

  before(async () => {
    database = await createTestDatabase();
  });
  after(async () => {
    await endAllGrey();
    await database.drop();
  });

  it("is in the log with its error, and the server goes on", async () => {
    const server = await startGreyProcess({
      DATABASE_URL: database.url,
      NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(FAULT)}`,
    });
    server.signal("SIGUSR2");
    const line = await server.line("fault");
    expect(line).to.include({ level: "error", error: "Error: nobody waits for it" });
    const grey = connect(server.address);
    await grey.users.listUsers({ pageSize: 0, pageToken: "" });
    grey.close();
    server.signal("SIGTERM");
    expect(await server.ended).to.include({ code: 0, signal: null });
  });
});
