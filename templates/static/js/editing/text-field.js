import { h, icon } from "../dom.js";
import { reasonOf } from "../reason.js";
import { t } from "../texts.js";
import { toast } from "../toast.js";
import { suggest } from "./suggestions.js";

/**
 * A text that is shown, and edited where it stands. Enter (Ctrl and Enter where there are several lines) and leaving the
 * input save it, Escape leaves it as it was. When saving fails, the input stays with what was typed.
 */
export class TextField {
  #options;
  #value = "";
  #editing = false;
  // What the input began with: only a difference to it was typed.
  #began = "";
  #saving = null;
  #takeBackOffer = () => {};
  #view;
  #shown = h("div", { class: "edit__shown" });
  #button;
  #form;
  #input;
  #status = h("p", { class: "edit__status", role: "status" });
  #error = h("p", { class: "edit__error", role: "alert" });
  element;

  /**
   * `label` names the field, `show(value)` gives what stands there, `save(text)` saves or throws, `lines` is the
   * number of lines (1: a single one), `suggestions` as for `suggest`, `needed` says why it can't be empty.
   */
  constructor(options) {
    this.#options = { lines: 1, needed: "", suggestions: null, ...options };
    const { label, lines, suggestions } = this.#options;
    this.#button = h("button", { class: "edit__button", type: "button", "aria-label": t("edit.start", { field: label }), title: t("edit.start", { field: label }), onclick: () => this.edit() }, icon("pencil"));
    this.#view = h("div", { class: "edit__view" }, this.#shown, this.#button);
    this.#input = h(lines > 1 ? "textarea" : "input", { class: "edit__input", "aria-label": label, autocomplete: "off", ...(lines > 1 ? { rows: lines } : { type: "text", spellcheck: "false" }) });
    this.#form = h("div", { class: "edit__form", hidden: true }, this.#input, this.#status, this.#error);
    this.element = h("div", { class: "edit" }, this.#view, this.#form);
    if (suggestions) {
      suggest(this.#input, { ...suggestions, choose: (text) => {
        this.#input.value = text;
        this.commit();
      } });
    }
    this.#input.addEventListener("keydown", (event) => this.#key(event));
    this.#form.addEventListener("focusout", ({ relatedTarget }) => {
      if (!this.#form.contains(relatedTarget)) this.commit();
    });
    this.#shown.addEventListener("click", ({ target }) => {
      // Somebody marks text to copy it, or follows a link in it.
      if (getSelection().isCollapsed && !target.closest("a, button")) this.edit();
    });
  }

  /** Whether something is typed that is not saved. */
  get dirty() {
    return this.#editing && this.#input.value !== this.#began;
  }

  get typed() {
    return this.#input.value;
  }

  /** The value from outside. What is being typed stays, and it is said that the value is another one now. */
  set(value) {
    if (this.#editing && !this.#saving && value !== this.#value) this.#changedMeanwhile(value);
    this.#value = value;
    this.#shown.replaceChildren(...this.#options.show(value));
    this.#view.classList.toggle("edit__view--empty", value === "");
  }

  edit(text = this.#value) {
    if (this.#editing) return;
    this.#takeBackOffer();
    this.#editing = true;
    // As the input has it: line ends may be others in a file.
    this.#input.value = this.#value;
    this.#began = this.#input.value;
    this.#input.value = text;
    this.#view.hidden = true;
    this.#form.hidden = false;
    this.#say("");
    if (this.#options.lines > 1) this.#input.rows = Math.max(this.#options.lines, Math.min(14, text.split("\n").length + 1));
    this.#input.focus();
    if (this.#options.lines === 1) this.#input.select();
    this.#status.textContent = t(this.#options.lines > 1 ? "edit.keysLong" : "edit.keys");
  }

  /** Saves what is typed. Answers whether nothing is left unsaved. */
  commit() {
    if (!this.#editing) return Promise.resolve(true);
    this.#saving ??= this.#save().finally(() => {
      this.#saving = null;
    });
    return this.#saving;
  }

  cancel() {
    this.#end();
  }

  focus() {
    this.#input.focus();
  }

  /** The field's place goes away. */
  dispose() {
    this.#takeBackOffer();
  }

  #changedMeanwhile(value) {
    // An input in which nobody typed would put the old value back as soon as it is left.
    const typed = this.dirty ? this.#input.value : null;
    this.#input.value = value;
    this.#began = this.#input.value;
    if (typed === null) return;
    this.#input.value = typed;
    this.#status.textContent = t("edit.changedMeanwhile");
  }

  // A text of several lines is too much to lose to one key.
  #escape() {
    const { label, lines } = this.#options;
    const typed = this.dirty && lines > 1 ? this.#input.value : null;
    this.cancel();
    if (typed !== null) this.#takeBackOffer = toast(t("edit.dropped", { field: label }), { action: { label: t("edit.bringBack"), run: () => this.edit(typed) } });
  }

  async #save() {
    const { label, lines, needed } = this.#options;
    const text = lines > 1 ? this.#input.value.trimEnd() : this.#input.value.trim();
    if (!this.dirty || text === this.#value) {
      this.#end();
      return true;
    }
    if (!text && needed) {
      this.#say(needed);
      return false;
    }
    this.#say("");
    this.#status.textContent = t("edit.saving");
    this.#form.setAttribute("aria-busy", "true");
    this.#input.readOnly = true;
    try {
      await this.#options.save(text);
    } catch (error) {
      this.#say(t("edit.failed", { field: label, reason: reasonOf(error) }));
      return false;
    } finally {
      this.#form.removeAttribute("aria-busy");
      this.#input.readOnly = false;
      this.#status.textContent = "";
    }
    this.set(text);
    this.#end();
    return true;
  }

  #say(problem) {
    this.#error.replaceChildren(...(problem ? [problem, " ",
      h("button", { class: "edit__again", type: "button", onclick: () => this.commit() }, t("error.retry")), " ",
      h("button", { class: "edit__again", type: "button", onclick: () => this.cancel() }, t("edit.discard"))] : []));
    if (problem) this.#input.setAttribute("aria-invalid", "true");
    else this.#input.removeAttribute("aria-invalid");
  }

  #end() {
    if (!this.#editing) return;
    this.#editing = false;
    const focused = this.#form.contains(document.activeElement);
    this.#view.hidden = false;
    this.#form.hidden = true;
    this.#say("");
    if (focused) this.#button.focus();
  }

  #key(event) {
    if (event.isComposing) return;
    if (event.key === "Escape") this.#escape();
    else if (event.key === "Enter" && (this.#options.lines === 1 || event.ctrlKey || event.metaKey)) this.commit();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
