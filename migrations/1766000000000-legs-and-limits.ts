import type { MigrationInterface, QueryRunner } from "typeorm";
import { forServiceRole } from "./service-role.js";

/**
 * Transactions with many legs, references to the caller's own records, limits by velocity, and the history of limits.
 *
 * Why the legs are arrays in the transaction's row: they are written and read together with it, and are never changed. The
 * entries are found by account and sequence, as those of a transaction with two sides are.
 * Why a table of rejected legs: a wallet's refused transactions are listed in the order of the journal, which an index on an
 * array cannot do.
 * Why usage is kept by slices of the window: a hundred numbers tell what was used, however much there was.
 * Why the constraint is not validated: what was written before obeys the narrower one.
 */
export class LegsAndLimits1766000000000 implements MigrationInterface {
  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(forServiceRole(queryRunner, SCHEMA));
    await queryRunner.query(POST_BATCH);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      DROP FUNCTION post_batch_3;
      DROP TABLE rejected_legs, velocity_usage, limit_changes;
      ALTER TABLE currencies DROP COLUMN default_limits;
      ALTER TABLE accounts DROP COLUMN velocity_limits;
      ALTER TABLE transactions
        DROP CONSTRAINT transactions_posted_has_entries,
        DROP COLUMN external_reference,
        DROP COLUMN leg_account_ids,
        DROP COLUMN leg_currency_codes,
        DROP COLUMN leg_amounts,
        DROP COLUMN leg_sequences,
        DROP COLUMN detail;
      ALTER TABLE transactions
        ADD CONSTRAINT transactions_posted_has_entries
          CHECK ((state = 1) = (debit_sequence IS NOT NULL AND (credit_sequence IS NOT NULL OR hold_id IS NOT NULL)));
    `);
  }
}

const SCHEMA = `
ALTER TABLE transactions
  DROP CONSTRAINT transactions_posted_has_entries,
  ADD COLUMN external_reference varchar(128),
  ADD COLUMN leg_account_ids uuid[],
  ADD COLUMN leg_currency_codes text[],
  ADD COLUMN leg_amounts bigint[],
  ADD COLUMN leg_sequences bigint[],
  ADD COLUMN detail text;
ALTER TABLE transactions
  ADD CONSTRAINT transactions_posted_has_entries CHECK ((state = 1) = (leg_sequences IS NOT NULL
    OR (debit_sequence IS NOT NULL AND (credit_sequence IS NOT NULL OR hold_id IS NOT NULL)))) NOT VALID;

CREATE TABLE rejected_legs (
  account_id uuid NOT NULL,
  journal_index bigint NOT NULL,
  transaction_id uuid NOT NULL,
  CONSTRAINT rejected_legs_pkey PRIMARY KEY (account_id, journal_index)
);

ALTER TABLE accounts ADD COLUMN velocity_limits text;
ALTER TABLE currencies ADD COLUMN default_limits text;

CREATE TABLE velocity_usage (
  account_id uuid NOT NULL,
  name varchar(32) NOT NULL,
  slice bigint NOT NULL,
  amount bigint NOT NULL,
  count bigint NOT NULL,
  CONSTRAINT velocity_usage_pkey PRIMARY KEY (account_id, name, slice),
  CONSTRAINT velocity_usage_not_negative CHECK (amount >= 0 AND count >= 0)
);

CREATE TABLE limit_changes (
  id uuid NOT NULL,
  subject_id uuid NOT NULL,
  caller uuid NOT NULL,
  reason varchar(500) NOT NULL,
  limits text NOT NULL,
  create_time timestamptz NOT NULL,
  CONSTRAINT limit_changes_pkey PRIMARY KEY (subject_id, id)
);

GRANT SELECT, INSERT ON rejected_legs, limit_changes TO :service_role;
GRANT SELECT, INSERT, DELETE ON velocity_usage TO :service_role;
GRANT UPDATE (amount, count) ON velocity_usage TO :service_role;
GRANT UPDATE (default_limits) ON currencies TO :service_role;
`;

// Lock order: accounts by id (the caller sorts them), requests, holds by id, the journal's head.
const POST_BATCH = `
CREATE FUNCTION post_batch_3(
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
  p_external_references text[],
  -- Of the transactions with many legs, each an array as text; empty in most batches.
  p_leg_account_ids text[],
  p_leg_currency_codes text[],
  p_leg_amounts text[],
  p_leg_sequences text[],
  p_leg_balances text[],
  p_leg_pending_debits text[],
  p_leg_pending_credits text[],
  p_details text[],
  -- What is used of velocity limits, and how many microseconds their slices of time have.
  p_usage_account_ids uuid[],
  p_usage_names text[],
  p_usage_slice_micros bigint[],
  p_usage_amounts bigint[],
  p_usage_counts bigint[],
  -- Until when the batch may be recorded; null for any time.
  p_valid_until timestamptz,
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
  IF v_now >= p_valid_until THEN
    RAISE EXCEPTION 'a quote has expired meanwhile' USING ERRCODE = 'serialization_failure';
  END IF;
  INSERT INTO journal_batches (first_index, record_ids, record_types, create_time)
  VALUES (post_batch_3.first_index - cardinality(p_leading_ids), p_leading_ids || p_ids, p_leading_types || p_states, v_now);

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

  -- The arrays about holds, pending sums and legs are as long as the others, or empty: unnest fills up with nulls.
  INSERT INTO transactions (id, journal_index, kind, state, caller, request_id, debit_account_id, credit_account_id,
    debit_sequence, credit_sequence, currency_code, amount, description, metadata, create_time, effective_time, failure,
    terms, reverses_id, hold_id, hold_amount, hold_captured, hold_state, hold_expire_time, external_reference,
    leg_account_ids, leg_currency_codes, leg_amounts, leg_sequences, detail)
  SELECT id, post_batch_3.first_index + position - 1, kind, state, caller, request_id, debit_account_id,
    credit_account_id, debit_sequence, credit_sequence, currency_code, amount, description, metadata::jsonb, v_now,
    effective_time, failure, terms, reverses_id, hold_id, hold_amount, hold_captured, hold_state,
    coalesce(hold_expire_time, v_now + hold_expires_in * interval '1 microsecond'), external_reference,
    leg_account_ids::uuid[], leg_currency_codes::text[], leg_amounts::bigint[], leg_sequences::bigint[], detail
  FROM unnest(p_ids, p_kinds, p_states, p_callers, p_request_ids, p_debit_account_ids, p_credit_account_ids,
    p_debit_sequences, p_credit_sequences, p_currency_codes, p_amounts, p_descriptions, p_metadata, p_effective_times,
    p_failures, p_terms, p_reverses_ids, p_step_hold_ids, p_step_amounts, p_step_captured, p_step_states, p_step_expire_times,
    p_step_expires_in, p_external_references, p_leg_account_ids, p_leg_currency_codes, p_leg_amounts, p_leg_sequences,
    p_details) WITH ORDINALITY AS t (id, kind, state, caller, request_id, debit_account_id, credit_account_id,
    debit_sequence, credit_sequence, currency_code, amount, description, metadata, effective_time, failure, terms,
    reverses_id, hold_id, hold_amount, hold_captured, hold_state, hold_expire_time, hold_expires_in,
    external_reference, leg_account_ids, leg_currency_codes, leg_amounts, leg_sequences, detail, position);

  INSERT INTO entries (account_id, sequence, transaction_id, journal_index, amount, balance_after, create_time,
    pending_debits_after, pending_credits_after)
  SELECT CASE side WHEN 1 THEN debit_account_id ELSE credit_account_id END,
    CASE side WHEN 1 THEN debit_sequence ELSE credit_sequence END,
    id, post_batch_3.first_index + position - 1, side * coalesce(entry_amount, amount),
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

  IF cardinality(p_leg_account_ids) > 0 THEN
    INSERT INTO entries (account_id, sequence, transaction_id, journal_index, amount, balance_after, create_time,
      pending_debits_after, pending_credits_after)
    SELECT leg.account_id, leg.sequence, t.id, post_batch_3.first_index + t.position - 1, leg.amount, leg.balance, v_now,
      leg.pending_debits, leg.pending_credits
    FROM unnest(p_ids, p_leg_account_ids, p_leg_amounts, p_leg_sequences, p_leg_balances, p_leg_pending_debits,
      p_leg_pending_credits) WITH ORDINALITY
      AS t (id, account_ids, amounts, sequences, balances, pending_debits, pending_credits, position),
      unnest(t.account_ids::uuid[], t.amounts::bigint[], t.sequences::bigint[], t.balances::bigint[],
        t.pending_debits::bigint[], t.pending_credits::bigint[])
      AS leg (account_id, amount, sequence, balance, pending_debits, pending_credits)
    WHERE t.sequences IS NOT NULL;
    INSERT INTO rejected_legs (account_id, journal_index, transaction_id)
    SELECT DISTINCT leg.account_id, post_batch_3.first_index + t.position - 1, t.id
    FROM unnest(p_ids, p_leg_account_ids, p_leg_sequences) WITH ORDINALITY AS t (id, account_ids, sequences, position),
      unnest(t.account_ids::uuid[]) AS leg (account_id)
    WHERE t.account_ids IS NOT NULL AND t.sequences IS NULL;
  END IF;

  IF cardinality(p_usage_account_ids) > 0 THEN
    -- In the slice of the record's time, which is no earlier than that of the decision.
    create_time_micros := (extract(epoch FROM v_now) * 1000000)::bigint;
    INSERT INTO velocity_usage (account_id, name, slice, amount, count)
    SELECT account_id, name, create_time_micros / slice_micros, amount, count
    FROM unnest(p_usage_account_ids, p_usage_names, p_usage_slice_micros, p_usage_amounts, p_usage_counts)
      AS used (account_id, name, slice_micros, amount, count)
    ON CONFLICT (account_id, name, slice) DO UPDATE SET count = velocity_usage.count + excluded.count,
      amount = least(velocity_usage.amount::numeric + excluded.amount, 9223372036854775807)::bigint;
    -- What no window reaches any more.
    DELETE FROM velocity_usage u USING unnest(p_usage_account_ids, p_usage_names, p_usage_slice_micros)
      AS used (account_id, name, slice_micros)
    WHERE u.account_id = used.account_id AND u.name = used.name AND u.slice < create_time_micros / used.slice_micros - 100;
  END IF;

  create_time_micros := (extract(epoch FROM v_now) * 1000000)::bigint;
END $$;
COMMENT ON FUNCTION post_batch_3 IS 'Writes a batch of decided transactions; see docs/architecture.md.';
`;
