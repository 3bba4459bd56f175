// Charts in SVG, without a library.

const NS = "http://www.w3.org/2000/svg";

// Colours of runs and classes, for light and dark paper: each has a contrast of at least 3 to both backgrounds of its scheme.
const LIGHT = ["#1f5fa6", "#b4480f", "#2c7a3f", "#8a3a9c", "#9a6a00", "#0c7c86", "#b02a5b", "#5b5f66", "#5a7d00", "#7a4a2b"];
const DARK = ["#86b8f0", "#f0a070", "#7fd08f", "#d59be4", "#e0bb55", "#5fd0da", "#f28fb4", "#b9bec5", "#b5d860", "#d3a684"];

const dark = matchMedia("(prefers-color-scheme: dark)");
export const colour = (i) => (dark.matches ? DARK : LIGHT)[i % LIGHT.length];
export const onScheme = (f) => dark.addEventListener("change", f);

export function element(name, attributes = {}, ...children) {
  const e = document.createElementNS(NS, name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  e.append(...children);
  return e;
}

export function number(v, digits = 4) {
  if (v === undefined || v === null || Number.isNaN(v)) return "–";
  if (v === 0) return "0";
  const a = Math.abs(v);
  if (a >= 1e5 || a < 1e-3) return v.toExponential(Math.max(digits - 2, 1)).replace("e+", "e");
  return String(Number(v.toPrecision(digits)));
}

// ticks are round numbers of an interval, about so many.
function ticks(lo, hi, about) {
  const raw = (hi - lo) / about, unit = 10 ** Math.floor(Math.log10(raw));
  const step = unit * [1, 2, 5, 10].find((m) => m * unit >= raw);
  const all = [];
  for (let k = Math.ceil(lo / step - 1e-9); k * step <= hi + 1e-9 * step; k++) all.push(Number((k * step).toPrecision(12)));
  return all;
}

function logTicks(lo, hi, about) {
  const all = [];
  for (let e = Math.floor(Math.log10(lo)); e <= Math.log10(hi); e++) {
    for (const m of [1, 2, 5]) if (m * 10 ** e >= lo && m * 10 ** e <= hi) all.push(m * 10 ** e);
  }
  return all.length >= 2 ? all : ticks(lo, hi, about);
}

function extent(values) {
  let lo = Infinity, hi = -Infinity;
  for (const v of values) { if (v < lo) lo = v; if (v > hi) hi = v; }
  return [lo, hi];
}

// frame makes a picture with axes for points of those x and y, and returns it with the functions that place points.
function frame(width, xs, ys, { log = false, xLabel = "", ratio = 0.45, least = 200, equal = false, whole = false } = {}) {
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize), font = 0.8 * rem;
  const left = font * 4.6, bottom = font * (xLabel ? 3.4 : 2), top = font, right = font * 1.2;
  const height = Math.max(least, Math.min(width * ratio, 26 * rem));
  let [x0, x1] = extent(xs), [y0, y1] = extent(ys);
  if (x0 === x1) { x0 -= 0.5; x1 += 0.5; }
  if (y0 === y1) { const d = Math.abs(y0) * 0.1 || 0.5; y0 -= d; y1 += d; }
  if (equal) { // the same scale on both axes
    const scale = Math.max((x1 - x0) / (width - left - right), (y1 - y0) / (height - top - bottom)) * 1.06;
    const cx = (x0 + x1) / 2, cy = (y0 + y1) / 2, w = scale * (width - left - right) / 2, h = scale * (height - top - bottom) / 2;
    [x0, x1, y0, y1] = [cx - w, cx + w, cy - h, cy + h];
  } else if (log) { const f = (y1 / y0) ** 0.05; y0 /= f; y1 *= f;
  } else { const d = (y1 - y0) * 0.05; y0 -= d; y1 += d; }
  const fy = log ? Math.log : (v) => v;
  const px = (x) => left + (x - x0) / (x1 - x0) * (width - left - right);
  const py = (y) => height - bottom - (fy(y) - fy(y0)) / (fy(y1) - fy(y0)) * (height - top - bottom);
  const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
  const room = Math.max(2, Math.floor((width - left - right) / (font * 6)));
  let xTicks = ticks(x0, x1, Math.min(room, 8));
  if (whole && xTicks.some(Number.isInteger)) xTicks = xTicks.filter(Number.isInteger);
  let yTicks = (log ? logTicks : ticks)(y0, y1, Math.max(3, Math.round((height - top - bottom) / (font * 3))));
  const least2 = font * 1.3;
  yTicks = yTicks.filter((v, i) => i === 0 || Math.abs(py(v) - py(yTicks[i - 1])) >= least2 || !log);
  for (const v of yTicks) {
    svg.append(element("line", { class: "grid", x1: left, x2: width - right, y1: py(v), y2: py(v) }),
      element("text", { x: left - font * 0.5, y: py(v) + font * 0.35, "text-anchor": "end" }, number(v, 3)));
  }
  for (const v of xTicks) {
    svg.append(element("line", { class: "axis", x1: px(v), x2: px(v), y1: height - bottom, y2: height - bottom + 4 }),
      element("text", { x: px(v), y: height - bottom + font * 1.4, "text-anchor": "middle" }, number(v, 6)));
  }
  svg.append(element("line", { class: "axis", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom }));
  if (xLabel) svg.append(element("text", { x: (left + width - right) / 2, y: height - font * 0.4, "text-anchor": "middle" }, xLabel));
  return { svg, px, py };
}

// lines draws curves: each has points [x, y], a colour's number, a name, and may be dashed or faint.
export function lines(box, curves, { log, xLabel, title }) {
  const usable = curves.map((c) => ({ ...c, points: c.points.filter(([, y]) => Number.isFinite(y) && (!log || y > 0)) })).filter((c) => c.points.length);
  if (!usable.length) {
    box.replaceChildren(Object.assign(document.createElement("p"), { textContent: "No values yet: the first come with the first step." }));
    return;
  }
  const points = usable.flatMap((c) => c.points);
  const { svg, px, py } = frame(Math.max(box.clientWidth, 240), points.map((p) => p[0]), points.map((p) => p[1]), { log, xLabel, whole: true });
  svg.setAttribute("aria-label", `${title}: ${usable.map((c) => `${c.name}, last ${number(c.points.at(-1)[1])}`).join("; ")}`);
  for (const c of usable) {
    const d = c.points.map(([x, y], i) => `${i ? "L" : "M"}${px(x).toFixed(1)} ${py(y).toFixed(1)}`).join("");
    svg.append(element("path", { d, fill: "none", stroke: colour(c.colour), "stroke-width": c.faint ? 1.5 : 2.2, "stroke-opacity": c.faint ? 0.75 : 1, "stroke-dasharray": c.dashed ? "7 4" : "none", "stroke-linejoin": "round" }));
    if (c.points.length <= 40 && !c.faint) for (const [x, y] of c.points) svg.append(element("circle", { cx: px(x), cy: py(y), r: 2.8, fill: colour(c.colour) }));
  }
  const legend = document.createElement("ul");
  legend.className = "legend";
  for (const c of usable) {
    const li = document.createElement("li");
    li.append(element("svg", { viewBox: "0 0 28 12", "aria-hidden": "true" }, element("line", { x1: 0, x2: 28, y1: 6, y2: 6, stroke: colour(c.colour), "stroke-width": c.faint ? 1.5 : 3, "stroke-dasharray": c.dashed ? "7 4" : "none" })), c.name);
    legend.append(li);
  }
  box.replaceChildren(svg, legend);
}

// scatter draws points by their classes.
export function scatter(box, { x, y, labels, classes }, title) {
  const flat = !y;
  const { svg, px, py } = frame(Math.max(box.clientWidth, 240), x, flat ? [0] : y, { ratio: flat ? 0.25 : 0.75, least: flat ? 90 : 220, equal: !flat });
  svg.setAttribute("aria-label", title);
  const groups = new Map();
  x.forEach((v, i) => {
    const label = labels ? labels[i] : 0;
    if (!groups.has(label)) groups.set(label, []);
    groups.get(label).push(i);
  });
  const known = [...groups.keys()].sort((a, b) => a - b);
  for (const [k, label] of known.entries()) {
    for (const i of groups.get(label)) svg.append(element("circle", { cx: px(x[i]).toFixed(1), cy: py(flat ? 0 : y[i]).toFixed(1), r: 3.2, fill: colour(k), "fill-opacity": 0.8 }));
  }
  box.replaceChildren(svg);
  if (!labels) return;
  const legend = document.createElement("ul");
  legend.className = "legend";
  for (const [k, label] of known.entries()) {
    const li = document.createElement("li"), dot = document.createElement("span");
    dot.className = "dot";
    dot.style.background = colour(k);
    li.append(dot, classes?.[label] ?? String(label));
    legend.append(li);
  }
  box.append(legend);
}
