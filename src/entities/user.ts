import { EntitySchema } from "typeorm";

/** A user. Name, emails and metadata are empty once the user is deleted. */
export interface UserRow {
  readonly id: string;
  name: string;
  /** As the caller wrote it. */
  email: string | null;
  /** The email in lower case, which is unique. */
  emailKey: string | null;
  metadata: Record<string, string>;
  /** The number of changes, which the etag is made of. */
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
