import type { Uuid } from "../../base/ids.js";
import type { Amount, Exchange, Rounding } from "../command/command.js";

/** The row's form of an exchange: what its transaction's amount does not say. */
interface ExchangeDetail {
  readonly targetCurrencyCode: string;
  /** Decimal digits. */
  readonly targetMinor: string;
  readonly rate: string | null;
  readonly rounding: Rounding | null;
  readonly rateId: Uuid | null;
}

/** Encodes an exchange, whose source is its transaction's amount, as JSON. */
export function encodeExchange({ target, rate, rounding, rateId }: Exchange): string {
  const { currencyCode: targetCurrencyCode, amountMinor } = target;
  const detail: ExchangeDetail = {
    targetCurrencyCode,
    targetMinor: amountMinor.toString(),
    rate,
    rounding,
    rateId,
  };
  return JSON.stringify(detail);
}

/** Decodes what encodeExchange() wrote. */
export function decodeExchange(json: string, source: Amount): Exchange {
  const { targetCurrencyCode, targetMinor, rate, rounding, rateId } = JSON.parse(json) as ExchangeDetail;
  return {
    source,
    target: { currencyCode: targetCurrencyCode, amountMinor: BigInt(targetMinor) },
    rate,
    rounding,
    rateId,
  };
}
