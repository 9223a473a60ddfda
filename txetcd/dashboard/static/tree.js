// The tree of keys: what is open in it, what is chosen, and how it follows the server.

import { Branch } from "./branch.js";
import { say } from "./dom.js";
import { flash, render } from "./items.js";
import { isWithin, partsOf } from "./keys.js";
import { listenToKeys } from "./treekeys.js";

// A directory in which keys seem to be overdue is read anew at most that often; in milliseconds.
const REREAD = 5000;

// Events that are remembered: what is read may be older than events that have come already.
const RECENT = 1000;

/** The tree in an element; `choose(key)` is called when somebody chooses a key. */
export class Tree {
  #element;
  #api;
  #choose;
  #root = null;
  #tabStop = null;
  #filter = "";
  #changed = new Set();
  #flashing = new Set();
  #stale = new Set();
  #recent = [];
  selected = null;

  constructor(element, api, choose) {
    this.#element = element;
    this.#api = api;
    this.#choose = choose;
    element.addEventListener("click", (event) => this.#clicked(event));
    element.addEventListener("focusin", (event) => this.#leadTabTo(event.target.closest("[role=treeitem]")));
    listenToKeys(element, this);
    setInterval(() => this.#readStale(), REREAD);
  }

  /** Show what is below a directory; fires with the server's index, or fails as the server does. */
  async show(directory) {
    const root = new Branch(directory, null, { key: directory, dir: true });
    await root.load(this.#api);
    root.expanded = true;
    this.#root = root;
    this.#element.replaceChildren(render(root, this));
    this.#catchUp();
    this.#leadTabTo(root.item);
    return root.index;
  }

  /** Show nothing. */
  clear() {
    this.#root = null;
    this.#element.replaceChildren();
  }

  /** Read everything anew that is open. */
  async refresh(branch = this.#root) {
    if (branch === null) return;
    await branch.load(this.#api);
    this.#catchUp();
    this.#later(branch);
    for (const child of branch.children.values()) {
      this.#later(child);
      if (child.expanded) await this.refresh(child);
    }
  }

  /** Mark a key as the one that is chosen, and open what is above it; give its branch, null if it is not shown. */
  async reveal(key) {
    this.#select(key);
    let branch = this.#root;
    if (branch === null || !isWithin(key, branch.key)) return null;
    for (const name of partsOf(key).slice(partsOf(branch.key).length)) {
      if (!branch.dir) return null;
      await this.expand(branch);
      branch = branch.children.get(name);
      if (branch === undefined) return null;
    }
    branch.item?.scrollIntoView({ block: "nearest" });
    return branch;
  }

  /** List a directory from a place on: from the names that begin with a text, or the next ones. */
  async jump(key, text) {
    const branch = await this.reveal(key);
    if (branch === null || !branch.dir) return;
    await branch.load(this.#api, justBefore(text));
    branch.expanded = true;
    this.#catchUp();
    this.#later(branch);
  }

  /** Hide what has not a text in its name, and nothing below it that has. */
  filter(text) {
    this.#filter = text.toLowerCase();
    this.#hide();
  }

  /** Follow what has happened. */
  apply(event) {
    this.#recent.push(event);
    if (this.#recent.length > 2 * RECENT) this.#recent.splice(0, RECENT);
    this.#follow(event);
  }

  #catchUp() {
    for (const event of this.#recent) this.#follow(event);
  }

  #follow(event) {
    if (this.#root === null) return;
    const { parent, child } = this.#root.apply(event);
    if (parent === null) return;
    this.#later(parent);
    if (child !== null) {
      this.#later(child);
      this.#flashing.add(child);
    }
  }

  async expand(branch) {
    if (!branch.dir || branch.expanded) return;
    if (!branch.loaded) await branch.load(this.#api);
    branch.expanded = true;
    this.#catchUp();
    this.#draw(branch);
  }

  collapse(branch) {
    branch.expanded = false;
    this.#draw(branch);
  }

  toggle(branch) {
    return this.attempt(() => (branch.expanded ? this.collapse(branch) : this.expand(branch)));
  }

  /** Do what an item is for. */
  activate(item) {
    if (item.branch === undefined) {
      this.attempt(item.load);
      return;
    }
    this.#select(item.branch.key);
    this.#choose(item.branch.key);
  }

  /** Do what asks the server, and say what goes wrong. */
  async attempt(act) {
    try {
      await act();
    } catch (error) {
      say(error.message, true);
    }
  }

  // What the items call: see `render`.

  overdue(branch) {
    this.#stale.add(branch.parent);
  }

  async load(branch, how) {
    const shown = branch.names.length;
    await (how === "more" ? branch.loadMore(this.#api) : branch.load(this.#api, ""));
    this.#catchUp();
    this.#draw(branch);
    const first = branch.children.get(branch.names[how === "more" ? shown : 0]);
    (first ?? branch).item.focus();
  }

  #clicked(event) {
    const item = event.target.closest("[role=treeitem]");
    if (item === null) return;
    const branch = item.branch;
    item.focus();
    if (branch?.dir && (!branch.expanded || event.target.closest(".twisty") !== null)) this.toggle(branch);
    if (event.target.closest(".twisty") === null) this.activate(item);
  }

  #select(key) {
    const before = this.#root?.find(this.selected ?? "");
    this.selected = key;
    before?.item?.setAttribute("aria-selected", "false");
    this.#root?.find(key)?.item?.setAttribute("aria-selected", "true");
  }

  /** Have the Tab key lead to one item, and not to the others. */
  #leadTabTo(item) {
    if (item === null) return;
    this.#tabStop?.setAttribute("tabindex", "-1");
    this.#tabStop = item;
    item.setAttribute("tabindex", "0");
  }

  /** Draw a branch with the next picture: many events may come before that. */
  #later(branch) {
    if (this.#changed.size === 0) requestAnimationFrame(() => this.#drawChanged());
    this.#changed.add(branch);
  }

  #drawChanged() {
    const [changed, flashing] = [[...this.#changed], [...this.#flashing]];
    this.#changed.clear();
    this.#flashing.clear();
    const focused = document.activeElement;
    for (const branch of changed) if (this.#root?.find(branch.key) === branch) render(branch, this);
    for (const branch of flashing) if (branch.item?.isConnected) flash(branch.item);
    this.#hide();
    this.#keepTabStop(focused);
  }

  #draw(branch) {
    render(branch, this);
    this.#hide();
    this.#keepTabStop(null);
  }

  /** When the item is gone that had the focus, or would get it, the nearest directory has it. */
  #keepTabStop(focused) {
    const lost = this.#tabStop;
    if (lost === null || lost.isConnected || this.#root === null) return;
    const branch = lost.branch === undefined ? this.#root : this.#root.way(lost.branch.key).findLast((b) => b.item?.isConnected);
    this.#leadTabTo(branch.item);
    if (focused === lost) branch.item.focus();
  }

  #hide() {
    const shown = (branch) => {
      let any = branch.name.toLowerCase().includes(this.#filter);
      if (branch.expanded) for (const child of branch.children.values()) any = shown(child) || any;
      if (branch.item !== null) branch.item.hidden = !any && branch.parent !== null;
      return any;
    };
    if (this.#root !== null) shown(this.#root);
  }

  #readStale() {
    const stale = [...this.#stale];
    this.#stale.clear();
    for (const branch of stale) {
      if (this.#root?.find(branch?.key ?? "") === branch) this.attempt(() => this.refresh(branch));
    }
  }
}

/** A name that comes before all names that begin with a text, and after those that come before them. */
function justBefore(text) {
  const last = [...text].at(-1);
  if (last === undefined) return "";
  const code = last.codePointAt(0) - 1;
  // Surrogates are no characters.
  return text.slice(0, -last.length) + String.fromCodePoint(code === 0xdfff ? 0xd7ff : code) + "\u{10ffff}";
}
