import { at } from "../base-path.js";
import { bootstrap } from "../bootstrap.js";
import { t } from "../texts.js";

/**
 * Follows the plugin of this page's type. Models that it describes otherwise come as any change does; when it says
 * other things of the type itself (filters, facts, kinds), the page is made anew, at the same place. That it is not served, or
 * why a newer version is not, such as a compiler's message, becomes `pluginFailure` of the store: `{text, reason}` or null.
 */
export function followPlugins({ live, store }) {
  const shown = JSON.stringify(bootstrap.type);
  // When it can't be asked, what is known stays.
  const look = () => failure().then((pluginFailure) => store.set({ pluginFailure }, "none"), () => {});
  live.addEventListener("plugins", async () => {
    const next = await fetch(location.pathname).then(described).catch(() => null);
    if (next && next !== shown) location.reload();
    else await look();
  });
  look();
}

/** What is wrong with this page's plugin; null when it is served, in its newest version. */
async function failure() {
  const { plugins } = await (await fetch(at("/api/lm/plugins"))).json();
  const own = plugins.find(({ id }) => id === bootstrap.type.id);
  if (own?.state === "disabled" || own?.state === "quarantined") return { text: t(`plugin.${own.state}`), reason: own.reason ?? "" };
  return own?.failure ? { text: t("plugin.failed"), reason: own.failure.reason } : null;
}

/** What a page says of its type; null for a page of something else, such as an error. */
async function described(answer) {
  if (!answer.ok) return null;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const text = page.getElementById("bootstrap")?.textContent;
  return text ? JSON.stringify(JSON.parse(text).type) : null;
}
