/**
 * A value that parts of a page share, and are told of when it changes.
 * @module
 */

/**
 * @template {object} T
 * @typedef {object} Store
 * @property {() => Readonly<T>} get
 * @property {(changes: Partial<T>) => void} set tells listeners, where a value is another one than before
 * @property {(listener: (now: Readonly<T>, before: Readonly<T>) => void) => () => void} subscribe returns what ends it
 */

/**
 * Make a store.
 * @template {object} T
 * @param {T} initial
 * @returns {Store<T>}
 */
export function createStore(initial) {
  let value = initial;
  /** @type {Set<(now: Readonly<T>, before: Readonly<T>) => void>} */
  const listeners = new Set();
  return {
    get: () => value,
    set(changes) {
      const before = value;
      const after = { ...value, ...changes };
      const keys = /** @type {(keyof T)[]} */ (Object.keys(changes));
      if (keys.every((key) => before[key] === after[key])) return;
      value = after;
      for (const listener of [...listeners]) listener(value, before);
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}
