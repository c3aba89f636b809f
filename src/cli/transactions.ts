import { type Command, Option } from "commander";
import {
  type Transaction,
  TransactionKind,
  TransactionState,
  type Entry,
  EntrySide,
} from "../../generated/grey/transaction/v1/transaction.js";
import {
  ListTransactionsResponse,
  type ListTransactionsRequest,
  TransactionServiceService,
} from "../../generated/grey/transaction/v1/transaction_service.js";
import { type Currencies, showAmount, showMoney } from "./amount.js";
import { UsageError } from "./failure.js";
import { examples, limitOption } from "./options.js";
import { collect, moreLine } from "./paging.js";
import { showEnum, showOutcome, showTime, systemAccountName } from "./present.js";
import { print, printJson, type Session, withSession } from "./session.js";
import { renderTable } from "./table.js";
import { resolveUser } from "./user.js";
import { addTransactionsWatch } from "./watch.js";

const KINDS = {
  opening: TransactionKind.OPENING,
  deposit: TransactionKind.DEPOSIT,
  withdrawal: TransactionKind.WITHDRAWAL,
  transfer: TransactionKind.TRANSFER,
} as const;

const STATES = { posted: TransactionState.POSTED, rejected: TransactionState.REJECTED } as const;

interface ListOptions {
  readonly user?: string;
  readonly wallet?: string;
  readonly limit: number;
  readonly all?: true;
  readonly kind?: readonly (keyof typeof KINDS)[];
  readonly state?: readonly (keyof typeof STATES)[];
}

export function addTransactionsCommand(program: Command): void {
  const transactions = program
    .command("transactions")
    .description("list transactions, also without a verb, or watch them");
  transactions
    .command("list", { isDefault: true })
    .description("list the transactions of a user or of a wallet, newest first")
    .option("--user <user>", "those of all wallets of this user, by id or by email")
    .addOption(new Option("--wallet <wallet>", "those of this wallet").conflicts("user"))
    .addOption(limitOption())
    .option("--all", "every transaction, however many, whatever --limit says")
    .addOption(new Option("--kind <kind...>", "only these kinds").choices(Object.keys(KINDS)))
    .addOption(new Option("--state <state...>", "only these states").choices(Object.keys(STATES)))
    .addHelpText(
      "after",
      examples(
        "transactions --user ada@example.com",
        "transactions list --user ada@example.com",
        "transactions --wallet 01890a5d-ac96-774b-bcce-b302099a8057 --kind deposit withdrawal --limit 10",
        "transactions --user ada@example.com --state rejected --all --json",
      ),
    )
    .action((options: ListOptions, command: Command) =>
      withSession(command, async (session) => {
        const of = await readOwner(options, session);
        const filter = {
          of,
          kinds: (options.kind ?? []).map((kind) => KINDS[kind]),
          states: (options.state ?? []).map((state) => STATES[state]),
          createTimeFrom: undefined,
          createTimeBefore: undefined,
        };
        const page = await collect<Transaction>(options.all ? Infinity : options.limit, async (page) => {
          const reply = await session.call(TransactionServiceService.listTransactions, { ...filter, ...page });
          return { items: reply.transactions, nextPageToken: reply.nextPageToken };
        });
        if (session.json) {
          const { items: transactions, nextPageToken } = page;
          return printJson(ListTransactionsResponse.toJSON({ transactions, nextPageToken }));
        }
        const currencies = await session.currencies();
        const table =
          of.$case === "walletId"
            ? renderOfWallet(of.value, page.items, currencies)
            : renderOfUser(page.items, currencies);
        print(
          page.items.length === 0 ? "There are no such transactions." : table,
          moreLine(page, "--limit or --all shows more"),
        );
      }),
    );
  addTransactionsWatch(transactions);
}

async function readOwner(options: ListOptions, session: Session): Promise<NonNullable<ListTransactionsRequest["of"]>> {
  if (options.wallet !== undefined) return { $case: "walletId", value: options.wallet };
  if (options.user !== undefined) return { $case: "userId", value: await resolveUser(options.user, session) };
  throw new UsageError("--user <user> or --wallet <wallet> is required");
}

function renderOfUser(transactions: readonly Transaction[], currencies: Currencies): string {
  return renderTable(
    [
      { title: "time" },
      { title: "kind" },
      { title: "amount", align: "right" },
      { title: "debit" },
      { title: "credit" },
      { title: "transaction" },
      { title: "state" },
      { title: "description" },
    ],
    transactions.map((transaction) => [
      showTime(transaction.createTime),
      showEnum(TransactionKind, transaction.kind),
      showMoney(transaction.amount, currencies),
      accountOf(transaction, transaction.debitAccountId),
      accountOf(transaction, transaction.creditAccountId),
      transaction.id,
      showOutcome(transaction),
      transaction.description,
    ]),
  );
}

/** As the wallet's owner sees them: money that leaves it is negative. */
function renderOfWallet(walletId: string, transactions: readonly Transaction[], currencies: Currencies): string {
  return renderTable(
    [
      { title: "time" },
      { title: "kind" },
      { title: "amount", align: "right" },
      { title: "balance after", align: "right" },
      { title: "other account" },
      { title: "transaction" },
      { title: "state" },
      { title: "description" },
    ],
    transactions.map((transaction) => {
      const leaves = transaction.debitAccountId === walletId.toLowerCase();
      const { amount } = transaction;
      const moves = transaction.holdId === "" || transaction.kind === TransactionKind.HOLD_CAPTURE;
      // Of one with many legs the wallet may have several.
      const own = transaction.entries.filter(({ accountId }) => accountId === walletId.toLowerCase());
      const last = own.at(-1);
      return [
        showTime(transaction.createTime),
        showEnum(TransactionKind, transaction.kind),
        // What only changes what is pending neither leaves nor comes.
        last !== undefined
          ? showAmount(changeOf(own), last.amount?.currencyCode ?? "", currencies)
          : amount && moves
            ? showAmount(leaves ? -amount.minorUnits : amount.minorUnits, amount.currencyCode, currencies)
            : showMoney(amount, currencies),
        showMoney(last?.balanceAfter, currencies),
        accountOf(transaction, leaves ? transaction.creditAccountId : transaction.debitAccountId),
        transaction.id,
        showOutcome(transaction),
        transaction.description,
      ];
    }),
  );
}

/** What the entries of a wallet come to, in minor units. */
function changeOf(entries: readonly Entry[]): bigint {
  return entries.reduce((sum, { side, amount }) => {
    const minorUnits = amount?.minorUnits ?? 0n;
    return side === EntrySide.DEBIT ? sum - minorUnits : sum + minorUnits;
  }, 0n);
}

function accountOf(transaction: Transaction, accountId: string): string {
  return systemAccountName(accountId, transaction.amount?.currencyCode ?? "") ?? accountId;
}
