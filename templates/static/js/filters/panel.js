import { byId } from "../dom.js";
import { number } from "../texts.js";
import { remember, remembered } from "../preferences.js";
import { mountFolders } from "./folders.js";
import { mountBases, mountSubTypes, mountTags } from "./lists.js";

const MOUNTS = { folder: mountFolders, "base-model": mountBases, tag: mountTags, "sub-type": mountSubTypes };
const NARROW = matchMedia("(max-width: 960px)");

/** Fills the sections that the type's facets put on the page; which ones there are is the type's choice. */
export function mountFacets({ store, facts, type }) {
  for (const section of document.querySelectorAll("[data-facet]")) {
    const mount = MOUNTS[section.dataset.facet];
    if (!mount) continue;
    const fold = section.querySelector(".facet__fold");
    const body = section.querySelector(".facet__body");
    fold.addEventListener("click", () => {
      const open = fold.getAttribute("aria-expanded") !== "true";
      fold.setAttribute("aria-expanded", String(open));
      body.hidden = !open;
    });
    const { draw, keys } = mount(body, fold.textContent.trim(), { store, facts, type });
    const show = () => {
      section.hidden = !draw();
    };
    facts.addEventListener("change", show);
    store.watch(keys, show);
  }

  for (const key of ["favorites", "updates"]) {
    const only = byId(`only-${key}`);
    only.addEventListener("click", () => store.set({ [key]: !store.state[key] }));
    store.watch([key], (state) => only.setAttribute("aria-checked", String(state[key])));
  }
}

/** The places of the library: all models, duplicates, problems and so on. */
export function mountPlaces({ store, onGo }) {
  const links = [...document.querySelectorAll("[data-place]")];
  for (const link of links) {
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      store.set({ view: link.dataset.place });
      onGo();
    });
  }
  store.watch(["view", "status"], ({ view, status }) => {
    for (const link of links) {
      if (link.dataset.place === view) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
      const count = { all: status?.total, problems: status?.problems }[link.dataset.place];
      link.querySelector("[data-count]").textContent = count ? number(count) : "";
    }
    byId("facets").hidden = view !== "all";
  });
}

/** Opens and closes the panel: beside the list where there is room, over it where there is not. */
export class Panel {
  #panel = byId("filters");
  #toggle = byId("filters-toggle");
  #scrim = byId("scrim");
  #main = byId("main");
  #open = false;

  constructor() {
    this.#toggle.addEventListener("click", () => this.toggle());
    byId("filters-close").addEventListener("click", () => this.toggle(false));
    this.#scrim.addEventListener("click", () => this.toggle(false));
    this.#panel.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && NARROW.matches) this.toggle(false);
    });
    NARROW.addEventListener("change", () => this.#reset());
    this.#reset();
  }

  get over() {
    return NARROW.matches;
  }

  toggle(open = !this.#open) {
    this.#set(open);
    if (!this.over) remember("filters", open ? null : "closed");
    else if (open) byId("filters-close").focus();
    else this.#toggle.focus();
  }

  #reset() {
    this.#set(!this.over && remembered("filters", "open", ["open", "closed"]) === "open");
  }

  #set(open) {
    this.#open = open;
    this.#panel.classList.toggle("filters--open", open);
    this.#panel.inert = !open;
    this.#toggle.setAttribute("aria-expanded", String(open));
    this.#scrim.hidden = !(open && this.over);
    this.#main.inert = open && this.over;
    document.querySelector(".topbar").inert = open && this.over;
    byId("shell").classList.toggle("shell--wide", !open || this.over);
  }
}
