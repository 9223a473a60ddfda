// Values as they are edited: a text field changes line ends, and not all bytes are text.

import { isBroken } from "./keys.js";

// Characters of a value that are shown at first.
const LONG = 100_000;

/** A value, and what is shown of it. */
export class Value {
  constructor(text) {
    this.text = text;
    this.#plain = text.replace(/\r\n?/g, "\n");
    this.isCut = this.#plain.length > LONG;
    this.shown = this.isCut ? this.#plain.slice(0, LONG) : this.#plain;
  }

  #plain;

  /** Why it had better not be edited; empty if nothing speaks against it. */
  get doubt() {
    if (isBroken(this.text)) return "This value is not UTF-8, or contains U+FFFD: what is shown is not all that is in it.";
    if (this.isCut) return `Only the first ${LONG.toLocaleString()} characters are shown.`;
    if (this.#plain !== this.text && !this.#isDOS) return "This value has line ends of several kinds: once saved it has one.";
    return "";
  }

  /** Show all of it. */
  uncut() {
    this.isCut = false;
    this.shown = this.#plain;
  }

  /** What an edited text stands for: with the line ends that the value had. */
  edited(text) {
    if (text === this.#plain) return this.text;
    return this.#isDOS ? text.replaceAll("\n", "\r\n") : text;
  }

  get size() {
    return new Blob([this.text]).size;
  }

  get #isDOS() {
    return this.text.includes("\r") && !/[\r\n]/.test(this.text.replaceAll("\r\n", ""));
  }
}

/** Let the browser save a text as a file. */
export function download(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "application/octet-stream" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name.replace(/[^\w.-]+/g, "_").replace(/^\.+/, "") || "value";
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
