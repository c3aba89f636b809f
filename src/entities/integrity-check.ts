import { EntitySchema } from "typeorm";

/** A completed check of the books. */
export interface IntegrityCheckRow {
  /** 1, 2, 3 and so on, in the order of completion. */
  readonly number: bigint;
  /** The first journal record that was checked; 0 if everything was. */
  readonly fromIndex: bigint;
  /** The number of journal records at that time. */
  readonly journalSize: bigint;
  readonly faultCount: bigint;
  /** The record up to which this check and those before it found no fault, without a gap; 0 after a fault. */
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
