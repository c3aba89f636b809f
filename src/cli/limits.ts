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
import { requestFields, showEnum } from "./present.js";
import { resolveWallet } from "./resolve.js";
import { showTime } from "./time.js";
import { print, printReply, type Session, withSession } from "./session.js";
import { renderFields, renderTable } from "./table.js";

const WALLET = "01890a5d-ac96-774b-bcce-b302099a8057";

/** What was typed of a limit by velocity: `name=daily`, `window=1d` and so on. */
type TypedVelocity = Readonly<Record<string, string>>;

interface SetOptions {
  readonly min?: string;
  readonly max?: string;
  readonly velocity?: readonly TypedVelocity[];
  readonly reason: string;
  readonly requestId?: string;
}

const ABOUT_LIMITS = `
All limits are set at once: what is left out is no longer limited (--min: nothing may
be overdrawn). A limit by velocity is written as parts with commas:
  name=daily,window=1d,amount=500.00,count=20,direction=out,kinds=transfer+withdrawal
where direction is out or in, and amount, count or both are given.`;

/** `grey limits`. */
export function addLimitsCommands(program: Command): void {
  const limits = program.command("limits").description("set and show the limits of wallets");

  limits
    .command("show <wallet>")
    .description("show the limits of a wallet, and what is used of them")
    .addHelpText("after", examples(`limits show ${WALLET}`))
    .action((wallet: string, _options: object, command: Command) =>
      withSession(command, async (session) => {
        const walletId = await resolveWallet(wallet, session);
        const reply = await session.call(LedgerServiceService.getLimits, { account: walletOf(walletId) });
        if (session.json) return printReply(LedgerServiceService.getLimits, reply);
        const currencyCode = await currencyOf(walletId, session);
        print(
          renderLimits(assertPresent(reply.limits, "limits"), currencyCode, await session.currencies(), reply.usage),
        );
      }),
    );

  addSet(limits, "set <wallet>", "set all limits of a wallet")
    .addHelpText(
      "after",
      ABOUT_LIMITS +
        "\n" +
        examples(
          `limits set ${WALLET} --min -100.00 --reason "overdraft granted"`,
          `limits set ${WALLET} --velocity name=daily,window=1d,amount=500.00,direction=out --reason "a policy"`,
        ) +
        ABOUT_REQUEST_ID,
    )
    .action((wallet: string, options: SetOptions, command: Command) =>
      withSession(command, async (session) => {
        const walletId = await resolveWallet(wallet, session);
        const requestId = session.requestId(options.requestId);
        const currencyCode = await currencyOf(walletId, session);
        const currencies = await session.currencies();
        const reply = await session.call(LedgerServiceService.setLimits, {
          requestId,
          account: walletOf(walletId),
          limits: readLimits(options, currencyCode, currencies),
          reason: options.reason,
        });
        if (session.json) return printReply(LedgerServiceService.setLimits, reply);
        print(
          renderFields(requestFields(requestId, reply.replayed)),
          renderLimits(assertPresent(reply.limits, "limits"), currencyCode, currencies, []),
        );
      }),
    );

  addSet(limits, "defaults <currency>", "set the limits that new wallets of a currency get")
    .addHelpText(
      "after",
      ABOUT_LIMITS + "\n" + examples('limits defaults USD --max 10000.00 --reason "a policy"') + ABOUT_REQUEST_ID,
    )
    .action((currency: string, options: SetOptions, command: Command) =>
      withSession(command, async (session) => {
        const requestId = session.requestId(options.requestId);
        const currencyCode = currency.toUpperCase();
        const currencies = await session.currencies();
        const reply = await session.call(LedgerServiceService.setDefaultLimits, {
          requestId,
          currencyCode,
          limits: readLimits(options, currencyCode, currencies),
          reason: options.reason,
        });
        if (session.json) return printReply(LedgerServiceService.setDefaultLimits, reply);
        print(
          renderFields(requestFields(requestId, reply.replayed)),
          renderLimits(assertPresent(reply.limits, "limits"), currencyCode, currencies, []),
        );
      }),
    );

  limits
    .command("changes <wallet>")
    .description("list who set which limits of a wallet, when and why, newest first")
    .addOption(limitOption())
    .addHelpText("after", examples(`limits changes ${WALLET}`))
    .action((wallet: string, options: { limit: number }, command: Command) =>
      withSession(command, async (session) => {
        const walletId = await resolveWallet(wallet, session);
        const page = await collect<LimitChange>(options.limit, async (page) => {
          const reply = await session.call(LedgerServiceService.listLimitChanges, { of: walletOf(walletId), ...page });
          return { items: reply.changes, nextPageToken: reply.nextPageToken };
        });
        if (session.json)
          return printReply(LedgerServiceService.listLimitChanges, {
            changes: page.items,
            nextPageToken: page.nextPageToken,
          });
        const currencyCode = await currencyOf(walletId, session);
        const currencies = await session.currencies();
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
        print(...(blocks.length === 0 ? ["The limits were never set."] : blocks), moreLine(page, "--limit shows more"));
      }),
    );
}

function addSet(limits: Command, usage: string, description: string): Command {
  return limits
    .command(usage)
    .description(description)
    .requiredOption("--reason <text>", "why, for operators; it should name nobody")
    .option("--min <amount>", "the least that may be available: below 0 grants an overdraft (default: 0)")
    .option("--max <amount>", "the most that may be there (default: any)")
    .option("--velocity <parts>", "how much may move within a window; repeatable", addVelocity)
    .addOption(requestIdOption());
}

const PARTS = ["name", "window", "amount", "count", "direction", "kinds"];

function addVelocity(text: string, before: readonly TypedVelocity[] = []): readonly TypedVelocity[] {
  const parts = text.split(",").map((part) => part.split("="));
  const wrong = parts.find(([name = "", value]) => !PARTS.includes(name) || value === undefined || value === "");
  if (wrong !== undefined)
    throw new InvalidArgumentError(
      `It must be parts of ${PARTS.join(", ")}, such as name=daily,window=1d,amount=500.00.`,
    );
  return [...before, Object.fromEntries(parts) as TypedVelocity];
}

function readLimits({ min, max, velocity = [] }: SetOptions, currencyCode: string, currencies: Currencies): Limits {
  const amountOf = (text: string | undefined) =>
    text === undefined ? undefined : readMinorUnits(text, currencies, currencyCode);
  return {
    minBalance: amountOf(min),
    maxBalance: amountOf(max),
    velocity: velocity.map((typed): VelocityLimit => {
      const { name, window, amount, count, direction, kinds = "" } = typed;
      if (name === undefined || window === undefined) throw new UsageError("--velocity: must have a name and a window");
      if (direction !== "out" && direction !== "in") throw new UsageError("--velocity: direction must be out or in");
      if (count !== undefined && !/^\d{1,15}$/.test(count))
        throw new UsageError("--velocity: count must be a whole number, 0 or more");
      return {
        name,
        direction: direction === "out" ? VelocityDirection.OUTGOING : VelocityDirection.INCOMING,
        kinds: kinds === "" ? [] : kinds.split("+").map(kindOf),
        windowSeconds: readDuration(window),
        maxAmount: amountOf(amount),
        maxCount: count === undefined ? undefined : BigInt(count),
      };
    }),
  };
}

function kindOf(name: string): TransactionKind {
  const kind = TransactionKind[name.toUpperCase() as keyof typeof TransactionKind];
  if (kind === undefined) throw new UsageError(`--velocity: there is no kind ${name}`);
  return kind;
}

function walletOf(walletId: string) {
  return { $case: "walletId", value: walletId } as const;
}

async function currencyOf(walletId: string, session: Session): Promise<string> {
  const { wallet } = await session.call(WalletServiceService.getWallet, { id: walletId });
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
