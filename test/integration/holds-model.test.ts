import { findDifferences } from "../../src/services/transaction/find-differences.js";
import { setImmediate as nextTurn } from "node:timers/promises";
import { expect } from "chai";
import * as fc from "fast-check";
import { newId, systemAccountId, type Uuid } from "../../src/base/ids.js";
import { ACCOUNT_STATE } from "../../src/base/codes.js";
import { readAccounts } from "../../src/ledger/account/store.js";
import { toExpiryCommand } from "../../src/ledger/hold/expiry.js";
import { findTransactions } from "../../src/ledger/transaction/store.js";
import { readHolds } from "../../src/ledger/hold/store.js";
import { settleHold } from "../../src/ledger/decide/hold.js";
import { requestKey, type Command } from "../../src/ledger/command/command.js";
import type { LedgerTransaction } from "../../src/ledger/transaction/transaction.js";
import { decideUnit } from "../../src/ledger/decide/unit.js";
import type { DecidedCommand } from "../../src/ledger/decide/decision.js";
import { toReplays, type Outcome } from "../../src/ledger/post/outcome.js";
import { openEngineLedger, startSharingEngines, type EngineLedger, type TestEngine } from "../support/engine.js";
import { capture, extend, hold, hours, increase, release } from "../support/holds.js";
import { assertIntegrity, deposit, transfer, withdrawal } from "../support/ledger.js";
import { createModelState } from "../support/model-state.js";

// Random steps of holds from two engines at once, among other movements, with holds that expire during use. The journal has the order of
// decisions; the pure rules, applied at the record times, must yield the same outcomes.

for (const isSharing of [false, true])
  describe(`holds under two engines${isSharing ? " of which one posts for both" : ""}`, function () {
    this.timeout(120_000);

    let ledger: EngineLedger;
    let engines: readonly TestEngine[];

    before(async () => {
      ledger = await openEngineLedger();
      const settings = { GREY_POSTING_BATCH_MAX: "6" };
      engines = isSharing
        ? await startSharingEngines(ledger, settings)
        : [await ledger.startEngine(settings), await ledger.startEngine()];
    });
    after(() => ledger.close());

    const WALLETS = [{}, {}, { maxBalance: 400n }, { minBalance: -100n }, { currencyCode: "EUR" }];
    const planned = fc.record({
      do: fc.constantFrom(
        ...(["hold", "hold", "short", "capture", "capture", "final", "rest", "increase", "extend", "release"] as const),
        ...([
          "expire",
          "deposit",
          "transfer",
          "withdrawal",
          "copy",
          "copy",
          "freeze",
          "open",
          "turn",
          "settle",
        ] as const),
      ),
      engine: fc.nat(1),
      from: fc.nat(WALLETS.length - 1),
      to: fc.nat(WALLETS.length - 1),
      isForWallet: fc.boolean(),
      amount: fc.bigInt({ min: 0n, max: 150n }),
      /** The index of one of the holds so far. */
      which: fc.nat(),
    });
    type Planned = typeof planned extends fc.Arbitrary<infer T> ? T : never;

    interface Submission {
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
          // An hour exceeds any difference of clocks.
          return extend(holdId, hours(BigInt(index) + 2n));
        case "release":
          return release(holdId);
        case "expire":
          return toExpiryCommand(holdId);
        default:
          return undefined;
      }
    }

    async function run(plans: readonly Planned[], ids: readonly Uuid[]): Promise<Submission[]> {
      const submissions: Submission[] = [];
      const holdIds: Uuid[] = [];
      // The test awaits every outcome at its end, and fails there.
      const post = (engine: number, command: Command): Promise<Outcome> => {
        const unit = { commands: [command], mode: "INDEPENDENT" } as const;
        const outcome = engines[engine]!.posting.post(unit, { assertWaiting: () => undefined }).then(([one]) => one!);
        submissions.push({ command, outcome });
        return outcome;
      };
      for (const id of ids.slice(0, 4)) {
        post(0, deposit(id, 300n)).catch(() => undefined);
      }
      for (const [index, plan] of plans.entries()) {
        if (plan.do === "turn") await nextTurn();
        if (plan.do === "settle") await Promise.all(submissions.map(({ outcome }) => outcome));
        if (plan.do === "freeze" || plan.do === "open") {
          // No other command changes this wallet: the order in the journal is known.
          await Promise.all(submissions.map(({ outcome }) => outcome));
          const state = plan.do === "freeze" ? ACCOUNT_STATE.FROZEN : ACCOUNT_STATE.OPEN;
          await ledger.changeAccount(ids[plan.from]!, { state });
          changes.push({ at: submissions.length, id: ids[plan.from]!, state });
        }
        const earlier = submissions[plan.which % Math.max(1, submissions.length)]?.command;
        const command =
          plan.do === "copy" && earlier !== undefined && earlier.kind !== "HOLD_EXPIRY"
            ? { ...earlier, transactionId: newId() }
            : commandOf(plan, index, ids, holdIds);
        if (command === undefined) continue;
        const outcome = post(plan.engine, command);
        // A caller knows a hold only after the response.
        if (command.kind === "HOLD") {
          outcome.then(
            () => holdIds.push(command.transactionId),
            () => undefined,
          );
        }
        if (command.kind === "HOLD" && plan.isForWallet) await outcome;
      }
      await Promise.all(submissions.map(({ outcome }) => outcome));
      return submissions;
    }

    let changes: { at: number; id: Uuid; state: 1 | 2 }[] = [];

    it("follow the rules, one step after the other in the order of the journal", async () => {
      const seen = new Set<string>();
      await fc.assert(
        fc.asyncProperty(fc.array(planned, { minLength: 20, maxLength: 60 }), async (plans) => {
          changes = [];
          const ids: Uuid[] = [];
          for (const limits of WALLETS) ids.push(...(await ledger.openWallets(1, limits)));
          const accounts = [...ids, systemAccountId("USD", "cash"), systemAccountId("USD", "fees")];
          const model = createModelState([]);
          for (const book of await readAccounts(ledger.database.pool, accounts)) model.set(book.id, book);
          const submissions = await run(plans, ids);

          const outcomes = await Promise.all(submissions.map(({ outcome }) => outcome));
          const commandOfId = new Map(submissions.map(({ command }) => [command.transactionId, command]));
          const found = await findTransactions(ledger.database.pool, [...commandOfId.keys()]);
          const recorded = [...found.values()].sort((a, b) => (a.journalIndex < b.journalIndex ? -1 : 1));
          const pendingChanges = [...changes];
          const processed = new Map<string, LedgerTransaction>();
          for (const transaction of recorded) {
            // All commands before a change were completed before it.
            while (
              pendingChanges.length > 0 &&
              pendingChanges[0]!.at <= findFirstSubmission(submissions, transaction.requestId)
            ) {
              const { id, state } = pendingChanges.shift()!;
              model.set(id, { ...model.get(id)!, state });
            }
            const command = commandOfId.get(transaction.id)!;
            model.now = transaction.createTime;
            const verdicts = decideUnit(
              model,
              { commands: [command], mode: "INDEPENDENT" },
              toReplays(processed, findDifferences),
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
              "entries" in decision! && decision.hold !== null
                ? settleHold(decision.hold, transaction.createTime)
                : null;
            expect(transaction.hold).to.deep.equal(after);
            if (after !== null) model.holds.set(after.id, after);
            processed.set(requestKey(command), transaction);
          }
          for (const book of await readAccounts(ledger.database.pool, accounts)) {
            // Changes after the last movement.
            const state = model.get(book.id)!.state;
            expect({ ...book, state }).to.deep.equal(shared(book.id) ? { ...book, state } : model.get(book.id));
          }
          for (const { hold: now } of await readHolds(ledger.database.pool, [...model.holds.keys()])) {
            expect(now).to.deep.equal(model.holds.get(now.id));
          }
          submissions.forEach(({ command }, index) => {
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
      // A plan without these cases proves little.
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
      await assertIntegrity(ledger.database);
    });

    /** Accounts that other tests post to as well. */
    function shared(id: Uuid): boolean {
      return id === systemAccountId("USD", "cash") || id === systemAccountId("USD", "fees");
    }

    function findFirstSubmission(submissions: readonly Submission[], requestId: Uuid): number {
      return submissions.findIndex(({ command }) => command.requestId === requestId);
    }
  });

function show(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? `${value}n` : value;
}
