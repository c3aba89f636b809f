import { Option, type Command } from "commander";
import {
  type CheckIntegrityResponse,
  IntegrityLaw,
  type StreamIntegrityCheckRequest,
  type StreamIntegrityCheckResponse,
} from "../../generated/grey/ledger/v1/integrity.js";
import type { GetTrialBalanceResponse } from "../../generated/grey/ledger/v1/trial_balance.js";
import { LedgerServiceService } from "../../generated/grey/ledger/v1/ledger_service.js";
import { assertPresent } from "../base/assert.js";
import { type Currencies, showAmount } from "./amount.js";
import { examples, wholeNumber } from "./options.js";
import { showEnum } from "./present.js";
import { replyToJson } from "./json.js";
import { collect } from "./paging.js";
import { startGauge } from "./progress.js";
import { print, printJson, type Session, withSession } from "./session.js";
import { renderFields, renderTable } from "./table.js";

interface CheckOptions {
  readonly sinceLast?: true;
  readonly from?: number;
}

export function addCheckCommand(program: Command): void {
  program
    .command("check")
    .description("check all books of the server, and show the trial balance; exit code 1 when something is wrong")
    .addOption(
      new Option(
        "--since-last",
        "check only what is new since all checks before: quick, but blind to what was changed in the past",
      ).conflicts("from"),
    )
    .addOption(
      new Option("--from <index>", "check only what is new from this place in the journal on").argParser(
        wholeNumber(0, Number.MAX_SAFE_INTEGER),
      ),
    )
    .addHelpText(
      "after",
      "\nThe check takes as long as it takes, unless --timeout says otherwise, and ends with Ctrl-C.\n" +
        examples("check", "check --since-last", "check --json --timeout 30000"),
    )
    .action((options: CheckOptions, command: Command) =>
      withSession(command, async (session) => {
        const [last, trialBalance] = await Promise.all([checkBooks(session, options), readTrialBalance(session)]);
        const integrity = assertPresent(last.report, "the report");
        if (last.fromJournalIndex > 0n)
          session.note(`checked what is new from journal index ${last.fromJournalIndex} on, and what it touches`, {
            checkedFromJournalIndex: last.fromJournalIndex.toString(),
          });
        const ok = integrity.ok && trialBalance.currencies.every((row) => row.differenceMinorUnits === "0");
        if (!ok) process.exitCode = 1;
        if (session.json) {
          return printJson({
            ok,
            integrity: replyToJson(LedgerServiceService.checkIntegrity, integrity),
            trialBalance: replyToJson(LedgerServiceService.getTrialBalance, trialBalance),
          });
        }
        print(
          renderIntegrity(integrity),
          renderTrialBalance(trialBalance, await session.currencies()),
          ok ? "All books add up." : "The books DO NOT add up.",
        );
      }),
    );
}

async function readTrialBalance(session: Session): Promise<GetTrialBalanceResponse> {
  const { items: currencies, nextPageToken } = await collect(Number.POSITIVE_INFINITY, async ({ pageToken }) => {
    const page = await session.call(LedgerServiceService.getTrialBalance, { currencyCode: "", pageToken });
    return { items: page.currencies, nextPageToken: page.nextPageToken };
  });
  return { currencies, nextPageToken };
}

/** The last message of the check, which has the report; the others move a bar. */
async function checkBooks(session: Session, options: CheckOptions): Promise<StreamIntegrityCheckResponse> {
  let latest: StreamIntegrityCheckResponse | undefined;
  const gauge = startGauge("checking");
  try {
    const request = { maxFaults: 0, from: fromOf(options) };
    await session.stream(LedgerServiceService.streamIntegrityCheck, request, (message) => {
      latest = message;
      gauge.show(shareOf(message), message.law === IntegrityLaw.UNSPECIFIED ? "" : showEnum(IntegrityLaw, message.law));
    });
  } finally {
    gauge.end();
  }
  return assertPresent(latest, "the check's last message");
}

function fromOf({ sinceLast, from }: CheckOptions): StreamIntegrityCheckRequest["from"] {
  if (from !== undefined) return { $case: "fromJournalIndex", value: BigInt(from) };
  return sinceLast === true ? { $case: "sinceLast", value: true } : undefined;
}

/** How much of the check is done, 0 to 1: by rows, or by laws where there are none. */
function shareOf({ rowsRead, rowsTotal, lawsDone, lawsTotal }: StreamIntegrityCheckResponse): number {
  if (rowsTotal > 0n) return Number((rowsRead * 1_000n) / rowsTotal) / 1_000;
  return lawsTotal === 0 ? 0 : lawsDone / lawsTotal;
}

function renderIntegrity(reply: CheckIntegrityResponse): string {
  const counts = renderFields([
    ["accounts", String(reply.accountCount)],
    ["transactions", String(reply.transactionCount)],
    ["entries", String(reply.entryCount)],
    ["journal records", String(reply.recordCount)],
    ["faults", String(reply.faultCount)],
  ]);
  if (reply.faults.length === 0) return counts;
  const faults = renderTable(
    [{ title: "broken law" }, { title: "subject" }, { title: "found", kind: "text" }],
    reply.faults.map((fault) => [IntegrityLaw[fault.law] ?? String(fault.law), fault.subject, fault.detail]),
  );
  const hidden = reply.faultCount - BigInt(reply.faults.length);
  return `${counts}\n\n${faults}${hidden > 0n ? `\nand ${hidden} more` : ""}`;
}

function renderTrialBalance(reply: GetTrialBalanceResponse, currencies: Currencies): string {
  if (reply.currencies.length === 0) return "The trial balance is empty: nothing was posted yet.";
  return renderTable(
    [
      { title: "currency" },
      { title: "account" },
      { title: "debit", align: "right" },
      { title: "credit", align: "right" },
      { title: "difference", align: "right" },
    ],
    reply.currencies.flatMap((row) => {
      const show = (minorUnits: string) =>
        minorUnits === "0" || minorUnits === "" ? "" : showAmount(BigInt(minorUnits), row.currencyCode, currencies);
      return [
        ...row.lines.map((line) => [
          row.currencyCode,
          line.name,
          show(line.debitMinorUnits),
          show(line.creditMinorUnits),
          "",
        ]),
        [
          row.currencyCode,
          `all ${row.accountCount} accounts`,
          show(row.debitMinorUnits),
          show(row.creditMinorUnits),
          showAmount(BigInt(row.differenceMinorUnits), row.currencyCode, currencies),
        ],
      ];
    }),
  );
}
