import type { CallerContext } from "../../base/caller-context.js";
import { FailureError } from "../../base/failure.js";
import type { Config } from "../../config/config.js";
import type { Database } from "../../db/database.js";
import { unlessSilent } from "../../db/in-transaction.js";
import { startSweep } from "../../db/sweep.js";
import { createHandoverMetrics } from "../../telemetry/handover-metrics.js";
import type { UnitOfWork } from "../command/command.js";
import type { Engine, OwnEngine } from "../post/engine.js";
import type { Outcome } from "../post/outcome.js";
import { measure } from "../post/queue.js";
import { createLease, type Holder } from "./lease.js";
import { openLink, type Link, type Waiting } from "./link.js";
import { listenForFronts } from "./poster.js";

/** An engine that hands units of work over to the server that posts for all. */
export interface Handover {
  readonly engine: Engine;
  /** Gives the lease up, and ends once all that was handed over is answered. */
  stop(): Promise<void>;
}

/** What a server does with its callers' postings: it posts for all servers, hands them over, or posts them for itself. */
export type Role =
  | { readonly name: "POSTER" }
  | { readonly name: "FRONT"; readonly poster: string }
  | { readonly name: "ALONE"; readonly cause: string };

export interface HandoverEvents {
  readonly onRole: (role: Role) => void;
  /** Receives errors that Grey does not know. */
  readonly onFault: (error: unknown) => void;
}

/**
 * Shares the work of several servers: the one that holds the lease posts, the others hand their units over to it.
 *
 * Nothing depends on it. Whoever is in doubt posts by itself, which is right at any time: a request id is claimed once, and a batch
 * that was decided at another revision of the ledger is not written. So a unit that was handed over and not answered is posted
 * again here, and answered by what came of it.
 *
 * Units are posted in the order in which they come: a server that changes over first waits for the answers to those before.
 *
 * @param own the engine of this process
 * @throws SettingError when it cannot listen
 */
export async function startHandover(
  own: OwnEngine,
  database: Database,
  config: Config & { readonly GREY_PEER_ADDRESS: string },
  { onRole, onFault }: HandoverEvents,
): Promise<Handover> {
  const leaseMs = config.GREY_LEASE_MS;
  const lease = createLease(config.GREY_PEER_ADDRESS, leaseMs);
  const metrics = createHandoverMetrics();
  const poster = await listenForFronts(own, {
    address: config.GREY_PEER_ADDRESS,
    handshakeMs: Math.min(leaseMs, HANDSHAKE_MS_MAX),
    unsentBytesMax: Math.max(config.GREY_POSTING_QUEUE_BYTES_MAX, UNSENT_BYTES_MIN),
    isServing,
    onFault,
  });
  let role: Role | undefined;
  let link: Link | undefined;
  /** The units that came during a change-over. */
  let kept: Waiting[] | undefined;
  let isConnecting = false;
  let isStopping = false;
  /** Settles when the latest change-over is done. */
  let changed: Promise<void> = Promise.resolve();
  /** Of the units that are kept or handed over. */
  let commands = 0;
  let bytes = 0;

  async function post(unit: UnitOfWork, context: CallerContext): Promise<Outcome[]> {
    if (link === undefined && kept === undefined) return own.post(unit, context);
    const count = unit.commands.length;
    const size = measure(unit).bytes;
    const isFull =
      commands + count > config.GREY_POSTING_QUEUE_MAX || bytes + size > config.GREY_POSTING_QUEUE_BYTES_MAX;
    if (isFull && commands > 0) throw new FailureError({ reason: "OVERLOADED" });
    commands += count;
    bytes += size;
    try {
      return await new Promise((resolve, reject) => {
        route({ unit, context, resolve, reject });
      });
    } finally {
      commands -= count;
      bytes -= size;
    }
  }

  function route(waiting: Waiting): void {
    if (kept !== undefined) kept.push(waiting);
    else if (link === undefined) own.post(waiting.unit, waiting.context).then(waiting.resolve, waiting.reject);
    else {
      metrics.handed(waiting.unit.commands.length);
      link.hand(waiting);
    }
  }

  /** Changes over, once the units before are answered. Those that come meanwhile are kept. */
  function changeOver(answered: () => Promise<void>, next: () => Link | undefined): Promise<void> {
    const waiting: Waiting[] = [];
    kept = waiting;
    changed = answered().finally(() => {
      link = next();
      kept = undefined;
      waiting.forEach(route);
    });
    return changed;
  }

  /** A server that stops gives the lease up first, and then answers what it was handed. */
  function isServing(): boolean {
    return lease.isHeld || isStopping;
  }

  /** Hands over to a new holder. */
  async function connect(holder: Holder): Promise<void> {
    if (isConnecting) return;
    isConnecting = true;
    try {
      const opened = await openLink(holder, {
        silenceMs: leaseMs,
        onClosing: () => {
          retire().catch(onFault);
        },
        onFault,
        onBroken: (unanswered) => {
          if (link === opened) {
            link = undefined;
            // This server may have taken the lease before the last answers came.
            if (!lease.isHeld) setRole({ name: "ALONE", cause: "the server that posted for all is gone" });
          }
          unanswered.forEach(postInDoubt);
          sweep.wake();
        },
      });
      if (kept !== undefined || link !== undefined || isStopping) return opened.break();
      await changeOver(
        () => own.whenIdle(),
        () => (opened.isBroken || isStopping ? undefined : opened),
      );
      if (link === opened) setRole({ name: "FRONT", poster: holder.address });
      else opened.break();
    } catch (error) {
      setRole({ name: "ALONE", cause: `${holder.address} cannot be reached: ${(error as Error).message}` });
    } finally {
      isConnecting = false;
    }
  }

  /** Hands over no more. */
  async function retire(): Promise<void> {
    const last = link;
    if (last === undefined || kept !== undefined) return;
    await changeOver(
      () => last.drain(),
      () => undefined,
    );
    sweep.wake();
  }

  /** Posts a unit that may have been posted. */
  function postInDoubt({ unit, context, resolve, reject }: Waiting): void {
    metrics.inDoubt(unit.commands.length);
    own.post(unit, context).then(resolve, (error: unknown) => {
      const isUntold = error instanceof FailureError && UNTOLD.has(error.failure.reason);
      reject(isUntold ? new FailureError({ reason: "OUTCOME_UNKNOWN" }, { cause: error }) : error);
    });
  }

  async function choose(): Promise<void> {
    const { holder, isMine } = await unlessSilent(database, lease.claim(database.pool)).catch((error: unknown) => {
      if (link === undefined && !lease.isHeld) setRole({ name: "ALONE", cause: (error as Error).message });
      throw error;
    });
    // A change-over may take longer than a lease, which goes on being renewed meanwhile.
    if (isMine) {
      retire().catch(onFault);
      poster.open(holder.token);
      poster.showLife();
      return setRole({ name: "POSTER" });
    }
    poster.close();
    if (link?.holder.token.equals(holder.token) === false) retire().catch(onFault);
    if (link !== undefined) return;
    if (holder.build === lease.build) connect(holder).catch(onFault);
    else setRole({ name: "ALONE", cause: `${holder.address} runs another build of Grey` });
  }

  function setRole(next: Role): void {
    if (JSON.stringify(next) === JSON.stringify(role) || isStopping) return;
    role = next;
    onRole(next);
  }

  const sweep = startSweep(
    { intervalMs: leaseMs / 4, batchMax: 1 },
    async () => {
      await choose();
      return false;
    },
    () => undefined,
  );
  // Independent of the database's answers.
  const pulse = setInterval(() => {
    if (isServing()) poster.showLife();
    else poster.close();
  }, leaseMs / 4);

  return {
    engine: {
      post,
      get depth() {
        return own.depth + (kept?.length ?? 0);
      },
    },
    stop: async () => {
      isStopping = true;
      const timer = setTimeout(() => link?.break(), config.GREY_SHUTDOWN_TIMEOUT_MS);
      await sweep.stop();
      await lease.release(database.pool).catch(() => undefined);
      await changed;
      await Promise.all([retire(), poster.stop(config.GREY_SHUTDOWN_TIMEOUT_MS)]);
      clearTimeout(timer);
      clearInterval(pulse);
    },
  };
}

const HANDSHAKE_MS_MAX = 3_000;
/** Room for the answers of a batch, however small the queue is. */
const UNSENT_BYTES_MIN = 16 * 1_048_576;

/** The failures by which a server does not tell what came of a unit. */
const UNTOLD = new Set(["DATABASE_UNAVAILABLE", "OVERLOADED", "CALLER_GONE"]);
