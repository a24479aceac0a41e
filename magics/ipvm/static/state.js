// What the browser knows of a run: tasks, their states, the boxes they are drawn in, and what somebody looks at.

/** Its parts listen to "states", "view", "opened", "select", "find" and "details". */
export class Known extends EventTarget {
  constructor(model) {
    super();
    this.model = model;
    const { kinds, kind, short } = model.get("names");
    Object.assign(this, { kinds, kindOf: kind, short, about: model.get("about"), states: model.get("states") });
    this.words = this.about.states.map((name) => this.about.words[name] ?? name);
    this.members = kinds.map(() => []);
    kind.forEach((kind, task) => this.members[kind].push(task));
    this.selected = null; // {task} or {box: "pile:3"}
    this.found = null; // the tasks that a search has found, while there is one
    this.details = null;
    this._see();
    model.on("change:states", () => this._moved());
    model.on("change:view", () => { this._see(); this.tell("view"); });
    model.on("msg:custom", (said) => {
      if (said.say === "found") return this.search(said.text, said.tasks);
      this.details = said;
      this.tell("details");
    });
  }

  tell(what, detail) { this.dispatchEvent(new CustomEvent(what, { detail })); }

  listen(what, hear) { this.addEventListener(what, (event) => hear(event.detail)); }

  ask(message) { this.model.send(message); }

  state(task) { return this.states.charCodeAt(task) - 48; }

  word(task) { return this.words[this.state(task)]; }

  name(task) { return this.kinds[this.kindOf[task]][0]; }

  counts(tasks) {
    const found = this.words.map(() => 0);
    for (const task of tasks) found[this.state(task)]++;
    return found;
  }

  _see() {
    this.view = this.model.get("view");
    this.inside = this.view.boxes.map(() => []);
    this.view.where.forEach((box, task) => this.inside[box].push(task));
    this.opened = new Set(this.view.opened);
  }

  _moved() {
    const before = this.states, moved = [];
    this.states = this.model.get("states");
    for (let task = 0; task < before.length; task++) if (this.states[task] !== before[task]) moved.push(task);
    this.tell("states", moved);
    if (moved.includes(this.selected?.task)) this.ask({ do: "ask", task: this.selected.task });
  }

  /** A box by its kind and what it is of, which stay the same when boxes are made anew. */
  key(box) { return this.view.boxes[box].slice(4, 6).join(":"); }

  title(box) {
    const [kind, ref] = this.view.boxes[box].slice(4, 6);
    return kind === "pile" || kind === "tray" ? this.kinds[ref][0] : `${kind} ${this.name(ref)}`;
  }

  /** The box that is selected, or that the selected task stands in; -1 if there is none. */
  box() {
    if (this.selected?.task !== undefined) return this.view.where[this.selected.task];
    return this.view.boxes.findIndex((_, box) => this.key(box) === this.selected?.box);
  }

  pick(selected) {
    this.selected = selected;
    this.tell("select");
    if (selected?.task !== undefined) this.ask({ do: "ask", task: selected.task });
  }

  pickBox(box) {
    const [kind, task] = this.view.boxes[box].slice(4, 6);
    this.pick(kind === "task" ? { task } : { box: this.key(box) });
  }

  toggle(kind, wanted) {
    this.opened[wanted ? "add" : "delete"](kind);
    this._ask();
    this.tell("opened", kind);
  }

  folded(task, side) { return this.view.folds.some(([other, way]) => other === task && way === side); }

  fold(task, side, wanted) {
    this.view.folds = this.view.folds.filter(([other, way]) => other !== task || way !== side);
    if (wanted) this.view.folds.push([task, side]);
    this._ask();
  }

  _ask() { this.ask({ do: "view", opened: [...this.opened], folds: this.view.folds }); }

  /** Open or close the function of a box, or unfold it. */
  open(box) {
    const [kind, ref] = this.view.boxes[box].slice(4, 6);
    if (kind === "pile" || kind === "tray") this.toggle(ref, kind === "pile");
    else if (kind !== "task") this.fold(ref, kind, false);
  }

  /** Find tasks by the name of their function, or by a CID or a part of one. */
  search(text, tasks) {
    const wanted = text.trim().toLowerCase();
    const fits = (short, task) => this.name(task).toLowerCase().includes(wanted) || short.includes(wanted) || wanted.includes(short);
    this.found = wanted ? tasks ?? [...this.short.keys()].filter((task) => fits(this.short[task], task)) : null;
    this.hits = new Set(this.found);
    this.at = -1;
    if (!tasks && this.found?.length === 0 && wanted.length > 7) this.ask({ do: "find", text: wanted }); // a receipt's, perhaps
    this.tell("find");
  }

  /** Select the next task that was found. */
  next(step) {
    if (!this.found?.length) return;
    this.at = (Math.max(this.at, step < 0 ? 0 : -1) + step + this.found.length) % this.found.length;
    this.pick({ task: this.found[this.at] });
  }
}
