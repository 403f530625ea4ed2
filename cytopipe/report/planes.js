"use strict";
// A volume of labels in three linked planes: a click in one moves the others.

// fixed axis, horizontal and vertical axis, letters at left, right, top, bottom
const PLANES = [
  {name: "sagittal", fixed: 0, across: 1, along: 2, letters: "PASI"},
  {name: "coronal", fixed: 1, across: 0, along: 2, letters: "LRSI"},
  {name: "axial", fixed: 2, across: 0, along: 1, letters: "LRAP"},
];
const SHADES = [[255, 255, 255], [125, 125, 125], [214, 208, 196]];

class Planes {
  // CONTAINER gets three canvases; OVERLAY(context, plane, position, toCanvas) draws on each; MOVED(position) follows
  constructor(container, {labels, shape, origin_mm, spacing_mm}, position, overlay, moved) {
    Object.assign(this, {labels, shape, origin: origin_mm, spacing: spacing_mm, position, overlay, moved});
    const extent = PLANES.map(plane => [shape[plane.across] * spacing_mm[plane.across], shape[plane.along] * spacing_mm[plane.along]]);
    const tallest = Math.max(...extent.map(([, height]) => height)), width = extent.reduce((sum, [wide]) => sum + wide, 0);
    // pixels a mm, so that the three fill the page's width
    this.scale = Math.min((1320 - 3 * 40 - 2 * 8) / width, 520 / tallest);
    this.canvases = PLANES.map((plane, number) => {
      const canvas = element("canvas", {width: Math.round(extent[number][0] * this.scale) + 40, height: Math.round(extent[number][1] * this.scale) + 40, tabindex: 0,
        "aria-label": plane.name});
      canvas.onpointerdown = event => { canvas.setPointerCapture(event.pointerId); this.click(event, plane, canvas); };
      canvas.onpointermove = event => { if (event.buttons & 1) this.click(event, plane, canvas); };
      canvas.onwheel = event => {
        event.preventDefault();
        const to = [...this.position];
        to[plane.fixed] -= Math.sign(event.deltaY) * this.spacing[plane.fixed];
        this.go(to);
      };
      canvas.caption = element("figcaption");
      container.append(element("figure", {}, canvas, canvas.caption));
      return canvas;
    });
    this.draw();
  }

  // canvas pixels of mm along the two axes of a plane; 20 pixels around are for the letters
  toCanvas(plane) {
    const low = axis => this.origin[axis] - this.spacing[axis] / 2;
    const height = this.shape[plane.along] * this.spacing[plane.along];
    return point => [20 + (point[plane.across] - low(plane.across)) * this.scale, 20 + (low(plane.along) + height - point[plane.along]) * this.scale];
  }

  click(event, plane, canvas) {
    const box = canvas.getBoundingClientRect(), low = axis => this.origin[axis] - this.spacing[axis] / 2;
    const x = (event.clientX - box.left) * canvas.width / box.width - 20, y = (event.clientY - box.top) * canvas.height / box.height - 20;
    const to = [...this.position];
    to[plane.across] = low(plane.across) + x / this.scale;
    to[plane.along] = low(plane.along) + this.shape[plane.along] * this.spacing[plane.along] - y / this.scale;
    this.go(to);
  }

  go(position) {
    this.position = position.map((value, axis) => Math.min(Math.max(value, this.origin[axis]), this.origin[axis] + (this.shape[axis] - 1) * this.spacing[axis]));
    this.draw();
  }

  slice(plane) {
    const [, b, c] = this.shape, strides = [b * c, c, 1], wide = this.shape[plane.across], high = this.shape[plane.along];
    const index = Math.round((this.position[plane.fixed] - this.origin[plane.fixed]) / this.spacing[plane.fixed]);
    const image = new ImageData(wide, high);
    for (let j = 0; j < high; j++) for (let i = 0; i < wide; i++) {
      const label = this.labels[index * strides[plane.fixed] + i * strides[plane.across] + j * strides[plane.along]];
      image.data.set([...SHADES[label], 255], 4 * ((high - 1 - j) * wide + i));
    }
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [wide, high];
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  }

  draw() {
    PLANES.forEach((plane, number) => {
      const canvas = this.canvases[number], context = canvas.getContext("2d"), to = this.toCanvas(plane);
      context.fillStyle = "#fff";
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.imageSmoothingEnabled = false;
      context.drawImage(this.slice(plane), 20, 20, canvas.width - 40, canvas.height - 40);
      this.overlay(context, plane, this.position, to);
      const [x, y] = to(this.position);
      context.strokeStyle = "#0006";
      context.lineWidth = 1;
      context.beginPath();
      context.moveTo(x, 20); context.lineTo(x, canvas.height - 20);
      context.moveTo(20, y); context.lineTo(canvas.width - 20, y);
      context.stroke();
      context.fillStyle = COLOURS.letters;
      context.font = "bold 15px sans-serif";
      context.textAlign = "center";
      context.textBaseline = "middle";
      [[10, canvas.height / 2], [canvas.width - 10, canvas.height / 2], [canvas.width / 2, 10], [canvas.width / 2, canvas.height - 9]]
        .forEach(([left, top], place) => context.fillText(plane.letters[place], left, top));
      canvas.caption.textContent = `${plane.name}, ${"RAS"[plane.fixed]} = ${this.position[plane.fixed].toFixed(1)} mm`;
    });
    this.moved(this.position);
  }
}

async function volumeOf(found) {
  return {labels: await unpack(found.labels), shape: found.labels.shape, origin_mm: found.origin_mm, spacing_mm: found.spacing_mm};
}

// --- the reconstruction: repairs are circled, the mid-surface's cut is a line

let brainPlanes = null, templatePlanes = null, cutMesh = null;

function drawCut(context, plane, position, to) {
  const {vertices, faces} = cutMesh, axis = plane.fixed, at = position[axis];
  context.strokeStyle = COLOURS.point;
  context.lineWidth = 1.2;
  context.beginPath();
  for (let f = 0; f < faces.length; f += 3) {
    const ends = [];
    for (let e = 0; e < 3; e++) {
      const a = 3 * faces[f + e], b = 3 * faces[f + (e + 1) % 3], u = vertices[a + axis] - at, v = vertices[b + axis] - at;
      if ((u < 0) !== (v < 0)) {
        const share = u / (u - v);
        ends.push([0, 1, 2].map(i => vertices[a + i] + share * (vertices[b + i] - vertices[a + i])));
      }
    }
    if (ends.length === 2) { context.moveTo(...to(ends[0])); context.lineTo(...to(ends[1])); }
  }
  context.stroke();
}

function drawRepairs(context, plane, position, to) {
  if (cutMesh && byId("show-cut").checked) drawCut(context, plane, position, to);
  for (const repair of page.repairs) {
    if (Math.abs(repair.at_mm[plane.fixed] - position[plane.fixed]) > Math.max(4, repair.radius_mm)) continue;
    const [x, y] = to(repair.at_mm);
    context.strokeStyle = page.repair_colours[repair.kind];
    context.lineWidth = 2;
    context.beginPath();
    context.arc(x, y, Math.max(repair.radius_mm * brainPlanesScale(), 6), 0, 7);
    context.stroke();
  }
}
const brainPlanesScale = () => brainPlanes ? brainPlanes.scale : 2;

function nearSection(at_mm) {
  const placed = rows.filter(row => row.a_mm !== null);
  return placed.length ? placed.reduce((best, row) => Math.abs(row.a_mm - at_mm) < Math.abs(best.a_mm - at_mm) ? row : best) : null;
}

const sectionLink = section => element("a", {href: `#section=${section}`, onclick: event => { event.preventDefault(); go({section}); }}, `section ${section}`);

async function startReconstruction() {
  const volume = await volumeOf(await load("tissue.js", "tissue"));
  brainPlanes = new Planes(byId("planes"), volume, page.middle_mm, drawRepairs, position => {
    const row = nearSection(position[1]);
    byId("plane-readout").replaceChildren(`R ${position[0].toFixed(1)}, A ${position[1].toFixed(1)}, S ${position[2].toFixed(1)} mm`, ...(row ? [", nearest: ", sectionLink(row.section)] : []));
    if (typeof markSurface === "function") markSurface(position);
  });
  byId("show-cut").onchange = () => brainPlanes.draw();
  byId("repair-list").append(...page.repairs.map(repair => element("tr", {onclick: () => brainPlanes.go(repair.at_mm)},
    element("td", {}, element("i", {class: "key", style: `background:${page.repair_colours[repair.kind]}`}), repair.kind),
    element("td", {}, repair.volume_mm3.toLocaleString("en", {maximumFractionDigits: 1})), element("td", {}, repair.at_mm.map(value => value.toFixed(0)).join(", ")))));
  surfaceMesh().then(mesh => { cutMesh = mesh; brainPlanes.draw(); });
}

// --- points over the template

async function startPoints() {
  const [volume, found] = await Promise.all([load("template.js", "template").then(volumeOf), load("points.js", "points")]);
  const [places, areas, sides, sections, refined] = await Promise.all(["places", "areas", "sides", "sections", "refined"].map(name => unpack(found[name])));
  const colours = {
    area: i => areas[i] === 0 ? "#000000" : COLOURS.palette[(areas[i] - 1) % COLOURS.palette.length],
    hemisphere: i => sides[i] ? COLOURS.palette[1] : COLOURS.palette[0],
    refined: i => `rgb(${onScale(COLOURS.viridis, refined[i], 0, 1000).map(Math.round).join(" ")})`,
  };
  const points = Array.from(sections, (_, i) => [places[3 * i] / 10, places[3 * i + 1] / 10, places[3 * i + 2] / 10]);
  const near = position => {
    let best = -1, least = 25;
    points.forEach((point, i) => {
      const off = point.reduce((sum, value, axis) => sum + (value - position[axis]) ** 2, 0);
      if (off < least) [best, least] = [i, off];
    });
    return best;
  };
  templatePlanes = new Planes(byId("template-planes"), volume, page.template_middle_mm, (context, plane, position, to) => {
    const colour = colours[byId("colour-points").value];
    points.forEach((point, i) => {
      if (Math.abs(point[plane.fixed] - position[plane.fixed]) > 1.5) return;
      const [x, y] = to(point);
      context.fillStyle = colour(i);
      context.fillRect(x - 1.5, y - 1.5, 3, 3);
    });
  }, position => {
    const i = near(position);
    byId("point-readout").replaceChildren(`R ${position[0].toFixed(1)}, A ${position[1].toFixed(1)}, S ${position[2].toFixed(1)} mm`,
      ...(i < 0 ? ["; no point within 5 mm"] : [`; nearest point: ${found.names[areas[i]] || "no area"}, ${sides[i] ? "R" : "L"}, `, sectionLink(sections[i])]));
  });
  byId("colour-points").onchange = () => templatePlanes.draw();
}
