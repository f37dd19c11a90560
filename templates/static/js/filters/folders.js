import { h, icon } from "../dom.js";
import { t } from "../texts.js";

/**
 * The folder tree: one folder chosen at a time. Branches are made when they are opened, so that a library with
 * thousands of folders costs what is looked at.
 */
export function mountFolders(body, label, { store, facts }) {
  const tree = h("ul", { class: "tree", role: "tree", "aria-label": label });
  const recursive = h("button", { class: "switch switch--small", type: "button", role: "switch", onclick: () => store.set({ recursive: !store.state.recursive }) },
    h("span", { class: "switch__name" }, t("folders.recursive")), h("span", { class: "switch__track", "aria-hidden": "true" }));
  body.append(recursive, tree);
  const opened = new Set();
  let shownTree = null;

  const branch = (children, parent, level) => Object.keys(children)
    .sort((a, b) => a.localeCompare(b, undefined, { numeric: true }))
    .map((name) => node(name, parent ? `${parent}/${name}` : name, children[name], level));

  const node = (name, path, children, level) => {
    const folder = Object.keys(children).length > 0;
    const element = h("li", { class: "tree__node", role: "treeitem", "aria-level": level, "aria-expanded": folder ? "false" : null, tabindex: "-1", "data-path": path },
      h("span", { class: "tree__row" },
        h("span", { class: "tree__fold", "aria-hidden": "true" }, folder && icon("chevron")), icon("folder"), h("span", { class: "tree__name", title: path || name }, name)));
    element.style.setProperty("--level", String(level - 1));
    element.open = (yes) => {
      if (!folder) return;
      element.setAttribute("aria-expanded", String(yes));
      opened[yes ? "add" : "delete"](path);
      if (yes && !element.querySelector(":scope > ul")) element.append(h("ul", { role: "group" }, branch(children, path, level + 1)));
    };
    if (opened.has(path)) element.open(true);
    return element;
  };

  const draw = () => {
    const { folder } = store.state;
    if (facts.tree && facts.tree !== shownTree) {
      const focused = tree.contains(document.activeElement) ? document.activeElement.dataset.path : null;
      shownTree = facts.tree;
      (folder ?? "").split("/").slice(0, -1).forEach((_, at, parts) => opened.add(parts.slice(0, at + 1).join("/")));
      const all = node(t("folders.all"), "", {}, 1);
      tree.replaceChildren(all, ...branch(shownTree, "", 1));
      if (focused !== null) find(focused)?.focus();
    }
    recursive.setAttribute("aria-checked", String(store.state.recursive));
    for (const item of items()) item.setAttribute("aria-selected", String(item.dataset.path === (folder ?? "")));
    reach(find(folder ?? "") ?? items()[0]);
    return Object.keys(facts.tree ?? {}).length > 0 || folder !== null;
  };

  const items = () => [...tree.querySelectorAll("[role=treeitem]")];
  const seen = () => items().filter((item) => !item.parentElement.closest("[aria-expanded=false]"));
  const find = (path) => items().find((item) => item.dataset.path === path);
  const reach = (item) => {
    if (!item) return;
    items().forEach((other) => (other.tabIndex = other === item ? 0 : -1));
  };
  const choose = (item) => store.set({ folder: item.dataset.path === "" ? null : item.dataset.path });

  tree.addEventListener("focusin", ({ target }) => reach(target.closest("[role=treeitem]")));
  tree.addEventListener("click", ({ target }) => {
    const item = target.closest("[role=treeitem]");
    if (!item) return;
    const fold = target.closest(".tree__fold") && item.hasAttribute("aria-expanded");
    if (fold) item.open(item.getAttribute("aria-expanded") === "false");
    else {
      item.open(true);
      choose(item);
    }
    draw();
    item.focus();
  });
  tree.addEventListener("keydown", (event) => {
    const item = event.target.closest("[role=treeitem]");
    const all = seen();
    const at = all.indexOf(item);
    const act = {
      ArrowDown: () => all[at + 1]?.focus(),
      ArrowUp: () => all[at - 1]?.focus(),
      Home: () => all[0].focus(),
      End: () => all.at(-1).focus(),
      ArrowRight: () => (item.getAttribute("aria-expanded") === "false" ? item.open(true) : item.querySelector("[role=treeitem]")?.focus()),
      ArrowLeft: () => (item.getAttribute("aria-expanded") === "true" ? item.open(false) : item.parentElement.closest("[role=treeitem]")?.focus()),
      Enter: () => choose(item),
      " ": () => choose(item),
    }[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
    draw();
  });
  return { draw, keys: ["folder", "recursive"] };
}
