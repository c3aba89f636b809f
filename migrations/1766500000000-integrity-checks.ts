import type { MigrationInterface, QueryRunner } from "typeorm";
import { forServiceRole } from "./service-role.js";

/**
 * The checks of the books that came to an end, so that the next can begin where they left off.
 *
 * Why checked_index is kept, not worked out: it is where all checks up to this one have come to without a gap and without a
 * fault, and each check knows it from the one before.
 * Why a number and not the time names the order: two checks may end within a microsecond.
 */
export class IntegrityChecks1766500000000 implements MigrationInterface {
  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(
      forServiceRole(
        queryRunner,
        `
      CREATE TABLE integrity_checks (
        number bigint NOT NULL,
        from_index bigint NOT NULL,
        journal_size bigint NOT NULL,
        fault_count bigint NOT NULL,
        checked_index bigint NOT NULL,
        create_time timestamptz NOT NULL,
        CONSTRAINT integrity_checks_pkey PRIMARY KEY (number)
      );
      GRANT SELECT, INSERT ON integrity_checks TO :service_role;
    `,
      ),
    );
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query("DROP TABLE integrity_checks");
  }
}
