// Elements and their text. What a guest, a file or a peer chose enters a page here, as text and never as markup.

const dress = (node, attributes, children) => {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child != null));
  return node;
};

/** An element of HTML, or of SVG. Strings among the children become text. */
export const html = (tag, attributes, ...children) => dress(document.createElement(tag), attributes, children);
export const svg = (tag, attributes, ...children) => dress(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

/** The icon of a state, or one of our own signs: a symbol of this widget. */
export const use = (id, name, at) => svg("use", { href: `#${id}-${name}`, ...at });
export const icon = (id, name, size = 16) =>
  svg("svg", { width: size, height: size, viewBox: "0 0 16 16", "aria-hidden": "true", class: "ic" }, use(id, name));

const SIGNS = {
  plus: "M8 3.5v9M3.5 8h9", minus: "M3.5 8h9", fit: "M6 2.5H2.5V6M10 2.5h3.5V6M6 13.5H2.5V10M10 13.5h3.5V10",
  reset: "M3 8a5 5 0 1 1 1.6 3.7M3 12.6V9.4h3.2", list: "M6 4h7.5M6 8h7.5M6 12h7.5M2.7 4h.1M2.7 8h.1M2.7 12h.1",
  close: "M4 4l8 8M12 4l-8 8", stop: "M4.5 4.5h7v7h-7z", copy: "M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8z", open: "M6 4l4 4l-4 4",
  tick: "M3.5 8.5l3 3l6-7",
};

/** The symbols of one widget; `id` makes theirs unique, since a page may have many. */
export function symbols(id, icons) {
  const line = { fill: "none", "stroke-width": 1.8, "stroke-linecap": "round", "stroke-linejoin": "round" };
  const symbol = (name, ...paths) => svg("symbol", { id: `${id}-${name}`, viewBox: "0 0 16 16" }, paths.map((path) => svg("path", path)));
  const ink = "var(--i)";
  const made = icons.map(([body, glyph, hollow, filled], state) => hollow
    ? symbol(state, { d: body, fill: "none", stroke: ink, "stroke-width": 1.8, "stroke-dasharray": glyph ? null : "2.6 2.5" }, { d: glyph, fill: ink })
    : symbol(state, { d: body, fill: ink }, filled ? { d: glyph, fill: "#fff" } : { d: glyph, stroke: "#fff", ...line }));
  const signs = Object.entries(SIGNS).map(([name, d]) => symbol(name, { d, stroke: "currentColor", ...line, "stroke-width": 1.6 }));
  return svg("svg", { width: 0, height: 0, "aria-hidden": "true", style: "position:absolute" }, made, signs);
}

/** A button with a sign, a word, or both. */
export const button = (id, sign, word, label, onclick, attributes) =>
  html("button", { type: "button", "aria-label": word ? null : label, title: label, onclick, class: word ? null : "bare", ...attributes },
    sign ? icon(id, sign) : null, word ? html("span", {}, word) : null);

export const number = (count) => count.toLocaleString("en-US");
export const plural = (count, noun) => `${number(count)} ${noun}${count === 1 ? "" : "s"}`;
export const clip = (text, most) => (text.length > most ? `${text.slice(0, Math.max(1, most - 1))}…` : text);

/** States in the order in which they are told: those that need a look, then ends, then what is still to come. */
const ORDER = [5, 9, 2, 3, 4, 6, 8, 7, 1, 0];

/** The states that occur, by how many tasks are in each. */
export const told = (counts) => ORDER.filter((state) => counts[state]);

/** A list of states with their numbers. */
export const tally = (id, counts, words) => html("ul", { class: "counts" }, told(counts).map((state) =>
  html("li", { class: `s${state}` }, icon(id, state, 14), html("b", {}, number(counts[state])), ` ${words[state]}`)));

/** A bar in which each state has its share. */
export const shares = (counts) => told(counts).map((state) => html("i", { class: `s${state}`, style: `flex:${counts[state]} 0 0` }));

/** Deal with a key that is ours: neither the page nor Lab hears of it. */
export const keys = (node, act) => node.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || act(event) === false) return;
  event.preventDefault();
  event.stopPropagation();
});
