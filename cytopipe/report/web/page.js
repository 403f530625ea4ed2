"use strict";
// The data in the page, the data that the scripts beside it deliver, and the state of the page.
// The address holds the state after #, as in #sort=residual_um&show=uncertain&section=420, so that
// one can send a link to it or return to it.

const page = JSON.parse(document.getElementById("data").textContent);
const rows = page.rows;
const rowOf = new Map(rows.map(row => [row.section, row]));
const byId = id => document.getElementById(id);
const COLOURS = page.colours;

const arrived = new Map(),
  waiting = new Map();

// The scripts beside the page call this.
function put(name, value) {
  arrived.set(name, value);
  (waiting.get(name) || []).forEach(done => done(value));
  waiting.delete(name);
}

// Return a promise of the value that the script FILE in the page's folder puts under NAME.
function load(file, name) {
  if (arrived.has(name)) return Promise.resolve(arrived.get(name));
  const promise = new Promise(done => waiting.set(name, [...(waiting.get(name) || []), done]));
  if (waiting.get(name).length === 1) {
    const script = document.createElement("script");
    script.src = `${page.folder}/${file}`;
    script.onerror = () => {
      byId("problem").textContent =
        `${script.src} is missing: keep the folder ${page.folder} beside this page.`;
    };
    document.head.append(script);
  }
  return promise;
}

// Return the bytes that a base64 text stands for.
const bytesOf = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));

// Return the array that `packed` of bundle.py has compressed.
async function unpack({dtype, gzip}) {
  const stream = new Blob([bytesOf(gzip)]).stream().pipeThrough(new DecompressionStream("gzip"));
  const kinds = {
    uint8: Uint8Array,
    uint16: Uint16Array,
    int16: Int16Array,
    int32: Int32Array,
    float32: Float32Array,
  };
  return new kinds[dtype](await new Response(stream).arrayBuffer());
}

// Run WORK once, when the element comes near the window.
function whenNear(element, work) {
  new IntersectionObserver(
    (seen, observer) => {
      if (!seen.some(one => one.isIntersecting)) return;
      observer.disconnect();
      work();
    },
    {rootMargin: "600px"},
  ).observe(element);
}

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const text = (number, value) =>
  value === null || value === undefined
    ? "none"
    : value.toLocaleString("en", {
        minimumFractionDigits: number.digits,
        maximumFractionDigits: number.digits,
      });

// Return the colour of a value on a scale from LOW to HIGH.
function onScale(stops, value, low, high) {
  const at = Math.min(Math.max((value - low) / (high - low), 0), 1) * (stops.length - 1);
  const below = Math.min(Math.floor(at), stops.length - 2),
    share = at - below;
  return stops[below].map((start, i) => start + share * (stops[below + 1][i] - start));
}

// --- the address

function state() {
  const address = new URLSearchParams(location.hash.slice(1));
  return {
    sort: address.get("sort") || "section",
    turned: address.get("turned") === "yes",
    show: address.get("show") || "all",
    section: address.has("section") ? Number(address.get("section")) : null,
  };
}

function go(changes) {
  const wanted = {...state(), ...changes},
    parts = new URLSearchParams();
  if (wanted.sort !== "section") parts.set("sort", wanted.sort);
  if (wanted.turned) parts.set("turned", "yes");
  if (wanted.show !== "all") parts.set("show", wanted.show);
  if (wanted.section !== null) parts.set("section", wanted.section);
  const address = "#" + parts;
  if (address === location.hash) return;
  history.pushState(null, "", address === "#" ? location.pathname + location.search : address);
  draw();
}

// --- the contact sheet

const OTHERS = {
  section: {label: "section number", worse: "low", of: row => row.section},
  out: {label: "number of outliers", worse: "high", of: row => row.out.length},
  changes: {label: "number of changes", worse: "high", of: row => row.changes.length},
};
const numberOf = name => page.numbers.find(number => number.name === name);
const orderOf = name =>
  OTHERS[name] || {...numberOf(name), of: row => (row.values ? row.values[name] : null)};

const FILTERS = {
  all: () => true,
  out: row => row.out.length > 0,
  proposed: row => row.proposed !== null,
  mirrored: row => row.mirrored,
  changed: row => row.changes.length > 0,
  decided: row => row.section in decisions,
};
const passes = (row, show) => (FILTERS[show] || (one => one.status === show))(row);

// Return the rows that are shown, in their order. The keys for the next section follow it too.
function listed({sort, turned, show}) {
  const order = orderOf(sort),
    sign = (order.worse === "high" ? -1 : 1) * (turned ? -1 : 1);
  return rows
    .filter(row => passes(row, show))
    .sort((a, b) => {
      const x = order.of(a),
        y = order.of(b),
        none = value => value === null || value === undefined;
      if (none(x) || none(y)) return none(x) - none(y) || a.section - b.section;
      return sign * (x - y) || a.section - b.section;
    });
}

function drawSheet(now) {
  const list = listed(now),
    sheet = byId("sheet"),
    chosen = numberOf(now.sort);
  const shown = new Set(list.map(row => row.section));
  for (const figure of sheet.children) figure.hidden = !shown.has(Number(figure.dataset.section));
  for (const row of list) {
    const figure = byId(`s${row.section}`);
    sheet.append(figure);
    figure.querySelector(".value").textContent =
      now.sort === "out" || now.show === "out"
        ? row.out.map(name => numberOf(name).short).join(", ")
        : now.show === "proposed"
          ? proposalOf(row)
          : now.sort === "changes"
            ? row.changes.join("; ")
            : chosen && row.values
              ? `${text(chosen, row.values[chosen.name])} ${chosen.unit}`
              : "";
    figure.classList.toggle("decided", row.section in decisions);
  }
  byId("listed").textContent = `${list.length} of ${rows.length} sections`;
  byId("sort").value = now.sort;
  byId("show").value = now.show;
  byId("turn").textContent = now.turned
    ? "best first"
    : now.sort === "section"
      ? "posterior first"
      : "worst first";
  if (now.turned && now.sort === "section") byId("turn").textContent = "anterior first";
}

function fillControls() {
  const option = (value, label) => element("option", {value}, label);
  byId("sort").append(
    ...["section", "out", ...(page.compared ? ["changes"] : [])].map(name =>
      option(name, OTHERS[name].label),
    ),
    ...page.numbers.map(number =>
      option(number.name, number.label + (number.unit ? `, ${number.unit}` : "")),
    ),
  );
  const count = show => rows.filter(row => passes(row, show)).length;
  const filters = {
    all: "all",
    proposed: "proposed by the workflow",
    out: "outliers",
    mirrored: "mirrored",
    ...(page.compared ? {changed: "changed"} : {}),
    decided: "decided on this page",
  };
  const statuses = [...new Set(rows.map(row => row.status))].map(status => [status, `status: ${status}`]);
  for (const [show, label] of [...Object.entries(filters), ...statuses]) {
    byId("show").append(option(show, show === "decided" ? label : `${label} (${count(show)})`));
  }
  byId("sort").onchange = event => go({sort: event.target.value, turned: false});
  byId("show").onchange = event => go({show: event.target.value});
  byId("turn").onclick = () => go({turned: !state().turned});
  byId("size").oninput = event =>
    document.documentElement.style.setProperty("--size", `${event.target.value}px`);
  for (const figure of byId("sheet").children)
    figure.onclick = () => go({section: Number(figure.dataset.section)});
}

function proposalOf(row) {
  const {mirrored, excluded, notes} = row.proposed;
  return [mirrored && `mirrored: ${mirrored}`, excluded && `excluded: ${excluded}`, notes]
    .filter(Boolean)
    .join("; ");
}

// --- decisions of a person; the browser stores them until they are copied into the file

// All pages opened from disks, and all that were ever served at one address, share this storage. The
// address of the page and the pixels of the scan tell whether a decision belongs to this study.
const STORE = `cytopipe decisions ${location.pathname}`;
const keyOf = row => `${row.section} ${row.scan}`;
let stored = {};
try {
  stored = JSON.parse(localStorage.getItem(STORE)) || {};
} catch {
  /* this browser stores nothing */
}
let decisions = Object.fromEntries(
  rows.filter(row => keyOf(row) in stored).map(row => [row.section, stored[keyOf(row)]]),
);

// CHANGES maps columns to values; null withdraws a decision.
function decide(section, changes) {
  const row = Object.fromEntries(
    Object.entries({...decisions[section], ...changes}).filter(([, value]) => value !== null),
  );
  if (Object.keys(row).length) decisions[section] = row;
  else delete decisions[section];
  keepDecisions();
}

function keepDecisions() {
  for (const row of rows)
    if (row.section in decisions) stored[keyOf(row)] = decisions[row.section];
    else delete stored[keyOf(row)];
  try {
    localStorage.setItem(STORE, JSON.stringify(stored));
  } catch {
    /* this browser stores nothing */
  }
  draw();
}

// Return the decisions in the format of manual/{brain}/sections.tsv.
function decisionTable() {
  const all = Object.values(decisions),
    used = ["mirrored", "excluded", "onto", "angle_rad", "x_um", "y_um"].filter(column =>
      all.some(row => column in row),
    );
  const lines = Object.keys(decisions)
    .map(Number)
    .sort((a, b) => a - b)
    .map(section => [section, ...used.map(column => decisions[section][column] || "")].join("\t"));
  return [["section", ...used].join("\t"), ...lines, ""].join("\n");
}

function drawDecisions() {
  const some = Object.keys(decisions).length > 0;
  byId("decisions").hidden = !some;
  byId("decision-table").textContent = decisionTable();
  byId("decision-file").href = "data:text/tab-separated-values," + encodeURIComponent(decisionTable());
}

// --- the whole page

function draw() {
  const now = state();
  drawDecisions();
  drawSheet(now);
  drawSection(now.section);
}

function step(by) {
  const now = state(),
    list = listed(now),
    at = list.findIndex(row => row.section === now.section);
  const next = at < 0 ? list[0] : list[Math.min(Math.max(at + by, 0), list.length - 1)];
  if (next) go({section: next.section});
}

document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.altKey || event.metaKey || /INPUT|SELECT|TEXTAREA/.test(event.target.tagName))
    return;
  const open = state().section !== null;
  const work =
    {
      ArrowRight: () => step(1),
      n: () => step(1),
      j: () => step(1),
      ArrowLeft: () => step(-1),
      p: () => step(-1),
      k: () => step(-1),
      Escape: () => go({section: null}),
    }[event.key] ||
    (open && sectionKeys[event.key]);
  // While no section is open, the arrows scroll the page.
  if (!work || (!open && event.key.startsWith("Arrow"))) return;
  event.preventDefault();
  work();
});

function start() {
  fillControls();
  addEventListener("hashchange", draw);
  addEventListener("popstate", draw);
  byId("curves").on("plotly_click", ({points}) => go({section: points[0].x}));
  byId("forget").onclick = () => {
    decisions = {};
    keepDecisions();
  };
  draw();
}
