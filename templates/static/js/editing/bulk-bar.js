import { byId, h, icon } from "../dom.js";
import { number, t, tn } from "../texts.js";

/** The bar below the list while models are chosen: how many, and what can be done with them. `acts`: `{id: run}`. */
export function mountBulkBar({ store, selection, acts }) {
  const button = (id, glyph, run, className = "") => h("button", { class: `button button--quiet ${className}`, type: "button", title: t(`bulk.${id}`), onclick: run }, icon(glyph), h("span", { class: "button__text" }, t(`bulk.${id}`)));
  const count = h("p", { class: "bulk__count", role: "status" });
  const all = h("button", { class: "button button--quiet bulk__all", type: "button", onclick: () => selection.all() });
  const buttons = [
    button("addTags", "plus", acts.addTags),
    button("removeTags", "minus", acts.removeTags),
    button("base", "pencil", acts.base),
    button("refresh", "refresh", acts.refresh),
    button("favorite", "star", () => acts.favorite(true), "bulk__favorite"),
    button("unfavorite", "star", () => acts.favorite(false)),
    button("move", "folder", acts.move),
    button("organise", "layers", acts.organise),
  ];
  const exclude = button("exclude", "eye-off", () => acts.exclude(true));
  const restore = button("restore", "eye", () => acts.exclude(false));
  const remove = button("delete", "trash", acts.remove);
  const bar = h("section", { class: "bulk", "aria-label": t("bulk.label"), hidden: true },
    count, all, h("div", { class: "bulk__acts" }, buttons, exclude, restore, remove),
    h("button", { class: "button button--bare bulk__end", type: "button", "aria-label": t("select.end"), title: t("select.end"), "aria-keyshortcuts": "Escape", onclick: () => selection.end() }, icon("close")));
  byId("main").append(bar);

  const mode = byId("select-mode");
  mode.addEventListener("click", () => (selection.on ? selection.end() : selection.start()));

  const draw = () => {
    const { size, on, progress } = selection;
    const { total, view } = store.state;
    const focused = bar.contains(document.activeElement);
    bar.hidden = !on;
    if (focused && !on) mode.focus();
    mode.setAttribute("aria-pressed", String(on));
    const text = progress ? t("select.gathering", { done: number(progress.done), of: number(progress.of) }) : size ? tn("select.count", size) : t("select.none");
    if (count.textContent !== text) count.textContent = text;
    all.hidden = !total || size >= total;
    all.textContent = total ? t("select.all", { n: number(total) }) : "";
    for (const act of [...buttons, exclude, restore, remove]) act.disabled = !size || Boolean(progress);
    exclude.hidden = view === "excluded";
    restore.hidden = view !== "excluded";
  };
  selection.addEventListener("change", draw);
  store.watch(["total", "view"], draw);
}
