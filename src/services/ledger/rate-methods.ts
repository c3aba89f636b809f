import { In } from "typeorm";
import { Rate as RateMessage, type SetRateRequest } from "../../../generated/grey/ledger/v1/rate.js";
import type { LedgerServiceService } from "../../../generated/grey/ledger/v1/ledger_service.js";
import { fail, invalid } from "../../base/failure.js";
import { newId } from "../../base/ids.js";
import { fromMicros, microsDown, microsUp } from "../../base/time.js";
import { readClock } from "../../db/clock.js";
import type { Database } from "../../db/database.js";
import { readInSession, type Session } from "../../db/in-transaction.js";
import { CurrencyEntity } from "../../entities/currency.js";
import { RECORD_TYPE } from "../../entities/journal.js";
import { findRate, listRates, type Rate, type RateCursor } from "../../ledger/currency/find-rate.js";
import { insertRate } from "../../ledger/currency/insert-rate.js";
import type { CallContext } from "../../rpc/context.js";
import type { Methods } from "../../rpc/methods.js";
import { answerOnce } from "../shared/once.js";
import type { PageTokens } from "../shared/page-tokens.js";
import { listPage } from "../shared/paging.js";

type RateMethods = Pick<Methods<typeof LedgerServiceService>, "setRate" | "getRate" | "listRates">;

/** Creates the methods of grey.ledger.v1.LedgerService about rates: SetRate, GetRate and ListRates. */
export function createRateMethods(database: Database, tokens: PageTokens): RateMethods {
  return {
    setRate: (request, context) => {
      if (request.sourceCurrencyCode === request.targetCurrencyCode)
        invalid("target_currency_code", "must differ from source_currency_code");
      return answerOnce(database, context, "SET_RATE", request, (session) => setRate(session, request, context));
    },

    getRate: async ({ sourceCurrencyCode, targetCurrencyCode, atTime }, context) => {
      const at = atTime === undefined ? null : microsDown(atTime);
      const rate = await readInSession(database, context, ({ client }) =>
        findRate(client, sourceCurrencyCode, targetCurrencyCode, at),
      );
      return {
        rate: toRateMessage(rate ?? fail({ reason: "RATE_NOT_FOUND", sourceCurrencyCode, targetCurrencyCode })),
      };
    },

    listRates: (request, context) => {
      const { sourceCurrencyCode, targetCurrencyCode } = request;
      return listPage(
        database,
        tokens,
        request,
        context,
        ["ListRates", sourceCurrencyCode, targetCurrencyCode],
        ({ client }) => ({
          field: "rates",
          read: (after, limit) =>
            listRates(
              client,
              sourceCurrencyCode,
              targetCurrencyCode,
              after === undefined ? undefined : parsePlace(after),
              limit,
            ),
          render: (found) => found.map(toRateMessage),
          codec: RateMessage,
          cursorOf: (rate) => `${rate.validFrom}/${rate.id}`,
        }),
      );
    },
  };
}

async function setRate(session: Session, request: SetRateRequest, { caller }: CallContext) {
  const { manager, client } = session;
  const { sourceCurrencyCode, targetCurrencyCode } = request;
  const now = await readClock(client);
  const validFrom = request.validFrom === undefined ? now : microsUp(request.validFrom);
  const validUntil = request.validUntil === undefined ? null : microsUp(request.validUntil);
  // Past rates never change.
  if (validFrom < now) invalid("valid_from", "must not be in the past");
  if (validUntil !== null && validUntil <= validFrom) invalid("valid_until", "must be later than valid_from");
  const codes = [sourceCurrencyCode, targetCurrencyCode];
  const found = await manager.findBy(CurrencyEntity, { code: In(codes) });
  const missing = codes.find((code) => !found.some((currency) => currency.code === code));
  if (missing !== undefined) fail({ reason: "CURRENCY_NOT_FOUND", currencyCode: missing });
  const rate: Rate = {
    id: newId(),
    sourceCurrencyCode,
    targetCurrencyCode,
    rate: request.rate,
    validFrom,
    validUntil,
    createTime: now,
  };
  await insertRate(client, rate, caller);
  return {
    response: { rate: toRateMessage(rate), replayed: false },
    resourceId: rate.id,
    records: [{ id: rate.id, type: RECORD_TYPE.RATE_SET }],
  };
}

function parsePlace(cursor: string): RateCursor {
  const [validFrom = "", id = ""] = cursor.split("/");
  return { validFrom: BigInt(validFrom), id };
}

function toRateMessage(rate: Rate): RateMessage {
  const { id, sourceCurrencyCode, targetCurrencyCode, validFrom, validUntil, createTime } = rate;
  return {
    id,
    sourceCurrencyCode,
    targetCurrencyCode,
    rate: rate.rate,
    validFrom: fromMicros(validFrom),
    validUntil: validUntil === null ? undefined : fromMicros(validUntil),
    createTime: fromMicros(createTime),
  };
}
