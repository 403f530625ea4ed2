"use strict";
// The mid-surface under the mouse, drawn by niivue. Dragging turns it; a double click moves the planes there.

let meshesPromise = null;

// Return a promise of the vertices in mm, faces and maps of each hemisphere.
function surfaceMeshes() {
  meshesPromise =
    meshesPromise ||
    load("surface.js", "surface").then(async surface => {
      const meshes = {};
      for (const [hemisphere, {vertices, faces, maps}] of Object.entries(surface)) {
        meshes[hemisphere] = {
          vertices: Float32Array.from(await unpack(vertices), value => value / 100),
          faces: Uint32Array.from(await unpack(faces)),
          maps: {},
        };
        for (const [name, map] of Object.entries(maps)) meshes[hemisphere].maps[name] = await unpack(map);
      }
      return meshes;
    });
  return meshesPromise;
}

// azimuth and elevation of the views in degrees
const POSES = {
  left: [90, 0],
  right: [270, 0],
  above: [0, 90],
  below: [180, -90],
  front: [180, 0],
  behind: [0, 0],
};
const SCALE = 1.15; // fills the viewer
// colour scales
const MAPS = {
  thickness: {colormap: "cividis", cal_min: 1, cal_max: 5},
  curvature: {colormap: "diverging", cal_min: -0.3, cal_max: 0.3},
};

let surfaceView = null,
  markSurface = () => {};

async function startSurface() {
  const {NVMeshLayerDefaults} = await load("niivue.js", "niivue");
  const viewer = await openViewer(
    "surface-canvas",
    {isOrientCube: true, isColorbar: true, colorbarWidth: 0.4, show3Dcrosshair: true, sliceType: 4},
    // The planes move the mark on the surface.
    position => (brainPlanes ? moveTo(brainPlanes, position) : markSurface(position)),
  );
  for (const {colormap} of Object.values(MAPS)) {
    const stops = COLOURS[colormap],
      ends = stops.map((_, place) => Math.round((255 * place) / (stops.length - 1))),
      [R, G, B] = [0, 1, 2].map(channel => stops.map(stop => stop[channel]));
    viewer.addColormap(colormap, {R, G, B, A: stops.map(() => 255), I: ends});
  }
  // The surface is brightest where it faces the viewer.
  const headlight = viewer.setCustomMeshShader(shading("(0.35 + 0.65 * abs(normalize(vN).z))"), "headlight");
  const meshes = {},
    plain = {};
  for (const [hemisphere, {vertices, faces, maps}] of Object.entries(await surfaceMeshes())) {
    const colour = channels(COLOURS.palette[hemisphere === "R" ? 1 : 0]);
    const mesh = await addMesh(viewer, vertices, faces, [...colour, 255], headlight);
    mesh.layers = Object.entries(maps).map(([name, values]) => ({
      ...NVMeshLayerDefaults,
      ...MAPS[name],
      name,
      values,
      nFrame4D: 1,
      isTransparentBelowCalMin: false,
    }));
    meshes[hemisphere] = mesh;
    plain[hemisphere] = mesh.rgba255;
  }
  let colours = () => null; // of the map of areas, once it is there
  mapColours().then(arrived => {
    colours = arrived;
    showMap();
    if (brainPlanes) markSurface(positionOf(brainPlanes));
  });

  function showMap() {
    const chosen = byId("surface-map").value;
    for (const [hemisphere, mesh] of Object.entries(meshes)) {
      for (const layer of mesh.layers) {
        layer.opacity = layer.name === chosen ? 1 : 0;
        // Both hemispheres share one scale.
        layer.colorbarVisible = layer.name === chosen && hemisphere === Object.keys(meshes)[0];
      }
      mesh.rgba255 = colours(chosen, hemisphere) || plain[hemisphere];
      mesh.updateMesh(viewer.gl);
    }
    viewer.updateGLVolume();
  }

  function showSide() {
    const side = byId("surface-side").value;
    for (const [hemisphere, mesh] of Object.entries(meshes)) mesh.visible = [hemisphere, "both"].includes(side);
    viewer.drawScene();
  }

  // Return the areas at the vertex nearest to a POSITION, if it is within 5 mm.
  function namesAt(position) {
    if (!colours.names) return [];
    let [side, best, least] = ["", -1, 25];
    for (const [hemisphere, mesh] of Object.entries(meshes)) {
      const places = mesh.pts;
      for (let i = 0; i < places.length; i += 3) {
        let off = 0;
        for (let axis = 0; axis < 3; axis++) off += (places[i + axis] - position[axis]) ** 2;
        if (off < least) [side, best, least] = [hemisphere, i / 3, off];
      }
    }
    return best < 0 ? [] : [`; ${colours.names(side, best)}`];
  }

  markSurface = position => {
    const row = nearSection(position[1]);
    byId("surface-readout").replaceChildren(
      inWords(position),
      ...(row ? [", nearest: ", sectionLink(row.section)] : []),
      ...namesAt(position),
    );
    mark(viewer, position);
  };

  byId("poses").append(
    ...Object.entries(POSES).map(([pose, [azimuth, elevation]]) =>
      element(
        "button",
        {
          onclick: () => {
            viewer.setScale(SCALE);
            viewer.setRenderAzimuthElevation(azimuth, elevation);
          },
        },
        pose,
      ),
    ),
  );
  byId("surface-map").onchange = showMap;
  byId("surface-side").onchange = showSide;
  viewer.setScale(SCALE);
  viewer.setRenderAzimuthElevation(...POSES.left);
  showMap();
  if (brainPlanes) markSurface(positionOf(brainPlanes));
  surfaceView = viewer;
}

function startViewers() {
  if (!document.createElement("canvas").getContext("webgl2")) {
    byId("no-webgl").hidden = false;
    return;
  }
  whenNear(byId("planes"), startReconstruction);
  whenNear(byId("surface-canvas"), startSurface);
  whenNear(byId("template-planes"), startPoints);
}
