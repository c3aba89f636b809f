import { Option, type Command } from "commander";
import type { Timestamp } from "../../generated/google/protobuf/timestamp.js";
import {
  type GetStatementResponse,
  StatementOrder,
  type StatementClosing,
  type StatementLine,
  type StatementOpening,
  type StreamStatementRequest,
} from "../../generated/grey/wallet/v1/statement.js";
import { type GetWalletResponse, type Wallet, WalletState } from "../../generated/grey/wallet/v1/wallet.js";
import { WalletServiceService } from "../../generated/grey/wallet/v1/wallet_service.js";
import { assertPresent } from "../base/assert.js";
import { timeText } from "../../runtime/time-text.js";
import { type Currencies, readMoney, showAmount, showMoney } from "./amount.js";
import {
  ABOUT_REQUEST_ID,
  type ChangeOptions,
  examples,
  limitOption,
  metadataOption,
  readTime,
  requestIdOption,
  wholeNumberReader,
} from "./options.js";
import { collect, moreLine } from "./paging.js";
import { requestFields, showBalances, showEnum, showMetadata } from "./render.js";
import { showTime, timeCell } from "./time.js";
import { replyToJson } from "./json.js";
import { ABOUT_WALLETS, namesOneWallet, resolveUser, resolveWallet, resolveWallets } from "./resolve.js";
import { print, printJson, printReply, type CommandContext, withContext } from "./command-context.js";
import { renderFields, renderTable } from "./table.js";
import { addWalletWatch } from "./watch.js";

interface CreateOptions extends ChangeOptions {
  readonly label?: string;
  readonly initial?: string;
}

export function addWalletCommands(program: Command): void {
  const wallet = program.command("wallet").description("open, show, list, watch, freeze and close wallets");

  wallet
    .command("create <user> <currency>")
    .description("open a wallet in a currency for a user, given by id or email")
    .option("--label <text>", "a display name")
    .option("--initial <amount>", 'the initial balance, such as "12.34 USD" or 12.34')
    .addOption(metadataOption())
    .addOption(requestIdOption())
    .addHelpText(
      "after",
      examples(
        "wallet create ada@example.com USD",
        'wallet create ada@example.com USD --label savings --initial "250.00 USD"',
      ) + ABOUT_REQUEST_ID,
    )
    .action((userKey: string, currency: string, options: CreateOptions, command: Command) =>
      withContext(command, async (context) => {
        const requestId = context.requestId(options.requestId);
        const currencyCode = currency.toUpperCase();
        const currencies = await context.currencies();
        const reply = await context.call(WalletServiceService.createWallet, {
          requestId,
          userId: await resolveUser(userKey, context),
          currencyCode,
          label: options.label ?? "",
          initialBalance:
            options.initial === undefined ? undefined : readMoney(options.initial, currencies, currencyCode),
          metadata: options.metadata ?? {},
        });
        if (context.json) return printReply(WalletServiceService.createWallet, reply);
        print(
          renderWallet(
            assertPresent(reply.wallet, "wallet"),
            requestFields(requestId, reply.replayed, reply.journalIndex),
          ),
          await showBalances([assertPresent(reply.balance, "balance")], context),
        );
      }),
    );

  wallet
    .command("get <wallet>")
    .description("show a wallet and its balance")
    .addHelpText(
      "after",
      examples("wallet get 01890a5d-ac96-774b-bcce-b302099a8057", "wallet get ada@example.com/USD") + ABOUT_WALLETS,
    )
    .action((name: string, _options: object, command: Command) =>
      withContext(command, async (context) => {
        const reply = await context.call(WalletServiceService.getWallet, { id: await resolveWallet(name, context) });
        if (context.json) return printReply(WalletServiceService.getWallet, reply);
        print(
          renderWallet(assertPresent(reply.wallet, "wallet")),
          await showBalances([assertPresent(reply.balance, "balance")], context),
        );
      }),
    );

  wallet
    .command("list <user>")
    .description("list the wallets of a user, given by id or email, oldest first")
    .addOption(limitOption())
    .addHelpText("after", examples("wallet list ada@example.com"))
    .action((userKey: string, options: { limit: number }, command: Command) =>
      withContext(command, async (context) => {
        const userId = await resolveUser(userKey, context);
        const page = await collect<GetWalletResponse>(options.limit, async (page) => {
          const reply = await context.call(WalletServiceService.listWallets, { userId, ...page });
          return { items: reply.wallets, nextPageToken: reply.nextPageToken };
        });
        if (context.json) {
          return printReply(WalletServiceService.listWallets, {
            wallets: page.items,
            nextPageToken: page.nextPageToken,
          });
        }
        print(renderWallets(page.items, await context.currencies()), moreLine(page, "raise --limit"));
      }),
    );

  addWalletWatch(wallet);
  addStateCommands(wallet);
}

const STATE_VERBS = [
  ["freeze", "block the movements of a wallet until it is unfrozen", WalletServiceService.freezeWallet],
  ["unfreeze", "unblock a frozen wallet", WalletServiceService.unfreezeWallet],
  ["close", "close an empty wallet", WalletServiceService.closeWallet],
  ["reopen", "reopen a closed wallet", WalletServiceService.reopenWallet],
] as const;

function addStateCommands(wallet: Command): void {
  for (const [verb, description, method] of STATE_VERBS) {
    wallet
      .command(`${verb} <wallet>`)
      .description(description)
      .requiredOption("--reason <text>", "the reason, for operators; leave out personal data")
      .addOption(requestIdOption())
      .addHelpText(
        "after",
        examples(`wallet ${verb} ada@example.com/USD --reason "case 2026-17"`) + ABOUT_WALLETS + ABOUT_REQUEST_ID,
      )
      .action((name: string, options: { reason: string; requestId?: string }, command: Command) =>
        withContext(command, async (context) => {
          const walletId = await resolveWallet(name, context);
          const requestId = context.requestId(options.requestId);
          const reply = await context.call(method, { requestId, walletId, reason: options.reason });
          if (context.json) return printReply(WalletServiceService.freezeWallet, reply);
          print(
            renderWallet(
              assertPresent(reply.wallet, "wallet"),
              requestFields(requestId, reply.replayed, reply.journalIndex),
            ),
          );
        }),
      );
  }
}

interface BalanceOptions {
  readonly at?: Timestamp;
  readonly atIndex?: number;
  readonly minIndex?: number;
  readonly effective?: Timestamp;
}

export function addBalanceCommand(program: Command): void {
  program
    .command("balance <wallet...>")
    .description("show the current or past balances of wallets, or of all wallets of a user")
    .addOption(
      new Option("--at <time>", "the balance at this time, such as 2026-11-22T20:00:00Z")
        .argParser(readTime)
        .conflicts("atIndex"),
    )
    .addOption(
      new Option("--at-index <n>", "the balance after this journal record").argParser(
        wholeNumberReader(0, Number.MAX_SAFE_INTEGER),
      ),
    )
    .addOption(
      new Option(
        "--effective <time>",
        "the balance by effective time: all transactions effective by then, whenever recorded",
      )
        .argParser(readTime)
        .conflicts(["at", "atIndex"]),
    )
    .addOption(
      new Option("--min-index <n>", "wait for this journal record: show a balance at least as recent").argParser(
        wholeNumberReader(0, Number.MAX_SAFE_INTEGER),
      ),
    )
    .addHelpText(
      "after",
      examples(
        "balance ada@example.com",
        "balance ada@example.com/USD bob@example.com/savings",
        "balance 01890a5d-ac96-774b-bcce-b302099a8057 --at 2026-01-01T00:00:00Z",
      ) + ABOUT_WALLETS,
    )
    .action((names: string[], options: BalanceOptions, command: Command) =>
      withContext(command, async (context) => {
        const walletIds = await resolveWallets(names, context);
        const replies = await Promise.all(
          walletIds.map((walletId) =>
            context.call(WalletServiceService.getBalance, {
              walletId,
              asOf: readAsOf(options),
              ...(options.minIndex !== undefined && { minJournalIndex: BigInt(options.minIndex) }),
            }),
          ),
        );
        if (context.json) {
          const [first] = replies;
          if (first !== undefined && namesOneWallet(names)) return printReply(WalletServiceService.getBalance, first);
          return printJson({ wallets: replies.map((reply) => replyToJson(WalletServiceService.getBalance, reply)) });
        }
        const balances = replies.map(({ balance }) => assertPresent(balance, "balance"));
        // A balance by effective time may exceed the range of Money.
        const [inRange, outOfRange] = [
          balances.filter(({ posted }) => posted),
          replies.filter(({ balance }) => !balance?.posted),
        ];
        print(
          balances.length === 0 ? "The user has no wallets." : "",
          inRange.length === 0 ? "" : await showBalances(inRange, context),
          outOfRange.map((one) => `${one.balance?.walletId}: ${one.postedMinorUnits} minor units posted`).join("\n"),
        );
      }),
    );
}

export function addStatementCommand(program: Command): void {
  program
    .command("statement <wallet>")
    .description("show a wallet's statement for a period: opening balance, lines (oldest first), closing balance")
    .option("--effective", "order and select by effective time instead of time of record")
    .requiredOption("--from <time>", "the start of the period, such as 2026-11-01T00:00:00Z", readTime)
    .requiredOption("--before <time>", "the end of the period, exclusive", readTime)
    .option("--csv", "print CSV, with amounts in minor units")
    .addHelpText(
      "after",
      examples(
        "statement 01890a5d-ac96-774b-bcce-b302099a8057 --from 2026-11-01T00:00:00Z --before 2026-12-01T00:00:00Z",
      ) + ABOUT_WALLETS,
    )
    .action((name: string, options: StatementOptions, command: Command) =>
      withContext(command, async (context) => {
        const walletId = await resolveWallet(name, context);
        const request = { walletId, from: options.from, before: options.before, afterAccountSequence: 0n };
        if (options.csv === true && !context.json) {
          if (options.effective === true) {
            const statement = await collectEffectiveStatement(walletId, options, context);
            console.log([CSV_TITLES, ...addRunningBalances(statement).map(renderCsvLine)].join("\n"));
            return;
          }
          await readStatement(context, request, {
            begin: () => console.log(CSV_TITLES),
            take: (lines) =>
              console.log(lines.map((line) => renderCsvLine([line, line.balanceAfter?.minorUnits ?? 0n])).join("\n")),
          });
          return;
        }
        const statement =
          options.effective === true
            ? await collectEffectiveStatement(walletId, options, context)
            : await collectRecordedStatement(context, request);
        if (context.json) return printReply(WalletServiceService.getStatement, statement);
        print(renderStatement(statement, options, await context.currencies()));
      }),
    );
}

interface StatementOptions {
  readonly from: Timestamp;
  readonly before: Timestamp;
  readonly csv?: true;
  readonly effective?: true;
}

function renderStatement(
  statement: GetStatementResponse,
  { effective }: StatementOptions,
  currencies: Currencies,
): string {
  // If the credits exceed the range of Money, there are lines.
  const { currencyCode } = assertPresent(statement.credits ?? statement.lines[0]?.amount, "an amount");
  const show = (minorUnits: string) => showAmount(BigInt(minorUnits), currencyCode, currencies);
  return [
    renderFields([["opening", show(statement.openingMinorUnits)]]),
    renderTable(
      [
        { title: "time" },
        { title: "amount", align: "right" },
        { title: "balance after", align: "right" },
        { title: "transaction", kind: "id", drop: 1 },
        { title: "description", kind: "text" },
      ],
      addRunningBalances(statement).map(([line, balanceAfter]) => [
        timeCell(effective === true ? line.effectiveTime : line.createTime),
        showMoney(line.amount, currencies),
        showAmount(balanceAfter, currencyCode, currencies),
        line.transactionId,
        line.description,
      ]),
    ),
    renderFields([
      ["credits", show(statement.creditMinorUnits)],
      ["debits", show(statement.debitMinorUnits)],
      ["closing", show(statement.closingMinorUnits)],
    ]),
  ].join("\n\n");
}

/** Pairs each line with the balance after it, in minor units: by effective time it may exceed the range of Money. */
function addRunningBalances({ openingMinorUnits, lines }: GetStatementResponse): (readonly [StatementLine, bigint])[] {
  let balance = BigInt(openingMinorUnits);
  return lines.map((line) => [line, (balance += line.amount?.minorUnits ?? 0n)] as const);
}

/** Reads a whole statement by effective time, page by page. */
async function collectEffectiveStatement(
  walletId: string,
  { from, before }: StatementOptions,
  context: CommandContext,
): Promise<GetStatementResponse> {
  let last: GetStatementResponse | undefined;
  const order = StatementOrder.EFFECTIVE_TIME;
  const { items: lines } = await collect(Number.POSITIVE_INFINITY, async (page) => {
    last = await context.call(WalletServiceService.getStatement, { walletId, from, before, order, ...page });
    return { items: last.lines, nextPageToken: last.nextPageToken };
  });
  return { ...assertPresent(last, "a statement"), lines };
}

/** Reads a whole statement by time of record, from a stream. */
async function collectRecordedStatement(
  context: CommandContext,
  request: StreamStatementRequest,
): Promise<GetStatementResponse> {
  const lines: StatementLine[] = [];
  const sums = await readStatement(context, request, {
    take: (more) => {
      lines.push(...more);
    },
  });
  return { ...sums, lines, nextPageToken: "" };
}

/** Streams the lines of a statement to `take` and returns the rest of the statement. */
async function readStatement(
  context: CommandContext,
  request: StreamStatementRequest,
  { begin, take }: { readonly begin?: () => void; readonly take: (lines: readonly StatementLine[]) => void },
): Promise<Omit<GetStatementResponse, "lines" | "nextPageToken">> {
  let opening: StatementOpening | undefined;
  let closing: StatementClosing | undefined;
  await context.stream(WalletServiceService.streamStatement, request, ({ part }) => {
    if (part?.$case === "opening") {
      opening = part.value;
      begin?.();
    }
    if (part?.$case === "lines") take(part.value.lines);
    if (part?.$case === "closing") closing = part.value;
  });
  const { lineCount: _, ...end } = assertPresent(closing, "the statement's end");
  const beginning = assertPresent(opening, "the statement's beginning").opening;
  return {
    ...end,
    opening: beginning,
    openingMinorUnits: String(beginning?.minorUnits ?? 0n),
    closingMinorUnits: String(end.closing?.minorUnits ?? 0n),
  };
}

const CSV_TITLES =
  "create_time,amount_minor_units,balance_after_minor_units,currency_code,transaction_id,journal_index,description,effective_time";

/** Renders a line as RFC 4180; an apostrophe disarms descriptions that a spreadsheet would run as formulas. */
function renderCsvLine([line, balanceAfter]: readonly [StatementLine, bigint]): string {
  const safe = /^[=+\-@\t]/.test(line.description) ? `'${line.description}` : line.description;
  return [
    formatUtc(line.createTime),
    String(line.amount?.minorUnits ?? 0n),
    String(balanceAfter),
    line.amount?.currencyCode ?? "",
    line.transactionId,
    String(line.journalIndex),
    /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe,
    formatUtc(line.effectiveTime),
  ].join(",");
}

/** Formats a time for other programs, independent of the local time zone. */
function formatUtc(time: Timestamp | undefined): string {
  return time === undefined ? "" : timeText(time);
}

interface AsOfOptions {
  readonly at?: Timestamp;
  readonly atIndex?: number;
  readonly effective?: Timestamp;
}

function readAsOf({ at, atIndex, effective }: AsOfOptions) {
  if (effective !== undefined) return { $case: "effectiveTime" as const, value: effective };
  if (at !== undefined) return { $case: "recordTime" as const, value: at };
  return atIndex === undefined ? undefined : { $case: "journalIndex" as const, value: BigInt(atIndex) };
}

function renderWallet(wallet: Wallet, more: readonly (readonly [string, string])[] = []): string {
  const created = showTime(wallet.createTime);
  const updated = showTime(wallet.updateTime);
  return renderFields([
    ["wallet", wallet.id],
    ["user", wallet.userId],
    ["currency", wallet.currencyCode],
    ["label", wallet.label],
    ["state", showEnum(WalletState, wallet.state)],
    ["reason", wallet.stateReason],
    ["metadata", showMetadata(wallet.metadata)],
    ["created", created],
    ["updated", updated === created ? "" : updated],
    ...more,
  ]);
}

function renderWallets(wallets: readonly GetWalletResponse[], currencies: Currencies): string {
  if (wallets.length === 0) return "The user has no wallets. See `grey wallet create --help`.";
  return renderTable(
    [
      { title: "wallet", kind: "id" },
      { title: "label", kind: "text" },
      { title: "state", kind: "state" },
      { title: "posted", align: "right" },
      { title: "available", align: "right" },
      { title: "created", drop: 1 },
    ],
    wallets.map(({ wallet, balance }) => [
      wallet?.id ?? "",
      wallet?.label ?? "",
      wallet ? showEnum(WalletState, wallet.state) : "",
      showMoney(balance?.posted, currencies),
      showMoney(balance?.available, currencies),
      timeCell(wallet?.createTime),
    ]),
  );
}
