import type { MigrationInterface, QueryRunner } from "typeorm";

/**
 * An index by which the latest end of all alerts is found.
 *
 * Why: each page of the journal is read for alerts only if there is one that has not ended, and without the index all that
 * were ever deleted are read to learn that there is none.
 */
export class AlertsByEnd1767100000000 implements MigrationInterface {
  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query("CREATE INDEX balance_alerts_end ON balance_alerts (end_index)");
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query("DROP INDEX balance_alerts_end");
  }
}
