import { AmountMode } from "../../generated/grey/transaction/v1/transaction.js";
import { status } from "@grpc/grpc-js";
import type { Command } from "commander";
import { setTimeout as sleep } from "node:timers/promises";
import { TransactionServiceService } from "../../generated/grey/transaction/v1/transaction_service.js";
import { UserServiceService } from "../../generated/grey/user/v1/user_service.js";
import { WalletServiceService } from "../../generated/grey/wallet/v1/wallet_service.js";
import { assertPresent } from "../base/assert.js";
import { clientAddress, DEFAULT_ADDRESS, readConfig } from "../config/config.js";
import type { Currencies } from "./amount.js";
import { CallError, UsageError } from "./failure.js";
import { runInOrder } from "./in-order.js";
import { examples, type GlobalOptions, wholeNumber } from "./options.js";
import { startProgress } from "./progress.js";
import { type PlannedMovement, type PlannedWallet, planSeed, type SeedPlan } from "./seed-plan.js";
import { print, printJson, type Session, withSession } from "./session.js";
import { renderFields } from "./table.js";

const IN_FLIGHT_MAX = 16;
const ATTEMPTS_MAX = 5;

interface SeedCommandOptions {
  readonly users: number;
  readonly transactions: number;
  readonly seed: number;
  readonly currency: string;
}

export function addSeedCommand(program: Command): void {
  program
    .command("seed")
    .description("fill the server with made-up users, wallets and a history of movements")
    .option("--users <n>", "how many users", wholeNumber(1, 100_000), 10)
    .option("--transactions <n>", "how many deposits, withdrawals and transfers", wholeNumber(0, 1_000_000), 200)
    .option("--seed <n>", "what everything follows from", wholeNumber(0, 4_294_967_295), 1)
    .option("--currency <code>", "the currency of the wallets", "USD")
    .addHelpText(
      "after",
      `
Names, amounts and request ids follow from --seed: the same command again is answered
from what is stored, and changes nothing. Another --seed makes other users.
` + examples("seed", "seed --users 100 --transactions 5000 --seed 7 --currency EUR"),
    )
    .action((options: SeedCommandOptions, command: Command) =>
      withSession(command, async (session) => {
        const currencyCode = options.currency.toUpperCase();
        requireCurrency(currencyCode, await session.currencies());
        const plan = planSeed({ ...options, currencyCode });
        const begin = performance.now();
        const outcome = await carryOut(plan, currencyCode, session);
        const seconds = ((performance.now() - begin) / 1_000).toFixed(1);
        if (session.json) printJson({ seed: options.seed, currencyCode, ...outcome });
        else print(...summarise(plan, currencyCode, outcome, seconds, greyOf(command)));
      }),
    );
}

function requireCurrency(currencyCode: string, currencies: Currencies): void {
  if (!currencies.has(currencyCode)) throw new UsageError(`--currency: the server has no currency ${currencyCode}`);
}

/** How many of one sort of request had which end. */
interface Tally {
  made: number;
  replayed: number;
  refused: number;
}

interface Outcome {
  readonly users: Tally;
  readonly wallets: Tally;
  readonly transactions: Tally;
  readonly walletIds: readonly string[];
}

async function carryOut(plan: SeedPlan, currencyCode: string, session: Session): Promise<Outcome> {
  const userIds: string[] = [];
  const users = await runStage(
    "users",
    [...plan.users.entries()],
    () => [],
    async ([index, planned]) => {
      const reply = await session.call(UserServiceService.createUser, { ...planned, metadata: {} });
      userIds[index] = assertPresent(reply.user, "user").id;
      return reply;
    },
  );

  const walletIds: string[] = [];
  const wallets = await runStage(
    "wallets",
    [...plan.wallets.entries()],
    ([, planned]) => [planned.owner],
    async ([index, planned]) => {
      const reply = await createWallet(
        planned,
        assertPresent(userIds[planned.owner], "user id"),
        currencyCode,
        session,
      );
      walletIds[index] = assertPresent(reply.wallet, "wallet").id;
      return reply;
    },
  );

  const transactions = await runStage("transactions", plan.movements, walletsOf, (movement) =>
    post(movement, walletIds, currencyCode, session),
  );
  return { users, wallets, transactions, walletIds };
}

function createWallet(planned: PlannedWallet, userId: string, currencyCode: string, session: Session) {
  return session.call(WalletServiceService.createWallet, {
    requestId: planned.requestId,
    userId,
    currencyCode,
    label: planned.label,
    initialBalance: { currencyCode, minorUnits: planned.initialMinor },
    metadata: {},
  });
}

function walletsOf(movement: PlannedMovement): number[] {
  if (movement.kind === "deposit") return [movement.credit];
  if (movement.kind === "withdrawal") return [movement.debit];
  return [movement.debit, movement.credit];
}

function post(
  movement: PlannedMovement,
  walletIds: readonly string[],
  currencyCode: string,
  session: Session,
): Promise<{ replayed: boolean }> {
  const { requestId, description, amountMinor } = movement;
  const amount = { currencyCode, minorUnits: amountMinor };
  const request = {
    requestId,
    description,
    amount,
    metadata: {},
    effectiveTime: undefined,
    externalReference: "",
    preconditions: [],
    dryRun: false,
  };
  const idOf = (wallet: number) => assertPresent(walletIds[wallet], "wallet id");
  if (movement.kind === "deposit") {
    const to = { walletId: idOf(movement.credit), systemAccount: "" };
    return session.call(TransactionServiceService.deposit, { ...request, ...to });
  }
  if (movement.kind === "withdrawal") {
    const from = { walletId: idOf(movement.debit), systemAccount: "", amountMode: AmountMode.EXACT };
    return session.call(TransactionServiceService.withdraw, { ...request, ...from });
  }
  const sides = {
    fromWalletId: idOf(movement.debit),
    toWalletId: idOf(movement.credit),
    amountMode: AmountMode.EXACT,
  };
  return session.call(TransactionServiceService.transfer, { ...request, ...sides });
}

async function runStage<T>(
  what: string,
  items: readonly T[],
  touches: (item: T) => readonly unknown[],
  request: (item: T) => Promise<{ readonly replayed: boolean }>,
): Promise<Tally> {
  const tally: Tally = { made: 0, replayed: 0, refused: 0 };
  const progress = startProgress(what, items.length);
  const work = async (item: T) => {
    tally[await tryRequest(() => request(item))]++;
    progress.advance();
  };
  try {
    await runInOrder(items, touches, work, IN_FLIGHT_MAX);
  } finally {
    progress.end();
  }
  return tally;
}

/**
 * Makes the request, again after a while when the server asks for that. A refusal is an end like another: somebody may
 * have emptied, frozen or closed a wallet.
 */
async function tryRequest(request: () => Promise<{ readonly replayed: boolean }>): Promise<keyof Tally> {
  for (let attempt = 1; ; attempt++) {
    try {
      return (await request()).replayed ? "replayed" : "made";
    } catch (error) {
      if (!(error instanceof CallError)) throw error;
      if (error.failure.code === status.FAILED_PRECONDITION) return "refused";
      const { retryAfterMs } = error.failure;
      if (retryAfterMs === undefined || attempt === ATTEMPTS_MAX) throw asOfSeed(error);
      await sleep(retryAfterMs);
    }
  }
}

/** The error without the id of its request: whoever tries again gives the seed, not the id. */
function asOfSeed({ failure, call, cause }: CallError): CallError {
  return new CallError(failure, { ...call, requestId: undefined }, { cause });
}

/** The command for the same server, in a terminal without settings. */
function greyOf(command: Command): string {
  const address = command.optsWithGlobals<GlobalOptions>().address ?? clientAddress(readConfig());
  return address === DEFAULT_ADDRESS ? "npx grey" : `npx grey --address ${address}`;
}

/** @param grey how the command is called for this server */
function summarise(plan: SeedPlan, currencyCode: string, outcome: Outcome, seconds: string, grey: string): string[] {
  const { users, wallets, transactions } = outcome;
  const email = assertPresent(plan.users[0], "first user").email;
  const [from, to] = outcome.walletIds;
  const next = [
    `user get ${email}`,
    `balance ${email}`,
    `transactions --user ${email} --limit 10`,
    ...(to === undefined ? [] : [`transfer ${from} ${to} 1 ${currencyCode}`]),
    "check",
  ].map((line) => `${grey} ${line}`);
  return [
    renderFields([
      ["users", showTally(users)],
      ["wallets", showTally(wallets)],
      ["transactions", showTally(transactions)],
      ["time", `${seconds} s`],
    ]),
    `Next, try:\n${next.map((line) => `  ${line}`).join("\n")}`,
  ];
}

function showTally({ made, replayed, refused }: Tally): string {
  const parts = [`${made} made`, replayed > 0 && `${replayed} made before`, refused > 0 && `${refused} refused`];
  return parts.filter((part) => part !== false).join(", ");
}
