import type { MigrationInterface, QueryRunner } from "typeorm";

/**
 * Finds transactions by the caller's own name for them.
 *
 * Why by itself: building the index reads the whole table. In a transaction of its own it keeps out writers only, for about a second
 * for every few million transactions, and nobody who reads. CONCURRENTLY would wait for the very sessions that wait for a migration.
 */
export class ExternalReferences1766000050000 implements MigrationInterface {
  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      CREATE INDEX transactions_external_reference ON transactions (external_reference, journal_index)
        WHERE external_reference IS NOT NULL`);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query("DROP INDEX transactions_external_reference");
  }
}
