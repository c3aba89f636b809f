import { TransactionKind, type Precondition } from "../../generated/grey/transaction/v1/transaction.js";
import type { HoldState } from "../../generated/grey/transaction/v1/hold.js";
import { systemAccountId, type Uuid } from "../../src/base/ids.js";
import type { Micros } from "../../src/base/time.js";

// A model of the whole ledger, small enough to read: the effect of each operation, or the reason of its refusal. It shares no rule
// with the service. A step works on a copy of the ledger and throws its refusal, which discards the copy.

export type Currency = "USD" | "EUR";

/** A limit per year, so that nothing leaves the window in these tests. */
export interface Limit {
  readonly name: string;
  readonly isIncoming: boolean;
  /** The kinds that it applies to; empty for all. */
  readonly kinds: readonly TransactionKind[];
  readonly maxAmount: bigint | undefined;
  readonly maxCount: bigint | undefined;
  amount: bigint;
  count: bigint;
}

/** A wallet or a system account. */
export interface Account {
  readonly id: Uuid;
  readonly currency: Currency;
  readonly isWallet: boolean;
  /** Credits less debits, for a system account since the start of the model. */
  balance: bigint;
  /** Pending outgoing. */
  out: bigint;
  /** Pending incoming. */
  in: bigint;
  /** The number of entries. */
  version: bigint;
  state: "OPEN" | "FROZEN" | "CLOSED";
  min: bigint | undefined;
  max: bigint | undefined;
  limits: readonly Limit[];
}

/** A debit of an account, or a credit if negative. */
export interface Leg {
  readonly accountId: Uuid;
  readonly currency: Currency;
  readonly amount: bigint;
}

export interface Transaction {
  /** Empty until the service has told it. */
  id: Uuid;
  readonly kind: TransactionKind;
  /** The reason of a rejection. */
  readonly refusal: string | undefined;
  readonly amount: bigint;
  readonly legs: readonly Leg[];
  metadata: Readonly<Record<string, string>>;
  /** The effective time; undefined for the time of record. */
  readonly time: Micros | undefined;
  /** The transaction whose effective time it takes instead. */
  readonly sameTimeAs: Transaction | undefined;
  reversed: bigint;
  /** The reversed amount of each leg. */
  readonly reversedLegs: bigint[];
}

export interface Hold {
  /** The transaction that made it, which has the hold's id. */
  readonly by: Transaction;
  readonly walletId: Uuid;
  readonly toId: Uuid | undefined;
  amount: bigint;
  captured: bigint;
  state: keyof typeof HoldState;
  /** Undefined if the test has moved it. */
  expires: Micros | undefined;
}

export interface Movement {
  readonly kind: TransactionKind.DEPOSIT | TransactionKind.WITHDRAWAL | TransactionKind.TRANSFER;
  readonly fromId: Uuid;
  readonly toId: Uuid;
  readonly currency: Currency;
  readonly amount: bigint;
  readonly isUpTo?: boolean;
  readonly time?: Micros | undefined;
}

export interface Schedule {
  /** Empty until the service has told it. */
  id: Uuid;
  readonly movement: Movement;
  readonly failsWithoutFunds: boolean;
  state: "ACTIVE" | "PAUSED" | "COMPLETED" | "CANCELLED" | "FAILED";
  runs: number;
}

export interface Books {
  readonly accounts: ReadonlyMap<Uuid, Account>;
  readonly holds: Hold[];
  readonly transactions: Transaction[];
  readonly schedules: Schedule[];
}

/** The result of a request: the ledger after it, whose last transactions are new. */
export interface Outcome {
  readonly books: Books;
  readonly made: number;
  readonly reason: string | undefined;
}

class Refusal extends Error {
  constructor(readonly reason: string) {
    super(reason);
  }
}

function refuse(reason: string): never {
  throw new Refusal(reason);
}

/** @param work changes the draft, or throws a Refusal */
function attempt(books: Books, work: (draft: Books) => void): { readonly books: Books; readonly reason?: string } {
  const draft = structuredClone(books);
  try {
    work(draft);
    return { books: draft };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { books, reason: error.reason };
  }
}

/** Applies a change without a transaction. */
export function change(books: Books, work: (draft: Books) => void): Outcome {
  return { reason: undefined, ...attempt(books, work), made: 0 };
}

/** Applies a change that is recorded as a transaction even if refused. */
export function post(
  books: Books,
  preconditions: readonly Precondition[],
  work: (draft: Books) => Transaction,
  metadata: Readonly<Record<string, string>> = {},
): Outcome {
  const { books: after, reason } = attempt(books, (draft) => {
    const made = work(draft);
    made.metadata = metadata;
    draft.transactions.push(made);
    assertMet(books, draft, preconditions);
  });
  return { books: reason === undefined ? after : rejected(books, reason, metadata), reason, made: 1 };
}

function rejected(books: Books, refusal: string, metadata: Readonly<Record<string, string>> = {}): Books {
  const transaction = { ...createTransaction(TransactionKind.UNSPECIFIED, 0n, []), refusal, metadata };
  return { ...books, transactions: [...books.transactions, transaction] };
}

function createTransaction(kind: TransactionKind, amount: bigint, legs: readonly Leg[], time?: Micros): Transaction {
  return {
    id: "",
    kind,
    refusal: undefined,
    amount,
    legs,
    metadata: {},
    time,
    sameTimeAs: undefined,
    reversed: 0n,
    reversedLegs: legs.map(() => 0n),
  };
}

function assertMet(before: Books, after: Books, preconditions: readonly Precondition[]): void {
  for (const { walletId, expectedVersion, minBalanceAfter, maxBalanceAfter } of preconditions) {
    const wallet = accountOf(after, walletId);
    if (
      (expectedVersion !== undefined && accountOf(before, walletId).version !== expectedVersion) ||
      (minBalanceAfter !== undefined && available(wallet) < minBalanceAfter) ||
      (maxBalanceAfter !== undefined && wallet.balance + wallet.in > maxBalanceAfter)
    )
      refuse("PRECONDITION_FAILED");
  }
}

export function available({ balance, out }: Account): bigint {
  return balance - out;
}

export function accountOf({ accounts }: Books, id: Uuid): Account {
  return accounts.get(id) ?? refuse("ACCOUNT_NOT_FOUND");
}

export function newAccount(id: Uuid, currency: Currency, isWallet: boolean): Account {
  const nothing = { balance: 0n, out: 0n, in: 0n, version: 0n };
  const limits = { min: isWallet ? 0n : undefined, max: undefined, limits: [] };
  return { id, currency, isWallet, state: "OPEN", ...nothing, ...limits };
}

/** Returns the account if it can take part in movements of this currency. */
function findParticipant(books: Books, id: Uuid, currency: Currency): Account {
  const account = accountOf(books, id);
  if (account.currency !== currency) refuse("CURRENCY_MISMATCH");
  if (account.state !== "OPEN") refuse(`WALLET_${account.state}`);
  return account;
}

function assertFunds(account: Account, amount: bigint): void {
  if (account.min !== undefined && available(account) - amount < account.min) refuse("INSUFFICIENT_FUNDS");
}

function assertRoom({ balance, in: coming, max }: Account, amount: bigint): void {
  if (max !== undefined && balance + coming + amount > max) refuse("MAX_BALANCE_EXCEEDED");
}

interface Use {
  readonly kind: TransactionKind;
  readonly isIncoming: boolean;
  readonly amount: bigint;
  /** 0 for a step that only adds to a counted amount. */
  readonly count?: bigint;
}

/** Counts a movement against the account's velocity limits, unless one is exceeded. */
function use({ limits }: Account, { kind, isIncoming, amount, count = 1n }: Use): void {
  for (const limit of limits) {
    if (limit.isIncoming !== isIncoming || (limit.kinds.length > 0 && !limit.kinds.includes(kind))) continue;
    limit.amount += amount;
    limit.count += count;
    if (limit.maxAmount !== undefined && limit.amount > limit.maxAmount) refuse("VELOCITY_EXCEEDED");
    if (limit.maxCount !== undefined && count > 0n && limit.count > limit.maxCount) refuse("VELOCITY_EXCEEDED");
  }
}

/** Posts legs: checks all accounts, then funds and room for the sum of their legs, then velocity limits. */
function enter(books: Books, kind: TransactionKind, legs: readonly Leg[]): void {
  for (const { accountId, currency } of legs) findParticipant(books, accountId, currency);
  const accounts = [...new Set(legs.map((leg) => accountOf(books, leg.accountId)))];
  const sumOf = ({ id }: Account, isCounted: (amount: bigint) => boolean): bigint =>
    legs.reduce((sum, leg) => (leg.accountId === id && isCounted(leg.amount) ? sum + leg.amount : sum), 0n);
  for (const account of accounts) {
    const net = sumOf(account, () => true);
    if (net > 0n) assertFunds(account, net);
    if (net < 0n) assertRoom(account, -net);
  }
  for (const account of kind === TransactionKind.REVERSAL ? [] : accounts) {
    const debits = sumOf(account, (amount) => amount > 0n);
    const credits = -sumOf(account, (amount) => amount < 0n);
    if (debits > 0n) use(account, { kind, isIncoming: false, amount: debits });
    if (credits > 0n) use(account, { kind, isIncoming: true, amount: credits });
  }
  for (const { accountId, amount } of legs) {
    const account = accountOf(books, accountId);
    account.balance -= amount;
    account.version += 1n;
  }
}

/** Posts money from one account to another. */
export function move(books: Books, movement: Movement): Transaction {
  const { kind, fromId, toId, currency, isUpTo = false } = movement;
  if (fromId === toId) refuse("SAME_WALLET");
  const { min, ...payer } = accountOf(books, fromId);
  const spendable = payer.balance - payer.out - (min ?? 0n);
  const amount = isUpTo && spendable > 0n && spendable < movement.amount ? spendable : movement.amount;
  const legs = [
    { accountId: fromId, currency, amount },
    { accountId: toId, currency, amount: -amount },
  ];
  enter(books, kind, legs);
  return createTransaction(kind, amount, legs, movement.time);
}

/** Posts legs; the amount is the sum of the debits in the first leg's currency. */
export function compound(books: Books, legs: readonly Leg[], time: Micros | undefined): Transaction {
  enter(books, TransactionKind.COMPOUND, legs);
  const debits = legs.filter(({ amount, currency }) => amount > 0n && currency === legs[0]!.currency);
  return createTransaction(
    TransactionKind.COMPOUND,
    debits.reduce((sum, leg) => sum + leg.amount, 0n),
    legs,
    time,
  );
}

/** Posts an exchange at 1.5, rounded half to even. */
export function exchange(books: Books, fromId: Uuid, toId: Uuid, amount: bigint): Transaction {
  if (fromId === toId) refuse("SAME_WALLET");
  const [source, target] = [accountOf(books, fromId).currency, accountOf(books, toId).currency];
  if (source === target) refuse("SAME_CURRENCY");
  const down = (3n * amount) / 2n;
  const worth = amount % 2n === 1n && down % 2n === 1n ? down + 1n : down;
  const legs = [
    { accountId: fromId, currency: source, amount },
    { accountId: systemAccountId(source, "fx"), currency: source, amount: -amount },
    { accountId: systemAccountId(target, "fx"), currency: target, amount: worth },
    { accountId: toId, currency: target, amount: -worth },
  ];
  enter(books, TransactionKind.EXCHANGE, legs);
  return createTransaction(TransactionKind.EXCHANGE, amount, legs);
}

/** Posts a wallet's initial balance. */
export function open(books: Books, walletId: Uuid, amount: bigint): Transaction {
  const { currency } = accountOf(books, walletId);
  const legs = [
    { accountId: systemAccountId(currency, "opening"), currency, amount },
    { accountId: walletId, currency, amount: -amount },
  ];
  enter(books, TransactionKind.OPENING, legs);
  return createTransaction(TransactionKind.OPENING, amount, legs);
}

const REVERSIBLE = [
  TransactionKind.OPENING,
  TransactionKind.DEPOSIT,
  TransactionKind.WITHDRAWAL,
  TransactionKind.TRANSFER,
  TransactionKind.HOLD_CAPTURE,
  TransactionKind.COMPOUND,
  TransactionKind.EXCHANGE,
];

/** @param part undefined for the remainder */
export function reverse(books: Books, index: number, part: bigint | undefined, atSameTime: boolean): Transaction {
  const original = books.transactions[index]!;
  const { kind, amount, legs, reversed } = original;
  if (!REVERSIBLE.includes(kind) || amount === 0n) refuse("NOT_REVERSIBLE");
  const reversedAmount = part ?? amount - reversed;
  if (reversedAmount === 0n || reversed + reversedAmount > amount) refuse("REVERSAL_EXCEEDED");
  const parts = shareOut(original, reversedAmount);
  const mirror = legs.map((leg, place) => ({ ...leg, amount: leg.amount > 0n ? -parts[place]! : parts[place]! }));
  const isOfMany = kind === TransactionKind.COMPOUND || kind === TransactionKind.EXCHANGE;
  const entered = (isOfMany ? mirror : mirror.toReversed()).filter((leg) => leg.amount !== 0n);
  enter(books, TransactionKind.REVERSAL, entered);
  original.reversed += reversedAmount;
  count(original, parts);
  const made = createTransaction(TransactionKind.REVERSAL, reversedAmount, entered);
  return { ...made, sameTimeAs: atSameTime ? original : undefined };
}

/** Assigns the reversed debits or credits of an account to its legs, first to last. */
function count({ legs, reversedLegs }: Transaction, parts: readonly bigint[]): void {
  const keyOf = ({ accountId, amount }: Leg): string => `${accountId}${amount > 0n}`;
  const sums = new Map<string, bigint>();
  for (const [place, leg] of legs.entries())
    sums.set(keyOf(leg), (sums.get(keyOf(leg)) ?? 0n) + reversedLegs[place]! + parts[place]!);
  for (const [place, leg] of legs.entries()) {
    const size = leg.amount > 0n ? leg.amount : -leg.amount;
    const sum = sums.get(keyOf(leg))!;
    reversedLegs[place] = sum < size ? sum : size;
    sums.set(keyOf(leg), sum - reversedLegs[place]);
  }
}

/** Distributes a part over the legs: proportional by currency and side, rounded up, then by each leg's remainder. */
function shareOut({ amount, legs, reversed, reversedLegs }: Transaction, part: bigint): bigint[] {
  const sizes = legs.map((leg) => (leg.amount > 0n ? leg.amount : -leg.amount));
  const sideOf = (leg: Leg): string => `${leg.currency}${leg.amount > 0n}`;
  const sum = (values: readonly bigint[]): bigint => values.reduce((total, one) => total + one, 0n);
  const upTo = (whole: bigint, some: bigint): bigint => (whole * some + amount - 1n) / amount;
  return legs.map((leg, place) => {
    const side = legs.flatMap((one, index) => (sideOf(one) === sideOf(leg) ? [index] : []));
    const whole = sum(side.map((index) => sizes[index]!));
    const wanted = upTo(whole, reversed + part) - upTo(whole, reversed);
    const left = (places: readonly number[]): bigint =>
      sum(places.map((index) => sizes[index]! - reversedLegs[index]!));
    // Running sums are rounded down, so that the shares add up to the total.
    const gets = (places: readonly number[]): bigint => (left(side) === 0n ? 0n : (left(places) * wanted) / left(side));
    return gets(side.filter((index) => index <= place)) - gets(side.filter((index) => index < place));
  });
}

export interface HoldRequest {
  readonly walletId: Uuid;
  readonly toId: Uuid | undefined;
  readonly currency: Currency;
  readonly amount: bigint;
  readonly expires: Micros;
}

export function hold(books: Books, { walletId, toId, currency, amount, expires }: HoldRequest): Transaction {
  if (walletId === toId) refuse("SAME_WALLET");
  findParticipant(books, walletId, currency);
  if (toId !== undefined) findParticipant(books, toId, currency);
  const by = createTransaction(TransactionKind.HOLD, amount, []);
  const held: Hold = { by, walletId, toId, amount, captured: 0n, state: "ACTIVE", expires };
  reserve(books, held, amount, 1n);
  books.holds.push(held);
  return by;
}

/** Returns the hold at this index if it is active. */
function activeHold(books: Books, index: number): Hold {
  const held = books.holds[index]!;
  if (held.state === "EXPIRED") refuse("HOLD_EXPIRED");
  if (held.state !== "ACTIVE") refuse("HOLD_ENDED");
  return held;
}

/** Reserves the payer's money and the payee's room. */
function reserve(books: Books, { walletId, toId }: Hold, amount: bigint, count: bigint): void {
  const wallet = accountOf(books, walletId);
  const to = toId === undefined ? undefined : accountOf(books, toId);
  assertFunds(wallet, amount);
  if (to !== undefined) assertRoom(to, amount);
  use(wallet, { kind: TransactionKind.HOLD, isIncoming: false, amount, count });
  if (to !== undefined) use(to, { kind: TransactionKind.HOLD, isIncoming: true, amount, count });
  step(books, { walletId, toId }, amount);
}

/** Changes pending amounts, with an entry for each wallet of the hold. */
function step(books: Books, { walletId, toId }: Pick<Hold, "walletId" | "toId">, amount: bigint): void {
  const wallet = accountOf(books, walletId);
  wallet.out += amount;
  wallet.version += 1n;
  if (toId === undefined) return;
  const to = accountOf(books, toId);
  to.in += amount;
  to.version += 1n;
}

export function increase(books: Books, index: number, amount: bigint): Transaction {
  const held = activeHold(books, index);
  const { currency } = accountOf(books, held.walletId);
  findParticipant(books, held.walletId, currency);
  if (held.toId !== undefined) findParticipant(books, held.toId, currency);
  reserve(books, held, amount, 0n);
  held.amount += amount;
  return createTransaction(TransactionKind.HOLD_INCREASE, amount, []);
}

export function extend(books: Books, index: number, expires: Micros): Transaction {
  const held = activeHold(books, index);
  const { currency } = accountOf(books, held.walletId);
  const wallet = findParticipant(books, held.walletId, currency);
  if (held.toId !== undefined) findParticipant(books, held.toId, currency);
  if (expires <= held.expires!) refuse("EXPIRY_INVALID");
  held.expires = expires;
  wallet.version += 1n;
  return createTransaction(TransactionKind.HOLD_EXTENSION, 0n, []);
}

export interface CaptureRequest {
  /** Undefined for the remainder. */
  readonly amount: bigint | undefined;
  readonly isFinal: boolean;
  /** Undefined for the hold's payee, or else `cash`. */
  readonly toId: Uuid | undefined;
}

export function capture(books: Books, index: number, request: CaptureRequest): Transaction {
  const held = activeHold(books, index);
  const { currency } = accountOf(books, held.walletId);
  const left = held.amount - held.captured;
  const amount = request.amount ?? left;
  if (held.toId !== undefined && request.toId !== undefined && request.toId !== held.toId)
    refuse("HOLD_HAS_DESTINATION");
  const toId = request.toId ?? held.toId ?? systemAccountId(currency, "cash");
  const to = accountOf(books, toId);
  if (toId === held.walletId) refuse("SAME_WALLET");
  const wallet = findParticipant(books, held.walletId, currency);
  findParticipant(books, toId, currency);
  if (amount > left) refuse("HOLD_EXCEEDED");
  const isLast = request.isFinal || amount === left;
  const legs = [
    { accountId: wallet.id, currency, amount },
    { accountId: toId, currency, amount: -amount },
  ];
  // The hold has reserved and counted the room of its payee, but not that of another wallet.
  if (held.toId === undefined && amount > 0n) {
    assertRoom(to, amount);
    use(to, { kind: TransactionKind.HOLD_CAPTURE, isIncoming: true, amount });
    to.version += 1n;
  }
  step(books, held, isLast ? -left : -amount);
  wallet.balance -= amount;
  to.balance += amount;
  held.captured += amount;
  if (isLast) held.state = held.captured > 0n ? "CAPTURED" : "RELEASED";
  return createTransaction(TransactionKind.HOLD_CAPTURE, amount, amount === 0n ? [] : legs);
}

export function release(books: Books, index: number): Transaction {
  return releaseRemainder(books, activeHold(books, index), "RELEASED", TransactionKind.HOLD_RELEASE);
}

/** Expires a hold. */
export function expire(books: Books, index: number): Transaction {
  return releaseRemainder(books, activeHold(books, index), "EXPIRED", TransactionKind.HOLD_EXPIRY);
}

function releaseRemainder(books: Books, held: Hold, state: Hold["state"], kind: TransactionKind): Transaction {
  const left = held.amount - held.captured;
  step(books, held, -left);
  held.state = state;
  if (state === "EXPIRED") held.expires = undefined;
  return createTransaction(kind, left, []);
}

/** Posts a batch of transfers; its refusals are joined. */
export function batch(
  books: Books,
  transfers: readonly { readonly movement: Movement; readonly preconditions: readonly Precondition[] }[],
  isAtomic: boolean,
): Outcome & { readonly reason: string } {
  let after = books;
  const reasons: (string | undefined)[] = [];
  for (const { movement, preconditions } of transfers) {
    const outcome = post(after, preconditions, (draft) => move(draft, movement));
    after = outcome.books;
    reasons.push(outcome.reason);
    if (isAtomic && outcome.reason !== undefined) break;
  }
  const culprit = reasons.length - 1;
  if (isAtomic && reasons[culprit] !== undefined) {
    reasons.push(...transfers.slice(reasons.length).map(() => undefined));
    reasons.forEach((_, index) => (reasons[index] = index === culprit ? reasons[index] : "BATCH_ABORTED"));
    after = reasons.reduce<Books>((all, reason) => rejected(all, reason!), books);
  }
  return { books: after, made: transfers.length, reason: reasons.map((reason) => reason ?? "POSTED").join(", ") };
}

export type Verb = "freeze" | "unfreeze" | "close" | "reopen";

export function setState(books: Books, walletId: Uuid, verb: Verb): void {
  const wallet = accountOf(books, walletId);
  const { state, balance, out, in: coming } = wallet;
  if (verb === "reopen") {
    if (state !== "CLOSED") refuse("WALLET_NOT_CLOSED");
  } else if (state === "CLOSED") refuse("WALLET_CLOSED");
  else if (verb === "unfreeze") {
    if (state !== "FROZEN") refuse("WALLET_NOT_FROZEN");
  } else if (state === "FROZEN") refuse("WALLET_FROZEN");
  if (verb === "close" && (balance !== 0n || out !== 0n || coming !== 0n)) refuse("WALLET_NOT_EMPTY");
  wallet.state = ({ freeze: "FROZEN", unfreeze: "OPEN", close: "CLOSED", reopen: "OPEN" } as const)[verb];
}

/** Sets limits; a limit keeps its usage if only its maxima change. */
export function setLimits(
  books: Books,
  walletId: Uuid,
  { min, max, limits }: Pick<Account, "min" | "max" | "limits">,
): void {
  const wallet = accountOf(books, walletId);
  if (available(wallet) < min! || (max !== undefined && wallet.balance + wallet.in > max)) refuse("LIMIT_BREACHED");
  wallet.limits = limits.map((limit) => {
    const before = wallet.limits.find(
      ({ name, isIncoming, kinds }) =>
        name === limit.name && isIncoming === limit.isIncoming && kinds.join() === limit.kinds.join(),
    );
    return { ...limit, amount: before?.amount ?? 0n, count: before?.count ?? 0n };
  });
  wallet.min = min;
  wallet.max = max;
}

/** The reasons of permanent refusals. */
const LASTING = ["WALLET_CLOSED", "CURRENCY_MISMATCH", "SAME_WALLET"];

export function createSchedule(books: Books, movement: Movement, failsWithoutFunds: boolean): void {
  const { reason = "" } = attempt(books, (draft) => {
    // A freeze may end before a run, and hides nothing else.
    for (const account of draft.accounts.values()) if (account.state === "FROZEN") account.state = "OPEN";
    move(draft, movement);
  });
  if (LASTING.includes(reason)) refuse(reason);
  books.schedules.push({ id: "", movement, failsWithoutFunds, state: "ACTIVE", runs: 0 });
}

export function setSchedule(books: Books, index: number, verb: "pause" | "resume" | "cancel"): void {
  const schedule = books.schedules[index]!;
  const { state } = schedule;
  if (state !== "ACTIVE" && state !== "PAUSED") refuse("SCHEDULE_ENDED");
  if (verb === "pause" && state === "PAUSED") refuse("SCHEDULE_NOT_ACTIVE");
  if (verb === "resume" && state === "ACTIVE") refuse("SCHEDULE_NOT_PAUSED");
  schedule.state = ({ pause: "PAUSED", resume: "ACTIVE", cancel: "CANCELLED" } as const)[verb];
}

/** Makes the only run of a schedule; a refusal is recorded in its transaction. */
export function runSchedule(books: Books, index: number): Outcome {
  const { movement, failsWithoutFunds } = books.schedules[index]!;
  const outcome = post(books, [], (draft) => move(draft, movement));
  const { reason } = outcome;
  const fails = reason !== undefined && (failsWithoutFunds || LASTING.includes(reason));
  const ended = change(outcome.books, ({ schedules }) => {
    const schedule = schedules[index]!;
    schedule.runs += 1;
    schedule.state = fails ? "FAILED" : "COMPLETED";
  });
  return { ...outcome, books: ended.books };
}

/** Changes the metadata pairs. */
export function setMetadata(
  books: Books,
  index: number,
  set: Readonly<Record<string, string>>,
  removed: readonly string[],
): void {
  const transaction = books.transactions[index]!;
  const kept = Object.entries(transaction.metadata).filter(([key]) => !removed.includes(key));
  transaction.metadata = { ...Object.fromEntries(kept), ...set };
}

/** The transactions' times of record, from the service. */
export type Recorded = ReadonlyMap<Uuid, Micros>;

export function effectiveTimeOf({ sameTimeAs, time, id }: Transaction, recorded: Recorded): Micros {
  return sameTimeAs === undefined ? (time ?? recorded.get(id)!) : effectiveTimeOf(sameTimeAs, recorded);
}

/** Returns the account's balance by effective time. */
export function balanceAt({ transactions }: Books, accountId: Uuid, time: Micros, recorded: Recorded): bigint {
  return transactions
    .filter((one) => effectiveTimeOf(one, recorded) <= time)
    .flatMap(({ legs }) => legs)
    .filter((leg) => leg.accountId === accountId)
    .reduce((sum, leg) => sum - leg.amount, 0n);
}
