import { isAbort } from "../api.js";
import { byId } from "../dom.js";
import { bind } from "../shortcuts.js";
import { number, t, tn } from "../texts.js";
import { openDownloads } from "./panel.js";

/** The button of downloads, which shows how many are on their way, and its key. Returns what opens them with an address. */
export function mountDownloads({ api, type, live }) {
  const button = byId("downloads");
  const badge = button.querySelector(".badge");
  let asking = null;

  const count = async () => {
    asking?.abort();
    const { signal } = (asking = new AbortController());
    try {
      const { stats } = await api.getWhenReady("downloads/stats", {}, signal);
      const waiting = stats.queued + stats.downloading + stats.paused;
      badge.hidden = !waiting;
      badge.textContent = number(waiting);
      button.setAttribute("aria-label", waiting ? tn("downloads.openWith", waiting) : t("downloads.open"));
    } catch (error) {
      if (!isAbort(error)) badge.hidden = true;
    }
  };
  const open = () => {
    if (!document.querySelector("dialog[open]")) openDownloads({ api, type, live });
  };
  button.addEventListener("click", open);
  bind("downloads", open);
  for (const event of ["downloads", "connected"]) live.addEventListener(event, count);
  count();
  return (address) => openDownloads({ api, type, live, address });
}
