import { FolderTree } from "../controls/folder-tree.js";
import { h } from "../dom.js";
import { t } from "../texts.js";

/** The folder tree: one folder chosen at a time. */
export function mountFolders(body, label, { store, facts }) {
  const recursive = h("button", { class: "switch switch--small", type: "button", role: "switch", onclick: () => store.set({ recursive: !store.state.recursive }) },
    h("span", { class: "switch__name" }, t("folders.recursive")), h("span", { class: "switch__track", "aria-hidden": "true" }));
  const tree = new FolderTree({ label, all: t("folders.all"), choose: (path) => store.set({ folder: path === "" ? null : path }) });
  body.append(recursive, tree.element);

  const draw = () => {
    const { folder } = store.state;
    tree.show(facts.tree, folder ?? "");
    recursive.setAttribute("aria-checked", String(store.state.recursive));
    return Object.keys(facts.tree ?? {}).length > 0 || folder !== null;
  };
  return { draw, keys: ["folder", "recursive"] };
}
