import type { Uuid } from "../../base/ids.js";
import { toIso, type Micros } from "../../base/time.js";
import { CLOCK } from "../../db/clock.js";
import type { Queryable } from "../../db/database.js";

/** An exchange rate between two currencies, with its validity. */
export interface Rate {
  readonly id: Uuid;
  readonly sourceCurrencyCode: string;
  readonly targetCurrencyCode: string;
  /** A decimal number greater than 0. */
  readonly rate: string;
  readonly validFrom: Micros;
  /** Exclusive; null for a rate that is valid until the next one. */
  readonly validUntil: Micros | null;
  readonly createTime: Micros;
}

interface Row {
  readonly id: Uuid;
  readonly source_currency_code: string;
  readonly target_currency_code: string;
  readonly rate: string;
  readonly valid_from: Micros;
  readonly valid_until: Micros | null;
  readonly create_time: Micros;
}

const COLUMNS = `SELECT id, source_currency_code, target_currency_code, rate,
  (extract(epoch FROM valid_from) * 1000000)::bigint AS valid_from,
  (extract(epoch FROM valid_until) * 1000000)::bigint AS valid_until,
  (extract(epoch FROM create_time) * 1000000)::bigint AS create_time`;

/**
 * Finds the rate that is valid at a time: the latest one to become valid, unless it has ended.
 * @param at null for now, by the ledger's clock
 */
export async function findRate(
  client: Queryable,
  source: string,
  target: string,
  at: Micros | null,
): Promise<Rate | undefined> {
  const { rows } = await client.query<Row>({
    name: "rate-at",
    text: `${COLUMNS} FROM (SELECT coalesce($3::timestamptz, ${CLOCK}) AS time) moment, LATERAL (
        SELECT * FROM rates WHERE source_currency_code = $1 AND target_currency_code = $2 AND valid_from <= moment.time
        ORDER BY valid_from DESC, id DESC LIMIT 1
      ) latest WHERE valid_until IS NULL OR valid_until > moment.time`,
    values: [source, target, at === null ? null : toIso(at)],
  });
  return rows.map(fromRow)[0];
}

/** The last rate of a page, after which the next page begins. */
export interface RateCursor {
  readonly validFrom: Micros;
  readonly id: Uuid;
}

/** Lists the rates between two currencies, latest validity first. */
export async function listRates(
  client: Queryable,
  source: string,
  target: string,
  after: RateCursor | undefined,
  limit: number,
): Promise<Rate[]> {
  const { rows } = await client.query<Row>({
    name: "rates-list",
    text: `${COLUMNS} FROM rates WHERE source_currency_code = $1 AND target_currency_code = $2
        AND ($3::timestamptz IS NULL OR (valid_from, id) < ($3::timestamptz, $4::uuid))
      ORDER BY rates.valid_from DESC, rates.id DESC LIMIT $5`,
    values: [source, target, after === undefined ? null : toIso(after.validFrom), after?.id ?? null, limit],
  });
  return rows.map(fromRow);
}

function fromRow(row: Row): Rate {
  return {
    id: row.id,
    sourceCurrencyCode: row.source_currency_code,
    targetCurrencyCode: row.target_currency_code,
    rate: row.rate,
    validFrom: row.valid_from,
    validUntil: row.valid_until,
    createTime: row.create_time,
  };
}
