"use strict";
// The map of areas, if the workflow has made it: {brain}-map.js lies beside the page.

// a promise of the map; it stays open without one
const areaMap = new Promise(done => {
  if (!page.mapped) return;
  const script = element("script", {src: `${page.folder}-map.js`});
  script.onload = () => done(arrived.get("map"));
  document.head.append(script);
});

function lettered({name, letters, picture, width}) {
  const places = ["l", "r", "t", "b"].map((place, i) => element("span", {class: place}, letters[i]));
  return element(
    "figure",
    {},
    element("div", {class: "lettered"}, ...places, element("img", {src: picture, width, alt: name})),
    element("figcaption", {}, name),
  );
}

const swatch = colour => element("i", {class: "key", style: `background:${colour}`});

async function startMap() {
  const map = await areaMap,
    titles = Object.values(map.layers),
    cell = text => element("td", {}, text);
  byId("map-pending").remove();
  const content = byId("map-content");
  content.append(
    element(
      "ul",
      {class: "numbers"},
      ...map.numbers.map(([value, name]) => element("li", {}, element("b", {}, value), element("span", {}, name))),
    ),
    ...(map.alarm ? [element("p", {class: "missed"}, map.alarm)] : []),
    element(
      "p",
      {class: "caption"},
      map.about.join(" "),
      " The colours are those of the exports. Gray is unlike the training data: torn, folded, blurred or foreign tissue. " +
        "An area that nobody has labelled is not found by this; it takes the name of the most similar one. " +
        "Look for areas in implausible places, for areas in many patches, and for borders that the atlas " +
        "has elsewhere: cortex that looks alike may be named alike wherever it lies. " +
        "The surface above shows the map too, if you choose it as the colour.",
    ),
    ...map.pictures.map(({title, views}) =>
      element(
        "div",
        {},
        element("h3", {}, title),
        element("div", {class: "views map-views"}, ...views.map(lettered)),
      ),
    ),
    element("h3", {}, "Areas, and their share of the usable points"),
    element(
      "div",
      {class: "map-legend"},
      ...inColumns(map.legend, 3).map(part =>
        element(
          "table",
          {},
          element("thead", {}, element("tr", {}, ...["area", ...titles].map(title => element("th", {}, title)))),
          element(
            "tbody",
            {},
            ...part.map(({name, colour, shares}) =>
              element("tr", {}, element("td", {}, swatch(colour), name), ...shares.map(cell)),
            ),
          ),
        ),
      ),
    ),
  );
  content.hidden = false;
}

function inColumns(rows, most) {
  const each = Math.max(Math.ceil(rows.length / most), 16),
    parts = [];
  for (let start = 0; start < rows.length; start += each) parts.push(rows.slice(start, start + each));
  return parts;
}

// Add the layers of the map to the colours of the surface viewer, and return a function: of the chosen
// layer and a hemisphere, the colours of all vertices, or null if the layer is not one of the map's.
async function mapColours() {
  const map = await areaMap,
    codes = {};
  for (const [hemisphere, layers] of Object.entries(map.surfaces)) {
    codes[hemisphere] = {};
    for (const [layer, values] of Object.entries(layers)) codes[hemisphere][layer] = await unpack(values);
  }
  for (const [layer, title] of Object.entries(map.layers))
    byId("surface-map").append(element("option", {value: layer}, title));
  const colours = (layer, hemisphere) => {
    const chosen = codes[hemisphere] && codes[hemisphere][layer];
    if (!chosen) return null;
    const rgba = new Uint8Array(4 * chosen.length).fill(255);
    chosen.forEach((code, i) => rgba.set(map.colours[code], 4 * i));
    return rgba;
  };
  // the names of a vertex in all layers
  colours.names = (hemisphere, vertex) =>
    Object.entries(map.layers)
      .map(([layer, title]) => `${title}: ${map.names[codes[hemisphere][layer][vertex]]}`)
      .join("; ");
  return colours;
}
