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
import {
  checkIntegrity,
  type CheckOptions,
  type IntegrityProgress,
  type IntegrityReport,
} from "../../ledger/check/check.js";
import { findUnchecked, rememberCheck } from "../../ledger/check/ended-checks.js";
import type { Law } from "../../ledger/check/laws.js";
import type { CallContext } from "../../rpc/context.js";
import type { Methods } from "../../rpc/methods.js";

const FAULTS_DEFAULT = 100;
const FAULTS_MAX = 10_000;

/** @param progressMs a check says how far it is after this, also when it is no further */
export function createIntegrityMethods(
  database: Database,
  progressMs: number,
): Pick<Methods<typeof LedgerServiceService>, "checkIntegrity" | "streamIntegrityCheck"> {
  // A check takes a connection for as long as it lasts. Checks of what is new do not wait for those of everything.
  const inTurn = { all: limitConcurrency(1), since: limitConcurrency(1) };

  const check = (from: bigint, options: CheckOptions = {}): Promise<IntegrityReport> =>
    (from === 0n ? inTurn.all : inTurn.since)(() =>
      withTranslatedErrors(async () => {
        const report = await checkIntegrity(database, FAULTS_MAX, { ...options, from });
        const { journalSize, faultCount } = report;
        await rememberCheck(database, ALWAYS, { from, journalSize, faultCount });
        return report;
      }),
    );

  let checking: Promise<IntegrityReport> | undefined;
  return {
    checkIntegrity: async ({ maxFaults }) => {
      // Those who ask meanwhile get what this one finds.
      checking ??= check(0n).finally(() => {
        checking = undefined;
      });
      return toReportMessage(await checking, maxFaults);
    },

    streamIntegrityCheck: {
      stream: async function* (request, context, signal) {
        const from = await parseFrom(database, context, request);
        let progress = NOT_BEGUN;
        const news = createNews();
        const onProgress = (latest: IntegrityProgress): void => {
          progress = latest;
          news.tell();
        };
        let report: IntegrityReport | undefined;
        let fault: { readonly error: unknown } | undefined;
        check(from, { signal, onProgress })
          .then(
            (found) => (report = found),
            (error: unknown) => (fault = { error }),
          )
          .finally(() => news.tell());
        yield toProgressMessage(from, progress);
        for (;;) {
          await news.next(progressMs, signal);
          if (signal.aborted) return;
          if (fault !== undefined) throw fault.error;
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

/** A check that has ended is remembered even when nobody waits any more. */
const ALWAYS = { assertWaiting: () => undefined };

async function parseFrom(
  database: Database,
  context: CallContext,
  { from }: StreamIntegrityCheckRequest,
): Promise<bigint> {
  if (from?.$case === "fromJournalIndex") return from.value;
  return from?.value === true ? readInSession(database, context, ({ client }) => findUnchecked(client)) : 0n;
}

/** What one waits for and another tells of; what was told before it is waited for is not lost. */
function createNews() {
  let isTold = false;
  let wake = (): void => undefined;
  return {
    tell: (): void => {
      isTold = true;
      wake();
    },
    /** Resolves at the next news, at the end, and after the time. */
    next: async (waitMs: number, end: AbortSignal): Promise<void> => {
      const over = new AbortController();
      wake = () => over.abort();
      if (isTold) over.abort();
      await delay(waitMs, undefined, { signal: AbortSignal.any([over.signal, end]) }).catch(() => undefined);
      isTold = false;
    },
  };
}

const NOT_BEGUN: IntegrityProgress = {
  journalSize: 0n,
  lawsDone: 0,
  lawsTotal: 0,
  law: undefined,
  rowsRead: 0n,
  rowsTotal: 0n,
};

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

/** The contract's enum has a value for each law; one that it lacks does not compile. */
function toLawMessage(law: Law): IntegrityLaw {
  return IntegrityLaw[law satisfies keyof typeof IntegrityLaw];
}
