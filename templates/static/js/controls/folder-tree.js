import { h, icon } from "../dom.js";

/**
 * A tree of folders of which one is chosen. Branches are made when they are opened, so that a library with thousands of
 * folders costs what is looked at. `all` is the text of the first entry, which stands for no folder, `choose(path)`
 * is called when a person chose one.
 */
export class FolderTree {
  #all;
  #choose;
  #opened = new Set();
  #shown = null;
  #path = "";
  element;

  constructor({ label, all, choose }) {
    this.#all = all;
    this.#choose = choose;
    this.element = h("ul", { class: "tree", role: "tree", "aria-label": label });
    this.element.addEventListener("focusin", ({ target }) => this.#reach(target.closest("[role=treeitem]")));
    this.element.addEventListener("click", ({ target }) => {
      const item = target.closest("[role=treeitem]");
      if (!item) return;
      const fold = target.closest(".tree__fold") && item.hasAttribute("aria-expanded");
      if (fold) item.open(item.getAttribute("aria-expanded") === "false");
      else {
        item.open(true);
        this.#choose(item.dataset.path);
      }
      this.#mark();
      item.focus();
    });
    this.element.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Shows `tree` (`{name: {name: {}}}`) with the folder `path` chosen. */
  show(tree, path) {
    if (tree && tree !== this.#shown) {
      const focused = this.element.contains(document.activeElement) ? document.activeElement.dataset.path : null;
      this.#shown = tree;
      path.split("/").slice(0, -1).forEach((_, at, parts) => this.#opened.add(parts.slice(0, at + 1).join("/")));
      this.element.replaceChildren(this.#node(this.#all, "", {}, 1), ...this.#branch(tree, "", 1));
      if (focused !== null) this.#find(focused)?.focus();
    }
    this.#path = path;
    this.#mark();
    this.#reach(this.#find(path) ?? this.#items()[0]);
  }

  #mark() {
    for (const item of this.#items()) item.setAttribute("aria-selected", String(item.dataset.path === this.#path));
  }

  #branch(children, parent, level) {
    return Object.keys(children)
      .sort((a, b) => a.localeCompare(b, undefined, { numeric: true }))
      .map((name) => this.#node(name, parent ? `${parent}/${name}` : name, children[name], level));
  }

  #node(name, path, children, level) {
    const folder = Object.keys(children).length > 0;
    const element = h("li", { class: "tree__node", role: "treeitem", "aria-level": level, "aria-expanded": folder ? "false" : null, tabindex: "-1", "data-path": path },
      h("span", { class: "tree__row" },
        h("span", { class: "tree__fold", "aria-hidden": "true" }, folder && icon("chevron")), icon("folder"), h("span", { class: "tree__name", title: path || name }, name)));
    element.style.setProperty("--level", String(level - 1));
    element.open = (yes) => {
      if (!folder) return;
      element.setAttribute("aria-expanded", String(yes));
      this.#opened[yes ? "add" : "delete"](path);
      if (yes && !element.querySelector(":scope > ul")) element.append(h("ul", { role: "group" }, this.#branch(children, path, level + 1)));
    };
    if (this.#opened.has(path)) element.open(true);
    return element;
  }

  #items() {
    return [...this.element.querySelectorAll("[role=treeitem]")];
  }

  #find(path) {
    return this.#items().find((item) => item.dataset.path === path);
  }

  #reach(item) {
    if (!item) return;
    this.#items().forEach((other) => (other.tabIndex = other === item ? 0 : -1));
  }

  #key(event) {
    const item = event.target.closest("[role=treeitem]");
    const all = this.#items().filter((other) => !other.parentElement.closest("[aria-expanded=false]"));
    const at = all.indexOf(item);
    const act = {
      ArrowDown: () => all[at + 1]?.focus(),
      ArrowUp: () => all[at - 1]?.focus(),
      Home: () => all[0].focus(),
      End: () => all.at(-1).focus(),
      ArrowRight: () => (item.getAttribute("aria-expanded") === "false" ? item.open(true) : item.querySelector("[role=treeitem]")?.focus()),
      ArrowLeft: () => (item.getAttribute("aria-expanded") === "true" ? item.open(false) : item.parentElement.closest("[role=treeitem]")?.focus()),
      Enter: () => this.#choose(item.dataset.path),
      " ": () => this.#choose(item.dataset.path),
    }[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
    this.#mark();
  }
}
