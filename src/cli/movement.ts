import type { Command } from "commander";
import { IdKind } from "../../generated/grey/ledger/v1/naming.js";
import { AmountMode, type Transaction } from "../../generated/grey/transaction/v1/transaction.js";
import { TransactionServiceService } from "../../generated/grey/transaction/v1/transaction_service.js";
import type { Balance } from "../../generated/grey/wallet/v1/balance.js";
import { assertPresent } from "../base/assert.js";
import { readMoved } from "./amount.js";
import { ABOUT_REQUEST_ID, type ChangeOptions, examples, metadataOption, requestIdOption } from "./options.js";
import { accountsOf, nameAccounts } from "./names.js";
import { ABOUT_WALLETS, resolveId, resolveWallet } from "./resolve.js";
import { renderBalances, renderEntries, renderTransaction } from "./present.js";
import { print, printReply, type Session, withSession } from "./session.js";

export interface MovementOptions extends ChangeOptions {
  readonly description?: string;
  readonly reference?: string;
  readonly dryRun?: true;
}

/** What every call that moves money answers. */
export interface MovementReply {
  readonly transaction: Transaction | undefined;
  readonly balances: readonly Balance[];
  readonly replayed: boolean;
}

const WALLET = "01890a5d-ac96-774b-bcce-b302099a8057";
const TRANSACTION = "01890a5d-c0de-7a11-8b2c-2f6e4d1c9a33";
const OTHER_WALLET = "01890a5d-b1c7-7d2a-9f3e-5a1c0f6e7b21";

const ABOUT_AMOUNT = `
An amount is a decimal number and a currency: "12.34 USD", or 12.34 USD as two
arguments. One with more decimal places than the currency has is an error.`;

export function addMovementCommands(program: Command): void {
  addMovement(program, "deposit <wallet> <amount...>", "bring money into a wallet, from a system account")
    .option("--from <system-account>", "the system account that the money comes from (default: cash)")
    .addHelpText("after", help(`deposit ${WALLET} 100.00 USD`, `deposit ${WALLET} "5 EUR" --description top-up`))
    .action((wallet: string, amount: string[], options: MovementOptions & { from?: string }, command: Command) =>
      withSession(command, async (session) => {
        const reply = await session.call(TransactionServiceService.deposit, {
          ...(await readMovement(amount, options, session)),
          walletId: await resolveWallet(wallet, session),
          preconditions: [],
          systemAccount: options.from ?? "",
        });
        if (session.json) printReply(TransactionServiceService.deposit, reply);
        else await printMovement(reply, session);
      }),
    );

  addMovement(program, "withdraw <wallet> <amount...>", "take money out of a wallet, to a system account")
    .option("--to <system-account>", "the system account that the money goes to (default: cash)")
    .option("--up-to", UP_TO)
    .addHelpText("after", help(`withdraw ${WALLET} 20.00 USD --description "cash machine"`))
    .action(
      (wallet: string, amount: string[], options: MovementOptions & { to?: string; upTo?: true }, command: Command) =>
        withSession(command, async (session) => {
          const reply = await session.call(TransactionServiceService.withdraw, {
            ...(await readMovement(amount, options, session)),
            walletId: await resolveWallet(wallet, session),
            preconditions: [],
            amountMode: modeOf(options),
            systemAccount: options.to ?? "",
          });
          if (session.json) printReply(TransactionServiceService.withdraw, reply);
          else await printMovement(reply, session);
        }),
    );

  addMovement(program, "transfer <from> <to> <amount...>", "move money from one wallet to another of the same currency")
    .option("--up-to", UP_TO)
    .addHelpText(
      "after",
      help(
        `transfer ${WALLET} ${OTHER_WALLET} 12.34 USD --metadata invoice=2026-17`,
        "transfer ada@example.com/USD bob@example.com/USD 12.34 USD",
      ),
    )
    .action(
      (from: string, to: string, amount: string[], options: MovementOptions & { upTo?: true }, command: Command) =>
        withSession(command, async (session) => {
          const reply = await session.call(TransactionServiceService.transfer, {
            ...(await readMovement(amount, options, session)),
            fromWalletId: await resolveWallet(from, session),
            toWalletId: await resolveWallet(to, session),
            preconditions: [],
            amountMode: modeOf(options),
          });
          if (session.json) printReply(TransactionServiceService.transfer, reply);
          else await printMovement(reply, session);
        }),
    );
}

const UP_TO = "move what the wallet can spend, up to the amount";

function modeOf({ upTo }: { readonly upTo?: true }): AmountMode {
  return upTo === true ? AmountMode.UP_TO : AmountMode.EXACT;
}

/** `grey reverse`. */
export function addReverseCommand(program: Command): void {
  addMovement(
    program,
    "reverse <transaction> [amount...]",
    "undo a transaction: an amount, or all that is not reversed yet",
  )
    .option("--at-effective-time", "let it take effect when the original did")
    .addHelpText("after", help(`reverse ${TRANSACTION}`, `reverse ${TRANSACTION} 5.00 USD --description "one of two"`))
    .action(
      (
        transaction: string,
        amount: string[],
        options: MovementOptions & { atEffectiveTime?: true },
        command: Command,
      ) =>
        withSession(command, async (session) => {
          const reply = await session.call(TransactionServiceService.reverse, {
            ...askedOf(options, session),
            transactionId: await resolveId(IdKind.TRANSACTION, transaction, session),
            amount: amount.length === 0 ? undefined : readMoved(amount.join(" "), await session.currencies()),
            atEffectiveTimeOfOriginal: options.atEffectiveTime ?? false,
            preconditions: [],
          });
          if (session.json) printReply(TransactionServiceService.reverse, reply);
          else await printMovement(reply, session);
        }),
    );
}

export function addMovement(program: Command, usage: string, description: string): Command {
  return program
    .command(usage)
    .description(description)
    .option("--description <text>", "what it is for")
    .option("--reference <text>", "your own name for it, such as an invoice's number")
    .option("--dry-run", "try it out: tell what would come of it, and write nothing")
    .addOption(metadataOption())
    .addOption(requestIdOption());
}

export function help(...lines: readonly string[]): string {
  return ABOUT_WALLETS + ABOUT_AMOUNT + "\n" + examples(...lines) + ABOUT_REQUEST_ID;
}

/** The fields that every request to move money has. */
async function readMovement(amount: readonly string[], options: MovementOptions, session: Session) {
  return {
    amount: readMoved(amount.join(" "), await session.currencies()),
    ...askedOf(options, session),
    effectiveTime: undefined,
  };
}

/** What is asked for beside what is to move. */
export function askedOf(options: MovementOptions, session: Session) {
  return {
    requestId: session.requestId(options.requestId),
    description: options.description ?? "",
    metadata: options.metadata ?? {},
    externalReference: options.reference ?? "",
    dryRun: options.dryRun ?? false,
  };
}

export async function printMovement(reply: MovementReply, session: Session): Promise<void> {
  const currencies = await session.currencies();
  const transaction = assertPresent(reply.transaction, "transaction");
  const names = await nameAccounts(accountsOf(transaction), session);
  print(
    renderTransaction(transaction, reply.replayed, currencies),
    renderEntries(transaction.entries, names, currencies),
    `Balances right after it:\n${renderBalances(reply.balances, names, currencies)}`,
  );
}
