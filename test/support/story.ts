/** The output of the programs in examples/, which spell true and false in their own ways. */
export const STORY_OUTPUT: readonly string[] = [
  "before: Ada 100000, Bob 50000",
  "after: Ada 90000, Bob 60000, replayed False",
  "again: the same transaction True, replayed True",
  "too much: FAILED_PRECONDITION INSUFFICIENT_FUNDS, available 90000",
  "Ada's list shows the lunch: True",
  "Bob's list shows the lunch: True",
  "the books add up: True",
];
