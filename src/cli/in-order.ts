/**
 * Runs the work of every item, many at once, but never two that touch the same thing at once: those run in their order.
 * @param touches what the item's work depends on or changes
 * @param inFlightMax how many items are under way at the most, those that wait for others included
 * @throws the first error, once nothing is under way any more; later items are not begun
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
    const things = touches(item);
    const earlier = Promise.all(things.flatMap((thing) => latest.get(thing) ?? []));
    const end = earlier
      .then(() => (errors.length === 0 ? work(item) : undefined))
      .catch((error: unknown) => {
        errors.push(error);
      })
      .finally(() => inFlight.delete(end));
    for (const thing of things) latest.set(thing, end);
    inFlight.add(end);
    if (inFlight.size >= inFlightMax) await Promise.race(inFlight);
  }
  await Promise.all(inFlight);
  if (errors.length > 0) throw errors[0];
}
