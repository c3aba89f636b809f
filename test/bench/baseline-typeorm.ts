// The second baseline: a process that serves the same Transfer with the same grpc-js in the usual way, a transaction per request
// through TypeORM's entities, with row locks and a pool of 20. Its argument is the URL of its database; it reports its address
// over IPC. Unlike Grey, it neither validates nor logs.
import { Server, ServerCredentials, status, type handleUnaryCall } from "@grpc/grpc-js";
import { DataSource, EntitySchema, In, type EntityManager } from "typeorm";
import { TransactionServiceService } from "../../generated/grey/transaction/v1/transaction_service.js";
import { TransferResponse, type TransferRequest } from "../../generated/grey/transaction/v1/movement.js";
import { newId } from "../../src/base/ids.js";

interface Wallet {
  id: string;
  currencyCode: string;
  // The driver returns int8 as text.
  balance: string;
  sequence: string;
}
interface Transaction {
  id: string;
  requestId: string;
  fromWalletId: string;
  toWalletId: string;
  currencyCode: string;
  amount: string;
  description: string;
  createTime: Date;
}
interface Entry {
  id: string;
  transactionId: string;
  walletId: string;
  sequence: string;
  amount: string;
  balanceAfter: string;
}

const WalletEntity = new EntitySchema<Wallet>({
  name: "Wallet",
  tableName: "wallets",
  columns: {
    id: { type: "uuid", primary: true },
    currencyCode: { type: "text", name: "currency_code" },
    balance: { type: "bigint" },
    sequence: { type: "bigint", default: 0 },
  },
});
const TransactionEntity = new EntitySchema<Transaction>({
  name: "Transaction",
  tableName: "transactions",
  columns: {
    id: { type: "uuid", primary: true },
    requestId: { type: "uuid", name: "request_id", unique: true },
    fromWalletId: { type: "uuid", name: "from_wallet_id" },
    toWalletId: { type: "uuid", name: "to_wallet_id" },
    currencyCode: { type: "text", name: "currency_code" },
    amount: { type: "bigint" },
    description: { type: "text" },
    createTime: { type: "timestamptz", name: "create_time" },
  },
});
const EntryEntity = new EntitySchema<Entry>({
  name: "Entry",
  tableName: "entries",
  columns: {
    id: { type: "uuid", primary: true },
    transactionId: { type: "uuid", name: "transaction_id" },
    walletId: { type: "uuid", name: "wallet_id" },
    sequence: { type: "bigint" },
    amount: { type: "bigint" },
    balanceAfter: { type: "bigint", name: "balance_after" },
  },
});

const POOL_SIZE = 20;

const [url = ""] = process.argv.slice(2);
const dataSource = new DataSource({
  type: "postgres",
  url,
  entities: [WalletEntity, TransactionEntity, EntryEntity],
  installExtensions: false,
  poolSize: POOL_SIZE,
});
await dataSource.initialize();

const server = new Server({ "grpc.max_concurrent_streams": 1_024 });
const handler: handleUnaryCall<TransferRequest, TransferResponse> = ({ request }, callback) => {
  dataSource
    .transaction((manager) => transfer(manager, request))
    .then(
      (response) => callback(null, response),
      (error: unknown) => callback({ code: status.FAILED_PRECONDITION, details: String(error) }),
    );
};
server.addService({ transfer: TransactionServiceService.transfer }, { transfer: handler });
server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => {
  if (error !== null) throw error;
  process.send?.({ address: `127.0.0.1:${port}` });
});
process.once("disconnect", () => process.exit(0));

async function transfer(manager: EntityManager, request: TransferRequest): Promise<TransferResponse> {
  const { requestId, fromWalletId, toWalletId, amount, description } = request;
  const transactions = manager.getRepository(TransactionEntity);
  const earlier = await transactions.findOneBy({ requestId });
  if (earlier !== null) {
    return answer(earlier, await manager.find(EntryEntity, { where: { transactionId: earlier.id } }), true);
  }
  const wallets = await manager.find(WalletEntity, {
    where: { id: In([fromWalletId, toWalletId]) },
    order: { id: "ASC" },
    lock: { mode: "pessimistic_write" },
  });
  const from = wallets.find((wallet) => wallet.id === fromWalletId);
  const to = wallets.find((wallet) => wallet.id === toWalletId);
  if (amount === undefined || from === undefined || to === undefined) throw new Error("no such wallet");
  if ([from, to].some((wallet) => wallet.currencyCode !== amount.currencyCode)) throw new Error("another currency");
  if (BigInt(from.balance) < amount.minorUnits) throw new Error("insufficient funds");
  move(from, -amount.minorUnits);
  move(to, amount.minorUnits);
  const transaction = await transactions.save({
    id: newId(),
    requestId,
    fromWalletId,
    toWalletId,
    currencyCode: amount.currencyCode,
    amount: amount.minorUnits.toString(),
    description,
    createTime: new Date(),
  });
  const entries = await manager.save(EntryEntity, [
    createEntry(transaction, from, amount.minorUnits),
    createEntry(transaction, to, -amount.minorUnits),
  ]);
  await manager.save(WalletEntity, [from, to]);
  return answer(transaction, entries, false);
}

function move(wallet: Wallet, amountMinor: bigint): void {
  wallet.balance = (BigInt(wallet.balance) + amountMinor).toString();
  wallet.sequence = (BigInt(wallet.sequence) + 1n).toString();
}

function createEntry(transaction: Transaction, wallet: Wallet, amountMinor: bigint): Entry {
  return {
    id: newId(),
    transactionId: transaction.id,
    walletId: wallet.id,
    sequence: wallet.sequence,
    amount: amountMinor.toString(),
    balanceAfter: wallet.balance,
  };
}

function answer(transaction: Transaction, entries: readonly Entry[], replayed: boolean): TransferResponse {
  const money = (minor: string) => ({ currencyCode: transaction.currencyCode, minorUnits: BigInt(minor) });
  const time = { seconds: BigInt(Math.floor(transaction.createTime.getTime() / 1_000)), nanos: 0 };
  return TransferResponse.fromPartial({
    transaction: {
      id: transaction.id,
      requestId: transaction.requestId,
      kind: 4,
      state: 1,
      entries: entries.map((entry) => ({
        accountId: entry.walletId,
        side: entry.amount.startsWith("-") ? 2 : 1,
        amount: money(entry.amount.replace("-", "")),
        balanceAfter: money(entry.balanceAfter),
        accountSequence: BigInt(entry.sequence),
      })),
      description: transaction.description,
      createTime: time,
      effectiveTime: time,
      amount: money(transaction.amount),
    },
    balances: entries.map((entry) => ({
      walletId: entry.walletId,
      posted: money(entry.balanceAfter),
      available: money(entry.balanceAfter),
      version: BigInt(entry.sequence),
    })),
    replayed,
  });
}
