import { IdKind } from "../../generated/grey/ledger/v1/naming.js";
import { LedgerServiceService } from "../../generated/grey/ledger/v1/ledger_service.js";
import { UserServiceService } from "../../generated/grey/user/v1/user_service.js";
import type { GetWalletResponse } from "../../generated/grey/wallet/v1/wallet.js";
import { WalletServiceService } from "../../generated/grey/wallet/v1/wallet_service.js";
import { assertPresent } from "../base/assert.js";
import { showMoney } from "./amount.js";
import { UsageError } from "./failure.js";
import { collect } from "./paging.js";
import type { Session } from "./session.js";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const BEGINNING = /^[0-9a-f][0-9a-f-]{3,35}$/i;
/** An email, and after a slash which wallet of the user's. */
const OF_USER = /^([^/]*@[^/]+)(?:\/(.*))?$/s;

const KIND_NAMES = {
  [IdKind.USER]: "user",
  [IdKind.WALLET]: "wallet",
  [IdKind.TRANSACTION]: "transaction",
  [IdKind.HOLD]: "hold",
  [IdKind.SCHEDULE]: "schedule",
  [IdKind.ALERT]: "alert",
} as const;

/** How a wallet may be named, for the help. */
export const ABOUT_WALLETS = `
A wallet is named by its id, by any beginning of it that no other has, or by its owner:
ada@example.com/savings (its label), ada@example.com/USD (its currency), or only
ada@example.com when she has one wallet.`;

type Kind = keyof typeof KIND_NAMES;

/** The id of the thing of this kind that was named by its id, or by a beginning of it that no other has. */
export async function resolveId(kind: Kind, text: string, session: Session): Promise<string> {
  // What is no id at all, the server says so.
  if (UUID.test(text) || !BEGINNING.test(text)) return text;
  const { ids } = await session.call(LedgerServiceService.findIds, { prefix: text, kind });
  const [id, ...more] = ids;
  const name = KIND_NAMES[kind];
  if (id === undefined) throw new UsageError(`no ${name} has an id that begins with ${text}`);
  if (more.length > 0)
    throw new UsageError(
      [`several ${name}s have an id that begins with ${text}; type more of it:`, ...ids].join("\n  "),
    );
  return id;
}

/** The id of the user that was named by id, by a beginning of it, or by email. */
export async function resolveUser(who: string, session: Session): Promise<string> {
  if (!who.includes("@")) return resolveId(IdKind.USER, who, session);
  const reply = await session.call(UserServiceService.getUser, { by: { $case: "email", value: who } });
  return assertPresent(reply.user, "user").id;
}

/** The id of the wallet that was named as ABOUT_WALLETS says. */
export async function resolveWallet(text: string, session: Session): Promise<string> {
  const [, email, which] = OF_USER.exec(text) ?? [];
  if (email === undefined) {
    if (!BEGINNING.test(text))
      throw new UsageError(`"${text}" names no wallet; name it by its id or by its owner, such as ada@example.com/USD`);
    return resolveId(IdKind.WALLET, text, session);
  }
  const wallets = await walletsOf(email, session);
  const named = which === undefined ? wallets : namedAs(which, wallets);
  const [one, ...more] = named;
  if (one !== undefined && more.length === 0) return assertPresent(one.wallet, "wallet").id;
  if (wallets.length === 0)
    throw new UsageError(`${email} has no wallet; open one with: grey wallet create ${email} USD`);
  const problem =
    named.length === 0 ? `${email} has no wallet ${which ?? ""}; there is` : `${text} is not one wallet; say which`;
  throw new UsageError(
    [`${problem}:`, ...(await proposals(email, named.length === 0 ? wallets : named, session))].join("\n  "),
  );
}

/** The ids of the wallets that were named; a user stands for all of theirs. */
export async function resolveWallets(texts: readonly string[], session: Session): Promise<string[]> {
  const ids = await Promise.all(
    texts.map(async (text) => {
      const [, email, which] = OF_USER.exec(text) ?? [];
      if (email === undefined || which !== undefined) return [await resolveWallet(text, session)];
      return (await walletsOf(email, session)).map(({ wallet }) => assertPresent(wallet, "wallet").id);
    }),
  );
  return [...new Set(ids.flat())];
}

/** Whether one wallet was named, and not all of a user's. */
export function isOneWallet(texts: readonly string[]): boolean {
  return texts.length === 1 && !/^[^/]*@[^/]+$/.test(texts[0] ?? "");
}

/** Nobody looks through more. */
const WALLETS_MAX = 1_000;

async function walletsOf(email: string, session: Session): Promise<GetWalletResponse[]> {
  const userId = await resolveUser(email, session);
  const { items } = await collect<GetWalletResponse>(WALLETS_MAX, async (page) => {
    const reply = await session.call(WalletServiceService.listWallets, { userId, ...page });
    return { items: reply.wallets, nextPageToken: reply.nextPageToken };
  });
  return items;
}

/** The wallets of this label; where there are none, those of this currency, or those whose id begins so. */
function namedAs(which: string, wallets: readonly GetWalletResponse[]): readonly GetWalletResponse[] {
  const ways: ((wallet: NonNullable<GetWalletResponse["wallet"]>) => boolean)[] = [
    ({ label }) => label === which,
    ({ label }) => label.toLowerCase() === which.toLowerCase(),
    ({ currencyCode }) => currencyCode === which.toUpperCase(),
    ({ id }) => BEGINNING.test(which) && id.startsWith(which.toLowerCase()),
  ];
  for (const way of ways) {
    const named = wallets.filter(({ wallet }) => wallet !== undefined && way(wallet));
    if (named.length > 0) return named;
  }
  return [];
}

const PROPOSALS_MAX = 20;

async function proposals(email: string, wallets: readonly GetWalletResponse[], session: Session): Promise<string[]> {
  const currencies = await session.currencies();
  const lines = wallets.slice(0, PROPOSALS_MAX).map(({ wallet, balance }) => {
    const { id, label, currencyCode } = assertPresent(wallet, "wallet");
    return `${id}  ${email}/${label === "" ? currencyCode : label}  ${showMoney(balance?.posted, currencies)}`;
  });
  return wallets.length > PROPOSALS_MAX ? [...lines, `and ${wallets.length - PROPOSALS_MAX} more`] : lines;
}
