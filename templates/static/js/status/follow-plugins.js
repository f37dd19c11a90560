import { bootstrap } from "../bootstrap.js";

/**
 * Follows the plugin of this page's type. Models that it describes otherwise come as any change does; when it says
 * other things of the type itself (filters, facts, kinds), the page is made anew, at the same place. Why a newer version
 * is not served, such as a compiler's message, becomes `pluginFailure` of the store.
 */
export function followPlugins({ live, store }) {
  const shown = JSON.stringify(bootstrap.type);
  // When it can't be asked, what is known stays.
  const look = () => failure().then((reason) => store.set({ pluginFailure: reason }, "none"), () => {});
  live.addEventListener("plugins", async () => {
    const next = await fetch(location.pathname).then(described).catch(() => null);
    if (next && next !== shown) location.reload();
    else await look();
  });
  look();
}

/** Why the newest version of this page's plugin is not served; null when it is. */
async function failure() {
  const { plugins } = await (await fetch("/api/plugins")).json();
  const own = plugins.find(({ id }) => id === bootstrap.type.id);
  return own?.failure?.reason ?? null;
}

/** What a page says of its type; null for a page of something else, such as an error. */
async function described(answer) {
  if (!answer.ok) return null;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const text = page.getElementById("bootstrap")?.textContent;
  return text ? JSON.stringify(JSON.parse(text).type) : null;
}
