"use strict";
// A section at screen resolution: what was found drawn on it, how it was placed, what would correct it.

const LAYERS = [
  {name: "tissue", label: "outline of the tissue", colour: COLOURS.pial},
  {name: "white", label: "outline of the white matter", colour: COLOURS.white},
  {name: "after", label: "midline", colour: COLOURS.point},
  {name: "before", label: "midline before the refinement", colour: COLOURS.before},
  {name: "moves", label: "what the refinement moved", colour: COLOURS.moves},
  {name: "unusable", label: "points that are not usable", colour: COLOURS.unusable},
];
const hiddenLayers = new Set(["before", "moves"]);
let asScanned = false;
const name5 = section => String(section).padStart(5, "0");

const sectionKeys = {
  f: () => { asScanned = !asScanned; drawSection(state().section, true); },
  x: () => toggleDecision("excluded"),
  m: () => toggleDecision("mirrored"),
  0: () => setBox(picture.near),
};
LAYERS.forEach((layer, place) => {
  sectionKeys[place + 1] = () => {
    if (!hiddenLayers.delete(layer.name)) hiddenLayers.add(layer.name);
    showLayers();
  };
});

function toggleDecision(column) {
  const row = rowOf.get(state().section);
  if (!row.values) return;
  const now = (decisions[row.section] || {})[column];
  const wanted = column === "excluded" ? (row.status === "excluded" ? "no" : "yes") : row.mirrored ? "no" : "yes";
  decide(row.section, column, now === undefined ? wanted : null);
}

// --- the picture

// boxes, left, top, width, height: of the whole image, of the tissue, of what is shown
const picture = {drawn: null, whole: null, near: null, box: null};

function setBox(box) {
  picture.box = box;
  byId("picture").setAttribute("viewBox", box.join(" "));
}

function dots(values, keep, first) {
  let path = "";
  for (let i = 0; i < values.length; i += 5) if (keep(values[i + 4])) path += `M${values[i + first]} ${values[i + first + 1]}h0`;
  return path;
}

function moves(values) {
  let path = "";
  for (let i = 0; i < values.length; i += 5) path += `M${values[i + 2]} ${values[i + 3]}L${values[i]} ${values[i + 1]}`;
  return path;
}

function image(section, found, attributes = {}) {
  return svg("image", {href: `${page.folder}/sections/${name5(section)}.jpg`, x: found.left, y: found.left,
    width: found.width, height: found.height, preserveAspectRatio: "none", ...attributes});
}

function drawPicture(row, found) {
  const flip = row.mirrored && !asScanned;
  const points = found.points, ok = status => status === 0;
  const paths = {
    tissue: found.tissue, white: found.white, after: dots(points, ok, 0), before: dots(points, ok, 2),
    moves: moves(points), unusable: dots(points, status => status > 0, 0),
  };
  const group = svg("g", flip ? {transform: `matrix(-1 0 0 1 ${found.mirror_at} 0)`} : {}, image(row.section, found),
    ...LAYERS.map(layer => svg("path", {d: paths[layer.name], class: `layer ${layer.name}`, stroke: layer.colour})));
  byId("picture").replaceChildren(group);
  const place = ([left, top, width, height]) => [flip ? found.mirror_at - left - width : left, top, width, height];
  picture.whole = place([found.left, found.left, found.width, found.height]);
  picture.near = found.box ? place(found.box) : picture.whole;
  setBox(picture.near);
  showLayers();
}

function showLayers() {
  for (const layer of LAYERS) {
    const hide = hiddenLayers.has(layer.name);
    byId("picture").querySelectorAll(`.${layer.name}`).forEach(path => path.classList.toggle("off", hide));
    byId(`layer-${layer.name}`).checked = !hide;
  }
}

function prepareSection() {
  byId("layers").append(...LAYERS.map((layer, place) => element("label", {},
    element("input", {type: "checkbox", id: `layer-${layer.name}`, onchange: sectionKeys[place + 1]}),
    element("i", {class: "key", style: `background:${layer.colour}`}), `${layer.label} `, element("kbd", {}, String(place + 1)))));
  const view = byId("picture");
  const scale = () => picture.box[2] / view.clientWidth;
  view.addEventListener("wheel", event => {
    event.preventDefault();
    const [x, y, width, height] = picture.box, factor = event.deltaY > 0 ? 1.25 : 0.8, at = view.getBoundingClientRect();
    if (width * factor > picture.whole[2] * 1.01) return setBox(picture.whole);
    const u = (event.clientX - at.left) / at.width, v = (event.clientY - at.top) / at.height;
    setBox([x + u * width * (1 - factor), y + v * height * (1 - factor), width * factor, height * factor]);
  }, {passive: false});
  view.addEventListener("pointermove", event => {
    if (!(event.buttons & 1)) return;
    const [x, y, width, height] = picture.box;
    setBox([x - event.movementX * scale(), y - event.movementY * scale(), width, height]);
  });
  view.addEventListener("dblclick", () => setBox(picture.near));
  byId("next").onclick = () => step(1);
  byId("previous").onclick = () => step(-1);
  byId("close").onclick = () => go({section: null});
}

// --- the view

async function drawSection(section, again = false) {
  const row = rowOf.get(section);
  byId("view").hidden = !row;
  document.body.classList.toggle("covered", Boolean(row));
  if (!row) { picture.drawn = null; return; }
  drawHead(row);
  drawNumbers(row);
  drawCorrections(row);
  if (picture.drawn === section && !again) return;
  if (picture.drawn !== section) byId("view").scrollTop = 0;
  picture.drawn = section;
  byId("picture").replaceChildren();
  byId("around").replaceChildren(...around(row));
  byId("pairs").replaceChildren();
  byId("no-picture").textContent = row.picture ? "" : row.note;
  if (row.picture) {
    const found = await load(`sections/${name5(section)}.js`, `section ${section}`);
    if (state().section !== section) return;
    drawPicture(row, found);
  }
  const pairs = page.pairs.filter(pair => pair.fixed === section || pair.moving === section);
  byId("pairs").replaceChildren(...pairs.filter(pair => pair.distance === 1 || pair.used).map(pairPanel));
  // the next one is there when it is asked for
  const list = listed(state()), next = list[list.findIndex(one => one.section === section) + 1];
  if (next && next.picture) {
    load(`sections/${name5(next.section)}.js`, `section ${next.section}`);
    new Image().src = `${page.folder}/sections/${name5(next.section)}.jpg`;
  }
}

function drawHead(row) {
  const list = listed(state()), at = list.findIndex(one => one.section === row.section);
  byId("head").replaceChildren(element("b", {}, `Section ${row.section}`), ` ${row.status}`,
    ...(row.mirrored ? [" ", element("span", {class: "badge mirrored"}, asScanned ? "mirrored, shown as scanned" : "mirrored, shown flipped back")] : []),
    element("span", {class: "soft"}, at < 0 ? "" : ` ${at + 1} of ${list.length}`));
}

function drawNumbers(row) {
  const line = number => element("tr", row.out.includes(number.name) ? {class: "out"} : {},
    element("td", {}, number.label), element("td", {}, `${text(number, row.values[number.name])} ${number.unit}`),
    element("td", {class: "soft"}, text(number, page.medians[number.name])));
  const via = row.via === row.section ? "the base of the stack" : row.via > 0 ? `section ${row.via}` : "nothing";
  byId("section-numbers").replaceChildren(...(row.values ? [
    element("tr", {}, element("td", {}, "placed through"), element("td", {}, via), element("td", {class: "soft"}, "median")),
    ...page.numbers.map(line)] : []));
  byId("section-changes").textContent = row.changes.length ? `Since the earlier run: ${row.changes.join("; ")}.` : "";
}

function around(row) {
  const inOrder = [...rows].sort((a, b) => a.section - b.section), at = inOrder.indexOf(row);
  return inOrder.slice(Math.max(at - 3, 0), at + 4).filter(one => one.picture).map(one => element("a",
    {href: "#", class: one === row ? "here" : "", onclick: event => { event.preventDefault(); go({section: one.section}); }},
    element("img", {src: `${page.folder}/thumbnails/${one.picture}`, alt: `section ${one.section}`, loading: "lazy"}), String(one.section)));
}

function drawCorrections(row) {
  const now = decisions[row.section] || {}, manual = `manual/${page.brain}`;
  const line = (...cells) => element("pre", {}, cells.join("\t"));
  const button = (column, label, key) => element("button", {onclick: () => toggleDecision(column)},
    column in now ? `take back: ${column} ${now[column]}` : label, " ", element("kbd", {}, key));
  if (!row.values) {
    byId("corrections").replaceChildren(element("p", {}, row.status === "missing"
      ? "Scanned after all? Add its row to config/sections.tsv. Lost: nothing to do, its neighbours are aligned with one another." : row.note));
    return;
  }
  const hand = row.mirrored ? "no" : "yes", table = `${manual}/sections.tsv`;
  byId("corrections").replaceChildren(
    element("h4", {}, row.mirrored ? "Not mirrored after all" : "Mirrored (scanned face down)"),
    element("p", {}, `Look at its pairs below. Line of ${table}, tab-separated:`), line("section", "mirrored"), line(row.section, hand),
    button("mirrored", `mirrored: ${hand}`, "m"),
    element("h4", {}, row.status === "excluded" ? "Usable after all" : "Not usable"),
    element("p", {}, `Line of ${table}:`), line("section", "excluded"), line(row.section, row.status === "excluded" ? "no" : "yes"),
    button("excluded", row.status === "excluded" ? "excluded: no" : "excluded: yes", "x"),
    element("h4", {}, "Wrong outlines"),
    element("p", {}, row.labels ? `Copy page ${row.labels.page} (the first is 0) of ${row.labels.file}, paint on it as scanned (not flipped), `
      + `0 background, 1 gray, 2 white matter, ${row.labels.spacing_um} µm a pixel, and save it as` : "The section has no labels. Paint them and save them as"),
    line(`${manual}/segmentation/${name5(row.section)}.tif`),
    element("h4", {}, "Wrong place, right hand"),
    element("p", {}, `Its transform from another program: column transform of ${table}. Cerebellum, brain stem, subcortex left in: `
      + `draw them on the reconstruction and save ${manual}/exclusion.nii.gz.`));
}

// --- pairs: the moving section laid on the fixed one, with both hands

function tint(id, colour, dark) {
  const parts = [1, 3, 5].map(at => parseInt(colour.slice(at, at + 2), 16) / 255);
  const line = (c, place) => { const cells = [0, 0, 0, 0, 0]; cells[place] = dark ? c - 1 : 1 - c; cells[4] = dark ? 1 : c; return cells.join(" "); };
  return svg("filter", {id, "color-interpolation-filters": "sRGB", x: 0, y: 0, width: 1, height: 1},
    svg("feColorMatrix", {type: "matrix", values: parts.map(line).join(" ") + " 0 0 0 1 0"}));
}

function pairPanel(pair) {
  const chosen = {flipped: pair.mirrored, place: pair.place};
  const tries = [false, true].map(flipped => flipped === chosen.flipped ? {...chosen, kept: true, dice: pair.overlap}
    : {flipped, place: pair.other, kept: false, dice: pair.other && pair.other.dice});
  const caption = one => {
    const inliers = one.flipped ? pair.inliers_mirrored : pair.inliers_plain, peak = one.flipped ? pair.peak_mirrored : pair.peak_plain;
    return `${one.flipped ? "one of the two mirrored" : "as scanned"}: ${inliers} inliers`
      + (peak === null ? "" : `, texture peak ${peak.toFixed(1)}`) + (one.dice ? `, overlap ${(100 * one.dice).toFixed(0)} %` : "")
      + (one.kept ? ` — ${pair.status}, by ${pair.method}` : one.place ? " — laid by its outline, to compare" : " — not laid");
  };
  return element("div", {class: "pair"}, element("h4", {}, `${pair.moving} (orange) on ${pair.fixed} (blue)`),
    element("div", {class: "tries"}, ...tries.map(one => {
      const figure = element("figure", one.kept ? {class: "kept"} : {}, element("figcaption", {}, caption(one)));
      if (one.place) drawOverlay(pair, one).then(made => figure.prepend(made));
      return figure;
    })));
}

async function drawOverlay(pair, one) {
  const [fixed, moving] = await Promise.all([pair.fixed, pair.moving].map(section => load(`sections/${name5(section)}.js`, `section ${section}`)));
  const {angle_rad, x_um, y_um} = one.place, c = Math.cos(angle_rad), s = Math.sin(angle_rad), unit = page.unit_um;
  const turn = `matrix(${c} ${s} ${-s} ${c} ${x_um / unit} ${y_um / unit})`;
  const place = one.flipped ? `${turn} matrix(-1 0 0 1 ${moving.mirror_at} 0)` : turn;
  const key = `${pair.fixed}-${pair.moving}-${one.flipped}`;
  const of = (section, found, colour, attributes) => svg("g", attributes,
    image(section, found, {filter: `url(#${key}-${section})`}),
    svg("path", {d: found.tissue, class: "layer", stroke: colour}), svg("path", {d: found.white, class: "layer", stroke: colour}));
  return svg("svg", {viewBox: (fixed.box || [fixed.left, fixed.left, fixed.width, fixed.height]).join(" "), class: "overlay"},
    tint(`${key}-${pair.fixed}`, COLOURS.fixed, rowOf.get(pair.fixed).dark), tint(`${key}-${pair.moving}`, COLOURS.moving, rowOf.get(pair.moving).dark),
    of(pair.fixed, fixed, COLOURS.fixed, {}), of(pair.moving, moving, COLOURS.moving, {transform: place, style: "mix-blend-mode:multiply"}));
}
