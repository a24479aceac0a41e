// Elements and their text. Whatever a guest, a file or a peer chose enters a page here, as text and never as markup.

const SVG = "http://www.w3.org/2000/svg";

function dress(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/** An element of HTML. Strings among the children become text. */
export const html = (tag, attributes, ...children) => dress(document.createElement(tag), attributes, children);

/** The same of SVG. */
export const svg = (tag, attributes, ...children) => dress(document.createElementNS(SVG, tag), attributes, children);

/** The icon of a state, or one of our own signs, from the symbols that `symbols` made. */
export const icon = (id, name, size = 16) =>
  svg("svg", { width: size, height: size, viewBox: "0 0 16 16", "aria-hidden": "true", class: "ic" },
    svg("use", { href: `#${id}-${name}` }));

const SIGNS = {
  plus: "M8 3.5v9M3.5 8h9", minus: "M3.5 8h9", fit: "M6 2.5H2.5V6M10 2.5h3.5V6M6 13.5H2.5V10M10 13.5h3.5V10",
  reset: "M3 8a5 5 0 1 1 1.6 3.7M3 12.6V9.4h3.2", list: "M6 4h7.5M6 8h7.5M6 12h7.5M2.7 4h.1M2.7 8h.1M2.7 12h.1",
  close: "M4 4l8 8M12 4l-8 8", stop: "M4.5 4.5h7v7h-7z", copy: "M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8z", open: "M6 4l4 4l-4 4",
  tick: "M3.5 8.5l3 3l6-7",
};

/** The symbols of one widget; ids are made unique by `id`, since a page may have many. */
export function symbols(id, icons) {
  const made = icons.map(([body, glyph, hollow, filled], state) => {
    const line = { "stroke-width": 1.8, "stroke-linecap": "round", "stroke-linejoin": "round" };
    const paths = hollow
      ? [svg("path", { d: body, fill: "none", stroke: "var(--i)", "stroke-width": 1.8, ...(glyph ? {} : { "stroke-dasharray": "2.6 2.5" }) }),
         svg("path", { d: glyph, fill: "var(--i)" })]
      : [svg("path", { d: body, fill: "var(--i)" }),
         svg("path", filled ? { d: glyph, fill: "#fff" } : { d: glyph, fill: "none", stroke: "#fff", ...line })];
    return svg("symbol", { id: `${id}-${state}`, viewBox: "0 0 16 16" }, paths);
  });
  for (const [name, d] of Object.entries(SIGNS)) {
    const drawn = { d, fill: "none", stroke: "currentColor", "stroke-width": 1.6, "stroke-linecap": "round", "stroke-linejoin": "round" };
    made.push(svg("symbol", { id: `${id}-${name}`, viewBox: "0 0 16 16" }, svg("path", drawn)));
  }
  return svg("svg", { width: 0, height: 0, "aria-hidden": "true", style: "position:absolute" }, svg("defs", {}, made));
}

/** A button with a sign, a word, or both. */
export const button = (id, sign, word, label, onclick, attributes) =>
  html("button", { type: "button", "aria-label": word === label ? null : label, title: label, onclick, ...attributes },
    sign ? icon(id, sign) : null, word ? html("span", {}, word) : null);

/** A number with separators: 1,234. */
export const number = (count) => count.toLocaleString("en-US");

/** A count with its noun. */
export const plural = (count, noun) => `${number(count)} ${noun}${count === 1 ? "" : "s"}`;

/** Text in at most so many characters. */
export const clip = (text, most) => (text.length > most ? `${text.slice(0, Math.max(1, most - 1))}…` : text);
