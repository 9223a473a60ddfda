// One watch on all that is shown, which goes on whatever happens to the connection.

import { OUTDATED, Refused } from "./api.js";

// How long to wait before trying again, in milliseconds: a little longer each time.
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 10_000;

// How far back the list of events begins.
const LOOK_BACK = 200;

/**
 * Follow a directory.
 *
 * `hear.event(event)` gets each event; `hear.missed()` is told that some are lost, so that what is shown has to be
 * read anew; `hear.state(word)` whether the watch is "live", "waiting" for the server, "paused", or "refused".
 */
export class Watch {
  #api;
  #hear;
  #stop = new AbortController();
  #directory = null;
  #since = 1;

  constructor(api, hear) {
    this.#api = api;
    this.#hear = hear;
    // A page that nobody looks at keeps no connection: browsers have few of them for one server.
    document.addEventListener("visibilitychange", () => {
      if (this.#directory !== null) document.hidden ? this.#pause() : this.#run();
    });
  }

  /** Begin with what has happened lately, as of an index. */
  start(directory, index) {
    this.#directory = directory;
    this.#since = Math.max(1, index - LOOK_BACK);
    this.#run(index);
  }

  #pause() {
    this.#stop.abort();
    this.#hear.state("paused");
  }

  async #run(known = null) {
    this.#stop.abort();
    const stop = (this.#stop = new AbortController());
    let pause = FIRST_PAUSE;
    const live = (index) => {
      if (index + 1 < this.#since) {
        // The server has begun anew, with other data.
        this.#since = index + 1;
        this.#hear.missed();
        throw new Error("the index went back");
      }
      pause = FIRST_PAUSE;
      this.#hear.state("live");
    };
    while (!stop.signal.aborted) {
      try {
        for await (const event of this.#api.stream(this.#directory, this.#since, stop.signal, live)) {
          if (stop.signal.aborted) return;
          this.#since = event.node.modifiedIndex + 1;
          this.#hear.event(event);
        }
        if (!stop.signal.aborted) this.#hear.state("waiting");
      } catch (error) {
        if (stop.signal.aborted) return;
        if (error instanceof Refused && error.code === OUTDATED) {
          // At the beginning it is only that not so much is remembered.
          this.#since = (known ?? error.index) + 1;
          if (known === null) this.#hear.missed();
          known = null;
          continue;
        }
        if (error instanceof Refused && error.unauthorized) {
          this.#hear.state("refused");
          return;
        }
        this.#hear.state("waiting");
      }
      await new Promise((wake) => setTimeout(wake, pause));
      pause = Math.min(2 * pause, LONGEST_PAUSE);
    }
  }
}
