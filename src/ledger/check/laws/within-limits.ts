import type { Law } from "../law.js";

export const withinLimits: Law = {
  reads: ["accounts"],
  findBreaches: ({ accountStates }) => `
    SELECT id::text AS subject, format('balance %s is outside of %s to %s', balance, coalesce(min_balance::text, 'any'),
      coalesce(max_balance::text, 'any')) AS detail
    FROM ${accountStates} a WHERE balance < min_balance OR balance > max_balance`,
};
