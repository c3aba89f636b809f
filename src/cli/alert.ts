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
import { requestFields, showEnum } from "./render.js";
import { nameAccounts } from "./names.js";
import { ABOUT_WALLETS, resolveId, resolveWallet } from "./resolve.js";
import { showTime, timeCell } from "./time.js";
import { print, printReply, type CommandContext, withContext } from "./command-context.js";
import { renderFields, renderTable } from "./table.js";

const WALLET = "01890a5d-ac96-774b-bcce-b302099a8057";
const ALERT = "01890a5d-e3c2-7d55-8b1e-7c8f3d2a9e63";

const DIRECTIONS = { up: AlertDirection.UP, down: AlertDirection.DOWN, both: AlertDirection.BOTH } as const;
const BALANCES = { available: AlertBalance.AVAILABLE, posted: AlertBalance.POSTED } as const;

interface CreateOptions extends ChangeOptions {
  readonly direction: keyof typeof DIRECTIONS;
  readonly of: keyof typeof BALANCES;
}

/** Adds `grey alert`. */
export function addAlertCommands(program: Command): void {
  const alert = program.command("alert").description("record when a wallet's balance crosses a threshold");

  alert
    .command("create <wallet> <threshold...>")
    .description("record each later crossing of a threshold by a wallet's balance")
    .addOption(
      new Option("--direction <way>", "the direction to record; a balance equal to the threshold is above it")
        .choices(Object.keys(DIRECTIONS))
        .default("down"),
    )
    .addOption(
      new Option("--of <balance>", "the balance to compare").choices(Object.keys(BALANCES)).default("available"),
    )
    .addOption(requestIdOption())
    .addHelpText(
      "after",
      examples(`alert create ${WALLET} 50.00 USD --direction down`) + ABOUT_WALLETS + ABOUT_REQUEST_ID,
    )
    .action((wallet: string, threshold: string[], options: CreateOptions, command: Command) =>
      withContext(command, async (context) => {
        const walletId = await resolveWallet(wallet, context);
        const currencies = await context.currencies();
        const requestId = context.requestId(options.requestId);
        const reply = await context.call(AlertServiceService.createAlert, {
          requestId,
          walletId,
          threshold: readMoney(threshold.join(" "), currencies),
          direction: DIRECTIONS[options.direction],
          balance: BALANCES[options.of],
        });
        if (context.json) return printReply(AlertServiceService.createAlert, reply);
        print(await showAlert(assertPresent(reply.alert, "alert"), context, requestFields(requestId, reply.replayed)));
      }),
    );

  alert
    .command("get <alert>")
    .description("show an alert")
    .addHelpText("after", examples(`alert get ${ALERT}`))
    .action((name: string, _options: object, command: Command) =>
      withContext(command, async (context) => {
        const id = await resolveId(IdKind.ALERT, name, context);
        const reply = await context.call(AlertServiceService.getAlert, { id });
        if (context.json) return printReply(AlertServiceService.getAlert, reply);
        print(await showAlert(assertPresent(reply.alert, "alert"), context));
      }),
    );

  alert
    .command("list <wallet>")
    .description("list the alerts of a wallet, newest first")
    .addOption(limitOption())
    .addHelpText("after", examples(`alert list ${WALLET}`) + ABOUT_WALLETS)
    .action((wallet: string, options: { limit: number }, command: Command) =>
      withContext(command, async (context) => {
        const walletId = await resolveWallet(wallet, context);
        const found = await collect<Alert>(options.limit, async (page) => {
          const reply = await context.call(AlertServiceService.listAlerts, { walletId, ...page });
          return { items: reply.alerts, nextPageToken: reply.nextPageToken };
        });
        const { items: alerts, nextPageToken } = found;
        if (context.json) printReply(AlertServiceService.listAlerts, { alerts, nextPageToken });
        else print(renderAlerts(alerts, await context.currencies()), moreLine(found, "raise --limit"));
      }),
    );

  alert
    .command("delete <alert>")
    .description("delete an alert; recorded crossings are kept")
    .addOption(requestIdOption())
    .addHelpText("after", examples(`alert delete ${ALERT}`) + ABOUT_REQUEST_ID)
    .action((alert: string, options: ChangeOptions, command: Command) =>
      withContext(command, async (context) => {
        const alertId = await resolveId(IdKind.ALERT, alert, context);
        const requestId = context.requestId(options.requestId);
        const reply = await context.call(AlertServiceService.deleteAlert, { requestId, alertId });
        if (context.json) return printReply(AlertServiceService.deleteAlert, reply);
        const fields = requestFields(requestId, reply.replayed);
        print(await showAlert(assertPresent(reply.alert, "alert"), context, fields));
      }),
    );

  alert
    .command("events <alert>")
    .description("list the crossings that an alert recorded, latest first")
    .addOption(limitOption())
    .addHelpText("after", examples(`alert events ${ALERT}`))
    .action((alert: string, options: { limit: number }, command: Command) =>
      withContext(command, async (context) => {
        const alertId = await resolveId(IdKind.ALERT, alert, context);
        const found = await collect<AlertEvent>(options.limit, async (page) => {
          const reply = await context.call(AlertServiceService.listAlertEvents, { alertId, ...page });
          return { items: reply.events, nextPageToken: reply.nextPageToken };
        });
        const { items: events, nextPageToken } = found;
        if (context.json) printReply(AlertServiceService.listAlertEvents, { events, nextPageToken });
        else print(renderEvents(events, await context.currencies()), moreLine(found, "raise --limit"));
      }),
    );
}

async function showAlert(
  alert: Alert,
  context: CommandContext,
  more: readonly (readonly [string, string])[] = [],
): Promise<string> {
  const currencies = await context.currencies();
  const names = await nameAccounts([alert.walletId], context);
  return renderFields([
    ["alert", alert.id],
    ...more,
    ["wallet", names.formatIdAndName(alert.walletId)],
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
  if (events.length === 0) return "No crossing has been recorded yet.";
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
