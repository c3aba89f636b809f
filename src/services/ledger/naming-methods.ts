import { Between, In, type EntityTarget } from "typeorm";
import { IdKind, type AccountName, type FindIdsRequest } from "../../../generated/grey/ledger/v1/naming.js";
import type { LedgerServiceService } from "../../../generated/grey/ledger/v1/ledger_service.js";
import { parseId, type Uuid } from "../../base/ids.js";
import type { Database } from "../../db/database.js";
import { readInSession, type Session } from "../../db/in-transaction.js";
import { AccountEntity } from "../../entities/account.js";
import { BalanceAlertEntity } from "../../entities/alert.js";
import { HoldEntity } from "../../entities/hold.js";
import { ScheduleEntity } from "../../entities/schedule.js";
import { TransactionEntity } from "../../entities/transaction.js";
import { UserEntity } from "../../entities/user.js";
import { WalletEntity } from "../../entities/wallet.js";
import type { Methods } from "../../rpc/methods.js";

/** Creates the methods of grey.ledger.v1.LedgerService that help people read and type ids: NameAccounts and FindIds. */
export function createNamingMethods(
  database: Database,
): Pick<Methods<typeof LedgerServiceService>, "nameAccounts" | "findIds"> {
  return {
    nameAccounts: (request, context) =>
      readInSession(database, context, async (session) => ({
        names: await nameAccounts(session, request.accountIds.map(parseId)),
      })),

    findIds: (request, context) =>
      readInSession(database, context, async ({ manager }) => {
        // The primary key is read in order, from the first id with the prefix on.
        const rows = await manager.find(ENTITIES[request.kind as keyof typeof ENTITIES], {
          select: { id: true },
          where: { id: Between(...toIdRange(request)) },
          order: { id: "ASC" },
          take: IDS_MAX,
        });
        return { ids: rows.map(({ id }) => id) };
      }),
  };
}

const IDS_MAX = 10;

const ENTITIES = {
  [IdKind.USER]: UserEntity,
  [IdKind.WALLET]: WalletEntity,
  [IdKind.TRANSACTION]: TransactionEntity,
  [IdKind.HOLD]: HoldEntity,
  [IdKind.SCHEDULE]: ScheduleEntity,
  [IdKind.ALERT]: BalanceAlertEntity,
} as const satisfies Record<number, EntityTarget<{ readonly id: Uuid }>>;

/** Returns the least and the greatest id that begin with the prefix. */
function toIdRange({ prefix }: FindIdsRequest): [Uuid, Uuid] {
  const digits = prefix.toLowerCase().replaceAll("-", "").slice(0, 32);
  return [digits.padEnd(32, "0"), digits.padEnd(32, "f")];
}

async function nameAccounts({ manager }: Session, ids: readonly Uuid[]): Promise<AccountName[]> {
  const accounts = await manager.findBy(AccountEntity, { id: In(ids) });
  const wallets = new Map((await manager.findBy(WalletEntity, { id: In(ids) })).map((one) => [one.id, one]));
  const owners = [...new Set([...wallets.values()].map(({ userId }) => userId))];
  const users = new Map((await manager.findBy(UserEntity, { id: In(owners) })).map((one) => [one.id, one]));
  return accounts.map(({ id, currencyCode, systemAccount }) => {
    const wallet = wallets.get(id);
    const user = users.get(wallet?.userId ?? "");
    return {
      accountId: id,
      currencyCode,
      systemAccount: systemAccount ?? "",
      label: wallet?.label ?? "",
      userId: wallet?.userId ?? "",
      userName: user?.name ?? "",
      email: user?.email ?? "",
    };
  });
}
