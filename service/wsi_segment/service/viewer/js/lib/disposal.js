/**
 * What a page has to undo when it is left.
 * @module
 */

/** @typedef {{add: (undo: () => void) => void, dispose: () => void, readonly disposed: boolean}} Disposal */

/**
 * Collect what is to be undone; it is undone in reverse order, and what comes later at once.
 * @returns {Disposal}
 */
export function createDisposal() {
  /** @type {(() => void)[]} */
  const undos = [];
  let disposed = false;
  return {
    add(undo) {
      if (disposed) undo();
      else undos.push(undo);
    },
    get disposed() {
      return disposed;
    },
    dispose() {
      disposed = true;
      for (let undo = undos.pop(); undo; undo = undos.pop()) undo();
    },
  };
}

/**
 * Listen to an event until disposal.
 * @param {Disposal} disposal
 * @param {EventTarget} target
 * @param {string} name
 * @param {(event: any) => void} listener
 * @param {AddEventListenerOptions} [options]
 */
export function listen(disposal, target, name, listener, options) {
  target.addEventListener(name, listener, options);
  disposal.add(() => target.removeEventListener(name, listener, options));
}

/**
 * Return a function that calls another one once things have been quiet for a while.
 * @template {any[]} A
 * @param {number} milliseconds
 * @param {(...values: A) => void} action
 * @param {number} [most] milliseconds after which it is called though things never are quiet
 * @returns {((...values: A) => void) & {cancel: () => void}}
 */
export function debounced(milliseconds, action, most = Infinity) {
  let timer = 0;
  let since = 0;
  const cancel = () => {
    window.clearTimeout(timer);
    since = 0;
  };
  const wait = (/** @type {A} */ ...values) => {
    window.clearTimeout(timer);
    since ||= performance.now();
    const left = Math.max(0, since + most - performance.now());
    timer = window.setTimeout(() => {
      since = 0;
      action(...values);
    }, Math.min(milliseconds, left));
  };
  return Object.assign(wait, { cancel });
}
