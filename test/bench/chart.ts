import { calculateSpread, validRuns, type RowRuns, type Spread } from "./rounds.js";

// Two panels with a common axis: throughput and latency by the number of calls in flight.

const WIDTH = 860;
const LEFT = 76;
const RIGHT = 200;
const PANEL_HEIGHT = 250;
const TOP = 64;
const GAP = 62;
const HEIGHT = TOP + 2 * PANEL_HEIGHT + GAP + 62;
const FONT = "font-family='Helvetica, Arial, sans-serif'";
const INK = "#24292f";
const FAINT = "#d0d7de";
const COLOUR = { throughput: "#0969da", p50: "#1a7f37", p99: "#bc4c00", reference: "#6e7781" };

interface Point {
  readonly inFlight: number;
  readonly rate: Spread;
  readonly p50: Spread;
  readonly p99: Spread;
}

/** A baseline for the curve. */
interface Reference {
  readonly label: string;
  readonly value: number;
}

/** Draws the chart; undefined if fewer than two points were measured. */
export function renderChart(results: readonly RowRuns[], subtitle: string): string | undefined {
  const points = results
    .filter(({ row }) => row.isOnCurve === true)
    .flatMap((result) => toPoint(result) ?? [])
    .sort((a, b) => a.inFlight - b.inFlight);
  if (points.length < 2) return undefined;
  const rates = references(
    results,
    [
      ["function", "function, pgbench × 16"],
      ["typeorm", "TypeORM, pool of 20"],
    ],
    "rate",
  );
  const latencies = references(results, [["commit", "one commit, p50"]], "p50");
  const x = logScale(points[0]!.inFlight, points.at(-1)!.inFlight, LEFT, WIDTH - RIGHT);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" role="img">`,
    "<title>Throughput and latency of unary Transfer against calls in flight</title>",
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>`,
    text(LEFT, 26, "Unary Transfer: throughput and latency against calls in flight", "start", 16, INK, "bold"),
    text(LEFT, 44, subtitle, "start", 11, COLOUR.reference),
    ...throughputPanel(points, rates, x, TOP),
    ...latencyPanel(points, latencies, x, TOP + PANEL_HEIGHT + GAP),
    ...xAxis(points, x, TOP + 2 * PANEL_HEIGHT + GAP),
    "</svg>",
    "",
  ].join("\n");
}

function toPoint(result: RowRuns): Point | undefined {
  const runs = validRuns(result);
  const rate = calculateSpread(runs.map(({ sample }) => sample.perSecond));
  const p50 = calculateSpread(runs.map(({ sample }) => sample.latencyUs.p50));
  const p99 = calculateSpread(runs.map(({ sample }) => sample.latencyUs.p99));
  const { inFlight } = result.row;
  if (rate === undefined || p50 === undefined || p99 === undefined || inFlight === undefined) return undefined;
  return { inFlight, rate, p50, p99 };
}

function references(
  results: readonly RowRuns[],
  wanted: readonly (readonly [id: string, label: string])[],
  measure: "rate" | "p50",
): Reference[] {
  return wanted.flatMap(([id, label]) => {
    const point = results.filter(({ row }) => row.id === id).flatMap((result) => toPoint(result) ?? [])[0];
    return point === undefined ? [] : [{ label, value: point[measure].median }];
  });
}

type Scale = (value: number) => number;

function logScale(min: number, max: number, from: number, to: number): Scale {
  const span = Math.log(max) - Math.log(min) || 1;
  return (value) => from + ((Math.log(value) - Math.log(min)) / span) * (to - from);
}

function throughputPanel(points: readonly Point[], levels: readonly Reference[], x: Scale, top: number): string[] {
  const bottom = top + PANEL_HEIGHT;
  const most = Math.max(...points.map(({ rate }) => rate.max), ...levels.map(({ value }) => value));
  const step = niceStep(most / 5);
  const ceiling = Math.ceil(most / step) * step;
  const y: Scale = (value) => bottom - (value / ceiling) * PANEL_HEIGHT;
  const ticks = Array.from({ length: Math.round(ceiling / step) + 1 }, (_, index) => index * step);
  return [
    ...ticks.flatMap((tick) => [grid(y(tick)), text(LEFT - 8, y(tick) + 4, tick.toLocaleString("en"), "end", 11)]),
    axisTitle("transfers per second", (top + bottom) / 2),
    ...referenceLines(levels.map((level) => ({ ...level, y: y(level.value) }))),
    ...curve(
      points.map(({ inFlight, rate }) => ({ x: x(inFlight), spread: rate })),
      y,
      COLOUR.throughput,
    ),
    ...lineLabels([{ label: "Grey", y: y(points.at(-1)!.rate.median), colour: COLOUR.throughput }]),
  ];
}

function latencyPanel(points: readonly Point[], levels: readonly Reference[], x: Scale, top: number): string[] {
  const bottom = top + PANEL_HEIGHT;
  const all = [...points.flatMap(({ p50, p99 }) => [p50.min, p99.max]), ...levels.map(({ value }) => value)];
  const floor = 10 ** Math.floor(Math.log10(Math.min(...all)));
  const ceiling = 10 ** Math.ceil(Math.log10(Math.max(...all)));
  const y = logScale(floor, ceiling, bottom, top);
  const decades = Array.from(
    { length: Math.round(Math.log10(ceiling / floor)) + 1 },
    (_, index) => floor * 10 ** index,
  );
  const last = points.at(-1)!;
  return [
    ...decades.flatMap((tick) => [
      grid(y(tick)),
      text(LEFT - 8, y(tick) + 4, `${(tick / 1_000).toLocaleString("en")} ms`, "end", 11),
    ]),
    axisTitle("latency, logarithmic", (top + bottom) / 2),
    ...referenceLines(levels.map((level) => ({ ...level, y: y(level.value) }))),
    ...curve(
      points.map(({ inFlight, p99 }) => ({ x: x(inFlight), spread: p99 })),
      y,
      COLOUR.p99,
    ),
    ...curve(
      points.map(({ inFlight, p50 }) => ({ x: x(inFlight), spread: p50 })),
      y,
      COLOUR.p50,
    ),
    ...lineLabels([
      { label: "Grey, p99", y: y(last.p99.median), colour: COLOUR.p99 },
      { label: "Grey, p50", y: y(last.p50.median), colour: COLOUR.p50 },
    ]),
  ];
}

function xAxis(points: readonly Point[], x: Scale, bottom: number): string[] {
  return [
    `<line x1="${LEFT}" y1="${bottom}" x2="${WIDTH - RIGHT}" y2="${bottom}" stroke="${INK}"/>`,
    ...points.map(({ inFlight }) => text(x(inFlight), bottom + 18, inFlight.toLocaleString("en"), "middle", 11)),
    text(
      (LEFT + WIDTH - RIGHT) / 2,
      bottom + 40,
      "calls in flight, logarithmic; bars and dots: least, median, greatest of the rounds",
      "middle",
      12,
    ),
  ];
}

function curve(points: readonly { readonly x: number; readonly spread: Spread }[], y: Scale, colour: string): string[] {
  const path = points.map((point) => `${point.x.toFixed(1)},${y(point.spread.median).toFixed(1)}`).join(" ");
  return [
    `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`,
    ...points.flatMap((point) => [
      `<line x1="${point.x.toFixed(1)}" y1="${y(point.spread.min).toFixed(1)}" x2="${point.x.toFixed(1)}" y2="${y(point.spread.max).toFixed(1)}" stroke="${colour}" stroke-width="2" stroke-opacity="0.45"/>`,
      `<circle cx="${point.x.toFixed(1)}" cy="${y(point.spread.median).toFixed(1)}" r="3.5" fill="${colour}"/>`,
    ]),
  ];
}

function referenceLines(levels: readonly { readonly label: string; readonly y: number }[]): string[] {
  return levels.flatMap(({ label, y }) => [
    `<line x1="${LEFT}" y1="${y.toFixed(1)}" x2="${WIDTH - RIGHT}" y2="${y.toFixed(1)}" stroke="${COLOUR.reference}" stroke-dasharray="5 4"/>`,
    text(WIDTH - RIGHT + 8, y + 4, label, "start", 11, COLOUR.reference),
  ]);
}

const LABEL_GAP = 14;

/** Labels the ends of the lines without overlaps. */
function lineLabels(
  labels: readonly { readonly label: string; readonly y: number; readonly colour: string }[],
): string[] {
  let above = -Infinity;
  return [...labels]
    .sort((a, b) => a.y - b.y)
    .map(({ label, y, colour }) => {
      above = Math.max(y, above + LABEL_GAP);
      return text(WIDTH - RIGHT + 8, above + 4, label, "start", 12, colour, "bold");
    });
}

function grid(y: number): string {
  return `<line x1="${LEFT}" y1="${y.toFixed(1)}" x2="${WIDTH - RIGHT}" y2="${y.toFixed(1)}" stroke="${FAINT}"/>`;
}

function axisTitle(title: string, y: number): string {
  return `<text x="18" y="${y}" ${FONT} font-size="12" fill="${INK}" text-anchor="middle" transform="rotate(-90 18 ${y})">${escape(title)}</text>`;
}

function text(
  x: number,
  y: number,
  content: string,
  anchor: string,
  size: number,
  colour: string = INK,
  weight = "normal",
): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${FONT} font-size="${size}" font-weight="${weight}" fill="${colour}" text-anchor="${anchor}">${escape(content)}</text>`;
}

function escape(content: string): string {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** Rounds up to 1, 2 or 5 times a power of ten. */
function niceStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(least));
  return ([1, 2, 5, 10].find((factor) => factor * power >= least) ?? 10) * power;
}
