// The list of what has happened lately, the latest first.

import { make } from "./dom.js";
import { visible } from "./keys.js";

// Rows that are kept, and shown.
const KEPT = 300;

// Characters of a value in a row.
const BRIEF = 120;

/** The list in an element; `choose(key)` is called when somebody chooses a row's key. */
export class Events {
  #rows;
  #choose;
  #kept = [];
  #fresh = [];
  #filter = "";
  #held = false;
  #replayed = 0;

  constructor({ rows, filter, hold, clear }, choose) {
    this.#rows = rows;
    this.#choose = choose;
    filter.addEventListener("input", () => {
      this.#filter = filter.value.toLowerCase();
      this.#renderAll();
    });
    hold.addEventListener("click", () => {
      this.#held = !this.#held;
      hold.setAttribute("aria-pressed", String(this.#held));
      if (!this.#held) this.#renderAll();
    });
    clear.addEventListener("click", () => this.clear());
  }

  /** Begin anew; events up to an index happened before anybody looked. */
  begin(index) {
    this.#replayed = index;
    this.clear();
  }

  clear() {
    this.#kept = [];
    this.#fresh = [];
    this.#renderAll();
  }

  add(event) {
    const seen = event.node.modifiedIndex > this.#replayed ? new Date().toLocaleTimeString() : "earlier";
    if (this.#fresh.length === 0) requestAnimationFrame(() => this.#renderFresh());
    this.#fresh.push({ event, seen });
  }

  #renderFresh() {
    const fresh = this.#fresh.splice(0).reverse().slice(0, KEPT);
    this.#kept = [...fresh, ...this.#kept].slice(0, KEPT);
    if (this.#held) return;
    const rows = fresh.filter((each) => this.#matches(each));
    this.#rows.prepend(...rows.map((each) => this.#row(each)));
    while (this.#rows.childElementCount > KEPT) this.#rows.lastElementChild.remove();
  }

  #renderAll() {
    this.#rows.replaceChildren(...this.#kept.filter((each) => this.#matches(each)).map((each) => this.#row(each)));
  }

  #matches({ event }) {
    return `${event.action} ${event.node.key}`.toLowerCase().includes(this.#filter);
  }

  #row({ event, seen }) {
    const { action, node, prevNode } = event;
    const key = make("button", { type: "button", class: "key", click: () => this.#choose(node.key) });
    key.append(make("bdi", {}, visible(node.key)));
    return make(
      "tr",
      {},
      make("td", { class: "when" }, seen),
      make("td", { class: "number" }, String(node.modifiedIndex)),
      make("td", {}, make("span", { class: `action ${action}` }, action)),
      make("td", {}, key),
      make("td", { class: "change" }, ...change(node, prevNode)),
    );
  }
}

/** What was there before, and what is there now. */
function change(node, before) {
  if (node.dir || before?.dir) return ["directory"];
  const parts = [];
  if (before?.value !== undefined) parts.push(make("del", {}, brief(before.value)));
  if (node.value !== undefined) parts.push(make("ins", {}, brief(node.value)));
  return parts;
}

function brief(text) {
  const cut = text.length > BRIEF ? text.slice(0, BRIEF) + "…" : text;
  return make("bdi", {}, visible(cut.replace(/\s+/g, " ")));
}
