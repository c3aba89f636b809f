import type { MigrationInterface, QueryRunner } from "typeorm";
import { forServiceRole } from "./service-role.js";

/** Makes the row by which servers choose the one that posts for all of them. */
export class PostingLease1769000000000 implements MigrationInterface {
  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(forServiceRole(queryRunner, CREATE));
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query("DROP TABLE posting_lease");
  }
}

const CREATE = `
CREATE TABLE posting_lease (
  id smallint NOT NULL DEFAULT 1,
  -- host:port at which other servers reach the holder.
  address text NOT NULL,
  -- A digest of the code that the holder runs: only servers of the same build hand over to it.
  build text NOT NULL,
  -- A random secret of this term, by which the holder and the others recognise each other.
  token bytea NOT NULL,
  expire_time timestamptz NOT NULL,
  CONSTRAINT posting_lease_pkey PRIMARY KEY (id),
  CONSTRAINT posting_lease_one_row CHECK (id = 1),
  CONSTRAINT posting_lease_token CHECK (octet_length(token) = 32)
);
GRANT SELECT, INSERT, UPDATE (address, build, token, expire_time) ON posting_lease TO :service_role;`;
