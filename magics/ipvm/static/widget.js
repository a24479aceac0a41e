// The live graph of a run: its head with progress and tools, the list, the graph and the panel.

import { button, html, icon, number, symbols } from "./dom.js";
import { Graph, ORDER } from "./graph.js";
import { Panel } from "./panel.js";
import { Known } from "./state.js";
import { Tree } from "./tree.js";

let made = 0;

function head(known, id, graph, root) {
  const { model, about } = known;
  const said = html("span", { class: "said" }), times = html("span", { class: "times" }), counts = html("ul", { class: "counts" });
  const bar = html("div", { class: "bar", role: "progressbar", "aria-label": "Tasks that have ended", "aria-valuemin": 0 });
  const live = html("span", { class: "unseen", "aria-live": "polite" });
  const hits = html("span", { class: "hits", "aria-live": "polite" });
  const search = html("input", { type: "search", placeholder: "Name or CID", "aria-label": "Search by name or CID", oninput: () => known.search(search.value),
    onkeydown: (event) => {
      if (event.key === "Enter") { known.next(event.shiftKey ? -1 : 1); graph.reveal(known.box()); }
      else if (event.key === "Escape") { search.value = ""; known.search(""); }
      event.stopPropagation();
    } });
  const cancel = button(id, "stop", "Cancel", "Cancel the run", () => {
    cancel.disabled = true;
    cancel.lastChild.textContent = "Stopping …";
    known.ask({ do: "cancel", task: null });
  }, { class: "cancel" });
  const list = button(id, "list", "", "Show or hide the list of tasks", () => {
    const shown = root.classList.toggle("listed");
    list.setAttribute("aria-pressed", shown);
  }, { class: "bare", "aria-pressed": "true" });
  const tool = (sign, label, does) => button(id, sign, "", label, does, { class: "bare" });
  known.listen("find", () => { hits.textContent = known.found ? (known.found.length ? number(known.found.length) : "none") : ""; });
  known.listen("say", (text) => { live.textContent = ""; live.textContent = text; });
  let told = 0;
  const show = () => {
    const now = model.get("progress"), share = now.total ? now.ended / now.total : 1;
    said.textContent = now.said;
    times.textContent = now.times;
    bar.setAttribute("aria-valuenow", now.ended);
    bar.setAttribute("aria-valuemax", now.total);
    bar.setAttribute("aria-valuetext", now.said);
    const some = ORDER.filter((state) => now.counts[state]);
    bar.replaceChildren(...some.filter((state) => state > 1).map((state) => html("i", { class: `s${state}`, style: `flex:${now.counts[state]} 0 0` })),
      html("i", { class: "rest", style: `flex:${now.counts[0] + now.counts[1]} 0 0` }));
    counts.replaceChildren(...some.map((state) => html("li", { class: `s${state}` }, icon(id, state, 14),
      html("span", {}, number(now.counts[state])), ` ${about.words[about.states[state]] ?? about.states[state]}`)));
    cancel.hidden = !about.cancel || now.done;
    root.classList.toggle("done", now.done);
    if (Date.now() - told > 5000 || share === 1) { told = Date.now(); live.textContent = now.said; }
  };
  model.on("change:progress", show);
  show();
  return html("header", { class: "head" },
    html("div", { class: "first" }, about.title ? html("strong", {}, about.title) : null, said, times, html("span", { class: "gap" }),
      html("label", { class: "search" }, search, hits), cancel),
    about.live ? bar : null,
    html("div", { class: "second" }, list, counts, html("span", { class: "gap" }),
      tool("plus", "Zoom in", () => graph.zoom(1.25)), tool("minus", "Zoom out", () => graph.zoom(0.8)),
      tool("fit", "Fit the graph", () => graph.refit()), tool("reset", "Reset: real size", () => graph.reset()),
      about.keep ? button(id, "tick", "Keep as picture", "Put the picture that is saved in place of this", () => known.ask({ do: "end" })) : null), live);
}

function render({ model, el }) {
  const known = new Known(model);
  const id = `ipvm-${++made}-${Math.random().toString(36).slice(2, 8)}`;
  const root = html("div", { class: "ipvm-live listed", "data-lm-suppress-shortcuts": "true" }); // else Lab takes keys for commands
  const graph = new Graph(known, id), tree = new Tree(known, id), panel = new Panel(known, id);
  root.append(symbols(id, known.about.icons), head(known, id, graph, root),
    html("div", { class: "middle" }, tree.node, graph.node, panel.node));
  el.append(root);
  known.listen("select", () => graph.reveal(known.box()));
  if (known.about.select !== null) known.pick({ task: known.about.select });
  known.ask({ do: "ready" });
}

export default { render };
