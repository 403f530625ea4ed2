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
  a: () => agree(rowOf.get(state().section)),
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
  decide(row.section, {[column]: now === undefined ? wanted : null});
}

// take over what the workflow proposes; where it says no more than "look at it", there is nothing to take
function agree(row) {
  if (!row.proposed) return;
  const {mirrored, excluded} = row.proposed;
  decide(row.section, {...(mirrored && {mirrored}), ...(excluded && {excluded})});
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
  const manual = `manual/${page.brain}`, table = `${manual}/sections.tsv`, now = decisions[row.section] || {};
  if (!row.values) {
    byId("corrections").replaceChildren(element("p", {}, row.status === "missing"
      ? "Scanned after all? Add its row to config/sections.tsv. Lost: nothing to do, its neighbours are aligned with one another." : row.note));
    return;
  }
  const hand = row.mirrored ? "no" : "yes", use = row.status === "excluded" ? "no" : "yes";
  const line = (column, value) => element("pre", {}, `section\t${column}\n${row.section}\t${value}`);
  const button = (column, value, key) => element("button", {onclick: () => toggleDecision(column)},
    column in now ? `take back: ${column} ${now[column]}` : `decide: ${column} ${value}`, " ", element("kbd", {}, key));
  const proposed = row.proposed && (row.proposed.mirrored || row.proposed.excluded);
  byId("corrections").replaceChildren(
    ...(row.decided ? [element("p", {}, element("b", {}, "Decided: "), row.decided)] : []),
    ...(row.proposed ? [element("p", {}, element("b", {}, "The workflow proposes: "), proposalOf(row)),
      ...(proposed ? [element("button", {onclick: () => agree(row)}, "agree ", element("kbd", {}, "a"))] : [])] : []),
    element("h4", {}, row.mirrored ? "Not mirrored after all" : "Mirrored (scanned face down)"),
    element("p", {}, `Look at its pairs below. In ${table}, tab-separated:`), line("mirrored", hand), button("mirrored", hand, "m"),
    element("h4", {}, use === "no" ? "Usable after all" : "Not usable"),
    element("p", {}, `In ${table}:`), line("excluded", use), button("excluded", use, "x"),
    element("h4", {}, "Wrong place"),
    element("p", {}, `In one of its pairs below drag the orange section, turn it with shift and the wheel, and decide for its place. Or write into ${table} `
      + "the transform that another program found, points in µm, onto a neighbour or the stack. It lies there now:"),
    ...(row.place ? [element("pre", {}, placeLine(row.section, row.place))] : [element("p", {}, "nowhere.")]),
    element("h4", {}, "Wrong outlines"),
    element("p", {}, row.labels ? `Copy page ${row.labels.page} (the first is 0) of ${row.labels.file}, paint on it as scanned (not flipped), `
      + `0 background, 1 gray, 2 white matter, ${row.labels.spacing_um} µm a pixel, and save it as` : "The section has no labels. Paint them and save them as"),
    element("pre", {}, `${manual}/segmentation/${name5(row.section)}.tif`),
    element("h4", {}, "Cerebellum, brain stem or subcortex left in"),
    element("p", {}, `Draw them on the reconstruction and save ${manual}/exclusion.nii.gz or .seg.nrrd.`));
}

// --- pairs: the moving section laid on the fixed one, with both hands

function tint(id, colour, dark) {
  const parts = [1, 3, 5].map(at => parseInt(colour.slice(at, at + 2), 16) / 255);
  const line = (c, place) => { const cells = [0, 0, 0, 0, 0]; cells[place] = dark ? c - 1 : 1 - c; cells[4] = dark ? 1 : c; return cells.join(" "); };
  return svg("filter", {id, "color-interpolation-filters": "sRGB", x: 0, y: 0, width: 1, height: 1},
    svg("feColorMatrix", {type: "matrix", values: parts.map(line).join(" ") + " 0 0 0 1 0"}));
}

function pairPanel(pair) {
  const tries = [{...pair.chosen, mirrored: pair.mirrored, kept: true}, {...pair.other, mirrored: !pair.mirrored, kept: false}];
  const caption = one => {
    const [inliers, peak] = one.mirrored ? [pair.inliers_mirrored, pair.peak_mirrored] : [pair.inliers_plain, pair.peak_plain];
    return `${one.mirrored ? "one of the two mirrored" : "as scanned"}: ${inliers} inliers`
      + (peak === null ? "" : `, texture peak ${peak.toFixed(1)}`) + (one.dice ? `, overlap ${(100 * one.dice).toFixed(0)} %` : "")
      + (one.kept ? `; ${pair.status}, by ${pair.method}` : one.place ? "; laid by its outline, to compare" : "; not laid");
  };
  return element("div", {class: "pair"}, element("h4", {}, `${pair.moving} (orange) on ${pair.fixed} (blue)`),
    element("div", {class: "tries"}, ...tries.sort((a, b) => a.mirrored - b.mirrored).map(one => {
      const line = element("pre", {hidden: ""}), button = element("button", {hidden: "", onclick: () => decidePlace(pair, one)}, "decide for this place");
      const figure = element("figure", one.kept ? {class: "kept"} : {}, element("figcaption", {}, caption(one), line, button));
      if (one.place) {
        drawOverlay(pair, one, () => {
          line.textContent = placeLine(pair.moving, placeOf(pair, one));
          line.hidden = button.hidden = false;
        }).then(made => figure.prepend(made));
      }
      return figure;
    })));
}

// what manual/{brain}/sections.tsv says of a place: the moving section's hand, and where it lies
const placeOf = (pair, one) => ({mirrored: one.flipped ? "yes" : "no", onto: String(pair.fixed), angle_rad: one.place.angle_rad.toFixed(6),
  x_um: one.place.x_um.toFixed(1), y_um: one.place.y_um.toFixed(1)});
const placeLine = (section, row) => ["section", ...Object.keys(row)].join("\t") + "\n" + [section, ...Object.values(row)].join("\t");

function decidePlace(pair, one) {
  // a place is a place of one hand onto a section of one hand: both are decided with it
  decide(pair.fixed, {mirrored: rowOf.get(pair.fixed).mirrored ? "yes" : "no"});
  decide(pair.moving, placeOf(pair, one));
}

async function drawOverlay(pair, one, moved) {
  const [fixed, moving] = await Promise.all([pair.fixed, pair.moving].map(section => load(`sections/${name5(section)}.js`, `section ${section}`)));
  const unit = page.unit_um, flip = found => `matrix(-1 0 0 1 ${found.mirror_at} 0)`, onto = rowOf.get(pair.fixed);
  const key = `${pair.fixed}-${pair.moving}-${one.flipped}`;
  const of = (section, found, colour, attributes) => svg("g", attributes,
    image(section, found, {filter: `url(#${key}-${section})`}),
    svg("path", {d: found.tissue, class: "layer", stroke: colour}), svg("path", {d: found.white, class: "layer", stroke: colour}));
  const below = of(pair.fixed, fixed, COLOURS.fixed, onto.mirrored ? {transform: flip(fixed)} : {});
  const above = of(pair.moving, moving, COLOURS.moving, {style: "mix-blend-mode:multiply"});
  const put = () => {
    const {angle_rad, x_um, y_um} = one.place, c = Math.cos(angle_rad), s = Math.sin(angle_rad);
    above.setAttribute("transform", `matrix(${c} ${s} ${-s} ${c} ${x_um / unit} ${y_um / unit})${one.flipped ? " " + flip(moving) : ""}`);
  };
  put();
  const [left, top, width, height] = fixed.box || [fixed.left, fixed.left, fixed.width, fixed.height];
  const view = svg("svg", {viewBox: [onto.mirrored ? fixed.mirror_at - left - width : left, top, width, height].join(" "), class: "overlay"},
    tint(`${key}-${pair.fixed}`, COLOURS.fixed, onto.dark), tint(`${key}-${pair.moving}`, COLOURS.moving, rowOf.get(pair.moving).dark), below, above);
  const umAPixel = () => unit / view.getScreenCTM().a;
  view.onpointerdown = event => view.setPointerCapture(event.pointerId);
  view.onpointermove = event => {
    if (!(event.buttons & 1)) return;
    one.place = {...one.place, x_um: one.place.x_um + event.movementX * umAPixel(), y_um: one.place.y_um + event.movementY * umAPixel()};
    put();
    moved();
  };
  // turned about the pointer
  view.addEventListener("wheel", event => {
    if (!event.shiftKey) return;
    event.preventDefault();
    const by = (event.deltaY || event.deltaX) > 0 ? Math.PI / 360 : -Math.PI / 360, c = Math.cos(by), s = Math.sin(by);
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(view.getScreenCTM().inverse()), x = at.x * unit, y = at.y * unit;
    const {angle_rad, x_um, y_um} = one.place;
    one.place = {angle_rad: angle_rad + by, x_um: x + c * (x_um - x) - s * (y_um - y), y_um: y + s * (x_um - x) + c * (y_um - y)};
    put();
    moved();
  }, {passive: false});
  return view;
}
