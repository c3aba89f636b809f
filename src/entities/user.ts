import { EntitySchema } from "typeorm";

/** A user; name, emails and metadata are empty once it is deleted. */
export interface UserRow {
  readonly id: string;
  name: string;
  /** As it was given. */
  email: string | null;
  /** In lower case: what must be unique. */
  emailKey: string | null;
  metadata: Record<string, string>;
  /** Counts the changes; the etag is made of it. */
  revision: number;
  readonly createTime: Date;
  updateTime: Date;
  deleteTime: Date | null;
}

export const UserEntity = new EntitySchema<UserRow>({
  name: "User",
  tableName: "users",
  columns: {
    id: { type: "uuid", primary: true, primaryKeyConstraintName: "users_pkey" },
    name: { type: "varchar", length: 200 },
    email: { type: "varchar", length: 254, nullable: true },
    emailKey: { type: "varchar", length: 254, name: "email_key", nullable: true },
    metadata: { type: "jsonb" },
    revision: { type: "integer" },
    createTime: { type: "timestamptz", name: "create_time" },
    updateTime: { type: "timestamptz", name: "update_time" },
    deleteTime: { type: "timestamptz", name: "delete_time", nullable: true },
  },
  uniques: [{ name: "users_email_key", columns: ["emailKey"] }],
});
