import { EntitySchema } from "typeorm";

/** A check of the books that came to an end. */
export interface IntegrityCheckRow {
  /** 1, 2, 3, in the order in which they ended. */
  readonly number: bigint;
  /** The first record of the journal that was checked; 0: everything was. */
  readonly fromIndex: bigint;
  /** How many records the journal had. */
  readonly journalSize: bigint;
  readonly faultCount: bigint;
  /** Everything before this record was checked, by this check and those before it, and found right; 0 after a fault. */
  readonly checkedIndex: bigint;
  readonly createTime: Date;
}

export const IntegrityCheckEntity = new EntitySchema<IntegrityCheckRow>({
  name: "IntegrityCheck",
  tableName: "integrity_checks",
  columns: {
    number: { type: "bigint", primary: true, primaryKeyConstraintName: "integrity_checks_pkey" },
    fromIndex: { type: "bigint", name: "from_index" },
    journalSize: { type: "bigint", name: "journal_size" },
    faultCount: { type: "bigint", name: "fault_count" },
    checkedIndex: { type: "bigint", name: "checked_index" },
    createTime: { type: "timestamptz", name: "create_time" },
  },
});
