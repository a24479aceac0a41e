// The panel beside the graph: what is known of the task that is selected. It is asked for when it is looked at.

import { button, html, icon, number, plural } from "./dom.js";
import { ORDER } from "./graph.js";

export class Panel {
  constructor(known, id) {
    this.known = known;
    this.id = id;
    this.node = html("section", { class: "panel", "aria-label": "Details", tabindex: -1, hidden: true });
    for (const what of ["select", "details", "view"]) known.listen(what, () => this.draw(what));
    known.listen("states", () => this._head());
  }

  draw(what) {
    const { known } = this, chosen = known.selected;
    this.node.hidden = !chosen;
    if (!chosen) return this.node.replaceChildren();
    if (what === "view" && chosen.box === undefined) return this._head();
    this.head = html("header", {});
    this.body = html("div", { class: "body" });
    this.node.replaceChildren(this.head, this.body);
    if (what === "select") this.node.scrollTop = 0;
    this._head();
    if (chosen.task === undefined) this._group();
    else if (known.details?.task === chosen.task) this.body.replaceChildren(...known.details.sections.map((section) => this._section(section)));
    else this.body.replaceChildren(html("p", { class: "quiet" }, "…"));
  }

  _head() {
    const { known } = this, task = known.selected?.task;
    if (!this.head || !known.selected) return;
    const close = button(this.id, "close", "", "Close the panel", () => known.pick(null), { class: "bare" });
    if (task === undefined) return this._groupHead(close);
    const acts = [];
    const act = (word, does) => acts.push(button(this.id, "", word, word, does));
    if (known.about.cancel && known.active(task)) act("Cancel task", () => known.ask({ do: "cancel", task }));
    const { awaits, used } = known.details?.task === task ? known.details : {};
    for (const [side, word, many] of [["before", "ancestors", awaits], ["after", "descendants", used]]) {
      const folded = known.folded(task, side);
      if (many || folded) act(`${folded ? "Show" : "Fold"} ${word}`, () => known.fold(task, side, !folded));
    }
    const kind = known.kindOf[task], size = known.members[kind].length;
    if (size > 1 && known.opened.has(kind)) act(`Fold all ${number(size)} of ${known.name(task)}`, () => known.toggle(kind, false));
    this.head.replaceChildren(
      html("div", { class: `title s${known.state(task)}` }, icon(this.id, known.state(task), 20),
        html("div", {}, html("h3", {}, known.name(task)), html("p", { class: "word" }, known.word(task))), close),
      html("div", { class: "acts" }, acts));
  }

  _groupHead(close) {
    const { known } = this, box = known.box();
    if (box < 0) return this.head.replaceChildren(html("div", { class: "title" }, html("h3", {}, "it is open now"), close));
    const [, , , , kind, ref] = known.view.boxes[box], tasks = known.inside[box];
    const name = kind === "pile" || kind === "tray" ? known.kinds[ref][0] : `${kind} ${known.name(ref)}`;
    this.head.replaceChildren(
      html("div", { class: "title" }, html("div", {}, html("h3", {}, name), html("p", { class: "word" }, plural(tasks.length, "task"))), close),
      html("div", { class: "acts" }, button(this.id, "", kind === "tray" ? "Close" : "Open", kind === "tray" ? "Close" : "Open", () => known.open(box))));
    const counts = known.counts(tasks);
    this.body.replaceChildren(html("ul", { class: "counts" }, ORDER.filter((state) => counts[state]).map((state) =>
      html("li", { class: `s${state}` }, icon(this.id, state, 14), `${number(counts[state])} ${known.about.states[state]}`))));
  }

  _group() { this._head(); }

  _section({ title, rows, fold }) {
    const inside = rows.map(([name, blocks]) =>
      html("div", { class: name ? "pair" : "alone" }, name ? html("dt", {}, name) : null, html("dd", {}, blocks.map((block) => this._block(block)))));
    const list = html("dl", {}, inside);
    return fold ? html("details", {}, html("summary", {}, title), list) : html("section", {}, html("h4", {}, title), list);
  }

  _block(block) {
    switch (block.as) {
      case "image": // an address that holds its own bytes; as the source of an image, nothing in it can act
        return /^data:image\/(png|gif|jpeg|webp|svg\+xml);base64,/.test(block.src)
          ? html("figure", {}, html("img", { src: block.src, alt: block.alt }), block.note ? html("figcaption", {}, block.note) : null)
          : html("p", {}, block.alt);
      case "pre": return html("pre", { tabindex: 0 }, block.text);
      case "note": return html("p", { class: "quiet" }, block.text);
      case "error": return html("p", { class: "error s5" }, icon(this.id, 5, 14), html("span", {}, block.text));
      case "table":
        return html("div", { class: "wide", tabindex: 0, role: "group", "aria-label": "Table" }, html("table", {},
          block.heads.length ? html("thead", {}, html("tr", {}, block.heads.map((head) => html("th", { scope: "col" }, head)))) : null,
          html("tbody", {}, block.rows.map((row) => html("tr", {}, row.map((cell, at) => html("td", { class: block.numeric[at] ? "right" : null }, cell)))))));
      case "task":
        return html("button", { type: "button", class: "link", onclick: () => this.known.pick({ task: block.task }) },
          `${block.branch}${this.known.name(block.task)} `, html("span", { class: "cid" }, this.known.short[block.task]));
      case "cid":
        return html("span", { class: "copy" }, html("code", {}, block.text),
          button(this.id, "copy", "", `Copy the CID of the ${block.what}`, (event) => this._copy(event.currentTarget, block.text), { class: "bare" }));
      default: return html("p", { class: "line" }, block.text);
    }
  }

  async _copy(from, text) {
    try { await navigator.clipboard.writeText(text); } catch { // a page without the right to the clipboard: the old way
      const field = html("textarea", { style: "position:fixed;opacity:0" });
      field.value = text;
      this.node.append(field);
      field.select();
      document.execCommand("copy");
      field.remove();
    }
    from.querySelector("use").setAttribute("href", `#${this.id}-tick`);
    setTimeout(() => from.querySelector("use")?.setAttribute("href", `#${this.id}-copy`), 1500);
    this.known.tell("say", "copied");
  }
}
