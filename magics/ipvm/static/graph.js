// The graph: boxes and arrows where Python put them, to be moved, enlarged and selected.

import { clip, html, number, plural, svg } from "./dom.js";

const CELL = 18, MARGIN = 12, HEAD = 34;
const SMALLEST = 0.04, LARGEST = 3;

export class Graph {
  constructor(known, id) {
    this.known = known;
    this.id = id;
    this.layer = svg("g", { class: "layer" });
    this.svg = svg("svg", { class: "sheet", "aria-hidden": "true" }, this.layer);
    this.tip = html("div", { class: "tip", hidden: true });
    this.node = html("div", {
      class: "graph", tabindex: 0, role: "group",
      "aria-label": "Graph. Arrow keys go from task to task, Enter opens, plus and minus zoom, 0 fits.",
    }, this.svg, this.tip);
    this.place = { x: 0, y: 0, k: 1 };
    this.touched = false; // until somebody moves it, it fits itself
    known.listen("view", () => this.draw());
    known.listen("states", (moved) => this.paint(moved));
    known.listen("select", () => this.mark());
    known.listen("find", () => this.mark());
    this._hands();
    this.draw();
    new ResizeObserver(() => { if (!this.touched) this.fit(); }).observe(this.node);
  }

  draw() {
    const { view } = this.known;
    this.boxes = view.boxes.map((_, box) => this._box(box));
    this.cells = new Map();
    this.arrows = view.arrows.map(([line, head, , , branch]) =>
      svg("g", { class: `arrow${branch === "ok" ? "" : " dashed"}` }, svg("path", { class: "line", d: line }), svg("path", { class: "head", d: head })));
    const labels = view.arrows.filter(([, , , , , words]) => words).map(([, , , , , words, x, y, wide]) =>
      svg("g", { class: "label", transform: `translate(${x} ${y})` },
        svg("rect", { x: -wide / 2, y: -8, width: wide, height: 16, rx: 8 }), svg("text", { y: 3.5 }, words)));
    this.layer.replaceChildren(...this.arrows, ...this.boxes, ...labels);
    view.boxes.forEach((_, box) => this._fill(box));
    this.mark();
    if (!this.touched) this.fit();
  }

  _box(box) {
    const [x, y, width, height, kind, ref] = this.known.view.boxes[box];
    const node = svg("g", { class: `box ${kind}`, transform: `translate(${x} ${y})`, "data-box": box });
    const card = (dx, dy, name) => svg("rect", { class: name, x: dx, y: dy, width, height, rx: 10 });
    const parts = kind === "task" || kind === "tray" ? [] : [card(7, -6, "under"), card(3.5, -3, "under")];
    parts.push(card(0, 0, "card"), svg("rect", { class: "ring", x: -3.5, y: -3.5, width: width + 7, height: height + 7, rx: 13 }));
    node.append(...parts);
    if (kind === "task") return node;
    const side = kind === "tray" ? "minus" : "plus";
    node.append(svg("g", { class: "open", "data-open": box, transform: `translate(${width - 30} 8)` },
      svg("rect", { width: 22, height: 22, rx: 6 }), svg("use", { href: `#${this.id}-${side}`, x: 4, y: 4, width: 14, height: 14 })));
    const name = kind === "pile" || kind === "tray" ? this.known.kinds[ref][0] : `${kind} ${this.known.name(ref)}`;
    const tasks = plural(this.known.inside[box].length, "task");
    node.append(svg("text", { class: "name", x: 13, y: 22 }, clip(name, Math.floor((width - 62 - 6.2 * tasks.length) / 7.25))),
      svg("text", { class: "count", x: width - 38, y: 22, "text-anchor": "end" }, tasks));
    return node;
  }

  _fill(box) {
    const { known } = this;
    const node = this.boxes[box];
    const [, , width, height, kind, ref, across] = known.view.boxes[box];
    node.querySelectorAll(".live").forEach((old) => old.remove());
    if (kind === "task") {
      const state = known.state(ref);
      node.setAttribute("class", `box task s${state}`);
      node.append(svg("g", { class: "live" },
        svg("use", { href: `#${this.id}-${state}`, x: 12, y: (height - 18) / 2, width: 18, height: 18, class: "ic" }),
        svg("text", { class: "name", x: 40, y: 22 }, clip(known.name(ref), Math.floor((width - 50) / 7.25))),
        svg("text", { class: "word", x: 40, y: 39 }, known.word(ref)),
        svg("text", { class: "cid", x: width - 13, y: 39, "text-anchor": "end" }, known.short[ref])));
    } else if (kind === "tray") {
      const cells = known.inside[box].map((task) => {
        const at = known.view.cells[task], state = known.state(task);
        const cell = svg("use", { class: `cell s${state}`, "data-task": task, href: `#${this.id}-${state}`,
          x: MARGIN + (at % across) * CELL, y: HEAD + Math.floor(at / across) * CELL, width: 15, height: 15 });
        this.cells.set(task, cell);
        return cell;
      });
      node.append(svg("g", { class: "live" }, cells));
    } else {
      this._counts(box, node, width, height);
    }
  }

  _counts(box, node, width, height) {
    const { known } = this;
    const counts = known.counts(known.inside[box]), total = known.inside[box].length;
    const live = svg("g", { class: "live" });
    let at = 13, left = 13;
    for (const state of ORDER) {
      if (!counts[state]) continue;
      const text = number(counts[state]);
      if (at + 20 + 6.6 * text.length < width - 8) {
        live.append(svg("use", { class: `s${state}`, href: `#${this.id}-${state}`, x: at, y: 29, width: 12, height: 12 }),
          svg("text", { class: "count", x: at + 16, y: 39 }, text));
      }
      at += 27 + 6.6 * text.length;
      const part = ((width - 26) * counts[state]) / total;
      live.append(svg("rect", { class: `part s${state}`, x: left, y: height - 6, width: part, height: 3 }));
      left += part;
    }
    node.append(live);
  }

  /** Draw tasks whose state has changed. */
  paint(moved) {
    const { known } = this;
    const boxes = new Set();
    for (const task of moved) {
      const cell = this.cells.get(task);
      if (cell) {
        cell.setAttribute("class", `cell s${known.state(task)}`);
        cell.setAttribute("href", `#${this.id}-${known.state(task)}`);
      } else boxes.add(known.view.where[task]);
    }
    for (const box of boxes) this._fill(box);
    this.mark();
  }

  /** Show what is selected, what was found, and which arrows belong to it. */
  mark() {
    const { known } = this;
    const chosen = known.box(), { found, hits } = known;
    this.boxes.forEach((node, box) => {
      node.classList.toggle("chosen", box === chosen);
      node.classList.toggle("dim", found !== null && !known.inside[box].some((task) => hits.has(task)));
    });
    for (const [task, cell] of this.cells) {
      cell.classList.toggle("chosen", known.selected?.task === task);
      cell.classList.toggle("dim", found !== null && !hits.has(task));
    }
    this.arrows.forEach((node, at) => {
      const [, , source, target] = known.view.arrows[at];
      node.classList.toggle("near", chosen >= 0 && (source === chosen || target === chosen));
      const [, , , , kind, ref] = known.view.boxes[target];
      node.classList.toggle("flow", kind === "task" && known.state(ref) === 2);
    });
  }

  // --- where one looks ---

  _apply(smooth = false) {
    const { x, y, k } = this.place;
    this.layer.classList.toggle("smooth", smooth);
    this.layer.style.transform = `translate(${x}px, ${y}px) scale(${k})`;
    this.node.classList.toggle("far", k < 0.42);
  }

  fit(smooth = false) {
    const { width, height } = this.known.view;
    const room = this.node.clientWidth;
    if (!room) return;
    const wide = Math.min(1, (room - 48) / (width + 10));
    const lines = Math.max(150, Math.min(460, Math.round((height + 10) * wide) + 60));
    if (!this.touched) this.node.style.minHeight = `${lines}px`;
    const high = this.node.clientHeight || lines;
    const k = Math.max(SMALLEST, Math.min(wide, (high - 40) / (height + 10)));
    this.place = { k, x: (room - width * k) / 2, y: (high - height * k) / 2 + 3 * k };
    this._apply(smooth);
  }

  refit() { this.touched = false; this.fit(true); }

  reset() { this.touched = true; this.place = { x: 24, y: 24, k: 1 }; this._apply(true); }

  zoom(by, at = [this.node.clientWidth / 2, this.node.clientHeight / 2], smooth = true) {
    this.touched = true;
    const { x, y, k } = this.place;
    const next = Math.max(SMALLEST, Math.min(LARGEST, k * by));
    this.place = { k: next, x: at[0] - ((at[0] - x) * next) / k, y: at[1] - ((at[1] - y) * next) / k };
    this._apply(smooth);
  }

  /** Bring a box into sight, if it is not. */
  reveal(box) {
    if (box < 0) return;
    const [left, top, width, height] = this.known.view.boxes[box];
    const { x, y, k } = this.place;
    const [w, h] = [this.node.clientWidth, this.node.clientHeight];
    const shift = (from, size, room) => (from < 8 ? 24 - from : from + size > room - 8 ? Math.max(24 - from, room - 24 - from - size) : 0);
    const [dx, dy] = [shift(left * k + x, width * k, w), shift(top * k + y, height * k, h)];
    if (dx || dy) { this.touched = true; this.place = { k, x: x + dx, y: y + dy }; this._apply(true); }
  }

  // --- hands ---

  _at(event) { const all = this.node.getBoundingClientRect(); return [event.clientX - all.left, event.clientY - all.top]; }

  _hands() {
    let from = null;
    this.node.addEventListener("pointerdown", (event) => {
      if (event.button === 0) from = { at: this._at(event), place: this.place, moved: false, id: event.pointerId };
    });
    this.node.addEventListener("pointermove", (event) => {
      this._hover(event);
      if (!from) return;
      const [x, y] = this._at(event), [dx, dy] = [x - from.at[0], y - from.at[1]];
      if (!from.moved && Math.hypot(dx, dy) < 4) return;
      if (!from.moved) this.node.setPointerCapture(from.id);
      from.moved = this.touched = true;
      this.node.classList.add("held");
      this.place = { ...from.place, x: from.place.x + dx, y: from.place.y + dy };
      this._apply();
    });
    const release = (event) => {
      this.node.classList.remove("held");
      if (from && !from.moved && event.type === "pointerup") this._press(event);
      from = null;
    };
    this.node.addEventListener("pointerup", release);
    this.node.addEventListener("pointercancel", release);
    this.node.addEventListener("pointerleave", () => { this.tip.hidden = true; });
    this.node.addEventListener("dblclick", (event) => {
      const box = event.target.closest?.("[data-box]");
      if (box && !event.target.closest("[data-open]")) this.known.open(Number(box.dataset.box));
    });
    this.node.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return; // a plain wheel scrolls the notebook
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 300), this._at(event), false);
    }, { passive: false });
    this.node.addEventListener("keydown", (event) => this._key(event));
  }

  _press(event) {
    const on = (name) => event.target.closest?.(`[data-${name}]`)?.dataset[name];
    if (on("open") !== undefined) this.known.open(Number(on("open")));
    else if (on("task") !== undefined) this.known.pick({ task: Number(on("task")) });
    else if (on("box") !== undefined) this.known.pickBox(Number(on("box")));
    else this.known.pick(null);
  }

  _hover(event) {
    const task = event.target.closest?.("[data-task]")?.dataset.task;
    this.tip.hidden = task === undefined;
    if (task === undefined) return;
    this.tip.textContent = `${this.known.name(task)} ${this.known.short[task]} · ${this.known.word(task)}`;
    const [x, y] = this._at(event);
    this.tip.style.transform = `translate(${Math.min(x + 12, this.node.clientWidth - this.tip.offsetWidth - 4)}px, ${y + 16}px)`;
  }

  _key(event) {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const { known } = this;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (way) this._step(way);
    else if (event.key === "+" || event.key === "=") this.zoom(1.25);
    else if (event.key === "-") this.zoom(0.8);
    else if (event.key === "0") this.refit();
    else if (event.key === "1") this.reset();
    else if ((event.key === "Enter" || event.key === " ") && known.box() >= 0) known.open(known.box());
    else if (event.key === "Escape" && known.selected) known.pick(null);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** Select the nearest box in a direction; cells of a tray are left to the list. */
  _step([dx, dy]) {
    const { known } = this;
    const middle = ([x, y, width, height]) => [x + width / 2, y + height / 2];
    const here = known.box();
    let next = here < 0 ? 0 : -1, least = Infinity;
    const [hx, hy] = here < 0 ? [0, 0] : middle(known.view.boxes[here]);
    if (here >= 0) {
      known.view.boxes.forEach((box, at) => {
        const [x, y] = middle(box), along = (x - hx) * dx + (y - hy) * dy, aside = Math.abs((x - hx) * dy) + Math.abs((y - hy) * dx);
        const far = along + 2.5 * aside;
        if (at !== here && along > 1 && far < least) [next, least] = [at, far];
      });
    }
    if (next >= 0 && known.view.boxes.length) { known.pickBox(next); this.reveal(next); }
  }
}

/** The states as they are told: those that need a look first, then ends, then what is still to come. */
export const ORDER = [5, 9, 2, 3, 4, 6, 8, 7, 1, 0];
