/**
 * Collects what comes in one turn of the event loop, and sends it together.
 * @returns a function that adds an item
 */
export function createBunch<T>(send: (items: readonly T[]) => void): (item: T) => void {
  let items: T[] = [];
  return (item) => {
    items.push(item);
    if (items.length > 1) return;
    setImmediate(() => {
      const all = items;
      items = [];
      send(all);
    });
  };
}
