import { EntitySchema } from "typeorm";

/** The lease of the server that posts for all; one row at most. */
export interface PostingLeaseRow {
  readonly id: number;
  /** host:port at which other servers reach the holder. */
  readonly address: string;
  /** A digest of the code that the holder runs. */
  readonly build: string;
  /** The secret of this term. */
  readonly token: Buffer;
  readonly expireTime: Date;
}

export const PostingLeaseEntity = new EntitySchema<PostingLeaseRow>({
  name: "PostingLease",
  tableName: "posting_lease",
  columns: {
    id: { type: "smallint", primary: true, default: 1, primaryKeyConstraintName: "posting_lease_pkey" },
    address: { type: "text" },
    build: { type: "text" },
    token: { type: "bytea" },
    expireTime: { type: "timestamptz", name: "expire_time" },
  },
  checks: [
    { name: "posting_lease_one_row", expression: "id = 1" },
    { name: "posting_lease_token", expression: "octet_length(token) = 32" },
  ],
});
