import type { MigrationInterface, QueryRunner } from "typeorm";
import { forServiceRole } from "./service-role.js";

/**
 * Rates between currencies. A rate is never changed: another one that becomes valid later takes its place, so the one that was
 * valid at any time can be told for ever.
 */
export class Rates1766000100000 implements MigrationInterface {
  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(
      forServiceRole(
        queryRunner,
        `
      CREATE TABLE rates (
        source_currency_code varchar(12) NOT NULL,
        target_currency_code varchar(12) NOT NULL,
        valid_from timestamptz NOT NULL,
        id uuid NOT NULL,
        rate varchar(37) NOT NULL,
        valid_until timestamptz,
        caller uuid NOT NULL,
        create_time timestamptz NOT NULL,
        CONSTRAINT rates_pkey PRIMARY KEY (source_currency_code, target_currency_code, valid_from, id),
        CONSTRAINT rates_validity CHECK (valid_until IS NULL OR valid_until > valid_from)
      );
      GRANT SELECT, INSERT ON rates TO :service_role;
    `,
      ),
    );
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query("DROP TABLE rates");
  }
}
