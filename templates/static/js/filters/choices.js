import { rove } from "../controls/roving.js";
import { h, icon } from "../dom.js";
import { number, t } from "../texts.js";

/**
 * A list to choose from, each row off, wanted or (where `onExclude` is given) not wanted. Long lists fold after
 * `folded` rows; chosen rows are always shown.
 */
export class Choices {
  #onInclude;
  #onExclude;
  #folded;
  #open = false;
  #rows = [];
  #list;
  #more = h("button", { class: "more", type: "button" });
  #settle;
  element;

  constructor({ label, onInclude, onExclude = null, folded = 8 }) {
    this.#onInclude = onInclude;
    this.#onExclude = onExclude;
    this.#folded = folded;
    this.#list = h("ul", { class: "choices", "aria-label": label });
    this.element = h("div", {}, this.#list, this.#more);
    this.#settle = rove(this.#list, ".choice", "button");
    this.#more.addEventListener("click", () => {
      this.#open = !this.#open;
      this.#draw();
    });
  }

  /** `rows`: `[{value, label, count?, state: "" | "in" | "not", lead?: Element}]`. */
  show(rows) {
    this.#rows = rows;
    this.#draw();
  }

  #draw() {
    const focused = this.#list.contains(document.activeElement) ? document.activeElement : null;
    const focusKey = focused && [focused.parentElement.dataset.value, focused.className];
    const shown = this.#open ? this.#rows : this.#rows.filter((row, at) => at < this.#folded || row.state);
    this.#list.replaceChildren(...shown.map((row) => this.#row(row)));
    const rest = this.#rows.length - shown.length;
    this.#more.hidden = !this.#open && rest <= 0;
    this.#more.textContent = this.#open ? t("filters.less") : t("filters.more", { n: number(rest) });
    this.#more.setAttribute("aria-expanded", String(this.#open));

    const again = focusKey && [...this.#list.querySelectorAll("button")].find((button) => button.parentElement.dataset.value === focusKey[0] && button.className === focusKey[1]);
    this.#settle(again ?? null);
    again?.focus();
  }

  #row({ value, label, count, state, lead }) {
    const name = h("span", { class: "choice__name" }, label);
    return h("li", { class: `choice${state ? ` choice--${state}` : ""}`, "data-value": value },
      h("button", { class: "choice__main", type: "button", "aria-pressed": String(state === "in"), title: label, onclick: () => this.#onInclude(value, state !== "in") },
        h("span", { class: "choice__box", "aria-hidden": "true" }, icon(state === "not" ? "not" : "check")),
        lead, name, count !== undefined && h("span", { class: "choice__count" }, number(count))),
      this.#onExclude && h("button", {
        class: "choice__not",
        type: "button",
        "aria-pressed": String(state === "not"),
        "aria-label": t("filters.exclude", { name: label }),
        title: t("filters.exclude", { name: label }),
        onclick: () => this.#onExclude(value, state !== "not"),
      }, icon("not")));
  }
}

/** The patch that puts `value` into one of two lists and out of the other. */
export function choose(state, wantedKey, unwantedKey, value, into, yes) {
  const without = (key) => state[key].filter((entry) => entry !== value);
  const patch = { [wantedKey]: without(wantedKey) };
  if (unwantedKey) patch[unwantedKey] = without(unwantedKey);
  if (yes) patch[into] = [...patch[into], value];
  return patch;
}
