import { type Command, Option } from "commander";
import {
  type Alert,
  AlertBalance,
  AlertDirection,
  type AlertEvent,
  AlertServiceService,
} from "../../generated/grey/alert/v1/alert_service.js";
import { IdKind } from "../../generated/grey/ledger/v1/naming.js";
import { assertPresent } from "../base/assert.js";
import { type Currencies, readMoney, showMoney } from "./amount.js";
import { ABOUT_REQUEST_ID, type ChangeOptions, examples, limitOption, requestIdOption } from "./options.js";
import { collect, moreLine } from "./paging.js";
import { requestFields, showEnum } from "./present.js";
import { nameAccounts } from "./names.js";
import { resolveId, resolveWallet } from "./resolve.js";
import { showTime, timeCell } from "./time.js";
import { print, printReply, type Session, withSession } from "./session.js";
import { renderFields, renderTable } from "./table.js";

const WALLET = "01890a5d-ac96-774b-bcce-b302099a8057";
const ALERT = "01890a5d-e3c2-7d55-8b1e-7c8f3d2a9e63";

const DIRECTIONS = { up: AlertDirection.UP, down: AlertDirection.DOWN, both: AlertDirection.BOTH } as const;
const BALANCES = { available: AlertBalance.AVAILABLE, posted: AlertBalance.POSTED } as const;

interface CreateOptions extends ChangeOptions {
  readonly direction: keyof typeof DIRECTIONS;
  readonly of: keyof typeof BALANCES;
}

/** `grey alert`. */
export function addAlertCommands(program: Command): void {
  const alert = program.command("alert").description("note when the balance of a wallet crosses a threshold");

  alert
    .command("create <wallet> <threshold...>")
    .description("note from now on when a wallet's balance crosses a threshold")
    .addOption(
      new Option("--direction <way>", "which way; at the threshold is above it")
        .choices(Object.keys(DIRECTIONS))
        .default("down"),
    )
    .addOption(new Option("--of <balance>", "which balance").choices(Object.keys(BALANCES)).default("available"))
    .addOption(requestIdOption())
    .addHelpText("after", examples(`alert create ${WALLET} 50.00 USD --direction down`) + ABOUT_REQUEST_ID)
    .action((wallet: string, threshold: string[], options: CreateOptions, command: Command) =>
      withSession(command, async (session) => {
        const walletId = await resolveWallet(wallet, session);
        const currencies = await session.currencies();
        const requestId = session.requestId(options.requestId);
        const reply = await session.call(AlertServiceService.createAlert, {
          requestId,
          walletId,
          threshold: readMoney(threshold.join(" "), currencies),
          direction: DIRECTIONS[options.direction],
          balance: BALANCES[options.of],
        });
        if (session.json) return printReply(AlertServiceService.createAlert, reply);
        print(await showAlert(assertPresent(reply.alert, "alert"), session, requestFields(requestId, reply.replayed)));
      }),
    );

  alert
    .command("get <alert>")
    .description("show an alert")
    .addHelpText("after", examples(`alert get ${ALERT}`))
    .action((name: string, _options: object, command: Command) =>
      withSession(command, async (session) => {
        const id = await resolveId(IdKind.ALERT, name, session);
        const reply = await session.call(AlertServiceService.getAlert, { id });
        if (session.json) return printReply(AlertServiceService.getAlert, reply);
        print(await showAlert(assertPresent(reply.alert, "alert"), session));
      }),
    );

  alert
    .command("list <wallet>")
    .description("list the alerts of a wallet, newest first")
    .addOption(limitOption())
    .addHelpText("after", examples(`alert list ${WALLET}`))
    .action((wallet: string, options: { limit: number }, command: Command) =>
      withSession(command, async (session) => {
        const walletId = await resolveWallet(wallet, session);
        const found = await collect<Alert>(options.limit, async (page) => {
          const reply = await session.call(AlertServiceService.listAlerts, { walletId, ...page });
          return { items: reply.alerts, nextPageToken: reply.nextPageToken };
        });
        const { items: alerts, nextPageToken } = found;
        if (session.json) printReply(AlertServiceService.listAlerts, { alerts, nextPageToken });
        else print(renderAlerts(alerts, await session.currencies()), moreLine(found, "raise --limit"));
      }),
    );

  alert
    .command("delete <alert>")
    .description("end an alert; what it noted stays")
    .addOption(requestIdOption())
    .addHelpText("after", examples(`alert delete ${ALERT}`) + ABOUT_REQUEST_ID)
    .action((alert: string, options: ChangeOptions, command: Command) =>
      withSession(command, async (session) => {
        const alertId = await resolveId(IdKind.ALERT, alert, session);
        const requestId = session.requestId(options.requestId);
        const reply = await session.call(AlertServiceService.deleteAlert, { requestId, alertId });
        if (session.json) return printReply(AlertServiceService.deleteAlert, reply);
        const fields = requestFields(requestId, reply.replayed);
        print(await showAlert(assertPresent(reply.alert, "alert"), session, fields));
      }),
    );

  alert
    .command("events <alert>")
    .description("list the crossings that an alert noted, latest first")
    .addOption(limitOption())
    .addHelpText("after", examples(`alert events ${ALERT}`))
    .action((alert: string, options: { limit: number }, command: Command) =>
      withSession(command, async (session) => {
        const alertId = await resolveId(IdKind.ALERT, alert, session);
        const found = await collect<AlertEvent>(options.limit, async (page) => {
          const reply = await session.call(AlertServiceService.listAlertEvents, { alertId, ...page });
          return { items: reply.events, nextPageToken: reply.nextPageToken };
        });
        const { items: events, nextPageToken } = found;
        if (session.json) printReply(AlertServiceService.listAlertEvents, { events, nextPageToken });
        else print(renderEvents(events, await session.currencies()), moreLine(found, "raise --limit"));
      }),
    );
}

async function showAlert(
  alert: Alert,
  session: Session,
  more: readonly (readonly [string, string])[] = [],
): Promise<string> {
  const currencies = await session.currencies();
  const names = await nameAccounts([alert.walletId], session);
  return renderFields([
    ["alert", alert.id],
    ...more,
    ["wallet", names.fullNameOf(alert.walletId)],
    ["threshold", showMoney(alert.threshold, currencies)],
    ["direction", showEnum(AlertDirection, alert.direction)],
    ["balance", showEnum(AlertBalance, alert.balance)],
    ["created", showTime(alert.createTime)],
    ["deleted", showTime(alert.deleteTime)],
  ]);
}

function renderAlerts(alerts: readonly Alert[], currencies: Currencies): string {
  if (alerts.length === 0) return "The wallet has no alerts.";
  return renderTable(
    [
      { title: "alert", kind: "id" },
      { title: "threshold", align: "right" },
      { title: "direction" },
      { title: "balance" },
      { title: "created", drop: 1 },
    ],
    alerts.map((alert) => [
      alert.id,
      showMoney(alert.threshold, currencies),
      showEnum(AlertDirection, alert.direction),
      showEnum(AlertBalance, alert.balance),
      timeCell(alert.createTime),
    ]),
  );
}

function renderEvents(events: readonly AlertEvent[], currencies: Currencies): string {
  if (events.length === 0) return "It has noted no crossing yet.";
  return renderTable(
    [
      { title: "time" },
      { title: "direction" },
      { title: "before", align: "right" },
      { title: "after", align: "right" },
      { title: "transaction", kind: "id" },
    ],
    events.map((event) => [
      timeCell(event.createTime),
      showEnum(AlertDirection, event.direction),
      showMoney(event.balanceBefore, currencies),
      showMoney(event.balanceAfter, currencies),
      event.transactionId,
    ]),
  );
}
