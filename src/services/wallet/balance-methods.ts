import type { GetBalanceRequest, GetBalanceResponse } from "../../../generated/grey/wallet/v1/balance.js";
import type { WalletServiceService } from "../../../generated/grey/wallet/v1/wallet_service.js";
import { fail } from "../../base/failure.js";
import { parseId, type Uuid } from "../../base/ids.js";
import { microsDown, type Micros } from "../../base/time.js";
import type { Database, Queryable } from "../../db/database.js";
import { readInSession } from "../../db/in-transaction.js";
import { AccountStateEntity } from "../../entities/account.js";
import { findPastAccount, type AsOf } from "../../ledger/account/past-account.js";
import { findEffectiveBalance } from "../../ledger/statement/effective-balance.js";
import type { Methods } from "../../rpc/methods.js";
import { toBalanceMessage, toMoneyIfInt64 } from "../shared/messages.js";

/** Creates the method of grey.wallet.v1.WalletService that reads balances: GetBalance. */
export function createBalanceMethods(database: Database): Pick<Methods<typeof WalletServiceService>, "getBalance"> {
  return {
    getBalance: async (request, context) => {
      const walletId = parseId(request.walletId);
      const { asOf } = request;
      if (asOf?.$case === "effectiveTime")
        return readInSession(database, context, ({ client }) =>
          answerEffectiveBalance(client, walletId, microsDown(asOf.value)),
        );
      const account = await readInSession(database, context, ({ manager, client }) =>
        asOf === undefined
          ? manager.findOneBy(AccountStateEntity, { id: walletId })
          : findPastAccount(client, walletId, parseAsOf(asOf)),
      );
      if (account === null || account === undefined || account.systemAccount !== null)
        return fail({ reason: "WALLET_NOT_FOUND", walletId });
      return { balance: toBalanceMessage(account), postedMinorUnits: "" };
    },
  };
}

/** Finds the balance of what had taken effect by a time, without holds: they have no effective time. Fails: WALLET_NOT_FOUND. */
async function answerEffectiveBalance(client: Queryable, walletId: Uuid, time: Micros): Promise<GetBalanceResponse> {
  const found = await findEffectiveBalance(client, walletId, time);
  if (found === undefined || found.systemAccount !== null) return fail({ reason: "WALLET_NOT_FOUND", walletId });
  const { currencyCode, balanceMinor } = found;
  const none = { available: undefined, pendingOutgoing: undefined, pendingIncoming: undefined, version: 0n };
  return {
    balance: { walletId, posted: toMoneyIfInt64(currencyCode, balanceMinor), ...none },
    postedMinorUnits: balanceMinor.toString(),
  };
}

/** Parses a moment in the order in which transactions were recorded. */
function parseAsOf(asOf: Exclude<NonNullable<GetBalanceRequest["asOf"]>, { $case: "effectiveTime" }>): AsOf {
  return asOf.$case === "recordTime" ? { recordTime: microsDown(asOf.value) } : { journalIndex: asOf.value };
}
