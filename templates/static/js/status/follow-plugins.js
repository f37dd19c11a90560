import { bootstrap } from "../bootstrap.js";

/**
 * Follows the plugin of this page's type. Models that it describes otherwise come as any change does; when it says
 * other things of the type itself (filters, facts, kinds), the page is made anew, at the same place.
 */
export function followPlugins({ live }) {
  const shown = JSON.stringify(bootstrap.type);
  live.addEventListener("plugins", async () => {
    const next = await fetch(location.pathname).then(described, () => null);
    if (next && next !== shown) location.reload();
  });
}

/** What a page says of its type; null for a page of something else, such as an error. */
async function described(answer) {
  if (!answer.ok) return null;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const text = page.getElementById("bootstrap")?.textContent;
  return text ? JSON.stringify(JSON.parse(text).type) : null;
}
