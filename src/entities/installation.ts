import { EntitySchema } from "typeorm";

/** The identity of the ledger: one row, which the first migration writes. */
export interface InstallationRow {
  readonly id: number;
  /** Identifies this ledger in journal records. */
  readonly ledgerId: string;
  /** The key that signs page tokens, so that every process accepts those of the others. */
  readonly secret: Buffer;
}

export const InstallationEntity = new EntitySchema<InstallationRow>({
  name: "Installation",
  tableName: "installation",
  columns: {
    id: { type: "smallint", primary: true, default: 1, primaryKeyConstraintName: "installation_pkey" },
    ledgerId: { type: "uuid", name: "ledger_id" },
    secret: { type: "bytea" },
  },
  checks: [{ name: "installation_one_row", expression: "id = 1" }],
});
