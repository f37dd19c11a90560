import { copy } from "../controls/copy-button.js";
import { byId } from "../dom.js";
import { mountCardMenu } from "../moving/card-menu.js";
import { mountDrag } from "../moving/drag.js";
import { moveDialog } from "../moving/move-dialog.js";
import { organiseDialog } from "../moving/organise-dialog.js";
import { isGridView } from "../query.js";
import { reasonOf } from "../reason.js";
import { bind } from "../shortcuts.js";
import { t, tn } from "../texts.js";
import { toast } from "../toast.js";
import { mountBulkBar } from "./bulk-bar.js";
import { bulkDialog } from "./bulk-dialog.js";
import { mountCards } from "./cards.js";
import { Edits, nameOf } from "./edits.js";
import { openHistory } from "./history.js";
import { Selection } from "./selection.js";

/** Everything that changes models outside the details. `open(item)` shows the details, `renameIn(item)` with the file's name being edited. */
export function mountEditing({ api, store, source, grid, facts, live, open, renameIn, refresh }) {
  const edits = new Edits(api);
  const selection = new Selection({ api, source });
  const failed = (text) => toast(text, { bad: true });
  selection.addEventListener("fail", ({ detail }) => failed(t("select.failed", { reason: reasonOf(detail) })));

  const toggleFavorite = (item) => edits.favorite(item, !item.favorite).catch((error) => failed(t("edit.notDone", { name: nameOf(item), reason: reasonOf(error) })));
  mountCards({ grid, root: byId("grid"), source, selection, toggleFavorite });

  const atOnce = async (change, end) => {
    const { paths } = selection;
    try {
      const left = await edits.many(paths, change);
      if (end) selection.drop(without(paths, left));
      if (left.length) failed(tn("plan.notChangedOne", left.length, { reason: reasonOf(left[0]) }));
    } catch (error) {
      failed(t("plan.failed", { reason: reasonOf(error) }));
    }
  };
  const planned = (kind) => () => bulkDialog(kind, { paths: selection.paths, edits, api });
  const roots = () => store.state.status?.roots ?? [];
  const moved = (results) => selection.drop(results.filter(({ success }) => success).map(({ original_file_path: path }) => path));
  const move = (paths, done = () => {}, folder = null) => moveDialog({
    paths,
    edits,
    roots: roots(),
    tree: facts.tree ?? {},
    folder,
    done: (results) => {
      moved(results);
      done(results);
    },
  });
  const organise = (paths) => organiseDialog({ paths, edits, live, roots: roots(), done: () => selection.drop(paths ?? selection.paths) });
  // Answers whether all of them are gone.
  const remove = async (paths, item) => {
    try {
      const left = await edits.delete(paths, item && nameOf(item));
      selection.drop(without(paths, left));
      if (left.length) failed(tn("plan.notChangedOne", left.length, { reason: reasonOf(left[0]) }));
      return !left.length;
    } catch (error) {
      failed(t("delete.failed", { reason: reasonOf(error) }));
      return false;
    }
  };
  const exclude = (item) => edits.exclude(item, !item.exclude).then(() => selection.drop([item.file_path])).catch((error) => failed(t("edit.notDone", { name: nameOf(item), reason: reasonOf(error) })));
  const bulk = {
    favorite: (yes) => atOnce({ set: { favorite: yes } }, false),
    exclude: (yes) => atOnce({ exclude: yes }, true),
  };
  mountBulkBar({
    store,
    selection,
    acts: {
      addTags: planned("addTags"),
      removeTags: planned("removeTags"),
      base: planned("base"),
      refresh: () => refresh(selection.paths),
      ...bulk,
      move: () => move(selection.paths),
      organise: () => organise(selection.paths),
      remove: () => remove(selection.paths),
    },
  });
  mountCardMenu({
    grid,
    root: byId("grid"),
    source,
    selection,
    store,
    acts: { open, rename: renameIn, favorite: toggleFavorite, copyPath: ({ file_path: path }) => copy(path), move: (paths) => move(paths), organise, exclude, remove, bulk },
  });
  mountDrag({
    cards: byId("grid"),
    folders: byId("facets"),
    source,
    selection,
    store,
    move: async (paths, folder, root) => {
      if (root === null) {
        move(paths, undefined, folder);
        return;
      }
      try {
        const results = await edits.move(paths, folder ? `${root}/${folder}` : root);
        moved(results);
        const left = results.filter(({ success }) => !success);
        if (left.length) failed(tn("plan.notChangedOne", left.length, { reason: reasonOf(left[0]) }));
      } catch (error) {
        failed(t("plan.failed", { reason: reasonOf(error) }));
      }
    },
  });
  // Other places and libraries show other models; what is chosen must be what can be seen.
  store.addEventListener("change", ({ detail: { changed } }) => {
    if (changed.has("view") || changed.has("library")) selection.end();
  });
  store.watch(["view"], ({ view }) => {
    byId("select-mode").hidden = !isGridView(view);
  });

  bind("undo", () => edits.undoLast());
  return { edits, move, remove, openHistory: () => openHistory(edits), organiseAll: () => organise(null) };
}

/** The paths that are not among those `left` as they were. */
function without(paths, left) {
  const stay = new Set(left.map(({ file_path: path }) => path));
  return paths.filter((path) => !stay.has(path));
}
