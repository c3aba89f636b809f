import { Cron } from "croner";

/** The fields of a cron expression: name, permitted values and permitted characters. */
const FIELDS = [
  ["minute", "0 to 59", /^[0-9*,/-]+$/],
  ["hour", "0 to 23", /^[0-9*,/-]+$/],
  ["day of the month", "1 to 31", /^[0-9*,/-]+$/],
  ["month", "1 to 12, or JAN to DEC", /^([0-9*,/-]|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)+$/],
  ["day of the week", "0 to 7 (0 and 7 are Sunday), or SUN to SAT", /^([0-9*,/-]|SUN|MON|TUE|WED|THU|FRI|SAT)+$/],
] as const;

const EXAMPLE = 'such as "0 9 1 * *" for 09:00 on the first of each month';

/** Describes what is wrong with a cron expression of five fields; undefined when it is valid. */
export function findCronFault(cron: string): string | undefined {
  const parts = cron === "" ? [] : cron.split(" ");
  if (parts.length !== FIELDS.length) {
    const names = FIELDS.map(([name]) => name).join(", ");
    return `must have five fields (${names}) separated by one space, not ${parts.length}; ${EXAMPLE}`;
  }
  for (const [index, [name, values, pattern]] of FIELDS.entries()) {
    const field = parts[index] ?? "";
    const alone = parts.map((_, at) => (at === index ? field : "*")).join(" ");
    if (!pattern.test(field) || !parses(alone))
      return `the ${name}, ${field}, must be ${values}, combined with * , - and /; ${EXAMPLE}`;
  }
  return parses(cron) ? undefined : `must be a cron expression of five fields, ${EXAMPLE}`;
}

function parses(cron: string): boolean {
  try {
    return new Cron(cron, { mode: "5-part" }).getPattern() !== undefined;
  } catch {
    return false;
  }
}
