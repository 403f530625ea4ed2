"use strict";
// Curves along the stack. A click opens the section.

const PANELS = [
  {
    label: "inliers + 1",
    log: true,
    lines: [
      {
        label: "both as scanned",
        colour: COLOURS.fixed,
        of: row => (row.inliers_plain === null ? null : row.inliers_plain + 1),
      },
      {
        label: "one section mirrored",
        colour: COLOURS.moving,
        dashed: true,
        of: row => (row.inliers_mirrored === null ? null : row.inliers_mirrored + 1),
      },
    ],
  },
  {
    label: "residual, µm",
    lines: [{label: "residual", colour: COLOURS.fixed, of: row => row.values && row.values.residual_um}],
  },
  {
    label: "x of tissue, mm",
    lines: [{label: "x of the tissue centre in the stack", colour: COLOURS.fixed, of: row => row.x_mm}],
  },
  {label: "y of tissue, mm", lines: [{label: "y (down)", colour: COLOURS.fixed, of: row => row.y_mm}]},
  {
    label: "rotation, °",
    lines: [{label: "rotation of the slide", colour: COLOURS.fixed, of: row => row.angle_deg}],
  },
];
const WIDTH = 1000,
  HEIGHT = 84,
  LEFT = 62,
  GAP = 26;

function ticks(low, high, log, number = 3) {
  if (log) return [1, 10, 100, 1000, 10000].filter(tick => tick >= low && tick <= high);
  const rough = (high - low) / number,
    power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(n => n * power).find(size => size >= rough);
  const places = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high; tick += step)
    places.push(Number(tick.toPrecision(6)));
  return places;
}

function drawCurves(figure) {
  const inOrder = [...rows].sort((a, b) => a.section - b.section);
  const first = inOrder[0].section,
    last = inOrder[inOrder.length - 1].section;
  const across = section => LEFT + ((WIDTH - LEFT - 8) * (section - first)) / Math.max(last - first, 1);
  const all = HEIGHT * PANELS.length + GAP * PANELS.length + 24;
  figure.setAttribute("viewBox", `0 0 ${WIDTH} ${all}`);
  const width = Math.max((WIDTH - LEFT) / inOrder.length, 2);
  for (const row of inOrder.filter(one => one.mirrored)) {
    figure.append(
      svg("rect", {
        x: across(row.section) - width / 2,
        y: 0,
        width,
        height: all - 24,
        fill: COLOURS.mirrored,
        opacity: 0.35,
      }),
    );
  }
  PANELS.forEach((panel, place) => {
    const top = GAP + place * (HEIGHT + GAP),
      scaled = value => (panel.log ? Math.log10(value) : value);
    const values = panel.lines
      .flatMap(line => inOrder.map(line.of))
      .filter(value => value !== null && value !== undefined);
    let low = Math.min(...values),
      high = Math.max(...values);
    if (!values.length) [low, high] = [1, 2];
    if (low === high) [low, high] = [low - 0.5, high + 0.5];
    const up = value =>
      top + HEIGHT - (HEIGHT * (scaled(value) - scaled(low))) / (scaled(high) - scaled(low));
    for (const tick of ticks(low, high, panel.log)) {
      figure.append(
        svg("line", {x1: LEFT, x2: WIDTH - 8, y1: up(tick), y2: up(tick), stroke: "#e6e6e6"}),
        svg("text", {x: LEFT - 6, y: up(tick) + 4, "text-anchor": "end"}, tick.toLocaleString("en")),
      );
    }
    panel.lines.forEach((line, number) => {
      const path = [],
        marks = [],
        uncertain = [];
      for (const row of inOrder) {
        const value = line.of(row);
        if (value === null || value === undefined) continue;
        const at = `${across(row.section).toFixed(1)} ${up(value).toFixed(1)}`;
        path.push(at);
        marks.push(`M${at}h0`);
        if (row.mark) uncertain.push(`M${at}m-4 -4l8 8m0 -8l-8 8`);
      }
      figure.append(
        svg("polyline", {
          points: path.join(" "),
          fill: "none",
          stroke: line.colour,
          "stroke-dasharray": line.dashed ? "4 3" : "none",
        }),
        svg("path", {d: marks.join(""), stroke: line.colour, "stroke-width": 4, "stroke-linecap": "round"}),
        svg("path", {d: uncertain.join(""), stroke: COLOURS.point, "stroke-width": 1.8, fill: "none"}),
        svg(
          "text",
          {x: LEFT + 4 + 210 * number, y: top - 7, fill: line.colour, "font-weight": 600},
          `${line.dashed ? "- - " : ""}${line.label}`,
        ),
      );
    });
    figure.append(
      svg(
        "text",
        {
          x: 12,
          y: top + HEIGHT / 2,
          transform: `rotate(-90 12 ${top + HEIGHT / 2})`,
          "text-anchor": "middle",
        },
        panel.label,
      ),
    );
  });
  for (const tick of ticks(first, last, false, 10))
    figure.append(
      svg("text", {x: across(tick), y: all - 8, "text-anchor": "middle"}, tick.toLocaleString("en")),
    );
  const cursor = svg("line", {
    y1: 0,
    y2: all - 24,
    stroke: "#000",
    "stroke-width": 0.8,
    visibility: "hidden",
  });
  figure.append(cursor);
  const nearest = event => {
    const box = figure.getBoundingClientRect(),
      x = ((event.clientX - box.left) / box.width) * WIDTH;
    return inOrder.reduce((best, row) =>
      Math.abs(across(row.section) - x) < Math.abs(across(best.section) - x) ? row : best,
    );
  };
  figure.onpointermove = event => {
    const row = nearest(event);
    cursor.setAttribute("x1", across(row.section));
    cursor.setAttribute("x2", across(row.section));
    cursor.setAttribute("visibility", "visible");
    byId("curve-readout").textContent =
      `Section ${row.section}, ${row.status}${row.mirrored ? ", mirrored" : ""}: ` +
      PANELS.flatMap(panel => panel.lines)
        .map(line => [line.label, line.of(row)])
        .filter(([, value]) => value !== null && value !== undefined)
        .map(([label, value]) => `${label} ${Number(value.toFixed(1)).toLocaleString("en")}`)
        .join("; ");
  };
  figure.onclick = event => go({section: nearest(event).section});
}
