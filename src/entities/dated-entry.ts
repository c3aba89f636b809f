import { EntitySchema } from "typeorm";

/**
 * An entry of a transaction that has an effective time: the correction of balances by effective time. A trigger of the database
 * writes it; the service's role can only read it.
 */
export interface DatedEntryRow {
  readonly accountId: string;
  readonly sequence: bigint;
  readonly transactionId: string;
  /** The entry's amount: positive for a debit. */
  readonly amount: bigint;
  readonly effectiveTime: Date;
  readonly createTime: Date;
  /**
   * The distance of both times in powers of two: they differ by less than 2^|span| seconds. Positive if the transaction took effect
   * before it was recorded, negative if after, 0 if at the same time.
   */
  readonly span: number;
}

export const DatedEntryEntity = new EntitySchema<DatedEntryRow>({
  name: "DatedEntry",
  tableName: "dated_entries",
  columns: {
    accountId: { type: "uuid", primary: true, name: "account_id", primaryKeyConstraintName: "dated_entries_pkey" },
    sequence: { type: "bigint", primary: true, primaryKeyConstraintName: "dated_entries_pkey" },
    transactionId: { type: "uuid", name: "transaction_id" },
    amount: { type: "bigint" },
    effectiveTime: { type: "timestamptz", name: "effective_time" },
    createTime: { type: "timestamptz", name: "create_time" },
    span: { type: "smallint" },
  },
  indices: [
    { name: "dated_entries_span", columns: ["accountId", "span", "effectiveTime"] },
    { name: "dated_entries_effective", columns: ["accountId", "effectiveTime", "sequence"] },
  ],
});
