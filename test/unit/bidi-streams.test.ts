import { credentials, status, type ServiceError } from "@grpc/grpc-js";
import { expect } from "chai";
import {
  TransactionServiceClient,
  TransactionServiceService,
} from "../../generated/grey/transaction/v1/transaction_service.js";
import type { StreamTransfersRequest, StreamTransfersResponse } from "../../generated/grey/transaction/v1/batch.js";
import type { TransferRequest } from "../../generated/grey/transaction/v1/movement.js";
import { newId } from "../../src/base/ids.js";
import type { Pipeline } from "../../src/rpc/pipeline.js";
import type { BidiStreamMethod } from "../../src/rpc/bidi-streams.js";
import { CallError } from "../support/client.js";
import { startStubServer, type StubServer } from "../support/stub-server.js";

type Item = BidiStreamMethod<StreamTransfersRequest, StreamTransfersResponse>;

/** The correlation of the message that meets the fault. */
const FAULTY = 3n;

const ITEM: Item = {
  readRequestId: ({ transfer }) => transfer?.requestId ?? "",
  answer: async ({ correlation }) => {
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    return { correlation, outcome: undefined };
  },
  refuse: ({ correlation }, value) => ({ correlation, outcome: { $case: "error", value } }),
};

/** Faults that nobody foresaw, by where they are. */
const FAULTS: Readonly<Record<string, { readonly item?: Partial<Item>; readonly over?: Partial<Pipeline> }>> = {
  "the check of a message": {
    over: {
      validatorFor: () => {
        let count = 0n;
        return (bytes) => {
          count += 1n;
          if (count === FAULTY) throw new Error("a fault");
          return { violations: [], bytes };
        };
      },
    },
  },
  "what finds its request id": {
    item: { readRequestId: (request) => (request.correlation === FAULTY ? raise() : newId()) },
  },
  "what refuses it": {
    item: {
      answer: (request, context) => (request.correlation === FAULTY ? raise() : ITEM.answer(request, context)),
      refuse: raise,
    },
  },
};

describe("a message of a stream that meets a bug", () => {
  let server: StubServer | undefined;
  const unhandled: unknown[] = [];
  const note = (error: unknown): number => unhandled.push(error);

  before(() => process.on("unhandledRejection", note));
  afterEach(async () => {
    await server?.stop();
    server = undefined;
  });
  after(() => process.off("unhandledRejection", note));

  for (const [place, { item, over }] of Object.entries(FAULTS)) {
    it(`in ${place}: those before it are answered, then the stream ends with INTERNAL, and the process continues`, async () => {
      server = await startStubServer(TransactionServiceService, { streamTransfers: { ...ITEM, ...item } }, {}, over);
      const { answered, ended } = await send(server.address, [1n, 2n, FAULTY]);
      expect(answered).to.deep.equal([1n, 2n]);
      expect(ended).to.include({ code: "INTERNAL", reason: "INTERNAL" });
      expect(server.logs.filter(({ message }) => message === "fault")).not.to.deep.equal([]);
      expect(unhandled).to.deep.equal([]);
      // It serves the next stream.
      expect(await send(server.address, [1n, 2n])).to.deep.equal({ answered: [1n, 2n], ended: undefined });
    });
  }
});

function raise(): never {
  throw new Error("a fault");
}

/** Sends a message for each correlation, all at once. */
async function send(address: string, correlations: readonly bigint[]) {
  const client = new TransactionServiceClient(address, credentials.createInsecure());
  const call = client.streamTransfers();
  const answered: bigint[] = [];
  call.on("data", ({ correlation }: StreamTransfersResponse) => answered.push(correlation));
  const ended = new Promise<CallError | undefined>((resolve) => {
    call.on("error", (error: ServiceError) => resolve(new CallError(error)));
    call.on("status", ({ code }) => code === status.OK && resolve(undefined));
  });
  for (const correlation of correlations) call.write({ correlation, transfer: transfer() });
  call.end();
  try {
    return { answered, ended: await ended };
  } finally {
    client.close();
  }
}

function transfer(): TransferRequest {
  return {
    requestId: newId(),
    fromWalletId: newId(),
    toWalletId: newId(),
    amount: { currencyCode: "USD", minorUnits: 1n },
    amountMode: 0,
    description: "",
    metadata: {},
    externalReference: "",
    effectiveTime: undefined,
    preconditions: [],
    dryRun: false,
  };
}
