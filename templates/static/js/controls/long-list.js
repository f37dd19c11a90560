import { h } from "../dom.js";
import { number, t } from "../texts.js";

// Rows that one press adds; more at once would make the page stutter.
const MORE = 500;

/**
 * A list of which the first rows are shown, and a button for those that follow, as long as there are any. `row(item)` makes
 * a list item. Returns elements.
 */
export function longList(items, row, first) {
  if (!items.length) return [];
  const list = h("ul", { class: "plan__rows", tabindex: "-1" });
  let shown = 0;
  const button = h("button", { class: "button button--quiet plan__more", type: "button", onclick: () => add(MORE) });
  const add = (count) => {
    const next = items.slice(shown, shown + count).map(row);
    list.append(...next);
    const focused = button === document.activeElement;
    shown += next.length;
    const left = items.length - shown;
    button.hidden = !left;
    button.textContent = t("plan.showMore", { n: number(Math.min(left, MORE)), left: number(left) });
    if (focused && !left) list.focus();
  };
  add(first);
  return items.length > first ? [list, button] : [list];
}
