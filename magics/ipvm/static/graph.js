// The graph: boxes and arrows where Python put them, to be moved, enlarged and selected.

import { clip, html, keys, number, plural, svg, told, use } from "./dom.js";

const CELL = 18, MARGIN = 12, HEAD = 34; // of a tray, as picture/graph.py has them

export class Graph {
  constructor(known, id) {
    Object.assign(this, { known, id, place: { x: 0, y: 0, k: 1 }, touched: false }); // until it is touched, it fits itself
    this.layer = svg("g", { class: "layer" });
    const label = "Graph. Arrow keys move it, plus and minus zoom, 0 fits, 1 is real size. The list has the same tasks.";
    this.node = html("div", { class: "graph", tabindex: 0, role: "group", "aria-label": label },
      svg("svg", { class: "sheet", "aria-hidden": "true" }, this.layer));
    known.listen("view", () => this.draw());
    known.listen("states", (moved) => this.paint(moved));
    for (const what of ["select", "find"]) known.listen(what, () => this.mark());
    this._hands();
    this.draw();
    new ResizeObserver(() => this.fit()).observe(this.node);
  }

  draw() {
    const { view } = this.known;
    this.cells = new Map();
    this.boxes = view.boxes.map((_, box) => this._box(box));
    this.arrows = view.arrows.map(([line, head, , , branch]) => svg("g", { class: `arrow ${branch === "ok" ? "" : "dashed"}` },
      svg("path", { class: "line", d: line }), svg("path", { class: "head", d: head })));
    const labels = view.arrows.filter((arrow) => arrow[5]).map(([, , , , , words, x, y, width]) =>
      svg("g", { class: "label", transform: `translate(${x} ${y})` }, svg("rect", { x: -width / 2, y: -8, width, height: 16, rx: 8 }), svg("text", { y: 3.5 }, words)));
    this.layer.replaceChildren(...this.arrows, ...this.boxes, ...labels);
    this.boxes.forEach((_, box) => this._fill(box));
    this.mark();
    this.fit();
  }

  _box(box) {
    const [x, y, width, height, kind] = this.known.view.boxes[box];
    const card = (name, off, grow = 0) => svg("rect", { class: name, x: off - grow, y: (grow ? -grow : -0.85 * off), width: width + 2 * grow, height: height + 2 * grow, rx: 10 + grow });
    const node = svg("g", { class: `box ${kind}`, transform: `translate(${x} ${y})`, "data-box": box },
      kind === "task" || kind === "tray" ? [] : [card("under", 7), card("under", 3.5)], card("card", 0), card("ring", 0, 3.5));
    if (kind === "task") return node;
    const tasks = plural(this.known.inside[box].length, "task");
    node.append(
      svg("g", { class: "open", "data-open": box, transform: `translate(${width - 30} 6)` },
        svg("rect", { width: 24, height: 24, rx: 6 }), use(this.id, kind === "tray" ? "minus" : "plus", { x: 5, y: 5, width: 14, height: 14 })),
      svg("text", { class: "name", x: 13, y: 22 }, clip(this.known.title(box), Math.floor((width - 62 - 6.2 * tasks.length) / 7.25))),
      svg("text", { class: "count", x: width - 36, y: 22, "text-anchor": "end" }, tasks));
    return node;
  }

  /** Draw what changes in a box. */
  _fill(box) {
    const { known, id } = this, node = this.boxes[box], live = svg("g", { class: "live" });
    const [, , width, height, kind, ref, across] = known.view.boxes[box];
    node.querySelector(".live")?.remove();
    node.append(live);
    if (kind === "task") {
      const state = known.state(ref);
      node.setAttribute("class", `box task s${state}`);
      live.append(use(id, state, { x: 12, y: (height - 18) / 2, width: 18, height: 18 }),
        svg("text", { class: "name", x: 40, y: 22 }, clip(known.name(ref), Math.floor((width - 50) / 7.25))),
        svg("text", { class: "word", x: 40, y: 39 }, known.word(ref)));
      if (!known.view.brief) live.append(svg("text", { class: "cid", x: width - 13, y: 39, "text-anchor": "end" }, known.short[ref]));
    } else if (kind === "tray") {
      known.inside[box].forEach((task, at) => {
        const place = { x: MARGIN + (at % across) * CELL, y: HEAD + Math.floor(at / across) * CELL, width: 15, height: 15 };
        const cell = use(id, known.state(task), { class: `cell s${known.state(task)}`, "data-task": task, ...place });
        cell.append(svg("title", {}, `${known.name(task)} ${known.short[task]}`));
        this.cells.set(task, cell);
        live.append(cell);
      });
    } else {
      const counts = known.counts(known.inside[box]);
      let at = 13, left = 13;
      for (const state of told(counts)) {
        const text = number(counts[state]), part = ((width - 26) * counts[state]) / known.inside[box].length;
        live.append(svg("rect", { class: `part s${state}`, x: left, y: height - 6, width: part, height: 3 }));
        left += part;
        if (at + 20 + 6.6 * text.length < width) {
          live.append(use(id, state, { class: `s${state}`, x: at, y: 29, width: 12, height: 12 }), svg("text", { class: "count", x: at + 16, y: 39 }, text));
        }
        at += 27 + 6.6 * text.length;
      }
    }
  }

  /** Draw tasks whose state has changed. */
  paint(moved) {
    const boxes = new Set();
    for (const task of moved) {
      const cell = this.cells.get(task), state = this.known.state(task);
      if (!cell) boxes.add(this.known.view.where[task]);
      else for (const [name, value] of [["class", `cell s${state}`], ["href", `#${this.id}-${state}`]]) cell.setAttribute(name, value);
    }
    for (const box of boxes) this._fill(box);
    this.mark();
  }

  /** Show what is selected, what was found, and which arrows belong to it. */
  mark() {
    const { known } = this, { found, hits, view } = known, chosen = known.box();
    this.boxes.forEach(({ classList }, box) => {
      classList.toggle("chosen", box === chosen);
      classList.toggle("dim", found !== null && !known.inside[box].some((task) => hits.has(task)));
    });
    for (const [task, { classList }] of this.cells) {
      classList.toggle("chosen", known.selected?.task === task);
      classList.toggle("dim", found !== null && !hits.has(task));
    }
    this.arrows.forEach(({ classList }, at) => {
      const [, , source, target] = view.arrows[at];
      classList.toggle("near", chosen >= 0 && (source === chosen || target === chosen));
      classList.toggle("flow", view.boxes[target][4] === "task" && known.state(view.boxes[target][5]) === 2);
    });
  }

  // --- where one looks ---

  _go(place, smooth = true) {
    this.place = place;
    this.layer.classList.toggle("smooth", smooth);
    this.layer.style.transform = `translate(${place.x}px, ${place.y}px) scale(${place.k})`;
    this.node.classList.toggle("far", place.k < 0.42);
  }

  _move(dx, dy, smooth) {
    this.touched = true;
    this._go({ ...this.place, x: this.place.x + dx, y: this.place.y + dy }, smooth);
  }

  /** See all of it, at real size or smaller; and stay so, until somebody moves it. */
  fit(asked = false) {
    const { width, height } = this.known.view, room = this.node.clientWidth;
    if (!room || (this.touched && !asked)) return;
    this.touched = false;
    const wide = Math.min(1, (room - 48) / (width + 10));
    this.node.style.minHeight = `${Math.max(150, Math.min(460, Math.round((height + 10) * wide) + 60))}px`;
    const high = this.node.clientHeight, k = Math.max(0.04, Math.min(wide, (high - 40) / (height + 10)));
    this._go({ k, x: (room - width * k) / 2, y: (high - height * k) / 2 + 3 * k }, asked);
  }

  reset() { this.touched = true; this._go({ x: 24, y: 24, k: 1 }); }

  zoom(by, [ax, ay] = [this.node.clientWidth / 2, this.node.clientHeight / 2], smooth = true) {
    this.touched = true;
    const { x, y, k } = this.place, next = Math.max(0.04, Math.min(3, k * by));
    this._go({ k: next, x: ax - ((ax - x) * next) / k, y: ay - ((ay - y) * next) / k }, smooth);
  }

  /** Bring what is selected into sight; as long as all of it is fitted, it is. */
  reveal() {
    const box = this.known.box(), { x, y, k } = this.place;
    if (box < 0 || !this.touched) return;
    const [left, top, width, height] = this.known.view.boxes[box].map((value) => value * k);
    const shift = (from, size, room) => (from < 8 ? 24 - from : Math.min(0, Math.max(room - 24 - from - size, 24 - from)));
    this._move(shift(left + x, width, this.node.clientWidth), shift(top + y, height, this.node.clientHeight), true);
  }

  // --- hands ---

  _hands() {
    const { node, known } = this;
    const at = (event) => { const all = node.getBoundingClientRect(); return [event.clientX - all.left, event.clientY - all.top]; };
    const on = (event, name) => { const found = event.target.closest?.(`[data-${name}]`); return found ? Number(found.dataset[name]) : -1; };
    let from = null;
    const release = (event) => {
      node.classList.remove("held");
      const pressed = from && !from.moved && event.type === "pointerup";
      from = null;
      if (!pressed) return;
      if (on(event, "open") >= 0) known.open(on(event, "open"));
      else if (on(event, "task") >= 0) known.pick({ task: on(event, "task") });
      else if (on(event, "box") >= 0) known.pickBox(on(event, "box"));
      else known.pick(null);
    };
    const hands = {
      pointerdown: (event) => { if (event.button === 0) from = { at: at(event), moved: false }; },
      pointermove: (event) => {
        if (!from) return;
        const [x, y] = at(event), [dx, dy] = [x - from.at[0], y - from.at[1]];
        if (!from.moved && Math.hypot(dx, dy) < 4) return;
        if (!from.moved) node.setPointerCapture(event.pointerId);
        from = { at: [x, y], moved: true };
        node.classList.add("held");
        this._move(dx, dy, false);
      },
      pointerup: release, pointercancel: release,
      dblclick: (event) => { if (on(event, "box") >= 0 && on(event, "open") < 0) known.open(on(event, "box")); },
    };
    for (const [name, hand] of Object.entries(hands)) node.addEventListener(name, hand);
    node.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return; // a plain wheel scrolls the notebook
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 300), at(event), false);
    }, { passive: false });
    const moves = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
    const acts = { "+": () => this.zoom(1.25), "=": () => this.zoom(1.25), "-": () => this.zoom(0.8), 0: () => this.fit(true), 1: () => this.reset(), Escape: () => known.pick(null) };
    keys(node, ({ key }) => (moves[key] ? this._move(...moves[key], true) : acts[key] ? acts[key]() : false));
  }
}
