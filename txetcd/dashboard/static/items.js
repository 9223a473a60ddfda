// How branches look: the items of the tree view, drawn so that only what differs is touched.

import { make } from "./dom.js";
import { isBroken, visible } from "./keys.js";
import { countDown } from "./time.js";

/**
 * Draw a branch and what is below it, as far as it is expanded.
 *
 * `view.selected` is the key that is chosen; `view.overdue(branch)` is called for a node whose time has passed, and
 * `view.load(branch, how)` for the items that load more of a directory: "more", or "begin".
 */
export function render(branch, view) {
  branch.item ??= newItem(branch);
  const item = branch.item;
  item.classList.toggle("branch", branch.dir);
  item.setAttribute("aria-selected", String(branch.key === view.selected));
  if (branch.dir) item.setAttribute("aria-expanded", String(branch.expanded));
  countDown(item.querySelector(".ttl"), branch.deadline, () => view.overdue(branch));
  const group = item.querySelector(":scope > ul");
  if (branch.expanded) renderChildren(branch, group ?? item.appendChild(make("ul", { role: "group" })), view);
  else group?.remove();
  return item;
}

function newItem(branch) {
  const name = visible(branch.parent === null ? branch.key : branch.name);
  const item = make(
    "li",
    {
      role: "treeitem",
      tabindex: "-1",
      "aria-level": branch.level,
      "aria-label": name,
      title: isBroken(branch.name) ? "The name is not UTF-8: it cannot be opened here" : null,
    },
    make(
      "div",
      { class: "row" },
      make("span", { class: "twisty", "aria-hidden": "true" }),
      make("bdi", { class: "name" }, name),
      make("span", { class: "ttl" }),
    ),
  );
  item.branch = branch;
  return item;
}

function renderChildren(branch, group, view) {
  const items = branch.names.map((name) => {
    const child = branch.children.get(name);
    return child.item ?? render(child, view);
  });
  if (branch.begin !== "") items.unshift(loader(branch, "▲ from the beginning", () => view.load(branch, "begin")));
  if (branch.more) {
    items.push(loader(branch, `▼ more than ${branch.names.length}: show more`, () => view.load(branch, "more")));
  }
  if (items.length === 0) items.push(make("li", { class: "empty", role: "none" }, "empty"));
  arrange(group, items);
}

function loader(branch, text, load) {
  const item = make(
    "li",
    { role: "treeitem", tabindex: "-1", "aria-level": branch.level + 1, class: "loader" },
    make("div", { class: "row" }, text),
  );
  item.load = load;
  return item;
}

/** Have a list's items be those, in that order. */
function arrange(group, items) {
  const kept = new Set(items);
  for (const old of [...group.children]) if (!kept.has(old)) old.remove();
  let at = group.firstElementChild;
  for (const item of items) {
    if (item === at) at = at.nextElementSibling;
    else group.insertBefore(item, at);
  }
}

/** Have an item light up for a moment. */
export function flash(item) {
  item.classList.remove("changed");
  // Begin the animation anew.
  void item.offsetWidth;
  item.classList.add("changed");
}
