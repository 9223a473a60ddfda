// Keys as text: their parts, their order, their place in a URL, and how they are shown.

// What would be invisible, or would change how the text around it is read.
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

/** The parts of a key; none of the root. */
export function partsOf(key) {
  return key.split("/").filter((part) => part !== "");
}

/** A key in its one form: a slash in front, none at the end. */
export function tidy(key) {
  return "/" + partsOf(key).join("/");
}

export function nameOf(key) {
  return partsOf(key).at(-1) ?? "/";
}

export function parentOf(key) {
  return tidy(partsOf(key).slice(0, -1).join("/"));
}

export function childOf(directory, name) {
  return tidy(`${directory}/${name}`);
}

/** Whether a key is the directory itself or is below it. */
export function isWithin(key, directory) {
  return directory === "/" || key === directory || key.startsWith(directory + "/");
}

/** The key as a part of a URL. */
export function toPath(key) {
  return "/" + partsOf(key).map(encodeURIComponent).join("/");
}

/** The key that a part of a URL names; null if it names none. */
export function fromPath(path) {
  try {
    return tidy(path.split("/").map(decodeURIComponent).join("/"));
  } catch {
    return null;
  }
}

/** A text of one line with all its characters to be seen. */
export function visible(text) {
  return text.replace(UNSEEN, (char) => `⟨U+${char.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
}

/** Whether some of a text's bytes could not be shown: the server sends U+FFFD for them. */
export function isBroken(text) {
  return text.includes("\ufffd");
}

/** The order in which the server lists names, that of their bytes in UTF-8. */
export function compareNames(one, other) {
  const length = Math.min(one.length, other.length);
  for (let at = 0; at < length; at++) {
    const [a, b] = [one.charCodeAt(at), other.charCodeAt(at)];
    if (a !== b) return rank(a) - rank(b);
  }
  return one.length - other.length;
}

// Surrogates stand for what comes after all of the first plane.
function rank(unit) {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}
