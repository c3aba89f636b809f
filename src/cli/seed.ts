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
import { examples, type GlobalOptions, wholeNumberReader } from "./options.js";
import { startItemProgress } from "./progress.js";
import { type PlannedMovement, type PlannedWallet, planSeed, type SeedPlan } from "./seed-plan.js";
import { print, printJson, type CommandContext, withContext } from "./command-context.js";
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
    .description("create sample users, wallets and transactions")
    .option("--users <n>", "the number of users", wholeNumberReader(1, 100_000), 10)
    .option(
      "--transactions <n>",
      "the number of deposits, withdrawals and transfers",
      wholeNumberReader(0, 1_000_000),
      200,
    )
    .option("--seed <n>", "the seed of the generated data", wholeNumberReader(0, 4_294_967_295), 1)
    .option("--currency <code>", "the currency of the wallets", "USD")
    .addHelpText(
      "after",
      `
Names, amounts and request ids are derived from --seed: repeating the command changes
nothing, and another --seed creates other users.
` + examples("seed", "seed --users 100 --transactions 5000 --seed 7 --currency EUR"),
    )
    .action((options: SeedCommandOptions, command: Command) =>
      withContext(command, async (context) => {
        const currencyCode = options.currency.toUpperCase();
        assertCurrency(currencyCode, await context.currencies());
        const plan = planSeed({ ...options, currencyCode });
        const begin = performance.now();
        const outcome = await executePlan(plan, currencyCode, context);
        const seconds = ((performance.now() - begin) / 1_000).toFixed(1);
        if (context.json) printJson({ seed: options.seed, currencyCode, ...outcome });
        else print(...summarise(plan, currencyCode, outcome, seconds, renderGreyCommand(command)));
      }),
    );
}

function assertCurrency(currencyCode: string, currencies: Currencies): void {
  if (!currencies.has(currencyCode)) throw new UsageError(`--currency: the server has no currency ${currencyCode}`);
}

/** The number of requests of one type by outcome. */
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

async function executePlan(plan: SeedPlan, currencyCode: string, context: CommandContext): Promise<Outcome> {
  const userIds: string[] = [];
  const users = await runStage(
    "users",
    [...plan.users.entries()],
    () => [],
    async ([index, planned]) => {
      const reply = await context.call(UserServiceService.createUser, { ...planned, metadata: {} });
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
        context,
      );
      walletIds[index] = assertPresent(reply.wallet, "wallet").id;
      return reply;
    },
  );

  const transactions = await runStage("transactions", plan.movements, listWallets, (movement) =>
    post(movement, walletIds, currencyCode, context),
  );
  return { users, wallets, transactions, walletIds };
}

function createWallet(planned: PlannedWallet, userId: string, currencyCode: string, context: CommandContext) {
  return context.call(WalletServiceService.createWallet, {
    requestId: planned.requestId,
    userId,
    currencyCode,
    label: planned.label,
    initialBalance: { currencyCode, minorUnits: planned.initialMinor },
    metadata: {},
  });
}

function listWallets(movement: PlannedMovement): number[] {
  if (movement.kind === "deposit") return [movement.credit];
  if (movement.kind === "withdrawal") return [movement.debit];
  return [movement.debit, movement.credit];
}

function post(
  movement: PlannedMovement,
  walletIds: readonly string[],
  currencyCode: string,
  context: CommandContext,
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
  const findWalletId = (wallet: number) => assertPresent(walletIds[wallet], "wallet id");
  if (movement.kind === "deposit") {
    const to = { walletId: findWalletId(movement.credit), systemAccount: "" };
    return context.call(TransactionServiceService.deposit, { ...request, ...to });
  }
  if (movement.kind === "withdrawal") {
    const from = { walletId: findWalletId(movement.debit), systemAccount: "", amountMode: AmountMode.EXACT };
    return context.call(TransactionServiceService.withdraw, { ...request, ...from });
  }
  const sides = {
    fromWalletId: findWalletId(movement.debit),
    toWalletId: findWalletId(movement.credit),
    amountMode: AmountMode.EXACT,
  };
  return context.call(TransactionServiceService.transfer, { ...request, ...sides });
}

async function runStage<T>(
  what: string,
  items: readonly T[],
  touches: (item: T) => readonly unknown[],
  request: (item: T) => Promise<{ readonly replayed: boolean }>,
): Promise<Tally> {
  const tally: Tally = { made: 0, replayed: 0, refused: 0 };
  const progress = startItemProgress(what, items.length);
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
 * Sends the request and retries it if the server permits. A refusal is a regular outcome: a wallet may meanwhile have
 * been emptied, frozen or closed.
 */
async function tryRequest(request: () => Promise<{ readonly replayed: boolean }>): Promise<keyof Tally> {
  for (let attempt = 1; ; attempt++) {
    try {
      return (await request()).replayed ? "replayed" : "made";
    } catch (error) {
      if (!(error instanceof CallError)) throw error;
      if (error.failure.code === status.FAILED_PRECONDITION) return "refused";
      const { retryAfterMs } = error.failure;
      if (retryAfterMs === undefined || attempt === ATTEMPTS_MAX) throw withoutRequestId(error);
      await sleep(retryAfterMs);
    }
  }
}

/** Removes the request id from the error: the user retries with the same seed, not with the id. */
function withoutRequestId({ failure, call, cause }: CallError): CallError {
  return new CallError(failure, { ...call, requestId: undefined }, { cause });
}

/** Returns the `grey` command that reaches this server from a shell without settings. */
function renderGreyCommand(command: Command): string {
  const address = command.optsWithGlobals<GlobalOptions>().address ?? clientAddress(readConfig());
  return address === DEFAULT_ADDRESS ? "npx grey" : `npx grey --address ${address}`;
}

/** @param grey the command that reaches this server */
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
  const parts = [`${made} created`, replayed > 0 && `${replayed} already existed`, refused > 0 && `${refused} refused`];
  return parts.filter((part) => part !== false).join(", ");
}
