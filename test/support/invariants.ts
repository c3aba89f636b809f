import pg from "pg";
import type { CheckIntegrityResponse } from "../../generated/grey/ledger/v1/integrity.js";
import { CallError, type Clients } from "./client.js";
import type { ClientJournal, Movement } from "./load.js";

/**
 * The invariants after every fault:
 *   C  every transaction and all balances sum to zero per currency
 *   D  every reply that a caller received matches the ledger
 *   U  a request id has one transaction, and no transaction is without a request
 *   B  each balance is the sum of its entries, and each wallet's is the one that its callers derive from their replies
 *   J  a rejected or aborted command left no entry
 *   INTEGRITY  the server's own check finds no fault
 */
export type Invariant = "C" | "D" | "U" | "B" | "J" | "INTEGRITY";

/**
 * Finds violations, as `<invariant> <what>`, in the database itself and against the callers' journal, in which every request must
 * have its reply.
 */
export async function findViolations(
  databaseUrl: string,
  journal: ClientJournal,
  ledger: Clients["ledger"],
): Promise<string[]> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY");
    const violations = [
      ...(await brokenInBooks(client)),
      ...(await brokenAnswers(client, journal)),
      ...(await brokenBalances(client, journal)),
    ];
    await client.query("COMMIT");
    const { faults } = await checkIntegrity(ledger);
    return [...violations, ...faults.map(({ law, subject, detail }) => `INTEGRITY ${law} ${subject}: ${detail}`)];
  } finally {
    await client.end();
  }
}

/** Runs the server's own check. A connection that broke after the last call is only noticed, and reported, by the next one. */
async function checkIntegrity(ledger: Clients["ledger"]): Promise<CheckIntegrityResponse> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await ledger.checkIntegrity({ maxFaults: 0 });
    } catch (error) {
      if (attempt === CHECKS_MAX || !(error instanceof CallError && error.code === "UNAVAILABLE")) throw error;
    }
  }
}

const CHECKS_MAX = 5;

// Queries for violations. They share nothing with the server's own check, so that neither hides an error of the other.
const BOOKS: readonly (readonly [Invariant, string])[] = [
  [
    "C",
    `SELECT format('transaction %s sums to %s %s', transaction_id, sum(amount), currency_code) AS what
     FROM entries JOIN accounts ON id = account_id GROUP BY transaction_id, currency_code HAVING sum(amount) <> 0`,
  ],
  [
    "C",
    `SELECT format('balances sum to %s %s', sum(debit), currency_code) AS what
     FROM (SELECT currency_code, CASE normal_side WHEN 1 THEN balance::numeric ELSE -balance END AS debit FROM account_states) a
     GROUP BY currency_code HAVING sum(debit) <> 0`,
  ],
  [
    "U",
    `SELECT format('request %s made %s transactions', request_id, count(*)) AS what
     FROM transactions GROUP BY caller, request_id HAVING count(*) > 1`,
  ],
  [
    "B",
    `SELECT format('account %s has %s, its entries sum to %s', id, balance, total) AS what
     FROM (
       SELECT id, balance, (
         SELECT coalesce(sum(amount), 0) * CASE a.normal_side WHEN 1 THEN 1 ELSE -1 END FROM entries WHERE account_id = a.id
       ) AS total FROM account_states a
     ) sums WHERE balance <> total`,
  ],
  [
    "B",
    `SELECT format('account %s has %s and %s pending, its holds come to %s and %s', id, pending_debits, pending_credits, debits, credits)
       AS what
     FROM account_states a CROSS JOIN LATERAL (
       SELECT coalesce(sum(amount - captured) FILTER (WHERE account_id = a.id), 0) AS debits,
         coalesce(sum(amount - captured) FILTER (WHERE to_account_id = a.id), 0) AS credits
       FROM holds WHERE state = 1 AND a.id IN (account_id, to_account_id)
     ) held WHERE pending_debits <> debits OR pending_credits <> credits`,
  ],
  [
    "J",
    `SELECT format('entry %s of account %s belongs to no posted transaction', sequence, account_id) AS what
     FROM entries e WHERE NOT EXISTS (SELECT FROM transactions t WHERE t.id = e.transaction_id AND t.state = 1)`,
  ],
];

const BROKEN = {
  name: "broken-in-books",
  text: BOOKS.map(([invariant, query]) => `SELECT '${invariant} ' || what AS broken FROM (${query}) law`).join(
    " UNION ALL ",
  ),
};

/** Finds violations of C, U, B and J in the ledger alone. */
export async function brokenInBooks(client: pg.Client): Promise<string[]> {
  const { rows } = await client.query<{ broken: string }>(BROKEN);
  return rows.map(({ broken }) => broken);
}

interface Stored {
  readonly id: string;
  readonly request_id: string;
  readonly debit_account_id: string;
  readonly credit_account_id: string;
  readonly amount: string;
  readonly refusal: string | null;
  readonly is_opening: boolean;
  readonly entries: string;
}

const TRANSACTIONS = `
SELECT id, request_id, debit_account_id, credit_account_id, amount, failure::jsonb ->> 'reason' AS refusal, kind = 1 AS is_opening,
  (SELECT count(*) FROM entries e WHERE e.transaction_id = t.id AND abs(e.amount) = t.amount
    AND e.account_id = CASE WHEN e.amount > 0 THEN t.debit_account_id ELSE t.credit_account_id END) AS entries
FROM transactions t`;

async function brokenAnswers(client: pg.Client, { asked, answers }: ClientJournal): Promise<string[]> {
  const { rows } = await client.query<Stored>(TRANSACTIONS);
  const byId = new Map(rows.map((row) => [row.id, row]));
  const broken: string[] = [];
  for (const { request_id, is_opening } of rows) {
    if (!is_opening && !asked.has(request_id))
      broken.push(`U request ${request_id} has a transaction, and no caller sent it`);
  }
  for (const [requestId, movement] of asked) {
    const answer = answers.get(requestId);
    const stored = byId.get(answer?.transactionId ?? "");
    if (answer === undefined) broken.push(`D request ${requestId} has no reply`);
    else if (stored?.request_id !== requestId) broken.push(`D request ${requestId}: ${answer.transactionId} is lost`);
    else if ((stored.refusal ?? undefined) !== answer.refusal || !isSame(movement, stored)) {
      broken.push(`D request ${requestId}: replied ${answer.refusal ?? "POSTED"}, stored ${JSON.stringify(stored)}`);
    } else if (answer.refusal !== undefined && stored.entries !== "0") {
      broken.push(`J request ${requestId} was rejected and has entries`);
    } else if (answer.refusal === undefined && stored.entries !== "2") {
      broken.push(`D request ${requestId} was posted and has ${stored.entries} of its entries`);
    }
  }
  return broken;
}

function isSame({ fromWalletId, toWalletId, amountMinor }: Movement, stored: Stored): boolean {
  return (
    (fromWalletId === undefined || fromWalletId === stored.debit_account_id) &&
    (toWalletId === undefined || toWalletId === stored.credit_account_id) &&
    amountMinor === BigInt(stored.amount)
  );
}

async function brokenBalances(client: pg.Client, journal: ClientJournal): Promise<string[]> {
  const { rows } = await client.query<{ id: string; balance: string }>("SELECT id, balance FROM account_states");
  const balances = new Map(rows.map(({ id, balance }) => [id, BigInt(balance)]));
  return [...journal.openings.keys()]
    .filter((walletId) => balances.get(walletId) !== journal.balanceMinor(walletId))
    .map((id) => `B wallet ${id} has ${balances.get(id)}, its callers expect ${journal.balanceMinor(id)}`);
}
