// The page as a whole: makes its parts and connects them.

import { Api } from "./api.js";
import { Detail } from "./detail.js";
import { askForNew } from "./dialogs.js";
import { byId, say } from "./dom.js";
import { Events } from "./events.js";
import { fromPath, isWithin, tidy, toPath } from "./keys.js";
import { Plots } from "./plots.js";
import { Tree } from "./tree.js";
import { Watch } from "./watch.js";
import { Who } from "./who.js";

const STATES = {
  live: "live",
  waiting: "not connected; trying again",
  paused: "paused",
  refused: "no right to watch this",
};

const api = new Api();
const tree = new Tree(byId("tree"), api, go);
const detail = new Detail(byId("detail"), api, { open: go, jump: (key, text) => tree.attempt(() => tree.jump(key, text)) });
const events = new Events(
  { rows: byId("events"), filter: byId("events-filter"), hold: byId("hold"), clear: byId("clear") },
  go,
);
const watch = new Watch(api, { event: follow, missed: () => tree.attempt(() => tree.refresh()), state: showState });
const who = new Who(byId("who"), api, begin);
// The directory that was asked for, and the one that is shown: that, or one that may be read.
let wanted = "/";
let base = "/";

/** Have a key shown; its place in the address lets one come back to it. */
function go(key) {
  const hash = "#" + toPath(key);
  if (location.hash === hash) openHash();
  else location.hash = hash;
}

async function openHash() {
  const key = fromPath(location.hash.slice(1) || toPath(base));
  if (key === null) {
    say("The address names no key", true);
    return;
  }
  if (detail.isDirty && key !== detail.key && !confirm("Leave this key without saving it?")) {
    history.replaceState(null, "", "#" + toPath(detail.key));
    tree.attempt(() => tree.reveal(detail.key));
    return;
  }
  byId("open-key").value = key;
  await Promise.all([detail.show(key), tree.attempt(() => tree.reveal(key))]);
  if (!detail.isDirectory) show("detail");
}

function follow(event) {
  events.add(event);
  tree.apply(event);
  detail.apply(event);
}

function showState(state) {
  byId("state").dataset.state = state;
  byId("state").textContent = STATES[state];
}

/** On a small screen, one pane is to be seen at a time. */
function show(pane) {
  document.body.dataset.pane = pane;
  for (const tab of document.querySelectorAll("[data-shows]")) {
    tab.setAttribute("aria-pressed", String(tab.dataset.shows === pane));
  }
}

/** Show what is below a directory, and watch it. */
async function list(directory) {
  base = directory;
  byId("base").value = base;
  try {
    const index = await tree.show(base);
    events.begin(index);
    watch.start(base, index);
  } catch (error) {
    tree.clear();
    say(error.message, true);
    showState(error.unauthorized ? "refused" : "waiting");
  }
}

/** The directory that was asked for if somebody may read all of it, else the first that they may. */
function home(patterns) {
  const directories = patterns.filter((pattern) => pattern.endsWith("/*")).map((pattern) => tidy(pattern.slice(0, -2)));
  byId("readable").replaceChildren(...directories.map((directory) => new Option(directory)));
  return directories.some((directory) => isWithin(wanted, directory)) ? wanted : (directories[0] ?? wanted);
}

async function begin() {
  try {
    const { read } = await who.ask();
    await list(home(read));
    if (base !== "/" && location.hash === "") go(base);
    else await openHash();
    const { name } = await api.stats("self");
    byId("name").textContent = name;
    document.title = `${name} – txetcd`;
  } catch (error) {
    say(error.message, true);
  }
}

function listen() {
  addEventListener("hashchange", openHash);
  addEventListener("beforeunload", (event) => detail.isDirty && event.preventDefault());
  byId("open").addEventListener("submit", (event) => {
    event.preventDefault();
    go(tidy(byId("open-key").value));
  });
  byId("base").addEventListener("change", (event) => {
    wanted = tidy(event.target.value);
    list(wanted);
  });
  byId("tree-filter").addEventListener("input", (event) => tree.filter(event.target.value));
  byId("new").addEventListener("click", () => askForNew(api, detail.directory, go));
  for (const tab of document.querySelectorAll("[data-shows]")) {
    tab.addEventListener("click", () => show(tab.dataset.shows));
  }
}

listen();
new Plots({ reads: byId("reads"), writes: byId("writes"), latency: byId("latency") }, api, (stats) => {
  byId("watchers").textContent = stats.watchers.toLocaleString();
  byId("expired").textContent = stats.expireCount.toLocaleString();
});
await begin();
