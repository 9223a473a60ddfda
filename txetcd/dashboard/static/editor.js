// One key's value, edited: saved only over what was seen, and when that has changed, the reader decides.

import { COMPARE_FAILED, EXISTS, NOT_FOUND } from "./api.js";
import { button, make, say } from "./dom.js";
import { Expiry } from "./expiry.js";
import { nameOf, visible } from "./keys.js";
import { deadlineOf } from "./time.js";
import { Value, download } from "./values.js";

/** An editor for a file; `saved(node)` is called when it has been written, `reread()` to show what is there now. */
export class Editor {
  #api;
  #hear;
  #value;
  #deadline;
  #expiry;
  #field = make("textarea", { name: "value", spellcheck: "false", rows: "10" });
  #theirs = make("textarea", { readonly: true, spellcheck: "false", rows: "10" });
  #theirSide = make("label", { hidden: true }, make("span", { class: "label" }, "On the server"), this.#theirs);
  #doubt = make("div", { class: "note", hidden: true });
  #conflict = make("div", { class: "conflict", role: "group", "aria-label": "Conflict", hidden: true });
  #save = make("button", { type: "submit", class: "primary" }, "Save");

  constructor(api, node, hear) {
    this.#api = api;
    this.#hear = hear;
    this.key = node.key;
    this.isWriting = false;
    // What a save compares with; null: that there is no such key.
    this.index = node.modifiedIndex;
    this.#value = new Value(node.value);
    this.#deadline = deadlineOf(node);
    this.#expiry = new Expiry(this.#deadline);
    this.element = make(
      "form",
      { class: "editor", submit: (event) => this.#submitted(event), keydown: (event) => this.#typed(event) },
      this.#conflict,
      this.#doubt,
      make("div", { class: "sides" }, this.#theirSide, make("label", {}, make("span", { class: "label" }, "Value"), this.#field)),
      this.#expiry.element,
      make(
        "div",
        { class: "buttons" },
        button("Download", () => download(nameOf(this.key), this.#value.text)),
        button("Revert", () => this.#hear.reread()),
        this.#save,
      ),
    );
    this.#show();
  }

  /** Whether anything has been changed. */
  get isDirty() {
    return this.#field.value !== this.#value.shown || this.#expiry.isDirty;
  }

  get size() {
    return this.#value.size;
  }

  /** The key has been changed by somebody, or deleted (null): let the reader choose between that and theirs. */
  offer(node) {
    this.#theirs.value = node === null ? "" : new Value(node.value).shown;
    this.#theirSide.hidden = node === null;
    const [text, mine, theirs] =
      node === null
        ? ["Somebody has deleted this key meanwhile.", "Create it anew", "Let it go"]
        : [`Somebody has changed this key meanwhile, at index ${node.modifiedIndex}.`, "Save mine over it", "Take theirs"];
    const save = () => {
      this.index = node?.modifiedIndex ?? null;
      this.#write();
    };
    this.#save.hidden = true;
    this.#conflict.hidden = false;
    this.#conflict.replaceChildren(
      make("p", { role: "alert" }, text),
      make("div", { class: "buttons" }, button(mine, save), button(theirs, () => this.#hear.reread())),
    );
  }

  #show() {
    this.#field.value = this.#value.shown;
    const doubt = this.#value.doubt;
    this.#doubt.hidden = doubt === "";
    this.#field.readOnly = doubt !== "";
    this.#save.disabled = doubt !== "";
    const label = this.#value.isCut ? "Show all" : "Edit anyway";
    this.#doubt.replaceChildren(doubt, " ", button(label, () => this.#insist()));
  }

  #insist() {
    if (this.#value.isCut) {
      this.#value.uncut();
      this.#show();
    } else {
      this.#doubt.hidden = true;
      this.#field.readOnly = this.#save.disabled = false;
    }
    this.#field.focus();
  }

  #typed(event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !this.#save.disabled) this.#submitted(event);
  }

  #submitted(event) {
    event.preventDefault();
    if (this.#conflict.hidden && !this.isWriting) this.#write();
  }

  async #write() {
    const form = { value: this.#value.edited(this.#field.value) };
    const ttl = this.#expiry.seconds;
    if (ttl !== null) form.ttl = ttl;
    const condition = this.index === null ? { prevExist: false } : { prevIndex: this.index };
    this.isWriting = true;
    try {
      const { node } = await this.#api.put(this.key, condition, form);
      this.isWriting = false;
      say(`${visible(this.key)} is saved at index ${node.modifiedIndex}`);
      this.#hear.saved(node);
    } catch (error) {
      this.isWriting = false;
      if (![COMPARE_FAILED, EXISTS, NOT_FOUND].includes(error.code)) say(error.message, true);
      else await this.#lookAgain();
    }
  }

  async #lookAgain() {
    try {
      this.offer((await this.#api.look(this.key)).node);
    } catch (error) {
      if (error.code === NOT_FOUND) this.offer(null);
      else say(error.message, true);
    }
  }
}
