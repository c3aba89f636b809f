import type { Command } from "commander";
import {
  CheckIntegrityResponse,
  GetTrialBalanceResponse,
  IntegrityLaw,
  LedgerServiceService,
} from "../../generated/grey/ledger/v1/ledger_service.js";
import { type Currencies, showAmount } from "./amount.js";
import { examples } from "./options.js";
import { print, printJson, withSession } from "./session.js";
import { renderFields, renderTable } from "./table.js";

/** A check reads all books, however large. */
const CHECK_TIMEOUT_MS = 600_000;

export function addCheckCommand(program: Command): void {
  program
    .command("check")
    .description("check all books of the server, and show the trial balance; exit code 1 when something is wrong")
    .addHelpText(
      "after",
      `\nThe check may take up to ${CHECK_TIMEOUT_MS / 1_000} s unless --timeout says otherwise.\n` +
        examples("check", "check --json --timeout 30000"),
    )
    .action((_options: object, command: Command) =>
      withSession(
        command,
        async (session) => {
          const [integrity, trialBalance] = await Promise.all([
            session.call(LedgerServiceService.checkIntegrity, { maxFaults: 0 }),
            session.call(LedgerServiceService.getTrialBalance, { currencyCode: "" }),
          ]);
          const ok = integrity.ok && trialBalance.currencies.every((row) => row.differenceMinorUnits === "0");
          if (!ok) process.exitCode = 1;
          if (session.json) {
            return printJson({
              // Protobuf JSON leaves out what is false.
              ok,
              integrity: CheckIntegrityResponse.toJSON(integrity),
              trialBalance: GetTrialBalanceResponse.toJSON(trialBalance),
            });
          }
          print(
            renderIntegrity(integrity),
            renderTrialBalance(trialBalance, await session.currencies()),
            ok ? "All books add up." : "The books DO NOT add up.",
          );
        },
        CHECK_TIMEOUT_MS,
      ),
    );
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
    [{ title: "broken law" }, { title: "subject" }, { title: "found" }],
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
