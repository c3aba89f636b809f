import { randomBytes, randomUUID } from "node:crypto";
import type { MigrationInterface, QueryRunner } from "typeorm";
import { forServiceRole } from "./service-role.js";
import { systemAccountId } from "../src/base/ids.js";
import { ISO_4217 } from "./iso-4217.js";

/**
 * The books: users, wallets, accounts, transactions, entries, requests, the journal.
 *
 * Why no foreign keys on accounts, transactions, entries and requests: they more than double what a posting costs the
 * database; posting holds the account rows locked and checks them itself, and the integrity check proves it.
 * Why fillfactor 50 on accounts: nearly every update of a balance then stays in its page and touches no index.
 * Why a role of the service: the service takes it on in each connection, and it has no right to change or delete an
 * entry, a transaction, a journal record or a request's key.
 */
export class Books1764000000000 implements MigrationInterface {
  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(SCHEMA);
    await queryRunner.query(FUNCTIONS);
    await queryRunner.query(forServiceRole(queryRunner, GRANTS));
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

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      DROP FUNCTION entry_sequence_before_index(uuid, bigint);
      DROP FUNCTION journal_index_from_time(timestamptz);
      DROP TABLE journal_batches, journal_head, requests, entries, transactions, accounts, wallets, users, currencies, installation;
    `);
    // The role may serve other databases of the same cluster, so it stays.
  }
}

/** Name and normal side (1 debit, 2 credit) of the accounts that each currency has from the start. */
const SYSTEM_ACCOUNTS: readonly (readonly [name: string, side: 1 | 2])[] = [
  ["cash", 1],
  ["fees", 2],
  ["fx", 2],
  ["opening", 1],
];

const SCHEMA = `
CREATE TABLE installation (
  id smallint NOT NULL DEFAULT 1,
  ledger_id uuid NOT NULL,
  secret bytea NOT NULL,
  CONSTRAINT installation_pkey PRIMARY KEY (id),
  CONSTRAINT installation_one_row CHECK (id = 1)
);

CREATE TABLE currencies (
  code varchar(12) NOT NULL,
  exponent smallint NOT NULL,
  name varchar(100) NOT NULL,
  custom boolean NOT NULL,
  CONSTRAINT currencies_pkey PRIMARY KEY (code),
  CONSTRAINT currencies_exponent_range CHECK (exponent >= 0 AND exponent <= 18)
);

CREATE TABLE users (
  id uuid NOT NULL,
  name varchar(200) NOT NULL,
  email varchar(254),
  email_key varchar(254),
  metadata jsonb NOT NULL,
  revision integer NOT NULL,
  create_time timestamptz NOT NULL,
  update_time timestamptz NOT NULL,
  delete_time timestamptz,
  CONSTRAINT users_pkey PRIMARY KEY (id),
  CONSTRAINT users_email_key UNIQUE (email_key)
);

CREATE TABLE wallets (
  id uuid NOT NULL,
  user_id uuid NOT NULL,
  label varchar(200) NOT NULL,
  metadata jsonb NOT NULL,
  revision integer NOT NULL,
  create_time timestamptz NOT NULL,
  update_time timestamptz NOT NULL,
  CONSTRAINT wallets_pkey PRIMARY KEY (id)
);
CREATE INDEX wallets_user_id ON wallets (user_id, id);

CREATE TABLE accounts (
  id uuid NOT NULL,
  system_account varchar(32),
  currency_code varchar(12) NOT NULL,
  normal_side smallint NOT NULL,
  state smallint NOT NULL DEFAULT 1,
  balance bigint NOT NULL DEFAULT 0,
  pending_debits bigint NOT NULL DEFAULT 0,
  pending_credits bigint NOT NULL DEFAULT 0,
  min_balance bigint,
  max_balance bigint,
  sequence bigint NOT NULL DEFAULT 0,
  revision bigint NOT NULL DEFAULT 0,
  CONSTRAINT accounts_pkey PRIMARY KEY (id),
  CONSTRAINT accounts_normal_side CHECK (normal_side = 1 OR normal_side = 2),
  CONSTRAINT accounts_min_balance CHECK (min_balance IS NULL OR balance >= min_balance),
  CONSTRAINT accounts_max_balance CHECK (max_balance IS NULL OR balance <= max_balance),
  CONSTRAINT accounts_pending CHECK (pending_debits >= 0 AND pending_credits >= 0),
  CONSTRAINT accounts_sequence CHECK (sequence >= 0)
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX accounts_system ON accounts (currency_code, system_account) WHERE system_account IS NOT NULL;
CREATE INDEX accounts_system_id ON accounts (id) WHERE system_account IS NOT NULL;

CREATE TABLE transactions (
  id uuid NOT NULL,
  journal_index bigint NOT NULL,
  kind smallint NOT NULL,
  state smallint NOT NULL,
  caller uuid NOT NULL,
  request_id uuid NOT NULL,
  debit_account_id uuid NOT NULL,
  credit_account_id uuid NOT NULL,
  debit_sequence bigint,
  credit_sequence bigint,
  currency_code varchar(12) NOT NULL,
  amount bigint NOT NULL,
  description varchar(500) NOT NULL,
  metadata jsonb,
  create_time timestamptz NOT NULL,
  effective_time timestamptz,
  failure text,
  CONSTRAINT transactions_pkey PRIMARY KEY (id),
  CONSTRAINT transactions_amount CHECK (amount > 0),
  CONSTRAINT transactions_rejected_has_failure CHECK ((state = 2) = (failure IS NOT NULL)),
  CONSTRAINT transactions_posted_has_entries
    CHECK ((state = 1) = (debit_sequence IS NOT NULL AND credit_sequence IS NOT NULL))
);
CREATE INDEX transactions_rejected_debit ON transactions (debit_account_id, journal_index) WHERE state = 2;
CREATE INDEX transactions_rejected_credit ON transactions (credit_account_id, journal_index) WHERE state = 2;

CREATE TABLE entries (
  account_id uuid NOT NULL,
  sequence bigint NOT NULL,
  transaction_id uuid NOT NULL,
  journal_index bigint NOT NULL,
  amount bigint NOT NULL,
  balance_after bigint NOT NULL,
  create_time timestamptz NOT NULL,
  CONSTRAINT entries_pkey PRIMARY KEY (account_id, sequence),
  CONSTRAINT entries_amount CHECK (amount <> 0),
  CONSTRAINT entries_sequence CHECK (sequence > 0)
);

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
  CONSTRAINT requests_pkey PRIMARY KEY (caller, request_id)
);
CREATE INDEX requests_resource ON requests (resource_id) WHERE resource_id IS NOT NULL;
CREATE INDEX requests_other_user ON requests (other_user_id) WHERE other_user_id IS NOT NULL;

CREATE TABLE journal_head (
  id smallint NOT NULL DEFAULT 1,
  size bigint NOT NULL DEFAULT 0,
  last_time timestamptz NOT NULL,
  CONSTRAINT journal_head_pkey PRIMARY KEY (id),
  CONSTRAINT journal_head_one_row CHECK (id = 1),
  CONSTRAINT journal_head_size CHECK (size >= 0)
);

CREATE TABLE journal_batches (
  first_index bigint NOT NULL,
  record_ids uuid[] NOT NULL,
  record_types smallint[] NOT NULL,
  create_time timestamptz NOT NULL,
  CONSTRAINT journal_batches_pkey PRIMARY KEY (first_index),
  CONSTRAINT journal_batches_same_length CHECK (cardinality(record_ids) = cardinality(record_types)),
  CONSTRAINT journal_batches_not_empty CHECK (cardinality(record_ids) > 0)
);
`;

// An account's entries are dense in sequence, and journal_index grows along it; time never falls along the journal. So a
// binary search over a primary key finds a place in any history in about log2(n) look-ups, without another index.
const FUNCTIONS = `
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
  'The sequence of the latest entry of the account whose journal index is less than the given one; 0 for none.';

CREATE FUNCTION journal_index_from_time(p_time timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
  v_low bigint := 0;
  v_high bigint;
  v_first bigint;
  v_end bigint;
  v_time timestamptz;
BEGIN
  SELECT size INTO STRICT v_high FROM journal_head;
  WHILE v_low < v_high LOOP
    SELECT first_index, first_index + cardinality(record_ids), create_time INTO STRICT v_first, v_end, v_time
    FROM journal_batches WHERE first_index <= (v_low + v_high) / 2 ORDER BY first_index DESC LIMIT 1;
    IF v_time < p_time THEN v_low := v_end; ELSE v_high := v_first; END IF;
  END LOOP;
  RETURN v_low;
END $$;
COMMENT ON FUNCTION journal_index_from_time(timestamptz) IS
  'The index of the first journal record that was appended at the given time or later; the journal''s size for none.';
`;

const GRANTS = `
GRANT USAGE ON SCHEMA public TO :service_role;
GRANT SELECT ON installation, currencies, users, wallets, accounts, transactions, entries, requests, journal_head,
  journal_batches TO :service_role;
GRANT INSERT ON currencies, users, wallets, accounts, transactions, entries, requests, journal_batches TO :service_role;
GRANT UPDATE ON users, wallets, accounts, journal_head TO :service_role;
GRANT UPDATE (transaction_id, resource_id, other_user_id, request, response, failure) ON requests TO :service_role;
`;
