import { InvalidArgumentError, type Command } from "commander";
import { IdKind } from "../../generated/grey/ledger/v1/naming.js";
import { HoldState, type Hold } from "../../generated/grey/transaction/v1/hold.js";
import type { Transaction } from "../../generated/grey/transaction/v1/transaction.js";
import { TransactionServiceService } from "../../generated/grey/transaction/v1/transaction_service.js";
import type { Balance } from "../../generated/grey/wallet/v1/balance.js";
import { assertPresent } from "../base/assert.js";
import { readMoved, showMoney, type Currencies } from "./amount.js";
import { ABOUT_REQUEST_ID, examples, limitOption, metadataOption, requestIdOption } from "./options.js";
import { collect, moreLine } from "./paging.js";
import { renderTransaction, showBalances, showEnum } from "./present.js";
import { nameAccounts } from "./names.js";
import { ABOUT_WALLETS, resolveId, resolveWallet } from "./resolve.js";
import { showTime, timeCell } from "./time.js";
import { askedOf, type MovementOptions } from "./movement.js";
import { print, printReply, withSession, type Session } from "./session.js";
import { renderFields, renderTable } from "./table.js";

/** What every step of a hold answers. */
interface StepReply {
  readonly transaction: Transaction | undefined;
  readonly hold: Hold | undefined;
  readonly balances: readonly Balance[];
  readonly replayed: boolean;
}

const WALLET = "01890a5d-ac96-774b-bcce-b302099a8057";
const HOLD = "01890a5d-c0de-7a11-8b2c-2f6e4d1c9a33";

const UNITS: Readonly<Record<string, bigint>> = { s: 1n, m: 60n, h: 3_600n, d: 86_400n };

/** A duration in seconds: a whole number and a unit. */
export function readDuration(text: string): bigint {
  const match = /^([1-9]\d{0,8})(s|m|h|d)$/.exec(text);
  if (match === null)
    throw new InvalidArgumentError("It must be a whole number from 1 on with s, m, h or d, such as 90s or 7d.");
  return BigInt(match[1] ?? "") * (UNITS[match[2] ?? ""] ?? 0n);
}

export function addHoldCommands(program: Command): void {
  const hold = program.command("hold").description("reserve money of a wallet, and capture or release it later");

  addStep(hold, "create <wallet> <amount...>", "reserve money of a wallet")
    .option("--to <wallet>", "the wallet that it is held for (default: a capture says where it goes)")
    .option("--expires-in <duration>", "how long, such as 90s, 15m, 12h or 7d (default: 7d)", readDuration)
    .addHelpText("after", help(`hold create ${WALLET} 80.00 USD --expires-in 2d --description "room 12"`))
    .action(
      (
        wallet: string,
        amount: string[],
        options: MovementOptions & { to?: string; expiresIn?: bigint },
        command: Command,
      ) =>
        withSession(command, async (session) => {
          const reply = await session.call(TransactionServiceService.hold, {
            ...askedOf(options, session),
            walletId: await resolveWallet(wallet, session),
            toWalletId: options.to === undefined ? "" : await resolveWallet(options.to, session),
            preconditions: [],
            amount: readMoved(amount.join(" "), await session.currencies()),
            expiry:
              options.expiresIn === undefined
                ? undefined
                : { $case: "expiresIn", value: { seconds: options.expiresIn, nanos: 0 } },
          });
          if (session.json) printReply(TransactionServiceService.hold, reply);
          else await printStep(reply, session);
        }),
    );

  addStep(hold, "capture <hold> [amount...]", "move held money: an amount, or all that is left")
    .option("--final", "release what is left")
    .option("--to <wallet>", "the wallet that it goes to, of a hold that is for none")
    .option("--to-system <account>", "the system account that it goes to (default: cash)")
    .addHelpText(
      "after",
      help(
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
        withSession(command, async (session) => {
          const reply = await session.call(TransactionServiceService.captureHold, {
            ...askedOf(options, session),
            holdId: await resolveId(IdKind.HOLD, hold, session),
            amount: amount.length === 0 ? undefined : readMoved(amount.join(" "), await session.currencies()),
            final: options.final ?? false,
            preconditions: [],
            to:
              options.to !== undefined
                ? { $case: "toWalletId", value: await resolveWallet(options.to, session) }
                : options.toSystem !== undefined
                  ? { $case: "toSystemAccount", value: options.toSystem }
                  : undefined,
          });
          if (session.json) printReply(TransactionServiceService.captureHold, reply);
          else await printStep(reply, session);
        }),
    );

  addStep(hold, "release <hold>", "give free what is left of a hold")
    .addHelpText("after", help(`hold release ${HOLD}`))
    .action((hold: string, options: MovementOptions, command: Command) =>
      withSession(command, async (session) => {
        const reply = await session.call(TransactionServiceService.releaseHold, {
          ...askedOf(options, session),
          holdId: await resolveId(IdKind.HOLD, hold, session),
        });
        if (session.json) printReply(TransactionServiceService.releaseHold, reply);
        else await printStep(reply, session);
      }),
    );

  addStep(hold, "increase <hold> <amount...>", "hold more")
    .addHelpText("after", help(`hold increase ${HOLD} 20.00 USD`))
    .action((hold: string, amount: string[], options: MovementOptions, command: Command) =>
      withSession(command, async (session) => {
        const reply = await session.call(TransactionServiceService.increaseHold, {
          ...askedOf(options, session),
          holdId: await resolveId(IdKind.HOLD, hold, session),
          preconditions: [],
          amount: readMoved(amount.join(" "), await session.currencies()),
        });
        if (session.json) printReply(TransactionServiceService.increaseHold, reply);
        else await printStep(reply, session);
      }),
    );

  addStep(
    hold,
    "extend <hold> <duration>",
    "put off when a hold expires: so long from now, such as 90s, 15m, 12h or 7d",
  )
    .addHelpText("after", help(`hold extend ${HOLD} 7d`))
    .action((hold: string, duration: string, options: MovementOptions, command: Command) =>
      withSession(command, async (session) => {
        const reply = await session.call(TransactionServiceService.extendHold, {
          ...askedOf(options, session),
          holdId: await resolveId(IdKind.HOLD, hold, session),
          expiry: { $case: "expiresIn", value: { seconds: readDuration(duration), nanos: 0 } },
        });
        if (session.json) printReply(TransactionServiceService.extendHold, reply);
        else await printStep(reply, session);
      }),
    );

  hold
    .command("get <hold>")
    .description("show a hold")
    .addHelpText("after", examples(`hold get ${HOLD}`))
    .action((name: string, _options: object, command: Command) =>
      withSession(command, async (session) => {
        const id = await resolveId(IdKind.HOLD, name, session);
        const reply = await session.call(TransactionServiceService.getHold, { id });
        if (session.json) printReply(TransactionServiceService.getHold, reply);
        else print(await showHold(assertPresent(reply.hold, "hold"), session));
      }),
    );

  hold
    .command("list <wallet>")
    .description("list the holds on a wallet's money, newest first")
    .option("--active", "only those that have not ended")
    .addOption(limitOption())
    .addHelpText("after", examples(`hold list ${WALLET} --active`))
    .action((wallet: string, options: { active?: true; limit: number }, command: Command) =>
      withSession(command, async (session) => {
        const walletId = await resolveWallet(wallet, session);
        const request = { walletId, activeOnly: options.active ?? false };
        const found = await collect(options.limit, async (page) => {
          const reply = await session.call(TransactionServiceService.listHolds, { ...request, ...page });
          return { items: reply.holds, nextPageToken: reply.nextPageToken };
        });
        const { items: holds, nextPageToken } = found;
        if (session.json) printReply(TransactionServiceService.listHolds, { holds, nextPageToken });
        else print(renderHolds(holds, await session.currencies()), moreLine(found, "raise --limit"));
      }),
    );
}

function addStep(hold: Command, usage: string, description: string): Command {
  return hold
    .command(usage)
    .description(description)
    .option("--description <text>", "what it is for")
    .option("--reference <text>", "your own name for it, such as an invoice's number")
    .option("--dry-run", "try it out: tell what would come of it, and write nothing")
    .addOption(metadataOption())
    .addOption(requestIdOption());
}

function help(...lines: readonly string[]): string {
  return examples(...lines) + ABOUT_WALLETS + ABOUT_REQUEST_ID;
}

async function printStep(reply: StepReply, session: Session): Promise<void> {
  const currencies = await session.currencies();
  const { balances } = reply;
  print(
    renderTransaction(assertPresent(reply.transaction, "transaction"), reply.replayed, currencies),
    await showHold(assertPresent(reply.hold, "hold"), session),
    `Balances right after it:\n${await showBalances(balances, session)}`,
  );
}

async function showHold(hold: Hold, session: Session): Promise<string> {
  const currencies = await session.currencies();
  const names = await nameAccounts([hold.walletId, hold.toWalletId], session);
  return renderFields([
    ["hold", hold.id],
    ["wallet", names.fullNameOf(hold.walletId)],
    ["for", names.fullNameOf(hold.toWalletId)],
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
