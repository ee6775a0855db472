"use strict";
// One selection for table and plots. Frames are numbers: their places in the table as it was written.
const $ = (id) => document.getElementById(id);
const read = (id) => ($(id) ? JSON.parse($(id).textContent) : null);
const D = read("frames"), B = read("bokeh"), body = document.querySelector("#table tbody");
const rows = [...body.rows], heads = [...document.querySelectorAll("#table th")];
const filters = [...document.querySelectorAll(".filters input")];
const marks = new Map();
// which frames in which order: marks in an address are of no other page
const OF = [...D.files.join("\n")].reduce((sum, c) => (Math.imul(sum, 31) + c.codePointAt(0)) >>> 0, 7).toString(36);
let chosen = new Set(), current = -1, anchor = -1, shown = rows.map(() => true), order = rows.map((_, i) => i);
let live = null, quiet = false;

const kept = (i) => (marks.has(i) ? marks.get(i) === "A" : D.approved[i]);
const group = () => ($("group") ? $("group").value : "-1");

// ---- what a cell is worth: a number where its column has figures, else its text
function value(i, c) {
  const name = heads[c].dataset.c, column = D.columns[name];
  return column ? column.values[i] : rows[i].cells[c].textContent;
}

function sort(c) {
  const up = heads[c].getAttribute("aria-sort") !== "ascending";
  heads.forEach((h) => h.removeAttribute("aria-sort"));
  heads[c].setAttribute("aria-sort", up ? "ascending" : "descending");
  order.sort((i, j) => {
    const a = value(i, c), b = value(j, c);
    if (a === null || b === null) return (a === null) - (b === null) || i - j; // what is not known comes last
    return (a < b ? -1 : a > b ? 1 : 0) * (up ? 1 : -1) || i - j;
  });
  body.append(...order.map((i) => rows[i]));
}

// ---- filters: text that a cell holds, or < 4, >= 2, = 3, 2..3 for figures
function test(text, c) {
  text = text.trim();
  if (!text) return () => true;
  if (!D.columns[heads[c].dataset.c] || heads[c].dataset.c === "Time") {
    return (i) => rows[i].cells[c].textContent.toLowerCase().includes(text.toLowerCase());
  }
  const number = "\\s*([-+]?(?:\\d+\\.?\\d*|\\.\\d+)(?:e[-+]?\\d+)?)\\s*";
  const range = text.match(RegExp(`^${number}\\.\\.${number}$`, "i")), one = text.match(RegExp(`^(<=?|>=?|=?)${number}$`, "i"));
  if (!range && !one) return null;
  if (range) return (i) => value(i, c) !== null && value(i, c) >= +range[1] && value(i, c) <= +range[2];
  const limit = +one[2];
  const holds = { "<": (v) => v < limit, "<=": (v) => v <= limit, ">": (v) => v > limit, ">=": (v) => v >= limit };
  return (i) => value(i, c) !== null && (holds[one[1]] || ((v) => v === limit))(value(i, c));
}

function filter() {
  const tests = filters.map((input, c) => {
    const made = test(input.value, c);
    input.classList.toggle("wrong", !made);
    return made || (() => true);
  });
  const mine = group();
  shown = rows.map((_, i) => (mine === "-1" || D.group[i] === +mine) && tests.every((passes) => passes(i)));
  rows.forEach((row, i) => (row.hidden = !shown[i]));
  if (live) live.members.booleans = shown;
  document.querySelectorAll("[data-i]").forEach((e) => e.tagName !== "TR" && e.toggleAttribute("hidden", !shown[+e.dataset.i]));
  select([...chosen].filter((i) => shown[i]));
}

// ---- selection
function select(frames) {
  chosen = new Set(frames);
  rows.forEach((row, i) => {
    row.classList.toggle("chosen", chosen.has(i));
    row.classList.toggle("current", i === current);
    row.ariaCurrent = chosen.has(i) ? "true" : null;
  });
  document.querySelectorAll(".frames [data-i]").forEach((e) => e.classList.toggle("chosen", chosen.has(+e.dataset.i)));
  $("chosen").textContent = chosen.size ? `${chosen.size} selected` : "none selected";
  if (live) {
    quiet = true;
    live.source.selected.indices = [...chosen];
    quiet = false;
  }
}

function pick(i, event) {
  const places = order.filter((j) => shown[j]);
  if (event.shiftKey && anchor >= 0) {
    const [a, b] = [places.indexOf(anchor), places.indexOf(i)].sort((p, q) => p - q);
    current = i;
    return select(places.slice(Math.max(a, 0), b + 1));
  }
  current = anchor = i;
  if (!event.ctrlKey && !event.metaKey) return select([i]);
  const next = new Set(chosen);
  if (!next.delete(i)) next.add(i);
  select(next);
}

function step(by, event) {
  const places = order.filter((j) => shown[j]);
  if (!places.length) return;
  const at = places.indexOf(current), next = places[Math.min(places.length - 1, Math.max(0, at < 0 ? 0 : at + by))];
  pick(next, { shiftKey: event.shiftKey });
  rows[next].scrollIntoView({ block: "nearest" });
}

// ---- marks, and the list of files to copy
function mark(key) {
  for (const i of chosen) key ? marks.set(i, key) : marks.delete(i);
  tell();
}

function tell() {
  rows.forEach((row, i) => {
    row.cells[0].textContent = kept(i) ? "A" : "X";
    row.className = `${kept(i) ? "kept" : "left"}${marks.has(i) || D.locked[i] ? " hand" : ""}`;
  });
  const count = rows.filter((_, i) => kept(i)).length;
  const hand = marks.size ? `, ${marks.size} marked by hand` : "";
  $("summary").textContent = `${rows.length} frame${rows.length === 1 ? "" : "s"}, ${count} approved, ${rows.length - count} left out${hand}`;
  const wanted = { approved: kept, left: (i) => !kept(i), marked: (i) => marks.has(i) }[$("listed").value];
  $("list").value = order.filter(wanted).map((i) => D.files[i]).join("\n");
  const marked = (key) => [...marks].filter(([, k]) => k === key).map(([i]) => i).join(",");
  history.replaceState(null, "", marks.size ? `#of=${OF}&A=${marked("A")}&X=${marked("X")}` : "#");
  if (live) live.verdicts();
  select(chosen);
}

async function copy() {
  const text = $("list").value;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    $("list").select(); // pages from a disk may have no clipboard
    document.execCommand("copy");
  }
  $("copied").textContent = `${text ? text.split("\n").length : 0} names copied`;
}

// a list that other verbs take as @approved.txt
function save() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([$("list").value + "\n"], { type: "text/plain" }));
  link.download = { approved: "approved.txt", left: "left_out.txt", marked: "marked.txt" }[$("listed").value];
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// ---- plots
function draw() {
  $("caption").textContent = D.captions[$("y").value][group()];
  if (live) return live.draw();
  document.querySelectorAll("#plots > section").forEach((s) => {
    s.hidden = s.dataset.y !== $("y").value || s.dataset.group !== group();
  });
}

async function start() {
  await Bokeh.embed.embed_items(B.docs, B.items);
  const doc = Bokeh.documents[Bokeh.documents.length - 1], find = (name) => doc.get_model_by_name(name);
  const [night, pair, bars] = ["night", "pair", "histogram"].map(find);
  const [source, bins, members] = ["frames", "bins", "members"].map(find);
  const layers = Object.fromEntries(night.center.filter((m) => m.name).map((m) => [m.name, m]));
  const aim = (plot, x, y) => {
    const points = plot.renderers[0];
    for (const glyph of [points.glyph, points.selection_glyph, points.nonselection_glyph]) {
      glyph.x = { field: x };
      glyph.y = { field: y };
    }
    for (const axis of plot.below.filter((a) => a.name !== "clock")) axis.axis_label = D.columns[x].title;
    plot.left[0].axis_label = D.columns[y].title;
  };
  const set = (layer, values, seen) => layer.setv({ ...values, visible: seen });
  live = {
    source,
    members,
    draw() {
      const y = $("y").value, x = $("across").value, band = D.bands[y][group()];
      aim(night, x, y);
      night.below.forEach((a) => (a.visible = (a.name === "clock") === (x === "Time")));
      const [m, d, low, high] = band || [0, 0, null, null];
      set(layers.two, { bottom: m - 2 * d, top: m + 2 * d }, !!band);
      set(layers.one, { bottom: m - d, top: m + d }, !!band);
      set(layers.median, { location: m }, !!band);
      set(layers.above, high === null ? {} : { bottom: high }, high !== null);
      set(layers.below, low === null ? {} : { top: low }, low !== null);
      aim(pair, $("pair-x").value, $("pair-y").value);
      for (const [name, data] of Object.entries(D.frontiers[group()] || {})) find(name).data = data;
      const frontier = document.querySelector(".plot-frontier");
      if (frontier) frontier.hidden = !D.frontiers[group()];
      bars.below[0].axis_label = D.columns[y].title;
      bins.selected.indices = [];
      bins.data = D.bins[y][group()] || { left: [], right: [], approved: [], rejected: [], all: [] };
    },
    verdicts() {
      source.data = {
        ...source.data,
        marker: rows.map((_, i) => (kept(i) ? "circle" : "x")),
        color: rows.map((_, i) => (kept(i) ? "#0072b2" : "#d55e00")),
        verdict: rows.map((_, i) => (kept(i) ? "approved" : "left out")),
      };
    },
  };
  source.selected.properties.indices.change.connect(() => {
    if (!quiet) select(source.selected.indices);
  });
  bins.selected.properties.indices.change.connect(() => {
    const values = D.columns[$("y").value].values, last = bins.data.left.length - 1;
    const inside = (v, k) => v >= bins.data.left[k] && (v < bins.data.right[k] || (k === last && v <= bins.data.right[k]));
    const at = bins.selected.indices;
    if (at.length) select(rows.map((_, i) => i).filter((i) => shown[i] && values[i] !== null && at.some((k) => inside(values[i], k))));
  });
}

// ---- what people do
heads.forEach((head, c) => (head.firstChild.onclick = () => (sort(c), tell())));
filters.forEach((input) => (input.oninput = filter));
body.addEventListener("click", (event) => {
  const row = event.target.closest("tr");
  if (row && !String(getSelection())) pick(rows.indexOf(row), event);
});
document.querySelectorAll(".frames [data-i]").forEach((e) => (e.onclick = (event) => pick(+e.dataset.i, event)));
document.querySelectorAll("[data-mark]").forEach((b) => (b.onclick = () => mark(b.dataset.mark)));
document.querySelectorAll("[data-column]").forEach((check) => {
  check.onchange = () => {
    const c = heads.findIndex((head) => head.dataset.c === check.dataset.column);
    document.querySelectorAll("#table tr").forEach((row) => (row.cells[c].hidden = !check.checked));
  };
});
$("listed").onchange = tell;
$("copy").onclick = copy;
$("save").onclick = save;
for (const id of ["y", "across", "pair-x", "pair-y"]) if ($(id)) $(id).onchange = draw;
if ($("group")) $("group").onchange = () => (filter(), draw());
document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.length === 1 ? event.key.toUpperCase() : event.key;
  const act = { ArrowDown: () => step(1, event), ArrowUp: () => step(-1, event), J: () => step(1, event), K: () => step(-1, event),
    A: () => mark("A"), X: () => mark("X"), U: () => mark(""), Escape: () => select([]) }[key];
  if (!act || (key.startsWith("Arrow") && current < 0 && !chosen.size)) return; // arrows scroll until a frame is picked
  event.preventDefault();
  act();
});
const kept_marks = location.hash.startsWith(`#of=${OF}&`) ? location.hash.matchAll(/&([AX])=([\d,]*)/g) : [];
for (const [, key, list] of kept_marks) {
  for (const i of list.split(",").filter(Boolean)) if (rows[+i]) marks.set(+i, key);
}
(B ? start() : Promise.resolve()).then(() => (filter(), draw(), tell()));
