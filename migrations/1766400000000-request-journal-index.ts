import type { MigrationInterface, QueryRunner } from "typeorm";
import { forServiceRole } from "./service-role.js";

/**
 * Where in the journal a request of anything but a movement was recorded, so that its answer tells it, and a replay the same.
 *
 * Why not within the stored answer: that is erased with the user that it speaks of, and the place is known only when the
 * journal's head is locked, which the one statement that appends does last.
 */
export class RequestJournalIndex1766400000000 implements MigrationInterface {
  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(
      forServiceRole(
        queryRunner,
        `
      ALTER TABLE requests ADD COLUMN journal_index bigint;
      GRANT UPDATE (journal_index) ON requests TO :service_role;
    `,
      ),
    );
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query("ALTER TABLE requests DROP COLUMN journal_index");
  }
}
