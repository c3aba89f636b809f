import { Option, type Command } from "commander";
import { LedgerServiceService } from "../../generated/grey/ledger/v1/ledger_service.js";
import { NormalSide, type Account } from "../../generated/grey/ledger/v1/account.js";
import { assertPresent } from "../base/assert.js";
import { type Currencies, readMinorUnits, showMoney } from "./amount.js";
import { ABOUT_REQUEST_ID, examples, limitOption, requestIdOption } from "./options.js";
import { collect, moreLine } from "./paging.js";
import { requestFields, showEnum } from "./render.js";
import { print, printReply, withContext } from "./command-context.js";
import { renderFields, renderTable } from "./table.js";

interface CreateOptions {
  readonly side: "debit" | "credit";
  readonly min?: string;
  readonly max?: string;
  readonly requestId?: string;
}

/** Adds `grey account`. */
export function addAccountCommands(program: Command): void {
  const account = program.command("account").description("open and list system accounts, such as fees or commission");

  account
    .command("create <name> <currency>")
    .description("open a system account in a currency")
    .addOption(
      new Option("--side <side>", "the side that increases its balance").choices(["debit", "credit"]).default("credit"),
    )
    .option("--min <amount>", "the minimum balance (default: none)")
    .option("--max <amount>", "the maximum balance (default: none)")
    .addOption(requestIdOption())
    .addHelpText(
      "after",
      examples("account create commission USD", "account create bank EUR --side debit") + ABOUT_REQUEST_ID,
    )
    .action((name: string, currency: string, options: CreateOptions, command: Command) =>
      withContext(command, async (context) => {
        const requestId = context.requestId(options.requestId);
        const currencyCode = currency.toUpperCase();
        const currencies = await context.currencies();
        const readBound = (text: string | undefined) =>
          text === undefined ? undefined : readMinorUnits(text, currencies, currencyCode);
        const reply = await context.call(LedgerServiceService.createAccount, {
          requestId,
          systemAccount: { name, currencyCode },
          normalSide: options.side === "debit" ? NormalSide.DEBIT : NormalSide.CREDIT,
          minBalance: readBound(options.min),
          maxBalance: readBound(options.max),
        });
        if (context.json) return printReply(LedgerServiceService.createAccount, reply);
        const account = assertPresent(reply.account, "account");
        print(
          renderFields([
            ["account", account.id],
            ["name", account.systemAccount],
            ["currency", account.currencyCode],
            ["normal side", showEnum(NormalSide, account.normalSide)],
            ["min", showMoney(account.minBalance, currencies)],
            ["max", showMoney(account.maxBalance, currencies)],
            ...requestFields(requestId, reply.replayed),
          ]),
        );
      }),
    );

  account
    .command("list")
    .description("list the system accounts")
    .option("--currency <code>", "only accounts in this currency")
    .addOption(limitOption())
    .addHelpText("after", examples("account list --currency USD"))
    .action((options: { currency?: string; limit: number }, command: Command) =>
      withContext(command, async (context) => {
        const page = await collect<Account>(options.limit, async (page) => {
          const currencyCode = options.currency?.toUpperCase() ?? "";
          const reply = await context.call(LedgerServiceService.listAccounts, {
            currencyCode,
            systemOnly: true,
            ...page,
          });
          return { items: reply.accounts, nextPageToken: reply.nextPageToken };
        });
        if (context.json)
          return printReply(LedgerServiceService.listAccounts, {
            accounts: page.items,
            nextPageToken: page.nextPageToken,
          });
        print(renderAccounts(page.items, await context.currencies()), moreLine(page, "raise --limit"));
      }),
    );
}

function renderAccounts(accounts: readonly Account[], currencies: Currencies): string {
  return renderTable(
    [
      { title: "name" },
      { title: "balance", align: "right" },
      { title: "side", drop: 2 },
      { title: "min", align: "right" },
      { title: "max", align: "right" },
      { title: "account", kind: "id", drop: 1 },
    ],
    accounts.map((one) => [
      one.systemAccount,
      showMoney(one.balance, currencies),
      showEnum(NormalSide, one.normalSide),
      showMoney(one.minBalance, currencies),
      showMoney(one.maxBalance, currencies),
      one.id,
    ]),
  );
}
