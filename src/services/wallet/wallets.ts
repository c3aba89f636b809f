import type { EntityManager } from "typeorm";
import { fail } from "../../base/failure.js";
import type { Uuid } from "../../base/ids.js";
import { WalletEntity } from "../../entities/wallet.js";

/** Fails with WALLET_NOT_FOUND unless there is such a wallet. */
export async function assertWalletExists(manager: EntityManager, walletId: Uuid): Promise<void> {
  if (!(await manager.existsBy(WalletEntity, { id: walletId }))) fail({ reason: "WALLET_NOT_FOUND", walletId });
}
