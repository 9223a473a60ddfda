// How busy the server is: what its counters gain, and how long it takes to answer this page.

import { draw } from "./dom.js";

const PERIOD = 2000;
const SAMPLES = 90;

const READS = ["getsSuccess", "getsFail"];

const WIDTH = 180;
const HEIGHT = 40;

/** One line over time in a figure, with the latest value beside it. */
class Plot {
  #values = [];
  #line = draw("polyline", { class: "line" });
  #area = draw("polygon", { class: "area" });
  #picture = draw(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" },
    this.#area,
    this.#line,
  );

  constructor(figure, unit) {
    this.figure = figure;
    this.unit = unit;
    this.name = figure.querySelector(".label").textContent;
    figure.append(this.#picture);
  }

  /** Add a value; null where there is none. */
  add(value) {
    this.#values.push(value);
    if (this.#values.length > SAMPLES) this.#values.shift();
    const known = this.#values.filter((each) => each !== null);
    const highest = Math.max(...known, 0);
    const text = value === null ? "–" : `${round(value)} ${this.unit}`;
    this.figure.querySelector(".now").textContent = text;
    this.figure.querySelector(".peak").textContent = known.length > 1 ? `peak ${round(highest)}` : "";
    this.#picture.setAttribute("aria-label", `${this.name}: now ${text}, at most ${round(highest)} in three minutes`);
    const step = WIDTH / (SAMPLES - 1);
    const first = WIDTH - (this.#values.length - 1) * step;
    const points = this.#values.flatMap((each, number) =>
      each === null ? [] : [`${(first + number * step).toFixed(1)},${(HEIGHT - 2 - (each / (highest || 1)) * (HEIGHT - 4)).toFixed(1)}`],
    );
    this.#line.setAttribute("points", points.join(" "));
    const ends = points.length > 0 ? [`${points[0].split(",")[0]},${HEIGHT}`, `${WIDTH},${HEIGHT}`] : [];
    this.#area.setAttribute("points", [ends[0], ...points, ends[1]].filter(Boolean).join(" "));
  }
}

function round(value) {
  return value >= 10 ? Math.round(value).toLocaleString() : String(Math.round(value * 10) / 10);
}

/** The plots in figures; `hear(stats)` gets each sample of the store's figures. */
export class Plots {
  #api;
  #hear;
  #reads;
  #writes;
  #latency;
  #before = null;

  constructor({ reads, writes, latency }, api, hear) {
    this.#api = api;
    this.#hear = hear;
    this.#reads = new Plot(reads, "/s");
    this.#writes = new Plot(writes, "/s");
    this.#latency = new Plot(latency, "ms");
    this.#sample();
  }

  async #sample() {
    if (!document.hidden) await this.#take();
    setTimeout(() => this.#sample(), PERIOD);
  }

  async #take() {
    const began = performance.now();
    try {
      const stats = await this.#api.stats("store");
      const now = performance.now();
      this.#latency.add(now - began);
      const counts = sums(stats);
      const before = this.#before;
      this.#before = { ...counts, at: now };
      if (before !== null && counts.reads >= before.reads && counts.writes >= before.writes) {
        const seconds = (now - before.at) / 1000;
        this.#reads.add((counts.reads - before.reads) / seconds);
        this.#writes.add((counts.writes - before.writes) / seconds);
      }
      this.#hear(stats);
    } catch {
      // That the server is away is told by the watch.
      this.#before = null;
      for (const plot of [this.#reads, this.#writes, this.#latency]) plot.add(null);
    }
  }
}

function sums(stats) {
  const sum = { reads: 0, writes: 0 };
  for (const [name, count] of Object.entries(stats)) {
    if (READS.includes(name)) sum.reads += count;
    else if (/(Success|Fail)$/.test(name)) sum.writes += count;
  }
  return sum;
}
