import {
  StatementOrder,
  type GetStatementRequest,
  type GetStatementResponse,
} from "../../../generated/grey/wallet/v1/statement.js";
import type { WalletServiceService } from "../../../generated/grey/wallet/v1/wallet_service.js";
import { assert } from "../../base/assert.js";
import { fail } from "../../base/failure.js";
import { parseId } from "../../base/ids.js";
import type { Database, Queryable } from "../../db/database.js";
import { readSnapshot } from "../../db/in-transaction.js";
import { findEffectiveStatement, readEffectiveLines } from "../../ledger/statement/effective-statement.js";
import { findRecordStatement, readRecordLines } from "../../ledger/statement/record-statement.js";
import type {
  LinePosition,
  StatementLine,
  StatementStart,
  StatementSummary,
} from "../../ledger/statement/statement.js";
import type { CallContext } from "../../rpc/context.js";
import type { Methods } from "../../rpc/methods.js";
import type { PageTokens } from "../shared/page-tokens.js";
import { answerPage, getPageSize } from "../shared/paging.js";
import { toMoneyIfInt64 } from "../shared/messages.js";
import { parsePeriod, toLineMessage } from "./statement-message.js";

/** Creates the method of grey.wallet.v1.WalletService that answers with a page of a statement: GetStatement. */
export function createStatementPages(
  database: Database,
  tokens: PageTokens,
): Pick<Methods<typeof WalletServiceService>, "getStatement"> {
  return {
    getStatement: (request, context) =>
      readSnapshot(database, context, ({ client }) => answerStatement(client, request, context, tokens)),
  };
}

/**
 * Answers with a page of a statement. The sums of the period are found once, for the first page; the token carries them on to the
 * others, with the line that they follow, so that each page costs what its own lines cost and all are pages of one statement,
 * whatever is posted meanwhile.
 * @param client sees one snapshot
 */
async function answerStatement(
  client: Queryable,
  request: GetStatementRequest,
  context: CallContext,
  tokens: PageTokens,
): Promise<GetStatementResponse> {
  const walletId = parseId(request.walletId);
  const period = parsePeriod(request);
  const isEffective = request.order === StatementOrder.EFFECTIVE_TIME;
  const find = isEffective ? findEffectiveStatement : findRecordStatement;
  // The number is that of the cursor's form: a token of another form is refused.
  const scope = ["GetStatement 2", walletId, period, isEffective] as const;
  return answerPage(tokens, request, context, scope, async (cursor) => {
    const beginning = cursor === undefined ? await find(client, walletId, period) : decode(walletId, cursor);
    if (beginning === undefined || beginning.summary.account.systemAccount !== null)
      return fail({ reason: "WALLET_NOT_FOUND", walletId });
    const { summary, position } = beginning;
    const { account, last } = summary;
    const pageSize = getPageSize(request);
    const limit = pageSize + 1;
    const read = isEffective
      ? await readEffectiveLines(client, account, { after: position, before: period.before, last, limit })
      : await readRecordLines(client, account, { after: position.sequence, last, limit });
    const lines = read.slice(0, pageSize);
    const next = read.length > pageSize ? lines.at(-1) : undefined;
    const balanceMinor = addLines(position.balanceAfterMinor, lines);
    if (next === undefined)
      assert(balanceMinor === summary.closingMinor, "the lines of a statement do not end at its closing balance");
    return {
      page: toPage(summary, lines),
      next: next && encode({ summary, position: next }),
    };
  });
}

/** Returns the balance after the lines, and asserts that each follows from the one before. */
function addLines(openingMinor: bigint, lines: readonly StatementLine[]): bigint {
  let balanceMinor = openingMinor;
  for (const { amountMinor, balanceAfterMinor } of lines) {
    balanceMinor += amountMinor;
    assert(balanceMinor === balanceAfterMinor, "a line of a statement does not follow from the one before");
  }
  return balanceMinor;
}

function toPage(
  { account: { currencyCode }, openingMinor, raisedMinor, loweredMinor, closingMinor }: StatementSummary,
  lines: readonly StatementLine[],
): Omit<GetStatementResponse, "nextPageToken"> {
  return {
    opening: toMoneyIfInt64(currencyCode, openingMinor),
    lines: lines.map((line) => toLineMessage(line, currencyCode)),
    credits: toMoneyIfInt64(currencyCode, raisedMinor),
    debits: toMoneyIfInt64(currencyCode, loweredMinor),
    closing: toMoneyIfInt64(currencyCode, closingMinor),
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

/** Decodes what encode() wrote of a wallet. */
function decode(walletId: string, cursor: string): StatementStart {
  const [currencyCode = "", side, ...numbers] = cursor.split("/");
  const [openingMinor, raisedMinor, loweredMinor, closingMinor, last, sequence, effectiveTime, balanceAfterMinor] =
    numbers.map(BigInt) as [bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint];
  const normalSide = Number(side) as StatementSummary["account"]["normalSide"];
  const account = { id: walletId, systemAccount: null, currencyCode, normalSide };
  const summary = { account, openingMinor, raisedMinor, loweredMinor, closingMinor, last };
  return { summary, position: { sequence, effectiveTime, balanceAfterMinor } };
}
