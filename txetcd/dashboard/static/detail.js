// The key that is chosen: a file with its value, a directory, or nothing.

import { NOT_FOUND } from "./api.js";
import { askForNew, askToDeleteDirectory, askToDeleteKey } from "./dialogs.js";
import { button, labelled, make, say } from "./dom.js";
import { Editor } from "./editor.js";
import { isWithin, parentOf, visible } from "./keys.js";
import { countDown, deadlineOf } from "./time.js";

const GONE = ["delete", "expire", "compareAndDelete"];

/** The pane for one key; `open(key)` has another one shown, `jump(key, text)` a directory listed from a place on. */
export class Detail {
  #element;
  #api;
  #hear;
  #node = null;
  #editor = null;
  #asked = 0;
  #waiting = null;
  key = null;

  constructor(element, api, hear) {
    this.#element = element;
    this.#api = api;
    this.#hear = hear;
  }

  /** Whether something has been edited and not been saved. */
  get isDirty() {
    return this.#editor?.isDirty ?? false;
  }

  get isDirectory() {
    return this.#node?.dir === true;
  }

  /** Where somebody who looks at this would put a new key. */
  get directory() {
    if (this.key === null) return "/";
    return this.isDirectory ? this.key : parentOf(this.key);
  }

  /** Read a key and show it. */
  async show(key) {
    const asked = ++this.#asked;
    this.key = key;
    try {
      const { node } = await this.#api.look(key);
      if (asked === this.#asked) this.#render(node);
    } catch (error) {
      if (asked === this.#asked) this.#renderNothing(error);
    }
  }

  /** Follow what has happened. */
  apply({ action, node }) {
    if (this.key === null) return;
    const gone = GONE.includes(action);
    if (node.key !== this.key && !(gone && isWithin(this.key, node.key))) return;
    if (this.#node?.modifiedIndex >= node.modifiedIndex) return;
    if (this.#editor?.isWriting) this.#waiting = { action, node };
    else if (this.isDirty) this.#editor.offer(gone ? null : node);
    else if (gone) this.show(this.key);
    else this.#render(node);
  }

  #render(node) {
    this.#node = { key: "/", ...node };
    const key = this.#node.key;
    this.#editor = node.dir ? null : new Editor(this.#api, node, this.#forEditor());
    this.#element.replaceChildren(
      this.#heading(key, key === "/" ? null : button("Delete…", () => this.#askToDelete(), { class: "danger" })),
      this.#facts(),
      this.#editor?.element ?? this.#directory(),
    );
  }

  #forEditor() {
    const { key } = this;
    const saved = (node) => {
      if (this.key !== key) return;
      this.#render(node);
      // What came while it was written: its own event, and perhaps what somebody did then.
      if (this.#waiting !== null) this.apply(this.#waiting);
    };
    return { saved, reread: () => this.show(key) };
  }

  #renderNothing(error) {
    this.#node = this.#editor = null;
    const missing = error.code === NOT_FOUND;
    const text = missing ? "There is no such key." : error.message;
    const create = () => askForNew(this.#api, this.key, (made) => this.#hear.open(made));
    this.#element.replaceChildren(this.#heading(this.key), make("p", { class: missing ? "" : "wrong" }, text));
    if (missing) this.#element.append(button("Create it…", create));
  }

  #heading(key, ...buttons) {
    return make("header", {}, make("h2", { tabindex: "-1" }, make("bdi", { class: "key" }, visible(key))), ...buttons);
  }

  #facts() {
    const node = this.#node;
    const facts = [];
    if (node.modifiedIndex !== undefined) {
      facts.push(["Modified at index", node.modifiedIndex], ["Created at index", node.createdIndex]);
    }
    if (this.#editor !== null) {
      const { size } = this.#editor;
      facts.push(["Size", `${size.toLocaleString()} ${size === 1 ? "byte" : "bytes"}`]);
    }
    if (node.ttl !== undefined) {
      const remaining = make("span", { class: "ttl", title: new Date(node.expiration).toLocaleString() });
      countDown(remaining, deadlineOf(node), () => this.#overdue(node));
      facts.push(["Expires in", remaining]);
    }
    return make("dl", {}, ...facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
  }

  /** A key may have been given more time without a word to anybody who watches. */
  #overdue(node) {
    if (this.#node === node && !this.isDirty) this.show(this.key);
  }

  #directory() {
    const from = make("input", { name: "from", spellcheck: "false", autocomplete: "off", class: "key" });
    const jump = (event) => {
      event.preventDefault();
      this.#hear.jump(this.key, from.value);
    };
    const create = () => askForNew(this.#api, this.key, (made) => this.#hear.open(made));
    return make(
      "div",
      { class: "directory" },
      make("p", {}, "A directory."),
      button("New key here…", create),
      make("form", { submit: jump, class: "jump" }, labelled("List from", from), make("button", { type: "submit" }, "List")),
    );
  }

  #askToDelete() {
    const { key, modifiedIndex, dir } = this.#node;
    const deleted = () => {
      say(`${visible(key)} is deleted`);
      this.#hear.open(parentOf(key));
    };
    if (dir) askToDeleteDirectory(this.#api, key, deleted);
    else askToDeleteKey(this.#api, key, modifiedIndex, deleted);
  }
}
