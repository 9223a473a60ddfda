// Who looks at this: the address, the certificate and the user, as the server sees them.

import { askWho } from "./dialogs.js";
import { button, make } from "./dom.js";
import { visible } from "./keys.js";

/** The part of the page that tells; `changed()` is called when somebody has signed in or out. */
export class Who {
  #element;
  #api;
  #changed;

  constructor(element, api, changed) {
    this.#element = element;
    this.#api = api;
    this.#changed = changed;
  }

  /** Ask the server, show the answer and give it. */
  async ask() {
    const who = await this.#api.whoAmI();
    const { certificate } = who;
    const facts = [["Address", who.address ?? "a socket of this machine"]];
    if (certificate !== null) {
      facts.push(
        ["Certificate", certificate.subject],
        ["signed by", certificate.issuer],
        ["valid until", expires(certificate.expires)],
      );
    } else facts.push(["Certificate", "none"]);
    facts.push(["User", who.user ?? (who.auth ? "the guest" : "nobody in particular: users are not asked for")]);
    if (who.auth) facts.push(["May read", who.read.join(", ") || "nothing"]);
    this.#element.replaceChildren(
      make("summary", {}, make("bdi", {}, visible(nameOf(who)))),
      make(
        "div",
        { class: "card" },
        make("dl", {}, ...facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, visible(value))))),
        who.auth ? this.#signing() : null,
      ),
    );
    return who;
  }

  #signing() {
    const signIn = () => {
      this.#element.open = false;
      askWho(this.#api, () => this.#changed());
    };
    const signOut = () => {
      this.#element.open = false;
      this.#api.signOut();
      this.#changed();
    };
    return this.#api.signedIn ? button("Sign out", signOut) : button("Sign in…", signIn);
  }
}

/** One name for whoever it is. */
function nameOf({ user, certificate, auth, address }) {
  const common = certificate?.subject.match(/(?:^|,)CN=((?:\\.|[^,\\])*)/)?.[1];
  return user ?? common ?? (auth ? "guest" : (address ?? "local"));
}

function expires(time) {
  const date = new Date(time);
  const days = Math.floor((date - Date.now()) / 86_400_000);
  return `${date.toLocaleString()} (${days} ${days === 1 ? "day" : "days"})`;
}
