// What is known of a run in the browser: tasks, their states, the boxes they are drawn in, and what somebody looks at.

/** A store of what the widget shows. Parts of it listen to "states", "view", "select", "find" and "details". */
export class Known extends EventTarget {
  constructor(model) {
    super();
    this.model = model;
    const names = model.get("names");
    this.kinds = names.kinds;
    this.kindOf = names.kind;
    this.short = names.short;
    this.about = model.get("about");
    this.members = this.kinds.map(() => []);
    this.kindOf.forEach((kind, task) => this.members[kind].push(task));
    this.states = model.get("states");
    this.selected = null; // {task} or {box: "pile:3"}, or null
    this.found = null; // tasks that a search has found, or null
    this.details = null;
    this._see();
    model.on("change:states", () => this._moved());
    model.on("change:view", () => { this._see(); this.tell("view"); });
    model.on("msg:custom", (said) => this._heard(said));
  }

  tell(what, detail) { this.dispatchEvent(new CustomEvent(what, { detail })); }

  listen(what, hear) { this.addEventListener(what, (event) => hear(event.detail)); }

  ask(message) { this.model.send(message); }

  state(task) { return this.states.charCodeAt(task) - 48; }

  word(task) { const name = this.about.states[this.state(task)]; return this.about.words[name] ?? name; }

  name(task) { return this.kinds[this.kindOf[task]][0]; }

  active(task) { return this.state(task) < 3; }

  _see() {
    this.view = this.model.get("view");
    this.inside = this.view.boxes.map(() => []);
    this.view.where.forEach((box, task) => this.inside[box].push(task));
    this.opened = new Set(this.view.opened);
  }

  _moved() {
    const before = this.states;
    this.states = this.model.get("states");
    const moved = [];
    for (let task = 0; task < this.states.length; task++) {
      if (this.states.charCodeAt(task) !== before.charCodeAt(task)) moved.push(task);
    }
    this.tell("states", moved);
    const task = this.selected?.task;
    if (task !== undefined && moved.includes(task)) this.ask({ do: "ask", task });
  }

  _heard(said) {
    if (said.say === "details") {
      this.details = said;
      this.tell("details", said);
    } else if (said.say === "found") {
      this.search(said.text, said.tasks);
    }
  }

  /** How many of some tasks are in each state. */
  counts(tasks) {
    const found = new Array(this.about.states.length).fill(0);
    for (const task of tasks) found[this.state(task)]++;
    return found;
  }

  /** The key of a box, which stays the same when boxes are made anew. */
  key(box) { const [, , , , kind, ref] = this.view.boxes[box]; return `${kind}:${ref}`; }

  /** The box that is selected, or that the selected task stands in; -1 if there is none. */
  box() {
    if (!this.selected) return -1;
    if (this.selected.task !== undefined) return this.view.where[this.selected.task];
    return this.view.boxes.findIndex((_, box) => this.key(box) === this.selected.box);
  }

  pick(selected) {
    this.selected = selected;
    this.details = null;
    this.tell("select", selected);
    if (selected?.task !== undefined) this.ask({ do: "ask", task: selected.task });
  }

  pickBox(box) {
    const [, , , , kind, ref] = this.view.boxes[box];
    this.pick(kind === "task" ? { task: ref } : { box: this.key(box) });
  }

  toggle(kind, wanted = !this.opened.has(kind)) {
    if (wanted) this.opened.add(kind);
    else this.opened.delete(kind);
    this._ask();
    this.tell("opened", kind);
  }

  fold(task, side, wanted) {
    this.view.folds = this.view.folds.filter(([other, way]) => other !== task || way !== side);
    if (wanted) this.view.folds.push([task, side]);
    this._ask();
  }

  folded(task, side) { return this.view.folds.some(([other, way]) => other === task && way === side); }

  _ask() { this.ask({ do: "view", opened: [...this.opened], folds: this.view.folds }); }

  /** Open what holds a box, or unfold it. */
  open(box) {
    const [, , , , kind, ref] = this.view.boxes[box];
    if (kind === "pile" || kind === "tray") this.toggle(ref, kind === "pile");
    else if (kind !== "task") this.fold(ref, kind, false);
  }

  /** Find tasks by the name of their function, or by a CID or a part of one. */
  search(text, tasks) {
    const wanted = text.trim().toLowerCase();
    if (tasks === undefined) {
      tasks = [];
      for (let task = 0; wanted && task < this.short.length; task++) {
        const short = this.short[task];
        if (this.name(task).toLowerCase().includes(wanted) || short.includes(wanted) || wanted.includes(short)) tasks.push(task);
      }
      if (!tasks.length && wanted.length > 7) this.ask({ do: "find", text: wanted }); // perhaps a receipt's
    }
    this.found = wanted ? tasks : null;
    this.hits = new Set(this.found ?? []);
    this.at = -1;
    this.tell("find");
  }

  /** Select the next task that was found. */
  next(step = 1) {
    if (!this.found?.length) return;
    this.at = (this.at + step + this.found.length) % this.found.length;
    this.pick({ task: this.found[this.at] });
  }
}
