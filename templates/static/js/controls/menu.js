import { h, icon } from "../dom.js";

const MARGIN = 8;
const ROLES = { radio: "menuitemradio", check: "menuitemcheckbox", action: "menuitem" };
let count = 0;

/** The items of an open menu: how they look, and how keys go through them. */
class Items {
  #sections;
  element;

  constructor(label, sections) {
    this.#sections = sections;
    this.element = h("div", { class: "menu", popover: "auto", role: "menu", id: `menu-${(count += 1)}`, "aria-label": label });
    this.element.addEventListener("keydown", (event) => this.#key(event));
  }

  fill() {
    this.element.replaceChildren(...this.#sections().map((section) => this.#section(section)));
  }

  all() {
    return [...this.element.querySelectorAll(".menu__item")];
  }

  /**
   * Opens the menu below the box, or above it where there is no room. It has the focus when this returns: the
   * `toggle` event comes a moment later, and a key that is pressed before it must be the menu's already.
   */
  show(box) {
    this.fill();
    this.element.showPopover();
    const { offsetWidth, offsetHeight } = this.element;
    const left = Math.min(box.left, innerWidth - offsetWidth - MARGIN);
    const below = box.bottom + MARGIN / 2;
    const top = below + offsetHeight > innerHeight - MARGIN ? Math.max(MARGIN, box.top - offsetHeight - MARGIN / 2) : below;
    this.element.style.left = `${Math.max(MARGIN, left)}px`;
    this.element.style.top = `${top}px`;
    this.element.classList.add("menu--placed");
    const items = this.all();
    (items.find((item) => item.getAttribute("aria-checked") === "true") ?? items[0])?.focus();
  }

  #section({ label, kind, items }) {
    return h("div", { class: "menu__section", role: "group", "aria-label": label },
      label && h("div", { class: "menu__label", "aria-hidden": "true" }, label),
      items.map((item) => {
        const button = h("button", {
          class: "menu__item",
          type: "button",
          role: ROLES[kind],
          tabindex: "-1",
          "aria-checked": kind === "action" ? null : String(Boolean(item.checked)),
          "aria-disabled": item.disabled ? "true" : null,
        }, kind === "action" ? (item.icon ? icon(item.icon) : "") : h("span", { class: `menu__tick menu__tick--${kind}`, "aria-hidden": "true" }, icon("check")), h("span", { class: "menu__text" }, item.label));
        button.addEventListener("click", () => this.#choose(kind, item));
        return button;
      }));
  }

  #choose(kind, item) {
    if (item.disabled) return;
    if (kind !== "check") {
      // First, so that what is opened then keeps the focus.
      this.element.hidePopover();
      item.run();
      return;
    }
    item.run();
    const at = this.all().indexOf(document.activeElement);
    this.fill();
    this.all()[at]?.focus();
  }

  #key(event) {
    // What is pressed in a menu is not meant for the page or the details around it.
    event.stopPropagation();
    const items = this.all();
    const at = items.indexOf(document.activeElement);
    const to = { ArrowDown: (at + 1) % items.length, ArrowUp: (at - 1 + items.length) % items.length, Home: 0, End: items.length - 1 }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      items[to].focus();
    } else if (event.key === "Tab") {
      this.element.hidePopover();
    }
  }
}

/**
 * A menu below `button`. `sections()` is asked at every opening: `[{label?, kind: "radio"|"check"|"action",
 * items: [{label, checked?, icon?, disabled?, run()}]}]`. Check items keep the menu open.
 */
export class Menu {
  #button;
  #items;

  constructor(button, sections) {
    this.#button = button;
    this.#items = new Items(button.getAttribute("aria-label") ?? button.textContent.trim(), sections);
    const popover = this.#items.element;
    button.after(popover);
    button.setAttribute("aria-haspopup", "menu");
    button.setAttribute("aria-expanded", "false");
    button.setAttribute("aria-controls", popover.id);
    // With the attribute, a press on the button of an open menu is none outside of it, so that the click closes it.
    button.setAttribute("popovertarget", popover.id);
    button.addEventListener("click", (event) => {
      event.preventDefault();
      if (popover.matches(":popover-open")) popover.hidePopover();
      else this.#open();
    });
    button.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
      event.preventDefault();
      this.#open();
    });
    popover.addEventListener("toggle", ({ newState }) => {
      if (newState === "closed") this.#closed();
    });
  }

  #open() {
    if (this.#items.element.matches(":popover-open")) return;
    this.#items.show(this.#button.getBoundingClientRect());
    this.#button.setAttribute("aria-expanded", "true");
  }

  #closed() {
    this.#button.setAttribute("aria-expanded", "false");
    if (this.#items.element.contains(document.activeElement) || document.activeElement === document.body) this.#button.focus();
  }
}

/** A menu at `box` (of the viewport) that is there once; `sections` as for `Menu`, `back` gets the focus afterwards. */
export function contextMenu({ label, sections, box, back }) {
  const items = new Items(label, () => sections);
  const popover = items.element;
  // The browser's own menu would lie over this one.
  popover.addEventListener("contextmenu", (event) => event.preventDefault());
  popover.addEventListener("toggle", ({ newState }) => {
    if (newState === "open") return;
    if (popover.contains(document.activeElement) || document.activeElement === document.body) back?.focus({ preventScroll: true });
    popover.remove();
  });
  // Within the part of the page that it is of, so that a screen reader says where it is.
  (back?.closest("main") ?? document.body).append(popover);
  items.show(box);
}
