import type { MigrationInterface, QueryRunner } from "typeorm";
import { forServiceRole } from "./service-role.js";

/**
 * Holds: money that is reserved, and captured or released later. Reversals: transactions that undo others. Why a wallet was
 * frozen or closed.
 *
 * Why each step of a hold has a row in `entries`, though it may move nothing: the account's history then says what was
 * pending at any time, and its sequence counts every change of the account.
 * Why a transaction keeps the hold as it was right after the step: the same request gets the same answer for ever.
 * Why a function of another name: servers of two versions may post side by side. The first one leaves what is pending as it
 * is, which is right, because it knows no holds.
 * Why post_batch_2 looks at the clock: decisions are made before; whether a hold has expired is settled by the time at
 * which its step is recorded.
 */
export class HoldsAndReversals1765000000000 implements MigrationInterface {
  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(forServiceRole(queryRunner, SCHEMA));
    await queryRunner.query(POST_BATCH);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      DROP FUNCTION post_batch_2;
      DROP TABLE holds;
      ALTER TABLE wallets DROP COLUMN state_reason;
      ALTER TABLE entries
        DROP COLUMN pending_debits_after,
        DROP COLUMN pending_credits_after,
        ADD CONSTRAINT entries_amount CHECK (amount <> 0);
      ALTER TABLE transactions
        DROP CONSTRAINT transactions_amount,
        DROP CONSTRAINT transactions_posted_has_entries,
        DROP COLUMN hold_id,
        DROP COLUMN hold_amount,
        DROP COLUMN hold_captured,
        DROP COLUMN hold_state,
        DROP COLUMN hold_expire_time,
        DROP COLUMN terms,
        DROP COLUMN reverses_id,
        ALTER COLUMN credit_account_id SET NOT NULL;
      ALTER TABLE transactions
        ADD CONSTRAINT transactions_amount CHECK (amount > 0),
        ADD CONSTRAINT transactions_posted_has_entries
          CHECK ((state = 1) = (debit_sequence IS NOT NULL AND credit_sequence IS NOT NULL));
    `);
  }
}

const SCHEMA = `
ALTER TABLE wallets ADD COLUMN state_reason varchar(500) NOT NULL DEFAULT '';

ALTER TABLE transactions
  DROP CONSTRAINT transactions_amount,
  DROP CONSTRAINT transactions_posted_has_entries,
  ALTER COLUMN credit_account_id DROP NOT NULL,
  ADD COLUMN hold_id uuid,
  ADD COLUMN hold_amount bigint,
  ADD COLUMN hold_captured bigint,
  ADD COLUMN hold_state smallint,
  ADD COLUMN hold_expire_time timestamptz,
  ADD COLUMN terms text,
  ADD COLUMN reverses_id uuid;
CREATE INDEX transactions_reverses ON transactions (reverses_id, journal_index) WHERE reverses_id IS NOT NULL AND state = 1;
ALTER TABLE transactions
  ADD CONSTRAINT transactions_amount CHECK (amount > 0 OR hold_id IS NOT NULL OR state = 2),
  ADD CONSTRAINT transactions_posted_has_entries
    CHECK ((state = 1) = (debit_sequence IS NOT NULL AND (credit_sequence IS NOT NULL OR hold_id IS NOT NULL)));

-- null: nothing was pending.
ALTER TABLE entries
  DROP CONSTRAINT entries_amount,
  ADD COLUMN pending_debits_after bigint,
  ADD COLUMN pending_credits_after bigint;

CREATE TABLE holds (
  id uuid NOT NULL,
  account_id uuid NOT NULL,
  to_account_id uuid,
  currency_code varchar(12) NOT NULL,
  amount bigint NOT NULL,
  captured bigint NOT NULL,
  state smallint NOT NULL,
  expire_time timestamptz NOT NULL,
  create_time timestamptz NOT NULL,
  update_time timestamptz NOT NULL,
  revision bigint NOT NULL,
  CONSTRAINT holds_pkey PRIMARY KEY (id),
  CONSTRAINT holds_captured CHECK (captured >= 0 AND captured <= amount)
);
CREATE INDEX holds_account ON holds (account_id, id);
CREATE INDEX holds_active ON holds (account_id, id) WHERE state = 1;
CREATE INDEX holds_due ON holds (expire_time, id) WHERE state = 1;

GRANT SELECT, INSERT ON holds TO :service_role;
GRANT UPDATE (amount, captured, state, expire_time, update_time, revision) ON holds TO :service_role;
`;

// Lock order: accounts by id (the caller sorts them), requests, holds by id, the journal's head.
const POST_BATCH = `
CREATE FUNCTION post_batch_2(
  p_claims boolean,
  p_revision bigint,
  p_account_ids uuid[],
  p_revisions_before bigint[],
  p_balances bigint[],
  p_pending_debits bigint[],
  p_pending_credits bigint[],
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
  p_terms text[],
  p_reverses_ids uuid[],
  -- Of the transactions that have to do with holds or pending sums; empty in most batches.
  p_entry_amounts bigint[],
  p_debit_pending_debits bigint[],
  p_debit_pending_credits bigint[],
  p_credit_pending_debits bigint[],
  p_credit_pending_credits bigint[],
  p_step_hold_ids uuid[],
  p_step_amounts bigint[],
  p_step_captured bigint[],
  p_step_states smallint[],
  p_step_expire_times timestamptz[],
  p_step_expires_in bigint[],
  -- The holds that were read, as they are now.
  p_hold_ids uuid[],
  p_hold_revisions_before bigint[],
  p_hold_are_live smallint[],
  p_hold_account_ids uuid[],
  p_hold_to_account_ids uuid[],
  p_hold_currency_codes text[],
  p_hold_amounts bigint[],
  p_hold_captured bigint[],
  p_hold_states smallint[],
  p_hold_expire_times timestamptz[],
  p_hold_expires_in bigint[],
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
  SET balance = b.balance, pending_debits = b.pending_debits, pending_credits = b.pending_credits,
    sequence = b.sequence, revision = p_revision
  FROM unnest(p_account_ids, p_revisions_before, p_balances, p_pending_debits, p_pending_credits, p_sequences)
    AS b (id, revision_before, balance, pending_debits, pending_credits, sequence)
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

  IF cardinality(p_hold_ids) > 0 THEN
    PERFORM FROM holds WHERE id = ANY (p_hold_ids) ORDER BY id FOR UPDATE;
  END IF;

  UPDATE journal_head
  SET size = size + cardinality(p_leading_ids) + cardinality(p_ids), last_time = greatest(last_time, clock_timestamp())
  RETURNING size - cardinality(p_ids), last_time INTO STRICT first_index, v_now;
  -- The states of transactions and the types of their records are numbered alike.
  INSERT INTO journal_batches (first_index, record_ids, record_types, create_time)
  VALUES (post_batch_2.first_index - cardinality(p_leading_ids), p_leading_ids || p_ids, p_leading_types || p_states, v_now);

  IF cardinality(p_hold_ids) > 0 THEN
    PERFORM FROM unnest(p_hold_ids, p_hold_are_live) AS b (id, is_live) JOIN holds h ON h.id = b.id
    WHERE (is_live = 1 AND h.expire_time <= v_now) OR (is_live = 0 AND h.expire_time > v_now);
    IF FOUND THEN
      RAISE EXCEPTION 'a hold has expired meanwhile, or not yet' USING ERRCODE = 'serialization_failure';
    END IF;
    UPDATE holds h
    SET amount = b.amount, captured = b.captured, state = b.state, revision = p_revision,
      expire_time = coalesce(b.expire_time, v_now + b.expires_in * interval '1 microsecond'),
      -- A step that was refused changes nothing.
      update_time = CASE WHEN (h.amount, h.captured, h.state, h.expire_time) IS DISTINCT FROM (b.amount, b.captured, b.state,
        coalesce(b.expire_time, v_now + b.expires_in * interval '1 microsecond')) THEN v_now ELSE h.update_time END
    FROM unnest(p_hold_ids, p_hold_revisions_before, p_hold_amounts, p_hold_captured, p_hold_states, p_hold_expire_times,
      p_hold_expires_in) AS b (id, revision_before, amount, captured, state, expire_time, expires_in)
    WHERE h.id = b.id AND h.revision = b.revision_before;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    IF v_count <> (SELECT count(*) FROM unnest(p_hold_revisions_before) AS b (revision) WHERE revision IS NOT NULL) THEN
      RAISE EXCEPTION 'the holds have changed' USING ERRCODE = 'serialization_failure';
    END IF;
    INSERT INTO holds (id, account_id, to_account_id, currency_code, amount, captured, state, expire_time, create_time,
      update_time, revision)
    SELECT id, account_id, to_account_id, currency_code, amount, captured, state,
      coalesce(expire_time, v_now + expires_in * interval '1 microsecond'), v_now, v_now, p_revision
    FROM unnest(p_hold_ids, p_hold_revisions_before, p_hold_account_ids, p_hold_to_account_ids, p_hold_currency_codes,
      p_hold_amounts, p_hold_captured, p_hold_states, p_hold_expire_times, p_hold_expires_in)
      AS b (id, revision_before, account_id, to_account_id, currency_code, amount, captured, state, expire_time, expires_in)
    WHERE revision_before IS NULL;
  END IF;

  -- The arrays about holds and pending sums are as long as the others, or empty: unnest fills up with nulls.
  INSERT INTO transactions (id, journal_index, kind, state, caller, request_id, debit_account_id, credit_account_id,
    debit_sequence, credit_sequence, currency_code, amount, description, metadata, create_time, effective_time, failure,
    terms, reverses_id, hold_id, hold_amount, hold_captured, hold_state, hold_expire_time)
  SELECT id, post_batch_2.first_index + position - 1, kind, state, caller, request_id, debit_account_id,
    credit_account_id, debit_sequence, credit_sequence, currency_code, amount, description, metadata::jsonb, v_now,
    effective_time, failure, terms, reverses_id, hold_id, hold_amount, hold_captured, hold_state,
    coalesce(hold_expire_time, v_now + hold_expires_in * interval '1 microsecond')
  FROM unnest(p_ids, p_kinds, p_states, p_callers, p_request_ids, p_debit_account_ids, p_credit_account_ids,
    p_debit_sequences, p_credit_sequences, p_currency_codes, p_amounts, p_descriptions, p_metadata, p_effective_times,
    p_failures, p_terms, p_reverses_ids, p_step_hold_ids, p_step_amounts, p_step_captured, p_step_states, p_step_expire_times,
    p_step_expires_in) WITH ORDINALITY AS t (id, kind, state, caller, request_id, debit_account_id, credit_account_id,
    debit_sequence, credit_sequence, currency_code, amount, description, metadata, effective_time, failure, terms,
    reverses_id, hold_id, hold_amount, hold_captured, hold_state, hold_expire_time, hold_expires_in, position);

  INSERT INTO entries (account_id, sequence, transaction_id, journal_index, amount, balance_after, create_time,
    pending_debits_after, pending_credits_after)
  SELECT CASE side WHEN 1 THEN debit_account_id ELSE credit_account_id END,
    CASE side WHEN 1 THEN debit_sequence ELSE credit_sequence END,
    id, post_batch_2.first_index + position - 1, side * coalesce(entry_amount, amount),
    CASE side WHEN 1 THEN debit_balance ELSE credit_balance END, v_now,
    CASE side WHEN 1 THEN debit_pending_debits ELSE credit_pending_debits END,
    CASE side WHEN 1 THEN debit_pending_credits ELSE credit_pending_credits END
  FROM unnest(p_ids, p_debit_account_ids, p_credit_account_ids, p_debit_sequences, p_credit_sequences,
    p_debit_balances, p_credit_balances, p_amounts, p_entry_amounts, p_debit_pending_debits, p_debit_pending_credits,
    p_credit_pending_debits, p_credit_pending_credits) WITH ORDINALITY AS t (id, debit_account_id, credit_account_id,
    debit_sequence, credit_sequence, debit_balance, credit_balance, amount, entry_amount, debit_pending_debits,
    debit_pending_credits, credit_pending_debits, credit_pending_credits, position),
    (VALUES (1), (-1)) AS sides (side)
  WHERE CASE side WHEN 1 THEN debit_sequence ELSE credit_sequence END IS NOT NULL;

  create_time_micros := (extract(epoch FROM v_now) * 1000000)::bigint;
END $$;
COMMENT ON FUNCTION post_batch_2 IS 'Writes a batch of decided transactions; see docs/architecture.md.';
`;
