import type { StreamStatementRequest, StreamStatementResponse } from "../../../generated/grey/wallet/v1/statement.js";
import type { WalletServiceService } from "../../../generated/grey/wallet/v1/wallet_service.js";
import { assert } from "../../base/assert.js";
import { fail } from "../../base/failure.js";
import { parseId } from "../../base/ids.js";
import { limitConcurrency } from "../../base/concurrency.js";
import type { Database } from "../../db/database.js";
import { readInSession } from "../../db/in-transaction.js";
import { findStatementExtent, readRecordLines, type StatementExtent } from "../../ledger/statement/record-statement.js";
import type { CallContext } from "../../rpc/context.js";
import type { Methods } from "../../rpc/methods.js";
import { toMoneyIfInt64, toMoney } from "../shared/messages.js";
import { parsePeriod, toLineMessage } from "./statement-message.js";

/** The most lines of a message: with the longest descriptions some 1 MiB, of the 4 MiB that clients accept by default. */
const LINES_MAX = 500;
/** Statements that read at the same time, so that most connections stay free for other calls. */
const READS_MAX = 2;

/** Creates the method of grey.wallet.v1.WalletService that streams a statement: StreamStatement. */
export function createStatementStream(
  database: Database,
): Pick<Methods<typeof WalletServiceService>, "streamStatement"> {
  const limited = limitConcurrency(READS_MAX);
  return {
    streamStatement: {
      stream: async function* (request, context) {
        const extent = await findExtent(database, context, request);
        const { account, openingMinor, closingMinor, last } = extent;
        const { currencyCode } = account;
        yield toOpeningMessage(request, extent);
        const sums = { raisedMinor: 0n, loweredMinor: 0n };
        let balanceMinor = openingMinor;
        let lineCount = 0n;
        let after = extent.first;
        for (let isLast = false; !isLast;) {
          const page = { after, last, limit: LINES_MAX };
          const lines = await limited(() =>
            readInSession(database, context, ({ client }) => readRecordLines(client, account, page)),
          );
          for (const { amountMinor, balanceAfterMinor, sequence } of lines) {
            balanceMinor += amountMinor;
            assert(balanceMinor === balanceAfterMinor, "a line of a statement does not follow from the one before");
            if (amountMinor > 0n) sums.raisedMinor += amountMinor;
            else sums.loweredMinor -= amountMinor;
            after = sequence;
          }
          lineCount += BigInt(lines.length);
          isLast = lines.length < LINES_MAX;
          const messages = lines.map((line) => toLineMessage(line, currencyCode));
          if (messages.length > 0) yield { part: { $case: "lines", value: { lines: messages } } };
        }
        assert(balanceMinor === closingMinor, "a statement does not add up");
        const closing = {
          credits: toMoneyIfInt64(currencyCode, sums.raisedMinor),
          debits: toMoneyIfInt64(currencyCode, sums.loweredMinor),
          closing: toMoney(currencyCode, closingMinor),
          lineCount,
          creditMinorUnits: sums.raisedMinor.toString(),
          debitMinorUnits: sums.loweredMinor.toString(),
        };
        yield { part: { $case: "closing", value: closing } };
      },
    },
  };
}

/** Finds the extent of a statement. Fails: WALLET_NOT_FOUND, JOURNAL_BEHIND. */
async function findExtent(
  database: Database,
  context: CallContext,
  request: StreamStatementRequest,
): Promise<StatementExtent> {
  const walletId = parseId(request.walletId);
  const period = parsePeriod(request);
  const { minJournalIndex, afterAccountSequence } = request;
  const waiting = minJournalIndex === undefined ? context : { ...context, minJournalIndex };
  const extent = await readInSession(database, waiting, ({ client }) =>
    findStatementExtent(client, walletId, period, afterAccountSequence),
  );
  if (extent === undefined || extent.account.systemAccount !== null)
    return fail({ reason: "WALLET_NOT_FOUND", walletId });
  return extent;
}

function toOpeningMessage(
  { from, before }: StreamStatementRequest,
  { account, openingMinor, journalSize }: StatementExtent,
): StreamStatementResponse {
  const opening = toMoney(account.currencyCode, openingMinor);
  return { part: { $case: "opening", value: { walletId: account.id, from, before, opening, journalSize } } };
}
