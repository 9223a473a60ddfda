// One node of the tree: what is known of it, and of the part of its children that is loaded.

import { childOf, compareNames, isWithin, nameOf, partsOf } from "./keys.js";
import { deadlineOf } from "./time.js";

const GONE = new Set(["delete", "expire", "compareAndDelete"]);

// How many children are loaded at a time.  No directory shows more than it was asked to, however many there are.
export const PAGE = 200;

/** A key or a directory; the children of a directory are read when it is opened. */
export class Branch {
  constructor(key, parent, node) {
    this.key = key;
    this.name = nameOf(key);
    this.parent = parent;
    this.level = parent === null ? 1 : parent.level + 1;
    // The children's names, in order, and the children by name.
    this.names = [];
    this.children = new Map();
    this.loaded = false;
    this.expanded = false;
    this.begin = "";
    this.more = false;
    this.index = 0;
    this.limit = PAGE;
    // What shows it on the page.
    this.item = null;
    this.update(node);
  }

  /** Note what a node of the server's says. */
  update(node) {
    this.dir = node.dir === true;
    this.deadline = deadlineOf(node);
  }

  /** Read the children anew, as many as there were, from behind a name on. */
  async load(api, begin = this.begin) {
    const { nodes, index } = await api.list(this.key, begin, this.limit);
    const before = this.children;
    this.children = new Map();
    this.begin = begin;
    for (const node of nodes) {
      const name = nameOf(node.key);
      const old = before.get(name);
      if (old !== undefined && old.dir === (node.dir === true)) {
        old.update(node);
        this.children.set(name, old);
      } else this.children.set(name, new Branch(node.key, this, node));
    }
    this.#settle(nodes.length === this.limit, index);
  }

  /** Read the children behind the last one. */
  async loadMore(api) {
    const { nodes, index } = await api.list(this.key, this.names.at(-1) ?? "", PAGE);
    for (const node of nodes) this.children.set(nameOf(node.key), new Branch(node.key, this, node));
    this.limit += PAGE;
    this.#settle(nodes.length === PAGE, Math.min(index, this.index));
  }

  /** The branches on the way to a key, as far as they are loaded; this one first. */
  way(key) {
    const way = [this];
    for (const name of partsOf(key).slice(partsOf(this.key).length)) {
      const child = way.at(-1).children.get(name);
      if (child === undefined) break;
      way.push(child);
    }
    return way;
  }

  /** The branch of a key; null if it is not loaded. */
  find(key) {
    const found = isWithin(key, this.key) ? this.way(key).at(-1) : null;
    return found?.key === key ? found : null;
  }

  /**
   * Do to the branches below what an event tells; nothing if it was done before.
   *
   * @return the branch whose children have changed, and the child; nulls if what changed is not loaded, or was known.
   */
  apply({ action, node }) {
    const nothing = { parent: null, child: null };
    if (node.key === this.key || !isWithin(node.key, this.key)) return nothing;
    const parent = this.way(node.key).findLast((branch) => branch.key !== node.key);
    const [name, ...below] = partsOf(node.key).slice(partsOf(parent.key).length);
    if (!parent.loaded || node.modifiedIndex <= parent.index) return nothing;
    parent.index = node.modifiedIndex;
    if (!GONE.has(action)) return { parent, child: parent.#put(name, below.length > 0 ? { dir: true } : node) };
    parent.#drop(name);
    return { parent, child: null };
  }

  #settle(more, index) {
    this.names = [...this.children.keys()];
    this.more = more;
    this.index = index;
    this.loaded = true;
  }

  /** Have a child, if it belongs to the part that is loaded; give it, or null. */
  #put(name, node) {
    const child = this.children.get(name);
    if (child !== undefined && child.dir === (node.dir === true)) {
      child.update(node);
      return child;
    }
    if (child !== undefined) this.#drop(name);
    const at = this.#place(name);
    if ((this.begin !== "" && compareNames(name, this.begin) <= 0) || (at === this.names.length && this.more)) {
      return null;
    }
    const made = new Branch(childOf(this.key, name), this, node);
    this.names.splice(at, 0, name);
    this.children.set(name, made);
    if (this.names.length > this.limit) {
      this.more = true;
      this.#drop(this.names.at(-1));
    }
    return this.children.get(name) ?? null;
  }

  #drop(name) {
    if (this.children.delete(name)) this.names.splice(this.names.indexOf(name), 1);
  }

  #place(name) {
    let [low, high] = [0, this.names.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (compareNames(this.names[middle], name) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
