import { findDifferences } from "../../src/services/transaction/find-differences.js";
import { toReplays } from "../../src/ledger/post/outcome.js";
import { setImmediate as nextTurn } from "node:timers/promises";
import { expect } from "chai";
import * as fc from "fast-check";
import { newId, systemAccountId, type Uuid } from "../../src/base/ids.js";
import { ACCOUNT_STATE } from "../../src/base/codes.js";
import { readAccounts } from "../../src/ledger/account/store.js";
import { toExpiryCommand } from "../../src/ledger/hold/expiry.js";
import { findTransactions } from "../../src/ledger/transaction/rows.js";
import { requestKey } from "../../src/ledger/command/command.js";
import { readHolds } from "../../src/ledger/hold/rows.js";
import { settleHold } from "../../src/ledger/decide/hold.js";
import type { Command } from "../../src/ledger/command/command.js";
import type { LedgerTransaction } from "../../src/ledger/transaction/transaction.js";
import { decideUnit } from "../../src/ledger/decide/unit.js";
import type { DecidedCommand } from "../../src/ledger/decide/decision.js";
import type { Outcome } from "../../src/ledger/post/outcome.js";
import { openEngineBooks, type EngineBooks, type TestEngine } from "../support/engine.js";
import { capture, extend, hold, hours, increase, release } from "../support/holds.js";
import { assertBooksAddUp, deposit, transfer, withdrawal } from "../support/ledger.js";
import { modelBooks } from "../support/model-books.js";

// Random steps of holds from two engines at once, among other movements, with holds that expire while they are used. The
// journal says in which order they were decided; the pure rules, at the times at which they were recorded, must come to
// the very same.

describe("holds under two posting engines", function () {
  this.timeout(120_000);

  let books: EngineBooks;
  let engines: readonly TestEngine[];

  before(async () => {
    books = await openEngineBooks();
    engines = [await books.startEngine({ GREY_POSTING_BATCH_MAX: "6" }), await books.startEngine()];
  });
  after(() => books.close());

  const WALLETS = [{}, {}, { maxBalance: 400n }, { minBalance: -100n }, { currencyCode: "EUR" }];
  const planned = fc.record({
    do: fc.constantFrom(
      ...(["hold", "hold", "short", "capture", "capture", "final", "rest", "increase", "extend", "release"] as const),
      ...(["expire", "deposit", "transfer", "withdrawal", "copy", "copy", "freeze", "open", "turn", "settle"] as const),
    ),
    engine: fc.nat(1),
    from: fc.nat(WALLETS.length - 1),
    to: fc.nat(WALLETS.length - 1),
    isForWallet: fc.boolean(),
    amount: fc.bigInt({ min: 0n, max: 150n }),
    /** Which of the holds so far. */
    which: fc.nat(),
  });
  type Planned = typeof planned extends fc.Arbitrary<infer T> ? T : never;

  interface Told {
    readonly command: Command;
    readonly outcome: Promise<Outcome>;
  }

  function commandOf(
    plan: Planned,
    index: number,
    ids: readonly Uuid[],
    holdIds: readonly Uuid[],
  ): Command | undefined {
    const from = ids[plan.from]!;
    const to = ids[plan.to]!;
    const holdId = holdIds[plan.which % holdIds.length];
    const amount = plan.amount + 1n;
    switch (plan.do) {
      case "hold":
        return hold(from, amount, { toWalletId: plan.isForWallet ? to : null });
      case "short":
        return hold(from, amount, { toWalletId: plan.isForWallet ? to : null, expiry: { inMicros: 4_000n } });
      case "deposit":
        return deposit(from, amount);
      case "transfer":
        return transfer(from, to, amount);
      case "withdrawal":
        return withdrawal(from, amount);
      default:
        return holdId === undefined ? undefined : stepOf(plan, index, to, holdId);
    }
  }

  function stepOf(plan: Planned, index: number, to: Uuid, holdId: Uuid): Command | undefined {
    const amount = plan.amount + 1n;
    switch (plan.do) {
      case "capture":
        return capture(holdId, amount, plan.isForWallet ? { to: { walletId: to } } : {});
      case "final":
        return capture(holdId, plan.amount, { isFinal: true });
      case "rest":
        return capture(holdId, null, { to: { systemAccount: plan.isForWallet ? "fees" : "nowhere" } });
      case "increase":
        return increase(holdId, amount);
      case "extend":
        // An hour is more than clocks differ by.
        return extend(holdId, hours(BigInt(index) + 2n));
      case "release":
        return release(holdId);
      case "expire":
        return toExpiryCommand(holdId);
      default:
        return undefined;
    }
  }

  async function run(plans: readonly Planned[], ids: readonly Uuid[]): Promise<Told[]> {
    const told: Told[] = [];
    const holdIds: Uuid[] = [];
    // The run waits for every outcome at its end, and fails by it.
    const post = (engine: number, command: Command): Promise<Outcome> => {
      const work = { commands: [command], mode: "INDEPENDENT" } as const;
      const outcome = engines[engine]!.engine.post(work, { assertWaiting: () => undefined }).then(([one]) => one!);
      told.push({ command, outcome });
      return outcome;
    };
    for (const id of ids.slice(0, 4)) {
      post(0, deposit(id, 300n)).catch(() => undefined);
    }
    for (const [index, plan] of plans.entries()) {
      if (plan.do === "turn") await nextTurn();
      if (plan.do === "settle") await Promise.all(told.map(({ outcome }) => outcome));
      if (plan.do === "freeze" || plan.do === "open") {
        // Of a wallet that nothing else is about to change: the order in the journal is known.
        await Promise.all(told.map(({ outcome }) => outcome));
        const state = plan.do === "freeze" ? ACCOUNT_STATE.FROZEN : ACCOUNT_STATE.OPEN;
        await books.changeAccount(ids[plan.from]!, { state });
        changes.push({ at: told.length, id: ids[plan.from]!, state });
      }
      const earlier = told[plan.which % Math.max(1, told.length)]?.command;
      const command =
        plan.do === "copy" && earlier !== undefined && earlier.kind !== "HOLD_EXPIRY"
          ? { ...earlier, transactionId: newId() }
          : commandOf(plan, index, ids, holdIds);
      if (command === undefined) continue;
      const outcome = post(plan.engine, command);
      // A caller knows a hold only once it is answered.
      if (command.kind === "HOLD") {
        outcome.then(
          () => holdIds.push(command.transactionId),
          () => undefined,
        );
      }
      if (command.kind === "HOLD" && plan.isForWallet) await outcome;
    }
    await Promise.all(told.map(({ outcome }) => outcome));
    return told;
  }

  let changes: { at: number; id: Uuid; state: 1 | 2 }[] = [];

  it("come to what the rules say, one step after the other in the order of the journal", async () => {
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(fc.array(planned, { minLength: 20, maxLength: 60 }), async (plans) => {
        changes = [];
        const ids: Uuid[] = [];
        for (const limits of WALLETS) ids.push(...(await books.openWallets(1, limits)));
        const accounts = [...ids, systemAccountId("USD", "cash"), systemAccountId("USD", "fees")];
        const model = modelBooks([]);
        for (const { account: book } of await readAccounts(books.database.pool, accounts)) model.set(book.id, book);
        const told = await run(plans, ids);

        const outcomes = await Promise.all(told.map(({ outcome }) => outcome));
        const commandOfId = new Map(told.map(({ command }) => [command.transactionId, command]));
        const found = await findTransactions(books.database.pool, [...commandOfId.keys()]);
        const recorded = [...found.values()].sort((a, b) => (a.journalIndex < b.journalIndex ? -1 : 1));
        const pendingChanges = [...changes];
        const answered = new Map<string, LedgerTransaction>();
        for (const transaction of recorded) {
          // Everything before a change was answered before it.
          while (pendingChanges.length > 0 && pendingChanges[0]!.at <= firstAsk(told, transaction.requestId)) {
            const { id, state } = pendingChanges.shift()!;
            model.set(id, { ...model.get(id)!, state });
          }
          const command = commandOfId.get(transaction.id)!;
          model.now = transaction.createTime;
          const verdicts = decideUnit(
            model,
            { commands: [command], mode: "INDEPENDENT" },
            toReplays(answered, findDifferences),
          );
          const [decided] = verdicts.filter((one): one is DecidedCommand => "decision" in one);
          const decision = decided?.decision;
          expect(
            decision,
            `${command.kind} at ${transaction.journalIndex}: ${JSON.stringify(verdicts, show)}`,
          ).not.to.equal(undefined);
          expect(transaction.failure).to.deep.equal("failure" in decision! ? decision.failure : null);
          expect(transaction.entries).to.deep.equal("entries" in decision! ? decision.entries : []);
          for (const [id, one] of model.holds)
            if (one.createTime === null || one.expireTime === null)
              model.holds.set(id, settleHold(one, transaction.createTime));
          const after =
            "entries" in decision! && decision.hold !== null ? settleHold(decision.hold, transaction.createTime) : null;
          expect(transaction.hold).to.deep.equal(after);
          if (after !== null) model.holds.set(after.id, after);
          answered.set(requestKey(command), transaction);
        }
        for (const { account: book } of await readAccounts(books.database.pool, accounts)) {
          // Changes after the last movement.
          const state = model.get(book.id)!.state;
          expect({ ...book, state }).to.deep.equal(shared(book.id) ? { ...book, state } : model.get(book.id));
        }
        for (const { hold: now } of await readHolds(books.database.pool, [...model.holds.keys()])) {
          expect(now).to.deep.equal(model.holds.get(now.id));
        }
        told.forEach(({ command }, index) => {
          const outcome = outcomes[index]!;
          if ("failure" in outcome) {
            seen.add(outcome.failure.reason);
            return;
          }
          const { transaction, replayed } = outcome;
          seen.add(transaction.failure?.reason ?? `POSTED ${transaction.kind}`);
          if (replayed) seen.add("REPLAYED");
          expect(transaction).to.deep.equal(found.get(transaction.id) ?? transaction);
          expect(transaction.requestId).to.equal(command.requestId);
        });
      }),
      { numRuns: 60 },
    );
    // A plan that never meets these proves little.
    expect([...seen]).to.include.members([
      ...["HOLD", "HOLD_INCREASE", "HOLD_EXTENSION", "HOLD_CAPTURE", "HOLD_RELEASE", "HOLD_EXPIRY"].map(
        (kind) => `POSTED ${kind}`,
      ),
      "REPLAYED",
      "HOLD_NOT_FOUND",
      "HOLD_ENDED",
      "HOLD_EXPIRED",
      "HOLD_EXCEEDED",
      "HOLD_HAS_DESTINATION",
      "INSUFFICIENT_FUNDS",
      "WALLET_FROZEN",
    ]);
    await assertBooksAddUp(books.database);
  });

  /** Accounts that other runs post to as well. */
  function shared(id: Uuid): boolean {
    return id === systemAccountId("USD", "cash") || id === systemAccountId("USD", "fees");
  }

  function firstAsk(told: readonly Told[], requestId: Uuid): number {
    return told.findIndex(({ command }) => command.requestId === requestId);
  }
});

function show(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? `${value}n` : value;
}
