"use strict";
// Pairs of sections: the moving section over the fixed one, for either handedness. One can drag the moving one.

function tint(id, colour, dark) {
  const parts = [1, 3, 5].map(at => parseInt(colour.slice(at, at + 2), 16) / 255);
  const line = (c, place) => {
    const cells = [0, 0, 0, 0, 0];
    cells[place] = dark ? c - 1 : 1 - c;
    cells[4] = dark ? 1 : c;
    return cells.join(" ");
  };
  return svg(
    "filter",
    {id, "color-interpolation-filters": "sRGB", x: 0, y: 0, width: 1, height: 1},
    svg("feColorMatrix", {type: "matrix", values: parts.map(line).join(" ") + " 0 0 0 1 0"}),
  );
}

function pairPanel(pair) {
  const tries = [
    {...pair.chosen, mirrored: pair.mirrored, kept: true},
    {...pair.other, mirrored: !pair.mirrored, kept: false},
  ];
  const caption = one => {
    const [inliers, peak] = one.mirrored
      ? [pair.inliers_mirrored, pair.peak_mirrored]
      : [pair.inliers_plain, pair.peak_plain];
    return (
      `${one.mirrored ? "one section mirrored" : "as scanned"}: ${inliers} inliers` +
      (peak === null ? "" : `, texture peak ${peak.toFixed(1)}`) +
      (one.dice ? `, overlap ${(100 * one.dice).toFixed(0)} %` : "") +
      (one.kept
        ? `; ${pair.status}, by ${pair.method}`
        : one.place
          ? "; aligned by the outline only, for comparison"
          : "; not aligned")
    );
  };
  return element(
    "div",
    {class: "pair"},
    element("h4", {}, `${pair.moving} (orange) on ${pair.fixed} (blue)`),
    element(
      "div",
      {class: "tries"},
      ...tries
        .sort((a, b) => a.mirrored - b.mirrored)
        .map(one => {
          const line = element("pre", {hidden: ""}),
            button = element(
              "button",
              {hidden: "", onclick: () => decidePlace(pair, one)},
              "use this place",
            );
          const figure = element(
            "figure",
            one.kept ? {class: "kept"} : {},
            element("figcaption", {}, caption(one), line, button),
          );
          if (one.place) {
            drawOverlay(pair, one, () => {
              line.textContent = placeLine(pair.moving, placeOf(pair, one));
              line.hidden = button.hidden = false;
            }).then(made => figure.prepend(made));
          }
          return figure;
        }),
    ),
  );
}

// Return the place of the moving section as a row of manual/{brain}/sections.tsv.
const placeOf = (pair, one) => ({
  mirrored: one.flipped ? "yes" : "no",
  onto: String(pair.fixed),
  angle_rad: one.place.angle_rad.toFixed(6),
  x_um: one.place.x_um.toFixed(1),
  y_um: one.place.y_um.toFixed(1),
});
const placeLine = (section, row) =>
  ["section", ...Object.keys(row)].join("\t") + "\n" + [section, ...Object.values(row)].join("\t");

function decidePlace(pair, one) {
  // A transform holds for one handedness of each section; so decide both.
  decide(pair.fixed, {mirrored: rowOf.get(pair.fixed).mirrored ? "yes" : "no"});
  decide(pair.moving, placeOf(pair, one));
}

async function drawOverlay(pair, one, moved) {
  const [fixed, moving] = await Promise.all(
    [pair.fixed, pair.moving].map(section => load(`sections/${name5(section)}.js`, `section ${section}`)),
  );
  const unit = page.unit_um,
    flip = content => `matrix(-1 0 0 1 ${content.mirror_at} 0)`,
    onto = rowOf.get(pair.fixed);
  const key = `${pair.fixed}-${pair.moving}-${one.flipped}`;
  const of = (section, content, colour, attributes) =>
    svg(
      "g",
      attributes,
      image(section, content, {filter: `url(#${key}-${section})`}),
      svg("path", {d: content.tissue, class: "layer", stroke: colour}),
      svg("path", {d: content.white, class: "layer", stroke: colour}),
    );
  const below = of(pair.fixed, fixed, COLOURS.fixed, onto.mirrored ? {transform: flip(fixed)} : {});
  const above = of(pair.moving, moving, COLOURS.moving, {style: "mix-blend-mode:multiply"});
  const put = () => {
    const {angle_rad, x_um, y_um} = one.place,
      c = Math.cos(angle_rad),
      s = Math.sin(angle_rad);
    above.setAttribute(
      "transform",
      `matrix(${c} ${s} ${-s} ${c} ${x_um / unit} ${y_um / unit})${one.flipped ? " " + flip(moving) : ""}`,
    );
  };
  put();
  const [left, top, width, height] = fixed.box || [fixed.left, fixed.left, fixed.width, fixed.height];
  const view = svg(
    "svg",
    {
      viewBox: [onto.mirrored ? fixed.mirror_at - left - width : left, top, width, height].join(" "),
      class: "overlay",
    },
    tint(`${key}-${pair.fixed}`, COLOURS.fixed, onto.dark),
    tint(`${key}-${pair.moving}`, COLOURS.moving, rowOf.get(pair.moving).dark),
    below,
    above,
  );
  const umPerPixel = () => unit / view.getScreenCTM().a;
  view.onpointerdown = event => view.setPointerCapture(event.pointerId);
  view.onpointermove = event => {
    if (!(event.buttons & 1)) return;
    one.place = {
      ...one.place,
      x_um: one.place.x_um + event.movementX * umPerPixel(),
      y_um: one.place.y_um + event.movementY * umPerPixel(),
    };
    put();
    moved();
  };
  // Rotate about the pointer.
  view.addEventListener(
    "wheel",
    event => {
      if (!event.shiftKey) return;
      event.preventDefault();
      const by = (event.deltaY || event.deltaX) > 0 ? Math.PI / 360 : -Math.PI / 360,
        c = Math.cos(by),
        s = Math.sin(by);
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(view.getScreenCTM().inverse()),
        x = at.x * unit,
        y = at.y * unit;
      const {angle_rad, x_um, y_um} = one.place;
      one.place = {
        angle_rad: angle_rad + by,
        x_um: x + c * (x_um - x) - s * (y_um - y),
        y_um: y + s * (x_um - x) + c * (y_um - y),
      };
      put();
      moved();
    },
    {passive: false},
  );
  return view;
}
