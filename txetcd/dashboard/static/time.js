// Times: durations as text, and texts that count down.

const counting = new Map();

/** A number of seconds as people write it. */
export function duration(seconds) {
  const whole = Math.max(0, Math.ceil(seconds));
  const [days, hours, minutes] = [86400, 3600, 60].map((unit) => Math.floor(whole / unit));
  const two = (number) => String(number).padStart(2, "0");
  if (days > 0) return `${days} d ${hours % 24} h`;
  if (hours > 0) return `${hours} h ${two(minutes % 60)} min`;
  if (minutes > 0) return `${minutes}:${two(whole % 60)} min`;
  return `${whole} s`;
}

/** When a node of the server's runs out, by this machine's clock; null if it does not. */
export function deadlineOf(node) {
  return node.ttl === undefined ? null : Date.now() + node.ttl * 1000;
}

/** Seconds that are left. */
export function left(deadline) {
  return Math.max(0, (deadline - Date.now()) / 1000);
}

/**
 * Have an element show how much time is left, as long as it is on the page.
 *
 * `passed` is called once, a moment after the time has come: by then the server has said what became of it.
 */
export function countDown(element, deadline, passed = () => {}) {
  if (deadline === null) {
    counting.delete(element);
    element.textContent = "";
  } else {
    counting.set(element, { deadline, passed });
    element.textContent = duration(left(deadline));
  }
}

function tick() {
  for (const [element, { deadline, passed }] of counting) {
    if (!element.isConnected) counting.delete(element);
    else if (Date.now() > deadline + 2000) {
      counting.delete(element);
      element.textContent = "";
      passed();
    } else element.textContent = duration(left(deadline));
  }
}

setInterval(tick, 1000);
