// Examines PostgreSQL's auto_explain log of a test run and fails if the service read a whole table in a statement that must find its
// rows by key: these run with `enable_seqscan = off`, which is in the log (auto_explain.log_settings).
//   node scripts/plans.mjs LOG
// A test that removes keys excludes its database with RAISE LOG 'plans of this database do not count'.
// Required settings: log_line_prefix = '%a|%d|', auto_explain.log_format = json, log_settings = on, log_nested_statements = on.
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";

/** Tables with one or few rows that do not grow with use. */
const SMALL = new Set(["journal_head", "posting_lease", "installation", "currencies", "migrations"]);
/** Nodes that stop reading a table early. */
const BOUNDED = new Set(["Limit"]);
const QUERY_CHARS_MAX = 160;

const [file] = process.argv.slice(2);
if (file === undefined) {
  console.error("usage: node scripts/plans.mjs LOG");
  process.exit(2);
}

/** Counts of findings, by database, then by application, table and statement. */
const found = new Map();
let planCount = 0;

/** Excluded databases. */
const excluded = new Set();

let application = "";
let database = "";
let lines;
for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Infinity })) {
  if (line.startsWith("\t")) {
    lines?.push(line);
    continue;
  }
  take();
  if (line.endsWith("plans of this database do not count")) excluded.add(line.split("|")[1]);
  const [, name, where, isPlan] = /^([^|]*)\|([^|]*)\|LOG: {2}duration: .* ms {2}(plan:)$/.exec(line) ?? [];
  lines = isPlan === undefined || !name.startsWith("grey") ? undefined : [];
  application = name;
  database = where;
}
take();

if (planCount === 0) {
  console.error(`${file} contains no plans of the service`);
  process.exit(1);
}
const wrong = new Map();
for (const [where, statements] of found) {
  if (excluded.has(where)) continue;
  for (const [what, count] of statements) wrong.set(what, (wrong.get(what) ?? 0) + count);
}
for (const [what, count] of [...wrong].sort(([, a], [, b]) => b - a)) console.log(`${count} times  ${what}`);
console.log(
  `${planCount} plans of statements that must find rows by key; statements that read a whole table: ${wrong.size}`,
);
process.exitCode = wrong.size === 0 ? 0 : 1;

/** Evaluates the plan whose lines are complete. */
function take() {
  if (lines === undefined || lines.length === 0) return;
  const text = lines.join("\n");
  lines = undefined;
  // Cheaper than parsing each plan; a statement that may read everything enables sequential scans.
  if (!text.includes('"enable_seqscan": "off"')) return;
  planCount += 1;
  if (!text.includes('Scan"')) return;
  const { "Query Text": query, Plan: plan } = JSON.parse(text);
  walk(plan, false, (node) => {
    const table = node["Relation Name"];
    const what = `${application}: ${node["Node Type"]} of ${table}: ${query.replaceAll(/\s+/g, " ").trim().slice(0, QUERY_CHARS_MAX)}`;
    const here = found.get(database) ?? new Map();
    found.set(database, here.set(what, (here.get(what) ?? 0) + 1));
  });
}

function walk(node, isBounded, report) {
  const type = node["Node Type"];
  const bounded = isBounded || BOUNDED.has(type);
  const table = node["Relation Name"] ?? "";
  if (!SMALL.has(table) && !table.startsWith("pg_") && readsAll(node, bounded)) report(node);
  // Inputs of a sort, aggregate or hash are read to the end, whatever is above.
  const passes = type === "Sort" || type === "Aggregate" || type === "Hash" ? false : bounded;
  for (const child of node.Plans ?? []) walk(child, passes, report);
}

function readsAll(node, isBounded) {
  if (node["Node Type"] === "Seq Scan") return true;
  const isIndex = node["Node Type"] === "Index Scan" || node["Node Type"] === "Index Only Scan";
  return isIndex && node["Index Cond"] === undefined && !isBounded;
}
