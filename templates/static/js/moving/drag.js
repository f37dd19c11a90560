import { h } from "../dom.js";
import { tn } from "../texts.js";
import { rootOf } from "./plan.js";

const KIND = "application/x-modelshelf-models";
const OPENS_AFTER = 700;

/**
 * Cards are dragged onto folders of the tree in `folders`: the chosen ones together, else the one that is dragged. `move(paths,
 * folder, root)` is called with the folder below the one root of all models, or with `root` null when they have several.
 */
export function mountDrag({ cards, folders, source, selection, store, move }) {
  let dragged = [];
  const label = h("div", { class: "drag-label", "aria-hidden": "true" });

  cards.addEventListener("dragstart", (event) => {
    const card = event.target.closest?.(".card");
    const item = card && source.item(Number(card.dataset.index));
    if (!item) return;
    dragged = selection.on && selection.has(item.file_path) ? selection.paths : [item.file_path];
    event.dataTransfer.effectAllowed = "move";
    event.dataTransfer.setData(KIND, "");
    label.textContent = tn("drag.models", dragged.length);
    document.body.append(label);
    event.dataTransfer.setDragImage(label, -12, -8);
    document.body.classList.add("dragging");
  });
  cards.addEventListener("dragend", () => {
    label.remove();
    document.body.classList.remove("dragging");
    over(null);
    dragged = [];
  });

  let target = null;
  let timer = 0;
  const over = (item) => {
    if (item === target) return;
    clearTimeout(timer);
    target?.classList.remove("tree__node--target");
    target = item;
    target?.classList.add("tree__node--target");
    // Folders inside are reached by waiting.
    if (target?.getAttribute("aria-expanded") === "false") timer = setTimeout(() => target?.open(true), OPENS_AFTER);
  };
  const itemOf = (event) => (event.dataTransfer.types.includes(KIND) ? event.target.closest?.("[role=treeitem]") : null);
  folders.addEventListener("dragover", (event) => {
    const item = itemOf(event);
    over(item);
    if (!item) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "move";
  });
  folders.addEventListener("dragleave", (event) => {
    if (!folders.contains(event.relatedTarget)) over(null);
  });
  folders.addEventListener("drop", (event) => {
    const item = itemOf(event);
    if (!item) return;
    event.preventDefault();
    const roots = new Set(dragged.map((path) => rootOf(path, store.state.status?.roots ?? [])));
    move(dragged, item.dataset.path, roots.size === 1 ? [...roots][0] : null);
  });
}
