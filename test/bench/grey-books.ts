import { credentials, Metadata } from "@grpc/grpc-js";
import { LedgerServiceClient } from "../../generated/grey/ledger/v1/ledger_service.js";
import type { CheckIntegrityResponse } from "../../generated/grey/ledger/v1/integrity.js";
import { ListTransactionsRequest, type ListTransactionsResponse } from "../../generated/grey/transaction/v1/query.js";
import { TransactionServiceClient } from "../../generated/grey/transaction/v1/transaction_service.js";
import { REQUEST_METHOD } from "../../src/entities/request.js";
import { benchId, ID_SPACE } from "./bench-ids.js";
import { run } from "./databases.js";

const CHECK_MS_MAX = 900_000;
const LIST_MS_MAX = 30_000;

/** Counts the journal's records of posted and rejected transactions. */
export async function journalSize(url: string): Promise<number> {
  const [row] = await run<{ size: string }>(url, "SELECT size FROM journal_head");
  return Number(row?.size ?? 0);
}

/** Finds violations of conservation, empty if there are none; reads less than an integrity check. */
export async function greyConservationFaults(url: string): Promise<string[]> {
  const [row] = await run<{
    unequal: string;
    entries: string;
    unbalanced: string;
    sequences: string;
    transactions: string;
    others: string;
    size: string;
  }>(
    url,
    `SELECT (SELECT count(*) FROM (
         SELECT FROM account_states GROUP BY currency_code
         HAVING sum(balance * CASE WHEN normal_side = 1 THEN 1 ELSE -1 END::numeric) <> 0
       ) u) AS unequal,
       e.entries, e.unbalanced, (SELECT sum(sequence) FROM account_states) AS sequences,
       (SELECT count(*) FROM transactions) AS transactions,
       (SELECT count(*) FROM requests WHERE method = ${REQUEST_METHOD.CREATE_USER}) AS others, (SELECT size FROM journal_head) AS size
     FROM (SELECT count(*) AS entries, coalesce(sum(amount), 0) AS unbalanced FROM entries) e`,
  );
  if (row === undefined) return ["nothing was read"];
  return [
    ...(row.unequal === "0" ? [] : [`the balances of ${row.unequal} currencies do not sum to zero`]),
    ...(row.unbalanced === "0" ? [] : [`entries sum to ${row.unbalanced}`]),
    ...(row.entries === row.sequences ? [] : [`${row.entries} entries, sequences sum to ${row.sequences}`]),
    ...(BigInt(row.transactions) + BigInt(row.others) === BigInt(row.size)
      ? []
      : [`${row.transactions} transactions, ${row.others} users created, ${row.size} journal records`]),
  ];
}

/** Runs CheckIntegrity over gRPC and returns its faults. */
export async function integrityFaults(address: string): Promise<string[]> {
  const client = new LedgerServiceClient(address, credentials.createInsecure());
  try {
    const report = await new Promise<CheckIntegrityResponse>((resolve, reject) => {
      client.checkIntegrity(
        { maxFaults: 5 },
        new Metadata(),
        { deadline: Date.now() + CHECK_MS_MAX },
        (error, response) => (error === null ? resolve(response) : reject(error)),
      );
    });
    return report.ok ? [] : report.faults.map(({ law, subject, detail }) => `law ${law}: ${subject}: ${detail}`);
  } finally {
    client.close();
  }
}

/** Counts the request ids that are in the ledger. */
export async function countRequests(url: string, requestIds: readonly string[]): Promise<number> {
  const [row] = await run<{ n: string }>(
    url,
    "SELECT count(*) AS n FROM requests WHERE request_id = ANY ($1::uuid[])",
    [requestIds],
  );
  return Number(row?.n ?? 0);
}

/** The maximum page size of the contract. */
const PAGE_SIZE_MAX = 1_000;

/** Returns the token of page `page`, from 1, of a wallet's transactions. */
export async function fetchPageToken(address: string, wallet: number, page: number, pageSize: number): Promise<string> {
  const client = new TransactionServiceClient(address, credentials.createInsecure());
  let pageToken = "";
  let left = (page - 1) * pageSize;
  try {
    while (left > 0) {
      // A token serves any page size.
      const size = Math.min(left, PAGE_SIZE_MAX);
      const request = ListTransactionsRequest.fromPartial({
        of: { $case: "walletId", value: benchId(ID_SPACE.WALLET, wallet) },
        pageSize: size,
        pageToken,
      });
      const response = await new Promise<ListTransactionsResponse>((resolve, reject) => {
        client.listTransactions(request, new Metadata(), { deadline: Date.now() + LIST_MS_MAX }, (error, value) =>
          error === null ? resolve(value) : reject(error),
        );
      });
      pageToken = response.nextPageToken;
      left -= size;
      if (pageToken === "") throw new Error(`the wallet has no page ${page}`);
    }
    return pageToken;
  } finally {
    client.close();
  }
}
