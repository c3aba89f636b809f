import { EntitySchema } from "typeorm";

/** A currency that wallets can hold. */
export interface CurrencyRow {
  readonly code: string;
  /** Decimal places of a minor unit: 0 to 18. */
  readonly exponent: number;
  readonly name: string;
  /** false for those of ISO 4217. */
  readonly custom: boolean;
  /** The limits of new wallets, as encodeLimits() writes them; null for the service's own default. */
  readonly defaultLimits: string | null;
}

export const CurrencyEntity = new EntitySchema<CurrencyRow>({
  name: "Currency",
  tableName: "currencies",
  columns: {
    code: { type: "varchar", length: 12, primary: true, primaryKeyConstraintName: "currencies_pkey" },
    exponent: { type: "smallint" },
    name: { type: "varchar", length: 100 },
    custom: { type: "boolean" },
    defaultLimits: { type: "text", name: "default_limits", nullable: true },
  },
  checks: [{ name: "currencies_exponent_range", expression: "exponent >= 0 AND exponent <= 18" }],
});
