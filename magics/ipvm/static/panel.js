// The panel: what is known of the task that is selected. It is asked for when it is looked at.

import { button, html, icon, number, plural, tally } from "./dom.js";

export class Panel {
  constructor(known, id) {
    Object.assign(this, { known, id, head: html("header"), body: html("div", { class: "body" }) });
    this.node = html("section", { class: "panel", "aria-label": "Details", tabindex: 0, hidden: "" }, this.head, this.body);
    known.listen("select", () => { this.node.scrollTop = 0; this.draw(); });
    for (const what of ["details", "view", "states"]) known.listen(what, () => this.draw(what === "states"));
  }

  draw(moved) {
    const { known } = this, { task } = known.selected ?? {}, box = known.box();
    this.node.hidden = box < 0;
    if (box < 0) return;
    if (task === undefined) return this._group(box);
    this._task(task);
    if (moved) return; // its details are asked for anew, and drawn when they come
    const asked = known.details?.task === task;
    this.body.replaceChildren(...(asked ? known.details.sections.map((section) => this._section(section)) : [html("p", { class: "quiet" }, "…")]));
  }

  _top(state, title, word, acts) {
    const close = button(this.id, "close", "", "Close the panel", () => this.known.pick(null));
    this.head.replaceChildren(
      html("div", { class: `title ${state === null ? "" : `s${state}`}` }, state === null ? null : icon(this.id, state, 20),
        html("div", {}, html("h3", {}, title), html("p", { class: "word" }, word)), close),
      html("div", { class: "acts" }, acts.map(([name, does]) => button(this.id, "", name, name, does))));
  }

  _group(box) {
    const { known } = this, tasks = known.inside[box], tray = known.view.boxes[box][4] === "tray";
    this._top(null, known.title(box), plural(tasks.length, "task"), [[tray ? "Close" : "Open", () => known.open(box)]]);
    this.body.replaceChildren(tally(this.id, known.counts(tasks), known.words));
  }

  _task(task) {
    const { known } = this, kind = known.kindOf[task], size = known.members[kind].length, acts = [];
    if (known.about.cancel && known.state(task) < 3) acts.push(["Cancel task", () => known.ask({ do: "cancel", task })]);
    const { awaits, used } = known.details?.task === task ? known.details : {};
    for (const [side, word, many] of [["before", "ancestors", awaits], ["after", "descendants", used]]) {
      const folded = known.folded(task, side);
      if (many || folded) acts.push([`${folded ? "Show" : "Fold"} ${word}`, () => known.fold(task, side, !folded)]);
    }
    if (size > 1 && known.opened.has(kind)) acts.push([`Fold all ${number(size)} of ${known.name(task)}`, () => known.toggle(kind, false)]);
    this._top(known.state(task), known.name(task), known.word(task), acts);
  }

  _section({ title, rows }) {
    return html("section", {}, html("h4", {}, title), html("dl", {}, rows.map(([name, blocks]) =>
      html("div", { class: name ? "pair" : null }, name ? html("dt", {}, name) : null, html("dd", {}, blocks.map((block) => this._block(block)))))));
  }

  _block({ as, text, ...block }) {
    const row = (tag, cells, attributes = () => ({})) => html("tr", {}, cells.map((cell, at) => html(tag, attributes(at), cell)));
    switch (as) {
      case "image": // only an address that holds its own bytes; as the source of an image, nothing in it can act
        return /^data:image\/(png|gif|jpeg|webp|svg\+xml);base64,/.test(block.src)
          ? html("figure", {}, html("img", { src: block.src, alt: block.alt }), html("figcaption", {}, block.note)) : html("p", {}, block.alt);
      case "pre": return html("pre", { tabindex: 0 }, text);
      case "error": return html("p", { class: "error s5" }, icon(this.id, 5, 14), html("span", {}, text));
      case "table":
        return html("div", { class: "wide", tabindex: 0, role: "group", "aria-label": "Table" }, html("table", {},
          block.heads.length ? html("thead", {}, row("th", block.heads, () => ({ scope: "col" }))) : null,
          html("tbody", {}, block.rows.map((cells) => row("td", cells, (at) => ({ class: block.numeric[at] ? "right" : null }))))));
      case "task":
        return html("button", { type: "button", class: "link", onclick: () => this.known.pick({ task: block.task }) },
          `${block.branch}${this.known.name(block.task)} `, html("span", { class: "cid" }, this.known.short[block.task]));
      case "cid": {
        const code = html("code", {}, text), copy = button(this.id, "copy", "", `Copy the CID of the ${block.what}`, async () => {
          getSelection().selectAllChildren(code);
          await navigator.clipboard?.writeText(text).catch(() => {}); // where a page may not, it is selected
          copy.replaceChildren(icon(this.id, "tick"));
        });
        return html("span", { class: "copy" }, code, copy);
      }
      default: return html("p", { class: as === "note" ? "quiet" : "line" }, text);
    }
  }
}
