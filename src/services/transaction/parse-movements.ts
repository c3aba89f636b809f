import { SYSTEM_ACCOUNT } from "../../ledger/command/system-account.js";
import { AmountMode } from "../../../generated/grey/transaction/v1/transaction.js";
import type {
  DepositRequest,
  TransferRequest,
  WithdrawRequest,
} from "../../../generated/grey/transaction/v1/movement.js";
import { assertPresent } from "../../base/assert.js";
import { parseId, systemAccountId } from "../../base/ids.js";
import { microsDown } from "../../base/time.js";
import type { MovementCommand, NamedAccount } from "../../ledger/command/command.js";
import type { CallContext } from "../../rpc/context.js";
import { parseAmount, parseCommandFields, preconditionTerms, upToTerms, type CommandRequest } from "./request-terms.js";

type Caller = Pick<CallContext, "caller" | "requestId">;

/** The fields of a request for a movement; one for a schedule has fewer. */
type MovementFields = CommandRequest &
  Pick<TransferRequest, "amount"> &
  Partial<Pick<TransferRequest, "effectiveTime" | "amountMode">>;

/** The kind of a movement and its accounts. */
type Sides = Pick<MovementCommand, "kind" | "debitAccountId" | "creditAccountId" | "system">;

function parseMovement(context: Caller, request: MovementFields, sides: Sides): MovementCommand {
  const { currencyCode, amountMinor } = parseAmount(assertPresent(request.amount, "amount"));
  const fields = parseCommandFields(context, request);
  const isUpTo = request.amountMode === AmountMode.UP_TO;
  const hasTerms = isUpTo || fields.preconditions.length > 0;
  return {
    // Spreads would double the cost of parsing.
    caller: fields.caller,
    requestId: fields.requestId,
    transactionId: fields.transactionId,
    data: fields.data,
    preconditions: fields.preconditions,
    kind: sides.kind,
    debitAccountId: sides.debitAccountId,
    creditAccountId: sides.creditAccountId,
    system: sides.system,
    currencyCode,
    amountMinor,
    isUpTo,
    effectiveTime: request.effectiveTime === undefined ? null : microsDown(request.effectiveTime),
    requestTerms: hasTerms
      ? { ...(isUpTo && upToTerms(amountMinor)), ...preconditionTerms(fields.preconditions) }
      : null,
  };
}

/** Parses a deposit: it debits a system account and credits a wallet. */
export function parseDeposit(
  request: MovementFields & Pick<DepositRequest, "walletId" | "systemAccount">,
  context: Caller,
): MovementCommand {
  const system = parseSystemAccount(request);
  return parseMovement(context, request, {
    kind: "DEPOSIT",
    debitAccountId: system.accountId,
    creditAccountId: parseId(request.walletId),
    system,
  });
}

/** Parses a withdrawal: it debits a wallet and credits a system account. */
export function parseWithdraw(
  request: MovementFields & Pick<WithdrawRequest, "walletId" | "systemAccount">,
  context: Caller,
): MovementCommand {
  const system = parseSystemAccount(request);
  return parseMovement(context, request, {
    kind: "WITHDRAWAL",
    debitAccountId: parseId(request.walletId),
    creditAccountId: system.accountId,
    system,
  });
}

/** Parses a transfer between wallets. */
export function parseTransfer(
  request: MovementFields & Pick<TransferRequest, "fromWalletId" | "toWalletId">,
  context: Caller,
): MovementCommand {
  return parseMovement(context, request, {
    kind: "TRANSFER",
    debitAccountId: parseId(request.fromWalletId),
    creditAccountId: parseId(request.toWalletId),
    system: null,
  });
}

function parseSystemAccount({
  systemAccount,
  amount,
}: MovementFields & Pick<DepositRequest, "systemAccount">): NamedAccount {
  const name = systemAccount === "" ? SYSTEM_ACCOUNT.CASH : systemAccount;
  return { name, accountId: systemAccountId(assertPresent(amount, "amount").currencyCode, name) };
}
