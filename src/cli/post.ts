import { InvalidArgumentError, type Command } from "commander";
import { EntrySide } from "../../generated/grey/transaction/v1/transaction.js";
import type { Leg } from "../../generated/grey/transaction/v1/compound.js";
import { TransactionServiceService } from "../../generated/grey/transaction/v1/transaction_service.js";
import { type Currencies, readPositiveMoney } from "./amount.js";
import { addMovementCommand, readCommonFields, movementHelp, printMovement, type MovementOptions } from "./movement.js";
import { resolveWallet } from "./resolve.js";
import { printReply, type CommandContext, withContext } from "./command-context.js";

const WALLET = "01890a5d-ac96-774b-bcce-b302099a8057";
const SHOP = "01890a5d-b1c7-7d2a-9f3e-5a1c0f6e7b21";

/** A --debit or --credit option: an account and an amount. */
interface LegOption {
  readonly side: EntrySide;
  readonly account: string;
  readonly amount: string;
}

interface PostOptions extends MovementOptions {
  readonly debit?: readonly LegOption[];
  readonly credit?: readonly LegOption[];
}

/** Adds `grey post`. */
export function addPostCommand(program: Command): void {
  addMovementCommand(
    program,
    "post",
    "post a transaction with any number of debits and credits, which must balance in each currency",
  )
    .option("--debit <account=amount>", "an account to debit and the amount; repeatable", legCollector(EntrySide.DEBIT))
    .option(
      "--credit <account=amount>",
      "an account to credit and the amount; repeatable",
      legCollector(EntrySide.CREDIT),
    )
    .addHelpText(
      "after",
      `
An account is a wallet or the name of a system account, such as fees.
` + movementHelp(`post --debit "${WALLET}=10.30 USD" --credit "${SHOP}=10.00 USD" --credit "fees=0.30 USD"`),
    )
    .action((options: PostOptions, command: Command) =>
      withContext(command, async (context) => {
        const currencies = await context.currencies();
        const typed = [...(options.debit ?? []), ...(options.credit ?? [])];
        const reply = await context.call(TransactionServiceService.postTransaction, {
          ...readCommonFields(options, context),
          legs: await Promise.all(typed.map((leg) => readLeg(leg, currencies, context))),
          effectiveTime: undefined,
          preconditions: [],
        });
        if (context.json) printReply(TransactionServiceService.postTransaction, reply);
        else await printMovement(reply, context);
      }),
    );
}

function legCollector(side: EntrySide) {
  return (text: string, before: readonly LegOption[] = []): readonly LegOption[] => {
    const match = /^([^=]+)=(.+)$/.exec(text);
    if (match === null) throw new InvalidArgumentError('It must be an account and an amount, such as "fees=0.30 USD".');
    return [...before, { side, account: match[1] ?? "", amount: match[2] ?? "" }];
  };
}

async function readLeg(
  { side, account, amount }: LegOption,
  currencies: Currencies,
  context: CommandContext,
): Promise<Leg> {
  const isName = /^[a-z][a-z0-9_]*$/.test(account);
  return {
    account: isName
      ? { $case: "systemAccount", value: account }
      : { $case: "walletId", value: await resolveWallet(account, context) },
    side,
    amount: readPositiveMoney(amount, currencies),
  };
}
