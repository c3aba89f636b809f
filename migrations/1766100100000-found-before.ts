import type { MigrationInterface, QueryRunner } from "typeorm";

/**
 * What the triggers of the migration before would have written of the transactions that were there already.
 *
 * Why a migration of its own: making a trigger locks out postings until it commits, and this may take long. Every transaction was
 * there before the triggers, and is read here, or came after them; one that both wrote is passed over.
 */
export class FoundBefore1766100100000 implements MigrationInterface {
  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(PAIRS);
    await queryRunner.query(DATED);
  }

  async down(): Promise<void> {
    // The tables themselves go with the migration before, and running this one again finds its rows there.
  }
}

const PAIRS = `
INSERT INTO transaction_metadata (key, value, journal_index, transaction_id)
SELECT pair.key, pair.value, t.journal_index, t.id
FROM transactions t CROSS JOIN LATERAL jsonb_each_text(t.metadata) AS pair
WHERE t.metadata IS NOT NULL AND NOT EXISTS (SELECT FROM metadata_changes c WHERE c.transaction_id = t.id)
ON CONFLICT DO NOTHING`;

const DATED = `
INSERT INTO dated_entries (account_id, sequence, transaction_id, amount, effective_time, create_time, span)
SELECT e.account_id, e.sequence, t.id, e.amount, t.effective_time, t.create_time, dated_span(t.create_time - t.effective_time)
FROM transactions t
CROSS JOIN LATERAL (
  VALUES (t.debit_account_id, t.debit_sequence), (t.credit_account_id, t.credit_sequence)
  UNION ALL
  SELECT * FROM unnest(t.leg_account_ids, t.leg_sequences)
) AS side (account_id, sequence)
JOIN entries e ON e.account_id = side.account_id AND e.sequence = side.sequence
WHERE t.effective_time IS NOT NULL AND t.state = 1
ON CONFLICT DO NOTHING`;
