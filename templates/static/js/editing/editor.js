import { copy } from "../controls/copy-button.js";
import { breakable, h, icon } from "../dom.js";
import { triggerWords } from "../details/words.js";
import { baseDot, baseLabel, isUnknown } from "../grid/card.js";
import { reasonOf } from "../reason.js";
import { t } from "../texts.js";
import { toast } from "../toast.js";
import { saveOrKeep, takeDraft } from "./drafts.js";
import { nameOf } from "./edits.js";
import { ListField } from "./list-field.js";
import { baseFinder, tagFinder } from "./suggestions.js";
import { TextField } from "./text-field.js";

/**
 * The parts of the details of one model that a person can change. It lives as long as the model is shown; `update` brings
 * what others changed without touching what is being typed. `parts` are its elements, to be put where they belong.
 */
export class Editor {
  #item;
  #edits;
  #words = [];
  #fields;
  #web = h("span", { class: "details__weblink" });
  #star = h("button", { class: "star", type: "button", "aria-keyshortcuts": "s", onclick: () => this.toggleFavorite() }, icon("star"), t("mark.favorite"));
  #exclude = h("button", { class: "button button--quiet button--small", type: "button", onclick: () => this.#toggleExcluded() });
  #copyAll = h("button", { class: "button button--quiet button--small", type: "button", "aria-keyshortcuts": "c", onclick: () => copy(this.#words.join(", ")) }, icon("copy"), t("copy.all"));
  #leave;
  #follow;
  parts;

  /**
   * `showTag(tag)` lists the models with a tag, `leave()` closes the details, `follow(item)` says that the model has another
   * path, `move(paths, done)` and `remove(paths, item)` do that; `remove` answers whether it is gone.
   */
  constructor({ item, edits, api, showTag, leave, follow, move, remove }) {
    this.#item = item;
    this.#edits = edits;
    this.#leave = leave;
    this.#follow = follow;
    const set = (key, value, field) => this.#set({ [key]: value }, field);
    const chip = (className, value, title, run) => h("button", { class: className, type: "button", title, onclick: run }, value);

    const name = new TextField({
      label: t("edit.name"),
      needed: t("edit.nameNeeded"),
      show: (value) => [h("h2", { class: "details__name", id: "details-name" }, breakable(value))],
      save: (text) => set("model_name", text, t("edit.name")),
    });
    const base = new TextField({
      label: t("fact.base"),
      show: () => [this.#base()],
      suggestions: { label: t("fact.base"), atFocus: true, find: baseFinder(api) },
      save: (text) => set("base_model", text || "Unknown", t("fact.base")),
    });
    const notes = new TextField({
      label: t("details.notes"),
      lines: 4,
      show: (text) => [text ? h("p", { class: "notes" }, text) : h("span", { class: "edit__none" }, t("edit.noNotes"))],
      save: (text) => set("notes", text, t("details.notes")),
    });
    const tags = new ListField({
      label: t("details.tags"),
      addLabel: t("edit.addTag"),
      chip: (tag) => chip("tag", tag, t("details.filterTag", { tag }), () => showTag(tag)),
      suggestions: { label: t("details.tags"), find: tagFinder(api, () => this.#item.tags) },
      add: async (text) => this.#tagsAre(await edits.addTags(this.#item, split(text))),
      remove: async (tag) => {
        await edits.removeTag(this.#item, tag);
        return this.#tagsAre(this.#item.tags.filter((other) => other !== tag));
      },
    });
    const words = new ListField({
      label: t("details.words"),
      addLabel: t("edit.addWord"),
      chip: (word) => {
        const button = chip("word", word, t("copy.word"), () => copy(word));
        button.setAttribute("aria-label", t("copy.wordNamed", { word }));
        return button;
      },
      add: (text) => this.#wordsAre([...this.#words.filter((word) => word !== text), text]),
      remove: (word) => this.#wordsAre(this.#words.filter((other) => other !== word)),
    });
    const file = new TextField({
      label: t("fact.file"),
      needed: t("edit.fileNeeded"),
      show: (text) => [h("code", { class: "details__file" }, breakable(text + extensionOf(this.#item.file_path)))],
      save: async (text) => this.#isAt(await edits.rename(this.#item, text), text),
    });
    this.#fields = { file: [file, t("fact.file")], name: [name, t("edit.name")], base: [base, t("fact.base")], notes: [notes, t("details.notes")], tags: [tags, t("details.tags")], words: [words, t("details.words")] };

    const section = (label, ...content) => h("section", { class: "details__section" }, label, ...content);
    this.parts = {
      head: h("header", { class: "details__head" }, name.element, h("div", { class: "details__tags" }, base.element, this.#star, this.#web)),
      words: section(h("div", { class: "details__line" }, h("h3", {}, t("details.words")), this.#copyAll), words.element),
      tags: section(h("h3", {}, t("details.tags")), tags.element),
      notes: section(h("h3", {}, t("details.notes")), notes.element),
      file: section(h("h3", {}, t("fact.file")), file.element),
      foot: h("div", { class: "details__foot" },
        this.#act("folder", t("menu.move"), () => move([this.#item.file_path], ([{ new_file_path: path }]) => path && this.#isAt(path))),
        this.#exclude,
        this.#act("trash", t("menu.delete"), async () => {
          if (await remove([this.#item.file_path], this.#item)) this.#leave();
        })),
    };
    this.update(item, null);
  }

  /** Puts back what could not be saved when this model was last open. Call it once the parts are in the document. */
  restore() {
    for (const [name, [field]] of Object.entries(this.#fields)) {
      const text = takeDraft(this.#item, name);
      if (text !== undefined) field.edit(text);
    }
  }

  get dirty() {
    return Object.values(this.#fields).some(([field]) => field.dirty);
  }

  /** `metadata`: what the list doesn't carry, or null while that isn't known; `web`: the model's page or null. */
  update(item, metadata, web = null) {
    this.#item = item;
    this.#words = triggerWords(item, metadata);
    const { file, name, base, notes, tags, words } = this.#fields;
    file[0].set(item.file_name);
    name[0].set(item.model_name);
    base[0].set(isUnknown(item.base_model) ? "" : item.base_model);
    notes[0].set(item.notes ?? "");
    tags[0].set(item.tags);
    words[0].set(this.#words);
    this.#copyAll.hidden = !this.#words.length;
    this.#star.setAttribute("aria-pressed", String(Boolean(item.favorite)));
    this.#web.replaceChildren(...(web ? [h("a", { class: "details__web", href: web.href, target: "_blank", rel: "noopener noreferrer" }, icon("external"), web.hostname)] : []));
    this.#exclude.replaceChildren(icon(item.exclude ? "eye" : "eye-off"), t(item.exclude ? "edit.restore" : "edit.exclude"));
  }

  /** Saves everything that is typed. Answers whether nothing is left unsaved; else the first such field has the focus. */
  async flush() {
    const all = Object.values(this.#fields).map(([field]) => field);
    const saved = await Promise.all(all.map((field) => field.commit()));
    all[saved.indexOf(false)]?.focus();
    return !saved.includes(false);
  }

  /** The model is no longer shown. */
  dispose() {
    for (const [name, [field, label]] of Object.entries(this.#fields)) {
      saveOrKeep(this.#item, name, field, label);
      field.dispose?.();
    }
  }

  editFile() {
    this.#fields.file[0].edit();
  }

  async toggleFavorite() {
    const favorite = !this.#item.favorite;
    await this.#try(async () => {
      await this.#edits.favorite(this.#item, favorite);
      this.#patch({ favorite });
    });
  }

  async #toggleExcluded() {
    if (!(await this.flush())) return;
    await this.#try(async () => {
      await this.#edits.exclude(this.#item, !this.#item.exclude);
      this.#leave();
    });
  }

  #act(glyph, label, run) {
    return h("button", { class: "button button--quiet button--small", type: "button", onclick: async () => {
      if (await this.flush()) run();
    } }, icon(glyph), label);
  }

  /** The model is at this path now. */
  #isAt(path, name = path.slice(path.lastIndexOf("/") + 1, -extensionOf(path).length)) {
    this.#item = { ...this.#item, file_path: path, file_name: name };
    this.#follow(this.#item);
  }

  #base() {
    const guessed = isUnknown(this.#item.base_model);
    const base = guessed ? this.#item.base_model_hint : this.#item.base_model;
    return h("span", { class: guessed ? "base base--guess" : "base" }, base && baseDot(base, guessed), baseLabel(this.#item));
  }

  async #set(fields, field) {
    await this.#edits.set(this.#item, fields, t("did.set", { field, name: nameOf(this.#item) }));
    this.#item = { ...this.#item, ...fields };
  }

  #tagsAre(tags) {
    this.#item = { ...this.#item, tags };
    return tags;
  }

  async #wordsAre(trainedWords) {
    await this.#set({ civitai: { trainedWords } }, t("details.words"));
    this.#words = trainedWords;
    this.#copyAll.hidden = !trainedWords.length;
    return trainedWords;
  }

  #patch(fields) {
    this.#item = { ...this.#item, ...fields };
    this.#star.setAttribute("aria-pressed", String(Boolean(this.#item.favorite)));
  }

  async #try(change) {
    try {
      await change();
    } catch (error) {
      toast(t("edit.notDone", { name: nameOf(this.#item), reason: reasonOf(error) }), { bad: true });
    }
  }
}

function extensionOf(path) {
  return path.slice(path.lastIndexOf("."));
}

/** Tags that were typed with commas between them. */
export function split(text) {
  return text.split(",").map((tag) => tag.trim()).filter(Boolean);
}
