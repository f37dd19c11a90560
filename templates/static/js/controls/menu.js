import { h, icon } from "../dom.js";

const MARGIN = 8;
const ROLES = { radio: "menuitemradio", check: "menuitemcheckbox", action: "menuitem" };
let count = 0;

/**
 * A menu below `button`. `sections()` is asked at every opening: `[{label?, kind: "radio"|"check"|"action",
 * items: [{label, checked?, icon?, disabled?, run()}]}]`. Check items keep the menu open.
 */
export class Menu {
  #button;
  #sections;
  #popover;

  constructor(button, sections) {
    this.#button = button;
    this.#sections = sections;
    this.#popover = h("div", { class: "menu", popover: "auto", role: "menu", id: `menu-${(count += 1)}`, "aria-label": button.getAttribute("aria-label") ?? button.textContent.trim() });
    button.after(this.#popover);
    button.setAttribute("aria-haspopup", "menu");
    button.setAttribute("aria-expanded", "false");
    button.setAttribute("aria-controls", this.#popover.id);
    // The attribute (and not a click handler) makes a click on the button of an open menu close it.
    button.setAttribute("popovertarget", this.#popover.id);
    button.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        event.preventDefault();
        this.#popover.showPopover();
      }
    });
    this.#popover.addEventListener("beforetoggle", ({ newState }) => {
      if (newState === "open") this.#fill();
    });
    this.#popover.addEventListener("toggle", ({ newState }) => this.#toggled(newState === "open"));
    this.#popover.addEventListener("keydown", (event) => this.#key(event));
  }

  #fill() {
    this.#popover.replaceChildren(...this.#sections().map((section) => this.#section(section)));
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
    item.run();
    if (kind !== "check") {
      this.#popover.hidePopover();
      return;
    }
    const at = this.#items().indexOf(document.activeElement);
    this.#fill();
    this.#items()[at]?.focus();
  }

  #items() {
    return [...this.#popover.querySelectorAll(".menu__item")];
  }

  #toggled(open) {
    this.#button.setAttribute("aria-expanded", String(open));
    if (!open) {
      if (this.#popover.contains(document.activeElement) || document.activeElement === document.body) this.#button.focus();
      return;
    }
    const box = this.#button.getBoundingClientRect();
    const { offsetWidth, offsetHeight } = this.#popover;
    const left = Math.min(box.left, innerWidth - offsetWidth - MARGIN);
    const below = box.bottom + MARGIN / 2;
    const top = below + offsetHeight > innerHeight - MARGIN ? Math.max(MARGIN, box.top - offsetHeight - MARGIN / 2) : below;
    this.#popover.style.left = `${Math.max(MARGIN, left)}px`;
    this.#popover.style.top = `${top}px`;
    this.#popover.classList.add("menu--placed");
    const items = this.#items();
    (items.find((item) => item.getAttribute("aria-checked") === "true") ?? items[0])?.focus();
  }

  #key(event) {
    const items = this.#items();
    const at = items.indexOf(document.activeElement);
    const to = { ArrowDown: (at + 1) % items.length, ArrowUp: (at - 1 + items.length) % items.length, Home: 0, End: items.length - 1 }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      items[to].focus();
    } else if (event.key === "Tab") {
      this.#popover.hidePopover();
    }
  }
}
