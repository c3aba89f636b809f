import { EntitySchema } from "typeorm";

/** What moved the money; the numbers are those of grey.transaction.v1.TransactionKind. */
export const TRANSACTION_KIND = { OPENING: 1, DEPOSIT: 2, WITHDRAWAL: 3, TRANSFER: 4 } as const;
export type TransactionKind = (typeof TRANSACTION_KIND)[keyof typeof TRANSACTION_KIND];

/** What became of it; the numbers are those of grey.transaction.v1.TransactionState. */
export const TRANSACTION_STATE = { POSTED: 1, REJECTED: 2 } as const;
export type TransactionState = (typeof TRANSACTION_STATE)[keyof typeof TRANSACTION_STATE];

/**
 * One movement, or the record of a refused one. Its two entries are found by the accounts and their sequence numbers,
 * which spares an index on entries.
 */
export interface TransactionRow {
  readonly id: string;
  readonly journalIndex: bigint;
  readonly kind: TransactionKind;
  readonly state: TransactionState;
  readonly caller: string;
  readonly requestId: string;
  readonly debitAccountId: string;
  readonly creditAccountId: string;
  /** null when it was rejected. */
  readonly debitSequence: bigint | null;
  readonly creditSequence: bigint | null;
  readonly currencyCode: string;
  readonly amount: bigint;
  readonly description: string;
  /** null for none. */
  readonly metadata: Record<string, string> | null;
  readonly createTime: Date;
  /** null when the caller gave none. */
  readonly effectiveTime: Date | null;
  /** What encodeFailure() wrote, when it was rejected. */
  readonly failure: string | null;
}

export const TransactionEntity = new EntitySchema<TransactionRow>({
  name: "Transaction",
  tableName: "transactions",
  columns: {
    id: { type: "uuid", primary: true, primaryKeyConstraintName: "transactions_pkey" },
    journalIndex: { type: "bigint", name: "journal_index" },
    kind: { type: "smallint" },
    state: { type: "smallint" },
    caller: { type: "uuid" },
    requestId: { type: "uuid", name: "request_id" },
    debitAccountId: { type: "uuid", name: "debit_account_id" },
    creditAccountId: { type: "uuid", name: "credit_account_id" },
    debitSequence: { type: "bigint", name: "debit_sequence", nullable: true },
    creditSequence: { type: "bigint", name: "credit_sequence", nullable: true },
    currencyCode: { type: "varchar", length: 12, name: "currency_code" },
    amount: { type: "bigint" },
    description: { type: "varchar", length: 500 },
    metadata: { type: "jsonb", nullable: true },
    createTime: { type: "timestamptz", name: "create_time" },
    effectiveTime: { type: "timestamptz", name: "effective_time", nullable: true },
    failure: { type: "text", nullable: true },
  },
  indices: [
    { name: "transactions_rejected_debit", columns: ["debitAccountId", "journalIndex"], where: "(state = 2)" },
    { name: "transactions_rejected_credit", columns: ["creditAccountId", "journalIndex"], where: "(state = 2)" },
  ],
  checks: [
    { name: "transactions_amount", expression: "amount > 0" },
    { name: "transactions_rejected_has_failure", expression: "(state = 2) = (failure IS NOT NULL)" },
    {
      name: "transactions_posted_has_entries",
      expression: "(state = 1) = (debit_sequence IS NOT NULL AND credit_sequence IS NOT NULL)",
    },
  ],
});
