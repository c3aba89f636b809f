import { findDifferences } from "../../src/services/transaction/find-differences.js";
import pg from "pg";
import type { Money } from "../../generated/grey/type/v1/money.js";
import { CreateUserRequest, type User } from "../../generated/grey/user/v1/user_service.js";
import { DepositRequest, TransferRequest, WithdrawRequest } from "../../generated/grey/transaction/v1/movement.js";
import { CreateWalletRequest, type Wallet } from "../../generated/grey/wallet/v1/wallet.js";
import { newId, systemAccountId, type Uuid } from "../../src/base/ids.js";
import type { CallerContext } from "../../src/base/caller-context.js";
import { readConfig } from "../../src/config/config.js";
import { connectDatabase, getParser, type Database } from "../../src/db/database.js";
import { inTransaction } from "../../src/db/in-transaction.js";
import { ACCOUNT_STATE, type AccountState } from "../../src/base/codes.js";
import { checkIntegrity, type IntegrityReport } from "../../src/ledger/check/check.js";
import { postUnits } from "../../src/ledger/post/turn.js";
import { NO_CALLER_DATA, type MovementCommand } from "../../src/ledger/command/command.js";
import type { Outcome } from "../../src/ledger/post/outcome.js";
import { LOCAL_CALLER } from "../../src/rpc/context.js";
import type { Clients } from "./client.js";
import { createTestDatabase } from "./cluster.js";

/** A caller that never leaves. */
export const PATIENT: CallerContext = { assertWaiting: () => undefined };

/** A ledger in its own test database. */
export interface TestLedger {
  readonly url: string;
  /** The service's connections. */
  readonly database: Database;
  /** A superuser's session. */
  readonly admin: pg.Client;
  close(): Promise<void>;
}

export async function openTestLedger(): Promise<TestLedger> {
  const { url, drop } = await createTestDatabase();
  const database = await connectDatabase(url, readConfig({ DATABASE_URL: url }));
  const admin = await openAdmin(url);
  return {
    url,
    database,
    admin,
    close: async () => {
      await admin.end();
      await database.dataSource.destroy();
      await drop();
    },
  };
}

/** Opens a superuser's session, with the service's type parsers. */
export async function openAdmin(url: string): Promise<pg.Client> {
  const admin = new pg.Client({ connectionString: url, types: { getTypeParser: getParser } });
  await admin.connect();
  return admin;
}

/** A wallet's account; the defaults are those of CreateWallet. */
export interface WalletRow {
  readonly id: Uuid;
  readonly currencyCode?: string;
  readonly state?: AccountState;
  readonly minBalance?: bigint | null;
  readonly maxBalance?: bigint | null;
}

/** Inserts the account of a wallet without an owner, which suffices for tests of the ledger. */
export async function insertWallet(admin: pg.Client, row: WalletRow): Promise<void> {
  await admin.query(
    `INSERT INTO accounts (id, currency_code, normal_side, state, min_balance, max_balance) VALUES ($1, $2, 2, $3, $4, $5)`,
    [
      row.id,
      row.currencyCode ?? "USD",
      row.state ?? ACCOUNT_STATE.OPEN,
      row.minBalance === undefined ? 0n : row.minBalance,
      row.maxBalance ?? null,
    ],
  );
}

const MOVEMENT = {
  data: NO_CALLER_DATA,
  effectiveTime: null,
  isUpTo: false,
  preconditions: [],
  requestTerms: null,
  currencyCode: "USD",
} as const;

/** Returns a command with new ids. */
function command(
  over: Partial<MovementCommand> & Pick<MovementCommand, "kind" | "debitAccountId" | "creditAccountId" | "amountMinor">,
): MovementCommand {
  return { caller: LOCAL_CALLER, requestId: newId(), transactionId: newId(), system: null, ...MOVEMENT, ...over };
}

export function transfer(
  from: Uuid,
  to: Uuid,
  amountMinor: bigint,
  over: Partial<MovementCommand> = {},
): MovementCommand {
  return command({ kind: "TRANSFER", debitAccountId: from, creditAccountId: to, amountMinor, ...over });
}

export function deposit(wallet: Uuid, amountMinor: bigint, over: Partial<MovementCommand> = {}): MovementCommand {
  const system = systemOf(over);
  const accounts = { debitAccountId: system.accountId, creditAccountId: wallet };
  return command({ kind: "DEPOSIT", ...accounts, amountMinor, system, ...over });
}

export function withdrawal(wallet: Uuid, amountMinor: bigint, over: Partial<MovementCommand> = {}): MovementCommand {
  const system = systemOf(over);
  const accounts = { debitAccountId: wallet, creditAccountId: system.accountId };
  return command({ kind: "WITHDRAWAL", ...accounts, amountMinor, system, ...over });
}

function systemOf({ currencyCode = "USD" }: Partial<MovementCommand>): { name: string; accountId: Uuid } {
  return { name: "cash", accountId: systemAccountId(currencyCode, "cash") };
}

/** Posts the commands in one call and commits. */
export async function postAll(database: Database, commands: readonly MovementCommand[]): Promise<Outcome[]> {
  const units = [{ commands, mode: "INDEPENDENT" }] as const;
  const [outcomes] = await inTransaction(database, PATIENT, ({ client }) =>
    postUnits(client, units, { findDifferences }),
  );
  return outcomes!;
}

/** Asserts the ledger's integrity. @returns the report of the full check */
export async function assertIntegrity(database: Database): Promise<IntegrityReport> {
  const report = await checkIntegrity(database, 100);
  // The incremental check must agree.
  const incremental = await checkIntegrity(database, 100, { from: 1n });
  const faults = [...report.faults, ...incremental.faults];
  if (faults.length > 0) {
    throw new Error(faults.map(({ law, subject, detail }) => `${law} ${subject}: ${detail}`).join("\n"));
  }
  return report;
}

export function money(minorUnits: bigint, currencyCode = "USD"): Money {
  return { currencyCode, minorUnits };
}

/** Creates a user, by default with a new email. */
export async function makeUser({ users }: Clients, over: Partial<CreateUserRequest> = {}): Promise<User> {
  const { user } = await users.createUser(userRequest(over));
  return user!;
}

export function userRequest(over: Partial<CreateUserRequest> = {}): CreateUserRequest {
  return CreateUserRequest.fromPartial({ requestId: newId(), name: "Ada", email: `${newId()}@example.com`, ...over });
}

/** Creates a wallet, by default of a new user. */
export async function makeWallet(
  clients: Clients,
  { minorUnits = 0n, ...over }: Partial<CreateWalletRequest> & { readonly minorUnits?: bigint } = {},
): Promise<Wallet> {
  const userId = over.userId ?? (await makeUser(clients)).id;
  const { wallet } = await clients.wallets.createWallet(walletRequest({ ...over, userId, minorUnits }));
  return wallet!;
}

export function walletRequest({
  minorUnits = 0n,
  ...over
}: Partial<CreateWalletRequest> & { readonly minorUnits?: bigint }): CreateWalletRequest {
  const currencyCode = over.currencyCode ?? "USD";
  const initial = minorUnits === 0n ? {} : { initialBalance: money(minorUnits, currencyCode) };
  return CreateWalletRequest.fromPartial({ requestId: newId(), currencyCode, ...initial, ...over });
}

export function transferRequest(
  fromWalletId: Uuid,
  toWalletId: Uuid,
  minorUnits: bigint,
  over: Partial<TransferRequest> = {},
): TransferRequest {
  return TransferRequest.fromPartial({
    requestId: newId(),
    fromWalletId,
    toWalletId,
    amount: money(minorUnits),
    ...over,
  });
}

export function depositRequest(walletId: Uuid, minorUnits: bigint, over: Partial<DepositRequest> = {}): DepositRequest {
  return DepositRequest.fromPartial({ requestId: newId(), walletId, amount: money(minorUnits), ...over });
}

export function withdrawRequest(
  walletId: Uuid,
  minorUnits: bigint,
  over: Partial<WithdrawRequest> = {},
): WithdrawRequest {
  return WithdrawRequest.fromPartial({ requestId: newId(), walletId, amount: money(minorUnits), ...over });
}

/** Reads the wallet's posted balance, in minor units. */
export async function balanceOf({ wallets }: Clients, walletId: Uuid): Promise<bigint> {
  const { balance } = await wallets.getBalance({ walletId });
  return balance!.posted!.minorUnits;
}

/** Counts the rows of the ledger's tables, and the records of the journal. */
export async function countRows(admin: pg.Client): Promise<Record<string, bigint>> {
  const { rows } = await admin.query<{ name: string; count: bigint }>(
    ["users", "wallets", "accounts", "transactions", "entries", "requests", "currencies"]
      .map((name) => `SELECT '${name}' AS name, count(*) FROM ${name}`)
      .concat("SELECT 'records', size FROM journal_head")
      .join(" UNION ALL "),
  );
  return Object.fromEntries(rows.map((row) => [row.name, row.count]));
}
