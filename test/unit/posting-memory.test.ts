import { expect } from "chai";
import { newId, type Uuid } from "../../src/base/ids.js";
import { enterDebit, type Account } from "../../src/ledger/account/account.js";
import { openBatch } from "../../src/ledger/post/batch.js";
import { createMemory, type Memory } from "../../src/ledger/post/memory.js";
import { walletAccount } from "../support/accounts.js";

/** Room for eight accounts. */
const LITTLE = { GREY_POSTING_MEMORY_BYTES: 1 };
const ENOUGH = { GREY_POSTING_MEMORY_BYTES: 1_048_576 };
const START = { size: 0n, revision: 1n, accountChanges: 0n, lastId: null };

function accountOf(id: Uuid, balanceMinor = 0n): Account {
  return walletAccount(id, { balanceMinor, sequence: balanceMinor });
}

/** Sends a batch that credits the account with 1. @returns what settles it */
function send(memory: Memory, account: Account): () => void {
  const batch = openBatch(memory.revision!, [account]);
  batch.getAccount(account.id);
  batch.setAccount(account.id, enterDebit(account, -1n));
  const settle = memory.send(batch);
  return () => settle({ size: memory.place!.size + 1n, lastId: newId(), createTime: 1n });
}

describe("what a posting engine remembers", () => {
  it("is the effect of a batch from when it is sent, and stays so once it is written", () => {
    const memory = createMemory(ENOUGH);
    memory.moveTo(START);
    const account = accountOf(newId());
    const settle = send(memory, account);
    expect(memory.getAccount(account.id)?.balanceMinor).to.equal(1n);
    settle();
    expect(memory.getAccount(account.id)?.balanceMinor).to.equal(1n);
    expect(memory.place!.revision).to.equal(memory.revision);
  });

  it("is the state before when a batch was not written, also of those that built on it", () => {
    const memory = createMemory(ENOUGH);
    memory.moveTo(START);
    const account = accountOf(newId());
    memory.keep([account]);
    send(memory, account);
    send(memory, memory.getAccount(account.id)!);
    expect(memory.getAccount(account.id)?.balanceMinor).to.equal(2n);
    memory.drop();
    expect(memory.getAccount(account.id)?.balanceMinor).to.equal(0n);
    expect(memory.revision).to.equal(START.revision);
  });

  it("stays at its place when a batch is written after the one before it was dropped", () => {
    const memory = createMemory(ENOUGH);
    memory.moveTo(START);
    const account = accountOf(newId());
    send(memory, account);
    const settle = send(memory, memory.getAccount(account.id)!);
    memory.drop();
    settle();
    expect(memory.place).to.equal(START);
    expect(memory.getAccount(account.id)).to.equal(undefined);
  });

  describe("of accounts that it reads while postings go on", () => {
    it("is what was read, of those that it does not remember", async () => {
      const memory = createMemory(ENOUGH);
      memory.moveTo(START);
      const [known, other] = [accountOf(newId(), 5n), accountOf(newId(), 6n)];
      memory.keep([known]);
      expect(await memory.keepOthers(async () => [accountOf(known.id), other])).to.equal(true);
      expect(memory.getAccount(known.id)).to.deep.equal(known);
      expect(memory.getAccount(other.id)).to.deep.equal(other);
    });

    it("is not what was read before a posting, even if that account was forgotten since", async () => {
      const memory = createMemory(LITTLE);
      memory.moveTo(START);
      const account = accountOf(newId());
      await memory.keepOthers(async () => {
        send(memory, account)();
        for (let n = 0; n < 100; n += 1) memory.keep([accountOf(newId())]);
        expect(memory.getAccount(account.id)).to.equal(undefined);
        return [account];
      });
      expect(memory.getAccount(account.id)).to.equal(undefined);
    });

    it("is nothing when it followed others meanwhile", async () => {
      const memory = createMemory(ENOUGH);
      memory.moveTo(START);
      const account = accountOf(newId());
      const isKept = await memory.keepOthers(async () => {
        memory.moveTo({ ...START, revision: 2n });
        return [account];
      });
      expect([isKept, memory.getAccount(account.id)]).to.deep.equal([false, undefined]);
    });
  });
});
