import type { MigrationInterface, QueryRunner } from "typeorm";
import { forServiceRole } from "./service-role.js";

/**
 * What transactions are found by, changes of their metadata, and what balances by effective time are corrected by.
 *
 * Why triggers: servers of every version fill the tables, and a posting without metadata and effective time pays nothing. They run
 * with the owner's rights, so the service's role needs none to write these tables.
 * Why a row for each pair: a btree in the order of the journal gives a page of those with a pair without sorting all of them. A key of
 * 64 and a value of 512 characters take at most 2,304 bytes, fewer than the 2,704 that an index takes.
 * Why spans: a balance at a time is corrected by the entries that were recorded on its other side. With entries in classes of how far
 * both times are apart, only rows near the time are read, however many there are.
 */
export class Finding1766100000000 implements MigrationInterface {
  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(forServiceRole(queryRunner, TABLES));
    await queryRunner.query(FUNCTIONS);
    await queryRunner.query(TRIGGERS);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      DROP TRIGGER transactions_keep_metadata ON transactions;
      DROP TRIGGER transactions_keep_dated_entries ON transactions;
      DROP TABLE metadata_changes, transaction_metadata, dated_entries;
      DROP FUNCTION keep_metadata();
      DROP FUNCTION keep_changed_metadata();
      DROP FUNCTION keep_dated_entries();
      DROP FUNCTION dated_span(interval);
    `);
  }
}

const TABLES = `
CREATE TABLE transaction_metadata (
  key varchar(64) NOT NULL,
  value varchar(512) NOT NULL,
  journal_index bigint NOT NULL,
  transaction_id uuid NOT NULL,
  CONSTRAINT transaction_metadata_pkey PRIMARY KEY (key, journal_index)
);
CREATE INDEX transaction_metadata_value ON transaction_metadata (key, value, journal_index);

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
CREATE INDEX dated_entries_span ON dated_entries (account_id, span, effective_time);
CREATE INDEX dated_entries_effective ON dated_entries (account_id, effective_time, sequence);

GRANT SELECT ON transaction_metadata, dated_entries TO :service_role;
GRANT SELECT, INSERT ON metadata_changes TO :service_role;
`;

const FUNCTIONS = `
CREATE FUNCTION dated_span(p_lag interval) RETURNS smallint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT (CASE WHEN p_lag > interval '0' THEN 1 WHEN p_lag < interval '0' THEN -1 ELSE 0 END
    * length(ltrim(ceil(abs(extract(epoch FROM p_lag)))::bigint::bit(64)::text, '0')))::smallint
$$;
COMMENT ON FUNCTION dated_span(interval) IS
  'How many bits the length of the interval has in seconds, rounded up; negative when the interval is.';

CREATE FUNCTION keep_metadata() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  INSERT INTO transaction_metadata (key, value, journal_index, transaction_id)
  SELECT key, value, NEW.journal_index, NEW.id FROM jsonb_each_text(NEW.metadata);
  RETURN NULL;
END $$;
COMMENT ON FUNCTION keep_metadata() IS 'Writes down the pairs that a new transaction is found by.';

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
COMMENT ON FUNCTION keep_changed_metadata() IS 'Changes the pairs that a transaction is found by.';

CREATE FUNCTION keep_dated_entries() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  -- Steps of holds other than captures move nothing.
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
COMMENT ON FUNCTION keep_dated_entries() IS
  'Writes down the entries of a new transaction whose effective time was given, for balances by effective time.';
`;

const TRIGGERS = `
CREATE TRIGGER transactions_keep_metadata AFTER INSERT ON transactions
  FOR EACH ROW WHEN (NEW.metadata IS NOT NULL) EXECUTE FUNCTION keep_metadata();
CREATE TRIGGER transactions_keep_dated_entries AFTER INSERT ON transactions
  FOR EACH ROW WHEN (NEW.effective_time IS NOT NULL AND NEW.state = 1) EXECUTE FUNCTION keep_dated_entries();
CREATE TRIGGER metadata_changes_keep_metadata AFTER INSERT ON metadata_changes
  FOR EACH ROW EXECUTE FUNCTION keep_changed_metadata();
`;
