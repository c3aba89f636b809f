import { EntitySchema } from "typeorm";

/** A currency that wallets can hold. */
export interface CurrencyRow {
  readonly code: string;
  /** Decimal places of a minor unit: 0 to 18. */
  readonly exponent: number;
  readonly name: string;
  /** False for ISO 4217's. */
  readonly custom: boolean;
  /** The limits that a new wallet gets, as encodeLimits() wrote them; null for those that wallets have without. */
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
