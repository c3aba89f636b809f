import { InvalidArgumentError, type Command } from "commander";
import { IdKind } from "../../generated/grey/ledger/v1/naming.js";
import { HoldState, type Hold } from "../../generated/grey/transaction/v1/hold.js";
import type { Transaction } from "../../generated/grey/transaction/v1/transaction.js";
import { TransactionServiceService } from "../../generated/grey/transaction/v1/transaction_service.js";
import type { Balance } from "../../generated/grey/wallet/v1/balance.js";
import { assertPresent } from "../base/assert.js";
import { readPositiveMoney, showMoney, type Currencies } from "./amount.js";
import { ABOUT_REQUEST_ID, examples, limitOption, metadataOption, requestIdOption } from "./options.js";
import { collect, moreLine } from "./paging.js";
import { renderTransaction, showBalances, showEnum } from "./render.js";
import { nameAccounts } from "./names.js";
import { ABOUT_WALLETS, resolveId, resolveWallet } from "./resolve.js";
import { showTime, timeCell } from "./time.js";
import { readCommonFields, type MovementOptions } from "./movement.js";
import { print, printReply, withContext, type CommandContext } from "./command-context.js";
import { renderFields, renderTable } from "./table.js";

/** The reply to a step of a hold. */
interface StepReply {
  readonly transaction: Transaction | undefined;
  readonly hold: Hold | undefined;
  readonly balances: readonly Balance[];
  readonly replayed: boolean;
}

const WALLET = "01890a5d-ac96-774b-bcce-b302099a8057";
const HOLD = "01890a5d-c0de-7a11-8b2c-2f6e4d1c9a33";

const UNITS: Readonly<Record<string, bigint>> = { s: 1n, m: 60n, h: 3_600n, d: 86_400n };

/** Parses a duration, a whole number with a unit, to seconds. */
export function readDuration(text: string): bigint {
  const match = /^([1-9]\d{0,8})(s|m|h|d)$/.exec(text);
  if (match === null)
    throw new InvalidArgumentError("It must be a positive whole number with the unit s, m, h or d, such as 90s or 7d.");
  return BigInt(match[1] ?? "") * (UNITS[match[2] ?? ""] ?? 0n);
}

export function addHoldCommands(program: Command): void {
  const hold = program.command("hold").description("reserve money in a wallet, and capture or release it later");

  addStepCommand(hold, "create <wallet> <amount...>", "reserve money in a wallet")
    .option("--to <wallet>", "the wallet to be paid (default: chosen at capture)")
    .option(
      "--expires-in <duration>",
      "when the hold expires, such as 90s, 15m, 12h or 7d from now (default: 7d)",
      readDuration,
    )
    .addHelpText("after", stepHelp(`hold create ${WALLET} 80.00 USD --expires-in 2d --description "room 12"`))
    .action(
      (
        wallet: string,
        amount: string[],
        options: MovementOptions & { to?: string; expiresIn?: bigint },
        command: Command,
      ) =>
        withContext(command, async (context) => {
          const reply = await context.call(TransactionServiceService.hold, {
            ...readCommonFields(options, context),
            walletId: await resolveWallet(wallet, context),
            toWalletId: options.to === undefined ? "" : await resolveWallet(options.to, context),
            preconditions: [],
            amount: readPositiveMoney(amount.join(" "), await context.currencies()),
            expiry:
              options.expiresIn === undefined
                ? undefined
                : { $case: "expiresIn", value: { seconds: options.expiresIn, nanos: 0 } },
          });
          if (context.json) printReply(TransactionServiceService.hold, reply);
          else await printStep(reply, context);
        }),
    );

  addStepCommand(hold, "capture <hold> [amount...]", "transfer held money: an amount, or all that remains")
    .option("--final", "release the remainder")
    .option("--to <wallet>", "the wallet to be paid, if the hold names none")
    .option("--to-system <account>", "the system account to be paid, if the hold names no wallet (default: cash)")
    .addHelpText(
      "after",
      stepHelp(
        `hold capture ${HOLD}`,
        `hold capture ${HOLD} 30.00 USD --final`,
        `hold capture ${HOLD} "5 USD" --to-system fees`,
      ),
    )
    .action(
      (
        hold: string,
        amount: string[],
        options: MovementOptions & { final?: true; to?: string; toSystem?: string },
        command: Command,
      ) =>
        withContext(command, async (context) => {
          const reply = await context.call(TransactionServiceService.captureHold, {
            ...readCommonFields(options, context),
            holdId: await resolveId(IdKind.HOLD, hold, context),
            amount: amount.length === 0 ? undefined : readPositiveMoney(amount.join(" "), await context.currencies()),
            final: options.final ?? false,
            preconditions: [],
            to:
              options.to !== undefined
                ? { $case: "toWalletId", value: await resolveWallet(options.to, context) }
                : options.toSystem !== undefined
                  ? { $case: "toSystemAccount", value: options.toSystem }
                  : undefined,
          });
          if (context.json) printReply(TransactionServiceService.captureHold, reply);
          else await printStep(reply, context);
        }),
    );

  addStepCommand(hold, "release <hold>", "release what remains of a hold")
    .addHelpText("after", stepHelp(`hold release ${HOLD}`))
    .action((hold: string, options: MovementOptions, command: Command) =>
      withContext(command, async (context) => {
        const reply = await context.call(TransactionServiceService.releaseHold, {
          ...readCommonFields(options, context),
          holdId: await resolveId(IdKind.HOLD, hold, context),
        });
        if (context.json) printReply(TransactionServiceService.releaseHold, reply);
        else await printStep(reply, context);
      }),
    );

  addStepCommand(hold, "increase <hold> <amount...>", "increase the held amount")
    .addHelpText("after", stepHelp(`hold increase ${HOLD} 20.00 USD`))
    .action((hold: string, amount: string[], options: MovementOptions, command: Command) =>
      withContext(command, async (context) => {
        const reply = await context.call(TransactionServiceService.increaseHold, {
          ...readCommonFields(options, context),
          holdId: await resolveId(IdKind.HOLD, hold, context),
          preconditions: [],
          amount: readPositiveMoney(amount.join(" "), await context.currencies()),
        });
        if (context.json) printReply(TransactionServiceService.increaseHold, reply);
        else await printStep(reply, context);
      }),
    );

  addStepCommand(
    hold,
    "extend <hold> <duration>",
    "set a later expiry: a duration from now, such as 90s, 15m, 12h or 7d",
  )
    .addHelpText("after", stepHelp(`hold extend ${HOLD} 7d`))
    .action((hold: string, duration: string, options: MovementOptions, command: Command) =>
      withContext(command, async (context) => {
        const reply = await context.call(TransactionServiceService.extendHold, {
          ...readCommonFields(options, context),
          holdId: await resolveId(IdKind.HOLD, hold, context),
          expiry: { $case: "expiresIn", value: { seconds: readDuration(duration), nanos: 0 } },
        });
        if (context.json) printReply(TransactionServiceService.extendHold, reply);
        else await printStep(reply, context);
      }),
    );

  hold
    .command("get <hold>")
    .description("show a hold")
    .addHelpText("after", examples(`hold get ${HOLD}`))
    .action((name: string, _options: object, command: Command) =>
      withContext(command, async (context) => {
        const id = await resolveId(IdKind.HOLD, name, context);
        const reply = await context.call(TransactionServiceService.getHold, { id });
        if (context.json) printReply(TransactionServiceService.getHold, reply);
        else print(await showHold(assertPresent(reply.hold, "hold"), context));
      }),
    );

  hold
    .command("list <wallet>")
    .description("list the holds on a wallet, newest first")
    .option("--active", "only active holds")
    .addOption(limitOption())
    .addHelpText("after", examples(`hold list ${WALLET} --active`) + ABOUT_WALLETS)
    .action((wallet: string, options: { active?: true; limit: number }, command: Command) =>
      withContext(command, async (context) => {
        const walletId = await resolveWallet(wallet, context);
        const request = { walletId, activeOnly: options.active ?? false };
        const found = await collect(options.limit, async (page) => {
          const reply = await context.call(TransactionServiceService.listHolds, { ...request, ...page });
          return { items: reply.holds, nextPageToken: reply.nextPageToken };
        });
        const { items: holds, nextPageToken } = found;
        if (context.json) printReply(TransactionServiceService.listHolds, { holds, nextPageToken });
        else print(renderHolds(holds, await context.currencies()), moreLine(found, "raise --limit"));
      }),
    );
}

function addStepCommand(hold: Command, usage: string, description: string): Command {
  return hold
    .command(usage)
    .description(description)
    .option("--description <text>", "a description of the transaction")
    .option("--reference <text>", "your own reference, such as an invoice number")
    .option("--dry-run", "report the outcome without writing anything")
    .addOption(metadataOption())
    .addOption(requestIdOption());
}

function stepHelp(...lines: readonly string[]): string {
  return examples(...lines) + ABOUT_WALLETS + ABOUT_REQUEST_ID;
}

async function printStep(reply: StepReply, context: CommandContext): Promise<void> {
  const currencies = await context.currencies();
  const { balances } = reply;
  print(
    renderTransaction(assertPresent(reply.transaction, "transaction"), reply.replayed, currencies),
    await showHold(assertPresent(reply.hold, "hold"), context),
    `Balances after the transaction:\n${await showBalances(balances, context)}`,
  );
}

async function showHold(hold: Hold, context: CommandContext): Promise<string> {
  const currencies = await context.currencies();
  const names = await nameAccounts([hold.walletId, hold.toWalletId], context);
  return renderFields([
    ["hold", hold.id],
    ["wallet", names.formatIdAndName(hold.walletId)],
    ["for", names.formatIdAndName(hold.toWalletId)],
    ["hold state", showEnum(HoldState, hold.state)],
    ["held", showMoney(hold.amount, currencies)],
    ["captured", showMoney(hold.captured, currencies)],
    ["remaining", showMoney(hold.remaining, currencies)],
    ["expires", showTime(hold.expireTime)],
  ]);
}

function renderHolds(holds: readonly Hold[], currencies: Currencies): string {
  return renderTable(
    [
      { title: "hold", kind: "id" },
      { title: "state", kind: "state" },
      { title: "held", align: "right" },
      { title: "captured", align: "right", drop: 1 },
      { title: "remaining", align: "right" },
      { title: "expires" },
    ],
    holds.map((hold) => [
      hold.id,
      showEnum(HoldState, hold.state),
      showMoney(hold.amount, currencies),
      showMoney(hold.captured, currencies),
      showMoney(hold.remaining, currencies),
      timeCell(hold.expireTime),
    ]),
  );
}
