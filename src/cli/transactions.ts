import { type Command, InvalidArgumentError, Option } from "commander";
import type { Timestamp } from "../../generated/google/protobuf/timestamp.js";
import type { Money } from "../../generated/grey/type/v1/money.js";
import {
  type Transaction,
  TransactionKind,
  TransactionState,
  type Entry,
  EntrySide,
} from "../../generated/grey/transaction/v1/transaction.js";
import type { ListTransactionsRequest, MetadataFilter } from "../../generated/grey/transaction/v1/query.js";
import type { MetadataChange } from "../../generated/grey/transaction/v1/metadata.js";
import { TransactionServiceService } from "../../generated/grey/transaction/v1/transaction_service.js";
import { IdKind } from "../../generated/grey/ledger/v1/naming.js";
import { assertPresent } from "../base/assert.js";
import { type Currencies, readMoney, showAmount, showMoney } from "./amount.js";
import { UsageError } from "./failure.js";
import {
  ABOUT_REQUEST_ID,
  collectMetadata,
  type ChangeOptions,
  examples,
  KIND_CHOICES,
  limitOption,
  readTime,
  requestIdOption,
  STATE_CHOICES,
} from "./options.js";
import { collect, moreLine } from "./paging.js";
import { renderTransaction, requestFields, showEnum, showOutcome } from "./render.js";
import { listAccountIds, nameAccounts, type AccountNames } from "./names.js";
import { drawAccounts, renderSums } from "./t-accounts.js";
import { timeCell } from "./time.js";
import { print, printReply, type CommandContext, withContext } from "./command-context.js";
import { type Cell, type Column, renderFields, renderTable } from "./table.js";
import { ABOUT_WALLETS, resolveId, resolveUser, resolveWallet } from "./resolve.js";
import { addTransactionsWatch } from "./watch.js";

interface ListOptions {
  readonly user?: string;
  readonly wallet?: string;
  readonly limit: number;
  readonly all?: true;
  readonly kind?: readonly string[];
  readonly state?: readonly string[];
  readonly from?: Timestamp;
  readonly before?: Timestamp;
  readonly reference?: string;
  readonly metadata?: readonly MetadataFilter[];
  readonly min?: readonly string[];
  readonly max?: readonly string[];
  readonly currency?: string;
  readonly description?: string;
}

const TRANSACTION = "01890a5d-c0de-7a11-8b2c-2f6e4d1c9a33";

export function addTransactionsCommand(program: Command): void {
  const transactions = program
    .command("transactions")
    .description("list, find, show and watch transactions; lists them if no subcommand is given");
  transactions
    .command("list", { isDefault: true })
    .description("list transactions, of one user or wallet or all, newest first")
    .option("--user <user>", "only transactions of this user's wallets; by id or email")
    .addOption(new Option("--wallet <wallet>", "only transactions of this wallet").conflicts("user"))
    .addOption(limitOption())
    .option("--all", "all transactions; overrides --limit")
    .addOption(new Option("--kind <kind...>", "only these kinds").choices([...KIND_CHOICES.keys()]))
    .addOption(new Option("--state <state...>", "only these states").choices([...STATE_CHOICES.keys()]))
    .option("--from <time>", "only transactions recorded at or after this time, such as 2026-11-01T00:00:00Z", readTime)
    .option("--before <time>", "only transactions recorded before this time", readTime)
    .option("--reference <text>", "only transactions with this external reference")
    .addOption(
      new Option(
        "--metadata <key=value...>",
        "only transactions with this pair, or with this key and any value",
      ).argParser(collectMetadataFilter),
    )
    .option("--min <amount...>", "only transactions of at least this amount, such as 10.00 USD")
    .option("--max <amount...>", "only transactions of at most this amount")
    .option("--currency <code>", "only transactions in this currency")
    .option("--description <text>", "only transactions whose description begins with this text")
    .addHelpText(
      "after",
      examples(
        "transactions --user ada@example.com",
        "transactions list --user ada@example.com",
        "transactions --wallet 01890a5d-ac96-774b-bcce-b302099a8057 --kind deposit withdrawal --limit 10",
        "transactions --user ada@example.com --state rejected --all --json",
        "transactions --reference invoice-17",
        "transactions --metadata order=4711 --min 10.00 USD --max 99.99 USD",
      ) + ABOUT_WALLETS,
    )
    .action((options: ListOptions, command: Command) =>
      withContext(command, async (context) => {
        const filter = await readFilter(options, context);
        const { of } = filter;
        const page = await collect<Transaction>(options.all ? Infinity : options.limit, async (page) => {
          const reply = await context.call(TransactionServiceService.listTransactions, { ...filter, ...page });
          return { items: reply.transactions, nextPageToken: reply.nextPageToken };
        });
        if (context.json) {
          const { items: transactions, nextPageToken } = page;
          return printReply(TransactionServiceService.listTransactions, { transactions, nextPageToken });
        }
        const currencies = await context.currencies();
        const names = await nameAccounts(page.items.flatMap(listAccountIds), context);
        const table =
          of?.$case === "walletId"
            ? renderWalletTransactions(of.value, page.items, names, currencies)
            : renderUserTransactions(page.items, names, currencies);
        print(page.items.length === 0 ? "No transactions found." : table, moreLine(page, "raise --limit or use --all"));
      }),
    );

  addShowCommand(transactions);
  addChangesCommand(transactions);

  transactions
    .command("set-metadata <transaction>")
    .description("change the metadata of a transaction")
    .addOption(new Option("--set <key=value...>", "pairs to add or replace").argParser(collectMetadata))
    .option("--remove <key...>", "keys of pairs to remove")
    .addOption(requestIdOption())
    .addHelpText(
      "after",
      examples(
        `transactions set-metadata ${TRANSACTION} --set order=4711 --remove draft`,
        `transactions set-metadata ${TRANSACTION} --set checked=yes by=ada`,
      ) + ABOUT_REQUEST_ID,
    )
    .action((name: string, options: SetMetadataOptions, command: Command) =>
      withContext(command, async (context) => {
        const transactionId = await resolveId(IdKind.TRANSACTION, name, context);
        const requestId = context.requestId(options.requestId);
        const reply = await context.call(TransactionServiceService.setTransactionMetadata, {
          requestId,
          transactionId,
          set: options.set ?? {},
          remove: [...(options.remove ?? [])],
        });
        if (context.json) return printReply(TransactionServiceService.setTransactionMetadata, reply);
        const transaction = assertPresent(reply.transaction, "transaction");
        print(
          renderFields(requestFields(requestId, reply.replayed, reply.journalIndex)),
          renderTransaction(transaction, false, await context.currencies()),
        );
      }),
    );
  addTransactionsWatch(transactions);
}

/** Adds `grey transactions show`. */
function addShowCommand(transactions: Command): void {
  transactions
    .command("show <transaction>")
    .description("show a transaction with its entries as T-accounts")
    .addHelpText("after", examples(`transactions show ${TRANSACTION}`, "transactions show 01890a5d-c0de-7"))
    .action((name: string, _options: object, command: Command) =>
      withContext(command, async (context) => {
        const id = await resolveId(IdKind.TRANSACTION, name, context);
        const reply = await context.call(TransactionServiceService.getTransaction, { by: { $case: "id", value: id } });
        if (context.json) return printReply(TransactionServiceService.getTransaction, reply);
        const transaction = assertPresent(reply.transaction, "transaction");
        const { entries } = transaction;
        const currencies = await context.currencies();
        const names = await nameAccounts(listAccountIds(transaction), context);
        print(
          renderTransaction(transaction, false, currencies),
          entries.length === 0
            ? "The transaction has no entries: no money moved."
            : drawAccounts(entries, names, currencies),
          renderSums(entries, currencies),
        );
      }),
    );
}

/** Adds `grey transactions changes`. */
function addChangesCommand(transactions: Command): void {
  transactions
    .command("changes <transaction>")
    .description("list the metadata changes of a transaction, newest first")
    .addOption(limitOption())
    .addHelpText("after", examples(`transactions changes ${TRANSACTION}`))
    .action((name: string, { limit }: { readonly limit: number }, command: Command) =>
      withContext(command, async (context) => {
        const transactionId = await resolveId(IdKind.TRANSACTION, name, context);
        const found = await collect<MetadataChange>(limit, async (page) => {
          const reply = await context.call(TransactionServiceService.listMetadataChanges, { transactionId, ...page });
          return { items: reply.changes, nextPageToken: reply.nextPageToken };
        });
        const { items: changes, nextPageToken } = found;
        if (context.json) return printReply(TransactionServiceService.listMetadataChanges, { changes, nextPageToken });
        const table = renderTable(
          [{ title: "change" }, { title: "time" }, { title: "set", kind: "text" }, { title: "removed", kind: "text" }],
          changes.map((change) => [
            String(change.revision),
            timeCell(change.createTime),
            Object.entries(change.set)
              .map(([key, value]) => `${key}=${value}`)
              .join(" "),
            change.removed.join(" "),
          ]),
        );
        print(changes.length === 0 ? "The metadata has never been changed." : table, moreLine(found, "raise --limit"));
      }),
    );
}

interface SetMetadataOptions extends ChangeOptions {
  readonly set?: Record<string, string>;
  readonly remove?: readonly string[];
}

/** Adds a `key=value` or `key` filter to the previous ones. */
function collectMetadataFilter(text: string, before: readonly MetadataFilter[] = []): readonly MetadataFilter[] {
  const at = text.indexOf("=");
  if (at === 0) throw new InvalidArgumentError("It must be key=value or a key.");
  const filter: MetadataFilter =
    at < 0
      ? { key: text, condition: undefined }
      : { key: text.slice(0, at), condition: { $case: "equals", value: text.slice(at + 1) } };
  return [...before, filter];
}

async function readFilter(
  options: ListOptions,
  context: CommandContext,
): Promise<Omit<ListTransactionsRequest, "pageSize" | "pageToken">> {
  const { min, max, currency } = options;
  const [minAmount, maxAmount] = await Promise.all([min, max].map((words) => readBound(words, currency, context)));
  const codes = new Set([currency?.toUpperCase(), minAmount?.currencyCode, maxAmount?.currencyCode].filter(Boolean));
  if (codes.size > 1) throw new UsageError("--min, --max and --currency: must be in the same currency");
  const [currencyCode = ""] = codes;
  return {
    of: await readOwner(options, context),
    kinds: (options.kind ?? []).flatMap((kind) => KIND_CHOICES.get(kind) ?? []),
    states: (options.state ?? []).flatMap((state) => STATE_CHOICES.get(state) ?? []),
    createTimeFrom: options.from,
    createTimeBefore: options.before,
    minAmount: minAmount?.minorUnits,
    maxAmount: maxAmount?.minorUnits,
    currencyCode,
    descriptionPrefix: options.description ?? "",
    externalReference: options.reference ?? "",
    metadataFilters: [...(options.metadata ?? [])],
  };
}

async function readBound(
  words: readonly string[] | undefined,
  currency: string | undefined,
  context: CommandContext,
): Promise<Money | undefined> {
  return words === undefined ? undefined : readMoney(words.join(" "), await context.currencies(), currency);
}

async function readOwner(options: ListOptions, context: CommandContext): Promise<ListTransactionsRequest["of"]> {
  if (options.wallet !== undefined) return { $case: "walletId", value: await resolveWallet(options.wallet, context) };
  return options.user === undefined ? undefined : { $case: "userId", value: await resolveUser(options.user, context) };
}

function renderUserTransactions(
  transactions: readonly Transaction[],
  names: AccountNames,
  currencies: Currencies,
): string {
  return renderTable(
    [
      { title: "time" },
      { title: "kind", drop: 3 },
      { title: "amount", align: "right" },
      { title: "debit" },
      { title: "credit" },
      { title: "transaction", kind: "id", drop: 2 },
      toStateColumn(transactions),
      { title: "description", kind: "text", drop: 4 },
    ],
    transactions.map((transaction) => [
      timeCell(transaction.createTime),
      showEnum(TransactionKind, transaction.kind),
      showMoney(transaction.amount, currencies),
      names.toCell(transaction.debitAccountId),
      names.toCell(transaction.creditAccountId),
      transaction.id,
      toStateCell(transaction),
      transaction.description,
    ]),
  );
}

/** Renders transactions from the wallet's perspective: outgoing amounts are negative. */
function renderWalletTransactions(
  walletId: string,
  transactions: readonly Transaction[],
  names: AccountNames,
  currencies: Currencies,
): string {
  return renderTable(
    [
      { title: "time" },
      { title: "kind", drop: 3 },
      { title: "amount", align: "right" },
      { title: "balance after", align: "right" },
      { title: "other account" },
      { title: "transaction", kind: "id", drop: 2 },
      toStateColumn(transactions),
      { title: "description", kind: "text", drop: 4 },
    ],
    transactions.map((transaction) => {
      const leaves = transaction.debitAccountId === walletId.toLowerCase();
      const { amount } = transaction;
      const moves = transaction.holdId === "" || transaction.kind === TransactionKind.HOLD_CAPTURE;
      // In a compound transaction the wallet may have several entries.
      const entries = transaction.entries.filter(({ accountId }) => accountId === walletId.toLowerCase());
      const last = entries.at(-1);
      return [
        timeCell(transaction.createTime),
        showEnum(TransactionKind, transaction.kind),
        // A change of pending amounts only has no sign.
        last !== undefined
          ? showAmount(sumEntries(entries), last.amount?.currencyCode ?? "", currencies)
          : amount && moves
            ? showAmount(leaves ? -amount.minorUnits : amount.minorUnits, amount.currencyCode, currencies)
            : showMoney(amount, currencies),
        showMoney(last?.balanceAfter, currencies),
        names.toCell(leaves ? transaction.creditAccountId : transaction.debitAccountId),
        transaction.id,
        toStateCell(transaction),
        transaction.description,
      ];
    }),
  );
}

function toStateCell(transaction: Transaction): Cell {
  return { forms: [showOutcome(transaction), showEnum(TransactionState, transaction.state)] };
}

/** Returns the state column, which may be dropped if every transaction is posted. */
function toStateColumn(transactions: readonly Transaction[]): Column {
  const areAllPosted = transactions.every(({ state }) => state === TransactionState.POSTED);
  return { title: "state", kind: "state", ...(areAllPosted && { drop: 1 }) };
}

/** Returns the net change of a wallet's entries, in minor units. */
function sumEntries(entries: readonly Entry[]): bigint {
  return entries.reduce((sum, { side, amount }) => {
    const minorUnits = amount?.minorUnits ?? 0n;
    return side === EntrySide.DEBIT ? sum - minorUnits : sum + minorUnits;
  }, 0n);
}
