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
import { examples, wholeNumberReader } from "./options.js";
import { showEnum } from "./render.js";
import { replyToJson } from "./json.js";
import { collect } from "./paging.js";
import { startProgressBar } from "./progress.js";
import { print, printJson, type CommandContext, withContext } from "./command-context.js";
import { renderFields, renderTable } from "./table.js";

interface CheckOptions {
  readonly sinceLast?: true;
  readonly from?: number;
}

export function addCheckCommand(program: Command): void {
  program
    .command("check")
    .description("check the integrity of the ledger and show the trial balance; exits with 1 if a check fails")
    .addOption(
      new Option(
        "--since-last",
        "check only records that no successful check has covered: fast, but misses changes to older rows",
      ).conflicts("from"),
    )
    .addOption(
      new Option("--from <index>", "check only records from this journal index on").argParser(
        wholeNumberReader(0, Number.MAX_SAFE_INTEGER),
      ),
    )
    .addHelpText(
      "after",
      "\nThe check has no time limit unless --timeout sets one. Ctrl-C stops it.\n" +
        examples("check", "check --since-last", "check --json --timeout 30000"),
    )
    .action((options: CheckOptions, command: Command) =>
      withContext(command, async (context) => {
        const [last, trialBalance] = await Promise.all([checkBooks(context, options), readTrialBalance(context)]);
        const integrity = assertPresent(last.report, "the report");
        if (last.fromJournalIndex > 0n)
          context.note(`checked records from journal index ${last.fromJournalIndex} on, and the rows they touch`, {
            checkedFromJournalIndex: last.fromJournalIndex.toString(),
          });
        const ok = integrity.ok && trialBalance.currencies.every((row) => row.differenceMinorUnits === "0");
        if (!ok) process.exitCode = 1;
        if (context.json) {
          return printJson({
            ok,
            integrity: replyToJson(LedgerServiceService.checkIntegrity, integrity),
            trialBalance: replyToJson(LedgerServiceService.getTrialBalance, trialBalance),
          });
        }
        print(
          renderIntegrity(integrity),
          renderTrialBalance(trialBalance, await context.currencies()),
          ok ? "The books balance." : "The books DO NOT balance.",
        );
      }),
    );
}

async function readTrialBalance(context: CommandContext): Promise<GetTrialBalanceResponse> {
  const { items: currencies, nextPageToken } = await collect(Number.POSITIVE_INFINITY, async ({ pageToken }) => {
    const page = await context.call(LedgerServiceService.getTrialBalance, { currencyCode: "", pageToken });
    return { items: page.currencies, nextPageToken: page.nextPageToken };
  });
  return { currencies, nextPageToken };
}

/** Runs the check with a progress bar. Returns its last message, which carries the report. */
async function checkBooks(context: CommandContext, options: CheckOptions): Promise<StreamIntegrityCheckResponse> {
  let latest: StreamIntegrityCheckResponse | undefined;
  const bar = startProgressBar("checking");
  try {
    const request = { maxFaults: 0, from: readScope(options) };
    await context.stream(LedgerServiceService.streamIntegrityCheck, request, (message) => {
      latest = message;
      bar.show(
        calculateProgress(message),
        message.law === IntegrityLaw.UNSPECIFIED ? "" : showEnum(IntegrityLaw, message.law),
      );
    });
  } finally {
    bar.end();
  }
  return assertPresent(latest, "the check's last message");
}

function readScope({ sinceLast, from }: CheckOptions): StreamIntegrityCheckRequest["from"] {
  if (from !== undefined) return { $case: "fromJournalIndex", value: BigInt(from) };
  return sinceLast === true ? { $case: "sinceLast", value: true } : undefined;
}

/** Returns the completed share of the check, 0 to 1: by rows, or by laws when there are no rows. */
function calculateProgress({ rowsRead, rowsTotal, lawsDone, lawsTotal }: StreamIntegrityCheckResponse): number {
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
  if (reply.currencies.length === 0) return "The trial balance is empty: nothing has been posted.";
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
