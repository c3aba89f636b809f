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
  wholeNumber,
} from "./options.js";
import { collect, moreLine } from "./paging.js";
import { requestFields, showBalances, showEnum, showMetadata } from "./present.js";
import { showTime, timeCell } from "./time.js";
import { replyToJson } from "./json.js";
import { ABOUT_WALLETS, isOneWallet, resolveUser, resolveWallet, resolveWallets } from "./resolve.js";
import { print, printJson, printReply, type Session, withSession } from "./session.js";
import { renderFields, renderTable } from "./table.js";
import { addWalletWatch } from "./watch.js";

interface CreateOptions extends ChangeOptions {
  readonly label?: string;
  readonly initial?: string;
}

export function addWalletCommands(program: Command): void {
  const wallet = program.command("wallet").description("open, show, list, freeze and close wallets");

  wallet
    .command("create <user> <currency>")
    .description("open a wallet of one currency for a user, who is named by id or by email")
    .option("--label <text>", "a name for people")
    .option("--initial <amount>", 'what it holds from the start, such as "12.34 USD" or 12.34')
    .addOption(metadataOption())
    .addOption(requestIdOption())
    .addHelpText(
      "after",
      examples(
        "wallet create ada@example.com USD",
        'wallet create ada@example.com USD --label savings --initial "250.00 USD"',
      ) + ABOUT_REQUEST_ID,
    )
    .action((who: string, currency: string, options: CreateOptions, command: Command) =>
      withSession(command, async (session) => {
        const requestId = session.requestId(options.requestId);
        const currencyCode = currency.toUpperCase();
        const currencies = await session.currencies();
        const reply = await session.call(WalletServiceService.createWallet, {
          requestId,
          userId: await resolveUser(who, session),
          currencyCode,
          label: options.label ?? "",
          initialBalance:
            options.initial === undefined ? undefined : readMoney(options.initial, currencies, currencyCode),
          metadata: options.metadata ?? {},
        });
        if (session.json) return printReply(WalletServiceService.createWallet, reply);
        print(
          renderWallet(
            assertPresent(reply.wallet, "wallet"),
            requestFields(requestId, reply.replayed, reply.journalIndex),
          ),
          await showBalances([assertPresent(reply.balance, "balance")], session),
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
      withSession(command, async (session) => {
        const reply = await session.call(WalletServiceService.getWallet, { id: await resolveWallet(name, session) });
        if (session.json) return printReply(WalletServiceService.getWallet, reply);
        print(
          renderWallet(assertPresent(reply.wallet, "wallet")),
          await showBalances([assertPresent(reply.balance, "balance")], session),
        );
      }),
    );

  wallet
    .command("list <user>")
    .description("list the wallets of a user, who is named by id or by email, oldest first")
    .addOption(limitOption())
    .addHelpText("after", examples("wallet list ada@example.com"))
    .action((who: string, options: { limit: number }, command: Command) =>
      withSession(command, async (session) => {
        const userId = await resolveUser(who, session);
        const page = await collect<GetWalletResponse>(options.limit, async (page) => {
          const reply = await session.call(WalletServiceService.listWallets, { userId, ...page });
          return { items: reply.wallets, nextPageToken: reply.nextPageToken };
        });
        if (session.json) {
          return printReply(WalletServiceService.listWallets, {
            wallets: page.items,
            nextPageToken: page.nextPageToken,
          });
        }
        print(renderWallets(page.items, await session.currencies()), moreLine(page, "--limit shows more"));
      }),
    );

  addWalletWatch(wallet);
  addStateCommands(wallet);
}

const STATE_VERBS = [
  ["freeze", "keep a wallet from every movement until it is unfrozen", WalletServiceService.freezeWallet],
  ["unfreeze", "let a frozen wallet take part in movements again", WalletServiceService.unfreezeWallet],
  ["close", "end the use of an empty wallet", WalletServiceService.closeWallet],
  ["reopen", "let a closed wallet take part in movements again", WalletServiceService.reopenWallet],
] as const;

function addStateCommands(wallet: Command): void {
  for (const [verb, description, method] of STATE_VERBS) {
    wallet
      .command(`${verb} <wallet>`)
      .description(description)
      .requiredOption("--reason <text>", "why, for operators; it should name nobody")
      .addOption(requestIdOption())
      .addHelpText(
        "after",
        examples(`wallet ${verb} ada@example.com/USD --reason "case 2026-17"`) + ABOUT_WALLETS + ABOUT_REQUEST_ID,
      )
      .action((name: string, options: { reason: string; requestId?: string }, command: Command) =>
        withSession(command, async (session) => {
          const walletId = await resolveWallet(name, session);
          const requestId = session.requestId(options.requestId);
          const reply = await session.call(method, { requestId, walletId, reason: options.reason });
          if (session.json) return printReply(WalletServiceService.freezeWallet, reply);
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
    .description("show what wallets hold now, or held at any time; a user stands for all of theirs")
    .addOption(
      new Option("--at <time>", "at this time, such as 2026-11-22T20:00:00Z").argParser(readTime).conflicts("atIndex"),
    )
    .addOption(
      new Option("--at-index <n>", "right after this record of the journal").argParser(
        wholeNumber(0, Number.MAX_SAFE_INTEGER),
      ),
    )
    .addOption(
      new Option("--effective <time>", "with what took effect by this time, whenever it was recorded")
        .argParser(readTime)
        .conflicts(["at", "atIndex"]),
    )
    .addOption(
      new Option("--min-index <n>", "no older than this record of the journal, which is waited for").argParser(
        wholeNumber(0, Number.MAX_SAFE_INTEGER),
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
      withSession(command, async (session) => {
        const walletIds = await resolveWallets(names, session);
        const replies = await Promise.all(
          walletIds.map((walletId) =>
            session.call(WalletServiceService.getBalance, {
              walletId,
              asOf: asOfOf(options),
              ...(options.minIndex !== undefined && { minJournalIndex: BigInt(options.minIndex) }),
            }),
          ),
        );
        if (session.json) {
          const [first] = replies;
          if (first !== undefined && isOneWallet(names)) return printReply(WalletServiceService.getBalance, first);
          return printJson({ wallets: replies.map((reply) => replyToJson(WalletServiceService.getBalance, reply)) });
        }
        const balances = replies.map(({ balance }) => assertPresent(balance, "balance"));
        // By effective time it may exceed what Money holds.
        const [shown, huge] = [
          balances.filter(({ posted }) => posted),
          replies.filter(({ balance }) => !balance?.posted),
        ];
        print(
          balances.length === 0 ? "The user has no wallets." : "",
          shown.length === 0 ? "" : await showBalances(shown, session),
          huge.map((one) => `${one.balance?.walletId}: ${one.postedMinorUnits} minor units posted`).join("\n"),
        );
      }),
    );
}

export function addStatementCommand(program: Command): void {
  program
    .command("statement <wallet>")
    .description("list what was posted to a wallet in a period, oldest first, with its opening and closing balance")
    .option("--effective", "by when transactions took effect, not by when they were recorded")
    .requiredOption(
      "--from <time>",
      "the start, by the time of record unless told otherwise, such as 2026-11-01T00:00:00Z",
      readTime,
    )
    .requiredOption("--before <time>", "the end, which is not included", readTime)
    .option("--csv", "print comma-separated values: amounts in minor units")
    .addHelpText(
      "after",
      examples(
        "statement 01890a5d-ac96-774b-bcce-b302099a8057 --from 2026-11-01T00:00:00Z --before 2026-12-01T00:00:00Z",
      ),
    )
    .action((name: string, options: StatementOptions, command: Command) =>
      withSession(command, async (session) => {
        const walletId = await resolveWallet(name, session);
        const request = { walletId, from: options.from, before: options.before, afterAccountSequence: 0n };
        if (options.csv === true && !session.json) {
          if (options.effective === true) {
            const statement = await collectStatement(walletId, options, session);
            console.log([CSV_TITLES, ...withBalances(statement).map(csvLine)].join("\n"));
            return;
          }
          await readStatement(session, request, {
            begin: () => console.log(CSV_TITLES),
            take: (lines) =>
              console.log(lines.map((line) => csvLine([line, line.balanceAfter?.minorUnits ?? 0n])).join("\n")),
          });
          return;
        }
        const statement =
          options.effective === true
            ? await collectStatement(walletId, options, session)
            : await gatherStatement(session, request);
        if (session.json) return printReply(WalletServiceService.getStatement, statement);
        print(renderStatement(statement, options, await session.currencies()));
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
  // Where there are more credits than Money holds, there are lines.
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
      withBalances(statement).map(([line, balanceAfter]) => [
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

/** The lines, each with the balance after it, in minor units: by effective time it may exceed what Money holds. */
function withBalances({ openingMinorUnits, lines }: GetStatementResponse): (readonly [StatementLine, bigint])[] {
  let balance = BigInt(openingMinorUnits);
  return lines.map((line) => [line, (balance += line.amount?.minorUnits ?? 0n)] as const);
}

/** The whole statement in the order of effective times, which is read by pages. */
async function collectStatement(
  walletId: string,
  { from, before }: StatementOptions,
  session: Session,
): Promise<GetStatementResponse> {
  let last: GetStatementResponse | undefined;
  const order = StatementOrder.EFFECTIVE_TIME;
  const { items: lines } = await collect(Number.POSITIVE_INFINITY, async (page) => {
    last = await session.call(WalletServiceService.getStatement, { walletId, from, before, order, ...page });
    return { items: last.lines, nextPageToken: last.nextPageToken };
  });
  return { ...assertPresent(last, "a statement"), lines };
}

/** The whole statement in the order of the records. */
async function gatherStatement(session: Session, request: StreamStatementRequest): Promise<GetStatementResponse> {
  const lines: StatementLine[] = [];
  const sums = await readStatement(session, request, {
    take: (more) => {
      lines.push(...more);
    },
  });
  return { ...sums, lines, nextPageToken: "" };
}

/** Hands over the lines of the whole statement as they come, and returns the rest of it. */
async function readStatement(
  session: Session,
  request: StreamStatementRequest,
  { begin, take }: { readonly begin?: () => void; readonly take: (lines: readonly StatementLine[]) => void },
): Promise<Omit<GetStatementResponse, "lines" | "nextPageToken">> {
  let opening: StatementOpening | undefined;
  let closing: StatementClosing | undefined;
  await session.stream(WalletServiceService.streamStatement, request, ({ part }) => {
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

/** RFC 4180; a cell that a spreadsheet would run as a formula begins with an apostrophe. */
function csvLine([line, balanceAfter]: readonly [StatementLine, bigint]): string {
  const safe = /^[=+\-@\t]/.test(line.description) ? `'${line.description}` : line.description;
  return [
    utc(line.createTime),
    String(line.amount?.minorUnits ?? 0n),
    String(balanceAfter),
    line.amount?.currencyCode ?? "",
    line.transactionId,
    String(line.journalIndex),
    /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe,
    utc(line.effectiveTime),
  ].join(",");
}

/** Other programs read it: it does not depend on this machine's zone. */
function utc(time: Timestamp | undefined): string {
  return time === undefined ? "" : timeText(time);
}

interface AsOfOptions {
  readonly at?: Timestamp;
  readonly atIndex?: number;
  readonly effective?: Timestamp;
}

function asOfOf({ at, atIndex, effective }: AsOfOptions) {
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
  if (wallets.length === 0) return "The user has no wallets. `grey wallet create --help` tells how to open one.";
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
