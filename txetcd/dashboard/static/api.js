// The server, asked over HTTP as any other client does it.

import { toPath } from "./keys.js";

// The page is at …/dashboard/, the API beside it.
const SERVER = new URL("..", location.origin + location.pathname);

export const NOT_FOUND = 100;
export const COMPARE_FAILED = 101;
export const NOT_A_FILE = 102;
export const EXISTS = 105;
export const NOT_EMPTY = 108;
export const OUTDATED = 401;

/** The server has understood, and does not want to. */
export class Refused extends Error {
  constructor(status, body) {
    super([body?.message ?? `HTTP status ${status}`, body?.cause].filter(Boolean).join(": "));
    this.status = status;
    this.code = body?.errorCode ?? 0;
    this.index = body?.index ?? 0;
    this.cause = body?.cause ?? "";
  }

  /** Whether somebody else might. */
  get unauthorized() {
    return this.status === 401;
  }
}

/** The server, and the password for it; that is nowhere else, and gone with the page. */
export class Api {
  #authorization = null;

  signIn(user, password) {
    const bytes = new TextEncoder().encode(`${user}:${password}`);
    this.#authorization = "Basic " + btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
  }

  signOut() {
    this.#authorization = null;
  }

  get signedIn() {
    return this.#authorization !== null;
  }

  /** Who this is, as the server sees it. */
  async whoAmI() {
    return (await this.#json("dashboard/whoami")).body;
  }

  /** Some figures of the server's: `self` or `store`. */
  async stats(which) {
    return (await this.#json(`v2/stats/${which}`)).body;
  }

  /** A part of a directory: `limit` nodes behind the name `after`, without values. */
  async list(directory, after, limit) {
    const query = { keysOnly: true, limit, startAfter: after };
    const { body, index } = await this.#json(url(directory, query, true));
    return { node: body.node, nodes: body.node.nodes ?? [], index };
  }

  /** A key with its value, or a directory with one of its nodes, if it has any. */
  async look(key) {
    let answer;
    try {
      answer = await this.#json(url(key, { limit: 1 }));
    } catch (error) {
      // The right to all that is in a directory is a right to the directory with a slash behind it.
      if (!error.unauthorized) throw error;
      answer = await this.#json(url(key, { limit: 1 }, true));
    }
    return { node: answer.body.node, index: answer.index };
  }

  /** Write a key; `query` says on what condition. */
  async put(key, query, form) {
    return (await this.#json(url(key, query), { method: "PUT", body: new URLSearchParams(form) })).body;
  }

  async remove(key, query) {
    return (await this.#json(url(key, query), { method: "DELETE" })).body;
  }

  /** Everything that happens below a directory from an index on, for as long as the connection holds. */
  async *stream(directory, since, signal, connected) {
    const query = { wait: true, stream: true, recursive: true, waitIndex: since };
    const response = await this.#fetch(url(directory, query, true), { signal });
    connected(Number(response.headers.get("X-Etcd-Index")));
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      yield* lines.filter((line) => line !== "").map((line) => JSON.parse(line));
    }
  }

  async #json(path, options = {}) {
    const response = await this.#fetch(path, options);
    const index = Number(response.headers.get("X-Etcd-Index") ?? 0);
    return { body: await response.json(), index };
  }

  async #fetch(path, options) {
    const headers = this.#authorization === null ? {} : { Authorization: this.#authorization };
    const response = await fetch(new URL(path, SERVER), {
      mode: "same-origin",
      cache: "no-store",
      redirect: "error",
      headers,
      ...options,
    });
    if (response.ok) return response;
    throw new Refused(response.status, await response.json().catch(() => null));
  }
}

function url(key, query, slash = false) {
  const path = toPath(key);
  return `v2/keys${path}${slash && path !== "/" ? "/" : ""}?${new URLSearchParams(query)}`;
}
