import { Option, type Command } from "commander";
import { TransactionKind, type Transaction } from "../../generated/grey/transaction/v1/transaction.js";
import { TransactionServiceService } from "../../generated/grey/transaction/v1/transaction_service.js";
import { WalletServiceService } from "../../generated/grey/wallet/v1/wallet_service.js";
import { WalletState } from "../../generated/grey/wallet/v1/wallet.js";
import type { WatchWalletResponse } from "../../generated/grey/wallet/v1/watch.js";
import type { Balance } from "../../generated/grey/wallet/v1/balance.js";
import { type Currencies, showMoney } from "./amount.js";
import { examples, KIND_CHOICES, STATE_CHOICES, wholeNumber } from "./options.js";
import { nameAccounts, namesFrom } from "./names.js";
import { showEnum, showOutcome } from "./present.js";
import { showTime } from "./time.js";
import { replyToJson } from "./json.js";
import { type Session, withSession } from "./session.js";
import { screenOf, textOf } from "./table.js";
import { printable } from "./text.js";
import { resolveUser, resolveWallet } from "./resolve.js";

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
  return new Option(
    "--from <index>",
    "from this place in the journal on; 0: everything (default: from now on)",
  ).argParser(wholeNumber(0, Number.MAX_SAFE_INTEGER));
}

function limitOption(): Option {
  return new Option("--limit <n>", "end after so many (default: never)").argParser(wholeNumber(1, 1_000_000_000));
}

const ABOUT_WATCHING = `
It goes on until Ctrl-C. With --json, each line is one message, and messages that only tell
how far the journal has been read are printed too. Every message tells its journalIndex:
--from <journalIndex + 1> goes on after it, without a gap.`;

/** @param transactions the command `grey transactions` */
export function addTransactionsWatch(transactions: Command): void {
  transactions
    .command("watch")
    .description("tell each transaction as it is committed, one a line")
    .option("--wallet <wallet...>", "only those that touch one of these wallets")
    .option("--user <user>", "only those that touch a wallet of this user, by id or by email")
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
      withSession(command, async (session) => {
        const request = {
          ...startOf(options),
          walletIds: await Promise.all((options.wallet ?? []).map((wallet) => resolveWallet(wallet, session))),
          userId: options.user === undefined ? "" : await resolveUser(options.user, session),
          kinds: (options.kind ?? []).map((kind) => KIND_CHOICES.get(kind) ?? 0),
          states: (options.state ?? []).map((state) => STATE_CHOICES.get(state) ?? 0),
        };
        const currencies = await session.currencies();
        await follow(session, options, (take) =>
          session.watch(TransactionServiceService.watchTransactions, request, async (message) =>
            take(
              message.journalIndex,
              () => replyToJson(TransactionServiceService.watchTransactions, message),
              message.transaction && (await lineOf(message.transaction, currencies, session)),
            ),
          ),
        );
      }),
    );
}

/** @param wallet the command `grey wallet` */
export function addWalletWatch(wallet: Command): void {
  wallet
    .command("watch <wallet>")
    .description("tell a wallet's balance, and each change of it and of the wallet's state, one a line")
    .addOption(fromOption())
    .addOption(limitOption())
    .addHelpText("after", examples("wallet watch 01890a5d-ac96-774b-bcce-b302099a8057") + ABOUT_WATCHING)
    .action((wallet: string, options: WatchOptions, command: Command) =>
      withSession(command, async (session) => {
        const walletId = await resolveWallet(wallet, session);
        const currencies = await session.currencies();
        const request = { walletId, ...startOf(options) };
        await follow(session, options, (take) =>
          session.watch(WalletServiceService.watchWallet, request, (message) =>
            take(
              message.journalIndex,
              () => replyToJson(WalletServiceService.watchWallet, message),
              changeLine(message, currencies),
            ),
          ),
        );
      }),
    );
}

function startOf({ from }: WatchOptions): { fromJournalIndex?: bigint } {
  return from === undefined ? {} : { fromJournalIndex: BigInt(from) };
}

/** Takes a message: where it is, as JSON, and as a line unless it only tells how far the watch is. Returns whether to go on. */
type Take = (journalIndex: bigint, json: () => unknown, line: string | undefined) => boolean;

/** Prints what a watch tells, and at its end how to go on. */
async function follow(
  { json, note }: Session,
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
    if (resumeAt !== undefined) note(`to go on: --from ${resumeAt}`, { goOnFrom: String(resumeAt) });
  }
}

async function lineOf(transaction: Transaction, currencies: Currencies, session: Session): Promise<string> {
  const { amount, debitAccountId, creditAccountId } = transaction;
  const names = session.json ? namesFrom(new Map()) : await nameAccounts([debitAccountId, creditAccountId], session);
  const nameOf = (id: string): string => textOf(names.cellOf(id), screenOf().width === undefined ? 0 : 1);
  return printable(
    [
      transaction.journalIndex,
      showTime(transaction.createTime),
      showEnum(TransactionKind, transaction.kind),
      showMoney(amount, currencies),
      creditAccountId === "" ? nameOf(debitAccountId) : `${nameOf(debitAccountId)} -> ${nameOf(creditAccountId)}`,
      showOutcome(transaction),
      transaction.id,
      transaction.description,
    ]
      .filter((part) => part !== "")
      .join("  "),
  );
}

function changeLine(
  { journalIndex, balance, state, transactionId }: WatchWalletResponse,
  currencies: Currencies,
): string | undefined {
  if (balance === undefined && state === WalletState.UNSPECIFIED) return undefined;
  return [
    journalIndex,
    ...(state === WalletState.UNSPECIFIED ? [] : [showEnum(WalletState, state)]),
    ...(balance === undefined ? [] : [balanceLine(balance, currencies)]),
    ...(transactionId === "" ? [] : [`by ${transactionId}`]),
  ].join("  ");
}

function balanceLine({ posted, available, pendingIncoming, version }: Balance, currencies: Currencies): string {
  return [
    `posted ${showMoney(posted, currencies)}`,
    `available ${showMoney(available, currencies)}`,
    ...(pendingIncoming?.minorUnits === 0n ? [] : [`pending in ${showMoney(pendingIncoming, currencies)}`]),
    `version ${version}`,
  ].join("  ");
}
