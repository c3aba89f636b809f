import type { Command } from "commander";
import { IdKind } from "../../generated/grey/ledger/v1/naming.js";
import { AmountMode, type Transaction } from "../../generated/grey/transaction/v1/transaction.js";
import { TransactionServiceService } from "../../generated/grey/transaction/v1/transaction_service.js";
import type { Balance } from "../../generated/grey/wallet/v1/balance.js";
import { assertPresent } from "../base/assert.js";
import { readPositiveMoney } from "./amount.js";
import { ABOUT_REQUEST_ID, type ChangeOptions, examples, metadataOption, requestIdOption } from "./options.js";
import { listAccountIds, nameAccounts } from "./names.js";
import { ABOUT_WALLETS, resolveId, resolveWallet } from "./resolve.js";
import { renderBalances, renderEntries, renderTransaction } from "./render.js";
import { print, printReply, type CommandContext, withContext } from "./command-context.js";

export interface MovementOptions extends ChangeOptions {
  readonly description?: string;
  readonly reference?: string;
  readonly dryRun?: true;
}

/** The reply to a call that moves money. */
export interface MovementReply {
  readonly transaction: Transaction | undefined;
  readonly balances: readonly Balance[];
  readonly replayed: boolean;
}

const WALLET = "01890a5d-ac96-774b-bcce-b302099a8057";
const TRANSACTION = "01890a5d-c0de-7a11-8b2c-2f6e4d1c9a33";
const OTHER_WALLET = "01890a5d-b1c7-7d2a-9f3e-5a1c0f6e7b21";

const ABOUT_AMOUNT = `
An amount is a decimal number and a currency code: "12.34 USD", or 12.34 USD as two
arguments. More decimal places than the currency has are an error.`;

export function addMovementCommands(program: Command): void {
  addMovementCommand(program, "deposit <wallet> <amount...>", "credit a wallet from a system account")
    .option("--from <system-account>", "the system account to debit (default: cash)")
    .addHelpText(
      "after",
      movementHelp(`deposit ${WALLET} 100.00 USD`, `deposit ${WALLET} "5 EUR" --description top-up`),
    )
    .action((wallet: string, amount: string[], options: MovementOptions & { from?: string }, command: Command) =>
      withContext(command, async (context) => {
        const reply = await context.call(TransactionServiceService.deposit, {
          ...(await readMovement(amount, options, context)),
          walletId: await resolveWallet(wallet, context),
          preconditions: [],
          systemAccount: options.from ?? "",
        });
        if (context.json) printReply(TransactionServiceService.deposit, reply);
        else await printMovement(reply, context);
      }),
    );

  addMovementCommand(program, "withdraw <wallet> <amount...>", "debit a wallet in favour of a system account")
    .option("--to <system-account>", "the system account to credit (default: cash)")
    .option("--up-to", UP_TO)
    .addHelpText("after", movementHelp(`withdraw ${WALLET} 20.00 USD --description "cash machine"`))
    .action(
      (wallet: string, amount: string[], options: MovementOptions & { to?: string; upTo?: true }, command: Command) =>
        withContext(command, async (context) => {
          const reply = await context.call(TransactionServiceService.withdraw, {
            ...(await readMovement(amount, options, context)),
            walletId: await resolveWallet(wallet, context),
            preconditions: [],
            amountMode: toAmountMode(options),
            systemAccount: options.to ?? "",
          });
          if (context.json) printReply(TransactionServiceService.withdraw, reply);
          else await printMovement(reply, context);
        }),
    );

  addMovementCommand(
    program,
    "transfer <from> <to> <amount...>",
    "transfer money between two wallets of the same currency",
  )
    .option("--up-to", UP_TO)
    .addHelpText(
      "after",
      movementHelp(
        `transfer ${WALLET} ${OTHER_WALLET} 12.34 USD --metadata invoice=2026-17`,
        "transfer ada@example.com/USD bob@example.com/USD 12.34 USD",
      ),
    )
    .action(
      (from: string, to: string, amount: string[], options: MovementOptions & { upTo?: true }, command: Command) =>
        withContext(command, async (context) => {
          const reply = await context.call(TransactionServiceService.transfer, {
            ...(await readMovement(amount, options, context)),
            fromWalletId: await resolveWallet(from, context),
            toWalletId: await resolveWallet(to, context),
            preconditions: [],
            amountMode: toAmountMode(options),
          });
          if (context.json) printReply(TransactionServiceService.transfer, reply);
          else await printMovement(reply, context);
        }),
    );
}

const UP_TO = "move the available balance if it is less than the amount";

function toAmountMode({ upTo }: { readonly upTo?: true }): AmountMode {
  return upTo === true ? AmountMode.UP_TO : AmountMode.EXACT;
}

/** Adds `grey reverse`. */
export function addReverseCommand(program: Command): void {
  addMovementCommand(
    program,
    "reverse <transaction> [amount...]",
    "reverse a transaction: an amount, or all that has not been reversed",
  )
    .option("--at-effective-time", "use the effective time of the original")
    .addHelpText(
      "after",
      movementHelp(`reverse ${TRANSACTION}`, `reverse ${TRANSACTION} 5.00 USD --description "one of two"`),
    )
    .action(
      (
        transaction: string,
        amount: string[],
        options: MovementOptions & { atEffectiveTime?: true },
        command: Command,
      ) =>
        withContext(command, async (context) => {
          const reply = await context.call(TransactionServiceService.reverse, {
            ...readCommonFields(options, context),
            transactionId: await resolveId(IdKind.TRANSACTION, transaction, context),
            amount: amount.length === 0 ? undefined : readPositiveMoney(amount.join(" "), await context.currencies()),
            atEffectiveTimeOfOriginal: options.atEffectiveTime ?? false,
            preconditions: [],
          });
          if (context.json) printReply(TransactionServiceService.reverse, reply);
          else await printMovement(reply, context);
        }),
    );
}

export function addMovementCommand(program: Command, usage: string, description: string): Command {
  return program
    .command(usage)
    .description(description)
    .option("--description <text>", "a description of the transaction")
    .option("--reference <text>", "your own reference, such as an invoice number")
    .option("--dry-run", "report the outcome without writing anything")
    .addOption(metadataOption())
    .addOption(requestIdOption());
}

export function movementHelp(...lines: readonly string[]): string {
  return ABOUT_WALLETS + ABOUT_AMOUNT + "\n" + examples(...lines) + ABOUT_REQUEST_ID;
}

/** Reads the fields that requests to move money have in common. */
async function readMovement(amount: readonly string[], options: MovementOptions, context: CommandContext) {
  return {
    amount: readPositiveMoney(amount.join(" "), await context.currencies()),
    ...readCommonFields(options, context),
    effectiveTime: undefined,
  };
}

/** Reads the fields that describe a request, without what it moves. */
export function readCommonFields(options: MovementOptions, context: CommandContext) {
  return {
    requestId: context.requestId(options.requestId),
    description: options.description ?? "",
    metadata: options.metadata ?? {},
    externalReference: options.reference ?? "",
    dryRun: options.dryRun ?? false,
  };
}

export async function printMovement(reply: MovementReply, context: CommandContext): Promise<void> {
  const currencies = await context.currencies();
  const transaction = assertPresent(reply.transaction, "transaction");
  const names = await nameAccounts(listAccountIds(transaction), context);
  print(
    renderTransaction(transaction, reply.replayed, currencies),
    renderEntries(transaction.entries, names, currencies),
    `Balances after the transaction:\n${renderBalances(reply.balances, names, currencies)}`,
  );
}
