import type { MigrationInterface, QueryRunner } from "typeorm";

/**
 * The function that writes a batch of decided transactions, in one round trip.
 *
 * Why a function: several statements that need each other's results would cost a round trip each while the locks are held.
 * Why it checks revisions: the decisions were made from books that the caller may have read without a lock. Each touched
 * account must still have the revision that it had then; a new one is a random number that no other writer can have
 * guessed, so an equal revision means an equal row. Otherwise it raises serialization_failure and writes nothing.
 * Servers of two versions may post side by side: a later change gets another name.
 */
export class PostBatch1764000100000 implements MigrationInterface {
  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(POST_BATCH);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query("DROP FUNCTION post_batch");
  }
}

// Lock order: accounts by id (the caller sorts them), requests, the journal's head.
const POST_BATCH = `
CREATE FUNCTION post_batch(
  p_claims boolean,
  p_revision bigint,
  p_account_ids uuid[],
  p_revisions_before bigint[],
  p_balances bigint[],
  p_sequences bigint[],
  p_ids uuid[],
  p_kinds smallint[],
  p_states smallint[],
  p_callers uuid[],
  p_request_ids uuid[],
  p_debit_account_ids uuid[],
  p_credit_account_ids uuid[],
  p_debit_sequences bigint[],
  p_credit_sequences bigint[],
  p_debit_balances bigint[],
  p_credit_balances bigint[],
  p_currency_codes text[],
  p_amounts bigint[],
  p_descriptions text[],
  p_metadata text[],
  p_effective_times timestamptz[],
  p_failures text[],
  p_leading_ids uuid[],
  p_leading_types smallint[],
  OUT first_index bigint,
  OUT create_time_micros bigint
)
LANGUAGE plpgsql
-- Nested loops over the given arrays take the locks in their order, and never read a whole table, whatever the statistics.
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
AS $$
DECLARE
  v_count bigint;
  v_now timestamptz;
BEGIN
  UPDATE accounts a
  SET balance = b.balance, sequence = b.sequence, revision = p_revision
  FROM unnest(p_account_ids, p_revisions_before, p_balances, p_sequences) AS b (id, revision_before, balance, sequence)
  WHERE a.id = b.id AND a.revision = b.revision_before;
  GET DIAGNOSTICS v_count = ROW_COUNT;
  IF v_count <> cardinality(p_account_ids) THEN
    RAISE EXCEPTION 'the books have changed' USING ERRCODE = 'serialization_failure';
  END IF;

  IF p_claims THEN
    INSERT INTO requests (caller, request_id, method, transaction_id)
    SELECT caller, request_id, 1, id FROM unnest(p_callers, p_request_ids, p_ids) AS r (caller, request_id, id)
    ORDER BY caller, request_id;
  END IF;

  UPDATE journal_head
  SET size = size + cardinality(p_leading_ids) + cardinality(p_ids), last_time = greatest(last_time, clock_timestamp())
  RETURNING size - cardinality(p_ids), last_time INTO STRICT first_index, v_now;
  -- The states of transactions and the types of their records are numbered alike.
  INSERT INTO journal_batches (first_index, record_ids, record_types, create_time)
  VALUES (post_batch.first_index - cardinality(p_leading_ids), p_leading_ids || p_ids, p_leading_types || p_states, v_now);

  INSERT INTO transactions (id, journal_index, kind, state, caller, request_id, debit_account_id, credit_account_id,
    debit_sequence, credit_sequence, currency_code, amount, description, metadata, create_time, effective_time, failure)
  SELECT id, post_batch.first_index + position - 1, kind, state, caller, request_id, debit_account_id, credit_account_id,
    debit_sequence, credit_sequence, currency_code, amount, description, metadata::jsonb, v_now, effective_time, failure
  FROM unnest(p_ids, p_kinds, p_states, p_callers, p_request_ids, p_debit_account_ids, p_credit_account_ids,
    p_debit_sequences, p_credit_sequences, p_currency_codes, p_amounts, p_descriptions, p_metadata, p_effective_times,
    p_failures) WITH ORDINALITY AS t (id, kind, state, caller, request_id, debit_account_id, credit_account_id,
    debit_sequence, credit_sequence, currency_code, amount, description, metadata, effective_time, failure, position);

  INSERT INTO entries (account_id, sequence, transaction_id, journal_index, amount, balance_after, create_time)
  SELECT CASE side WHEN 1 THEN debit_account_id ELSE credit_account_id END,
    CASE side WHEN 1 THEN debit_sequence ELSE credit_sequence END,
    id, post_batch.first_index + position - 1, side * amount,
    CASE side WHEN 1 THEN debit_balance ELSE credit_balance END, v_now
  FROM unnest(p_ids, p_debit_account_ids, p_credit_account_ids, p_debit_sequences, p_credit_sequences,
    p_debit_balances, p_credit_balances, p_amounts) WITH ORDINALITY AS t (id, debit_account_id, credit_account_id,
    debit_sequence, credit_sequence, debit_balance, credit_balance, amount, position),
    (VALUES (1), (-1)) AS sides (side)
  WHERE debit_sequence IS NOT NULL;

  create_time_micros := (extract(epoch FROM v_now) * 1000000)::bigint;
END $$;
COMMENT ON FUNCTION post_batch IS 'Writes a batch of decided transactions; see docs/architecture.md.';
`;
