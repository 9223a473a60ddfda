// When a key is to expire: as it would, never, or after a while.

import { make } from "./dom.js";
import { left } from "./time.js";

/** A choice for a key that expires at a deadline; null: never. */
export class Expiry {
  #deadline;
  #choice;
  #seconds = make("input", { type: "number", min: "1", name: "ttl", "aria-label": "Seconds", hidden: true });

  constructor(deadline) {
    this.#deadline = deadline;
    const options = [make("option", { value: "never" }, "never"), make("option", { value: "after" }, "after … seconds")];
    if (deadline !== null) options.unshift(make("option", { value: "keep" }, "when it would now"));
    this.#choice = make("select", { name: "expiry", change: () => this.#chosen() }, ...options);
    this.element = make("div", { class: "expiry" }, make("label", {}, "Expires ", this.#choice), this.#seconds);
  }

  get isDirty() {
    return this.#choice.selectedIndex > 0;
  }

  /** The ttl to write; null for none. */
  get seconds() {
    if (this.#choice.value === "never") return null;
    return this.#choice.value === "keep" ? Math.max(1, Math.ceil(left(this.#deadline))) : this.#seconds.value;
  }

  #chosen() {
    const after = this.#choice.value === "after";
    this.#seconds.hidden = !after;
    this.#seconds.required = after;
    if (after) this.#seconds.focus();
  }
}
