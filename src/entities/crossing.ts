import { ALERT_BALANCE, ALERT_DIRECTION } from "./alert.js";

// The definition of a crossing, as SQL for the reader that records crossings and the law that checks them.

/**
 * Returns the balance that the alert watches, after the entry; 0 where there is no entry: an account starts with nothing.
 * @param alert, entry aliases of rows of balance_alerts and entries
 */
export const watchedBalance = (alert: string, entry: string): string =>
  `coalesce(${entry}.balance_after
    - CASE ${alert}.balance WHEN ${ALERT_BALANCE.AVAILABLE} THEN coalesce(${entry}.pending_debits_after, 0) ELSE 0 END, 0)`;

/**
 * Returns the direction in which a balance crossed a threshold; NULL when it did not, or not in a direction of the alert. A
 * balance at the threshold is not below it.
 * @param alert alias of a row with the threshold and direction of an alert
 */
export const crossingDirection = (alert: string, before: string, after: string): string => `
  CASE WHEN ${before} >= ${alert}.threshold AND ${after} < ${alert}.threshold
      AND ${alert}.direction IN (${ALERT_DIRECTION.DOWN}, ${ALERT_DIRECTION.BOTH}) THEN ${ALERT_DIRECTION.DOWN}
    WHEN ${before} < ${alert}.threshold AND ${after} >= ${alert}.threshold
      AND ${alert}.direction IN (${ALERT_DIRECTION.UP}, ${ALERT_DIRECTION.BOTH}) THEN ${ALERT_DIRECTION.UP} END`;
