import { createHash } from "node:crypto";
import { v5 } from "uuid";
import { assertPresent } from "../base/assert.js";

/** The parameters of a seed, which determine every id, name and amount. */
export interface SeedOptions {
  readonly seed: number;
  readonly users: number;
  readonly transactions: number;
  readonly currencyCode: string;
}

export interface PlannedUser {
  readonly requestId: string;
  readonly name: string;
  readonly email: string;
}

export interface PlannedWallet {
  readonly requestId: string;
  /** The index of its owner in the plan's users. */
  readonly owner: number;
  readonly label: string;
  readonly initialMinor: bigint;
}

interface Planned {
  readonly requestId: string;
  /** In minor units, more than 0. */
  readonly amountMinor: bigint;
  readonly description: string;
}

/** A movement; wallets are indexes into the plan's wallets. */
export type PlannedMovement =
  | (Planned & { readonly kind: "deposit"; readonly credit: number })
  | (Planned & { readonly kind: "withdrawal"; readonly debit: number })
  | (Planned & { readonly kind: "transfer"; readonly debit: number; readonly credit: number });

export interface SeedPlan {
  readonly users: readonly PlannedUser[];
  readonly wallets: readonly PlannedWallet[];
  /** The movements of each wallet are in the order of execution. */
  readonly movements: readonly PlannedMovement[];
}

const SEED_NAMESPACE = "3f0c9a52-5d0e-4c53-9a54-2b1f3a7d6e10";

const FIRST_NAMES =
  "Ada Grace Alan Edsger Barbara Donald Margaret Dennis Frances Ken Radia Linus Katherine Tim Hedy Claude".split(" ");
const LAST_NAMES = "Silva Okafor Tanaka Müller Novak Haddad Kowalska Singh Moreau Jensen Rossi Dlamini Costa".split(
  " ",
);
const DEPOSITS = ["salary", "top-up", "refund", "gift"];
const WITHDRAWALS = ["rent", "cash machine", "electricity", "train ticket"];
const TRANSFERS = ["lunch", "thanks", "concert tickets", "half the taxi", "happy birthday"];

/** A wallet with less spends nothing until it has received more. */
const SPENDABLE_MIN_MINOR = 100n;

/**
 * Plans users, wallets and movements such that no movement can fail for insufficient funds. Movements spend only what
 * earlier movements of the plan brought in, never initial balances: a larger plan thus extends a smaller one that was
 * already executed.
 */
export function planSeed(options: SeedOptions): SeedPlan {
  const { seed, currencyCode } = options;
  const users = Array.from({ length: options.users }, (_, index) => planUser(seed, index));
  const wallets = users.flatMap((_, owner) => planWallets(seed, currencyCode, owner));
  return { users, wallets, movements: planMovements(options, wallets.length) };
}

function planUser(seed: number, index: number): PlannedUser {
  const key = `${seed}/user/${index}`;
  const firstName = pick(FIRST_NAMES, index);
  return {
    requestId: deriveId(key),
    name: `${firstName} ${pick(LAST_NAMES, draw(key, LAST_NAMES.length))}`,
    email: `${firstName.toLowerCase()}.${index + 1}.${seed}@example.com`,
  };
}

/** Plans an everyday wallet for each user, and a savings wallet for every third one. */
function planWallets(seed: number, currencyCode: string, owner: number): PlannedWallet[] {
  const labels = owner % 3 === 0 ? ["everyday", "savings"] : ["everyday"];
  return labels.map((label) => {
    const key = `${seed}/${currencyCode}/wallet/${owner}/${label}`;
    return { requestId: deriveId(key), owner, label, initialMinor: drawAmount(`${key}/initial`, 10_000n, 100_000n) };
  });
}

function planMovements(
  { seed, users, transactions, currencyCode }: SeedOptions,
  walletCount: number,
): PlannedMovement[] {
  const balances = Array.from({ length: walletCount }, () => 0n);
  /** Wallets that have received money. */
  const funded: number[] = [];

  return Array.from({ length: transactions }, (_, index) => {
    const key = `${seed}/${currencyCode}/${users}/movement/${index}`;
    const chance = draw(`${key}/kind`, 100);
    const spender = funded.length === 0 ? undefined : pick(funded, draw(`${key}/spender`, funded.length));
    const available = spender === undefined ? 0n : assertPresent(balances[spender], "balance");
    if (spender === undefined || available < SPENDABLE_MIN_MINOR || chance < 30) {
      const credit = draw(`${key}/credit`, walletCount);
      const amountMinor = drawAmount(`${key}/amount`, 1_000n, 50_000n);
      move(undefined, credit, amountMinor);
      return { kind: "deposit", requestId: deriveId(key), credit, amountMinor, description: describe(key, DEPOSITS) };
    }
    const maxMinor = available < 20_000n ? available : 20_000n;
    const amountMinor = drawAmount(`${key}/amount`, 1n, maxMinor);
    if (chance < 50) {
      move(spender, undefined, amountMinor);
      return {
        kind: "withdrawal",
        requestId: deriveId(key),
        debit: spender,
        amountMinor,
        description: describe(key, WITHDRAWALS),
      };
    }
    const credit = (spender + 1 + draw(`${key}/credit`, walletCount - 1)) % walletCount;
    move(spender, credit, amountMinor);
    return {
      kind: "transfer",
      requestId: deriveId(key),
      debit: spender,
      credit,
      amountMinor,
      description: describe(key, TRANSFERS),
    };
  });

  function move(debit: number | undefined, credit: number | undefined, amountMinor: bigint): void {
    if (debit !== undefined) balances[debit] = assertPresent(balances[debit], "balance") - amountMinor;
    if (credit === undefined) return;
    const before = assertPresent(balances[credit], "balance");
    // A wallet that spent everything is listed again, which only makes it a likelier spender.
    if (before === 0n) funded.push(credit);
    balances[credit] = before + amountMinor;
  }
}

function describe(key: string, texts: readonly string[]): string {
  return pick(texts, draw(`${key}/description`, texts.length));
}

function deriveId(key: string): string {
  return v5(key, SEED_NAMESPACE);
}

/** Derives a number from the key, 0 to below `bound`. */
function draw(key: string, bound: number): number {
  return digest32(key) % bound;
}

/** Derives an amount in minor units from the key, `min` to `max`. */
function drawAmount(key: string, min: bigint, max: bigint): bigint {
  return min + (BigInt(digest32(key)) % (max - min + 1n));
}

function digest32(key: string): number {
  return createHash("sha256").update(key).digest().readUInt32BE();
}

function pick<T>(items: readonly T[], index: number): T {
  return assertPresent(items[index % items.length], "item");
}
