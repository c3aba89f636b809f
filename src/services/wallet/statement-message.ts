import type { Timestamp } from "../../../generated/google/protobuf/timestamp.js";
import type { StatementLine as StatementLineMessage } from "../../../generated/grey/wallet/v1/statement.js";
import { assertPresent } from "../../base/assert.js";
import { invalid } from "../../base/failure.js";
import { fromMicros, microsUp } from "../../base/time.js";
import type { Period, StatementLine } from "../../ledger/statement/statement.js";
import { toMoney, toMoneyIfInt64 } from "../shared/messages.js";

/** Parses the period of a statement. Fails: INVALID_REQUEST. */
export function parsePeriod(request: {
  readonly from?: Timestamp | undefined;
  readonly before?: Timestamp | undefined;
}): Period {
  const period = {
    from: microsUp(assertPresent(request.from, "from")),
    before: microsUp(assertPresent(request.before, "before")),
  };
  if (period.before < period.from) invalid("before", "must not be earlier than from");
  return period;
}

export function toLineMessage(line: StatementLine, currencyCode: string): StatementLineMessage {
  return {
    transactionId: line.transactionId,
    amount: toMoney(currencyCode, line.amountMinor),
    balanceAfter: toMoneyIfInt64(currencyCode, line.balanceAfterMinor),
    accountSequence: line.sequence,
    createTime: fromMicros(line.createTime),
    effectiveTime: fromMicros(line.effectiveTime),
    journalIndex: line.journalIndex,
    description: line.description,
  };
}
