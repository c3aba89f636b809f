import {
  StatementOrder,
  type GetStatementRequest,
  type GetStatementResponse,
} from "../../../generated/grey/wallet/v1/statement.js";
import { assert } from "../../base/assert.js";
import { fail } from "../../base/failure.js";
import { parseId } from "../../base/ids.js";
import type { Queryable } from "../../db/database.js";
import { findEffectiveStatement, readEffectiveLines } from "../../ledger/statement/effective-statement.js";
import { findRecordStatement, readRecordLines } from "../../ledger/statement/record-statement.js";
import type { LinePosition, StatementStart, StatementSummary } from "../../ledger/statement/statement.js";
import type { CallContext } from "../../rpc/context.js";
import { getPageSize, type PageTokens } from "../shared/paging.js";
import { toMoneyIfInt64 } from "../shared/messages.js";
import { parsePeriod, toLineMessage } from "./statement-stream.js";

/**
 * A page of a statement. What the period comes to is found once, for the first page; the token carries it on to the others, with the
 * line that they follow, so that each costs what its own lines do and all are pages of one statement, whatever is posted meanwhile.
 * The scope of the tokens is the whole request.
 * @param client sees one snapshot
 */
export async function toStatementResponse(
  client: Queryable,
  request: GetStatementRequest,
  context: CallContext,
  tokens: PageTokens,
): Promise<GetStatementResponse> {
  const walletId = parseId(request.walletId);
  const period = parsePeriod(request);
  const isEffective = request.order === StatementOrder.EFFECTIVE_TIME;
  // Named by what its tokens carry: one of another version is not taken.
  const scope = ["GetStatement 2", context.caller, walletId, period, isEffective];
  const cursor = tokens.open(scope, request.pageToken);
  const find = isEffective ? findEffectiveStatement : findRecordStatement;
  const beginning = cursor === undefined ? await find(client, walletId, period) : decode(walletId, cursor);
  if (beginning === undefined || beginning.summary.account.systemAccount !== null)
    return fail({ reason: "WALLET_NOT_FOUND", walletId });
  const { summary, position } = beginning;
  const { account, last, openingMinor, raisedMinor, loweredMinor, closingMinor } = summary;
  const { currencyCode } = account;
  const pageSize = getPageSize(request);
  const limit = pageSize + 1;
  const lines = isEffective
    ? await readEffectiveLines(client, account, { after: position, before: period.before, last, limit })
    : await readRecordLines(client, account, { after: position.sequence, last, limit });
  const page = lines.slice(0, pageSize);
  const next = lines.length > pageSize ? page.at(-1) : undefined;
  let balanceMinor = position.balanceAfterMinor;
  for (const { amountMinor, balanceAfterMinor } of page) {
    balanceMinor += amountMinor;
    assert(balanceMinor === balanceAfterMinor, "a line of a statement does not follow from the one before");
  }
  if (next === undefined)
    assert(balanceMinor === closingMinor, "the lines of a statement do not end at its closing balance");
  return {
    opening: toMoneyIfInt64(currencyCode, openingMinor),
    lines: page.map((line) => toLineMessage(line, currencyCode)),
    credits: toMoneyIfInt64(currencyCode, raisedMinor),
    debits: toMoneyIfInt64(currencyCode, loweredMinor),
    closing: toMoneyIfInt64(currencyCode, closingMinor),
    nextPageToken: next === undefined ? "" : tokens.seal(scope, encode({ summary, position: next })),
    openingMinorUnits: openingMinor.toString(),
    creditMinorUnits: raisedMinor.toString(),
    debitMinorUnits: loweredMinor.toString(),
    closingMinorUnits: closingMinor.toString(),
  };
}

function encode({
  summary,
  position,
}: {
  readonly summary: StatementSummary;
  readonly position: LinePosition;
}): string {
  const { account, openingMinor, raisedMinor, loweredMinor, closingMinor, last } = summary;
  const numbers = [openingMinor, raisedMinor, loweredMinor, closingMinor, last];
  const after = [position.sequence, position.effectiveTime, position.balanceAfterMinor];
  return [account.currencyCode, account.normalSide, ...numbers, ...after].join("/");
}

/** What encode() wrote, of an account that is a wallet. */
function decode(walletId: string, cursor: string): StatementStart {
  const [currencyCode = "", side, ...numbers] = cursor.split("/");
  const [openingMinor, raisedMinor, loweredMinor, closingMinor, last, sequence, effectiveTime, balanceAfterMinor] =
    numbers.map(BigInt) as [bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint];
  const normalSide = Number(side) as StatementSummary["account"]["normalSide"];
  const account = { id: walletId, systemAccount: null, currencyCode, normalSide };
  const summary = { account, openingMinor, raisedMinor, loweredMinor, closingMinor, last };
  return { summary, position: { sequence, effectiveTime, balanceAfterMinor } };
}
