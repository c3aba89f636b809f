import { InvalidArgumentError, type Command } from "commander";
import { EntrySide } from "../../generated/grey/transaction/v1/transaction.js";
import type { Leg } from "../../generated/grey/transaction/v1/compound.js";
import { TransactionServiceService } from "../../generated/grey/transaction/v1/transaction_service.js";
import { type Currencies, readMoved } from "./amount.js";
import { addMovement, askedOf, help, printMovement, type MovementOptions } from "./movement.js";
import { resolveWallet } from "./resolve.js";
import { printReply, type Session, withSession } from "./session.js";

const WALLET = "01890a5d-ac96-774b-bcce-b302099a8057";
const SHOP = "01890a5d-b1c7-7d2a-9f3e-5a1c0f6e7b21";

/** A leg as it was typed: an account and an amount. */
interface TypedLeg {
  readonly side: EntrySide;
  readonly account: string;
  readonly amount: string;
}

interface PostOptions extends MovementOptions {
  readonly debit?: readonly TypedLeg[];
  readonly credit?: readonly TypedLeg[];
}

/** `grey post`. */
export function addPostCommand(program: Command): void {
  addMovement(program, "post", "post a transaction with many debits and credits, which sum to zero in each currency")
    .option("--debit <account=amount>", "an account to debit, and by how much; repeatable", addLeg(EntrySide.DEBIT))
    .option("--credit <account=amount>", "an account to credit, and by how much; repeatable", addLeg(EntrySide.CREDIT))
    .addHelpText(
      "after",
      `
An account is a wallet, or the name of a system account such as fees.
` + help(`post --debit "${WALLET}=10.30 USD" --credit "${SHOP}=10.00 USD" --credit "fees=0.30 USD"`),
    )
    .action((options: PostOptions, command: Command) =>
      withSession(command, async (session) => {
        const currencies = await session.currencies();
        const typed = [...(options.debit ?? []), ...(options.credit ?? [])];
        const reply = await session.call(TransactionServiceService.postTransaction, {
          ...askedOf(options, session),
          legs: await Promise.all(typed.map((leg) => legOf(leg, currencies, session))),
          effectiveTime: undefined,
          preconditions: [],
        });
        if (session.json) printReply(TransactionServiceService.postTransaction, reply);
        else await printMovement(reply, session);
      }),
    );
}

function addLeg(side: EntrySide) {
  return (text: string, before: readonly TypedLeg[] = []): readonly TypedLeg[] => {
    const match = /^([^=]+)=(.+)$/.exec(text);
    if (match === null) throw new InvalidArgumentError('It must be an account and an amount, such as "fees=0.30 USD".');
    return [...before, { side, account: match[1] ?? "", amount: match[2] ?? "" }];
  };
}

async function legOf({ side, account, amount }: TypedLeg, currencies: Currencies, session: Session): Promise<Leg> {
  const isName = /^[a-z][a-z0-9_]*$/.test(account);
  return {
    account: isName
      ? { $case: "systemAccount", value: account }
      : { $case: "walletId", value: await resolveWallet(account, session) },
    side,
    amount: readMoved(amount, currencies),
  };
}
