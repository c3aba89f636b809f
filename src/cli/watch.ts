import { Option, type Command } from "commander";
import { TransactionKind, type Transaction } from "../../generated/grey/transaction/v1/transaction.js";
import { TransactionServiceService } from "../../generated/grey/transaction/v1/transaction_service.js";
import { WalletServiceService } from "../../generated/grey/wallet/v1/wallet_service.js";
import { WalletState } from "../../generated/grey/wallet/v1/wallet.js";
import type { WatchWalletResponse } from "../../generated/grey/wallet/v1/watch.js";
import type { Balance } from "../../generated/grey/wallet/v1/balance.js";
import { type Currencies, showMoney } from "./amount.js";
import { examples, KIND_CHOICES, STATE_CHOICES, wholeNumberReader } from "./options.js";
import { nameAccounts, createAccountNames } from "./names.js";
import { showEnum, showOutcome } from "./render.js";
import { showTime } from "./time.js";
import { replyToJson } from "./json.js";
import { type CommandContext, withContext } from "./command-context.js";
import { detectScreen, selectForm } from "./table.js";
import { printable } from "./text.js";
import { ABOUT_WALLETS, resolveUser, resolveWallet } from "./resolve.js";

interface WatchOptions {
  readonly from?: number;
  readonly limit?: number;
}

interface TransactionOptions extends WatchOptions {
  readonly wallet?: readonly string[];
  readonly user?: string;
  readonly kind?: readonly string[];
  readonly state?: readonly string[];
}

function fromOption(): Option {
  return new Option("--from <index>", "start at this journal index; 0: the beginning (default: now)").argParser(
    wholeNumberReader(0, Number.MAX_SAFE_INTEGER),
  );
}

function limitOption(): Option {
  return new Option("--limit <n>", "stop after this number of lines (default: never)").argParser(
    wholeNumberReader(1, 1_000_000_000),
  );
}

const ABOUT_WATCHING = `
The watch runs until Ctrl-C. With --json, each line is one message, including progress
messages without data. To resume after a message without a gap, pass its journalIndex + 1
to --from.
`;

/** Adds `grey transactions watch`. */
export function addTransactionsWatch(transactions: Command): void {
  transactions
    .command("watch")
    .description("print each transaction as it is committed, one per line")
    .option("--wallet <wallet...>", "only transactions of these wallets")
    .option("--user <user>", "only transactions of this user's wallets; by id or email")
    .addOption(new Option("--kind <kind...>", "only these kinds").choices([...KIND_CHOICES.keys()]))
    .addOption(
      new Option("--state <state...>", "only these states (default: posted)").choices([...STATE_CHOICES.keys()]),
    )
    .addOption(fromOption())
    .addOption(limitOption())
    .addHelpText(
      "after",
      examples("transactions watch", "transactions watch --user ada@example.com --from 0 --json") + ABOUT_WATCHING,
    )
    .action((options: TransactionOptions, command: Command) =>
      withContext(command, async (context) => {
        const request = {
          ...readStart(options),
          walletIds: await Promise.all((options.wallet ?? []).map((wallet) => resolveWallet(wallet, context))),
          userId: options.user === undefined ? "" : await resolveUser(options.user, context),
          kinds: (options.kind ?? []).map((kind) => KIND_CHOICES.get(kind) ?? 0),
          states: (options.state ?? []).map((state) => STATE_CHOICES.get(state) ?? 0),
        };
        const currencies = await context.currencies();
        await follow(context, options, (take) =>
          context.watch(TransactionServiceService.watchTransactions, request, async (message) =>
            take(
              message.journalIndex,
              () => replyToJson(TransactionServiceService.watchTransactions, message),
              message.transaction && (await renderTransactionLine(message.transaction, currencies, context)),
            ),
          ),
        );
      }),
    );
}

/** Adds `grey wallet watch`. */
export function addWalletWatch(wallet: Command): void {
  wallet
    .command("watch <wallet>")
    .description("print a wallet's balance and each change of its balance or state, one per line")
    .addOption(fromOption())
    .addOption(limitOption())
    .addHelpText(
      "after",
      examples("wallet watch 01890a5d-ac96-774b-bcce-b302099a8057") + ABOUT_WATCHING + ABOUT_WALLETS,
    )
    .action((wallet: string, options: WatchOptions, command: Command) =>
      withContext(command, async (context) => {
        const walletId = await resolveWallet(wallet, context);
        const currencies = await context.currencies();
        const request = { walletId, ...readStart(options) };
        await follow(context, options, (take) =>
          context.watch(WalletServiceService.watchWallet, request, (message) =>
            take(
              message.journalIndex,
              () => replyToJson(WalletServiceService.watchWallet, message),
              renderChangeLine(message, currencies),
            ),
          ),
        );
      }),
    );
}

function readStart({ from }: WatchOptions): { fromJournalIndex?: bigint } {
  return from === undefined ? {} : { fromJournalIndex: BigInt(from) };
}

/** Handles a message, given as JSON and, unless it only reports progress, as a line. Returns false to end the watch. */
type Take = (journalIndex: bigint, json: () => unknown, line: string | undefined) => boolean;

/** Prints the messages of a watch and, at the end, how to resume it. */
async function follow(
  { json, note }: CommandContext,
  { limit = Infinity }: WatchOptions,
  watch: (take: Take) => Promise<void>,
): Promise<void> {
  let resumeAt: bigint | undefined;
  let count = 0;
  try {
    await watch((journalIndex, message, line) => {
      if (resumeAt === undefined)
        note(`watching from journal index ${journalIndex + 1n}`, { watchingFrom: String(journalIndex + 1n) });
      resumeAt = journalIndex + 1n;
      if (json) console.log(printable(JSON.stringify(message())));
      else if (line !== undefined) console.log(line);
      if (line !== undefined) count += 1;
      return count < limit;
    });
  } finally {
    if (resumeAt !== undefined) note(`to resume: --from ${resumeAt}`, { goOnFrom: String(resumeAt) });
  }
}

async function renderTransactionLine(
  transaction: Transaction,
  currencies: Currencies,
  context: CommandContext,
): Promise<string> {
  const { amount, debitAccountId, creditAccountId } = transaction;
  const names = context.json
    ? createAccountNames(new Map())
    : await nameAccounts([debitAccountId, creditAccountId], context);
  const formatAccount = (id: string): string =>
    selectForm(names.toCell(id), detectScreen().width === undefined ? 0 : 1);
  return printable(
    [
      transaction.journalIndex,
      showTime(transaction.createTime),
      showEnum(TransactionKind, transaction.kind),
      showMoney(amount, currencies),
      creditAccountId === ""
        ? formatAccount(debitAccountId)
        : `${formatAccount(debitAccountId)} -> ${formatAccount(creditAccountId)}`,
      showOutcome(transaction),
      transaction.id,
      transaction.description,
    ]
      .filter((part) => part !== "")
      .join("  "),
  );
}

function renderChangeLine(
  { journalIndex, balance, state, transactionId }: WatchWalletResponse,
  currencies: Currencies,
): string | undefined {
  if (balance === undefined && state === WalletState.UNSPECIFIED) return undefined;
  return [
    journalIndex,
    ...(state === WalletState.UNSPECIFIED ? [] : [showEnum(WalletState, state)]),
    ...(balance === undefined ? [] : [renderBalanceLine(balance, currencies)]),
    ...(transactionId === "" ? [] : [`by ${transactionId}`]),
  ].join("  ");
}

function renderBalanceLine({ posted, available, pendingIncoming, version }: Balance, currencies: Currencies): string {
  return [
    `posted ${showMoney(posted, currencies)}`,
    `available ${showMoney(available, currencies)}`,
    ...(pendingIncoming?.minorUnits === 0n ? [] : [`pending in ${showMoney(pendingIncoming, currencies)}`]),
    `version ${version}`,
  ].join("  ");
}
