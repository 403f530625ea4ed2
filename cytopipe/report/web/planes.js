"use strict";
// The reconstruction and the template in linked planes. niivue draws them; a click moves all planes.

// Return red, green and blue of "#rrggbb", 0 to 255.
const channels = colour => [1, 3, 5].map(at => parseInt(colour.slice(at, at + 2), 16));

// options of niivue that all viewers share
const VIEWER = {
  backColor: [1, 1, 1, 1],
  fontColor: [...channels(COLOURS.letters).map(value => value / 255), 1],
  crosshairColor: [0.35, 0.35, 0.35, 1],
  crosshairWidth: 0.35,
  crosshairWidthUnit: "percent",
  showAllOrientationMarkers: true,
  isNearestInterpolation: true,
  multiplanarLayout: 3, // in a row
  multiplanarShowRender: 0, // planes only
  tileMargin: 24,
  dragMode: 2, // the right button measures a distance
  dragAndDropEnabled: false,
  showLegend: false,
  // the page has its own keys
  viewModeHotKey: "",
  clipPlaneHotKey: "",
  cycleClipPlaneHotKey: "",
  loadingText: "",
  logLevel: "error",
};

// Open a viewer on the canvas ID. It calls ONMOVE(position in mm) whenever its crosshair moves.
async function openViewer(id, options, onMove) {
  const {Niivue} = await load("niivue.js", "niivue");
  const viewer = new Niivue({...VIEWER, ...options});
  await viewer.attachTo(id);
  viewer.onLocationChange = ({mm}) => onMove([...mm].slice(0, 3));
  return viewer;
}

const positionOf = viewer => [...viewer.frac2mm(viewer.scene.crosshairPos)].slice(0, 3);

// Move the crosshair to a POSITION in mm, or to the nearest place inside, without calling ONMOVE.
function mark(viewer, position) {
  viewer.scene.crosshairPos = viewer.mm2frac(position).map(share => Math.min(Math.max(share, 0), 1));
  viewer.drawScene();
}

// Move the crosshair as a click does.
function moveTo(viewer, position) {
  mark(viewer, position);
  viewer.createOnLocationChange();
}

// Add a mesh, drawn by the shader of that number. RGBA holds one colour for all vertices or one for each vertex.
async function addMesh(viewer, vertices, faces, rgba, shader) {
  const {NVMesh} = await load("niivue.js", "niivue");
  const mesh = new NVMesh(vertices, faces, "", Uint8Array.from(rgba), 1, true, viewer.gl);
  mesh.meshShaderIndex = shader;
  viewer.addMesh(mesh);
  return mesh;
}

// Return a mesh shader. LIGHT, in GLSL, is the factor that the colour is multiplied by.
const shading = light => `#version 300 es
precision highp float;
in vec4 vClr;
in vec3 vN;
out vec4 color;
void main() { color = vec4(vClr.rgb * ${light}, 1.0); }`;

// Show the tissue labels that NAME.js holds in three planes.
async function openPlanes(id, name, options, onMove) {
  const [viewer, nifti] = await Promise.all([openViewer(id, options, onMove), load(`${name}.js`, name)]);
  await viewer.loadFromArrayBuffer(bytesOf(nifti).buffer, `${name}.nii.gz`);
  viewer.volumes[0].setColormapLabel({
    R: [255, 125, 214],
    G: [255, 125, 208],
    B: [255, 125, 196],
    A: [255, 255, 255],
    labels: ["background", "gray matter", "white matter"],
  });
  viewer.updateGLVolume();
  return viewer;
}

function nearSection(at_mm) {
  const placed = rows.filter(row => row.a_mm !== null);
  return placed.length
    ? placed.reduce((best, row) => (Math.abs(row.a_mm - at_mm) < Math.abs(best.a_mm - at_mm) ? row : best))
    : null;
}

const sectionLink = section =>
  element(
    "a",
    {
      href: `#section=${section}`,
      onclick: event => {
        event.preventDefault();
        go({section});
      },
    },
    `section ${section}`,
  );

const inWords = ([r, a, s]) => `R ${r.toFixed(1)}, A ${a.toFixed(1)}, S ${s.toFixed(1)} mm`;

// --- the reconstruction, with the cut of the mid-surface and a circle around each repair

let brainPlanes = null;

async function startReconstruction() {
  byId("repair-list").append(...page.repairs.map(repairRow));
  for (const place of document.querySelectorAll(".place"))
    place.onclick = () => moveTo(brainPlanes, /R (\S+) A (\S+) S (\S+)/.exec(place.textContent).slice(1).map(Number));
  const viewer = await openPlanes("planes", "tissue", {}, position => {
    const row = nearSection(position[1]);
    byId("plane-readout").replaceChildren(
      inWords(position),
      ...(row ? [", nearest: ", sectionLink(row.section)] : []),
    );
    markSurface(position);
  });
  const cut = [],
    crosscut = viewer.meshShaderNameToNumber("Crosscut");
  for (const {vertices, faces} of Object.values(await surfaceMeshes()))
    cut.push(await addMesh(viewer, vertices, faces, [...channels(COLOURS.point), 255], crosscut));
  byId("show-cut").onchange = event => {
    for (const mesh of cut) mesh.visible = event.target.checked;
    viewer.drawScene();
  };
  for (const [kind, colour] of Object.entries(page.repair_colours)) addRepairs(viewer, kind, channels(colour));
  moveTo(viewer, page.middle_mm);
  brainPlanes = viewer;
}

const repairRow = repair =>
  element(
    "tr",
    {onclick: () => moveTo(brainPlanes, repair.at_mm)},
    element(
      "td",
      {},
      element("i", {class: "key", style: `background:${page.repair_colours[repair.kind]}`}),
      repair.kind,
    ),
    element("td", {}, repair.volume_mm3.toLocaleString("en", {maximumFractionDigits: 1})),
    element("td", {}, repair.at_mm.map(value => value.toFixed(0)).join(", ")),
  );

// Show repairs as nodes of a network without edges: each is a ball, and a plane shows its outline.
function addRepairs(viewer, kind, [red, green, blue]) {
  viewer.addColormap(kind, {R: [red, red], G: [green, green], B: [blue, blue], A: [255, 255], I: [0, 255]});
  const nodes = page.repairs
    .filter(repair => repair.kind === kind)
    .map(({at_mm: [x, y, z], radius_mm}) => ({
      name: "",
      x,
      y,
      z,
      colorValue: 1,
      sizeValue: Math.max(radius_mm, 4),
    }));
  if (!nodes.length) return;
  const mesh = viewer.loadConnectomeAsMesh({
    name: kind,
    nodeColormap: kind,
    nodeMinColor: 0,
    nodeMaxColor: 2,
    nodeScale: 1,
    nodes,
    edges: [],
  });
  mesh.meshShaderIndex = viewer.meshShaderNameToNumber("Crosscut");
  viewer.addMesh(mesh);
}

// --- points over the template

let templatePlanes = null;

// corners of a tetrahedron in a cube: along each axis it looks like a square
const CORNERS = [
  [1, 1, 1],
  [1, -1, -1],
  [-1, 1, -1],
  [-1, -1, 1],
];
const FACES = [0, 1, 2, 0, 3, 1, 0, 2, 3, 1, 3, 2];
const POINT_MM = 0.5; // half the edge of the square

// Return a mesh with one tetrahedron per point. PLACES are in 0.1 mm.
function pointMesh(places) {
  const count = places.length / 3,
    vertices = new Float32Array(count * 12),
    faces = new Uint32Array(count * 12);
  for (let i = 0; i < count; i++)
    for (let k = 0; k < 12; k++) {
      vertices[12 * i + k] = places[3 * i + (k % 3)] / 10 + POINT_MM * CORNERS[Math.floor(k / 3)][k % 3];
      faces[12 * i + k] = 4 * i + FACES[k];
    }
  return {vertices, faces};
}

async function startPoints() {
  const points = await load("points.js", "points");
  const [places, areas, sides, sections, refined, sigma] = await Promise.all(
    ["places", "areas", "sides", "sections", "refined", "sigma"].map(name => unpack(points[name])),
  );
  const palette = COLOURS.palette.map(channels),
    black = [0, 0, 0];
  const colours = {
    area: i => (areas[i] === 0 ? black : palette[(areas[i] - 1) % palette.length]),
    hemisphere: i => palette[sides[i] ? 1 : 0],
    refined: i => onScale(COLOURS.viridis, refined[i], 0, 1000),
    sigma: i => (sigma[i] < 0 ? black : onScale(COLOURS.viridis, sigma[i], 0, 5)),
  };
  // Return the colours of all vertices, four per point.
  function vertexColours() {
    const colour = colours[byId("colour-points").value],
      all = new Uint8Array(16 * sections.length).fill(255);
    for (let i = 0; i < sections.length; i++) {
      const rgb = colour(i).map(Math.round);
      for (let corner = 0; corner < 4; corner++) all.set(rgb, 16 * i + 4 * corner);
    }
    return all;
  }
  // Return the index of the nearest point, -1 if none is within 5 mm.
  const near = position => {
    let best = -1,
      least = 25;
    for (let i = 0; i < sections.length; i++) {
      let off = 0;
      for (let axis = 0; axis < 3; axis++) off += (places[3 * i + axis] / 10 - position[axis]) ** 2;
      if (off < least) [best, least] = [i, off];
    }
    return best;
  };
  const viewer = await openPlanes("template-planes", "template", {meshThicknessOn2D: 1.5}, position => {
    const i = near(position);
    byId("point-readout").replaceChildren(
      inWords(position),
      ...(i < 0
        ? ["; no point within 5 mm"]
        : [
            `; nearest point: ${points.names[areas[i]] || "no area"}, ${sides[i] ? "R" : "L"}, `,
            sectionLink(sections[i]),
          ]),
    );
  });
  if (sections.length) {
    const {vertices, faces} = pointMesh(places),
      shader = viewer.setCustomMeshShader(shading("1.0"), "without light"),
      mesh = await addMesh(viewer, vertices, faces, vertexColours(), shader);
    byId("colour-points").onchange = () => {
      mesh.rgba255 = vertexColours();
      mesh.updateMesh(viewer.gl);
      viewer.drawScene();
    };
  }
  moveTo(viewer, page.template_middle_mm);
  templatePlanes = viewer;
}
