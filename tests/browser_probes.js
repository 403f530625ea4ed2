// What test_browser.py asks of the pages; put into each before its own scripts.
"use strict";

const probe = {
  listed: () =>
    [...document.querySelectorAll("#sheet figure:not([hidden])")].map(figure =>
      Number(figure.dataset.section),
    ),

  // of each midline point: whether it lies in the outline of the tissue, of the white matter
  insides() {
    const get = name => document.getElementById("picture").querySelector(`.${name}`);
    const dots = get("after")
      .getAttribute("d")
      .match(/M[^h]+/g);
    return dots.map(dot => {
      const point = new DOMPoint(...dot.slice(1).split(" ").map(Number));
      return [get("tissue").isPointInFill(point), get("white").isPointInFill(point)];
    });
  },

  layersOn: () =>
    LAYERS.map(
      layer =>
        getComputedStyle(document.getElementById("picture").querySelector(`.${layer.name}`)).display !==
        "none",
    ),

  captions: () => [...document.querySelectorAll("#pairs .kept figcaption")].map(one => one.textContent),

  // of the first overlay that was kept: its middle in the window, and um per pixel
  middle() {
    const overlay = document.querySelector("#pairs .kept svg"),
      box = overlay.getBoundingClientRect();
    return [box.left + box.width / 2, box.top + box.height / 2, page.unit_um / overlay.getScreenCTM().a];
  },

  // left, right, top, bottom of both outlines in each overlay that was kept, as shares of its width
  outlines: () =>
    [...document.querySelectorAll("#pairs .kept svg")].map(overlay => {
      const whole = overlay.getBoundingClientRect();
      return [...overlay.querySelectorAll("g")].map(group => {
        const box = group.querySelector("path").getBoundingClientRect();
        return [
          box.left - whole.left,
          box.right - whole.left,
          box.top - whole.top,
          box.bottom - whole.top,
        ].map(place => place / whole.width);
      });
    }),

  // where a place in mm is on the canvas of a viewer, as shares of its size, in the plane across AXIS
  share(viewer, axis, mm) {
    const tile = viewer.screenSlices.find(slice => slice.axCorSag === 2 - axis),
      [left, top, width, height] = tile.leftTopWidthHeight,
      [across, along] = [0, 1, 2].filter(other => other !== axis),
      [low, bottom] = tile.leftTopMM,
      [wide, high] = tile.fovMM;
    return [
      (left + (width * (mm[across] - low)) / wide) / viewer.canvas.width,
      (top + height * (1 - (mm[along] - bottom) / high)) / viewer.canvas.height,
    ];
  },

  // the middles of its planes: axial, coronal, sagittal
  middles: viewer =>
    viewer.screenSlices.map(({leftTopWidthHeight: [left, top, width, height]}) => [
      (left + width / 2) / viewer.canvas.width,
      (top + height / 2) / viewer.canvas.height,
    ]),

  // what a viewer shows
  async shown(viewer) {
    viewer.drawScene(); // drawn anew: what was drawn is not kept
    const {width, height} = viewer.canvas,
      context = new OffscreenCanvas(width, height).getContext("2d");
    context.drawImage(await createImageBitmap(viewer.canvas), 0, 0);
    return context.getImageData(0, 0, width, height);
  },

  // the colours at places in mm in the plane across AXIS
  async pixels(viewer, axis, places) {
    const {data, width, height} = await probe.shown(viewer);
    return places.map(mm => {
      const [x, y] = probe.share(viewer, axis, mm),
        at = 4 * (Math.floor(y * height) * width + Math.floor(x * width));
      return [...data.slice(at, at + 3)];
    });
  },

  // the letters that niivue writes around the planes, each with its place as shares of the canvas
  letters(viewer) {
    const letters = [],
      drawText = viewer.drawText;
    viewer.drawText = ([x, y], letter) => {
      letters.push([letter, x / viewer.canvas.width, y / viewer.canvas.height]);
    };
    viewer.drawScene();
    viewer.drawText = drawText;
    return letters;
  },

  // saturated pixels of a viewer, which belong to the surface: how many, and their middle as shares of the canvas
  async surface(viewer) {
    const {data, width, height} = await probe.shown(viewer);
    let [count, x, y] = [0, 0, 0];
    for (let i = 0; i < data.length; i += 4) {
      const colour = data.slice(i, i + 3);
      if (Math.max(...colour) - Math.min(...colour) < 40) continue;
      count += 1;
      x += (i / 4) % width;
      y += Math.floor(i / 4 / width);
    }
    return [count, x / count / width, y / count / height];
  },

  // pixels of a colour in the axial plane: how many, and their mean place from left to right, in pixels
  async colour(viewer, rgb) {
    const {data, width} = await probe.shown(viewer),
      [left, , wide] = viewer.screenSlices.find(slice => slice.axCorSag === 0).leftTopWidthHeight;
    let [count, sum] = [0, 0];
    for (let i = 0; i < data.length; i += 4) {
      const x = (i / 4) % width;
      if (x < left || x > left + wide || rgb.some((value, k) => Math.abs(data[i + k] - value) > 2)) continue;
      count += 1;
      sum += x;
    }
    return [count, sum / count];
  },
};
