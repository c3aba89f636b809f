import type { CurrencyUnit } from "../../base/money.js";
import type { Database } from "../../db/database.js";
import { CurrencyEntity } from "../../entities/currency.js";

/**
 * Creates a function that finds a currency by its code; undefined when there is none, or the database is unavailable.
 * Currencies never change, so each is read once: the existing ones now.
 */
export async function createFindCurrency(
  database: Database,
): Promise<(code: string) => Promise<CurrencyUnit | undefined>> {
  const { manager } = database.dataSource;
  const known = new Map<string, CurrencyUnit>();
  for (const currency of await manager.find(CurrencyEntity)) known.set(currency.code, currency);
  return async (code) => {
    const found = known.get(code) ?? (await manager.findOneBy(CurrencyEntity, { code }).catch(() => null));
    if (found === null) return undefined;
    known.set(code, found);
    return found;
  };
}
