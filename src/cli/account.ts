import { Option, type Command } from "commander";
import { LedgerServiceService } from "../../generated/grey/ledger/v1/ledger_service.js";
import { NormalSide, type Account } from "../../generated/grey/ledger/v1/account.js";
import { assertPresent } from "../base/assert.js";
import { type Currencies, readMinorUnits, showMoney } from "./amount.js";
import { ABOUT_REQUEST_ID, examples, limitOption, requestIdOption } from "./options.js";
import { collect, moreLine } from "./paging.js";
import { requestFields, showEnum } from "./present.js";
import { print, printReply, withSession } from "./session.js";
import { renderFields, renderTable } from "./table.js";

interface CreateOptions {
  readonly side: "debit" | "credit";
  readonly min?: string;
  readonly max?: string;
  readonly requestId?: string;
}

/** `grey account`. */
export function addAccountCommands(program: Command): void {
  const account = program.command("account").description("open and list the operator's own system accounts");

  account
    .command("create <name> <currency>")
    .description("open a system account, such as commission, in a currency")
    .addOption(
      new Option("--side <side>", "the side on which its balance is positive")
        .choices(["debit", "credit"])
        .default("credit"),
    )
    .option("--min <amount>", "the least balance it may have (default: any)")
    .option("--max <amount>", "the highest balance it may have (default: any)")
    .addOption(requestIdOption())
    .addHelpText(
      "after",
      examples("account create commission USD", "account create bank EUR --side debit") + ABOUT_REQUEST_ID,
    )
    .action((name: string, currency: string, options: CreateOptions, command: Command) =>
      withSession(command, async (session) => {
        const requestId = session.requestId(options.requestId);
        const currencyCode = currency.toUpperCase();
        const currencies = await session.currencies();
        const amountOf = (text: string | undefined) =>
          text === undefined ? undefined : readMinorUnits(text, currencies, currencyCode);
        const reply = await session.call(LedgerServiceService.createAccount, {
          requestId,
          systemAccount: { name, currencyCode },
          normalSide: options.side === "debit" ? NormalSide.DEBIT : NormalSide.CREDIT,
          minBalance: amountOf(options.min),
          maxBalance: amountOf(options.max),
        });
        if (session.json) return printReply(LedgerServiceService.createAccount, reply);
        const made = assertPresent(reply.account, "account");
        print(
          renderFields([
            ["account", made.id],
            ["name", made.systemAccount],
            ["currency", made.currencyCode],
            ["normal side", showEnum(NormalSide, made.normalSide)],
            ["min", showMoney(made.minBalance, currencies)],
            ["max", showMoney(made.maxBalance, currencies)],
            ...requestFields(requestId, reply.replayed),
          ]),
        );
      }),
    );

  account
    .command("list")
    .description("list the system accounts")
    .option("--currency <code>", "only those of this currency")
    .addOption(limitOption())
    .addHelpText("after", examples("account list --currency USD"))
    .action((options: { currency?: string; limit: number }, command: Command) =>
      withSession(command, async (session) => {
        const page = await collect<Account>(options.limit, async (page) => {
          const currencyCode = options.currency?.toUpperCase() ?? "";
          const reply = await session.call(LedgerServiceService.listAccounts, {
            currencyCode,
            systemOnly: true,
            ...page,
          });
          return { items: reply.accounts, nextPageToken: reply.nextPageToken };
        });
        if (session.json)
          return printReply(LedgerServiceService.listAccounts, {
            accounts: page.items,
            nextPageToken: page.nextPageToken,
          });
        print(renderAccounts(page.items, await session.currencies()), moreLine(page, "--limit shows more"));
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
