import type { Command } from "commander";
import type { Currency } from "../../generated/grey/ledger/v1/currency.js";
import { LedgerServiceService } from "../../generated/grey/ledger/v1/ledger_service.js";
import { newId } from "../base/ids.js";
import { clientAddress, readConfig } from "../config/config.js";
import type { Currencies } from "./amount.js";
import { GreyClient, type UnaryMethod } from "./client.js";
import { EXIT } from "./exit.js";
import { retryLine } from "./failure.js";
import { replyToJson } from "./json.js";
import type { GlobalOptions } from "./options.js";
import { collect } from "./paging.js";
import { printable, printableJson } from "./text.js";

const TIMEOUT_MS = 10_000;

/** The context of a client command: calls to its server, and its output. */
export interface CommandContext {
  readonly json: boolean;
  call<Q extends object, R>(method: UnaryMethod<Q, R>, request: Q): Promise<R>;
  /** Passes stream messages to `take` until it returns false, the stream ends or Ctrl-C. */
  watch<Q extends object, R>(
    method: UnaryMethod<Q, R>,
    request: Q,
    take: (message: R) => boolean | Promise<boolean>,
  ): Promise<void>;
  /**
   * Passes all messages of a stream to `take`, without a time limit unless --timeout sets one. Ctrl-C ends the command, since
   * part of the reply is no result.
   */
  stream<Q extends object, R>(method: UnaryMethod<Q, R>, request: Q, take: (message: R) => void): Promise<void>;
  /** Prints a note on standard error: the line or, with --json, the value. */
  note(line: string, value: object): void;
  /**
   * Returns the request id from the option, or a new one. A new one is printed on standard error with --json, and both are
   * printed if the command is interrupted.
   */
  requestId(option: string | undefined): string;
  /** Fetches the server's currencies, once. */
  currencies(): Promise<Currencies>;
}

/**
 * Connects to the server that the options or settings name, runs `work` and disconnects.
 * @param timeoutMs the deadline of each call unless --timeout sets one
 */
export async function withContext(
  command: Command,
  work: (context: CommandContext) => Promise<void>,
  timeoutMs: number = TIMEOUT_MS,
): Promise<void> {
  const options = command.optsWithGlobals<GlobalOptions>();
  const client = new GreyClient(options.address ?? clientAddress(readConfig()), options.timeout ?? timeoutMs);
  const json = options.json === true;
  const note = (line: string, value: object): void => console.error(json ? printable(JSON.stringify(value)) : line);
  let currencies: Promise<Currencies> | undefined;
  try {
    await work({
      json,
      note,
      call: (method, request) => client.call(method, request),
      watch: (method, request, take) => {
        const ending = new AbortController();
        process.once("SIGINT", () => ending.abort());
        return client.watch(method, request, take, ending.signal);
      },
      stream: (method, request, take) => {
        process.once("SIGINT", () => {
          note("grey: interrupted", { interrupted: true });
          process.exit(EXIT.INTERRUPTED);
        });
        const takeAll = (message: Parameters<typeof take>[0]): boolean => {
          take(message);
          return true;
        };
        return client.watch(method, request, takeAll, new AbortController().signal, options.timeout);
      },
      requestId(option) {
        const requestId = option ?? newId();
        if (json && option === undefined) note(`request id ${requestId}`, { requestId });
        process.once("SIGINT", () => {
          note(`grey: interrupted\n${retryLine(requestId)}`, { interrupted: true, requestId });
          process.exit(EXIT.INTERRUPTED);
        });
        return requestId;
      },
      currencies: () => (currencies ??= fetchCurrencies(client)),
    });
  } finally {
    client.close();
  }
}

async function fetchCurrencies(client: GreyClient): Promise<Currencies> {
  const { items } = await collect<Currency>(Infinity, async (page) => {
    const reply = await client.call(LedgerServiceService.listCurrencies, page);
    return { items: reply.currencies, nextPageToken: reply.nextPageToken };
  });
  return new Map(items.map((currency) => [currency.code, currency]));
}

/** Prints the blocks of text with an empty line between them. */
export function print(...blocks: readonly string[]): void {
  console.log(blocks.filter((block) => block !== "").join("\n\n"));
}

/** Prints the value as JSON. */
export function printJson(value: unknown): void {
  console.log(printableJson(value));
}

/** Prints the method's reply as JSON, including fields with default values. */
export function printReply<Q, R>(method: UnaryMethod<Q, R>, reply: R): void {
  printJson(replyToJson(method, reply));
}
