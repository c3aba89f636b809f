-- The schema of a ledger, by area. Read by migrations/1768000000000-ledger.ts.
--
-- `:service_role` is the role that the service assumes in every session (GREY_DATABASE_ROLE). Each area grants it what the
-- service needs and no more: it can add to the books, and can neither change nor delete an entry, a transaction, a journal
-- record or the key of a request.
--
-- Times come from the ledger's clock, which never goes back. Amounts are minor units. Ids are UUIDs that the service makes.

GRANT USAGE ON SCHEMA public TO :service_role;
-- A server that does not migrate reads which schema it meets.
GRANT SELECT ON migrations TO :service_role;


-- The journal ---------------------------------------------------------------------------------------------------------

-- The identity of this ledger, and the secret that seals page tokens, so that every server accepts the tokens of the others.
CREATE TABLE installation (
  id smallint NOT NULL DEFAULT 1,
  ledger_id uuid NOT NULL,
  secret bytea NOT NULL,
  CONSTRAINT installation_pkey PRIMARY KEY (id),
  CONSTRAINT installation_one_row CHECK (id = 1)
);

-- The end of the journal, and the ledger's one lock: every transaction that appends locks this row last and holds it until the
-- commit, so that indexes are dense and follow the order of the commits. Who holds it waits for no other lock.
CREATE TABLE journal_head (
  id smallint NOT NULL DEFAULT 1,
  -- The number of journal records.
  size bigint NOT NULL DEFAULT 0,
  -- A random number that everything replaces which changes what postings are decided from: a process that knows the ledger as of
  -- this revision knows it as it is.
  revision bigint NOT NULL DEFAULT 0,
  -- The number of changes of accounts' own rows so far.
  account_changes bigint NOT NULL DEFAULT 0,
  -- The time of the latest record: time never decreases along the journal, whatever the database's clock does.
  last_time timestamptz NOT NULL,
  CONSTRAINT journal_head_pkey PRIMARY KEY (id),
  CONSTRAINT journal_head_one_row CHECK (id = 1),
  CONSTRAINT journal_head_size CHECK (size >= 0)
);

-- The records of one database transaction: record_ids[i] has the index first_index + i - 1. One row for a batch, since a row
-- for each record would cost a posting as much as its entries do.
CREATE TABLE journal_batches (
  first_index bigint NOT NULL,
  record_ids uuid[] NOT NULL,
  record_types smallint[] NOT NULL,
  create_time timestamptz NOT NULL,
  CONSTRAINT journal_batches_pkey PRIMARY KEY (first_index),
  CONSTRAINT journal_batches_same_length CHECK (cardinality(record_ids) = cardinality(record_types)),
  CONSTRAINT journal_batches_not_empty CHECK (cardinality(record_ids) > 0)
);

-- The position of each reader of the journal.
CREATE TABLE reader_cursors (
  name varchar(32) NOT NULL,
  -- The first record that the reader has not read.
  next_index bigint NOT NULL,
  CONSTRAINT reader_cursors_pkey PRIMARY KEY (name)
);
INSERT INTO reader_cursors (name, next_index) VALUES ('balance_alerts', 0);

-- Time never decreases along the journal, so a binary search over the primary key finds a time in about log2(n) look-ups,
-- without an index on times.
CREATE FUNCTION journal_index_from_time(p_time timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
  v_low bigint := 0;
  v_high bigint;
  v_middle bigint;
  v_first bigint;
  v_end bigint;
  v_time timestamptz;
BEGIN
  SELECT size INTO STRICT v_high FROM journal_head;
  WHILE v_low < v_high LOOP
    v_middle := (v_low + v_high) / 2;
    SELECT first_index, first_index + cardinality(record_ids), create_time INTO v_first, v_end, v_time
    FROM journal_batches WHERE first_index <= v_middle ORDER BY first_index DESC LIMIT 1;
    -- The batch holds the middle, unless the journal has a gap there: the search ends all the same.
    IF NOT FOUND OR v_time < p_time THEN v_low := greatest(v_end, v_middle + 1); ELSE v_high := least(v_first, v_middle); END IF;
  END LOOP;
  RETURN v_low;
END $$;
COMMENT ON FUNCTION journal_index_from_time(timestamptz) IS
  'Returns the index of the first journal record that was appended at the given time or later; the journal''s size if there is none.';

GRANT SELECT ON installation TO :service_role;
GRANT SELECT, UPDATE ON journal_head TO :service_role;
GRANT SELECT, INSERT ON journal_batches TO :service_role;
GRANT SELECT, UPDATE (next_index) ON reader_cursors TO :service_role;


-- The books: currencies, accounts, transactions, entries --------------------------------------------------------------
--
-- accounts, transactions, entries and requests have no foreign keys: these more than double the database's work for a
-- posting. A posting checks the account rows itself, and the integrity check proves the references.

CREATE TABLE currencies (
  code varchar(12) NOT NULL,
  exponent smallint NOT NULL,
  name varchar(100) NOT NULL,
  -- Whether it was registered by a caller; false for those of ISO 4217.
  custom boolean NOT NULL,
  -- The limits of new wallets, as encodeLimits() writes them; null for the service's own default.
  default_limits text,
  CONSTRAINT currencies_pkey PRIMARY KEY (code),
  CONSTRAINT currencies_exponent_range CHECK (exponent >= 0 AND exponent <= 18)
);

-- An account: a wallet's, with the wallet's id, or one of the operator's own. What it came to is in its latest entry: a posting
-- changes no row.
CREATE TABLE accounts (
  id uuid NOT NULL,
  system_account varchar(32),
  currency_code varchar(12) NOT NULL,
  normal_side smallint NOT NULL,
  state smallint NOT NULL DEFAULT 1,
  -- The limits of the balance, which is on the normal side; null for none.
  min_balance bigint,
  max_balance bigint,
  velocity_limits text,
  -- The number of the row's latest change among those of all accounts; null if it is as it was made. Set by a trigger.
  change bigint,
  CONSTRAINT accounts_pkey PRIMARY KEY (id),
  CONSTRAINT accounts_normal_side CHECK (normal_side = 1 OR normal_side = 2)
);
-- Finds the accounts that have changed since a number of changes.
CREATE INDEX accounts_change ON accounts (change) WHERE change IS NOT NULL;
-- One system account of each name in a currency; finds it by its name.
CREATE UNIQUE INDEX accounts_system ON accounts (currency_code, system_account) WHERE system_account IS NOT NULL;
-- Lists system accounts by id without reading those of wallets.
CREATE INDEX accounts_system_id ON accounts (id) WHERE system_account IS NOT NULL;

-- A movement or a step of a hold, posted (state 1) or rejected (state 2). The accounts and their sequences lead to its entries,
-- which spares an index on entries. A transaction with more than two sides keeps them as arrays: they are written and read
-- together with it and never change.
CREATE TABLE transactions (
  id uuid NOT NULL,
  journal_index bigint NOT NULL,
  kind smallint NOT NULL,
  state smallint NOT NULL,
  caller uuid NOT NULL,
  request_id uuid NOT NULL,
  debit_account_id uuid NOT NULL,
  -- null for a step of a hold without a recipient.
  credit_account_id uuid,
  -- null if it was rejected or has legs.
  debit_sequence bigint,
  credit_sequence bigint,
  currency_code varchar(12) NOT NULL,
  amount bigint NOT NULL,
  description varchar(500) NOT NULL,
  metadata jsonb,
  create_time timestamptz NOT NULL,
  effective_time timestamptz,
  failure text,
  -- The hold right after this step of it: a repeated request gets the same answer for ever.
  hold_id uuid,
  hold_amount bigint,
  hold_captured bigint,
  hold_state smallint,
  hold_expire_time timestamptz,
  -- The rest of the request, as JSON.
  terms text,
  reverses_id uuid,
  external_reference varchar(128),
  leg_account_ids uuid[],
  leg_currency_codes text[],
  leg_amounts bigint[],
  leg_sequences bigint[],
  -- The rest of the decision, as JSON.
  detail text,
  CONSTRAINT transactions_pkey PRIMARY KEY (id),
  CONSTRAINT transactions_amount CHECK (amount > 0 OR hold_id IS NOT NULL OR state = 2),
  CONSTRAINT transactions_rejected_has_failure CHECK ((state = 2) = (failure IS NOT NULL)),
  CONSTRAINT transactions_posted_has_entries CHECK ((state = 1) = (leg_sequences IS NOT NULL
    OR (debit_sequence IS NOT NULL AND (credit_sequence IS NOT NULL OR hold_id IS NOT NULL))))
);
-- Lists the rejected transactions of an account: they have no entries by which to find them.
CREATE INDEX transactions_rejected_debit ON transactions (debit_account_id, journal_index) WHERE state = 2;
CREATE INDEX transactions_rejected_credit ON transactions (credit_account_id, journal_index) WHERE state = 2;
-- Finds the reversals of a transaction.
CREATE INDEX transactions_reverses ON transactions (reverses_id, journal_index) WHERE reverses_id IS NOT NULL AND state = 1;
-- Finds transactions by the caller's own name for them.
CREATE INDEX transactions_external_reference ON transactions (external_reference, journal_index)
  WHERE external_reference IS NOT NULL;

-- An account among the legs of a rejected transaction. An index on an array cannot list them in the order of the journal.
CREATE TABLE rejected_legs (
  account_id uuid NOT NULL,
  journal_index bigint NOT NULL,
  transaction_id uuid NOT NULL,
  CONSTRAINT rejected_legs_pkey PRIMARY KEY (account_id, journal_index)
);

-- A debit (positive) or credit (negative) of an account, and what the account came to. Every step of a hold has an entry,
-- though it may move nothing (amount 0): the history then shows what was pending at any time, and the sequence counts every
-- change of the account.
CREATE TABLE entries (
  account_id uuid NOT NULL,
  sequence bigint NOT NULL,
  transaction_id uuid NOT NULL,
  journal_index bigint NOT NULL,
  amount bigint NOT NULL,
  balance_after bigint NOT NULL,
  create_time timestamptz NOT NULL,
  -- null if nothing was pending.
  pending_debits_after bigint,
  pending_credits_after bigint,
  -- Also the guard against two writers: each would write the next entry.
  CONSTRAINT entries_pkey PRIMARY KEY (account_id, sequence),
  CONSTRAINT entries_sequence CHECK (sequence > 0),
  CONSTRAINT entries_pending CHECK (pending_debits_after >= 0 AND pending_credits_after >= 0)
);

-- The accounts as they are: with the sums of their latest entries.
CREATE VIEW account_states AS
SELECT a.id, a.system_account, a.currency_code, a.normal_side, a.state, a.min_balance, a.max_balance, a.velocity_limits, a.change,
  coalesce(latest.balance_after, 0) AS balance, coalesce(latest.pending_debits_after, 0) AS pending_debits,
  coalesce(latest.pending_credits_after, 0) AS pending_credits, coalesce(latest.sequence, 0) AS sequence
FROM accounts a LEFT JOIN LATERAL (
  SELECT sequence, balance_after, pending_debits_after, pending_credits_after FROM entries
  WHERE account_id = a.id ORDER BY sequence DESC LIMIT 1
) latest ON true;

-- Postings are decided from what processes remember of accounts. A change of an account's row takes its place among them.
CREATE FUNCTION number_account_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  UPDATE journal_head
  SET account_changes = account_changes + 1, revision = hashtextextended(gen_random_uuid()::text, 0)
  WHERE id = 1
  RETURNING account_changes INTO STRICT NEW.change;
  RETURN NEW;
END $$;
COMMENT ON FUNCTION number_account_change() IS 'Numbers a change of an account, and makes what processes remember out of date.';
CREATE TRIGGER accounts_change BEFORE UPDATE ON accounts FOR EACH ROW EXECUTE FUNCTION number_account_change();

-- The sequence of an account's entries is dense, and their journal indexes increase along it, so a binary search over the
-- primary key finds a place in any history without another index.
CREATE FUNCTION entry_sequence_before_index(p_account uuid, p_index bigint) RETURNS bigint
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
  v_low bigint := 0;
  v_high bigint;
  v_middle bigint;
  v_found bigint;
BEGIN
  SELECT sequence INTO v_high FROM entries WHERE account_id = p_account ORDER BY sequence DESC LIMIT 1;
  IF v_high IS NULL THEN RETURN 0; END IF;
  WHILE v_low < v_high LOOP
    v_middle := (v_low + v_high + 1) / 2;
    SELECT journal_index INTO v_found FROM entries WHERE account_id = p_account AND sequence = v_middle;
    IF v_found < p_index THEN v_low := v_middle; ELSE v_high := v_middle - 1; END IF;
  END LOOP;
  RETURN v_low;
END $$;
COMMENT ON FUNCTION entry_sequence_before_index(uuid, bigint) IS
  'Returns the sequence of the account''s latest entry whose journal index is less than the given one; 0 if there is none.';

GRANT SELECT, INSERT, UPDATE (default_limits) ON currencies TO :service_role;
GRANT SELECT, INSERT, UPDATE (state, min_balance, max_balance, velocity_limits) ON accounts TO :service_role;
GRANT SELECT ON account_states TO :service_role;
GRANT SELECT, INSERT ON transactions, rejected_legs, entries TO :service_role;


-- Requests ------------------------------------------------------------------------------------------------------------

-- An answered request, for ever: the primary key makes each request id count once. A movement's answer is its transaction.
CREATE TABLE requests (
  caller uuid NOT NULL,
  request_id uuid NOT NULL,
  method smallint NOT NULL,
  transaction_id uuid,
  resource_id uuid,
  other_user_id uuid,
  request bytea,
  response bytea,
  failure text,
  -- The request's latest journal record. Not part of `response`, which is erased with the user that it describes and is
  -- encoded before the record has an index.
  journal_index bigint,
  CONSTRAINT requests_pkey PRIMARY KEY (caller, request_id)
);
-- Find the requests that hold a user's personal data, to erase it.
CREATE INDEX requests_resource ON requests (resource_id) WHERE resource_id IS NOT NULL;
CREATE INDEX requests_other_user ON requests (other_user_id) WHERE other_user_id IS NOT NULL;

GRANT SELECT, INSERT, UPDATE (transaction_id, resource_id, other_user_id, request, response, failure, journal_index)
  ON requests TO :service_role;


-- Users and wallets ---------------------------------------------------------------------------------------------------

-- A user. Name, emails and metadata are empty once the user is deleted.
CREATE TABLE users (
  id uuid NOT NULL,
  name varchar(200) NOT NULL,
  email varchar(254),
  -- The email in lower case.
  email_key varchar(254),
  metadata jsonb NOT NULL,
  revision integer NOT NULL,
  create_time timestamptz NOT NULL,
  update_time timestamptz NOT NULL,
  delete_time timestamptz,
  CONSTRAINT users_pkey PRIMARY KEY (id),
  CONSTRAINT users_email_key UNIQUE (email_key)
);

-- What a wallet has beside the account of the same id.
CREATE TABLE wallets (
  id uuid NOT NULL,
  user_id uuid NOT NULL,
  label varchar(200) NOT NULL,
  metadata jsonb NOT NULL,
  -- The reason for the latest change of state; empty if there was none.
  state_reason varchar(500) NOT NULL,
  revision integer NOT NULL,
  create_time timestamptz NOT NULL,
  update_time timestamptz NOT NULL,
  CONSTRAINT wallets_pkey PRIMARY KEY (id)
);
-- Lists the wallets of a user.
CREATE INDEX wallets_user_id ON wallets (user_id, id);

GRANT SELECT, INSERT, UPDATE ON users, wallets TO :service_role;


-- Holds ---------------------------------------------------------------------------------------------------------------

-- Reserved money. Its id is that of the transaction that made it.
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
  -- A random number that each change replaces.
  revision bigint NOT NULL,
  CONSTRAINT holds_pkey PRIMARY KEY (id),
  CONSTRAINT holds_captured CHECK (captured >= 0 AND captured <= amount)
);
-- Lists the holds of an account.
CREATE INDEX holds_account ON holds (account_id, id);
-- Lists the active holds of an account, however many have ended.
CREATE INDEX holds_active ON holds (account_id, id) WHERE state = 1;
-- Finds the holds that expire next.
CREATE INDEX holds_due ON holds (expire_time, id) WHERE state = 1;

GRANT SELECT, INSERT, UPDATE (amount, captured, state, expire_time, update_time, revision) ON holds TO :service_role;


-- Limits and rates ----------------------------------------------------------------------------------------------------

-- What was used of a velocity limit in one slice, a hundredth of its window: a hundred numbers tell what was used, however
-- much there was.
CREATE TABLE velocity_usage (
  account_id uuid NOT NULL,
  name varchar(32) NOT NULL,
  slice bigint NOT NULL,
  amount bigint NOT NULL,
  count bigint NOT NULL,
  CONSTRAINT velocity_usage_pkey PRIMARY KEY (account_id, name, slice),
  CONSTRAINT velocity_usage_not_negative CHECK (amount >= 0 AND count >= 0)
);

-- A change of limits, which is never changed itself. The key lists the changes of an account or a currency in their order.
CREATE TABLE limit_changes (
  id uuid NOT NULL,
  subject_id uuid NOT NULL,
  caller uuid NOT NULL,
  reason varchar(500) NOT NULL,
  limits text NOT NULL,
  create_time timestamptz NOT NULL,
  CONSTRAINT limit_changes_pkey PRIMARY KEY (subject_id, id)
);

-- An exchange rate. It is never changed: a rate that becomes valid later takes its place, so that the rate of any past time
-- remains known. Of two that become valid at the same time the later one (by id) counts.
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

-- Usage that no window reaches any more is deleted.
GRANT SELECT, INSERT, UPDATE (amount, count), DELETE ON velocity_usage TO :service_role;
GRANT SELECT, INSERT ON limit_changes, rates TO :service_role;


-- Metadata and effective times ----------------------------------------------------------------------------------------
--
-- Triggers fill transaction_metadata and dated_entries with the rights of the owner, so that the service's role cannot write
-- them, and a posting without metadata and effective time does no work for them.

-- A pair of a transaction's current metadata. Its keys list the transactions with a pair in the order of the journal without
-- sorting. A key of 64 and a value of 512 characters take at most 2,304 bytes; an index takes up to 2,704.
CREATE TABLE transaction_metadata (
  key varchar(64) NOT NULL,
  value varchar(512) NOT NULL,
  journal_index bigint NOT NULL,
  transaction_id uuid NOT NULL,
  CONSTRAINT transaction_metadata_pkey PRIMARY KEY (key, journal_index)
);
CREATE INDEX transaction_metadata_value ON transaction_metadata (key, value, journal_index);

-- A change of a transaction's metadata, which is never changed itself.
CREATE TABLE metadata_changes (
  transaction_id uuid NOT NULL,
  revision integer NOT NULL,
  caller uuid NOT NULL,
  set_pairs jsonb NOT NULL,
  removed_keys text[] NOT NULL,
  metadata jsonb NOT NULL,
  create_time timestamptz NOT NULL,
  CONSTRAINT metadata_changes_pkey PRIMARY KEY (transaction_id, revision),
  CONSTRAINT metadata_changes_revision CHECK (revision > 0)
);

-- An entry of a transaction that has an effective time: the correction of balances by effective time. A balance as of a time is
-- corrected by the entries that were recorded on its other side. Their spans, the distances of both times in powers of two,
-- limit what is read to the entries near that time, however many there are.
CREATE TABLE dated_entries (
  account_id uuid NOT NULL,
  sequence bigint NOT NULL,
  transaction_id uuid NOT NULL,
  amount bigint NOT NULL,
  effective_time timestamptz NOT NULL,
  create_time timestamptz NOT NULL,
  span smallint NOT NULL,
  CONSTRAINT dated_entries_pkey PRIMARY KEY (account_id, sequence)
);
-- Finds the corrections of a balance.
CREATE INDEX dated_entries_span ON dated_entries (account_id, span, effective_time);
-- Lists an account's dated entries by effective time.
CREATE INDEX dated_entries_effective ON dated_entries (account_id, effective_time, sequence);

CREATE FUNCTION dated_span(p_lag interval) RETURNS smallint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT (CASE WHEN p_lag > interval '0' THEN 1 WHEN p_lag < interval '0' THEN -1 ELSE 0 END
    * length(ltrim(ceil(abs(extract(epoch FROM p_lag)))::bigint::bit(64)::text, '0')))::smallint
$$;
COMMENT ON FUNCTION dated_span(interval) IS
  'Returns the number of bits of the interval''s length in seconds, rounded up; negative for a negative interval.';

CREATE FUNCTION keep_metadata() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  INSERT INTO transaction_metadata (key, value, journal_index, transaction_id)
  SELECT key, value, NEW.journal_index, NEW.id FROM jsonb_each_text(NEW.metadata);
  RETURN NULL;
END $$;
COMMENT ON FUNCTION keep_metadata() IS 'Records the metadata of a new transaction for finding.';

CREATE FUNCTION keep_changed_metadata() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  v_index bigint;
BEGIN
  SELECT journal_index INTO STRICT v_index FROM transactions WHERE id = NEW.transaction_id;
  DELETE FROM transaction_metadata WHERE key = ANY (NEW.removed_keys) AND journal_index = v_index;
  INSERT INTO transaction_metadata (key, value, journal_index, transaction_id)
  SELECT key, value, v_index, NEW.transaction_id FROM jsonb_each_text(NEW.set_pairs)
  ON CONFLICT (key, journal_index) DO UPDATE SET value = excluded.value;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION keep_changed_metadata() IS 'Applies a change of metadata to what transactions are found by.';

CREATE FUNCTION keep_dated_entries() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  -- Of the steps of a hold only a capture (kind 8) moves money.
  v_moved bigint := CASE WHEN NEW.hold_id IS NULL OR NEW.kind = 8 THEN NEW.amount ELSE 0 END;
BEGIN
  INSERT INTO dated_entries (account_id, sequence, transaction_id, amount, effective_time, create_time, span)
  SELECT side.account_id, side.sequence, NEW.id, side.amount, NEW.effective_time, NEW.create_time,
    dated_span(NEW.create_time - NEW.effective_time)
  FROM (
    VALUES (NEW.debit_account_id, NEW.debit_sequence, v_moved), (NEW.credit_account_id, NEW.credit_sequence, -v_moved)
    UNION ALL
    SELECT * FROM unnest(NEW.leg_account_ids, NEW.leg_sequences, NEW.leg_amounts)
  ) AS side (account_id, sequence, amount)
  WHERE side.sequence IS NOT NULL;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION keep_dated_entries() IS 'Records the entries of a new transaction that has an effective time.';

CREATE TRIGGER transactions_keep_metadata AFTER INSERT ON transactions
  FOR EACH ROW WHEN (NEW.metadata IS NOT NULL) EXECUTE FUNCTION keep_metadata();
CREATE TRIGGER transactions_keep_dated_entries AFTER INSERT ON transactions
  FOR EACH ROW WHEN (NEW.effective_time IS NOT NULL AND NEW.state = 1) EXECUTE FUNCTION keep_dated_entries();
CREATE TRIGGER metadata_changes_keep_metadata AFTER INSERT ON metadata_changes
  FOR EACH ROW EXECUTE FUNCTION keep_changed_metadata();

GRANT SELECT ON transaction_metadata, dated_entries TO :service_role;
GRANT SELECT, INSERT ON metadata_changes TO :service_role;


-- Schedules -----------------------------------------------------------------------------------------------------------

-- A movement that is made at times set in advance.
CREATE TABLE schedules (
  id uuid NOT NULL,
  state smallint NOT NULL,
  kind smallint NOT NULL,
  debit_account_id uuid NOT NULL,
  credit_account_id uuid NOT NULL,
  system_account varchar(32),
  currency_code varchar(12) NOT NULL,
  amount bigint NOT NULL,
  is_up_to boolean NOT NULL,
  description varchar(500) NOT NULL,
  metadata jsonb NOT NULL,
  once_time timestamptz,
  cron varchar(200),
  time_zone varchar(64),
  start_time timestamptz,
  end_time timestamptz,
  max_runs integer,
  on_insufficient_funds smallint NOT NULL,
  retry_interval_micros bigint NOT NULL,
  retry_max integer NOT NULL,
  planned_time timestamptz,
  due_time timestamptz,
  attempt integer NOT NULL,
  tries integer NOT NULL,
  run_count integer NOT NULL,
  failure text,
  create_time timestamptz NOT NULL,
  update_time timestamptz NOT NULL,
  CONSTRAINT schedules_pkey PRIMARY KEY (id),
  CONSTRAINT schedules_amount CHECK (amount > 0),
  CONSTRAINT schedules_when CHECK ((once_time IS NULL) = (cron IS NOT NULL AND time_zone IS NOT NULL)),
  CONSTRAINT schedules_open_is_due CHECK ((state <= 2) = (planned_time IS NOT NULL AND due_time IS NOT NULL)),
  CONSTRAINT schedules_failed_has_failure CHECK ((state = 5) = (failure IS NOT NULL))
);
-- Finds the runs that are due.
CREATE INDEX schedules_due ON schedules (due_time, id) WHERE state = 1;
-- List the schedules of an account.
CREATE INDEX schedules_debit ON schedules (debit_account_id, id);
CREATE INDEX schedules_credit ON schedules (credit_account_id, id);

-- The outcome of a schedule at one of its times. The unique key lets each time have one, whichever server writes it.
CREATE TABLE schedule_runs (
  id uuid NOT NULL,
  schedule_id uuid NOT NULL,
  planned_time timestamptz NOT NULL,
  state smallint NOT NULL,
  attempts integer NOT NULL,
  request_id uuid NOT NULL,
  transaction_id uuid NOT NULL,
  failure text,
  create_time timestamptz NOT NULL,
  update_time timestamptz NOT NULL,
  CONSTRAINT schedule_runs_pkey PRIMARY KEY (id),
  CONSTRAINT schedule_runs_planned UNIQUE (schedule_id, planned_time),
  CONSTRAINT schedule_runs_attempts CHECK (attempts > 0),
  CONSTRAINT schedule_runs_posted CHECK ((state = 1) = (failure IS NULL))
);

GRANT SELECT, INSERT, UPDATE (state, planned_time, due_time, attempt, tries, run_count, failure, update_time)
  ON schedules TO :service_role;
GRANT SELECT, INSERT, UPDATE (state, attempts, request_id, transaction_id, failure, update_time)
  ON schedule_runs TO :service_role;


-- Balance alerts ------------------------------------------------------------------------------------------------------

-- A threshold of a wallet's balance. Entries between start_index and end_index, both exclusive, can cross it.
CREATE TABLE balance_alerts (
  id uuid NOT NULL,
  account_id uuid NOT NULL,
  currency_code varchar(12) NOT NULL,
  threshold bigint NOT NULL,
  direction smallint NOT NULL,
  balance smallint NOT NULL,
  start_index bigint NOT NULL,
  end_index bigint,
  create_time timestamptz NOT NULL,
  delete_time timestamptz,
  CONSTRAINT balance_alerts_pkey PRIMARY KEY (id),
  CONSTRAINT balance_alerts_deleted CHECK ((end_index IS NULL) = (delete_time IS NULL))
);
-- Finds the alerts of an account.
CREATE INDEX balance_alerts_account ON balance_alerts (account_id, id);
-- Finds the latest end of all alerts, so that the reader learns that none is open without reading those that were deleted.
CREATE INDEX balance_alerts_end ON balance_alerts (end_index);

-- A crossing of a threshold. The unique key lets each entry cross it once, whichever server writes it.
CREATE TABLE balance_alert_events (
  id uuid NOT NULL,
  alert_id uuid NOT NULL,
  sequence bigint NOT NULL,
  transaction_id uuid NOT NULL,
  journal_index bigint NOT NULL,
  direction smallint NOT NULL,
  balance_before bigint NOT NULL,
  balance_after bigint NOT NULL,
  create_time timestamptz NOT NULL,
  CONSTRAINT balance_alert_events_pkey PRIMARY KEY (id),
  CONSTRAINT balance_alert_events_once UNIQUE (alert_id, sequence)
);

GRANT SELECT, INSERT, UPDATE (end_index, delete_time) ON balance_alerts TO :service_role;
GRANT SELECT, INSERT ON balance_alert_events TO :service_role;


-- Integrity checks ----------------------------------------------------------------------------------------------------

-- A completed check. The number orders the checks, since two may end within a microsecond.
CREATE TABLE integrity_checks (
  number bigint NOT NULL,
  from_index bigint NOT NULL,
  journal_size bigint NOT NULL,
  fault_count bigint NOT NULL,
  -- The end of what the checks so far have covered without a gap and without a fault: the next one begins there.
  checked_index bigint NOT NULL,
  create_time timestamptz NOT NULL,
  CONSTRAINT integrity_checks_pkey PRIMARY KEY (number)
);

GRANT SELECT, INSERT ON integrity_checks TO :service_role;
