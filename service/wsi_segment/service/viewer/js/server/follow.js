/**
 * Streams of server-sent events that go on where they were cut off.
 *
 * `EventSource` gives up at any answer that is no stream (a server that starts again behind a proxy answers 502), and
 * cannot say why; this reader repeats with the number of the last event until the stream has ended. While a page is
 * hidden its streams are closed: browsers open six connections to a server, for all of their tabs together.
 * @module
 */

import { address, problemOf, server, sleep } from "./api.js";

/** @typedef {import("./types.js").ServerEvent} ServerEvent */

const FIRST_WAIT = 500;
const LONGEST_WAIT = 8000;
const HIDDEN_MILLISECONDS = 5000;

/**
 * Follow a stream until it has ended, or the returned function is called.
 * @param {string} path
 * @param {(event: ServerEvent) => void} listener
 * @param {{onEnd?: () => void, onError?: (error: import("./api.js").ApiError) => void}} [options] an error is one that
 *   repeating does not mend: nothing is there, or it may not be seen
 * @returns {() => void}
 */
export function follow(path, listener, options = {}) {
  const stop = new AbortController();
  void run(path, listener, options, stop.signal);
  return () => stop.abort();
}

/**
 * @param {string} path
 * @param {(event: ServerEvent) => void} listener
 * @param {{onEnd?: () => void, onError?: (error: import("./api.js").ApiError) => void}} options
 * @param {AbortSignal} signal
 */
async function run(path, listener, options, signal) {
  let last = "";
  let wait = FIRST_WAIT;
  while (!signal.aborted) {
    await visible(signal);
    const cut = cutWhenHidden(signal);
    try {
      /** @type {Record<string, string>} */
      const headers = last ? { "Last-Event-ID": last } : {};
      const answer = await fetch(address(path), { headers, signal: cut.signal, cache: "no-store", credentials: "same-origin" });
      if (answer.status === 204) {
        options.onEnd?.();
        return;
      }
      if (!answer.ok && answer.status < 500 && answer.status !== 429) {
        const error = await problemOf(answer);
        if (answer.status === 401) server.dispatchEvent(new CustomEvent("signed-out", { detail: error.message }));
        options.onError?.(error);
        return;
      }
      if (answer.ok && answer.body) {
        server.dispatchEvent(new Event("answered"));
        await readEvents(answer.body, (event) => {
          last = String(event.id);
          wait = FIRST_WAIT;
          listener(event);
        });
      }
    } catch (error) {
      if (signal.aborted) return;
      if (cut.signal.aborted) continue;
      server.dispatchEvent(new Event("lost"));
    } finally {
      cut.end();
    }
    await sleep(wait);
    wait = Math.min(LONGEST_WAIT, 2 * wait);
  }
}

/**
 * Wait until the page is on the screen.
 * @param {AbortSignal} signal
 */
async function visible(signal) {
  while (document.hidden && !signal.aborted) {
    await new Promise((resolve) => {
      document.addEventListener("visibilitychange", resolve, { once: true });
      signal.addEventListener("abort", resolve, { once: true });
    });
  }
}

/**
 * Return a signal that ends a request when the page has been hidden for a while, or when another signal says so.
 * @param {AbortSignal} signal
 */
function cutWhenHidden(signal) {
  const cut = new AbortController();
  let timer = 0;
  const look = () => {
    window.clearTimeout(timer);
    if (document.hidden) timer = window.setTimeout(() => cut.abort(), HIDDEN_MILLISECONDS);
  };
  const abort = () => cut.abort();
  document.addEventListener("visibilitychange", look);
  signal.addEventListener("abort", abort);
  look();
  return {
    signal: cut.signal,
    end() {
      window.clearTimeout(timer);
      document.removeEventListener("visibilitychange", look);
      signal.removeEventListener("abort", abort);
    },
  };
}

/**
 * @param {ReadableStream<Uint8Array>} body
 * @param {(event: ServerEvent) => void} listener
 */
async function readEvents(body, listener) {
  const reader = body.pipeThrough(/** @type {any} */ (new TextDecoderStream())).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const event = parse(text.slice(0, end));
      text = text.slice(end + 2);
      if (event) listener(event);
    }
  }
}

/**
 * @param {string} block
 * @returns {ServerEvent|null} null for a comment
 */
function parse(block) {
  /** @type {Record<string, string>} */
  const fields = {};
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 1).trimStart();
  }
  if (fields["data"] === undefined) return null;
  return { id: Number(fields["id"]), kind: fields["event"] ?? "message", data: JSON.parse(fields["data"]) };
}
