import { ALERT_DIRECTION, type AlertDirection, type BalanceAlertEventRow } from "../entities/alert.js";

/**
 * Which way a balance crossed a threshold, as far as the alert asks for it; undefined when it did not. At the threshold is
 * above it.
 */
export function findCrossing(
  before: bigint,
  after: bigint,
  threshold: bigint,
  wanted: AlertDirection,
): BalanceAlertEventRow["direction"] | undefined {
  const [wasBelow, isBelow] = [before < threshold, after < threshold];
  if (wasBelow === isBelow) return undefined;
  const direction = isBelow ? ALERT_DIRECTION.DOWN : ALERT_DIRECTION.UP;
  return wanted === direction || wanted === ALERT_DIRECTION.BOTH ? direction : undefined;
}
