// The keyboard in the tree, as ARIA's practices for tree views have it.

/** Listen to the keys in a tree's element. */
export function listenToKeys(element, tree) {
  element.addEventListener("keydown", (event) => {
    const item = event.target.closest("[role=treeitem]");
    if (item === null || event.ctrlKey || event.altKey || event.metaKey) return;
    const act = ACTIONS[event.key] ?? (isLetter(event.key) ? typed : null);
    if (act === null) return;
    event.preventDefault();
    act(item, tree, event.key)?.focus();
  });
}

const ACTIONS = {
  __proto__: null,
  ArrowDown: next,
  ArrowUp: previous,
  ArrowRight: open,
  ArrowLeft: close,
  Home: (item) => item.closest("[role=tree]").querySelector("[role=treeitem]"),
  End: (item) => lastWithin(item.closest("[role=tree]").lastElementChild),
  Enter: activate,
  " ": activate,
};

function isLetter(key) {
  return [...key].length === 1;
}

function activate(item, tree) {
  tree.activate(item);
}

function open(item, tree) {
  const branch = item.branch;
  if (!branch?.dir) return null;
  if (branch.expanded) return firstWithin(item);
  tree.toggle(branch);
  return null;
}

function close(item, tree) {
  if (item.branch?.expanded) {
    tree.toggle(item.branch);
    return null;
  }
  return above(item);
}

/** The next item whose name begins with what is typed. */
function typed(item, tree, letter) {
  const begins = (each) => each.branch?.name.toLowerCase().startsWith(letter.toLowerCase());
  for (let at = next(item); at !== null; at = next(at)) if (begins(at)) return at;
  const first = ACTIONS.Home(item);
  for (let at = first; at !== null && at !== item; at = next(at)) if (begins(at)) return at;
  return null;
}

function isShown(item) {
  return item.getAttribute("role") === "treeitem" && !item.hidden;
}

function shownChildren(item) {
  return [...(item.querySelector(":scope > ul")?.children ?? [])].filter(isShown);
}

function firstWithin(item) {
  return shownChildren(item)[0] ?? null;
}

function lastWithin(item) {
  const last = shownChildren(item).at(-1);
  return last === undefined ? item : lastWithin(last);
}

function above(item) {
  return item.parentElement.closest("[role=treeitem]");
}

function next(item) {
  const first = firstWithin(item);
  if (first !== null) return first;
  for (let at = item; at !== null; at = above(at)) {
    for (let after = at.nextElementSibling; after !== null; after = after.nextElementSibling) {
      if (isShown(after)) return after;
    }
  }
  return null;
}

function previous(item) {
  for (let before = item.previousElementSibling; before !== null; before = before.previousElementSibling) {
    if (isShown(before)) return lastWithin(before);
  }
  return above(item);
}
