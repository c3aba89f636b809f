import { AmountMode } from "../../../generated/grey/transaction/v1/transaction.js";
import type {
  DepositRequest,
  TransferRequest,
  WithdrawRequest,
} from "../../../generated/grey/transaction/v1/movement.js";
import type { Money } from "../../../generated/grey/type/v1/money.js";
import { assertPresent } from "../../base/assert.js";
import { newId, parseId, systemAccountId, type Uuid } from "../../base/ids.js";
import { microsDown } from "../../base/time.js";
import { TRANSACTION_KIND } from "../../base/codes.js";
import {
  upToTerms,
  type MovementCommand,
  type Precondition,
  type Terms,
} from "../../ledger/transaction/transaction.js";
import type { CallContext } from "../../rpc/context.js";
import { parsePreconditions, preconditionTerms } from "./terms.js";

/** The system account of a movement that names none. */
export const CASH = "cash";

type Caller = Pick<CallContext, "caller" | "requestId">;

/** What a request to move money asks for; what is planned for later says less. */
type MovementFields = Pick<TransferRequest, "amount" | "description" | "metadata"> &
  Partial<Pick<TransferRequest, "effectiveTime" | "preconditions" | "amountMode" | "externalReference">>;

/** Between which accounts a movement of which kind goes. */
type Sides = Pick<MovementCommand, "kind" | "debitAccountId" | "creditAccountId" | "system">;

/** The movement that was asked for; the contract's annotations have checked it. */
function parseMovement({ caller, requestId }: Caller, request: MovementFields, sides: Sides): MovementCommand {
  const { currencyCode, minorUnits } = requireAmount(request);
  const preconditions = parsePreconditions(request.preconditions ?? []);
  const isUpTo = request.amountMode === AmountMode.UP_TO;
  return {
    caller,
    requestId: parseId(requestId),
    transactionId: newId(),
    kind: sides.kind,
    debitAccountId: sides.debitAccountId,
    creditAccountId: sides.creditAccountId,
    system: sides.system,
    currencyCode,
    amountMinor: minorUnits,
    description: request.description,
    metadata: request.metadata,
    effectiveTime: request.effectiveTime === undefined ? null : microsDown(request.effectiveTime),
    externalReference: request.externalReference ?? "",
    legs: null,
    detail: null,
    isUpTo,
    preconditions,
    terms: isUpTo || preconditions.length > 0 ? movementTerms(minorUnits, isUpTo, preconditions) : null,
  };
}

/** What is asked for beside the fields that a transaction keeps. */
function movementTerms(minorUnits: bigint, isUpTo: boolean, preconditions: readonly Precondition[]): Terms {
  return {
    ...(isUpTo && upToTerms(minorUnits)),
    ...preconditionTerms(preconditions),
  };
}

function requireAmount({ amount }: Pick<MovementFields, "amount">): Money {
  return assertPresent(amount, "amount");
}

/** Money that comes into a wallet. */
export function parseDeposit(
  request: MovementFields & Pick<DepositRequest, "walletId" | "systemAccount">,
  context: Caller,
): MovementCommand {
  const system = parseSystemAccount(request.systemAccount, requireAmount(request).currencyCode);
  return parseMovement(context, request, {
    kind: TRANSACTION_KIND.DEPOSIT,
    debitAccountId: system.accountId,
    creditAccountId: parseId(request.walletId),
    system,
  });
}

/** Money that goes out of a wallet. */
export function parseWithdraw(
  request: MovementFields & Pick<WithdrawRequest, "walletId" | "systemAccount">,
  context: Caller,
): MovementCommand {
  const system = parseSystemAccount(request.systemAccount, requireAmount(request).currencyCode);
  return parseMovement(context, request, {
    kind: TRANSACTION_KIND.WITHDRAWAL,
    debitAccountId: parseId(request.walletId),
    creditAccountId: system.accountId,
    system,
  });
}

/** Money that goes from wallet to wallet. */
export function parseTransfer(
  request: MovementFields & Pick<TransferRequest, "fromWalletId" | "toWalletId">,
  context: Caller,
): MovementCommand {
  return parseMovement(context, request, {
    kind: TRANSACTION_KIND.TRANSFER,
    debitAccountId: parseId(request.fromWalletId),
    creditAccountId: parseId(request.toWalletId),
    system: null,
  });
}

function parseSystemAccount(name: string, currencyCode: string): { name: string; accountId: Uuid } {
  const system = name === "" ? CASH : name;
  return { name: system, accountId: systemAccountId(currencyCode, system) };
}
