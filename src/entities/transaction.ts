import { EntitySchema } from "typeorm";
import type { HoldState, TransactionKindCode, TransactionState } from "../base/codes.js";

/**
 * A movement or a step of a hold, posted or rejected. Its accounts and sequence numbers lead to its entries, which spares an index
 * on entries.
 */
export interface TransactionRow {
  readonly id: string;
  readonly journalIndex: bigint;
  readonly kind: TransactionKindCode;
  readonly state: TransactionState;
  readonly caller: string;
  readonly requestId: string;
  readonly debitAccountId: string;
  /** null for a step of a hold without a recipient. */
  readonly creditAccountId: string | null;
  /** null if it was rejected or has legs. */
  readonly debitSequence: bigint | null;
  readonly creditSequence: bigint | null;
  readonly currencyCode: string;
  readonly amount: bigint;
  readonly description: string;
  /** null for none. */
  readonly metadata: Record<string, string> | null;
  readonly createTime: Date;
  /** null if the caller set none. */
  readonly effectiveTime: Date | null;
  /** The reason for its rejection, as encodeFailure() writes it; null if it was posted. */
  readonly failure: string | null;
  /** The rest of the request, by the contract's names, as JSON; null for nothing. */
  readonly terms: string | null;
  /** The hold that it is a step of, and the state of the hold right after it. */
  readonly holdId: string | null;
  readonly holdAmount: bigint | null;
  readonly holdCaptured: bigint | null;
  readonly holdState: HoldState | null;
  readonly holdExpireTime: Date | null;
  /** The transaction that it reverses, or was to reverse. */
  readonly reversesId: string | null;
  /** The caller's own name for it; null for none. */
  readonly externalReference: string | null;
  /** The legs of a transaction with more than two sides, in order; null for any other. Debits are positive. */
  readonly legAccountIds: readonly string[] | null;
  readonly legCurrencyCodes: readonly string[] | null;
  readonly legAmounts: readonly bigint[] | null;
  /** null if it was rejected. */
  readonly legSequences: readonly bigint[] | null;
  /** The rest of the decision beside the entries, as JSON; null for nothing. */
  readonly detail: string | null;
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
    creditAccountId: { type: "uuid", name: "credit_account_id", nullable: true },
    debitSequence: { type: "bigint", name: "debit_sequence", nullable: true },
    creditSequence: { type: "bigint", name: "credit_sequence", nullable: true },
    currencyCode: { type: "varchar", length: 12, name: "currency_code" },
    amount: { type: "bigint" },
    description: { type: "varchar", length: 500 },
    metadata: { type: "jsonb", nullable: true },
    createTime: { type: "timestamptz", name: "create_time" },
    effectiveTime: { type: "timestamptz", name: "effective_time", nullable: true },
    failure: { type: "text", nullable: true },
    terms: { type: "text", nullable: true },
    holdId: { type: "uuid", name: "hold_id", nullable: true },
    holdAmount: { type: "bigint", name: "hold_amount", nullable: true },
    holdCaptured: { type: "bigint", name: "hold_captured", nullable: true },
    holdState: { type: "smallint", name: "hold_state", nullable: true },
    holdExpireTime: { type: "timestamptz", name: "hold_expire_time", nullable: true },
    reversesId: { type: "uuid", name: "reverses_id", nullable: true },
    externalReference: { type: "varchar", length: 128, name: "external_reference", nullable: true },
    legAccountIds: { type: "uuid", array: true, name: "leg_account_ids", nullable: true },
    legCurrencyCodes: { type: "text", array: true, name: "leg_currency_codes", nullable: true },
    legAmounts: { type: "bigint", array: true, name: "leg_amounts", nullable: true },
    legSequences: { type: "bigint", array: true, name: "leg_sequences", nullable: true },
    detail: { type: "text", nullable: true },
  },
  indices: [
    { name: "transactions_rejected_debit", columns: ["debitAccountId", "journalIndex"], where: "(state = 2)" },
    { name: "transactions_rejected_credit", columns: ["creditAccountId", "journalIndex"], where: "(state = 2)" },
    {
      name: "transactions_reverses",
      columns: ["reversesId", "journalIndex"],
      where: "((reverses_id IS NOT NULL) AND (state = 1))",
    },
    {
      name: "transactions_external_reference",
      columns: ["externalReference", "journalIndex"],
      where: "(external_reference IS NOT NULL)",
    },
  ],
  checks: [
    { name: "transactions_amount", expression: "amount > 0 OR hold_id IS NOT NULL OR state = 2" },
    { name: "transactions_rejected_has_failure", expression: "(state = 2) = (failure IS NOT NULL)" },
    {
      name: "transactions_posted_has_entries",
      expression:
        "(state = 1) = (leg_sequences IS NOT NULL OR (debit_sequence IS NOT NULL AND (credit_sequence IS NOT NULL OR hold_id IS NOT NULL)))",
    },
  ],
});

/** An account among the legs of a rejected transaction, by which the account's rejected transactions are listed. */
export interface RejectedLegRow {
  readonly accountId: string;
  readonly journalIndex: bigint;
  readonly transactionId: string;
}

export const RejectedLegEntity = new EntitySchema<RejectedLegRow>({
  name: "RejectedLeg",
  tableName: "rejected_legs",
  columns: {
    accountId: { type: "uuid", primary: true, name: "account_id", primaryKeyConstraintName: "rejected_legs_pkey" },
    journalIndex: {
      type: "bigint",
      primary: true,
      name: "journal_index",
      primaryKeyConstraintName: "rejected_legs_pkey",
    },
    transactionId: { type: "uuid", name: "transaction_id" },
  },
});
