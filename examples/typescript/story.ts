// Runs the README's story with a TypeScript client: Ada has 1000.00 USD, Bob 500.00, and 100.00 go from her to him.
// Usage: npm run story [host:port]
import { randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { type ServiceError, status } from "@grpc/grpc-js";
import { connect, decodeCallFailure } from "grey-client";

const grey = connect(process.argv[2] ?? "localhost:50051");

/** Returns an amount in whole minor units: 10_000n is 100.00 USD. */
const usd = (minorUnits: bigint) => ({ currencyCode: "USD", minorUnits });

async function openWallet(name: string, initialMinor: bigint) {
  // A new email each time, so that the story can be run again.
  const email = `${name.toLowerCase()}-${randomUUID()}@example.com`;
  const { user } = await grey.users.createUser({ requestId: randomUUID(), name, email });
  const { wallet, balance } = await grey.wallets.createWallet({
    requestId: randomUUID(),
    userId: user?.id,
    currencyCode: "USD",
    initialBalance: usd(initialMinor),
  });
  if (wallet === undefined) throw new Error("a wallet that was created is in the answer");
  return { ...wallet, postedMinor: balance?.posted?.minorUnits };
}

const ada = await openWallet("Ada", 1_000_00n);
const bob = await openWallet("Bob", 500_00n);
console.log(`before: Ada ${ada.postedMinor}, Bob ${bob.postedMinor}`);

const lunch = {
  // Keep the id of a change until the response: a retry with the same id is carried out once.
  requestId: randomUUID(),
  fromWalletId: ada.id,
  toWalletId: bob.id,
  amount: usd(100_00n),
  description: "lunch",
};
const first = await grey.transactions.transfer(lunch);
const after = new Map(first.balances.map(({ walletId, posted }) => [walletId, posted?.minorUnits]));
console.log(`after: Ada ${after.get(ada.id)}, Bob ${after.get(bob.id)}, replayed ${first.replayed}`);

const again = await grey.transactions.transfer(lunch);
const isSame = isDeepStrictEqual(again.transaction, first.transaction);
console.log(`again: the same transaction ${isSame}, replayed ${again.replayed}`);

try {
  await grey.transactions.transfer({ ...lunch, requestId: randomUUID(), amount: usd(1_000_000_00n) });
} catch (error) {
  const { code, reason, metadata } = decodeCallFailure(error as ServiceError);
  console.log(`too much: ${status[code]} ${reason}, available ${metadata.available_minor_units}`);
}

for (const { name, userId } of [
  { name: "Ada", userId: ada.userId },
  { name: "Bob", userId: bob.userId },
]) {
  const { transactions } = await grey.transactions.listTransactions({ of: { $case: "userId", value: userId } });
  console.log(`${name}'s list shows the lunch: ${transactions.some(({ id }) => id === first.transaction?.id)}`);
}

const { ok } = await grey.ledger.checkIntegrity({});
console.log(`the books add up: ${ok}`);
grey.close();
