/**
 * Runs first, and imports nothing, so that it need not wait: asks the server for what the page shows that the address
 * names, and then fetches the modules of that page.
 * @module
 */

const { prefix = "", entered } = document.documentElement.dataset;
const [name = "", id = ""] = (window.location.hash.replace(/^#\/?/, "").split("?", 1)[0] ?? "").split("/");

/** @type {Map<string, Promise<Response>>} */
const asked = new Map();
ask("/v1/session");
if (entered === "true" && name === "view" && /^[0-9a-f]+$/.test(id)) ask(`/v1/jobs/${id}/view`);

// Modules come after the questions: browsers have few requests under way at once.
window.setTimeout(() => {
  // How to draw takes a while to find out, and nothing else can be done yet.
  if (name === "view") import("../view/drawers.js").then(({ onTheProcessor }) => onTheProcessor(), () => undefined);
  for (const page of ["", name || "slides"]) {
    /** @type {HTMLTemplateElement|null} */
    const modules = document.querySelector(`template[data-page="${CSS.escape(page)}"]`);
    if (modules) document.head.append(modules.content.cloneNode(true));
  }
});

/** @param {string} path */
function ask(path) {
  const answer = fetch(prefix + path, { headers: { Accept: "application/json" }, credentials: "same-origin" });
  answer.catch(() => undefined); // whoever needs it asks again
  asked.set(path, answer);
}

/**
 * Hand over the answer to what was asked here, once.
 * @param {string} path
 * @returns {Promise<Response|null>} null where it was not asked, or came to nothing: then it is to be asked for now
 */
export async function earlyAnswer(path) {
  const answer = asked.get(path);
  asked.delete(path);
  const found = await answer?.catch(() => null);
  return found?.ok ? found : null; // a refusal may be older than the session that asks now
}
