import { EntitySchema } from "typeorm";

/** The direction in which a threshold is crossed, numbered as grey.alert.v1.AlertDirection. */
export const ALERT_DIRECTION = { UP: 1, DOWN: 2, BOTH: 3 } as const;
export type AlertDirection = (typeof ALERT_DIRECTION)[keyof typeof ALERT_DIRECTION];

/** The balance that is watched, numbered as grey.alert.v1.AlertBalance. */
export const ALERT_BALANCE = { AVAILABLE: 1, POSTED: 2 } as const;
export type AlertBalance = (typeof ALERT_BALANCE)[keyof typeof ALERT_BALANCE];

/** A threshold of a wallet's balance. */
export interface BalanceAlertRow {
  readonly id: string;
  readonly accountId: string;
  readonly currencyCode: string;
  readonly threshold: bigint;
  readonly direction: AlertDirection;
  readonly balance: AlertBalance;
  /** Entries with a journal index between these two, both exclusive, can cross it; endIndex is null until it is deleted. */
  readonly startIndex: bigint;
  readonly endIndex: bigint | null;
  readonly createTime: Date;
  readonly deleteTime: Date | null;
}

export const BalanceAlertEntity = new EntitySchema<BalanceAlertRow>({
  name: "BalanceAlert",
  tableName: "balance_alerts",
  columns: {
    id: { type: "uuid", primary: true, primaryKeyConstraintName: "balance_alerts_pkey" },
    accountId: { type: "uuid", name: "account_id" },
    currencyCode: { type: "varchar", length: 12, name: "currency_code" },
    threshold: { type: "bigint" },
    direction: { type: "smallint" },
    balance: { type: "smallint" },
    startIndex: { type: "bigint", name: "start_index" },
    endIndex: { type: "bigint", name: "end_index", nullable: true },
    createTime: { type: "timestamptz", name: "create_time" },
    deleteTime: { type: "timestamptz", name: "delete_time", nullable: true },
  },
  indices: [
    { name: "balance_alerts_account", columns: ["accountId", "id"] },
    { name: "balance_alerts_end", columns: ["endIndex"] },
  ],
  checks: [{ name: "balance_alerts_deleted", expression: "(end_index IS NULL) = (delete_time IS NULL)" }],
});

/** A crossing of an alert's threshold by an entry of its wallet. */
export interface BalanceAlertEventRow {
  readonly id: string;
  readonly alertId: string;
  /** The entry's number in its account. */
  readonly sequence: bigint;
  readonly transactionId: string;
  readonly journalIndex: bigint;
  readonly direction: Exclude<AlertDirection, typeof ALERT_DIRECTION.BOTH>;
  readonly balanceBefore: bigint;
  readonly balanceAfter: bigint;
  readonly createTime: Date;
}

export const BalanceAlertEventEntity = new EntitySchema<BalanceAlertEventRow>({
  name: "BalanceAlertEvent",
  tableName: "balance_alert_events",
  columns: {
    id: { type: "uuid", primary: true, primaryKeyConstraintName: "balance_alert_events_pkey" },
    alertId: { type: "uuid", name: "alert_id" },
    sequence: { type: "bigint" },
    transactionId: { type: "uuid", name: "transaction_id" },
    journalIndex: { type: "bigint", name: "journal_index" },
    direction: { type: "smallint" },
    balanceBefore: { type: "bigint", name: "balance_before" },
    balanceAfter: { type: "bigint", name: "balance_after" },
    createTime: { type: "timestamptz", name: "create_time" },
  },
  uniques: [{ name: "balance_alert_events_once", columns: ["alertId", "sequence"] }],
});

/** The position of a reader of the journal. */
export interface ReaderCursorRow {
  readonly name: string;
  /** The index of the first record that it has not read. */
  readonly nextIndex: bigint;
}

export const ReaderCursorEntity = new EntitySchema<ReaderCursorRow>({
  name: "ReaderCursor",
  tableName: "reader_cursors",
  columns: {
    name: { type: "varchar", length: 32, primary: true, primaryKeyConstraintName: "reader_cursors_pkey" },
    nextIndex: { type: "bigint", name: "next_index" },
  },
});
