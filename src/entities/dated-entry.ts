import { EntitySchema } from "typeorm";

/**
 * An entry of a transaction that was given an effective time: balances by effective time are corrected by these. A trigger of the
 * database writes them, whatever posts; the service's role can only read them.
 */
export interface DatedEntryRow {
  readonly accountId: string;
  readonly sequence: bigint;
  readonly transactionId: string;
  /** As the entry's: a debit is positive. */
  readonly amount: bigint;
  readonly effectiveTime: Date;
  readonly createTime: Date;
  /**
   * How far apart both times are, in powers of two: they differ by less than 2^|span| seconds. Positive when the transaction took
   * effect before it was recorded, negative when after, 0 when at the same time.
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
