// The live graph of a run: its head with progress and tools, the list, the graph and the panel.

import { button, html, number, shares, symbols, tally } from "./dom.js";
import { Graph } from "./graph.js";
import { Panel } from "./panel.js";
import { Known } from "./state.js";
import { Tree } from "./tree.js";

function head(known, id, graph, root) {
  const { model, about } = known;
  const said = html("span", { class: "said" }), times = html("span", { class: "times" }), counts = html("div", { class: "tally" });
  const bar = html("div", { class: "bar", role: "progressbar", "aria-label": "Tasks that have ended", "aria-valuemin": 0 });
  const live = html("span", { class: "unseen", role: "status" }), hits = html("span", { class: "hits", role: "status" });
  const search = html("input", {
    type: "search", placeholder: "Name or CID", "aria-label": "Search by name or CID",
    oninput: () => known.search(search.value),
    onkeydown: (event) => {
      if (event.key === "Enter") known.next(event.shiftKey ? -1 : 1);
      if (event.key === "Escape") known.search(search.value = "");
      event.stopPropagation();
    },
  });
  const cancel = button(id, "stop", "Cancel", "Cancel the run", () => {
    cancel.disabled = true;
    cancel.lastChild.textContent = "Stopping …";
    known.ask({ do: "cancel", task: null });
  });
  const list = button(id, "list", "", "List of tasks", () => { list.ariaPressed = root.classList.toggle("listed"); }, { "aria-pressed": "true" });
  const tool = (sign, label, does) => button(id, sign, "", label, does);
  known.listen("find", () => { hits.textContent = known.found ? number(known.found.length) : ""; });
  let told = 0;
  const show = () => {
    const now = model.get("progress");
    said.textContent = now.said;
    times.textContent = now.times;
    bar.ariaValueNow = now.ended;
    bar.ariaValueMax = now.total;
    bar.replaceChildren(...shares(now.counts));
    counts.replaceChildren(tally(id, now.counts, known.words));
    cancel.hidden = !about.cancel || now.done;
    if (Date.now() - told > 5000 || now.done) { told = Date.now(); live.textContent = now.said; } // not read aloud at each step
  };
  model.on("change:progress", show);
  show();
  return html("header", { class: "head" },
    html("div", { class: "first" }, html("strong", {}, about.title), said, times, html("span", { class: "gap" }), html("label", {}, search, hits), cancel),
    about.live ? bar : null,
    html("div", { class: "second" }, list, counts,
      tool("plus", "Zoom in", () => graph.zoom(1.25)), tool("minus", "Zoom out", () => graph.zoom(0.8)),
      tool("fit", "Fit the graph", () => graph.fit(true)), tool("reset", "Reset to real size", () => graph.reset()),
      about.keep ? button(id, "tick", "Keep as picture", "Put the picture that is saved in place of this", () => known.ask({ do: "end" })) : null), live);
}

function render({ model, el }) {
  const id = `ipvm-${Math.random().toString(36).slice(2)}`, known = new Known(model);
  const root = html("div", { class: "ipvm-live listed", "data-lm-suppress-shortcuts": "true" }); // else Lab takes keys for commands
  const graph = new Graph(known, id), tree = new Tree(known, id), panel = new Panel(known, id);
  root.append(symbols(id, known.about.icons), head(known, id, graph, root), html("div", { class: "middle" }, tree.node, graph.node, panel.node));
  el.append(root);
  known.listen("select", () => graph.reveal());
  if (known.about.select !== null) known.pick({ task: known.about.select });
  known.ask({ do: "ready" });
}

export default { render };
