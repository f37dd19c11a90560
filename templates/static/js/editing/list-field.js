import { h, icon } from "../dom.js";
import { reasonOf } from "../reason.js";
import { t } from "../texts.js";
import { suggest } from "./suggestions.js";

/**
 * A list of short texts, each with a button that takes it away, and an input that adds some. Enter and leaving the input
 * add what is typed; when that fails, it stays.
 */
export class ListField {
  #options;
  #values = [];
  #list = h("ul", { class: "edit-list" });
  #open;
  #input;
  #form;
  #error = h("p", { class: "edit__error", role: "alert" });
  #adding = null;
  element;

  /**
   * `label` names the list, `addLabel` the input; `chip(value)` gives a value's element, `add(text)` and `remove(value)`
   * change the list on the server and answer the new one, or throw; `suggestions` as for `suggest`.
   */
  constructor(options) {
    this.#options = options;
    const { label, addLabel, suggestions } = options;
    this.#list.setAttribute("aria-label", label);
    this.#open = h("button", { class: "edit-list__open", type: "button", onclick: () => this.edit() }, icon("plus"), addLabel);
    this.#input = h("input", { class: "edit__input edit-list__input", type: "text", "aria-label": addLabel, placeholder: addLabel, autocomplete: "off", spellcheck: "false" });
    this.#form = h("div", { class: "edit__form", hidden: true }, this.#input);
    this.element = h("div", { class: "edit" }, this.#list, this.#open, this.#form, this.#error);
    if (suggestions) {
      suggest(this.#input, { ...suggestions, choose: (text) => {
        const before = this.#input.value.slice(0, this.#input.value.lastIndexOf(",") + 1);
        this.#input.value = before ? `${before} ${text}` : text;
        this.commit();
      } });
    }
    this.#input.addEventListener("keydown", (event) => this.#key(event));
    this.#form.addEventListener("focusout", async ({ relatedTarget }) => {
      if (this.#form.contains(relatedTarget)) return;
      if ((await this.commit()) && !this.#form.contains(document.activeElement)) this.#close();
    });
  }

  get dirty() {
    return this.#input.value.trim() !== "";
  }

  get typed() {
    return this.#input.value;
  }

  set(values) {
    this.#values = values;
    const focused = this.#list.contains(document.activeElement) ? document.activeElement : null;
    const place = focused && [...this.#list.querySelectorAll("button")].map((button) => button.dataset.key).indexOf(focused.dataset.key);
    this.#list.replaceChildren(...values.map((value) => {
      const chip = this.#options.chip(value);
      chip.dataset.key = `chip ${value}`;
      return h("li", { class: "edit-list__row" }, chip,
        h("button", { class: "edit-list__remove", type: "button", "data-key": `remove ${value}`, "aria-label": t("edit.remove", { value }), title: t("edit.remove", { value }), onclick: () => this.#remove(value) }, icon("close")));
    }));
    this.#list.hidden = !values.length;
    if (!focused) return;
    const buttons = [...this.#list.querySelectorAll("button")];
    (buttons.find((button) => button.dataset.key === focused.dataset.key) ?? buttons[Math.min(place, buttons.length - 1)] ?? this.#open).focus();
  }

  edit(text = "") {
    this.#open.hidden = true;
    this.#form.hidden = false;
    if (text) this.#input.value = text;
    this.#input.focus();
  }

  /** Adds what is typed. Answers whether nothing is left unsaved. */
  commit() {
    this.#adding ??= this.#add().finally(() => {
      this.#adding = null;
    });
    return this.#adding;
  }

  cancel() {
    this.#input.value = "";
    this.#close();
  }

  focus() {
    this.#input.focus();
  }

  async #add() {
    const text = this.#input.value.trim();
    if (!text) return true;
    const done = await this.#change(() => this.#options.add(text));
    if (done) this.#input.value = "";
    return done;
  }

  #remove(value) {
    return this.#change(() => this.#options.remove(value));
  }

  async #change(make) {
    this.#say("");
    this.element.setAttribute("aria-busy", "true");
    this.#input.readOnly = true;
    try {
      this.set(await make());
      return true;
    } catch (error) {
      this.#say(t("edit.failed", { field: this.#options.label, reason: reasonOf(error) }));
      return false;
    } finally {
      this.element.removeAttribute("aria-busy");
      this.#input.readOnly = false;
    }
  }

  #say(problem) {
    this.#error.textContent = problem;
    if (problem) this.#input.setAttribute("aria-invalid", "true");
    else this.#input.removeAttribute("aria-invalid");
  }

  #close() {
    const focused = this.#form.contains(document.activeElement);
    this.#open.hidden = false;
    this.#form.hidden = true;
    this.#say("");
    if (focused) this.#open.focus();
  }

  #key(event) {
    if (event.isComposing) return;
    if (event.key === "Escape") this.cancel();
    else if (event.key === "Enter") this.commit();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
