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
  addMetadata,
  type ChangeOptions,
  examples,
  KIND_CHOICES,
  limitOption,
  readTime,
  requestIdOption,
  STATE_CHOICES,
} from "./options.js";
import { collect, moreLine } from "./paging.js";
import { renderTransaction, requestFields, showEnum, showOutcome } from "./present.js";
import { accountsOf, nameAccounts, type Names } from "./names.js";
import { drawAccounts, sumsOf } from "./t-accounts.js";
import { timeCell } from "./time.js";
import { print, printReply, type Session, withSession } from "./session.js";
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
    .description("list transactions, also without a verb, find them by what they are, or watch them");
  transactions
    .command("list", { isDefault: true })
    .description("list the transactions of a user, of a wallet or of everybody, newest first")
    .option("--user <user>", "those of all wallets of this user, by id or by email")
    .addOption(new Option("--wallet <wallet>", "those of this wallet").conflicts("user"))
    .addOption(limitOption())
    .option("--all", "every transaction, however many, whatever --limit says")
    .addOption(new Option("--kind <kind...>", "only these kinds").choices([...KIND_CHOICES.keys()]))
    .addOption(new Option("--state <state...>", "only these states").choices([...STATE_CHOICES.keys()]))
    .option("--from <time>", "only those recorded at this time or later, such as 2026-11-01T00:00:00Z", readTime)
    .option("--before <time>", "only those recorded before this time", readTime)
    .option("--reference <text>", "only those with this external reference")
    .addOption(
      new Option("--metadata <key=value...>", "only those with this pair; a key alone: with any value").argParser(
        addMetadataFilter,
      ),
    )
    .option("--min <amount...>", "only those of at least this amount, such as 10.00 USD")
    .option("--max <amount...>", "only those of at most this amount")
    .option("--currency <code>", "only those in this currency")
    .option("--description <text>", "only those whose description begins with this")
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
      withSession(command, async (session) => {
        const filter = await readFilter(options, session);
        const { of } = filter;
        const page = await collect<Transaction>(options.all ? Infinity : options.limit, async (page) => {
          const reply = await session.call(TransactionServiceService.listTransactions, { ...filter, ...page });
          return { items: reply.transactions, nextPageToken: reply.nextPageToken };
        });
        if (session.json) {
          const { items: transactions, nextPageToken } = page;
          return printReply(TransactionServiceService.listTransactions, { transactions, nextPageToken });
        }
        const currencies = await session.currencies();
        const names = await nameAccounts(page.items.flatMap(accountsOf), session);
        const table =
          of?.$case === "walletId"
            ? renderOfWallet(of.value, page.items, names, currencies)
            : renderOfUser(page.items, names, currencies);
        print(
          page.items.length === 0 ? "There are no such transactions." : table,
          moreLine(page, "--limit or --all shows more"),
        );
      }),
    );

  addShowCommand(transactions);
  addChangesCommand(transactions);

  transactions
    .command("set-metadata <transaction>")
    .description("change your own data about a transaction: what it is found by")
    .addOption(new Option("--set <key=value...>", "pairs to add, or to replace").argParser(addMetadata))
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
      withSession(command, async (session) => {
        const transactionId = await resolveId(IdKind.TRANSACTION, name, session);
        const requestId = session.requestId(options.requestId);
        const reply = await session.call(TransactionServiceService.setTransactionMetadata, {
          requestId,
          transactionId,
          set: options.set ?? {},
          remove: [...(options.remove ?? [])],
        });
        if (session.json) return printReply(TransactionServiceService.setTransactionMetadata, reply);
        const transaction = assertPresent(reply.transaction, "transaction");
        print(
          renderFields(requestFields(requestId, reply.replayed, reply.journalIndex)),
          renderTransaction(transaction, false, await session.currencies()),
        );
      }),
    );
  addTransactionsWatch(transactions);
}

/** `grey transactions show`. */
function addShowCommand(transactions: Command): void {
  transactions
    .command("show <transaction>")
    .description("show a transaction, with its debits and credits drawn as T-accounts")
    .addHelpText("after", examples(`transactions show ${TRANSACTION}`, "transactions show 01890a5d-c0de-7"))
    .action((name: string, _options: object, command: Command) =>
      withSession(command, async (session) => {
        const id = await resolveId(IdKind.TRANSACTION, name, session);
        const reply = await session.call(TransactionServiceService.getTransaction, { by: { $case: "id", value: id } });
        if (session.json) return printReply(TransactionServiceService.getTransaction, reply);
        const transaction = assertPresent(reply.transaction, "transaction");
        const { entries } = transaction;
        const currencies = await session.currencies();
        const names = await nameAccounts(accountsOf(transaction), session);
        print(
          renderTransaction(transaction, false, currencies),
          entries.length === 0 ? "It has no entries: no money moved." : drawAccounts(entries, names, currencies),
          sumsOf(entries, currencies),
        );
      }),
    );
}

/** `grey transactions changes`. */
function addChangesCommand(transactions: Command): void {
  transactions
    .command("changes <transaction>")
    .description("list the changes of your own data about a transaction, newest first")
    .addOption(limitOption())
    .addHelpText("after", examples(`transactions changes ${TRANSACTION}`))
    .action((name: string, { limit }: { readonly limit: number }, command: Command) =>
      withSession(command, async (session) => {
        const transactionId = await resolveId(IdKind.TRANSACTION, name, session);
        const found = await collect<MetadataChange>(limit, async (page) => {
          const reply = await session.call(TransactionServiceService.listMetadataChanges, { transactionId, ...page });
          return { items: reply.changes, nextPageToken: reply.nextPageToken };
        });
        const { items: changes, nextPageToken } = found;
        if (session.json) return printReply(TransactionServiceService.listMetadataChanges, { changes, nextPageToken });
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
        print(changes.length === 0 ? "It was never changed." : table, moreLine(found, "raise --limit"));
      }),
    );
}

interface SetMetadataOptions extends ChangeOptions {
  readonly set?: Record<string, string>;
  readonly remove?: readonly string[];
}

/** Adds one `key=value`, or a key alone, to those before it. */
function addMetadataFilter(text: string, before: readonly MetadataFilter[] = []): readonly MetadataFilter[] {
  const at = text.indexOf("=");
  if (at === 0) throw new InvalidArgumentError("It must be key=value, or a key.");
  const filter: MetadataFilter =
    at < 0
      ? { key: text, condition: undefined }
      : { key: text.slice(0, at), condition: { $case: "equals", value: text.slice(at + 1) } };
  return [...before, filter];
}

async function readFilter(
  options: ListOptions,
  session: Session,
): Promise<Omit<ListTransactionsRequest, "pageSize" | "pageToken">> {
  const { min, max, currency } = options;
  const [least, most] = await Promise.all([min, max].map((words) => readBound(words, currency, session)));
  const codes = new Set([currency?.toUpperCase(), least?.currencyCode, most?.currencyCode].filter(Boolean));
  if (codes.size > 1) throw new UsageError("--min, --max and --currency: must be of one currency");
  const [currencyCode = ""] = codes;
  return {
    of: await readOwner(options, session),
    kinds: (options.kind ?? []).flatMap((kind) => KIND_CHOICES.get(kind) ?? []),
    states: (options.state ?? []).flatMap((state) => STATE_CHOICES.get(state) ?? []),
    createTimeFrom: options.from,
    createTimeBefore: options.before,
    minAmount: least?.minorUnits,
    maxAmount: most?.minorUnits,
    currencyCode,
    descriptionPrefix: options.description ?? "",
    externalReference: options.reference ?? "",
    metadataFilters: [...(options.metadata ?? [])],
  };
}

async function readBound(
  words: readonly string[] | undefined,
  currency: string | undefined,
  session: Session,
): Promise<Money | undefined> {
  return words === undefined ? undefined : readMoney(words.join(" "), await session.currencies(), currency);
}

async function readOwner(options: ListOptions, session: Session): Promise<ListTransactionsRequest["of"]> {
  if (options.wallet !== undefined) return { $case: "walletId", value: await resolveWallet(options.wallet, session) };
  return options.user === undefined ? undefined : { $case: "userId", value: await resolveUser(options.user, session) };
}

function renderOfUser(transactions: readonly Transaction[], names: Names, currencies: Currencies): string {
  return renderTable(
    [
      { title: "time" },
      { title: "kind", drop: 3 },
      { title: "amount", align: "right" },
      { title: "debit" },
      { title: "credit" },
      { title: "transaction", kind: "id", drop: 2 },
      stateColumn(transactions),
      { title: "description", kind: "text", drop: 4 },
    ],
    transactions.map((transaction) => [
      timeCell(transaction.createTime),
      showEnum(TransactionKind, transaction.kind),
      showMoney(transaction.amount, currencies),
      names.cellOf(transaction.debitAccountId),
      names.cellOf(transaction.creditAccountId),
      transaction.id,
      stateCell(transaction),
      transaction.description,
    ]),
  );
}

/** As the wallet's owner sees them: money that leaves it is negative. */
function renderOfWallet(
  walletId: string,
  transactions: readonly Transaction[],
  names: Names,
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
      stateColumn(transactions),
      { title: "description", kind: "text", drop: 4 },
    ],
    transactions.map((transaction) => {
      const leaves = transaction.debitAccountId === walletId.toLowerCase();
      const { amount } = transaction;
      const moves = transaction.holdId === "" || transaction.kind === TransactionKind.HOLD_CAPTURE;
      // Of one with many legs the wallet may have several.
      const own = transaction.entries.filter(({ accountId }) => accountId === walletId.toLowerCase());
      const last = own.at(-1);
      return [
        timeCell(transaction.createTime),
        showEnum(TransactionKind, transaction.kind),
        // What only changes what is pending neither leaves nor comes.
        last !== undefined
          ? showAmount(changeOf(own), last.amount?.currencyCode ?? "", currencies)
          : amount && moves
            ? showAmount(leaves ? -amount.minorUnits : amount.minorUnits, amount.currencyCode, currencies)
            : showMoney(amount, currencies),
        showMoney(last?.balanceAfter, currencies),
        names.cellOf(leaves ? transaction.creditAccountId : transaction.debitAccountId),
        transaction.id,
        stateCell(transaction),
        transaction.description,
      ];
    }),
  );
}

function stateCell(transaction: Transaction): Cell {
  return { forms: [showOutcome(transaction), showEnum(TransactionState, transaction.state)] };
}

/** The state goes without saying only where every transaction is posted. */
function stateColumn(transactions: readonly Transaction[]): Column {
  const areAllPosted = transactions.every(({ state }) => state === TransactionState.POSTED);
  return { title: "state", kind: "state", ...(areAllPosted && { drop: 1 }) };
}

/** What the entries of a wallet come to, in minor units. */
function changeOf(entries: readonly Entry[]): bigint {
  return entries.reduce((sum, { side, amount }) => {
    const minorUnits = amount?.minorUnits ?? 0n;
    return side === EntrySide.DEBIT ? sum - minorUnits : sum + minorUnits;
  }, 0n);
}
