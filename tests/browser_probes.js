// What test_browser.py asks of the pages; put into each before its own scripts.
"use strict";

const probe = {
  listed: () => [...document.querySelectorAll("#sheet figure:not([hidden])")]
    .map(figure => Number(figure.dataset.section)),

  // of each midline point: whether it lies in the outline of the tissue, of the white matter
  insides() {
    const get = name => document.getElementById("picture").querySelector(`.${name}`);
    const dots = get("after").getAttribute("d").match(/M[^h]+/g);
    return dots.map(dot => {
      const point = new DOMPoint(...dot.slice(1).split(" ").map(Number));
      return [get("tissue").isPointInFill(point), get("white").isPointInFill(point)];
    });
  },

  layersOn: () => LAYERS.map(layer =>
    getComputedStyle(document.getElementById("picture").querySelector(`.${layer.name}`)).display !== "none"),

  captions: () => [...document.querySelectorAll("#pairs .kept figcaption")].map(one => one.textContent),

  // of the first overlay that was kept: its middle in the window, and um a pixel
  middle() {
    const overlay = document.querySelector("#pairs .kept svg"), box = overlay.getBoundingClientRect();
    return [box.left + box.width / 2, box.top + box.height / 2, page.unit_um / overlay.getScreenCTM().a];
  },

  // left, right, top, bottom of both outlines in each overlay that was kept, as shares of its width
  outlines: () => [...document.querySelectorAll("#pairs .kept svg")].map(overlay => {
    const whole = overlay.getBoundingClientRect();
    return [...overlay.querySelectorAll("g")].map(group => {
      const box = group.querySelector("path").getBoundingClientRect();
      return [box.left - whole.left, box.right - whole.left, box.top - whole.top, box.bottom - whole.top]
        .map(place => place / whole.width);
    });
  }),

  // where a place in mm is on the canvas of a plane, as shares of its size
  share(plane, mm) {
    const canvas = brainPlanes.canvases[plane], [x, y] = brainPlanes.toCanvas(PLANES[plane])(mm);
    return [x / canvas.width, y / canvas.height];
  },

  pixel(plane, mm) {
    const context = brainPlanes.canvases[plane].getContext("2d");
    return [...context.getImageData(...brainPlanes.toCanvas(PLANES[plane])(mm), 1, 1).data].slice(0, 3);
  },

  // pixels of the surface in each of 130 columns
  async surfaceColumns() {
    const canvas = document.getElementById("surface-canvas"), wide = 130, high = 64;
    document.getElementById("surface-side").onchange(); // drawn anew: what was drawn is not kept
    const context = new OffscreenCanvas(wide, high).getContext("2d");
    context.drawImage(await createImageBitmap(canvas), 0, 0, wide, high);
    const {data} = context.getImageData(0, 0, wide, high), found = Array(wide).fill(0);
    for (let i = 0; i < data.length; i += 4) if (data[i] + data[i + 1] + data[i + 2] < 700) found[(i / 4) % wide] += 1;
    return found;
  },

  // each letter around the surface: its place from left to right in percent, and its opacity
  letters: () => Object.fromEntries([...document.querySelectorAll("#surface-letters b")]
    .map(letter => [letter.textContent, [parseFloat(letter.style.left), Number(letter.style.opacity)]])),

  // pixels of a colour over the template's axial plane: how many, and the leftmost and rightmost share
  colour(r, g, b) {
    const canvas = document.querySelector("#template-planes canvas[aria-label=axial]");
    const {data, width} = canvas.getContext("2d").getImageData(25, 25, canvas.width - 50, canvas.height - 50);
    const at = [];
    for (let i = 0; i < data.length; i += 4) {
      if (data[i] === r && data[i + 1] === g && data[i + 2] === b) at.push(((i / 4) % width) / width);
    }
    return [at.length, Math.min(...at), Math.max(...at)];
  },
};
