import { InvalidArgumentError, type Command } from "commander";
import { LedgerServiceService } from "../../generated/grey/ledger/v1/ledger_service.js";
import {
  VelocityDirection,
  type LimitChange,
  type Limits,
  type VelocityLimit,
  type VelocityUsage,
} from "../../generated/grey/ledger/v1/limits.js";
import { TransactionKind } from "../../generated/grey/transaction/v1/transaction.js";
import { WalletServiceService } from "../../generated/grey/wallet/v1/wallet_service.js";
import { assertPresent } from "../base/assert.js";
import { type Currencies, readMinorUnits, showAmount } from "./amount.js";
import { UsageError } from "./failure.js";
import { readDuration } from "./hold.js";
import { ABOUT_REQUEST_ID, examples, limitOption, requestIdOption } from "./options.js";
import { collect, moreLine } from "./paging.js";
import { requestFields, showEnum } from "./render.js";
import { ABOUT_WALLETS, resolveWallet } from "./resolve.js";
import { showTime } from "./time.js";
import { print, printReply, type CommandContext, withContext } from "./command-context.js";
import { renderFields, renderTable } from "./table.js";

const WALLET = "01890a5d-ac96-774b-bcce-b302099a8057";

/** The parts of a --velocity option: `name=daily`, `window=1d` and so on. */
type VelocityOption = Readonly<Record<string, string>>;

interface SetOptions {
  readonly min?: string;
  readonly max?: string;
  readonly velocity?: readonly VelocityOption[];
  readonly reason: string;
  readonly requestId?: string;
}

const ABOUT_LIMITS = `
This replaces all limits: one that is left out is removed (without --min, no overdraft is
allowed). A velocity limit is a comma-separated list:
  name=daily,window=1d,amount=500.00,count=20,direction=out,kinds=transfer+withdrawal
name, window, direction (out or in) and an amount, a count or both are required; without
kinds it applies to all kinds of transactions.`;

/** Adds `grey limits`. */
export function addLimitsCommands(program: Command): void {
  const limits = program.command("limits").description("set and show the balance and velocity limits of wallets");

  limits
    .command("show <wallet>")
    .description("show the limits of a wallet and their usage")
    .addHelpText("after", examples(`limits show ${WALLET}`) + ABOUT_WALLETS)
    .action((wallet: string, _options: object, command: Command) =>
      withContext(command, async (context) => {
        const walletId = await resolveWallet(wallet, context);
        const reply = await context.call(LedgerServiceService.getLimits, { account: toAccountSelector(walletId) });
        if (context.json) return printReply(LedgerServiceService.getLimits, reply);
        const currencyCode = await fetchCurrencyCode(walletId, context);
        print(
          renderLimits(assertPresent(reply.limits, "limits"), currencyCode, await context.currencies(), reply.usage),
        );
      }),
    );

  addSetCommand(limits, "set <wallet>", "replace the limits of a wallet")
    .addHelpText(
      "after",
      ABOUT_LIMITS +
        "\n" +
        examples(
          `limits set ${WALLET} --min -100.00 --reason "overdraft granted"`,
          `limits set ${WALLET} --velocity name=daily,window=1d,amount=500.00,direction=out --reason "a policy"`,
        ) +
        ABOUT_WALLETS +
        ABOUT_REQUEST_ID,
    )
    .action((wallet: string, options: SetOptions, command: Command) =>
      withContext(command, async (context) => {
        const walletId = await resolveWallet(wallet, context);
        const requestId = context.requestId(options.requestId);
        const currencyCode = await fetchCurrencyCode(walletId, context);
        const currencies = await context.currencies();
        const reply = await context.call(LedgerServiceService.setLimits, {
          requestId,
          account: toAccountSelector(walletId),
          limits: readLimits(options, currencyCode, currencies),
          reason: options.reason,
        });
        if (context.json) return printReply(LedgerServiceService.setLimits, reply);
        print(
          renderFields(requestFields(requestId, reply.replayed)),
          renderLimits(assertPresent(reply.limits, "limits"), currencyCode, currencies, []),
        );
      }),
    );

  addSetCommand(limits, "defaults <currency>", "set the limits of new wallets in a currency")
    .addHelpText(
      "after",
      ABOUT_LIMITS + "\n" + examples('limits defaults USD --max 10000.00 --reason "a policy"') + ABOUT_REQUEST_ID,
    )
    .action((currency: string, options: SetOptions, command: Command) =>
      withContext(command, async (context) => {
        const requestId = context.requestId(options.requestId);
        const currencyCode = currency.toUpperCase();
        const currencies = await context.currencies();
        const reply = await context.call(LedgerServiceService.setDefaultLimits, {
          requestId,
          currencyCode,
          limits: readLimits(options, currencyCode, currencies),
          reason: options.reason,
        });
        if (context.json) return printReply(LedgerServiceService.setDefaultLimits, reply);
        print(
          renderFields(requestFields(requestId, reply.replayed)),
          renderLimits(assertPresent(reply.limits, "limits"), currencyCode, currencies, []),
        );
      }),
    );

  limits
    .command("changes <wallet>")
    .description("list the limit changes of a wallet with caller, time and reason, newest first")
    .addOption(limitOption())
    .addHelpText("after", examples(`limits changes ${WALLET}`) + ABOUT_WALLETS)
    .action((wallet: string, options: { limit: number }, command: Command) =>
      withContext(command, async (context) => {
        const walletId = await resolveWallet(wallet, context);
        const page = await collect<LimitChange>(options.limit, async (page) => {
          const reply = await context.call(LedgerServiceService.listLimitChanges, {
            of: toAccountSelector(walletId),
            ...page,
          });
          return { items: reply.changes, nextPageToken: reply.nextPageToken };
        });
        if (context.json)
          return printReply(LedgerServiceService.listLimitChanges, {
            changes: page.items,
            nextPageToken: page.nextPageToken,
          });
        const currencyCode = await fetchCurrencyCode(walletId, context);
        const currencies = await context.currencies();
        const blocks = page.items.map((change) =>
          [
            renderFields([
              ["changed", showTime(change.createTime)],
              ["caller", change.caller],
              ["reason", change.reason],
            ]),
            renderLimits(assertPresent(change.limits, "limits"), currencyCode, currencies, []),
          ].join("\n"),
        );
        print(
          ...(blocks.length === 0 ? ["The limits have never been changed."] : blocks),
          moreLine(page, "raise --limit"),
        );
      }),
    );
}

function addSetCommand(limits: Command, usage: string, description: string): Command {
  return limits
    .command(usage)
    .description(description)
    .requiredOption("--reason <text>", "the reason, for operators; leave out personal data")
    .option("--min <amount>", "the minimum available balance; a negative one grants an overdraft (default: 0)")
    .option("--max <amount>", "the maximum balance (default: none)")
    .option(
      "--velocity <parts>",
      "a velocity limit: the maximum amount or count per window; repeatable",
      collectVelocity,
    )
    .addOption(requestIdOption());
}

const PARTS = ["name", "window", "amount", "count", "direction", "kinds"];

function collectVelocity(text: string, before: readonly VelocityOption[] = []): readonly VelocityOption[] {
  const parts = text.split(",").map((part) => part.split("="));
  const wrong = parts.find(([name = "", value]) => !PARTS.includes(name) || value === undefined || value === "");
  if (wrong !== undefined)
    throw new InvalidArgumentError(
      `It must be a comma-separated list of ${PARTS.join(", ")}, such as name=daily,window=1d,amount=500.00.`,
    );
  return [...before, Object.fromEntries(parts) as VelocityOption];
}

function readLimits({ min, max, velocity = [] }: SetOptions, currencyCode: string, currencies: Currencies): Limits {
  const readBound = (text: string | undefined) =>
    text === undefined ? undefined : readMinorUnits(text, currencies, currencyCode);
  return {
    minBalance: readBound(min),
    maxBalance: readBound(max),
    velocity: velocity.map((typed): VelocityLimit => {
      const { name, window, amount, count, direction, kinds = "" } = typed;
      if (name === undefined || window === undefined) throw new UsageError("--velocity: name and window are required");
      if (direction !== "out" && direction !== "in") throw new UsageError("--velocity: direction must be out or in");
      if (count !== undefined && !/^\d{1,15}$/.test(count))
        throw new UsageError("--velocity: count must be a whole number, 0 or more");
      return {
        name,
        direction: direction === "out" ? VelocityDirection.OUTGOING : VelocityDirection.INCOMING,
        kinds: kinds === "" ? [] : kinds.split("+").map(parseKind),
        windowSeconds: readDuration(window),
        maxAmount: readBound(amount),
        maxCount: count === undefined ? undefined : BigInt(count),
      };
    }),
  };
}

function parseKind(name: string): TransactionKind {
  const kind = TransactionKind[name.toUpperCase() as keyof typeof TransactionKind];
  if (kind === undefined) throw new UsageError(`--velocity: unknown kind ${name}`);
  return kind;
}

function toAccountSelector(walletId: string) {
  return { $case: "walletId", value: walletId } as const;
}

async function fetchCurrencyCode(walletId: string, context: CommandContext): Promise<string> {
  const { wallet } = await context.call(WalletServiceService.getWallet, { id: walletId });
  return assertPresent(wallet, "wallet").currencyCode;
}

function renderLimits(
  { minBalance, maxBalance, velocity }: Limits,
  currencyCode: string,
  currencies: Currencies,
  usage: readonly VelocityUsage[],
): string {
  const show = (amount: bigint | undefined) =>
    amount === undefined ? "any" : showAmount(amount, currencyCode, currencies);
  const fields = renderFields([
    ["min", show(minBalance)],
    ["max", show(maxBalance)],
  ]);
  if (velocity.length === 0) return fields;
  const table = renderTable(
    [
      { title: "limit" },
      { title: "direction" },
      { title: "kinds", kind: "text" },
      { title: "window", align: "right" },
      { title: "amount", align: "right" },
      { title: "count", align: "right" },
      { title: "used amount", align: "right" },
      { title: "used count", align: "right" },
    ],
    velocity.map((one) => {
      const used = usage.find(({ name }) => name === one.name);
      return [
        one.name,
        showEnum(VelocityDirection, one.direction),
        one.kinds.length === 0 ? "all" : one.kinds.map((kind) => showEnum(TransactionKind, kind)).join(" "),
        `${one.windowSeconds} s`,
        show(one.maxAmount),
        one.maxCount?.toString() ?? "any",
        used === undefined ? "" : show(used.amount),
        used?.count.toString() ?? "",
      ];
    }),
  );
  return `${fields}\n\n${table}`;
}
