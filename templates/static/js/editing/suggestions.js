import { isAbort } from "../api.js";
import { debounce, h } from "../dom.js";

const TYPED = 120;
const MOST = 12;
const MARGIN = 4;
let count = 0;

/**
 * Suggestions below a text input. `find(text, signal)` answers texts; `choose(text)` is called for the one that is taken;
 * `label` names the list. `atFocus`: also without a letter typed. Call it before other listeners are put on the input:
 * Enter and Escape are for the list while it is open.
 */
export function suggest(input, { find, choose, label, atFocus = false }) {
  const id = `suggest-${(count += 1)}`;
  const list = h("ul", { class: "suggest", role: "listbox", id, "aria-label": label, popover: "manual" });
  let at = -1;
  let asking = null;
  for (const [name, value] of [["role", "combobox"], ["aria-autocomplete", "list"], ["aria-expanded", "false"], ["aria-controls", id]]) input.setAttribute(name, value);
  input.after(list);

  const scrolled = ({ target }) => {
    if (target !== list) close();
  };
  const isOpen = () => list.matches(":popover-open");
  const close = () => {
    asking?.abort();
    ask.cancel();
    if (isOpen()) list.hidePopover();
    document.removeEventListener("scroll", scrolled, true);
    mark(-1);
    input.setAttribute("aria-expanded", "false");
  };
  const mark = (to) => {
    at = to;
    [...list.children].forEach((option, place) => option.setAttribute("aria-selected", String(place === at)));
    if (at < 0) input.removeAttribute("aria-activedescendant");
    else input.setAttribute("aria-activedescendant", list.children[at].id);
    list.children[at]?.scrollIntoView({ block: "nearest" });
  };
  const take = (text) => {
    close();
    choose(text);
  };
  const show = (texts) => {
    // The answer may come when the person has gone on.
    if (!texts.length || document.activeElement !== input) return close();
    list.replaceChildren(...texts.slice(0, MOST).map((text, place) => h("li", {
      class: "suggest__option",
      role: "option",
      id: `${id}-${place}`,
      "aria-selected": "false",
      // The input keeps the focus; losing it would save what is typed.
      onpointerdown: (event) => event.preventDefault(),
      onclick: () => take(text),
    }, text)));
    mark(-1);
    if (!isOpen()) list.showPopover();
    // The list stands still while the input would move away from it.
    document.addEventListener("scroll", scrolled, true);
    const box = input.getBoundingClientRect();
    list.style.minWidth = `${box.width}px`;
    const below = box.bottom + MARGIN + list.offsetHeight < innerHeight;
    list.style.left = `${Math.max(MARGIN, Math.min(box.left, innerWidth - list.offsetWidth - MARGIN))}px`;
    list.style.top = `${below ? box.bottom + MARGIN : Math.max(MARGIN, box.top - list.offsetHeight - MARGIN)}px`;
    input.setAttribute("aria-expanded", "true");
  };
  const now = async () => {
    asking?.abort();
    const { signal } = (asking = new AbortController());
    try {
      const texts = await find(input.value.trim(), signal);
      if (!signal.aborted) show(texts);
    } catch (error) {
      // Without suggestions the text can still be typed.
      if (!isAbort(error)) close();
    }
  };
  const ask = debounce(TYPED, now);

  input.addEventListener("input", () => {
    if (input.value.trim() || atFocus) ask();
    else close();
  });
  if (atFocus) input.addEventListener("focus", now);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    const options = list.children.length;
    if (event.key === "ArrowDown" && !isOpen()) now();
    else if (!isOpen()) return;
    else if (event.key === "ArrowDown") mark((at + 1) % options);
    else if (event.key === "ArrowUp") mark(at <= 0 ? options - 1 : at - 1);
    else if (event.key === "Enter" && at >= 0) take(list.children[at].textContent);
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
    event.stopImmediatePropagation();
  });
}

/** Finds base models that the library has. */
export function baseFinder(api) {
  return async (text, signal) => {
    const { base_models: bases } = await api.get("base-models", { limit: 0 }, signal);
    const names = bases.map(({ name }) => name).filter(Boolean);
    const wanted = text.toLowerCase();
    // At the value that is there already, all others are of interest.
    return names.includes(text) ? names : names.filter((name) => name.toLowerCase().includes(wanted));
  };
}

/** Finds tags that the library has, without those in `without()`. */
export function tagFinder(api, without = () => []) {
  return async (text, signal) => {
    const last = text.slice(text.lastIndexOf(",") + 1).trim();
    if (!last) return [];
    const { tags } = await api.get("search-tags", { q: last, limit: 20 }, signal);
    const own = new Set(without().map((tag) => tag.toLowerCase()));
    return tags.map(({ tag }) => tag).filter((tag) => !own.has(tag.toLowerCase()));
  };
}
