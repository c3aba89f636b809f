import { TRANSACTION_STATE } from "../../../base/codes.js";
import { RECORD_TYPE } from "../../../entities/journal.js";
import type { Law } from "../law.js";
import { TRANSACTION_RECORDS } from "../scope.js";

export const transactionInJournal: Law = {
  reads: ["transactions", "records"],
  findBreaches: ({ transactionsOfEntries, records }) => `
    SELECT coalesce(t.id, r.id)::text AS subject, format('journal index %s, its record is at %s',
      coalesce(t.journal_index::text, '(no transaction)'), coalesce(r.index::text, 'no index')) AS detail
    FROM ${transactionsOfEntries} t
    FULL JOIN (SELECT id, type, index FROM ${records} r WHERE type IN (${TRANSACTION_RECORDS})) r
      ON r.id = t.id AND r.index = t.journal_index AND r.type = CASE
        WHEN t.state = ${TRANSACTION_STATE.POSTED} THEN ${RECORD_TYPE.TRANSACTION_POSTED}
        ELSE ${RECORD_TYPE.TRANSACTION_REJECTED} END
    WHERE t.id IS NULL OR r.id IS NULL`,
};
