import { findDifferences } from "../../src/services/transaction/find-differences.js";
import { setImmediate as nextTurn } from "node:timers/promises";
import { expect } from "chai";
import * as fc from "fast-check";
import { newId, systemAccountId, type Uuid } from "../../src/base/ids.js";
import { ACCOUNT_STATE, type AccountState } from "../../src/base/codes.js";
import { readAccounts } from "../../src/ledger/account/store.js";
import type { LedgerState } from "../../src/ledger/decide/state.js";
import { findTransactions } from "../../src/ledger/transaction/store.js";
import type { LedgerTransaction } from "../../src/ledger/transaction/transaction.js";
import { decideUnit } from "../../src/ledger/decide/unit.js";
import type { DecidedCommand } from "../../src/ledger/decide/decision.js";
import { replay, toReplays, type Outcome } from "../../src/ledger/post/outcome.js";
import { requestKey, type MovementCommand, type UnitOfWork } from "../../src/ledger/command/command.js";
import { createModelState } from "../support/model-state.js";
import { openEngineLedger, startSharingEngines, type EngineLedger, type TestEngine } from "../support/engine.js";
import { deposit, transfer, withdrawal } from "../support/ledger.js";

// Random units of work from two engines at once, with concurrent changes of accounts. The journal has the order of decisions; the pure rules,
// applied to one unit after the other in that order, must yield the same outcomes.

for (const isSharing of [false, true])
  describe(`two engines on one database${isSharing ? ", of which one posts for both" : ""}`, function () {
    this.timeout(120_000);

    let ledger: EngineLedger;
    let engines: readonly TestEngine[];

    before(async () => {
      ledger = await openEngineLedger();
      // Small batches and a small cache, so that units of work meet their boundaries.
      const settings = { GREY_POSTING_BATCH_MAX: "6" };
      engines = isSharing
        ? await startSharingEngines(ledger, settings)
        : [await ledger.startEngine(settings), await ledger.startEngine(settings)];
    });
    after(() => ledger.close());

    const WALLETS = [{}, {}, {}, { maxBalance: 200n }, { minBalance: -100n }, { currencyCode: "EUR" }];
    /** One index more than there are wallets: an unknown id. */
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
      /** An earlier command whose request id it reuses. */
      reuses: fc.option(fc.nat(), { freq: 8, nil: undefined }),
      /** True for another request under that id, and not a repeat. */
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

    /** A unit of work, with the outcome that its caller received. */
    interface Posted {
      readonly engine: number;
      readonly unit: UnitOfWork & { readonly commands: readonly MovementCommand[] };
      /** True when one of its commands shares its request id with another. */
      readonly hasRepeats: boolean;
      readonly outcomes: readonly Outcome[];
    }

    /** A change of an account, committed when the journal had this size; it precedes the account's next record. */
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

    /** Submits the units of work, and waits only where the plan requires it. */
    async function run(steps: readonly Step[], ids: readonly Uuid[]): Promise<History> {
      const submitted: MovementCommand[] = [];
      const submissions: { engine: number; unit: Posted["unit"]; outcomes: Promise<Outcome[]> }[] = [];
      const changes: Promise<Changed>[] = [];
      for (const one of steps) {
        if (one.do === "turn") await nextTurn();
        else if (one.do === "settle") await Promise.all(submissions.map(({ outcomes }) => outcomes));
        else if (one.do === "change") changes.push(change(ids[one.wallet]!, one.state, changes.at(-1)));
        else {
          const commands = new Map<string, MovementCommand>();
          for (const plan of one.commands) {
            let command = commandOf(plan, ids);
            if (plan.reuses !== undefined && submitted.length > 0) {
              const earlier = submitted[plan.reuses % submitted.length]!;
              command = {
                ...(plan.isChanged ? command : earlier),
                requestId: earlier.requestId,
                transactionId: newId(),
              };
            }
            commands.set(command.requestId, command);
          }
          const unit = { commands: [...commands.values()], mode: one.mode };
          submitted.push(...unit.commands);
          submissions.push({ engine: one.engine, unit, outcomes: engines[one.engine]!.post(unit.commands, unit.mode) });
        }
      }
      const uses = new Map<string, number>();
      for (const { requestId } of submitted) uses.set(requestId, (uses.get(requestId) ?? 0) + 1);
      const posted: Posted[] = [];
      for (const { engine, unit, outcomes } of submissions) {
        const hasRepeats = unit.commands.some((command) => (uses.get(command.requestId) ?? 0) > 1);
        posted.push({ engine, unit, hasRepeats, outcomes: await outcomes });
      }
      return { posted, changed: await Promise.all(changes) };
    }

    /** Once the row is locked, all earlier postings to the account are committed, and later ones wait. */
    async function change(walletId: Uuid, state: AccountState, before?: Promise<Changed>): Promise<Changed> {
      await before;
      await ledger.admin.query("BEGIN");
      await ledger.changeAccount(walletId, { state });
      const { rows } = await ledger.admin.query<{ size: bigint }>("SELECT size FROM journal_head");
      await ledger.admin.query("COMMIT");
      return { walletId, state, size: rows[0]!.size };
    }

    /** Decides everything again by the pure rules, in the order of the journal, and compares it with the records. */
    function assertSerial(
      model: LedgerState,
      { posted, changed }: History,
      recorded: readonly LedgerTransaction[],
    ): void {
      const unitsById = new Map(
        posted.flatMap((one) => one.unit.commands.map(({ transactionId }) => [transactionId, one.unit])),
      );
      const processed = new Map<string, LedgerTransaction>();
      const changes = [...changed];
      let next = 0;
      while (next < recorded.length) {
        const { id, journalIndex } = recorded[next]!;
        while (changes.length > 0 && changes[0]!.size <= journalIndex) {
          const { walletId, state } = changes.shift()!;
          model.setAccount(walletId, { ...model.getAccount(walletId)!, state });
        }
        const unit = unitsById.get(id)!;
        const decided = decideUnit(model, unit, toReplays(processed, findDifferences)).filter(
          (one): one is DecidedCommand => "decision" in one,
        );
        const stored = recorded.slice(next, next + decided.length);
        expect(stored.map(decisionOf), `journal index ${journalIndex}`).to.deep.equal(
          decided.map(({ command, decision }) => ({
            id: command.transactionId,
            decision: "failure" in decision ? { failure: decision.failure } : { entries: decision.entries },
          })),
        );
        stored.forEach((transaction, index) => processed.set(requestKey(decided[index]!.command), transaction));
        next += decided.length;
      }
    }

    function decisionOf({ id, entries, failure }: LedgerTransaction): unknown {
      return { id, decision: failure === null ? { entries } : { failure } };
    }

    /** Asserts that each caller received the outcome recorded under its request id. */
    function assertOutcomes(posted: readonly Posted[], recorded: readonly LedgerTransaction[]): void {
      const stored = new Map(recorded.map((transaction) => [transaction.requestId, transaction]));
      for (const { unit, outcomes } of posted) {
        unit.commands.forEach((command, index) => {
          const transaction = stored.get(command.requestId)!;
          const expected =
            transaction.id === command.transactionId
              ? { transaction, replayed: false }
              : replay(command, transaction, findDifferences);
          expect(outcomes[index]).to.deep.equal(expected);
        });
      }
    }

    /** Asserts that units of one sender that share a wallet are decided in the order sent. */
    function assertOrder(posted: readonly Posted[], recorded: readonly LedgerTransaction[]): void {
      const indexOf = new Map(recorded.map(({ id, journalIndex }) => [id, journalIndex]));
      const last = new Map<string, bigint>();
      for (const { engine, unit, hasRepeats } of posted) {
        if (hasRepeats) continue;
        for (const { transactionId, debitAccountId, creditAccountId } of unit.commands) {
          const index = indexOf.get(transactionId)!;
          for (const account of new Set([debitAccountId, creditAccountId])) {
            expect(
              index > (last.get(`${engine}/${account}`) ?? -1n),
              `${transactionId} is decided in its turn`,
            ).to.equal(true);
            last.set(`${engine}/${account}`, index);
          }
        }
      }
    }

    it("decide all units of work, however split and interleaved, as if one after the other in the order of the journal", async () => {
      const seen = new Set<string>();
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 40 }), async (steps) => {
          const ids: Uuid[] = [];
          for (const limits of WALLETS) ids.push(...(await ledger.openWallets(1, limits)));
          const accounts = [...ids, systemAccountId("USD", "cash")];
          const model = createModelState([]);
          for (const account of await readAccounts(ledger.database.pool, accounts)) model.set(account.id, account);

          const history = await run(steps, [...ids, newId()]);

          const transactionIds = history.posted.flatMap(({ unit }) =>
            unit.commands.map(({ transactionId }) => transactionId),
          );
          const found = await findTransactions(ledger.database.pool, transactionIds);
          const recorded = [...found.values()].sort((a, b) => (a.journalIndex < b.journalIndex ? -1 : 1));
          assertSerial(model, history, recorded);
          assertOutcomes(history.posted, recorded);
          assertOrder(history.posted, recorded);
          for (const now of await readAccounts(ledger.database.pool, accounts)) {
            const { balanceMinor, sequence } = model.get(now.id)!;
            expect([now.balanceMinor, now.sequence]).to.deep.equal([balanceMinor, sequence]);
          }
          for (const { outcomes } of history.posted) {
            for (const outcome of outcomes) {
              seen.add(
                "failure" in outcome ? outcome.failure.reason : (outcome.transaction.failure?.reason ?? "POSTED"),
              );
              if ("transaction" in outcome && outcome.replayed) seen.add("REPLAYED");
            }
          }
        }),
        { numRuns: 30 },
      );
      // A plan without these cases proves little.
      expect([...seen]).to.include.members([
        "POSTED",
        "REPLAYED",
        "REQUEST_ID_REUSED",
        "INSUFFICIENT_FUNDS",
        "BATCH_ABORTED",
        "WALLET_FROZEN",
      ]);
      expect(await ledger.violations()).to.deep.equal([]);
    });
  });
