import { EntitySchema } from "typeorm";

/** A debit, a credit, or a change of pending sums. The service's role can insert entries, and neither change nor delete them. */
export interface EntryRow {
  readonly accountId: string;
  /** The entry's number in its account: 1, 2, 3 and so on. */
  readonly sequence: bigint;
  readonly transactionId: string;
  readonly journalIndex: bigint;
  /** Minor units: a debit is positive and a credit negative, so that a transaction sums to zero. 0 if only pending sums changed. */
  readonly amount: bigint;
  /** The account's balance after it, on the normal side. */
  readonly balanceAfter: bigint;
  readonly createTime: Date;
  /** The account's pending sums after it; null if nothing was pending. */
  readonly pendingDebitsAfter: bigint | null;
  readonly pendingCreditsAfter: bigint | null;
}

export const EntryEntity = new EntitySchema<EntryRow>({
  name: "Entry",
  tableName: "entries",
  columns: {
    accountId: { type: "uuid", primary: true, name: "account_id", primaryKeyConstraintName: "entries_pkey" },
    sequence: { type: "bigint", primary: true, primaryKeyConstraintName: "entries_pkey" },
    transactionId: { type: "uuid", name: "transaction_id" },
    journalIndex: { type: "bigint", name: "journal_index" },
    amount: { type: "bigint" },
    balanceAfter: { type: "bigint", name: "balance_after" },
    createTime: { type: "timestamptz", name: "create_time" },
    pendingDebitsAfter: { type: "bigint", name: "pending_debits_after", nullable: true },
    pendingCreditsAfter: { type: "bigint", name: "pending_credits_after", nullable: true },
  },
  checks: [
    { name: "entries_sequence", expression: "sequence > 0" },
    { name: "entries_pending", expression: "pending_debits_after >= 0 AND pending_credits_after >= 0" },
  ],
});
