// The list beside the graph: the same tasks as a tree, for keyboards and for readers of screens.

import { html, icon, number, plural } from "./dom.js";
import { ORDER } from "./graph.js";

const PAGE = 200; // tasks of a function that are listed at a time

export class Tree {
  constructor(known, id) {
    this.known = known;
    this.id = id;
    this.node = html("div", { class: "tree", role: "tree", "aria-label": "Tasks" });
    this.open = new Set(known.kinds.length === 1 ? [0] : known.opened);
    this.shown = known.kinds.map(() => PAGE);
    this.at = null; // the key of the row that Tab reaches
    known.listen("states", (moved) => this.paint(moved));
    known.listen("opened", (kind) => { if (known.opened.has(kind)) this.open.add(kind); else this.open.delete(kind); this.draw(); });
    known.listen("find", () => this.draw());
    known.listen("select", () => this.mark(true));
    this.node.addEventListener("click", (event) => this._press(event));
    this.node.addEventListener("keydown", (event) => this._key(event));
    this.draw();
  }

  draw() {
    const { known } = this;
    const rows = [];
    this.rows = new Map();
    const add = (key, level, attributes, ...inside) => {
      const row = html("div", { role: "treeitem", class: `row l${level}`, "aria-level": level, tabindex: -1, "data-row": key, ...attributes }, inside);
      this.rows.set(key, row);
      rows.push(row);
    };
    known.kinds.forEach(([name], kind) => {
      const tasks = known.found ? known.members[kind].filter((task) => known.hits.has(task)) : known.members[kind];
      const open = known.found !== null || this.open.has(kind);
      if (!tasks.length) return;
      if (known.members[kind].length === 1) return add(`t${tasks[0]}`, 1, {});
      add(`k${kind}`, 1, { "aria-expanded": open }, html("span", { class: "turn" }, icon(this.id, "open", 12)),
        html("span", { class: "name" }, name), html("span", { class: "many" }, number(tasks.length)), html("span", { class: "bar" }));
      if (!open) return;
      for (const task of tasks.slice(0, this.shown[kind])) add(`t${task}`, 2, {});
      const left = tasks.length - this.shown[kind];
      if (left > 0) add(`m${kind}`, 2, {}, html("span", { class: "more" }, `${number(left)} more …`));
    });
    if (!rows.length) rows.push(html("div", { class: "none", role: "treeitem" }, "nothing found"));
    this.node.replaceChildren(...rows);
    for (const key of this.rows.keys()) this._fill(key);
    this.mark(false);
  }

  _fill(key) {
    const row = this.rows.get(key), { known } = this, at = Number(key.slice(1));
    if (key[0] === "t") {
      row.className = `row l${row.getAttribute("aria-level")} s${known.state(at)}`;
      row.setAttribute("aria-label", `${known.name(at)} ${known.short[at]}, ${known.word(at)}`);
      row.title = known.word(at);
      row.replaceChildren(icon(this.id, known.state(at), 14), html("span", { class: "name" }, known.name(at)), html("span", { class: "cid" }, known.short[at]));
    } else if (key[0] === "k") {
      const counts = known.counts(known.members[at]), total = known.members[at].length;
      const told = ORDER.filter((state) => counts[state]);
      row.setAttribute("aria-label", `${known.kinds[at][0]}, ${plural(total, "task")}: ${told.map((s) => `${number(counts[s])} ${known.about.states[s]}`).join(", ")}`);
      row.querySelector(".bar").replaceChildren(...told.map((state) => html("i", { class: `s${state}`, style: `flex:${counts[state]}` })));
    }
  }

  paint(moved) {
    const keys = new Set();
    for (const task of moved) { keys.add(`t${task}`); keys.add(`k${this.known.kindOf[task]}`); }
    for (const key of keys) if (this.rows.has(key)) this._fill(key);
  }

  /** Show which row is selected, and let Tab come to it. */
  mark(bring) {
    const { known } = this, chosen = known.selected;
    const box = chosen?.box?.match(/^(?:pile|tray):(\d+)$/);
    let key = chosen?.task !== undefined ? `t${chosen.task}` : box ? `k${box[1]}` : null;
    if (bring && chosen?.task !== undefined && !this.rows.has(key) && known.found === null) {
      this.open.add(known.kindOf[chosen.task]); // it is opened here alone; the graph stays as it is
      return this.draw(), this.mark(true);
    }
    for (const [name, row] of this.rows) row.setAttribute("aria-selected", name === key);
    if (!this.rows.has(key)) key = this.rows.has(this.at) ? this.at : this.rows.keys().next().value;
    this._reach(key);
    const row = this.rows.get(key);
    if (bring && chosen && row) {
      const [top, bottom] = [row.offsetTop, row.offsetTop + row.offsetHeight];
      if (top < this.node.scrollTop) this.node.scrollTop = top - 8;
      else if (bottom > this.node.scrollTop + this.node.clientHeight) this.node.scrollTop = bottom - this.node.clientHeight + 8;
    }
  }

  _reach(key) {
    this.rows.get(this.at)?.setAttribute("tabindex", -1);
    this.at = key;
    this.rows.get(key)?.setAttribute("tabindex", 0);
  }

  _press(event) {
    const key = event.target.closest("[data-row]")?.dataset.row;
    if (key) this._do(key, event.target.closest(".turn") !== null);
  }

  _do(key, turn) {
    const { known } = this, at = Number(key.slice(1));
    if (key[0] === "m") this._more(at);
    else if (key[0] === "t") known.pick({ task: at });
    else if (turn) known.toggle(at, !this.open.has(at));
    else known.pick({ box: known.opened.has(at) ? `tray:${at}` : `pile:${at}` });
    this._focus(key);
  }

  _more(kind) { this.shown[kind] += PAGE; this.draw(); }

  _focus(key) {
    if (!this.rows.has(key)) return;
    this._reach(key);
    this.rows.get(key).focus({ preventScroll: true });
    this.rows.get(key).scrollIntoView?.({ block: "nearest" });
  }

  _key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const keys = [...this.rows.keys()], key = event.target.dataset?.row, at = keys.indexOf(key), kind = Number(key?.slice(1));
    const expanded = this.rows.get(key)?.getAttribute("aria-expanded");
    const letter = event.key.length === 1 && /\S/.test(event.key) ? event.key.toLowerCase() : "";
    if (event.key === "ArrowDown") this._focus(keys[at + 1]);
    else if (event.key === "ArrowUp") this._focus(keys[at - 1]);
    else if (event.key === "Home") this._focus(keys[0]);
    else if (event.key === "End") this._focus(keys.at(-1));
    else if (event.key === "ArrowRight" && expanded === "true") this._focus(keys[at + 1]);
    else if (event.key === "ArrowRight" && expanded === "false") { this.known.toggle(kind, true); this._focus(key); }
    else if (event.key === "ArrowLeft" && expanded === "true") { this.known.toggle(kind, false); this._focus(key); }
    else if (event.key === "ArrowLeft" && key[0] !== "k") this._focus(`k${key[0] === "t" ? this.known.kindOf[kind] : kind}`);
    else if (event.key === "Enter" || event.key === " ") this._do(key, false);
    else if (event.key === "Escape" && this.known.selected) this.known.pick(null);
    else if (letter) this._focus([...keys.slice(at + 1), ...keys.slice(0, at)].find((other) => this.rows.get(other).getAttribute("aria-label")?.toLowerCase().startsWith(letter)));
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
