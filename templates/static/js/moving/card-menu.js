import { contextMenu } from "../controls/menu.js";
import { bind } from "../shortcuts.js";
import { t, tn } from "../texts.js";

/**
 * The menu of a card, for the pointer and for keys, and keys for what it holds most often. Chosen models are meant together
 * when the card is one of them. `acts` are what can be done: `{open, favorite, rename, move, organise, exclude, remove,
 * copyPath}`, each with the models' items or paths.
 */
export function mountCardMenu({ grid, root, source, selection, store, acts }) {
  const show = (index, box) => {
    const item = source.item(index);
    if (!item) return;
    const many = selection.on && selection.has(item.file_path) && selection.size > 1;
    contextMenu({
      label: many ? tn("select.count", selection.size) : item.model_name,
      sections: many ? ofMany() : ofOne(item),
      box,
      back: grid.card(index)?.link,
    });
  };
  const entry = (label, icon, run) => ({ label, icon, run });
  const ofOne = (item) => [
    { kind: "action", items: [
      entry(t("menu.open"), "panel", () => acts.open(item)),
      entry(t(item.favorite ? "menu.unfavorite" : "menu.favorite"), "star", () => acts.favorite(item)),
      entry(t("copy.path"), "copy", () => acts.copyPath(item)),
    ] },
    { kind: "action", items: [
      entry(t("menu.rename"), "pencil", () => acts.rename(item)),
      entry(t("menu.move"), "folder", () => acts.move([item.file_path])),
      entry(t("menu.organise"), "layers", () => acts.organise([item.file_path])),
    ] },
    { kind: "action", items: [
      entry(t(item.exclude ? "edit.restore" : "edit.exclude"), item.exclude ? "eye" : "eye-off", () => acts.exclude(item)),
      entry(t("menu.delete"), "trash", () => acts.remove([item.file_path], item)),
    ] },
  ];
  const ofMany = () => {
    const { paths } = selection;
    const hidden = store.state.view === "excluded";
    return [
      { kind: "action", label: tn("select.count", paths.length), items: [
        entry(t("menu.favorite"), "star", () => acts.bulk.favorite(true)),
        entry(t("menu.move"), "folder", () => acts.move(paths)),
        entry(t("menu.organise"), "layers", () => acts.organise(paths)),
      ] },
      { kind: "action", items: [
        entry(t(hidden ? "bulk.restore" : "bulk.exclude"), hidden ? "eye" : "eye-off", () => acts.bulk.exclude(!hidden)),
        entry(t("menu.delete"), "trash", () => acts.remove(paths)),
      ] },
    ];
  };

  root.addEventListener("contextmenu", (event) => {
    const card = event.target.closest(".cell")?.querySelector(".card");
    // Shift and a right click is the browser's own menu.
    if (!card || (event.shiftKey && event.button === 2)) return;
    event.preventDefault();
    const index = Number(card.dataset.index);
    grid.activate(index, { reveal: false });
    const byPointer = event.button === 2 && event.clientX > 0;
    const place = byPointer ? { left: event.clientX, top: event.clientY, bottom: event.clientY } : card.getBoundingClientRect();
    if (event.buttons) afterRelease(() => show(index, place));
    else show(index, place);
  });
  bind("grid.menu", () => {
    const card = grid.card(grid.active)?.link;
    if (card) show(grid.active, card.getBoundingClientRect());
  });
  // What a key means: the chosen models, else the one that has the focus.
  const meant = (run) => () => {
    const item = source.item(grid.active);
    if (selection.on && selection.size) run(selection.paths);
    else if (item) run([item.file_path], item);
  };
  bind("grid.rename", () => {
    const item = source.item(grid.active);
    if (item) acts.rename(item);
  });
  bind("grid.move", meant(acts.move));
  bind("grid.delete", meant(acts.remove));
}

/** Runs it when the button that is held is released: a menu that is open before would take that as a click beside it, and close. */
function afterRelease(run) {
  const held = new AbortController();
  for (const type of ["pointerup", "pointercancel"]) {
    addEventListener(type, () => {
      held.abort();
      if (type === "pointerup") run();
    }, { capture: true, signal: held.signal });
  }
}
