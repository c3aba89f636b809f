import { alertMatchesEntries } from "./laws/alert-matches-entries.js";
import { balanceIsSumOfEntries } from "./laws/balance-is-sum-of-entries.js";
import { currencySumsToZero } from "./laws/currency-sums-to-zero.js";
import { datedEntriesMatch } from "./laws/dated-entries-match.js";
import { entriesMatchState } from "./laws/entries-match-state.js";
import { entryHasOwners } from "./laws/entry-has-owners.js";
import { holdMatchesSteps } from "./laws/hold-matches-steps.js";
import { journalDense } from "./laws/journal-dense.js";
import { metadataChangesFollow } from "./laws/metadata-changes-follow.js";
import { metadataPairsMatch } from "./laws/metadata-pairs-match.js";
import { pendingIsSumOfHolds } from "./laws/pending-is-sum-of-holds.js";
import { requestOnce } from "./laws/request-once.js";
import { reversalsWithinOriginal } from "./laws/reversals-within-original.js";
import { runMatchesTransaction } from "./laws/run-matches-transaction.js";
import { runningBalance } from "./laws/running-balance.js";
import { scheduleCountsRuns } from "./laws/schedule-counts-runs.js";
import { sequenceDense } from "./laws/sequence-dense.js";
import { transactionBalanced } from "./laws/transaction-balanced.js";
import { transactionInJournal } from "./laws/transaction-in-journal.js";
import { velocityMatchesTransactions } from "./laws/velocity-matches-transactions.js";
import { withinLimits } from "./laws/within-limits.js";

/** The laws by their names in grey.ledger.v1.IntegrityLaw, which documents each, in the order in which they are checked. */
export const LAWS = {
  TRANSACTION_BALANCED: transactionBalanced,
  ENTRIES_MATCH_STATE: entriesMatchState,
  BALANCE_IS_SUM_OF_ENTRIES: balanceIsSumOfEntries,
  SEQUENCE_DENSE: sequenceDense,
  RUNNING_BALANCE: runningBalance,
  WITHIN_LIMITS: withinLimits,
  CURRENCY_SUMS_TO_ZERO: currencySumsToZero,
  ENTRY_HAS_OWNERS: entryHasOwners,
  JOURNAL_DENSE: journalDense,
  TRANSACTION_IN_JOURNAL: transactionInJournal,
  REQUEST_ONCE: requestOnce,
  PENDING_IS_SUM_OF_HOLDS: pendingIsSumOfHolds,
  HOLD_MATCHES_STEPS: holdMatchesSteps,
  REVERSALS_WITHIN_ORIGINAL: reversalsWithinOriginal,
  VELOCITY_MATCHES_TRANSACTIONS: velocityMatchesTransactions,
  METADATA_PAIRS_MATCH: metadataPairsMatch,
  METADATA_CHANGES_FOLLOW: metadataChangesFollow,
  DATED_ENTRIES_MATCH: datedEntriesMatch,
  RUN_MATCHES_TRANSACTION: runMatchesTransaction,
  SCHEDULE_COUNTS_RUNS: scheduleCountsRuns,
  ALERT_MATCHES_ENTRIES: alertMatchesEntries,
};

/** The name of a law. */
export type LawName = keyof typeof LAWS;
