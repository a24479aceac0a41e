// The list beside the graph: the same tasks as a tree, for keyboards and for readers of screens.

import { html, icon, keys, number, plural, shares, told } from "./dom.js";

const PAGE = 200; // tasks of a function that are listed at a time

export class Tree {
  constructor(known, id) {
    Object.assign(this, { known, id, open: new Set(known.opened), shown: known.kinds.map(() => PAGE), at: null }); // `at`: where Tab goes
    this.node = html("div", { class: "tree", role: "tree", "aria-label": "Tasks" });
    known.listen("states", (moved) => {
      const changed = new Set(moved.flatMap((task) => [`t${task}`, `k${known.kindOf[task]}`]));
      for (const key of changed) if (this.rows.has(key)) this._fill(key);
    });
    known.listen("opened", (kind) => { this.open[known.opened.has(kind) ? "add" : "delete"](kind); this.draw(); });
    known.listen("find", () => this.draw());
    known.listen("select", () => this.mark(true));
    this.node.addEventListener("click", ({ target }) => {
      const key = target.closest("[data-row]")?.dataset.row;
      if (key) this._do(key, target.closest(".turn"));
    });
    keys(this.node, (event) => this._key(event.key, event.target.dataset.row));
    this.draw();
  }

  draw() {
    const { known } = this;
    this.rows = new Map();
    const add = (key, level, attributes) =>
      this.rows.set(key, html("div", { role: "treeitem", "aria-level": level, tabindex: -1, "data-row": key, class: `row l${level}`, ...attributes }));
    known.members.forEach((members, kind) => {
      const tasks = known.found ? members.filter((task) => known.hits.has(task)) : members;
      const open = known.found !== null || this.open.has(kind);
      if (!tasks.length) return;
      if (members.length > 1) add(`k${kind}`, 1, { "aria-expanded": open });
      else return add(`t${tasks[0]}`, 1);
      if (open) tasks.slice(0, this.shown[kind]).forEach((task) => add(`t${task}`, 2));
      if (open && tasks.length > this.shown[kind]) add(`m${kind}`, 2);
    });
    this.node.replaceChildren(...(this.rows.size ? this.rows.values() : [html("div", { class: "row", role: "treeitem" }, "nothing found")]));
    for (const key of this.rows.keys()) this._fill(key);
    this.mark(false);
  }

  _fill(key) {
    const row = this.rows.get(key), { known, id } = this, at = Number(key.slice(1));
    const name = (text) => html("span", { class: "name" }, text);
    let label;
    if (key[0] === "t") {
      label = `${known.name(at)} ${known.short[at]}, ${known.word(at)}`;
      row.className = `row l${row.ariaLevel} s${known.state(at)}`;
      row.replaceChildren(icon(id, known.state(at), 14), name(known.name(at)), html("span", { class: "cid" }, known.short[at]));
    } else if (key[0] === "k") {
      const counts = known.counts(known.members[at]), total = known.members[at].length;
      label = `${known.kinds[at][0]}, ${plural(total, "task")}: ${told(counts).map((state) => `${number(counts[state])} ${known.words[state]}`).join(", ")}`;
      row.replaceChildren(html("span", { class: "turn" }, icon(id, "open", 12)), name(known.kinds[at][0]), html("span", { class: "many" }, number(total)),
        html("span", { class: "bar" }, shares(counts)));
    } else {
      row.replaceChildren(html("span", { class: "many" }, label = "more …"));
    }
    row.title = row.ariaLabel = label;
  }

  /** Show which row is selected, and let Tab come to it. */
  mark(bring) {
    const { known } = this, { task, box } = known.selected ?? {};
    const key = task !== undefined ? `t${task}` : box?.replace(/^(pile|tray):/, "k");
    if (bring && task !== undefined && !this.rows.has(key) && !known.found) {
      this.open.add(known.kindOf[task]); // here alone: the graph stays as it is
      this.draw();
    }
    for (const [name, row] of this.rows) row.ariaSelected = name === key;
    this._reach([key, this.at, ...this.rows.keys()].find((name) => this.rows.has(name)));
    const row = this.rows.get(key);
    if (!bring || !row) return;
    const below = row.offsetTop + row.offsetHeight + 8 - this.node.clientHeight;
    this.node.scrollTop = Math.max(below, Math.min(this.node.scrollTop, row.offsetTop - 8));
  }

  _reach(key) {
    this.rows.get(this.at)?.setAttribute("tabindex", -1);
    this.rows.get(this.at = key)?.setAttribute("tabindex", 0);
  }

  _focus(key) {
    if (!this.rows.has(key)) return;
    this._reach(key);
    this.rows.get(key).focus();
  }

  _do(key, turn) {
    const { known } = this, at = Number(key.slice(1));
    if (key[0] === "m") { this.shown[at] += PAGE; this.draw(); }
    else if (key[0] === "t") known.pick({ task: at });
    else if (turn) known.toggle(at, !this.open.has(at));
    else known.pick({ box: `${known.opened.has(at) ? "tray" : "pile"}:${at}` });
    this._focus(key);
  }

  _key(pressed, key) {
    const names = [...this.rows.keys()], at = names.indexOf(key), number = Number(key?.slice(1)), expanded = this.rows.get(key)?.ariaExpanded;
    const turn = (wanted) => { this.known.toggle(number, wanted); this._focus(key); };
    const acts = {
      ArrowDown: () => this._focus(names[at + 1]), ArrowUp: () => this._focus(names[at - 1]),
      Home: () => this._focus(names[0]), End: () => this._focus(names.at(-1)),
      ArrowRight: () => (expanded === "true" ? this._focus(names[at + 1]) : expanded && turn(true)),
      ArrowLeft: () => (expanded === "true" ? turn(false) : this._focus(`k${key[0] === "t" ? this.known.kindOf[number] : number}`)),
      Enter: () => this._do(key), " ": () => this._do(key), Escape: () => this.known.pick(null),
    };
    if (acts[pressed]) return acts[pressed]();
    if (!/^\S$/.test(pressed)) return false;
    const starts = (name) => this.rows.get(name).ariaLabel.toLowerCase().startsWith(pressed.toLowerCase());
    this._focus([...names.slice(at + 1), ...names.slice(0, at)].find(starts));
  }
}
