import type { Uuid } from "../../base/ids.js";
import { toIso } from "../../base/time.js";
import type { Queryable } from "../../db/database.js";
import type { Rate } from "./find-rate.js";

/** Inserts a rate, with the caller that set it. */
export async function insertRate(client: Queryable, rate: Rate, caller: Uuid): Promise<void> {
  await client.query(
    `INSERT INTO rates (source_currency_code, target_currency_code, valid_from, id, rate, valid_until, caller, create_time)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
    [
      rate.sourceCurrencyCode,
      rate.targetCurrencyCode,
      toIso(rate.validFrom),
      rate.id,
      rate.rate,
      rate.validUntil === null ? null : toIso(rate.validUntil),
      caller,
      toIso(rate.createTime),
    ],
  );
}
