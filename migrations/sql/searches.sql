CREATE OR REPLACE FUNCTION journal_index_from_time(p_time timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
  v_low bigint := 0;
  v_high bigint;
  v_middle bigint;
  v_first bigint;
  v_end bigint;
  v_time timestamptz;
BEGIN
  SELECT size, last_time INTO STRICT v_high, v_time FROM journal_head WHERE id = 1;
  -- Most periods end now or later.
  IF v_time < p_time THEN RETURN v_high; END IF;
  WHILE v_low < v_high LOOP
    v_middle := (v_low + v_high) / 2;
    SELECT first_index, first_index + cardinality(record_ids), create_time INTO v_first, v_end, v_time
    FROM journal_batches WHERE first_index <= v_middle ORDER BY first_index DESC LIMIT 1;
    -- The batch holds the middle, unless the journal has a gap there: the search ends all the same.
    IF NOT FOUND OR v_time < p_time THEN v_low := greatest(v_end, v_middle + 1); ELSE v_high := least(v_first, v_middle); END IF;
  END LOOP;
  RETURN v_low;
END $$;

CREATE OR REPLACE FUNCTION entry_sequence_before_index(p_account uuid, p_index bigint) RETURNS bigint
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
  v_low bigint := 0;
  v_high bigint;
  v_middle bigint;
  v_found bigint;
BEGIN
  SELECT sequence, journal_index INTO v_high, v_found
  FROM entries WHERE account_id = p_account ORDER BY sequence DESC LIMIT 1;
  IF v_high IS NULL THEN RETURN 0; END IF;
  -- Most pages begin with the latest entry.
  IF v_found < p_index THEN RETURN v_high; END IF;
  WHILE v_low < v_high LOOP
    v_middle := (v_low + v_high + 1) / 2;
    SELECT journal_index INTO v_found FROM entries WHERE account_id = p_account AND sequence = v_middle;
    IF v_found < p_index THEN v_low := v_middle; ELSE v_high := v_middle - 1; END IF;
  END LOOP;
  RETURN v_low;
END $$;
