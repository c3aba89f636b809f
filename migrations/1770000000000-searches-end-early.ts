import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { MigrationInterface, QueryRunner } from "typeorm";

/** Lets the searches in the journal and in an account's entries end at once when all there is comes before what is searched for. */
export class SearchesEndEarly1770000000000 implements MigrationInterface {
  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(readFileSync(join(import.meta.dirname, "sql/searches.sql"), "utf8"));
  }

  /** Leaves the functions: those before them return the same. */
  async down(): Promise<void> {
    // The migration that made them drops them.
  }
}
