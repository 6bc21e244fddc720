/**
 * Notices when the server is away and when it is back: after a restart, or when the network returns.
 * @module
 */

import { address, server, sleep } from "./api.js";

const LOOK_MILLISECONDS = 1500;

let away = false;
let watching = false;

/** Return whether the last request got no answer. */
export function isAway() {
  return away;
}

/** Start to watch; `server` tells of `away` and `back`. */
export function watchConnection() {
  server.addEventListener("lost", () => void lookUntilBack());
  server.addEventListener("answered", () => setAway(false));
  window.addEventListener("offline", () => void lookUntilBack());
  window.addEventListener("online", () => void lookUntilBack());
}

/** @param {boolean} now */
function setAway(now) {
  if (now === away) return;
  away = now;
  server.dispatchEvent(new Event(now ? "away" : "back"));
}

async function lookUntilBack() {
  if (watching) return;
  watching = true;
  setAway(!(await answers()));
  while (away) {
    await sleep(LOOK_MILLISECONDS);
    if (await answers()) setAway(false);
  }
  watching = false;
}

async function answers() {
  try {
    return (await fetch(address("/health/live"), { cache: "no-store", signal: AbortSignal.timeout(5000) })).ok;
  } catch {
    return false;
  }
}
