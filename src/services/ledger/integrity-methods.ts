import { NO_CALLER } from "../../base/caller-context.js";
import { setTimeout as delay } from "node:timers/promises";
import {
  IntegrityFault,
  IntegrityLaw,
  type CheckIntegrityResponse,
  type StreamIntegrityCheckRequest,
  type StreamIntegrityCheckResponse,
} from "../../../generated/grey/ledger/v1/integrity.js";
import type { LedgerServiceService } from "../../../generated/grey/ledger/v1/ledger_service.js";
import { limitConcurrency } from "../../base/concurrency.js";
import { createRoom } from "../../base/room.js";
import type { Database } from "../../db/database.js";
import { readInSession, withTranslatedErrors } from "../../db/in-transaction.js";
import { checkIntegrity, type CheckOptions, type IntegrityReport } from "../../ledger/check/check.js";
import { findUnchecked, recordCheck } from "../../ledger/check/ended-checks.js";
import { LAWS, type LawName } from "../../ledger/check/laws.js";
import { NOT_BEGUN, type IntegrityProgress } from "../../ledger/check/progress.js";
import type { CallContext } from "../../rpc/context.js";
import type { Methods } from "../../rpc/methods.js";

const FAULTS_DEFAULT = 100;
const FAULTS_MAX = 10_000;

/** @param progressMs how often a check reports its progress at least, in ms */
export function createIntegrityMethods(
  database: Database,
  progressMs: number,
): Pick<Methods<typeof LedgerServiceService>, "checkIntegrity" | "streamIntegrityCheck"> {
  // A check takes a connection for as long as it lasts. Checks of what is new do not wait for checks of the whole ledger.
  const inTurn = { whole: limitConcurrency(1), since: limitConcurrency(1) };

  const check = (from: bigint, options: CheckOptions = {}): Promise<IntegrityReport> =>
    (from === 0n ? inTurn.whole : inTurn.since)(() =>
      withTranslatedErrors(async () => {
        const report = await checkIntegrity(database, FAULTS_MAX, { ...options, from });
        const { journalSize, faultCount } = report;
        await recordCheck(database, NO_CALLER, { from, journalSize, faultCount });
        return report;
      }),
    );

  let checking: Promise<IntegrityReport> | undefined;
  return {
    checkIntegrity: async ({ maxFaults }) => {
      // Callers that come meanwhile share its report.
      checking ??= check(0n).finally(() => {
        checking = undefined;
      });
      return toReportMessage(await checking, maxFaults);
    },

    streamIntegrityCheck: {
      stream: async function* (request, context, signal) {
        const from = await parseFrom(database, context, request);
        let progress = NOT_BEGUN;
        const update = createSignal();
        const onProgress = (latest: IntegrityProgress): void => {
          progress = latest;
          update.send();
        };
        let report: IntegrityReport | undefined;
        let failure: { readonly error: unknown } | undefined;
        check(from, { signal, onProgress })
          .then(
            (found) => (report = found),
            (error: unknown) => (failure = { error }),
          )
          .finally(() => update.send());
        yield toProgressMessage(from, progress);
        for (;;) {
          await update.wait(progressMs, signal);
          if (signal.aborted) return;
          if (failure !== undefined) throw failure.error;
          if (report !== undefined) break;
          yield toProgressMessage(from, progress);
        }
        const { lawsTotal, rowsTotal } = progress;
        const end = { ...progress, law: undefined, lawsDone: lawsTotal, rowsRead: rowsTotal };
        yield { ...toProgressMessage(from, end), report: toReportMessage(report, request.maxFaults) };
      },
    },
  };
}

async function parseFrom(
  database: Database,
  context: CallContext,
  { from }: StreamIntegrityCheckRequest,
): Promise<bigint> {
  if (from?.$case === "fromJournalIndex") return from.value;
  return from?.value === true ? readInSession(database, context, ({ client }) => findUnchecked(client)) : 0n;
}

/** A signal from one task to another that waits for it; a signal sent before the wait is not lost. */
function createSignal() {
  let isSent = false;
  let wake = (): void => undefined;
  return {
    send: (): void => {
      isSent = true;
      wake();
    },
    /** Resolves at the next signal, at the end, and after the time. */
    wait: async (waitMs: number, end: AbortSignal): Promise<void> => {
      const over = new AbortController();
      wake = () => over.abort();
      if (isSent) over.abort();
      await delay(waitMs, undefined, { signal: AbortSignal.any([over.signal, end]) }).catch(() => undefined);
      isSent = false;
    },
  };
}

function toProgressMessage(fromJournalIndex: bigint, progress: IntegrityProgress): StreamIntegrityCheckResponse {
  const law = progress.law === undefined ? IntegrityLaw.UNSPECIFIED : toLawMessage(progress.law);
  return { ...progress, law, fromJournalIndex, report: undefined };
}

function toReportMessage(report: IntegrityReport, maxFaults: number): CheckIntegrityResponse {
  const faults = report.faults
    .slice(0, maxFaults === 0 ? FAULTS_DEFAULT : maxFaults)
    .map((fault) => ({ ...fault, law: toLawMessage(fault.law) }));
  return {
    ...report,
    ok: report.faultCount === 0n,
    faults: [...createRoom(IntegrityFault).take(faults)],
  };
}

type ContractLaw = Exclude<keyof typeof IntegrityLaw, "UNSPECIFIED" | "UNRECOGNIZED">;

// A value of the contract's enum without a law does not compile, and below a law without a value.
LAWS satisfies Readonly<Record<ContractLaw, unknown>>;

function toLawMessage(law: LawName): IntegrityLaw {
  return IntegrityLaw[law satisfies ContractLaw];
}
