import { findDifferences } from "../../src/services/transaction/find-differences.js";
import { replay, toReplays } from "../../src/ledger/post/outcome.js";
import { setImmediate as nextTurn } from "node:timers/promises";
import { expect } from "chai";
import * as fc from "fast-check";
import { newId, systemAccountId, type Uuid } from "../../src/base/ids.js";
import { ACCOUNT_STATE, type AccountState } from "../../src/base/codes.js";
import { readAccounts } from "../../src/ledger/account/store.js";
import type { LedgerState } from "../../src/ledger/decide/state.js";
import { findTransactions } from "../../src/ledger/transaction/rows.js";
import { requestKey } from "../../src/ledger/command/command.js";
import type { MovementCommand } from "../../src/ledger/command/command.js";
import type { LedgerTransaction } from "../../src/ledger/transaction/transaction.js";
import { decideUnit } from "../../src/ledger/decide/unit.js";
import type { DecidedCommand } from "../../src/ledger/decide/decision.js";
import type { Outcome } from "../../src/ledger/post/outcome.js";
import type { UnitOfWork } from "../../src/ledger/command/command.js";
import { modelBooks } from "../support/model-books.js";
import { openEngineBooks, type EngineBooks, type TestEngine } from "../support/engine.js";
import { deposit, transfer, withdrawal } from "../support/ledger.js";

// Random works from two engines at once, with changes behind their backs. The journal says in which order they were
// decided; the pure rules, one work after the other in that order, must come to the very same.

describe("two posting engines on one database", function () {
  this.timeout(120_000);

  let books: EngineBooks;
  let engines: readonly TestEngine[];

  before(async () => {
    books = await openEngineBooks();
    // Batches of a few commands and a small memory, so that works meet at their edges.
    const settings = { GREY_POSTING_BATCH_MAX: "6" };
    engines = [await books.startEngine(settings), await books.startEngine(settings)];
  });
  after(() => books.close());

  const WALLETS = [{}, {}, {}, { maxBalance: 200n }, { minBalance: -100n }, { currencyCode: "EUR" }];
  /** One place more than there are wallets: an id that nobody has. */
  const place = fc.nat(WALLETS.length);
  const planned = fc.record({
    kind: fc.constantFrom(
      "deposit" as const,
      "deposit" as const,
      "transfer" as const,
      "transfer" as const,
      "withdrawal" as const,
    ),
    from: place,
    to: place,
    amount: fc.bigInt({ min: 1n, max: 120n }),
    /** An earlier command under whose request id it is asked for. */
    reuses: fc.option(fc.nat(), { freq: 8, nil: undefined }),
    /** Whether it is then another request, and not a copy. */
    isChanged: fc.boolean(),
  });
  const step = fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({
        do: fc.constant("post" as const),
        engine: fc.nat(1),
        mode: fc.constantFrom<UnitOfWork["mode"]>("INDEPENDENT", "ATOMIC"),
        commands: fc.array(planned, { minLength: 1, maxLength: 4 }),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        do: fc.constant("change" as const),
        wallet: fc.nat(WALLETS.length - 1),
        state: fc.constantFrom<AccountState>(ACCOUNT_STATE.OPEN, ACCOUNT_STATE.OPEN, ACCOUNT_STATE.FROZEN),
      }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant("turn" as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("settle" as const) }) },
  );

  type Planned = typeof planned extends fc.Arbitrary<infer T> ? T : never;
  type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

  /** A piece of work as it was handed to an engine, and what its caller was told. */
  interface Posted {
    readonly engine: number;
    readonly work: UnitOfWork & { readonly commands: readonly MovementCommand[] };
    /** Whether a command of it shares its request id with another one. */
    readonly hasCopies: boolean;
    readonly outcomes: readonly Outcome[];
  }

  /** A change that was committed when the journal had so many records; it comes before the next of them that touches the account. */
  interface Changed {
    readonly walletId: Uuid;
    readonly state: AccountState;
    readonly size: bigint;
  }

  interface History {
    readonly posted: readonly Posted[];
    readonly changed: readonly Changed[];
  }

  function commandOf({ kind, from, to, amount }: Planned, ids: readonly Uuid[]): MovementCommand {
    if (kind === "transfer") return transfer(ids[from]!, ids[to]!, amount);
    if (kind === "deposit") return deposit(ids[to]!, amount);
    return withdrawal(ids[from]!, amount);
  }

  /** Hands everything in without waiting, but where the plan says so. */
  async function run(steps: readonly Step[], ids: readonly Uuid[]): Promise<History> {
    const asked: MovementCommand[] = [];
    const works: { engine: number; work: Posted["work"]; told: Promise<Outcome[]> }[] = [];
    const changes: Promise<Changed>[] = [];
    for (const one of steps) {
      if (one.do === "turn") await nextTurn();
      else if (one.do === "settle") await Promise.all(works.map(({ told }) => told));
      else if (one.do === "change") changes.push(change(ids[one.wallet]!, one.state, changes.at(-1)));
      else {
        const commands = new Map<string, MovementCommand>();
        for (const plan of one.commands) {
          let command = commandOf(plan, ids);
          if (plan.reuses !== undefined && asked.length > 0) {
            const earlier = asked[plan.reuses % asked.length]!;
            command = { ...(plan.isChanged ? command : earlier), requestId: earlier.requestId, transactionId: newId() };
          }
          commands.set(command.requestId, command);
        }
        const work = { commands: [...commands.values()], mode: one.mode };
        asked.push(...work.commands);
        works.push({ engine: one.engine, work, told: engines[one.engine]!.post(work.commands, work.mode) });
      }
    }
    const uses = new Map<string, number>();
    for (const { requestId } of asked) uses.set(requestId, (uses.get(requestId) ?? 0) + 1);
    const posted: Posted[] = [];
    for (const { engine, work, told } of works) {
      const hasCopies = work.commands.some((command) => (uses.get(command.requestId) ?? 0) > 1);
      posted.push({ engine, work, hasCopies, outcomes: await told });
    }
    return { posted, changed: await Promise.all(changes) };
  }

  /** Whoever touched the account before is committed once the row is locked, and whoever comes after waits. */
  async function change(walletId: Uuid, state: AccountState, before?: Promise<Changed>): Promise<Changed> {
    await before;
    await books.admin.query("BEGIN");
    await books.changeAccount(walletId, { state });
    const { rows } = await books.admin.query<{ size: bigint }>("SELECT size FROM journal_head");
    await books.admin.query("COMMIT");
    return { walletId, state, size: rows[0]!.size };
  }

  /** Decides everything again with the pure rules, in the order of the journal, and compares it with what is recorded. */
  function assertSerial(
    model: LedgerState,
    { posted, changed }: History,
    recorded: readonly LedgerTransaction[],
  ): void {
    const workOf = new Map(
      posted.flatMap((one) => one.work.commands.map(({ transactionId }) => [transactionId, one.work])),
    );
    const answered = new Map<string, LedgerTransaction>();
    const changes = [...changed];
    let next = 0;
    while (next < recorded.length) {
      const { id, journalIndex } = recorded[next]!;
      while (changes.length > 0 && changes[0]!.size <= journalIndex) {
        const { walletId, state } = changes.shift()!;
        model.setAccount(walletId, { ...model.getAccount(walletId)!, state });
      }
      const work = workOf.get(id)!;
      const decided = decideUnit(model, work, toReplays(answered, findDifferences)).filter(
        (one): one is DecidedCommand => "decision" in one,
      );
      const stored = recorded.slice(next, next + decided.length);
      expect(stored.map(decisionOf), `journal index ${journalIndex}`).to.deep.equal(
        decided.map(({ command, decision }) => ({
          id: command.transactionId,
          decision: "failure" in decision ? { failure: decision.failure } : { entries: decision.entries },
        })),
      );
      stored.forEach((transaction, index) => answered.set(requestKey(decided[index]!.command), transaction));
      next += decided.length;
    }
  }

  function decisionOf({ id, entries, failure }: LedgerTransaction): unknown {
    return { id, decision: failure === null ? { entries } : { failure } };
  }

  /** Everyone was told what is recorded under their request id. */
  function assertTruth(posted: readonly Posted[], recorded: readonly LedgerTransaction[]): void {
    const stored = new Map(recorded.map((transaction) => [transaction.requestId, transaction]));
    for (const { work, outcomes } of posted) {
      work.commands.forEach((command, index) => {
        const transaction = stored.get(command.requestId)!;
        const truth =
          transaction.id === command.transactionId
            ? { transaction, replayed: false }
            : replay(command, transaction, findDifferences);
        expect(outcomes[index]).to.deep.equal(truth);
      });
    }
  }

  /** Works of one sender that share a wallet are decided as they were sent. */
  function assertOrder(posted: readonly Posted[], recorded: readonly LedgerTransaction[]): void {
    const indexOf = new Map(recorded.map(({ id, journalIndex }) => [id, journalIndex]));
    const last = new Map<string, bigint>();
    for (const { engine, work, hasCopies } of posted) {
      if (hasCopies) continue;
      for (const { transactionId, debitAccountId, creditAccountId } of work.commands) {
        const index = indexOf.get(transactionId)!;
        for (const account of new Set([debitAccountId, creditAccountId])) {
          expect(index > (last.get(`${engine}/${account}`) ?? -1n), `${transactionId} is decided in its turn`).to.equal(
            true,
          );
          last.set(`${engine}/${account}`, index);
        }
      }
    }
  }

  it("decide whatever comes, however it is split and interleaved, as if one after the other in the order of the journal", async () => {
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 40 }), async (steps) => {
        const ids: Uuid[] = [];
        for (const limits of WALLETS) ids.push(...(await books.openWallets(1, limits)));
        const accounts = [...ids, systemAccountId("USD", "cash")];
        const model = modelBooks([]);
        for (const { account: book } of await readAccounts(books.database.pool, accounts)) model.set(book.id, book);

        const history = await run(steps, [...ids, newId()]);

        const asked = history.posted.flatMap(({ work }) => work.commands.map(({ transactionId }) => transactionId));
        const found = await findTransactions(books.database.pool, asked);
        const recorded = [...found.values()].sort((a, b) => (a.journalIndex < b.journalIndex ? -1 : 1));
        assertSerial(model, history, recorded);
        assertTruth(history.posted, recorded);
        assertOrder(history.posted, recorded);
        for (const { account: now } of await readAccounts(books.database.pool, accounts)) {
          const { balanceMinor, sequence } = model.get(now.id)!;
          expect([now.balanceMinor, now.sequence]).to.deep.equal([balanceMinor, sequence]);
        }
        for (const { outcomes } of history.posted) {
          for (const outcome of outcomes) {
            seen.add("failure" in outcome ? outcome.failure.reason : (outcome.transaction.failure?.reason ?? "POSTED"));
            if ("transaction" in outcome && outcome.replayed) seen.add("REPLAYED");
          }
        }
      }),
      { numRuns: 30 },
    );
    // A plan that never meets these proves little.
    expect([...seen]).to.include.members([
      "POSTED",
      "REPLAYED",
      "REQUEST_ID_REUSED",
      "INSUFFICIENT_FUNDS",
      "BATCH_ABORTED",
      "WALLET_FROZEN",
    ]);
    expect(await books.violations()).to.deep.equal([]);
  });
});
