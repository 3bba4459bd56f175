// The page: runs are asked for when an event says that they have changed, and drawn where they are.

import { colour, lines, number, onScheme, scatter } from "./chart.js";

const $ = (id) => document.getElementById(id);
const runs = new Map(); // by id: what the server says of a run
const cards = new Map(); // by id: the section of a chosen run
const chosen = new Set();
let order = []; // ids, as they are listed
let token = sessionStorage.getItem("convae-token") ?? "";

// A token after # comes with the address that the program prints; it is not left there.
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  keep(given);
  history.replaceState(null, "", location.pathname + location.search);
}

function keep(value) {
  token = value;
  sessionStorage.setItem("convae-token", value);
}

// QUANTITIES are what curves may show, by epoch; the first with its values within epochs.
const QUANTITIES = [
  ["Loss", "val_loss", "loss"], ["PSNR, dB", "val_psnr"], ["SSIM", "val_ssim"], ["Mean squared error", "val_mse"], ["Mean absolute error", "val_mae"],
  ["KL divergence, nats", "val_kl"], ["Active units of the code", "val_active_units"], ["Perplexity of the codebook", "val_perplexity"],
  ["Images a second", "images_per_second"], ["Learning rate", "learning_rate"],
];

async function ask(path, options = {}) {
  const response = await fetch(path, options);
  if (response.ok) return response.status === 204 ? null : response.json();
  const body = await response.json().catch(() => ({}));
  throw Object.assign(new Error(body.error ?? `${response.status} ${response.statusText}`), { status: response.status });
}

const post = (path) => ask(path, { method: "POST", headers: { Authorization: `Bearer ${token}` } });

function node(name, text = "", attributes = {}) {
  const e = document.createElement(name);
  e.textContent = text;
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  return e;
}

function time(seconds) {
  if (!seconds) return "–";
  const s = Math.round(seconds), m = Math.floor(s / 60), h = Math.floor(m / 60);
  if (h >= 48) return `${Math.round(h / 24)} days`;
  if (h) return `${h} h ${m % 60} min`;
  return m ? `${m} min ${s % 60} s` : `${s} s`;
}

// ---- the list of runs

async function listRuns() {
  const list = await ask("api/runs");
  order = list.map((r) => r.id);
  for (const r of list) runs.set(r.id, { ...runs.get(r.id), ...r });
  for (const id of [...runs.keys()].filter((id) => !order.includes(id))) { // its folder is gone
    runs.delete(id);
    chosen.delete(id);
  }
  if (!chosen.size) first(list).forEach((id) => chosen.add(id));
  drawList();
  if (chosen.size) await Promise.all([...chosen].map(load));
  else draw();
}

// first chooses what is shown at first: what the address names, what is being trained, or the run that was changed last.
function first(list) {
  const named = new URLSearchParams(location.search).getAll("run").filter((id) => runs.has(id));
  if (named.length) return named;
  const active = list.filter((r) => r.control || r.state === "running").map((r) => r.id).slice(0, 3);
  if (active.length) return active;
  return list.toSorted((a, b) => b.updated.localeCompare(a.updated)).slice(0, 1).map((r) => r.id);
}

function drawList() {
  $("empty").hidden = order.length > 0;
  $("main").hidden = !order.length;
  $("chooser").hidden = order.length < 2;
  const items = order.map((id) => {
    const r = runs.get(id), li = node("li"), label = node("label"), box = node("input", "", { type: "checkbox" }), key = node("span", "", { class: "key", "aria-hidden": "true" });
    box.checked = chosen.has(id);
    box.dataset.id = id;
    box.addEventListener("change", () => choose(id, box.checked));
    if (box.checked) key.style.background = colour(order.indexOf(id));
    label.append(box, key, `${r.name} (${r.state})`);
    li.append(label);
    return li;
  });
  const focused = document.activeElement?.dataset?.id;
  $("runs").replaceChildren(...items);
  if (focused && $("runs").contains($("runs").querySelector(`[data-id="${CSS.escape(focused)}"]`))) $("runs").querySelector(`[data-id="${CSS.escape(focused)}"]`).focus();
}

function choose(id, on) {
  if (on) chosen.add(id); else chosen.delete(id);
  const query = new URLSearchParams([...chosen].map((c) => ["run", c]));
  history.replaceState(null, "", chosen.size ? `?${query}` : location.pathname);
  drawList();
  if (on) load(id); else draw();
}

async function load(id) {
  runs.set(id, { ...runs.get(id), ...(await ask(`api/runs/${encodeURIComponent(id)}`)) });
  draw();
}

// ---- curves

function drawCurves() {
  const shown = order.filter((id) => chosen.has(id)).map((id) => runs.get(id));
  const useful = QUANTITIES.filter(([, key], i) => i === 0 || shown.some((r) => r.history?.some((e) => e[key])));
  const select = $("quantity"), before = select.value || "val_loss";
  const names = useful.map((q) => q[1]).join();
  if (select.dataset.names !== names) {
    select.replaceChildren(...useful.map(([name, key]) => node("option", name, { value: key })));
    select.dataset.names = names;
  }
  select.value = useful.some((q) => q[1] === before) ? before : "val_loss";
  const [title, key, training] = QUANTITIES.find((q) => q[1] === select.value);
  const curves = [];
  for (const r of shown) {
    const prefix = shown.length > 1 ? `${r.name}, ` : "", c = order.indexOf(r.id), epochs = r.history ?? [];
    if (training) {
      curves.push({ name: `${prefix}training`, colour: c, dashed: true, points: epochs.map((e) => [e.epoch, e[training]]) });
      if (r.points?.length > 1) curves.push({ name: `${prefix}training, mean of the epoch so far`, colour: c, faint: true, points: r.points });
    }
    curves.push({ name: training ? `${prefix}validation` : `${prefix}${title}`, colour: c, points: epochs.map((e) => [e.epoch, e[key]]) });
  }
  lines($("curves"), curves, { log: $("logarithmic").checked, xLabel: "epoch", title });
  drawTable(shown, key, training, title);
}

function drawTable(shown, key, training, title) {
  const head = node("tr"), rows = new Map();
  head.append(node("th", "epoch", { scope: "col" }));
  shown.forEach((r, k) => {
    const columns = training ? [["training", training], ["validation", key]] : [[title, key]];
    for (const [name] of columns) head.append(node("th", shown.length > 1 ? `${r.name}, ${name}` : name, { scope: "col" }));
    for (const e of r.history ?? []) {
      if (!rows.has(e.epoch)) rows.set(e.epoch, shown.map(() => []));
      rows.get(e.epoch)[k] = columns.map(([, c]) => number(e[c], 5));
    }
  });
  const width = training ? 2 : 1, body = node("tbody"), top = node("thead");
  top.append(head);
  for (const epoch of [...rows.keys()].sort((a, b) => a - b)) {
    const tr = node("tr");
    tr.append(node("th", String(epoch), { scope: "row" }));
    for (const cells of rows.get(epoch)) for (let i = 0; i < width; i++) tr.append(node("td", cells[i] ?? "–"));
    body.append(tr);
  }
  $("curves-table").replaceChildren(top, body);
}

// ---- cards

function card(id) {
  let c = cards.get(id);
  if (c) return c;
  const root = $("card").content.cloneNode(true).firstElementChild, get = (s) => root.querySelector(s);
  c = { root, get, epoch: 0, shownSamples: "", shownLatent: "" };
  root.setAttribute("aria-label", `Run ${runs.get(id).name}`);
  get(".pause").addEventListener("click", () => change(id, runs.get(id).state === "paused" ? "resume" : "pause"));
  get(".stop").addEventListener("click", () => change(id, "stop"));
  get("input[type=range]").addEventListener("input", (e) => {
    get(".follow").checked = false;
    c.epoch = epochsOf(runs.get(id))[Number(e.target.value)];
    drawEpoch(id);
  });
  get(".follow").addEventListener("change", () => drawEpoch(id));
  get(".log").addEventListener("toggle", () => drawLog(id));
  cards.set(id, c);
  return c;
}

// epochsOf are those that have a picture and, where there are codes, points: of the newest, the one may be there before the other.
function epochsOf({ samples = [], latent = [] }) {
  if (!samples.length || !latent.length) return [...samples, ...latent];
  const both = new Set(latent);
  return samples.filter((e) => both.has(e));
}

const ACTIVE = ["running", "paused", "stopping"];

function drawCard(id) {
  const r = runs.get(id), { get } = card(id);
  get(".name").textContent = r.name;
  get(".name").style.borderLeft = `.35rem solid ${colour(order.indexOf(id))}`;
  get(".name").style.paddingLeft = ".5rem";
  get(".state").textContent = r.state === "silent" ? "no news" : r.state;
  get(".state").className = `state ${r.state}`;
  get(".about").textContent = [r.model && `model ${r.model}`, r.params && `${r.params.toLocaleString("en")} parameters`, r.train && `${r.train.toLocaleString("en")} training and ${r.validation.toLocaleString("en")} validation samples`, r.precision, r.device].filter(Boolean).join(" · ");
  get(".fault").textContent = r.fault ?? "";
  const within = r.steps ? r.step / r.steps : 1, active = ACTIVE.includes(r.state);
  const done = r.epochs ? Math.min(1, Math.max(0, (r.epoch - 1 + within) / r.epochs)) : 0;
  get("progress").value = done;
  get(".progress span").textContent = `Epoch ${r.epoch} of ${r.epochs}` + (active && r.steps ? `, step ${r.step} of ${r.steps}` : "");
  const last = r.history?.at(-1);
  const facts = [["Training loss", number((active && r.loss) || last?.loss)], ["Validation loss", number(last?.val_loss)]];
  if (last?.val_psnr) facts.push(["PSNR", `${last.val_psnr.toFixed(2)} dB`], ["SSIM", last.val_ssim.toFixed(3)]);
  const rate = (active && r.rate) || last?.images_per_second;
  facts.push(["Images a second", rate ? Math.round(rate).toLocaleString("en") : "–"]);
  if (active) facts.push(["Time left", time(r.left)]);
  if (r.streamed) facts.push(["Waiting for data", `${(100 * r.waiting).toFixed(1)} %`]);
  get(".facts").replaceChildren(...facts.map(([name, value]) => {
    const div = node("div");
    div.append(node("dt", name), node("dd", value));
    return div;
  }));
  get(".buttons").hidden = !r.control || !active;
  get(".pause").textContent = r.state === "paused" ? "Go on" : "Pause";
  for (const b of [".pause", ".stop"]) get(b).disabled = r.state === "stopping";
  get(".config pre").textContent = r.config ?? "";
  get(".config").hidden = !r.config;
  drawEpoch(id);
  if (get(".log").open) drawLog(id);
}

async function drawEpoch(id) {
  const r = runs.get(id), c = card(id), { get } = c, epochs = epochsOf(r);
  get(".epochs").hidden = !epochs.length;
  if (!epochs.length) return;
  if (get(".follow").checked || !epochs.includes(c.epoch)) c.epoch = epochs.at(-1);
  const range = get("input[type=range]");
  range.max = epochs.length - 1;
  range.value = epochs.indexOf(c.epoch);
  range.setAttribute("aria-valuetext", `epoch ${c.epoch}`);
  range.disabled = epochs.length < 2;
  get("output").textContent = c.epoch;
  const path = `api/runs/${encodeURIComponent(id)}`;
  const hasSamples = r.samples?.includes(c.epoch), hasLatent = r.latent?.includes(c.epoch);
  get(".samples").hidden = !hasSamples;
  const samples = `${path}/samples/${c.epoch}`;
  if (hasSamples && c.shownSamples !== samples) {
    c.shownSamples = samples;
    const img = get("img");
    img.src = samples;
    img.alt = `Validation samples of ${r.name} after epoch ${c.epoch}`;
    get(".samples .scroll").setAttribute("aria-label", img.alt);
  }
  get(".latent").hidden = !hasLatent;
  const latent = `${path}/latent/${c.epoch}`;
  if (hasLatent && c.shownLatent !== latent) {
    c.shownLatent = latent;
    try {
      c.points = await ask(latent);
    } catch {
      return; // it was thinned out meanwhile; the next event says what there is
    }
    drawLatent(id);
  }
}

function drawLatent(id) {
  const c = cards.get(id), p = c?.points;
  if (!p || c.get(".latent").hidden) return;
  const kind = p.share ? `along their first two principal components, with ${(100 * p.share).toFixed(1)} % of the variance` : "as they are";
  const text = `Codes of ${p.samples.length} validation samples after epoch ${p.epoch}, ${kind}`;
  scatter(c.get(".plot"), p, text);
  c.get(".latent figcaption").textContent = text;
}

async function drawLog(id) {
  const list = card(id).get(".log ol"), box = list.parentElement;
  const lines = await ask(`api/runs/${encodeURIComponent(id)}/log`);
  const atEnd = box.scrollTop + box.clientHeight >= box.scrollHeight - 8;
  list.replaceChildren(...lines.map(({ time, level, message, ...rest }) => node("li", [time ? new Date(time).toLocaleTimeString() : "", level === "warn" || level === "error" ? level : "", message, ...Object.entries(rest).filter(([, v]) => v !== "").map(([k, v]) => `${k}=${v}`)].filter(Boolean).join(" "))));
  if (!lines.length) list.append(node("li", "This run has no log."));
  if (atEnd) box.scrollTop = box.scrollHeight;
}

// ---- pausing and stopping

// dialog asks, for a token where there is none, and returns whether to go on.
function dialog({ title, text, yes, needsToken, error = "" }) {
  $("ask-title").textContent = title;
  $("ask-text").textContent = text;
  $("ask-yes").textContent = yes;
  $("ask-error").textContent = error;
  $("ask-token").hidden = !needsToken;
  $("ask-value").value = "";
  $("ask").returnValue = "";
  $("ask").showModal();
  return new Promise((done) => $("ask").addEventListener("close", () => {
    if ($("ask").returnValue !== "yes") return done(false);
    if (needsToken) keep($("ask-value").value.trim());
    done(true);
  }, { once: true }));
}

async function change(id, what) {
  const name = runs.get(id).name;
  const stop = { title: `Stop ${name}?`, text: `The run ends after the step at hand and saves; convae train --resume goes on with it.`, yes: "Stop and save" };
  const other = { title: `The token is needed`, text: `It is in the address that the program has printed, or in the file or variable that it was started with.`, yes: what === "pause" ? "Pause" : "Go on" };
  let error = "";
  if (what === "stop" ? !(await dialog({ ...stop, needsToken: !token })) : !token && !(await dialog({ ...other, needsToken: true }))) return;
  for (;;) {
    try {
      await post(`api/runs/${encodeURIComponent(id)}/${what}`);
      await load(id);
      return;
    } catch (e) {
      error = e.status === 401 ? "The token is not the right one." : e.message;
      if (!(await dialog({ ...other, title: e.status === 401 ? other.title : "That did not work", text: e.status === 401 ? other.text : "", yes: "Try again", needsToken: e.status === 401, error }))) return;
    }
  }
}

// ---- configurations compared

async function drawDiff() {
  const ids = order.filter((id) => chosen.has(id));
  $("comparison").hidden = ids.length < 2;
  if (ids.length < 2) return;
  const pick = (select, fallback) => {
    const before = select.value;
    if (select.dataset.ids !== ids.join()) {
      select.replaceChildren(...ids.map((id) => node("option", runs.get(id).name, { value: id })));
      select.dataset.ids = ids.join();
    }
    select.value = ids.includes(before) ? before : fallback;
    return select.value;
  };
  const a = pick($("diff-a"), ids[0]), b = pick($("diff-b"), ids[1]);
  const key = `${a} ${b} ${runs.get(a).config} ${runs.get(b).config}`;
  if ($("diff").dataset.key === key) return;
  $("diff").dataset.key = key;
  let values;
  try {
    values = await ask(`api/diff?${new URLSearchParams({ a, b })}`);
  } catch (e) {
    $("diff").replaceChildren(node("p", e.message, { class: "error" }));
    return;
  }
  if (!values.length) {
    $("diff").replaceChildren(node("p", "They do not differ."));
    return;
  }
  const table = node("table"), head = node("tr"), body = node("tbody"), top = node("thead"), scroll = node("div", "", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Differences of the configurations" });
  for (const text of ["setting", runs.get(a).name, runs.get(b).name]) head.append(node("th", text, { scope: "col" }));
  for (const v of values) {
    const tr = node("tr");
    tr.append(node("th", v.path, { scope: "row" }), node("td", v.a || "–"), node("td", v.b || "–"));
    body.append(tr);
  }
  top.append(head);
  table.append(top, body);
  scroll.append(table);
  $("diff").replaceChildren(scroll);
}

// ---- all of it

let due = false;
function draw() {
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    const ids = order.filter((id) => chosen.has(id));
    for (const id of ids) drawCard(id);
    const wanted = ids.map((id) => cards.get(id).root);
    if (wanted.length !== $("cards").children.length || wanted.some((e, i) => $("cards").children[i] !== e)) {
      $("cards").replaceChildren(...wanted);
      ids.forEach(drawLatent); // their places have a width now
    }
    drawCurves();
    drawDiff();
    const active = ids.map((id) => runs.get(id)).find((r) => ACTIVE.includes(r.state));
    document.title = active ? `${active.epoch}/${active.epochs} ${active.name} – convae` : "convae";
  });
}

function say(text) {
  if ($("connection").textContent !== text) $("connection").textContent = text;
}

function listen() {
  const events = new EventSource("api/events");
  events.addEventListener("hello", () => {
    say("connected");
    listRuns().catch((e) => say(e.message));
  });
  events.addEventListener("run", (e) => {
    const { id } = JSON.parse(e.data);
    if (!runs.has(id)) listRuns().catch(() => {});
    else if (chosen.has(id)) load(id).then(drawList, listRuns).catch(() => {});
    else listRuns().catch(() => {});
  });
  events.addEventListener("step", (e) => {
    const { points = [], history, samples, latent, config, ...now } = JSON.parse(e.data);
    const r = runs.get(now.id);
    if (!r) return;
    const all = r.points ?? [], at = all.at(-1)?.[0] ?? -1;
    const changed = r.state !== now.state;
    runs.set(now.id, { ...r, ...now, name: r.name, epochs: r.epochs, points: [...all, ...points.filter((p) => p[0] > at)] });
    if (changed) drawList();
    if (chosen.has(now.id)) draw();
  });
  events.addEventListener("error", () => say(events.readyState === EventSource.CLOSED ? "the connection was refused" : "not connected: the program has ended, or cannot be reached"));
}

async function open() {
  const info = await ask("api/info");
  if (info.locked && token) {
    try {
      await post("api/session");
      info.locked = false;
    } catch { /* the form asks for another */ }
  }
  $("login").hidden = !info.locked;
  if (info.locked) {
    say("locked");
    $("login-token").focus();
    return;
  }
  listen();
}

$("login").addEventListener("submit", async (e) => {
  e.preventDefault();
  keep($("login-token").value.trim());
  try {
    await post("api/session");
    $("login").hidden = true;
    listen();
  } catch (error) {
    $("login-error").textContent = error.status === 401 ? "The token is not the right one." : error.message;
  }
});

for (const id of ["quantity", "logarithmic"]) $(id).addEventListener("change", draw);
for (const id of ["diff-a", "diff-b"]) $(id).addEventListener("change", drawDiff);
const redraw = () => { draw(); cards.forEach((_, id) => drawLatent(id)); };
onScheme(() => { drawList(); redraw(); });
let width = 0;
new ResizeObserver(() => { if (width !== innerWidth) { width = innerWidth; redraw(); } }).observe(document.body);
open().catch((e) => say(e.message));
