import { EntitySchema } from "typeorm";

/** An exchange rate from a time on, which is never changed. */
export interface RateRow {
  readonly sourceCurrencyCode: string;
  readonly targetCurrencyCode: string;
  readonly validFrom: Date;
  /** A UUIDv7: of two rates that become valid at the same time, the later one counts. */
  readonly id: string;
  /** Whole units of the target currency for one of the source currency, as a decimal number. */
  readonly rate: string;
  /** null: until the next rate. */
  readonly validUntil: Date | null;
  readonly caller: string;
  readonly createTime: Date;
}

export const RateEntity = new EntitySchema<RateRow>({
  name: "Rate",
  tableName: "rates",
  columns: {
    sourceCurrencyCode: {
      type: "varchar",
      length: 12,
      primary: true,
      name: "source_currency_code",
      primaryKeyConstraintName: "rates_pkey",
    },
    targetCurrencyCode: {
      type: "varchar",
      length: 12,
      primary: true,
      name: "target_currency_code",
      primaryKeyConstraintName: "rates_pkey",
    },
    validFrom: { type: "timestamptz", primary: true, name: "valid_from", primaryKeyConstraintName: "rates_pkey" },
    id: { type: "uuid", primary: true, primaryKeyConstraintName: "rates_pkey" },
    rate: { type: "varchar", length: 37 },
    validUntil: { type: "timestamptz", name: "valid_until", nullable: true },
    caller: { type: "uuid" },
    createTime: { type: "timestamptz", name: "create_time" },
  },
  checks: [{ name: "rates_validity", expression: "valid_until IS NULL OR valid_until > valid_from" }],
});
