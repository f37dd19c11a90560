import { byId } from "../dom.js";
import { isGridView } from "../query.js";
import { bind } from "../shortcuts.js";
import { t, tn } from "../texts.js";
import { toast } from "../toast.js";
import { mountBulkBar } from "./bulk-bar.js";
import { bulkDialog } from "./bulk-dialog.js";
import { mountCards } from "./cards.js";
import { Edits, nameOf, reasonOf } from "./edits.js";
import { openHistory } from "./history.js";
import { Selection } from "./selection.js";

/** Everything that changes models outside the details. */
export function mountEditing({ api, store, source, grid, refresh }) {
  const edits = new Edits(api);
  const selection = new Selection({ api, source });
  const failed = (text) => toast(text, { bad: true });
  selection.addEventListener("fail", ({ detail }) => failed(t("select.failed", { reason: reasonOf(detail) })));

  const toggleFavorite = (item) => edits.favorite(item, !item.favorite).catch((error) => failed(t("edit.notDone", { name: nameOf(item), reason: reasonOf(error) })));
  mountCards({ grid, root: byId("grid"), source, selection, toggleFavorite });

  const atOnce = async (change, end) => {
    try {
      const left = await edits.many(selection.paths, change);
      if (left.length) failed(tn("plan.notChangedOne", left.length, { reason: left[0].error }));
      else if (end) selection.end();
    } catch (error) {
      failed(t("plan.failed", { reason: reasonOf(error) }));
    }
  };
  const planned = (kind) => () => bulkDialog(kind, { paths: selection.paths, edits, api });
  mountBulkBar({
    store,
    selection,
    acts: {
      addTags: planned("addTags"),
      removeTags: planned("removeTags"),
      base: planned("base"),
      refresh: () => refresh(selection.paths),
      favorite: (yes) => atOnce({ set: { favorite: yes } }, false),
      exclude: (yes) => atOnce({ exclude: yes }, true),
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
  return { edits, openHistory: () => openHistory(edits) };
}
