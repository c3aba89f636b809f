/**
 * Runs `work` for all items concurrently; items that share a resource run one after the other, in their order.
 * @param touches returns the resources that the item's work uses
 * @param inFlightMax the maximum number of started items, including those that wait for others
 * @throws the first error, after all started items have ended; no further item is started
 */
export async function runInOrder<T>(
  items: Iterable<T>,
  touches: (item: T) => readonly unknown[],
  work: (item: T) => Promise<void>,
  inFlightMax: number,
): Promise<void> {
  const latest = new Map<unknown, Promise<void>>();
  const inFlight = new Set<Promise<void>>();
  const errors: unknown[] = [];

  for (const item of items) {
    if (errors.length > 0) break;
    const resources = touches(item);
    const earlier = Promise.all(resources.flatMap((resource) => latest.get(resource) ?? []));
    const end = earlier
      .then(() => (errors.length === 0 ? work(item) : undefined))
      .catch((error: unknown) => {
        errors.push(error);
      })
      .finally(() => inFlight.delete(end));
    for (const resource of resources) latest.set(resource, end);
    inFlight.add(end);
    if (inFlight.size >= inFlightMax) await Promise.race(inFlight);
  }
  await Promise.all(inFlight);
  if (errors.length > 0) throw errors[0];
}
