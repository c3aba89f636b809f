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

/** One run of a client command: a server, and how to print what it says. */
export interface Session {
  readonly json: boolean;
  call<Q extends object, R>(method: UnaryMethod<Q, R>, request: Q): Promise<R>;
  /** Hands over what the server goes on sending, until `take` returns false or Ctrl-C ends it. */
  watch<Q extends object, R>(
    method: UnaryMethod<Q, R>,
    request: Q,
    take: (message: R) => boolean | Promise<boolean>,
  ): Promise<void>;
  /**
   * Hands over all that the server sends until it ends. Takes as long as that takes, unless --timeout says otherwise. Ctrl-C ends the
   * command, since a part is not what was asked for.
   */
  stream<Q extends object, R>(method: UnaryMethod<Q, R>, request: Q, take: (message: R) => void): Promise<void>;
  /** Prints a remark on standard error: the line or, with --json, the value. */
  note(line: string, value: object): void;
  /**
   * The request id that was given, or a new one. It is printed with the reply (beside JSON, on standard error), and when
   * the command is interrupted before.
   */
  requestId(given: string | undefined): string;
  /** The server's currencies; asked for once. */
  currencies(): Promise<Currencies>;
}

/**
 * Works with the server that the command's options or the settings name, and leaves it.
 * @param timeoutMs the deadline of each call unless --timeout gives one
 */
export async function withSession(
  command: Command,
  work: (session: Session) => Promise<void>,
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
      requestId(given) {
        const requestId = given ?? newId();
        if (json && given === undefined) note(`request id ${requestId}`, { requestId });
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

/** Prints the method's reply as JSON, zeros and false included. */
export function printReply<Q, R>(method: UnaryMethod<Q, R>, reply: R): void {
  printJson(replyToJson(method, reply));
}
