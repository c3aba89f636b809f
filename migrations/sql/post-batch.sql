-- Writes a batch of decided transactions in one round trip, all or nothing. Called by src/ledger/post/write.ts.
--
-- A function, because several statements that need each other's results would each cost a round trip while the journal's head is
-- locked. It locks the head, and checks by one number that the decisions were made from the ledger as it is: everything that
-- changes what decisions read replaces the head's revision. Otherwise the function raises serialization_failure, as it does if a
-- hold or a quote has expired by the time at which the batch is recorded.
--
-- Lock order: requests, in their order; then the journal's head, under which nothing waits for a lock.
--
-- Servers of two versions may post side by side during an upgrade: a function with other parameters gets another name.
CREATE FUNCTION post_batch(
  p_claims boolean,
  p_revision bigint,
  p_revision_before bigint,
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
  p_effective_times timestamptz[],
  p_failures text[],
  p_terms text[],
  p_reverses_ids uuid[],
  p_descriptions text[],
  p_metadata text[],
  p_external_references text[],
  -- By transaction, if any of the batch concerns a hold or an account with pending sums; otherwise empty.
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
  -- The holds that were read, and what they become. A hold without a revision is new.
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
  -- Journal records before those of the transactions.
  p_leading_ids uuid[],
  p_leading_types smallint[],
  -- By transaction, each an array as text, if any of the batch has many legs; otherwise empty.
  p_leg_account_ids text[],
  p_leg_currency_codes text[],
  p_leg_amounts text[],
  p_leg_sequences text[],
  p_leg_balances text[],
  p_leg_pending_debits text[],
  p_leg_pending_credits text[],
  p_details text[],
  -- What the batch uses of velocity limits, and the length of their slices.
  p_usage_account_ids uuid[],
  p_usage_names text[],
  p_usage_slice_micros bigint[],
  p_usage_amounts bigint[],
  p_usage_counts bigint[],
  -- The batch must be recorded before this time; null for any time.
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
  IF p_claims THEN
    INSERT INTO requests (caller, request_id, method, transaction_id)
    SELECT caller, request_id, 1, id FROM unnest(p_callers, p_request_ids, p_ids) AS r (caller, request_id, id)
    ORDER BY caller, request_id;
  END IF;

  UPDATE journal_head
  SET size = size + cardinality(p_leading_ids) + cardinality(p_ids), last_time = greatest(last_time, clock_timestamp()),
    revision = p_revision
  WHERE id = 1 AND revision = p_revision_before
  RETURNING size - cardinality(p_ids), last_time INTO first_index, v_now;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'the ledger has changed since it was read' USING ERRCODE = 'serialization_failure';
  END IF;
  IF v_now >= p_valid_until THEN
    RAISE EXCEPTION 'a quote has expired since it was read' USING ERRCODE = 'serialization_failure';
  END IF;

  -- The states of transactions and the types of their records have the same numbers.
  INSERT INTO journal_batches (first_index, record_ids, record_types, create_time)
  VALUES (post_batch.first_index - cardinality(p_leading_ids), p_leading_ids || p_ids, p_leading_types || p_states, v_now);

  IF cardinality(p_hold_ids) > 0 THEN
    PERFORM FROM unnest(p_hold_ids, p_hold_are_live) AS b (id, is_live) JOIN holds h ON h.id = b.id
    WHERE h.id = ANY (p_hold_ids) AND ((is_live = 1 AND h.expire_time <= v_now) OR (is_live = 0 AND h.expire_time > v_now));
    IF FOUND THEN
      RAISE EXCEPTION 'a hold has expired since it was read, or has not expired yet' USING ERRCODE = 'serialization_failure';
    END IF;
    UPDATE holds h
    SET amount = b.amount, captured = b.captured, state = b.state, revision = p_revision,
      expire_time = coalesce(b.expire_time, v_now + b.expires_in * interval '1 microsecond'),
      -- A step that was rejected changes nothing.
      update_time = CASE WHEN (h.amount, h.captured, h.state, h.expire_time) IS DISTINCT FROM (b.amount, b.captured, b.state,
        coalesce(b.expire_time, v_now + b.expires_in * interval '1 microsecond')) THEN v_now ELSE h.update_time END
    FROM unnest(p_hold_ids, p_hold_revisions_before, p_hold_amounts, p_hold_captured, p_hold_states, p_hold_expire_times,
      p_hold_expires_in) AS b (id, revision_before, amount, captured, state, expire_time, expires_in)
    WHERE h.id = b.id AND h.id = ANY (p_hold_ids) AND h.revision = b.revision_before;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    IF v_count <> (SELECT count(*) FROM unnest(p_hold_revisions_before) AS b (revision) WHERE revision IS NOT NULL) THEN
      RAISE EXCEPTION 'a hold has changed since it was read' USING ERRCODE = 'serialization_failure';
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

  -- unnest fills up the arrays that are empty with nulls.
  INSERT INTO transactions (id, journal_index, kind, state, caller, request_id, debit_account_id, credit_account_id,
    debit_sequence, credit_sequence, currency_code, amount, description, metadata, create_time, effective_time, failure,
    terms, reverses_id, hold_id, hold_amount, hold_captured, hold_state, hold_expire_time, external_reference,
    leg_account_ids, leg_currency_codes, leg_amounts, leg_sequences, detail)
  SELECT id, post_batch.first_index + position - 1, kind, state, caller, request_id, debit_account_id,
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
    id, post_batch.first_index + position - 1, side * coalesce(entry_amount, amount),
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
    SELECT leg.account_id, leg.sequence, t.id, post_batch.first_index + t.position - 1, leg.amount, leg.balance, v_now,
      leg.pending_debits, leg.pending_credits
    FROM unnest(p_ids, p_leg_account_ids, p_leg_amounts, p_leg_sequences, p_leg_balances, p_leg_pending_debits,
      p_leg_pending_credits) WITH ORDINALITY
      AS t (id, account_ids, amounts, sequences, balances, pending_debits, pending_credits, position),
      unnest(t.account_ids::uuid[], t.amounts::bigint[], t.sequences::bigint[], t.balances::bigint[],
        t.pending_debits::bigint[], t.pending_credits::bigint[])
      AS leg (account_id, amount, sequence, balance, pending_debits, pending_credits)
    WHERE t.sequences IS NOT NULL;
    INSERT INTO rejected_legs (account_id, journal_index, transaction_id)
    SELECT DISTINCT leg.account_id, post_batch.first_index + t.position - 1, t.id
    FROM unnest(p_ids, p_leg_account_ids, p_leg_sequences) WITH ORDINALITY AS t (id, account_ids, sequences, position),
      unnest(t.account_ids::uuid[]) AS leg (account_id)
    WHERE t.account_ids IS NOT NULL AND t.sequences IS NULL;
  END IF;

  IF cardinality(p_usage_account_ids) > 0 THEN
    -- Counts in the slice of the time of record, which is no earlier than that of the decision.
    create_time_micros := (extract(epoch FROM v_now) * 1000000)::bigint;
    INSERT INTO velocity_usage (account_id, name, slice, amount, count)
    SELECT account_id, name, create_time_micros / slice_micros, amount, count
    FROM unnest(p_usage_account_ids, p_usage_names, p_usage_slice_micros, p_usage_amounts, p_usage_counts)
      AS used (account_id, name, slice_micros, amount, count)
    ON CONFLICT (account_id, name, slice) DO UPDATE SET count = velocity_usage.count + excluded.count,
      amount = least(velocity_usage.amount::numeric + excluded.amount, 9223372036854775807)::bigint;
    -- Deletes usage that no window reaches any more.
    DELETE FROM velocity_usage u USING unnest(p_usage_account_ids, p_usage_names, p_usage_slice_micros)
      AS used (account_id, name, slice_micros)
    WHERE u.account_id = used.account_id AND u.account_id = ANY (p_usage_account_ids) AND u.name = used.name AND u.slice < create_time_micros / used.slice_micros - 100;
  END IF;

  create_time_micros := (extract(epoch FROM v_now) * 1000000)::bigint;
END $$;
COMMENT ON FUNCTION post_batch IS 'Writes a batch of decided transactions, all or nothing.';
