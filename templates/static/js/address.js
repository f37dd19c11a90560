import { ADDRESS_KEYS, fromAddress, toAddress } from "./query.js";

/** Keeps the address bar and the store the same, in both directions. */
export function mirror(store) {
  store.addEventListener("change", ({ detail }) => {
    if (detail.history === "none" || !ADDRESS_KEYS.some((key) => detail.changed.has(key))) return;
    const query = toAddress(store.state);
    const url = query ? `?${query}` : location.pathname;
    if (detail.history === "replace") history.replaceState(history.state, "", url);
    else history.pushState({ opened: detail.changed.has("model") && store.state.model !== "" }, "", url);
  });
  addEventListener("popstate", () => store.set(fromAddress(location.search), "none"));
}

/** The address of `model` within the current list, for links that may be opened in a new tab. */
export function addressOf(state, model) {
  return `?${toAddress({ ...state, model })}`;
}
