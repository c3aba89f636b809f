import { createHash } from "node:crypto";
import { v5 } from "uuid";
import { assertPresent } from "../base/assert.js";

/** What a seed is made of. Every id, name and amount follows from these and nothing else. */
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
  /** The place of its owner among the users. */
  readonly owner: number;
  readonly label: string;
  readonly initialMinor: bigint;
}

interface Planned {
  readonly requestId: string;
  /** In minor units of the currency, more than 0. */
  readonly amountMinor: bigint;
  readonly description: string;
}

/** A movement; wallets are named by their place among the wallets. */
export type PlannedMovement =
  | (Planned & { readonly kind: "deposit"; readonly credit: number })
  | (Planned & { readonly kind: "withdrawal"; readonly debit: number })
  | (Planned & { readonly kind: "transfer"; readonly debit: number; readonly credit: number });

export interface SeedPlan {
  readonly users: readonly PlannedUser[];
  readonly wallets: readonly PlannedWallet[];
  /** In the order in which the movements of each wallet are to be carried out. */
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

/** Below this a wallet receives money before it spends any, in minor units. */
const SPENDABLE_MIN = 100n;

/**
 * Plans users, wallets and movements such that no movement can be refused for lack of funds. The movements spend only
 * what this plan's own movements brought in, never the initial balances: so plans of different size can be carried out
 * after one another, and a larger number of users or transactions goes on where a smaller one ended.
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
    requestId: idOf(key),
    name: `${firstName} ${pick(LAST_NAMES, draw(key, LAST_NAMES.length))}`,
    email: `${firstName.toLowerCase()}.${index + 1}.${seed}@example.com`,
  };
}

/** Everybody has a wallet for every day; every third has one for savings too. */
function planWallets(seed: number, currencyCode: string, owner: number): PlannedWallet[] {
  const labels = owner % 3 === 0 ? ["everyday", "savings"] : ["everyday"];
  return labels.map((label) => {
    const key = `${seed}/${currencyCode}/wallet/${owner}/${label}`;
    return { requestId: idOf(key), owner, label, initialMinor: drawAmount(`${key}/initial`, 10_000n, 100_000n) };
  });
}

function planMovements(
  { seed, users, transactions, currencyCode }: SeedOptions,
  walletCount: number,
): PlannedMovement[] {
  const balances = Array.from({ length: walletCount }, () => 0n);
  /** The wallets that have received money. */
  const funded: number[] = [];

  return Array.from({ length: transactions }, (_, index) => {
    const key = `${seed}/${currencyCode}/${users}/movement/${index}`;
    const chance = draw(`${key}/kind`, 100);
    const spender = funded.length === 0 ? undefined : pick(funded, draw(`${key}/spender`, funded.length));
    const available = spender === undefined ? 0n : assertPresent(balances[spender], "balance");
    if (spender === undefined || available < SPENDABLE_MIN || chance < 30) {
      const credit = draw(`${key}/credit`, walletCount);
      const amountMinor = drawAmount(`${key}/amount`, 1_000n, 50_000n);
      move(undefined, credit, amountMinor);
      return { kind: "deposit", requestId: idOf(key), credit, amountMinor, description: describe(key, DEPOSITS) };
    }
    const most = available < 20_000n ? available : 20_000n;
    const amountMinor = drawAmount(`${key}/amount`, 1n, most);
    if (chance < 50) {
      move(spender, undefined, amountMinor);
      return {
        kind: "withdrawal",
        requestId: idOf(key),
        debit: spender,
        amountMinor,
        description: describe(key, WITHDRAWALS),
      };
    }
    const credit = (spender + 1 + draw(`${key}/credit`, walletCount - 1)) % walletCount;
    move(spender, credit, amountMinor);
    return {
      kind: "transfer",
      requestId: idOf(key),
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
    // A wallet that spent everything is listed a second time: it only makes it the likelier spender.
    if (before === 0n) funded.push(credit);
    balances[credit] = before + amountMinor;
  }
}

function describe(key: string, texts: readonly string[]): string {
  return pick(texts, draw(`${key}/description`, texts.length));
}

function idOf(key: string): string {
  return v5(key, SEED_NAMESPACE);
}

/** A number from 0 to below the bound that follows from the key. */
function draw(key: string, bound: number): number {
  return digest32(key) % bound;
}

/** An amount in minor units, from `min` to `max`, that follows from the key. */
function drawAmount(key: string, min: bigint, max: bigint): bigint {
  return min + (BigInt(digest32(key)) % (max - min + 1n));
}

function digest32(key: string): number {
  return createHash("sha256").update(key).digest().readUInt32BE();
}

function pick<T>(items: readonly T[], index: number): T {
  return assertPresent(items[index % items.length], "item");
}
