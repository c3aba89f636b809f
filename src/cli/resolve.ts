import { IdKind } from "../../generated/grey/ledger/v1/naming.js";
import { LedgerServiceService } from "../../generated/grey/ledger/v1/ledger_service.js";
import { UserServiceService } from "../../generated/grey/user/v1/user_service.js";
import type { GetWalletResponse } from "../../generated/grey/wallet/v1/wallet.js";
import { WalletServiceService } from "../../generated/grey/wallet/v1/wallet_service.js";
import { assertPresent } from "../base/assert.js";
import { showMoney } from "./amount.js";
import { UsageError } from "./failure.js";
import { collect } from "./paging.js";
import type { CommandContext } from "./command-context.js";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const ID_PREFIX = /^[0-9a-f][0-9a-f-]{3,35}$/i;
/** An email, optionally followed by a slash and one of the user's wallets. */
const OWNER_AND_WALLET = /^([^/]*@[^/]+)(?:\/(.*))?$/s;

const KIND_NAMES = {
  [IdKind.USER]: "user",
  [IdKind.WALLET]: "wallet",
  [IdKind.TRANSACTION]: "transaction",
  [IdKind.HOLD]: "hold",
  [IdKind.SCHEDULE]: "schedule",
  [IdKind.ALERT]: "alert",
} as const;

/** The ways to name a wallet, as --help shows them. */
export const ABOUT_WALLETS = `
A wallet is named by its id, by a unique prefix of its id, or by its owner with label
(ada@example.com/savings) or currency (ada@example.com/USD); an owner with a single
wallet is enough (ada@example.com).
`;

type Kind = keyof typeof KIND_NAMES;

/** Resolves an id or a unique prefix of one to the id. */
export async function resolveId(kind: Kind, text: string, context: CommandContext): Promise<string> {
  // The server refuses what is no id at all.
  if (UUID.test(text) || !ID_PREFIX.test(text)) return text;
  const { ids } = await context.call(LedgerServiceService.findIds, { prefix: text, kind });
  const [id, ...more] = ids;
  const name = KIND_NAMES[kind];
  if (id === undefined) throw new UsageError(`no ${name} has an id that begins with ${text}`);
  if (more.length > 0)
    throw new UsageError(
      [`several ${name}s have an id that begins with ${text}; type more of it:`, ...ids].join("\n  "),
    );
  return id;
}

/** Resolves a user's id, a unique prefix of one, or an email to the id. */
export async function resolveUser(userKey: string, context: CommandContext): Promise<string> {
  if (!userKey.includes("@")) return resolveId(IdKind.USER, userKey, context);
  const reply = await context.call(UserServiceService.getUser, { by: { $case: "email", value: userKey } });
  return assertPresent(reply.user, "user").id;
}

/** Resolves a wallet, named as ABOUT_WALLETS explains, to its id. */
export async function resolveWallet(text: string, context: CommandContext): Promise<string> {
  const [, email, which] = OWNER_AND_WALLET.exec(text) ?? [];
  if (email === undefined) {
    if (!ID_PREFIX.test(text))
      throw new UsageError(`"${text}" does not name a wallet; use its id or its owner, such as ada@example.com/USD`);
    return resolveId(IdKind.WALLET, text, context);
  }
  const wallets = await fetchWallets(email, context);
  const named = which === undefined ? wallets : matchWallets(which, wallets);
  const [one, ...more] = named;
  if (one !== undefined && more.length === 0) return assertPresent(one.wallet, "wallet").id;
  if (wallets.length === 0)
    throw new UsageError(`${email} has no wallet; open one with: grey wallet create ${email} USD`);
  const problem =
    named.length === 0
      ? `${email} has no wallet ${which ?? ""}; choose one of`
      : `${text} matches several wallets; choose one of`;
  throw new UsageError(
    [`${problem}:`, ...(await listCandidates(email, named.length === 0 ? wallets : named, context))].join("\n  "),
  );
}

/** Resolves wallets to their ids; a user stands for all of the user's wallets. */
export async function resolveWallets(texts: readonly string[], context: CommandContext): Promise<string[]> {
  const ids = await Promise.all(
    texts.map(async (text) => {
      const [, email, which] = OWNER_AND_WALLET.exec(text) ?? [];
      if (email === undefined || which !== undefined) return [await resolveWallet(text, context)];
      return (await fetchWallets(email, context)).map(({ wallet }) => assertPresent(wallet, "wallet").id);
    }),
  );
  return [...new Set(ids.flat())];
}

/** Returns true if the arguments name one wallet rather than all wallets of a user. */
export function namesOneWallet(texts: readonly string[]): boolean {
  return texts.length === 1 && !/^[^/]*@[^/]+$/.test(texts[0] ?? "");
}

/** The maximum number of a user's wallets to look through. */
const WALLETS_MAX = 1_000;

async function fetchWallets(email: string, context: CommandContext): Promise<GetWalletResponse[]> {
  const userId = await resolveUser(email, context);
  const { items } = await collect<GetWalletResponse>(WALLETS_MAX, async (page) => {
    const reply = await context.call(WalletServiceService.listWallets, { userId, ...page });
    return { items: reply.wallets, nextPageToken: reply.nextPageToken };
  });
  return items;
}

/** Finds the wallets with this label; if none, those in this currency; if none, those with this id prefix. */
function matchWallets(which: string, wallets: readonly GetWalletResponse[]): readonly GetWalletResponse[] {
  const criteria: ((wallet: NonNullable<GetWalletResponse["wallet"]>) => boolean)[] = [
    ({ label }) => label === which,
    ({ label }) => label.toLowerCase() === which.toLowerCase(),
    ({ currencyCode }) => currencyCode === which.toUpperCase(),
    ({ id }) => ID_PREFIX.test(which) && id.startsWith(which.toLowerCase()),
  ];
  for (const matches of criteria) {
    const named = wallets.filter(({ wallet }) => wallet !== undefined && matches(wallet));
    if (named.length > 0) return named;
  }
  return [];
}

const CANDIDATES_MAX = 20;

async function listCandidates(
  email: string,
  wallets: readonly GetWalletResponse[],
  context: CommandContext,
): Promise<string[]> {
  const currencies = await context.currencies();
  const lines = wallets.slice(0, CANDIDATES_MAX).map(({ wallet, balance }) => {
    const { id, label, currencyCode } = assertPresent(wallet, "wallet");
    return `${id}  ${email}/${label === "" ? currencyCode : label}  ${showMoney(balance?.posted, currencies)}`;
  });
  return wallets.length > CANDIDATES_MAX ? [...lines, `and ${wallets.length - CANDIDATES_MAX} more`] : lines;
}
