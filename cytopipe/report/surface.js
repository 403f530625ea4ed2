"use strict";
// The mid-surface under the mouse: WebGL, no library.

let meshPromise = null;

function surfaceMesh() {
  meshPromise = meshPromise || load("surface.js", "surface").then(async found => {
    const [hundredths, faces, ...maps] = await Promise.all([found.vertices, found.faces, ...Object.values(found.maps)].map(unpack));
    return {vertices: Float32Array.from(hundredths, value => value / 100), faces, left: found.left_faces,
      maps: Object.fromEntries(Object.keys(found.maps).map((name, place) => [name, maps[place]]))};
  });
  return meshPromise;
}

function vertexNormals({vertices: v, faces}) {
  const normals = new Float32Array(v.length);
  for (let f = 0; f < faces.length; f += 3) {
    const [a, b, c] = [3 * faces[f], 3 * faces[f + 1], 3 * faces[f + 2]];
    const p = [0, 1, 2].map(i => v[b + i] - v[a + i]), q = [0, 1, 2].map(i => v[c + i] - v[a + i]);
    const n = [p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2], p[0] * q[1] - p[1] * q[0]];
    for (const corner of [a, b, c]) for (let i = 0; i < 3; i++) normals[corner + i] += n[i];
  }
  return normals;
}

const VERTEX = `#version 300 es
in vec3 place; in vec3 normal; in vec3 colour;
uniform mat3 turn; uniform vec3 centre; uniform vec2 scale;
out vec3 n; out vec3 c;
void main() {
  vec3 p = turn * (place - centre);
  n = turn * normal; c = colour;
  gl_Position = vec4(p.xy * scale, -p.z * 0.003, 1.0);
}`;
const FRAGMENT = `#version 300 es
precision mediump float;
in vec3 n; in vec3 c; out vec4 shown;
void main() { shown = vec4(c * (0.35 + 0.65 * abs(normalize(n).z)), 1.0); }`;

// rows: the picture's right, up, and towards the viewer, in R, A, S
const POSES = {
  left: [[0, -1, 0], [0, 0, 1], [-1, 0, 0]], right: [[0, 1, 0], [0, 0, 1], [1, 0, 0]],
  above: [[1, 0, 0], [0, 1, 0], [0, 0, 1]], below: [[-1, 0, 0], [0, 1, 0], [0, 0, -1]],
  front: [[-1, 0, 0], [0, 0, 1], [0, 1, 0]], behind: [[1, 0, 0], [0, 0, 1], [0, -1, 0]],
};
const MAPS = {
  thickness: {label: "thickness, mm", low: 1, high: 5, stops: COLOURS.cividis},
  curvature: {label: "curvature, 1/mm: crowns at the right end", low: -0.3, high: 0.3, stops: COLOURS.diverging},
};
const times = (a, b) => a.map(row => [0, 1, 2].map(i => row[0] * b[0][i] + row[1] * b[1][i] + row[2] * b[2][i]));

let markSurface = () => {};

async function startSurface() {
  const canvas = byId("surface-canvas"), gl = canvas.getContext("webgl2", {antialias: true});
  if (!gl) { byId("no-webgl").hidden = false; return; }
  const mesh = await surfaceMesh(), count = mesh.vertices.length / 3;
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  gl.useProgram(program);
  gl.enable(gl.DEPTH_TEST);
  const attribute = (name, values) => {
    const at = gl.getAttribLocation(program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(at);
    gl.vertexAttribPointer(at, 3, gl.FLOAT, false, 0, 0);
  };
  attribute("place", mesh.vertices);
  attribute("normal", vertexNormals(mesh));
  gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, Uint32Array.from(mesh.faces), gl.STATIC_DRAW);

  const low = [1e9, 1e9, 1e9], high = [-1e9, -1e9, -1e9];
  for (let i = 0; i < mesh.vertices.length; i++) {
    low[i % 3] = Math.min(low[i % 3], mesh.vertices[i]);
    high[i % 3] = Math.max(high[i % 3], mesh.vertices[i]);
  }
  const centre = low.map((value, axis) => (value + high[axis]) / 2), extent = Math.hypot(...low.map((value, axis) => high[axis] - value));
  let turn = POSES.left, zoom = 1, mark = null;
  const perMm = () => 1.5 * zoom / extent * canvas.height; // canvas pixels
  const project = point => {
    const off = point.map((value, axis) => value - centre[axis]), [x, y, z] = turn.map(row => row[0] * off[0] + row[1] * off[1] + row[2] * off[2]);
    return [canvas.width / 2 + x * perMm(), canvas.height / 2 - y * perMm(), z];
  };

  function colour() {
    const chosen = byId("surface-map").value, values = new Float32Array(3 * count), map = MAPS[chosen];
    for (let i = 0; i < count; i++) {
      const shown = map ? onScale(map.stops, mesh.maps[chosen][i], map.low, map.high)
        : [1, 3, 5].map(at => parseInt(COLOURS.palette[i < mesh.leftVertices ? 0 : 1].slice(at, at + 2), 16));
      for (let k = 0; k < 3; k++) values[3 * i + k] = shown[k] / 255;
    }
    attribute("colour", values);
    byId("surface-legend").hidden = !map;
    if (map) {
      byId("surface-low").textContent = map.low;
      byId("surface-high").textContent = map.high;
      byId("surface-label").textContent = map.label;
      byId("surface-bar").style.background = `linear-gradient(90deg, ${map.stops.map(stop => `rgb(${stop.join(" ")})`).join(",")})`;
    }
    draw();
  }

  const letters = Object.entries({R: [1, 0, 0], L: [-1, 0, 0], A: [0, 1, 0], P: [0, -1, 0], S: [0, 0, 1], I: [0, 0, -1]})
    .map(([letter, axis]) => [byId("surface-letters").appendChild(element("b", {}, letter)), axis]);
  const ring = byId("surface-letters").appendChild(element("span", {class: "ring", hidden: ""}));

  function put2d(label, point) {
    const [x, y, z] = project(point);
    label.style.left = `${100 * x / canvas.width}%`;
    label.style.top = `${100 * y / canvas.height}%`;
    return z;
  }

  function draw() {
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(1, 1, 1, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    const uniform = name => gl.getUniformLocation(program, name);
    gl.uniformMatrix3fv(uniform("turn"), true, turn.flat());
    gl.uniform3fv(uniform("centre"), centre);
    gl.uniform2f(uniform("scale"), 2 * perMm() / canvas.width, 2 * perMm() / canvas.height);
    const side = byId("surface-side").value, from = side === "R" ? 3 * mesh.left : 0, to = side === "L" ? 3 * mesh.left : mesh.faces.length;
    gl.drawElements(gl.TRIANGLES, to - from, gl.UNSIGNED_INT, 4 * from);
    for (const [label, axis] of letters) {
      const reach = 12 + Math.max(...high.map((value, i) => Math.abs(axis[i]) * (value - low[i]) / 2));
      const z = put2d(label, centre.map((value, i) => value + reach * axis[i]));
      label.style.opacity = z > extent / 6 ? 0 : z < -extent / 6 ? 0.25 : 1; // not in front of the surface
    }
    ring.hidden = !mark;
    if (mark) put2d(ring, mark);
  }

  // the nearest vertex under the pointer
  function pick(event) {
    const box = canvas.getBoundingClientRect(), x = (event.clientX - box.left) * canvas.width / box.width, y = (event.clientY - box.top) * canvas.height / box.height;
    let best = null, front = -1e9;
    const side = byId("surface-side").value, from = side === "R" ? mesh.leftVertices : 0, to = side === "L" ? mesh.leftVertices : count;
    for (let i = from; i < to; i++) {
      const point = [mesh.vertices[3 * i], mesh.vertices[3 * i + 1], mesh.vertices[3 * i + 2]], [u, v, z] = project(point);
      if (z > front && Math.hypot(u - x, v - y) < Math.max(6, 1.5 * perMm())) [best, front] = [point, z];
    }
    if (!best) return;
    if (brainPlanes) brainPlanes.go(best); else markSurface(best);
  }

  markSurface = position => {
    mark = position;
    const row = nearSection(position[1]);
    byId("surface-readout").replaceChildren(`R ${position[0].toFixed(1)}, A ${position[1].toFixed(1)}, S ${position[2].toFixed(1)} mm`, ...(row ? [", nearest: ", sectionLink(row.section)] : []));
    draw();
  };

  mesh.leftVertices = mesh.left ? 1 + mesh.faces.subarray(0, 3 * mesh.left).reduce((most, vertex) => Math.max(most, vertex), 0) : 0;
  let moved = 0;
  canvas.onpointerdown = event => { moved = 0; canvas.setPointerCapture(event.pointerId); };
  canvas.onpointermove = event => {
    if (!(event.buttons & 1)) return;
    moved += Math.abs(event.movementX) + Math.abs(event.movementY);
    const a = event.movementX * 0.008, b = event.movementY * 0.008;
    const about = [[Math.cos(a), 0, Math.sin(a)], [0, 1, 0], [-Math.sin(a), 0, Math.cos(a)]];
    const tilt = [[1, 0, 0], [0, Math.cos(b), -Math.sin(b)], [0, Math.sin(b), Math.cos(b)]];
    turn = times(times(tilt, about), turn);
    draw();
  };
  canvas.onclick = event => { if (moved < 4) pick(event); };
  canvas.onwheel = event => { event.preventDefault(); zoom = Math.min(Math.max(zoom * (event.deltaY > 0 ? 0.9 : 1.1), 0.5), 12); draw(); };
  byId("poses").append(...Object.keys(POSES).map(pose => element("button", {onclick: () => { turn = POSES[pose]; zoom = 1; draw(); }}, pose)));
  byId("surface-map").onchange = colour;
  byId("surface-side").onchange = draw;
  colour();
}
