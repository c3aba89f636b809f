import type { Command } from "commander";
import { type ExchangeTerms, Rounding } from "../../generated/grey/transaction/v1/transaction.js";
import { TransactionServiceService } from "../../generated/grey/transaction/v1/transaction_service.js";
import { LedgerServiceService } from "../../generated/grey/ledger/v1/ledger_service.js";
import type { Rate } from "../../generated/grey/ledger/v1/rate.js";
import { assertPresent } from "../base/assert.js";
import { type Currencies, readPositiveMoney, showMoney } from "./amount.js";
import { UsageError } from "./failure.js";
import { readDuration } from "./hold.js";
import { addMovementCommand, readCommonFields, movementHelp, type MovementOptions, printMovement } from "./movement.js";
import { ABOUT_REQUEST_ID, examples, limitOption, readTime, requestIdOption } from "./options.js";
import { collect, moreLine } from "./paging.js";
import { requestFields, showEnum } from "./render.js";
import { resolveWallet } from "./resolve.js";
import { showTime, timeCell } from "./time.js";
import { print, printReply, withContext } from "./command-context.js";
import { renderFields, renderTable } from "./table.js";
import type { Timestamp } from "../../generated/google/protobuf/timestamp.js";

const DOLLARS = "01890a5d-ac96-774b-bcce-b302099a8057";
const EUROS = "01890a5d-b1c7-7d2a-9f3e-5a1c0f6e7b21";

interface ExchangeOptions extends MovementOptions {
  readonly receive?: string;
  readonly rate?: string;
  readonly quote?: string;
}

/** Adds `grey exchange`, `grey quote` and `grey rate`. */
export function addExchangeCommands(program: Command): void {
  addMovementCommand(
    program,
    "exchange <from> <to> [amount...]",
    "convert money from one wallet into the currency of another",
  )
    .option("--receive <amount>", "the amount to receive, instead of the amount to pay or in addition to it")
    .option(
      "--rate <rate>",
      "units of the target currency per unit of the source (default: the rate set by `grey rate set`)",
    )
    .option("--quote <quote>", "a quote from `grey quote`, which fixes rate and amounts")
    .addHelpText(
      "after",
      movementHelp(
        `exchange ${DOLLARS} ${EUROS} 100.00 USD --rate 0.92`,
        `exchange ${DOLLARS} ${EUROS} --receive "50.00 EUR"`,
      ),
    )
    .action((from: string, to: string, amount: string[], options: ExchangeOptions, command: Command) =>
      withContext(command, async (context) => {
        const { receive, rate, quote } = options;
        if (rate !== undefined && quote !== undefined)
          throw new UsageError("--quote and --rate exclude each other: a quote fixes the rate");
        const currencies = await context.currencies();
        const reply = await context.call(TransactionServiceService.exchange, {
          ...readCommonFields(options, context),
          fromWalletId: await resolveWallet(from, context),
          toWalletId: await resolveWallet(to, context),
          sourceAmount: amount.length === 0 ? undefined : readPositiveMoney(amount.join(" "), currencies),
          targetAmount: receive === undefined ? undefined : readPositiveMoney(receive, currencies),
          by:
            quote !== undefined
              ? { $case: "quote", value: quote }
              : rate !== undefined
                ? { $case: "rate", value: rate }
                : undefined,
          rounding: Rounding.UNSPECIFIED,
          effectiveTime: undefined,
          preconditions: [],
        });
        if (context.json) return printReply(TransactionServiceService.exchange, reply);
        await printMovement(reply, context);
        print(
          renderTerms(assertPresent(assertPresent(reply.transaction, "transaction").exchange, "terms"), currencies),
        );
      }),
    );

  program
    .command("quote <amount...>")
    .description("get a quote: a rate and amounts guaranteed until it expires, for `grey exchange --quote`")
    .requiredOption("--to <currency>", "the target currency")
    .option("--expires-in <duration>", "how long the quote is valid, such as 30s or 5m (default: 60s)", readDuration)
    .addHelpText("after", examples("quote 100.00 USD --to EUR --expires-in 5m"))
    .action((amount: string[], options: { to: string; expiresIn?: bigint }, command: Command) =>
      withContext(command, async (context) => {
        const currencies = await context.currencies();
        const source = readPositiveMoney(amount.join(" "), currencies);
        const reply = await context.call(TransactionServiceService.getQuote, {
          sourceCurrencyCode: source.currencyCode,
          targetCurrencyCode: options.to.toUpperCase(),
          amount: { $case: "sourceMinorUnits", value: source.minorUnits },
          expiresIn: options.expiresIn === undefined ? undefined : { seconds: options.expiresIn, nanos: 0 },
          rounding: Rounding.UNSPECIFIED,
        });
        if (context.json) return printReply(TransactionServiceService.getQuote, reply);
        print(
          renderTerms(assertPresent(reply.terms, "terms"), currencies),
          renderFields([
            ["expires", showTime(reply.expireTime)],
            ["quote", reply.quote],
          ]),
        );
      }),
    );

  addRateCommands(program.command("rate").description("set, show and list exchange rates"));
}

interface SetRateOptions {
  readonly requestId?: string;
  readonly from?: Timestamp;
  readonly until?: Timestamp;
}

function addRateCommands(rates: Command): void {
  rates
    .command("set <source> <target> <rate>")
    .description("set the rate: units of the target currency per unit of the source currency")
    .option("--from <time>", "the start of validity, such as 2026-12-01T00:00:00Z (default: now)", readTime)
    .option("--until <time>", "the end of validity, exclusive (default: until the next rate starts)", readTime)
    .addOption(requestIdOption())
    .addHelpText("after", examples("rate set USD EUR 0.9213") + ABOUT_REQUEST_ID)
    .action((source: string, target: string, rate: string, options: SetRateOptions, command: Command) =>
      withContext(command, async (context) => {
        const requestId = context.requestId(options.requestId);
        const reply = await context.call(LedgerServiceService.setRate, {
          requestId,
          ...toCurrencyPair(source, target),
          rate,
          validFrom: options.from,
          validUntil: options.until,
        });
        if (context.json) return printReply(LedgerServiceService.setRate, reply);
        print(renderRate(assertPresent(reply.rate, "rate"), requestFields(requestId, reply.replayed)));
      }),
    );

  rates
    .command("get <source> <target>")
    .description("show the rate in force, now or at a given time")
    .option("--at <time>", "the time, such as 2026-12-01T00:00:00Z (default: now)", readTime)
    .addHelpText("after", examples("rate get USD EUR", "rate get USD EUR --at 2026-12-01T00:00:00Z"))
    .action((source: string, target: string, options: { at?: Timestamp }, command: Command) =>
      withContext(command, async (context) => {
        const reply = await context.call(LedgerServiceService.getRate, {
          ...toCurrencyPair(source, target),
          atTime: options.at,
        });
        if (context.json) return printReply(LedgerServiceService.getRate, reply);
        print(renderRate(assertPresent(reply.rate, "rate"), []));
      }),
    );

  rates
    .command("list <source> <target>")
    .description("list the rates between two currencies, latest first")
    .addOption(limitOption())
    .addHelpText("after", examples("rate list USD EUR"))
    .action((source: string, target: string, options: { limit: number }, command: Command) =>
      withContext(command, async (context) => {
        const page = await collect<Rate>(options.limit, async (page) => {
          const reply = await context.call(LedgerServiceService.listRates, {
            ...toCurrencyPair(source, target),
            ...page,
          });
          return { items: reply.rates, nextPageToken: reply.nextPageToken };
        });
        if (context.json)
          return printReply(LedgerServiceService.listRates, { rates: page.items, nextPageToken: page.nextPageToken });
        const table = renderTable(
          [
            { title: "rate", align: "right" },
            { title: "from" },
            { title: "until" },
            { title: "id", kind: "id", drop: 1 },
          ],
          page.items.map((one) => [one.rate, timeCell(one.validFrom), timeCell(one.validUntil), one.id]),
        );
        print(page.items.length === 0 ? "There are no rates." : table, moreLine(page, "raise --limit"));
      }),
    );
}

function toCurrencyPair(source: string, target: string) {
  return { sourceCurrencyCode: source.toUpperCase(), targetCurrencyCode: target.toUpperCase() };
}

function renderRate(rate: Rate, request: readonly (readonly [string, string])[]): string {
  return renderFields([
    ["rate", `1 ${rate.sourceCurrencyCode} = ${rate.rate} ${rate.targetCurrencyCode}`],
    ["id", rate.id],
    ...request,
    ["from", showTime(rate.validFrom)],
    ["until", showTime(rate.validUntil)],
  ]);
}

function renderTerms(terms: ExchangeTerms, currencies: Currencies): string {
  return renderFields([
    ["paid", showMoney(terms.sourceAmount, currencies)],
    ["received", showMoney(terms.targetAmount, currencies)],
    ["rate", terms.rate],
    ["rounding", terms.rounding === Rounding.UNSPECIFIED ? "" : showEnum(Rounding, terms.rounding)],
    ["rate id", terms.rateId],
  ]);
}
