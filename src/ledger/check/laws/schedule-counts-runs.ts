import { RUN_STATE } from "../../../entities/schedule.js";
import type { Law } from "../law.js";

// Costs what the schedules in the scope have run so far.
export const scheduleCountsRuns: Law = {
  reads: [],
  findBreaches: ({ records, rowsOf }) => {
    const runs = rowsOf("schedule_runs", `SELECT DISTINCT id FROM ${records} r`, "id = known.id");
    const ids = `SELECT schedule_id AS id FROM ${runs} r UNION SELECT id FROM ${records} r`;
    return `
    WITH schedule AS (
      SELECT id, run_count, tries FROM ${rowsOf("schedules", ids, "id = known.id")} s
    )
    SELECT s.id::text AS subject, format('it counts %s runs and %s tries of the next, there are %s and %s', s.run_count, s.tries,
      coalesce(r.ended, 0), coalesce(r.tries, 0)) AS detail
    FROM schedule s LEFT JOIN (
      SELECT schedule_id, count(*) FILTER (WHERE state <> ${RUN_STATE.RETRYING}) AS ended,
        sum(attempts) FILTER (WHERE state = ${RUN_STATE.RETRYING}) AS tries
      FROM ${rowsOf("schedule_runs", "SELECT id FROM schedule", "schedule_id = known.id")} r GROUP BY schedule_id
    ) r ON r.schedule_id = s.id
    WHERE s.run_count <> coalesce(r.ended, 0) OR s.tries <> coalesce(r.tries, 0)`;
  },
};
