// Questions that have to be answered first: what to make, what to delete, who is there.

import { EXISTS, NOT_EMPTY } from "./api.js";
import { button, labelled, make } from "./dom.js";
import { tidy, visible } from "./keys.js";

let number = 0;

/** Ask in a dialog; it is closed when `act` has succeeded, and tells why it has not. */
function ask(title, content, label, act) {
  const heading = `dialog-${++number}`;
  const wrong = make("p", { class: "wrong", role: "alert" });
  const send = make("button", { type: "submit", class: "primary" }, label);
  const submit = async (event) => {
    event.preventDefault();
    wrong.textContent = "";
    send.disabled = true;
    try {
      await act();
      dialog.close();
    } catch (error) {
      wrong.textContent = error.message;
    } finally {
      send.disabled = false;
    }
  };
  const dialog = make(
    "dialog",
    { "aria-labelledby": heading, close: () => dialog.remove() },
    make(
      "form",
      { submit },
      make("h2", { id: heading }, title),
      ...content,
      wrong,
      make("div", { class: "buttons" }, button("Cancel", () => dialog.close()), send),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
}

/** Ask for a new key or directory; `made(key)` is called when there is one. */
export function askForNew(api, directory, made) {
  const key = make("input", { name: "key", required: true, spellcheck: "false", autocomplete: "off", class: "key" });
  key.value = directory === "/" ? "/" : directory + "/";
  const dir = make("input", { type: "checkbox", name: "dir" });
  const value = make("textarea", { name: "value", rows: "5", spellcheck: "false" });
  const ttl = make("input", { name: "ttl", type: "number", min: "1", placeholder: "never" });
  const valueField = labelled("Value", value);
  dir.addEventListener("change", () => (valueField.hidden = dir.checked));
  const fields = [
    labelled("Key", key),
    make("label", { class: "check" }, dir, "A directory"),
    valueField,
    labelled("Expires after, in seconds", ttl),
  ];
  ask("New key", fields, "Create", async () => {
    const wanted = tidy(key.value);
    const form = dir.checked ? { dir: true } : { value: value.value };
    if (ttl.value !== "") form.ttl = ttl.value;
    try {
      await api.put(wanted, { prevExist: false }, form);
    } catch (error) {
      if (error.code === EXISTS) throw new Error(`${visible(wanted)} exists already`, { cause: error });
      throw error;
    }
    made(wanted);
  });
  key.setSelectionRange(key.value.length, key.value.length);
}

/** Ask whether a key is to be deleted that had an index when it was looked at. */
export function askToDeleteKey(api, key, index, deleted) {
  const text = make("p", {}, "Delete ", make("bdi", { class: "key" }, visible(key)), "? It is only deleted if nobody has changed it meanwhile.");
  ask("Delete key", [text], "Delete", async () => {
    await api.remove(key, { prevIndex: index });
    deleted();
  });
}

/** Ask whether a directory is to be deleted. */
export function askToDeleteDirectory(api, key, deleted) {
  const all = make("input", { type: "checkbox", name: "all" });
  const content = [
    make("p", {}, "Delete the directory ", make("bdi", { class: "key" }, visible(key)), "?"),
    make("label", { class: "check" }, all, "With everything in it, whoever has changed it"),
  ];
  ask("Delete directory", content, "Delete", async () => {
    try {
      await api.remove(key, all.checked ? { dir: true, recursive: true } : { dir: true });
    } catch (error) {
      if (error.code === NOT_EMPTY) throw new Error("There is something in it, perhaps hidden", { cause: error });
      throw error;
    }
    deleted();
  });
}

/** Ask for a name and password; they are kept by `api` alone, and taken back if they are wrong. */
export function askWho(api, known) {
  const user = make("input", { name: "user", required: true, autocomplete: "off", spellcheck: "false" });
  const password = make("input", { name: "password", type: "password", autocomplete: "off" });
  ask("Sign in", [labelled("User", user), labelled("Password", password)], "Sign in", async () => {
    api.signIn(user.value, password.value);
    try {
      await api.whoAmI();
    } catch (error) {
      api.signOut();
      throw error.unauthorized ? new Error("User or password is wrong", { cause: error }) : error;
    }
    known();
  });
}
