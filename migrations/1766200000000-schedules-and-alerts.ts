import type { MigrationInterface, QueryRunner } from "typeorm";
import { forServiceRole } from "./service-role.js";

/**
 * Schedules: movements that are made at times set before, and their runs. Alerts: thresholds of balances, what crossed them,
 * and up to where the journal was read for it.
 *
 * Why a run is unique by schedule and planned time, and an event by alert and entry: what must happen once cannot be written
 * twice, whoever tries.
 * Why the reader starts at the journal's end: there are no alerts before it.
 */
export class SchedulesAndAlerts1766200000000 implements MigrationInterface {
  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(forServiceRole(queryRunner, SCHEMA));
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(
      "DROP TABLE schedule_runs, schedules, balance_alert_events, balance_alerts, reader_cursors",
    );
  }
}

const SCHEMA = `
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
CREATE INDEX schedules_due ON schedules (due_time, id) WHERE state = 1;
CREATE INDEX schedules_debit ON schedules (debit_account_id, id);
CREATE INDEX schedules_credit ON schedules (credit_account_id, id);

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
CREATE INDEX balance_alerts_account ON balance_alerts (account_id, id);

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

CREATE TABLE reader_cursors (
  name varchar(32) NOT NULL,
  next_index bigint NOT NULL,
  CONSTRAINT reader_cursors_pkey PRIMARY KEY (name)
);
INSERT INTO reader_cursors (name, next_index) SELECT 'balance_alerts', size FROM journal_head;

GRANT SELECT, INSERT ON schedules, schedule_runs, balance_alerts, balance_alert_events TO :service_role;
GRANT SELECT ON reader_cursors TO :service_role;
GRANT UPDATE (state, planned_time, due_time, attempt, tries, run_count, failure, update_time) ON schedules TO :service_role;
GRANT UPDATE (state, attempts, request_id, transaction_id, failure, update_time) ON schedule_runs TO :service_role;
GRANT UPDATE (end_index, delete_time) ON balance_alerts TO :service_role;
GRANT UPDATE (next_index) ON reader_cursors TO :service_role;
`;
