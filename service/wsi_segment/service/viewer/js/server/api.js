/**
 * Requests to the server: under its prefix, with the session's token, and with its problems as errors.
 * @module
 */

import { earlyAnswer } from "../app/early.js";

/** @typedef {import("./types.js").Session} Session */

const prefix = document.documentElement.dataset.prefix ?? "";

/** An answer that is no success, with what the server says of it. */
export class ApiError extends Error {
  /**
   * @param {number} status of HTTP; 0 where no answer came
   * @param {string} kind stable name for programs, such as `unknown-job`
   * @param {string} detail for people
   * @param {any} [problem] the whole document
   */
  constructor(status, kind, detail, problem) {
    super(detail);
    this.status = status;
    this.kind = kind;
    this.problem = problem;
  }

  /** Whether the server did not answer at all. */
  get lost() {
    return this.status === 0;
  }
}

/**
 * Tells of `lost` and `back` (connection); of `signed-out` when the session has ended by itself, `signed-in`, and `left`
 * when the user has ended it; of `leaving` before what a user has not saved is forgotten (who would lose something
 * prevents it), and `forget` when it is.
 */
export const server = new EventTarget();

const SESSION = "/v1/session";

let csrf = "";

/**
 * Return the address of a path of the server.
 * @param {string} path such as `/v1/jobs`
 */
export function address(path) {
  return prefix + path;
}

/**
 * Send a request; a request that only reads waits and repeats where the server is busy.
 * @param {string} method
 * @param {string} path
 * @param {{body?: any, headers?: Record<string, string>, signal?: AbortSignal}} [options] a body is sent as JSON
 * @returns {Promise<Response>}
 */
export async function send(method, path, options = {}) {
  /** @type {Record<string, string>} */
  const headers = { Accept: "application/json", ...options.headers };
  if (options.body !== undefined) headers["Content-Type"] ??= "application/json";
  if (method !== "GET" && csrf) headers["X-CSRF-Token"] = csrf;
  const body = options.body === undefined ? null : JSON.stringify(options.body);
  for (let attempt = 0; ; attempt += 1) {
    const answer = await fetched(path, { method, headers, body, signal: options.signal ?? null, cache: "default" });
    if (answer.ok) return answer;
    const wait = Number(answer.headers.get("Retry-After"));
    if (method === "GET" && answer.status === 503 && wait > 0 && wait <= 5 && attempt < 4) {
      await sleep(1000 * wait);
      continue;
    }
    const error = await problemOf(answer);
    if (answer.status === 401 && !(method === "POST" && path === SESSION)) server.dispatchEvent(new CustomEvent("signed-out", { detail: error.message }));
    if (error.kind === "no-csrf-token") { // another tab has signed in
      server.dispatchEvent(new Event("signed-in"));
      throw new ApiError(answer.status, error.kind, "This browser has another session now: nothing was changed. Try again.", error.problem);
    }
    throw error;
  }
}

/**
 * Get JSON.
 * @param {string} path
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export async function get(path, signal) {
  return (await send("GET", path, { signal })).json();
}

/**
 * Send JSON, and get JSON.
 * @param {string} path
 * @param {any} [body]
 * @param {Record<string, string>} [headers]
 * @returns {Promise<any>}
 */
export async function post(path, body, headers) {
  const answer = await send("POST", path, { body, headers });
  return answer.status === 204 ? null : answer.json();
}

/**
 * Remove or cancel.
 * @param {string} path
 * @returns {Promise<any>}
 */
export async function remove(path) {
  const answer = await send("DELETE", path);
  return answer.status === 204 ? null : answer.json();
}

/**
 * Return who this browser is to the server, and keep the session's token for what follows.
 * @returns {Promise<Session>}
 */
export async function readSession() {
  const session = /** @type {Session} */ (await get(SESSION));
  csrf = session.csrf_token;
  return session;
}

/**
 * Exchange a key for a session; the key is kept nowhere.
 * @param {string} key
 * @returns {Promise<Session>}
 */
export async function signIn(key) {
  const session = /** @type {Session} */ (await post(SESSION, { key }));
  csrf = session.csrf_token;
  return session;
}

/** End the session. */
export async function signOut() {
  await remove(SESSION);
  csrf = "";
}

/** Return a key under which a post may be repeated without doing anything twice. */
export function idempotencyKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16)); // randomUUID exists over TLS and on loopback only
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * @param {string} path
 * @param {RequestInit} request
 * @returns {Promise<Response>}
 */
async function fetched(path, request) {
  try {
    const early = request.method === "GET" ? await earlyAnswer(path) : null;
    const answer = early ?? (await fetch(address(path), { credentials: "same-origin", ...request }));
    server.dispatchEvent(new Event("answered"));
    return answer;
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    server.dispatchEvent(new Event("lost"));
    throw new ApiError(0, "no-answer", "The server does not answer.");
  }
}

/**
 * @param {Response} answer
 * @returns {Promise<ApiError>}
 */
export async function problemOf(answer) {
  try {
    const problem = await answer.json();
    const kind = String(problem.type ?? "").split(":").pop() ?? "";
    return new ApiError(answer.status, kind, String(problem.detail ?? answer.statusText), problem);
  } catch {
    return new ApiError(answer.status, "unknown", answer.statusText || `HTTP ${answer.status}`);
  }
}

/** @param {number} milliseconds */
export function sleep(milliseconds) {
  return new Promise((resolve) => window.setTimeout(resolve, milliseconds));
}
