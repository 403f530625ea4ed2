"use strict";
// One section at screen resolution: its outlines and points, how it was placed, and how to correct it.

const LAYERS = [
  {name: "tissue", label: "outline of the tissue", colour: COLOURS.pial},
  {name: "white", label: "outline of the white matter", colour: COLOURS.white},
  {name: "after", label: "midline", colour: COLOURS.point},
  {name: "before", label: "midline before the refinement", colour: COLOURS.before},
  {name: "moves", label: "shift by the refinement", colour: COLOURS.moves},
  {name: "unusable", label: "unusable points", colour: COLOURS.unusable},
];
const hiddenLayers = new Set(["before", "moves"]);
let asScanned = false;
const name5 = section => String(section).padStart(5, "0");

const sectionKeys = {
  f: () => {
    asScanned = !asScanned;
    drawSection(state().section, true);
  },
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
  const wanted =
    column === "excluded" ? (row.status === "excluded" ? "no" : "yes") : row.mirrored ? "no" : "yes";
  decide(row.section, {[column]: now === undefined ? wanted : null});
}

// Accept the proposal of the workflow. A proposal may only say "look at it"; then nothing changes.
function agree(row) {
  if (!row.proposed) return;
  const {mirrored, excluded} = row.proposed;
  decide(row.section, {...(mirrored && {mirrored}), ...(excluded && {excluded})});
}

// --- the picture

// boxes (left, top, width, height) of the whole image, of the tissue, and of the visible part
const picture = {drawn: null, whole: null, near: null, box: null};

function setBox(box) {
  picture.box = box;
  byId("picture").setAttribute("viewBox", box.join(" "));
}

function dots(values, keep, first) {
  let path = "";
  for (let i = 0; i < values.length; i += 5)
    if (keep(values[i + 4])) path += `M${values[i + first]} ${values[i + first + 1]}h0`;
  return path;
}

function moves(values) {
  let path = "";
  for (let i = 0; i < values.length; i += 5)
    path += `M${values[i + 2]} ${values[i + 3]}L${values[i]} ${values[i + 1]}`;
  return path;
}

function image(section, content, attributes = {}) {
  return svg("image", {
    href: `${page.folder}/sections/${name5(section)}.jpg`,
    x: content.left,
    y: content.left,
    width: content.width,
    height: content.height,
    preserveAspectRatio: "none",
    ...attributes,
  });
}

function drawPicture(row, content) {
  const flip = row.mirrored && !asScanned;
  const points = content.points,
    ok = status => status === 0;
  const paths = {
    tissue: content.tissue,
    white: content.white,
    after: dots(points, ok, 0),
    before: dots(points, ok, 2),
    moves: moves(points),
    unusable: dots(points, status => status > 0, 0),
  };
  const group = svg(
    "g",
    flip ? {transform: `matrix(-1 0 0 1 ${content.mirror_at} 0)`} : {},
    image(row.section, content),
    ...LAYERS.map(layer =>
      svg("path", {d: paths[layer.name], class: `layer ${layer.name}`, stroke: layer.colour}),
    ),
  );
  byId("picture").replaceChildren(group);
  const place = ([left, top, width, height]) => [
    flip ? content.mirror_at - left - width : left,
    top,
    width,
    height,
  ];
  picture.whole = place([content.left, content.left, content.width, content.height]);
  picture.near = content.box ? place(content.box) : picture.whole;
  setBox(picture.near);
  showLayers();
}

function showLayers() {
  for (const layer of LAYERS) {
    const hide = hiddenLayers.has(layer.name);
    byId("picture")
      .querySelectorAll(`.${layer.name}`)
      .forEach(path => path.classList.toggle("off", hide));
    byId(`layer-${layer.name}`).checked = !hide;
  }
}

function prepareSection() {
  byId("layers").append(
    ...LAYERS.map((layer, place) =>
      element(
        "label",
        {},
        element("input", {type: "checkbox", id: `layer-${layer.name}`, onchange: sectionKeys[place + 1]}),
        element("i", {class: "key", style: `background:${layer.colour}`}),
        `${layer.label} `,
        element("kbd", {}, String(place + 1)),
      ),
    ),
  );
  const view = byId("picture");
  const scale = () => picture.box[2] / view.clientWidth;
  view.addEventListener(
    "wheel",
    event => {
      event.preventDefault();
      const [x, y, width, height] = picture.box,
        factor = event.deltaY > 0 ? 1.25 : 0.8,
        at = view.getBoundingClientRect();
      if (width * factor > picture.whole[2] * 1.01) return setBox(picture.whole);
      const u = (event.clientX - at.left) / at.width,
        v = (event.clientY - at.top) / at.height;
      setBox([x + u * width * (1 - factor), y + v * height * (1 - factor), width * factor, height * factor]);
    },
    {passive: false},
  );
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
  if (!row) {
    picture.drawn = null;
    return;
  }
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
    const content = await load(`sections/${name5(section)}.js`, `section ${section}`);
    if (state().section !== section) return;
    drawPicture(row, content);
  }
  const pairs = page.pairs.filter(pair => pair.fixed === section || pair.moving === section);
  byId("pairs").replaceChildren(...pairs.filter(pair => pair.distance === 1 || pair.used).map(pairPanel));
  // Load the next section before it is asked for.
  const list = listed(state()),
    next = list[list.findIndex(one => one.section === section) + 1];
  if (next && next.picture) {
    load(`sections/${name5(next.section)}.js`, `section ${next.section}`);
    new Image().src = `${page.folder}/sections/${name5(next.section)}.jpg`;
  }
}

function drawHead(row) {
  const list = listed(state()),
    at = list.findIndex(one => one.section === row.section);
  byId("head").replaceChildren(
    element("b", {}, `Section ${row.section}`),
    ` ${row.status}`,
    ...(row.mirrored
      ? [
          " ",
          element(
            "span",
            {class: "badge mirrored"},
            asScanned ? "mirrored; shown as scanned" : "mirrored; shown flipped back",
          ),
        ]
      : []),
    element("span", {class: "soft"}, at < 0 ? "" : ` ${at + 1} of ${list.length}`),
  );
}

function drawNumbers(row) {
  const line = number =>
    element(
      "tr",
      row.out.includes(number.name) ? {class: "out"} : {},
      element("td", {}, number.label),
      element("td", {}, `${text(number, row.values[number.name])} ${number.unit}`),
      element("td", {class: "soft"}, text(number, page.medians[number.name])),
    );
  const via =
    row.via === row.section ? "base of the stack" : row.via > 0 ? `section ${row.via}` : "not placed";
  byId("section-numbers").replaceChildren(
    ...(row.values
      ? [
          element(
            "tr",
            {},
            element("td", {}, "placed through"),
            element("td", {}, via),
            element("td", {class: "soft"}, "median"),
          ),
          ...page.numbers.map(line),
        ]
      : []),
  );
  byId("section-changes").textContent = row.changes.length
    ? `Changed since the earlier run: ${row.changes.join("; ")}.`
    : "";
}

function around(row) {
  const inOrder = [...rows].sort((a, b) => a.section - b.section),
    at = inOrder.indexOf(row);
  return inOrder
    .slice(Math.max(at - 3, 0), at + 4)
    .filter(one => one.picture)
    .map(one =>
      element(
        "a",
        {
          href: "#",
          class: one === row ? "here" : "",
          onclick: event => {
            event.preventDefault();
            go({section: one.section});
          },
        },
        element("img", {
          src: `${page.folder}/thumbnails/${one.picture}`,
          alt: `section ${one.section}`,
          loading: "lazy",
        }),
        String(one.section),
      ),
    );
}

function drawCorrections(row) {
  const manual = `manual/${page.brain}`,
    table = `${manual}/sections.tsv`,
    now = decisions[row.section] || {};
  if (!row.values) {
    byId("corrections").replaceChildren(
      element(
        "p",
        {},
        row.status === "missing"
          ? "If the section was scanned after all, add its row to config/sections.tsv. If it is lost, " +
              "there is nothing to do: its neighbours are aligned with each other."
          : row.note,
      ),
    );
    return;
  }
  const mirrored = row.mirrored ? "no" : "yes",
    use = row.status === "excluded" ? "no" : "yes";
  const line = (column, value) => element("pre", {}, `section\t${column}\n${row.section}\t${value}`);
  const button = (column, value, key) =>
    element(
      "button",
      {onclick: () => toggleDecision(column)},
      column in now ? `withdraw: ${column} ${now[column]}` : `decide: ${column} ${value}`,
      " ",
      element("kbd", {}, key),
    );
  const proposed = row.proposed && (row.proposed.mirrored || row.proposed.excluded);
  byId("corrections").replaceChildren(
    ...(row.decided ? [element("p", {}, element("b", {}, "Decided: "), row.decided)] : []),
    ...(row.proposed
      ? [
          element("p", {}, element("b", {}, "The workflow proposes: "), proposalOf(row)),
          ...(proposed
            ? [element("button", {onclick: () => agree(row)}, "accept ", element("kbd", {}, "a"))]
            : []),
        ]
      : []),
    element("h4", {}, row.mirrored ? "The section is not mirrored" : "The section is mirrored (scanned face down)"),
    element("p", {}, `Compare its pairs below. Add to ${table} (columns separated by tabs):`),
    line("mirrored", mirrored),
    button("mirrored", mirrored, "m"),
    element("h4", {}, use === "no" ? "The section is usable" : "The section is unusable"),
    element("p", {}, `Add to ${table}:`),
    line("excluded", use),
    button("excluded", use, "x"),
    element("h4", {}, "The section is in the wrong place"),
    element(
      "p",
      {},
      "Drag the orange section in one of its pairs below, rotate it with shift and the wheel, and press the " +
        `button. You can also add a transform from another program to ${table}: it maps points in µm onto ` +
        "a neighbour or the stack. The present transform is:",
    ),
    ...(row.place ? [element("pre", {}, placeLine(row.section, row.place))] : [element("p", {}, "none.")]),
    element("h4", {}, "The outlines are wrong"),
    element(
      "p",
      {},
      row.labels
        ? `Copy page ${row.labels.page} (counted from 0) of ${row.labels.file}. Paint on it as scanned (not flipped): ` +
            `0 background, 1 gray matter, 2 white matter; ${row.labels.spacing_um} µm per pixel. Save it as`
        : "The section has no labels. Paint labels and save them as",
    ),
    element("pre", {}, `${manual}/segmentation/${name5(row.section)}.tif`),
    element("h4", {}, "Cerebellum, brain stem or subcortical gray matter was not removed"),
    element("p", {}, `Draw a mask of it on the reconstruction and save it as ${manual}/exclusion.nii.gz or .seg.nrrd.`),
  );
}
