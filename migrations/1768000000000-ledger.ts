import { randomBytes, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { MigrationInterface, QueryRunner } from "typeorm";
import { systemAccountId } from "../src/base/ids.js";
import { ISO_4217 } from "./iso-4217.js";
import { forServiceRole } from "./service-role.js";

/**
 * Makes the ledger: its tables (sql/schema.sql), the function that posts (sql/post-batch.sql), its id and secret, the journal
 * without records, and the currencies of ISO 4217 with their system accounts.
 */
export class Ledger1768000000000 implements MigrationInterface {
  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(forServiceRole(queryRunner, readSql("schema")));
    await queryRunner.query(readSql("post-batch"));
    await queryRunner.query("INSERT INTO installation (ledger_id, secret) VALUES ($1, $2)", [
      randomUUID(),
      randomBytes(32),
    ]);
    await queryRunner.query("INSERT INTO journal_head (last_time) VALUES (clock_timestamp())");
    await queryRunner.query(
      "INSERT INTO currencies (code, exponent, name, custom) SELECT *, false FROM unnest($1::text[], $2::smallint[], $3::text[])",
      [ISO_4217.map(([code]) => code), ISO_4217.map(([, exponent]) => exponent), ISO_4217.map(([, , name]) => name)],
    );
    const systemAccounts = ISO_4217.flatMap(([currency]) =>
      SYSTEM_ACCOUNTS.map(([name, side]) => ({ id: systemAccountId(currency, name), name, currency, side })),
    );
    await queryRunner.query(
      `INSERT INTO accounts (id, system_account, currency_code, normal_side)
       SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::smallint[])`,
      [
        systemAccounts.map((account) => account.id),
        systemAccounts.map((account) => account.name),
        systemAccounts.map((account) => account.currency),
        systemAccounts.map((account) => account.side),
      ],
    );
  }

  /** Drops everything, unless the journal has records. The role stays: other databases of the cluster may use it. */
  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(REFUSE_RECORDS);
    await queryRunner.query(forServiceRole(queryRunner, DROP));
  }
}

/** Reads an SQL file beside this one; the build copies it. */
function readSql(name: string): string {
  return readFileSync(join(import.meta.dirname, `sql/${name}.sql`), "utf8");
}

/** Name and normal side (1 debit, 2 credit) of the accounts that each currency has from the start. */
const SYSTEM_ACCOUNTS: readonly (readonly [name: string, side: 1 | 2])[] = [
  ["cash", 1],
  ["fees", 2],
  ["fx", 2],
  ["opening", 1],
];

// Nobody loses a ledger by a command that is meant for a schema. The lock keeps postings out until the tables are gone.
const REFUSE_RECORDS = `
DO $$ BEGIN
  LOCK TABLE journal_head;
  IF (SELECT size FROM journal_head) > 0 THEN
    RAISE EXCEPTION 'the ledger has % journal records, which would be lost', (SELECT size FROM journal_head)
      USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
END $$`;

const DROP = `
DROP VIEW account_states;
DROP TABLE integrity_checks, balance_alert_events, balance_alerts, schedule_runs, schedules, dated_entries, metadata_changes,
  transaction_metadata, rates, limit_changes, velocity_usage, holds, wallets, users, requests, entries, rejected_legs,
  transactions, accounts, currencies, reader_cursors, journal_batches, journal_head, installation;
DROP FUNCTION post_batch, number_account_change, keep_metadata, keep_changed_metadata, keep_dated_entries, dated_span, entry_sequence_before_index,
  journal_index_from_time;
REVOKE SELECT ON migrations FROM :service_role;
`;
