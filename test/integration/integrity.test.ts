import { credentials } from "@grpc/grpc-js";
import { expect } from "chai";
import type pg from "pg";
import { AlertBalance, AlertDirection } from "../../generated/grey/alert/v1/alert_service.js";
import { CreateCurrencyRequest } from "../../generated/grey/ledger/v1/currency.js";
import { IntegrityLaw, type CheckIntegrityResponse } from "../../generated/grey/ledger/v1/integrity.js";
import { LedgerServiceClient } from "../../generated/grey/ledger/v1/ledger_service.js";
import { SetLimitsRequest } from "../../generated/grey/ledger/v1/limits.js";
import { CreateScheduleRequest, InsufficientFundsPolicy } from "../../generated/grey/schedule/v1/schedule.js";
import { HoldRequest } from "../../generated/grey/transaction/v1/hold.js";
import { PostTransactionRequest } from "../../generated/grey/transaction/v1/compound.js";
import { newId, systemAccountId, type Uuid } from "../../src/base/ids.js";
import { connect, refusal, type Clients } from "../support/client.js";
import {
  depositRequest,
  makeUser,
  makeWallet,
  money,
  openAdmin,
  transferRequest,
  withdrawRequest,
} from "../support/ledger.js";
import { eventually } from "../support/process.js";
import { startServer, type TestServer } from "../support/server.js";
import { follow } from "../support/watch.js";

const TABLES = [
  "currencies",
  "users",
  "wallets",
  "accounts",
  "transactions",
  "holds",
  "entries",
  "requests",
  "journal_head",
  "journal_batches",
  "transaction_metadata",
  "metadata_changes",
  "dated_entries",
  "rejected_legs",
  "velocity_usage",
  "limit_changes",
  "schedules",
  "schedule_runs",
  "balance_alerts",
  "balance_alert_events",
];

/** The rows of the suite's ledger, by the names that the tampering uses. */
interface Fixture {
  /** Two USD wallets; A paid B. */
  readonly a: Uuid;
  readonly b: Uuid;
  /** The last entry of A and of B: 30.00 USD from A to B. */
  readonly paid: Uuid;
  readonly paidRequest: Uuid;
  /** The one before it. */
  readonly paidBefore: Uuid;
  readonly rejected: Uuid;
  /** The journal indexes of `paid` and of the record after it, and the journal's size. */
  readonly paidIndex: bigint;
  readonly nextIndex: bigint;
  readonly size: bigint;
  /** A USD wallet, and the hold of 5 minor units on its money. */
  readonly holder: Uuid;
  readonly held: Uuid;
  /** A backdated deposit, with metadata that was changed twice. */
  readonly dated: Uuid;
  /** From C to D, with a fee; posted, and rejected. C has a velocity limit. */
  readonly c: Uuid;
  readonly d: Uuid;
  readonly compound: Uuid;
  readonly refusedCompound: Uuid;
  /** A schedule, its one run and the transaction of that; and a schedule whose run was rejected. */
  readonly schedule: Uuid;
  readonly run: Uuid;
  readonly runTransaction: Uuid;
  readonly refusedSchedule: Uuid;
  readonly refusedRun: Uuid;
  /** An alert with an event downwards and one upwards. */
  readonly alert: Uuid;
}

type Named = readonly [law: keyof typeof IntegrityLaw, subject: string | bigint];

interface Tampering {
  readonly title: string;
  /** The statements of an attacker with all rights. */
  readonly sql: (fixture: Fixture) => string;
  /** Every law that this breaks, and its subject; no other is named. */
  readonly named: (fixture: Fixture) => readonly Named[];
  /** Those of them that a check from the journal's second record on does not name: no key leads there. */
  readonly unnamedSince?: (fixture: Fixture) => readonly Named[];
}

/** An id that names nothing. */
const NOBODY = "01890a5d-ac96-774b-bcce-b302099a8057";

const TAMPERINGS: readonly Tampering[] = [
  {
    title: "the usage of a velocity limit is lowered",
    sql: ({ c }) => `UPDATE velocity_usage SET amount = amount - 1, count = count - 1 WHERE account_id = '${c}'`,
    named: ({ c }) => [["VELOCITY_MATCHES_TRANSACTIONS", c]],
  },
  {
    title: "the usage of a velocity limit is deleted",
    sql: ({ c }) => `DELETE FROM velocity_usage WHERE account_id = '${c}'`,
    named: ({ c }) => [["VELOCITY_MATCHES_TRANSACTIONS", c]],
  },
  {
    title: "a velocity limit is removed from its account",
    sql: ({ c }) => `UPDATE accounts SET velocity_limits = NULL WHERE id = '${c}'`,
    named: ({ c }) => [["VELOCITY_MATCHES_TRANSACTIONS", c]],
  },
  {
    title: "a leg is edited",
    sql: ({ compound }) => `UPDATE transactions SET leg_amounts[2] = leg_amounts[2] - 1 WHERE id = '${compound}'`,
    named: ({ compound }) => [["ENTRIES_MATCH_STATE", compound]],
  },
  {
    title: "a leg is passed off as another currency's",
    sql: ({ compound }) => `UPDATE transactions SET leg_currency_codes[3] = 'EUR' WHERE id = '${compound}'`,
    named: ({ compound }) => [["ENTRY_HAS_OWNERS", compound]],
  },
  {
    title: "a rejected leg is hidden from its account",
    sql: ({ d, refusedCompound }) =>
      `DELETE FROM rejected_legs WHERE transaction_id = '${refusedCompound}' AND account_id = '${d}'`,
    named: ({ refusedCompound }) => [["ENTRIES_MATCH_STATE", refusedCompound]],
  },
  {
    title: "a transfer is passed off as the reversal of another one",
    sql: ({ paid, paidBefore }) => `UPDATE transactions SET reverses_id = '${paidBefore}' WHERE id = '${paid}'`,
    named: ({ paid, paidBefore }) => [
      ["REVERSALS_WITHIN_ORIGINAL", paidBefore],
      ["REVERSALS_WITHIN_ORIGINAL", paid],
    ],
  },
  {
    title: "a hold is raised",
    sql: ({ held }) => `UPDATE holds SET amount = amount + 1 WHERE id = '${held}'`,
    named: ({ holder, held }) => [
      ["PENDING_IS_SUM_OF_HOLDS", holder],
      ["HOLD_MATCHES_STEPS", held],
    ],
  },
  {
    title: "pending money is released without ending its hold",
    sql: ({ holder }) => `
      UPDATE entries SET pending_debits_after = NULL WHERE account_id = '${holder}'`,
    named: ({ holder }) => [["PENDING_IS_SUM_OF_HOLDS", holder]],
  },
  {
    title: "a hold's expiry is postponed",
    sql: ({ held }) => `UPDATE holds SET expire_time = expire_time + interval '1 day' WHERE id = '${held}'`,
    named: ({ held }) => [["HOLD_MATCHES_STEPS", held]],
  },
  {
    title: "a hold is deleted together with its pending amount",
    sql: ({ holder, held }) => `
      DELETE FROM holds WHERE id = '${held}';
      UPDATE entries SET pending_debits_after = NULL WHERE account_id = '${holder}'`,
    named: ({ held }) => [["HOLD_MATCHES_STEPS", held]],
  },
  {
    title: "a rejected transaction names a hold that does not exist",
    sql: ({ rejected }) => `UPDATE transactions SET hold_id = '${NOBODY}' WHERE id = '${rejected}'`,
    named: () => [["HOLD_MATCHES_STEPS", NOBODY]],
  },
  {
    title: "the search index has another value for a key of a transaction",
    sql: ({ dated }) =>
      `UPDATE transaction_metadata SET value = 'x' WHERE transaction_id = '${dated}' AND key = 'kept'`,
    named: ({ dated }) => [["METADATA_PAIRS_MATCH", dated]],
  },
  {
    title: "the search index lacks the metadata of a transaction",
    sql: ({ dated }) => `DELETE FROM transaction_metadata WHERE transaction_id = '${dated}'`,
    named: ({ dated }) => [["METADATA_PAIRS_MATCH", dated]],
  },
  {
    title: "the search index has a key that the transaction never had",
    sql: ({ paid, paidIndex }) =>
      `INSERT INTO transaction_metadata (key, value, journal_index, transaction_id) VALUES ('a', 'b', ${paidIndex}, '${paid}')`,
    named: ({ paid }) => [["METADATA_PAIRS_MATCH", paid]],
    unnamedSince: ({ paid }) => [["METADATA_PAIRS_MATCH", paid]],
  },
  {
    title: "the metadata of a transaction that was changed is edited",
    sql: ({ dated }) => `UPDATE transactions SET metadata = '{"kept":"edited"}' WHERE id = '${dated}'`,
    named: ({ dated }) => [["METADATA_CHANGES_FOLLOW", dated]],
  },
  {
    title: "a change of metadata is edited together with the search index",
    sql: ({ dated }) => `
      UPDATE metadata_changes SET metadata = metadata || '{"kept":"edited"}' WHERE transaction_id = '${dated}' AND revision = 2;
      UPDATE transaction_metadata SET value = 'edited' WHERE transaction_id = '${dated}' AND key = 'kept'`,
    named: ({ dated }) => [["METADATA_CHANGES_FOLLOW", dated]],
  },
  {
    title: "the last change of metadata is undone in every table but the journal",
    sql: ({ dated }) => `
      DELETE FROM metadata_changes WHERE transaction_id = '${dated}' AND revision = 2;
      UPDATE transaction_metadata SET value = 'first' WHERE transaction_id = '${dated}' AND key = 'changed'`,
    named: ({ dated }) => [["METADATA_CHANGES_FOLLOW", dated]],
  },
  {
    title: "an entry is left out of balances by effective time",
    sql: ({ dated }) => `DELETE FROM dated_entries WHERE transaction_id = '${dated}' AND amount < 0`,
    named: ({ dated }) => [["DATED_ENTRIES_MATCH", dated]],
  },
  {
    title: "an entry is put into a span in which balances by effective time do not look for it",
    sql: ({ dated }) => `UPDATE dated_entries SET span = span - 1 WHERE transaction_id = '${dated}'`,
    named: ({ dated }) => [["DATED_ENTRIES_MATCH", dated]],
  },
  {
    title: "a transaction is backdated later",
    sql: ({ paid }) => `UPDATE transactions SET effective_time = create_time - interval '1 day' WHERE id = '${paid}'`,
    named: ({ paid }) => [["DATED_ENTRIES_MATCH", paid]],
  },
  {
    title: "an entry's amount is edited",
    sql: ({ a, paid }) =>
      `UPDATE entries SET amount = amount + 5 WHERE transaction_id = '${paid}' AND account_id = '${a}'`,
    named: ({ a, paid }) => [
      ["TRANSACTION_BALANCED", paid],
      ["ENTRIES_MATCH_STATE", paid],
      ["BALANCE_IS_SUM_OF_ENTRIES", a],
      ["RUNNING_BALANCE", a],
    ],
  },
  {
    title: "the amounts of both entries are edited, so that they still balance",
    sql: ({ paid }) => `UPDATE entries SET amount = amount + sign(amount) * 5 WHERE transaction_id = '${paid}'`,
    named: ({ a, b, paid }) => [
      ["ENTRIES_MATCH_STATE", paid],
      ["BALANCE_IS_SUM_OF_ENTRIES", a],
      ["BALANCE_IS_SUM_OF_ENTRIES", b],
      ["RUNNING_BALANCE", a],
      ["RUNNING_BALANCE", b],
    ],
  },
  {
    title: "entries and balances are edited together, so that all sums are right",
    sql: ({ paid }) => `
      UPDATE entries SET amount = amount + sign(amount) * 5, balance_after = balance_after - sign(amount) * 5 WHERE transaction_id = '${paid}'`,
    named: ({ paid }) => [["ENTRIES_MATCH_STATE", paid]],
  },
  {
    title: "a transaction's amount is edited",
    sql: ({ paid }) => `UPDATE transactions SET amount = amount + 1 WHERE id = '${paid}'`,
    named: ({ paid }) => [["ENTRIES_MATCH_STATE", paid]],
  },
  {
    title: "a balance is raised",
    sql: ({ a, paid }) =>
      `UPDATE entries SET balance_after = balance_after + 1 WHERE transaction_id = '${paid}' AND account_id = '${a}'`,
    named: ({ a }) => [
      ["BALANCE_IS_SUM_OF_ENTRIES", a],
      ["RUNNING_BALANCE", a],
      ["CURRENCY_SUMS_TO_ZERO", "USD"],
    ],
  },
  {
    title: "a balance is raised and another lowered by the same",
    sql: ({ paid }) =>
      `UPDATE entries SET balance_after = balance_after + sign(amount) WHERE transaction_id = '${paid}'`,
    named: ({ a, b }) => [
      ["BALANCE_IS_SUM_OF_ENTRIES", a],
      ["BALANCE_IS_SUM_OF_ENTRIES", b],
      ["RUNNING_BALANCE", a],
      ["RUNNING_BALANCE", b],
    ],
  },
  {
    title: "a balance of the past is edited",
    sql: ({ a, paidBefore }) =>
      `UPDATE entries SET balance_after = balance_after + 1 WHERE transaction_id = '${paidBefore}' AND account_id = '${a}'`,
    named: ({ a }) => [["RUNNING_BALANCE", a]],
  },
  {
    title: "an account's last entry is deleted",
    sql: ({ a, paid }) => `DELETE FROM entries WHERE transaction_id = '${paid}' AND account_id = '${a}'`,
    named: ({ paid }) => [
      ["TRANSACTION_BALANCED", paid],
      ["ENTRIES_MATCH_STATE", paid],
      ["CURRENCY_SUMS_TO_ZERO", "USD"],
    ],
  },
  {
    title: "an entry from the middle is deleted",
    sql: ({ a, paidBefore }) => `DELETE FROM entries WHERE transaction_id = '${paidBefore}' AND account_id = '${a}'`,
    named: ({ a, paidBefore }) => [
      ["TRANSACTION_BALANCED", paidBefore],
      ["ENTRIES_MATCH_STATE", paidBefore],
      ["BALANCE_IS_SUM_OF_ENTRIES", a],
      ["SEQUENCE_DENSE", a],
      ["RUNNING_BALANCE", a],
    ],
  },
  {
    title: "an entry is duplicated",
    sql: ({ a, paid }) =>
      `INSERT INTO entries SELECT * FROM entries WHERE transaction_id = '${paid}' AND account_id = '${a}'`,
    named: ({ a, paid }) => [
      ["TRANSACTION_BALANCED", paid],
      ["ENTRIES_MATCH_STATE", paid],
      ["BALANCE_IS_SUM_OF_ENTRIES", a],
      ["SEQUENCE_DENSE", a],
      ["RUNNING_BALANCE", a],
    ],
  },
  {
    title: "two entries of an account change places",
    sql: ({ a, paid, paidBefore }) => `
      UPDATE entries SET sequence = CASE transaction_id WHEN '${paid}' THEN sequence - 1 ELSE sequence + 1 END
      WHERE account_id = '${a}' AND transaction_id IN ('${paid}', '${paidBefore}')`,
    named: ({ a, paid, paidBefore }) => [
      ["ENTRIES_MATCH_STATE", paid],
      ["ENTRIES_MATCH_STATE", paidBefore],
      ["BALANCE_IS_SUM_OF_ENTRIES", a],
      ["RUNNING_BALANCE", a],
      ["CURRENCY_SUMS_TO_ZERO", "USD"],
    ],
  },
  {
    title: "an entry is moved to another account",
    sql: ({ b, paid }) => `
      UPDATE entries SET account_id = '${systemAccountId("USD", "fees")}', sequence = 1 WHERE transaction_id = '${paid}' AND account_id = '${b}'`,
    named: ({ paid }) => [
      ["ENTRIES_MATCH_STATE", paid],
      ["BALANCE_IS_SUM_OF_ENTRIES", systemAccountId("USD", "fees")],
      ["SEQUENCE_DENSE", systemAccountId("USD", "fees")],
      ["RUNNING_BALANCE", systemAccountId("USD", "fees")],
      ["CURRENCY_SUMS_TO_ZERO", "USD"],
    ],
  },
  {
    title: "an entry is backdated to before its predecessor",
    sql: ({ a, paid }) =>
      `UPDATE entries SET create_time = create_time - interval '1 day' WHERE transaction_id = '${paid}' AND account_id = '${a}'`,
    named: ({ a }) => [["RUNNING_BALANCE", a]],
  },
  {
    title: "an entry is renumbered",
    sql: ({ a, paid }) =>
      `UPDATE entries SET sequence = sequence + 1 WHERE transaction_id = '${paid}' AND account_id = '${a}'`,
    named: ({ a, paid }) => [
      ["ENTRIES_MATCH_STATE", paid],
      ["SEQUENCE_DENSE", a],
    ],
  },
  {
    title: "a balance is below its minimum",
    sql: ({ a }) =>
      `UPDATE accounts SET min_balance = (SELECT balance + 1 FROM account_states WHERE id = '${a}') WHERE id = '${a}'`,
    named: ({ a }) => [["WITHIN_LIMITS", a]],
  },
  {
    title: "a balance is above its maximum",
    sql: ({ b }) =>
      `UPDATE accounts SET max_balance = (SELECT balance - 1 FROM account_states WHERE id = '${b}') WHERE id = '${b}'`,
    named: ({ b }) => [["WITHIN_LIMITS", b]],
  },
  {
    title: "an account's currency is changed",
    sql: ({ b }) => `UPDATE accounts SET currency_code = 'CHF' WHERE id = '${b}'`,
    named: ({ paid, paidBefore }) => [
      ["TRANSACTION_BALANCED", paid],
      ["TRANSACTION_BALANCED", paidBefore],
      ["CURRENCY_SUMS_TO_ZERO", "CHF"],
      ["CURRENCY_SUMS_TO_ZERO", "USD"],
      ["ENTRY_HAS_OWNERS", paid],
      ["ENTRY_HAS_OWNERS", paidBefore],
    ],
  },
  {
    title: "an account is deleted",
    sql: ({ b }) => `DELETE FROM accounts WHERE id = '${b}'`,
    named: ({ paid, paidBefore }) => [
      ["TRANSACTION_BALANCED", paid],
      ["TRANSACTION_BALANCED", paidBefore],
      ["CURRENCY_SUMS_TO_ZERO", "USD"],
      ["ENTRY_HAS_OWNERS", paid],
      ["ENTRY_HAS_OWNERS", paidBefore],
    ],
  },
  {
    title: "a transaction is deleted",
    sql: ({ paid }) => `DELETE FROM transactions WHERE id = '${paid}'`,
    named: ({ paid, paidRequest }) => [
      ["ENTRY_HAS_OWNERS", paid],
      ["TRANSACTION_IN_JOURNAL", paid],
      ["REQUEST_ONCE", paidRequest],
    ],
    unnamedSince: ({ paidRequest }) => [["REQUEST_ONCE", paidRequest]],
  },
  {
    title: "a rejected transaction is deleted with its request",
    sql: ({ rejected }) =>
      `DELETE FROM requests WHERE transaction_id = '${rejected}'; DELETE FROM transactions WHERE id = '${rejected}'`,
    named: ({ rejected }) => [["TRANSACTION_IN_JOURNAL", rejected]],
  },
  {
    title: "the last transaction is undone in every table but the journal",
    sql: ({ paid }) => `
      DELETE FROM entries WHERE transaction_id = '${paid}'; DELETE FROM requests WHERE transaction_id = '${paid}';
      DELETE FROM transactions WHERE id = '${paid}'`,
    named: ({ paid }) => [["TRANSACTION_IN_JOURNAL", paid]],
  },
  {
    title: "a rejected transaction is passed off as posted",
    sql: ({ rejected }) => `UPDATE transactions SET state = 1, failure = NULL WHERE id = '${rejected}'`,
    named: ({ rejected }) => [
      ["ENTRIES_MATCH_STATE", rejected],
      ["TRANSACTION_IN_JOURNAL", rejected],
    ],
  },
  {
    title: "a posted transaction is passed off as rejected",
    sql: ({ paid }) => `UPDATE transactions SET state = 2, failure = '{"reason":"SAME_WALLET"}' WHERE id = '${paid}'`,
    named: ({ paid }) => [
      ["ENTRIES_MATCH_STATE", paid],
      ["TRANSACTION_IN_JOURNAL", paid],
    ],
  },
  {
    title: "a transaction points to another place in the journal",
    sql: ({ paid }) => `UPDATE transactions SET journal_index = journal_index + 1000 WHERE id = '${paid}'`,
    named: ({ paid }) => [
      ["ENTRIES_MATCH_STATE", paid],
      ["TRANSACTION_IN_JOURNAL", paid],
    ],
  },
  {
    title: "the journal's head is moved",
    sql: () => "UPDATE journal_head SET size = size + 1",
    named: ({ size }) => [["JOURNAL_DENSE", size + 1n]],
  },
  {
    title: "a batch of the journal is deleted",
    sql: ({ paidIndex }) => `DELETE FROM journal_batches WHERE first_index = ${paidIndex}`,
    named: ({ paid, nextIndex, size }) => [
      ["JOURNAL_DENSE", nextIndex],
      ["JOURNAL_DENSE", size],
      ["TRANSACTION_IN_JOURNAL", paid],
    ],
  },
  {
    title: "the journal's last batch is deleted and its head moved back",
    sql: () => `
      UPDATE journal_head SET size = (SELECT max(first_index) FROM journal_batches);
      DELETE FROM journal_batches WHERE first_index = (SELECT size FROM journal_head);
      DELETE FROM transactions WHERE journal_index = (SELECT size FROM journal_head)`,
    named: () => [
      ["ENTRY_HAS_OWNERS", "last"],
      ["REQUEST_ONCE", "last request"],
    ],
    unnamedSince: () => [["REQUEST_ONCE", "last request"]],
  },
  {
    title: "a record of the journal names another transaction",
    sql: ({ paidIndex }) =>
      `UPDATE journal_batches SET record_ids = ARRAY['${NOBODY}'::uuid] WHERE first_index = ${paidIndex}`,
    named: ({ paid }) => [
      ["TRANSACTION_IN_JOURNAL", paid],
      ["TRANSACTION_IN_JOURNAL", NOBODY],
    ],
  },
  {
    title: "a transaction is in the journal twice",
    sql: ({ paid }) => `
      INSERT INTO journal_batches SELECT size, ARRAY['${paid}'::uuid], ARRAY[1::smallint], now() FROM journal_head;
      UPDATE journal_head SET size = size + 1`,
    named: ({ paid }) => [["TRANSACTION_IN_JOURNAL", paid]],
  },
  {
    title: "a request is deleted",
    sql: ({ paidRequest }) => `DELETE FROM requests WHERE request_id = '${paidRequest}'`,
    named: ({ paid }) => [["REQUEST_ONCE", paid]],
  },
  {
    title: "a request names another transaction",
    sql: ({ paidRequest }) => `UPDATE requests SET transaction_id = '${NOBODY}' WHERE request_id = '${paidRequest}'`,
    named: ({ paid, paidRequest }) => [
      ["REQUEST_ONCE", paid],
      ["REQUEST_ONCE", paidRequest],
    ],
  },
  {
    title: "a second request names the same transaction",
    sql: ({ paid }) => `
      INSERT INTO requests (caller, request_id, method, transaction_id) SELECT caller, '${NOBODY}', method, transaction_id FROM requests WHERE transaction_id = '${paid}'`,
    named: () => [["REQUEST_ONCE", NOBODY]],
    unnamedSince: () => [["REQUEST_ONCE", NOBODY]],
  },
  {
    title: "a run names a transaction that it did not make",
    sql: ({ run, paid }) => `UPDATE schedule_runs SET transaction_id = '${paid}' WHERE id = '${run}'`,
    named: ({ run }) => [["RUN_MATCHES_TRANSACTION", run]],
  },
  {
    title: "a run names a transaction that does not exist",
    sql: ({ run }) => `UPDATE schedule_runs SET transaction_id = '${NOBODY}' WHERE id = '${run}'`,
    named: ({ run }) => [["RUN_MATCHES_TRANSACTION", run]],
  },
  {
    title: "a run names a request that is not its own",
    sql: ({ run }) => `UPDATE schedule_runs SET request_id = '${NOBODY}' WHERE id = '${run}'`,
    named: ({ run }) => [["RUN_MATCHES_TRANSACTION", run]],
  },
  {
    title: "a run is backdated",
    sql: ({ run }) => `UPDATE schedule_runs SET planned_time = planned_time - interval '1 minute' WHERE id = '${run}'`,
    named: ({ run }) => [["RUN_MATCHES_TRANSACTION", run]],
  },
  {
    title: "a rejected run is passed off as posted",
    sql: ({ refusedRun }) => `UPDATE schedule_runs SET state = 1, failure = NULL WHERE id = '${refusedRun}'`,
    named: ({ refusedRun, refusedSchedule }) => [
      ["RUN_MATCHES_TRANSACTION", refusedRun],
      ["SCHEDULE_COUNTS_RUNS", refusedSchedule],
    ],
  },
  {
    title: "a schedule's amount is edited",
    sql: ({ schedule }) => `UPDATE schedules SET amount = amount + 1 WHERE id = '${schedule}'`,
    named: ({ run }) => [["RUN_MATCHES_TRANSACTION", run]],
  },
  {
    title: "a run is forged from another one",
    sql: ({ run }) => `
      INSERT INTO schedule_runs SELECT '${NOBODY}', schedule_id, planned_time - interval '1 day', state, attempts, request_id,
        transaction_id, failure, create_time, update_time FROM schedule_runs WHERE id = '${run}'`,
    named: ({ runTransaction, schedule }) => [
      ["RUN_MATCHES_TRANSACTION", NOBODY],
      ["RUN_MATCHES_TRANSACTION", runTransaction],
      ["SCHEDULE_COUNTS_RUNS", schedule],
    ],
    unnamedSince: ({ runTransaction }) => [
      ["RUN_MATCHES_TRANSACTION", NOBODY],
      ["RUN_MATCHES_TRANSACTION", runTransaction],
    ],
  },
  {
    title: "a run is deleted",
    sql: ({ run }) => `DELETE FROM schedule_runs WHERE id = '${run}'`,
    named: ({ schedule }) => [["SCHEDULE_COUNTS_RUNS", schedule]],
  },
  {
    title: "a schedule is deleted",
    sql: ({ schedule }) => `DELETE FROM schedules WHERE id = '${schedule}'`,
    named: ({ run }) => [["RUN_MATCHES_TRANSACTION", run]],
  },
  {
    title: "a schedule's count of tries is edited",
    sql: ({ refusedSchedule }) => `UPDATE schedules SET tries = tries + 1 WHERE id = '${refusedSchedule}'`,
    named: ({ refusedSchedule }) => [["SCHEDULE_COUNTS_RUNS", refusedSchedule]],
  },
  {
    title: "an event of an alert is deleted",
    sql: ({ alert }) => `DELETE FROM balance_alert_events WHERE alert_id = '${alert}' AND direction = 2`,
    named: ({ alert }) => [["ALERT_MATCHES_ENTRIES", alert]],
  },
  {
    title: "a balance in an event of an alert is edited",
    sql: ({ alert }) => `UPDATE balance_alert_events SET balance_after = balance_after + 1 WHERE alert_id = '${alert}'`,
    named: ({ alert }) => [["ALERT_MATCHES_ENTRIES", alert]],
  },
  {
    title: "an alert's threshold is moved away from its events",
    sql: ({ alert }) => `UPDATE balance_alerts SET threshold = 1000000 WHERE id = '${alert}'`,
    named: ({ alert }) => [["ALERT_MATCHES_ENTRIES", alert]],
  },
  {
    title: "an event is forged for an alert that does not exist",
    sql: ({ alert }) => `
      INSERT INTO balance_alert_events SELECT gen_random_uuid(), '${NOBODY}', sequence, transaction_id, journal_index, direction,
        balance_before, balance_after, create_time FROM balance_alert_events WHERE alert_id = '${alert}'`,
    named: () => [["ALERT_MATCHES_ENTRIES", NOBODY]],
    unnamedSince: () => [["ALERT_MATCHES_ENTRIES", NOBODY]],
  },
];

describe("the integrity check", () => {
  let server: TestServer;
  let clients: Clients;
  let ledger: LedgerServiceClient;
  let admin: pg.Client;
  let fixture: Fixture;
  let last: { readonly id: Uuid; readonly requestId: Uuid };

  before(async () => {
    // Nothing in the background may read or write the ledger while it is tampered with.
    const calm = {
      GREY_HOLD_EXPIRY_EVERY_MS: "3600000",
      GREY_SCHEDULE_EVERY_MS: "3600000",
      GREY_ALERT_EVERY_MS: "3600000",
    };
    server = await startServer(calm);
    clients = connect(server.address);
    ledger = new LedgerServiceClient(server.address, credentials.createInsecure());
    admin = await openAdmin(server.databaseUrl);
    fixture = await makeFixture();
    // The attacker is the owner of the tables: no constraint stands in the way.
    await admin.query(`
      ALTER TABLE entries DROP CONSTRAINT entries_pkey;
      ALTER TABLE transactions DROP CONSTRAINT transactions_posted_has_entries, DROP CONSTRAINT transactions_rejected_has_failure;
      CREATE SCHEMA backup;
      -- For scripts/plans.mjs: without the key there is nothing to find an entry by.
      DO $$ BEGIN RAISE LOG 'plans of this database do not count'; END $$`);
    for (const table of TABLES) await admin.query(`CREATE TABLE backup.${table} AS TABLE ${table}`);
  });
  after(async () => {
    ledger.close();
    clients.close();
    await admin.end();
    await server.stop();
  });
  afterEach(async () => {
    await admin.query(`TRUNCATE ${TABLES.join(", ")}`);
    // The rows that triggers write are among those of the backup.
    await admin.query("SET session_replication_role = replica");
    for (const table of TABLES) await admin.query(`INSERT INTO ${table} TABLE backup.${table}`);
    await admin.query("SET session_replication_role = origin");
  });

  async function makeFixture(): Promise<Fixture> {
    const { transactions, ledger } = clients;
    const a = (await makeWallet(clients, { minorUnits: 100_000n })).id;
    const b = (await makeWallet(clients)).id;
    const euros = (await makeWallet(clients, { currencyCode: "EUR", minorUnits: 500n })).id;
    await ledger.createCurrency(CreateCurrencyRequest.fromPartial({ requestId: newId(), code: "PTS", name: "Points" }));
    const points = (await makeWallet(clients, { currencyCode: "PTS", minorUnits: 7n })).id;
    const spender = (await makeWallet(clients, { minorUnits: 50n })).id;
    await transactions.withdraw(withdrawRequest(spender, 20n));
    await refusal(transactions.withdraw(withdrawRequest(spender, 31n)));
    const { hold } = await transactions.hold(
      HoldRequest.fromPartial({ requestId: newId(), walletId: spender, amount: money(5n) }),
    );
    const dated = await transactions.deposit(
      depositRequest(spender, 4n, {
        effectiveTime: { seconds: BigInt(Math.floor(Date.now() / 1_000)) - 86_400n, nanos: 0 },
        metadata: { kept: "as it was", gone: "soon" },
      }),
    );
    const change = (set: Record<string, string>, remove: string[]) =>
      transactions.setTransactionMetadata({ requestId: newId(), transactionId: dated.transaction!.id, set, remove });
    await change({ changed: "first" }, ["gone"]);
    await change({ changed: "second" }, []);
    const [c, d] = [(await makeWallet(clients, { minorUnits: 100_000n })).id, (await makeWallet(clients)).id];
    await ledger.setLimits(
      SetLimitsRequest.fromPartial({
        requestId: newId(),
        account: { $case: "walletId", value: c },
        limits: { velocity: [{ name: "daily", direction: 1, windowSeconds: 86_400n, maxAmount: 10_000n }] },
      }),
    );
    const withFee = (minorUnits: bigint) =>
      PostTransactionRequest.fromPartial({
        requestId: newId(),
        legs: [
          { account: { $case: "walletId", value: c }, side: 1, amount: money(minorUnits + 2n) },
          { account: { $case: "walletId", value: d }, side: 2, amount: money(minorUnits) },
          { account: { $case: "systemAccount", value: "fees" }, side: 2, amount: money(2n) },
        ],
      });
    const compound = await transactions.postTransaction(withFee(10n));
    const refusedCompound = await refusal(transactions.postTransaction(withFee(10_000n)));
    const runs = await makeRuns();
    const alert = await makeAlert();
    const before = await transactions.transfer(transferRequest(a, b, 1_000n));
    const refused = await refusal(transactions.transfer(transferRequest(b, a, 5_000n)));
    const request = transferRequest(a, b, 3_000n);
    const { transaction } = await transactions.transfer(request);
    const next = await transactions.deposit(depositRequest(euros, 5n, { amount: money(5n, "EUR") }));
    await makeUser(clients);
    const final = await transactions.deposit(depositRequest(points, 5n, { amount: money(5n, "PTS") }));
    last = final.transaction!;
    const { rows } = await admin.query<{ size: bigint }>("SELECT size FROM journal_head");
    return {
      a,
      b,
      paid: transaction!.id,
      paidRequest: request.requestId,
      paidBefore: before.transaction!.id,
      rejected: refused.info.transaction_id!,
      paidIndex: transaction!.journalIndex,
      nextIndex: next.transaction!.journalIndex,
      size: rows[0]!.size,
      holder: spender,
      held: hold!.id,
      dated: dated.transaction!.id,
      c,
      d,
      compound: compound.transaction!.id,
      refusedCompound: refusedCompound.info.transaction_id!,
      alert,
      ...runs,
    };
  }

  /** Makes a schedule that deposits, and one whose withdrawal is rejected and retried. */
  async function makeRuns() {
    const walletId = (await makeWallet(clients)).id;
    const when = { $case: "once" as const, value: { seconds: BigInt(Math.floor(Date.now() / 1_000) + 2), nanos: 0 } };
    const create = async (over: Partial<CreateScheduleRequest>) =>
      (
        await clients.schedules.createSchedule({
          ...CreateScheduleRequest.fromPartial({ requestId: newId() }),
          when,
          onInsufficientFunds: InsufficientFundsPolicy.RETRY,
          ...over,
        })
      ).schedule!.id;
    const common = { walletId, systemAccount: "", description: "", metadata: {} };
    const schedule = await create({ movement: { $case: "deposit", value: { ...common, amount: money(7n) } } });
    const refusedSchedule = await create({
      movement: { $case: "withdrawal", value: { ...common, amount: money(1_000n), amountMode: 0 } },
    });
    const busy = await startServer({ DATABASE_URL: server.databaseUrl, GREY_SCHEDULE_EVERY_MS: "20" });
    const runOf = async (scheduleId: Uuid) =>
      (await clients.schedules.listRuns({ scheduleId, pageSize: 0, pageToken: "" })).runs[0];
    await eventually(
      "both runs",
      async () => (await runOf(schedule)) !== undefined && (await runOf(refusedSchedule)) !== undefined,
    );
    await busy.stop();
    const { id: run, transactionId: runTransaction } = (await runOf(schedule))!;
    return { schedule, run, runTransaction, refusedSchedule, refusedRun: (await runOf(refusedSchedule))!.id };
  }

  /** Makes an alert whose threshold was crossed down and up again. */
  async function makeAlert(): Promise<Uuid> {
    const walletId = (await makeWallet(clients, { minorUnits: 100n })).id;
    const watched = { threshold: money(50n), direction: AlertDirection.BOTH, balance: AlertBalance.AVAILABLE };
    const { alert } = await clients.alerts.createAlert({ requestId: newId(), walletId, ...watched });
    await clients.transactions.withdraw(withdrawRequest(walletId, 60n));
    await clients.transactions.deposit(depositRequest(walletId, 60n));
    const busy = await startServer({ DATABASE_URL: server.databaseUrl, GREY_ALERT_EVERY_MS: "20" });
    const page = { alertId: alert!.id, pageSize: 0, pageToken: "" };
    await eventually("both crossings", async () => (await clients.alerts.listAlertEvents(page)).events.length === 2);
    await busy.stop();
    return alert!.id;
  }

  it("finds no fault in a sound ledger, and counts the rows that it checked", async () => {
    const report = await clients.ledger.checkIntegrity({ maxFaults: 0 });
    expect(report.faults).to.deep.equal([]);
    expect([report.ok, report.faultCount]).to.deep.equal([true, 0n]);
    const { rows } = await admin.query<Record<string, bigint>>(
      `SELECT (SELECT count(*) FROM accounts) AS accounts, (SELECT count(*) FROM transactions) AS transactions,
         (SELECT count(*) FROM entries) AS entries`,
    );
    expect({
      accounts: report.accountCount,
      transactions: report.transactionCount,
      entries: report.entryCount,
    }).to.deep.equal(rows[0]);
    expect(report.recordCount).to.equal(fixture.size);
  });

  it("of what is new finds no fault from any place on, and counts only what is new", async () => {
    for (let index = 1n; index <= fixture.size + 1n; index += 1n) {
      const report = await checkSince(index);
      expect(report.faults, `from ${index}`).to.deep.equal([]);
      expect(report.recordCount).to.equal(index > fixture.size ? 0n : fixture.size - index);
    }
    const { accountCount, transactionCount, entryCount } = await checkSince(fixture.paidIndex);
    // The transfer, a deposit of euros, a user and a deposit of points: six accounts with an entry each.
    expect([accountCount, transactionCount, entryCount]).to.deep.equal([6n, 3n, 6n]);
  });

  it("of what is new continues the balances before it", async () => {
    await admin.query(
      "UPDATE entries SET balance_after = balance_after + 1 WHERE account_id = $1 AND transaction_id = $2",
      [fixture.a, fixture.paid],
    );
    expect(faultsOf(await checkSince(fixture.paidIndex))).to.deep.equal(
      wordsOf(({ a }) => [
        ["BALANCE_IS_SUM_OF_ENTRIES", a],
        ["RUNNING_BALANCE", a],
        ["CURRENCY_SUMS_TO_ZERO", "USD"],
      ]),
    );
  });

  it("of what is new checks an alert from the entries on that its new events report", async () => {
    const { rows } = await admin.query<{ index: bigint }>(
      "SELECT min(b.first_index) AS index FROM journal_batches b JOIN balance_alert_events v ON v.id = ANY (b.record_ids)",
    );
    const from = rows[0]!.index;
    expect(faultsOf(await checkSince(from))).to.deep.equal([]);
    await admin.query("UPDATE balance_alert_events SET balance_after = balance_after + 1");
    expect(faultsOf(await checkSince(from))).to.deep.equal([`ALERT_MATCHES_ENTRIES ${fixture.alert}`]);
  });

  it("of what is new takes rows before it as an earlier check found them", async () => {
    await admin.query(`UPDATE entries SET amount = amount + 5 WHERE transaction_id = '${fixture.paidBefore}'`);
    expect((await checkSince(fixture.paidIndex)).faults).to.deep.equal([]);
  });

  const SCOPES = [
    { scope: "the whole ledger", check: () => clients.ledger.checkIntegrity({ maxFaults: 0 }), isWhole: true },
    { scope: "what is new", check: () => checkSince(1n), isWhole: false },
  ];
  for (const { title, sql, named, unnamedSince } of TAMPERINGS) {
    for (const { scope, check, isWhole } of SCOPES) {
      it(`of ${scope} names what is wrong when ${title}`, async () => {
        await admin.query(sql(fixture));
        const unnamed = isWhole ? [] : wordsOf(unnamedSince);
        const expected = wordsOf(named).filter((one) => !unnamed.includes(one));
        const report = await check();
        expect(faultsOf(report)).to.deep.equal(expected);
        expect(report.ok).to.equal(expected.length === 0);
        expect(report.faultCount >= BigInt(expected.length)).to.equal(true);
        for (const { detail } of report.faults) expect(detail).to.match(/\S/);
      });
    }
  }

  it("of the whole ledger ends, and names the gap, when the journal's first batch is deleted", async () => {
    await admin.query("DELETE FROM journal_batches WHERE first_index = (SELECT min(first_index) FROM journal_batches)");
    expect(faultsOf(await clients.ledger.checkIntegrity({ maxFaults: 0 })).join()).to.include("JOURNAL_DENSE");
  });

  for (const { scope, check } of SCOPES) {
    it(`of ${scope} ends, and names the gap, when the journal's last batch is deleted and its head stays`, async () => {
      await admin.query(
        "DELETE FROM journal_batches WHERE first_index = (SELECT max(first_index) FROM journal_batches)",
      );
      expect(faultsOf(await check()).join()).to.include("JOURNAL_DENSE");
    });
  }

  it("finds a place in the journal by time also where a batch is missing", async () => {
    const { rows: batches } = await admin.query<{ index: bigint }>("SELECT first_index AS index FROM journal_batches");
    const places = `SELECT journal_index_from_time(create_time + offset_time) AS index FROM backup.journal_batches,
      unnest(ARRAY['0', '1 microsecond', '-1 microsecond']::interval[]) AS offset_time`;
    for (const { index } of batches) {
      await admin.query("BEGIN");
      await admin.query("SET LOCAL statement_timeout = 10000");
      await admin.query("DELETE FROM journal_batches WHERE first_index = $1", [index]);
      const { rows } = await admin.query<{ index: bigint }>(places);
      expect(rows).to.have.lengthOf(3 * batches.length);
      await admin.query("ROLLBACK");
    }
  });

  it("has a way of tampering for every law", () => {
    const laws = new Set(TAMPERINGS.flatMap(({ named }) => named(fixture)).map(([law]) => law));
    const all = Object.keys(IntegrityLaw).filter(
      (name) => Number.isNaN(Number(name)) && !/UNSPECIFIED|UNRECOGNIZED/.test(name),
    );
    expect([...laws].sort()).to.deep.equal(all.sort());
  });

  it("counts every fault, and names at most max_faults", async () => {
    await admin.query("UPDATE accounts SET min_balance = 9223372036854775807");
    const { rows } = await admin.query<{ count: bigint }>("SELECT count(*) FROM accounts");
    const few = await clients.ledger.checkIntegrity({ maxFaults: 3 });
    expect(few.faults).to.have.lengthOf(3);
    expect(few.faultCount).to.equal(rows[0]!.count);
    const many = await clients.ledger.checkIntegrity({ maxFaults: 10_000 });
    expect(BigInt(many.faults.length)).to.equal(rows[0]!.count);
  });

  function wordsOf(named: Tampering["named"] = () => []): string[] {
    return named(fixture)
      .map(([law, subject]) => `${law} ${nameOf(String(subject))}`)
      .sort();
  }

  function faultsOf({ faults }: CheckIntegrityResponse): string[] {
    return [...new Set(faults.map(({ law, subject }) => `${IntegrityLaw[law]} ${nameOf(subject)}`))].sort();
  }

  /** Returns the report of a check from the journal record on. */
  async function checkSince(fromJournalIndex: bigint): Promise<CheckIntegrityResponse> {
    const from = { $case: "fromJournalIndex", value: fromJournalIndex } as const;
    const { messages, ended } = await follow(ledger.streamIntegrityCheck({ maxFaults: 0, from }));
    expect(await ended).to.equal(undefined);
    return messages.at(-1)!.report!;
  }

  /** The last deposit's ids are known only after the table above was written. */
  function nameOf(subject: string): string {
    return subject === last.id ? "last" : subject === last.requestId ? "last request" : subject;
  }
});
