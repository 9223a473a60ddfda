// Elements, made without any HTML in texts.  Whatever comes from the server becomes a text node or a plain attribute.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element.
 *
 * A function among the attributes is a listener, named by the event; `true` is an attribute without a value, and
 * `false`, null and undefined are none.
 */
export function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Likewise an element of SVG. */
export function draw(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** The element of that id. */
export function byId(id) {
  return document.getElementById(id);
}

/** A button that says what it does. */
export function button(text, press, attributes = {}) {
  return make("button", { type: "button", click: press, ...attributes }, text);
}

/** An input with its label. */
export function labelled(text, input) {
  return make("label", {}, make("span", { class: "label" }, text), input);
}

/** Say something in the line at the bottom; aloud, to those who have it read to them. */
export function say(text, wrong = false) {
  const line = byId("said");
  line.textContent = text;
  line.classList.toggle("wrong", wrong);
}
