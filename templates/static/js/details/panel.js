import { ApiError, isAbort } from "../api.js";
import { copy } from "../controls/copy-button.js";
import { breakable, byId, h, icon, webAddress } from "../dom.js";
import { baseDot, baseLabel, isUnknown } from "../grid/card.js";
import { bind, dispatch } from "../shortcuts.js";
import { number, t } from "../texts.js";
import { description } from "./description.js";
import { factRows } from "./facts.js";
import { findModel } from "./find.js";
import { Picture } from "./picture.js";
import { triggerWords, wordsSection } from "./words.js";

/**
 * The details of one model. Which one is `model` in the store, so that the address says it; this class only follows.
 * Events: `closed` with the index of the model last shown, or -1 when it isn't in the list.
 */
export class Details extends EventTarget {
  #api;
  #store;
  #source;
  #dialog = byId("details");
  #picture = new Picture();
  // It takes the focus when the panel opens, so that Up and Down scroll the text.
  #body = h("div", { class: "details__body", tabindex: "-1", autofocus: true });
  #place = h("p", { class: "details__place" });
  #previous = step("left", "details.previous", () => this.#step(-1));
  #next = step("right", "details.next", () => this.#step(1));
  #item = null;
  #index = -1;
  #asking = null;
  #leaving = false;

  constructor({ api, store, source }) {
    super();
    this.#api = api;
    this.#store = store;
    this.#source = source;
    this.#dialog.append(
      this.#picture.element,
      h("div", { class: "details__bar" },
        this.#previous, this.#next, this.#place,
        h("button", { class: "button button--bare details__close", type: "button", "aria-label": t("details.close"), title: t("details.close"), onclick: () => this.#leave() }, icon("close"))),
      this.#body,
      h("div", { class: "toasts", role: "status", "aria-live": "polite" }),
    );

    bind("details.previous", () => this.#step(-1));
    bind("details.next", () => this.#step(1));
    bind("details.veil", () => this.#picture.toggleVeil());
    bind("details.copy", () => {
      // Somebody copies what they selected themselves.
      if (!getSelection().isCollapsed) return false;
      return this.#copyWords();
    });
    bind("details.close", () => this.#leave());
    this.#dialog.addEventListener("keydown", (event) => {
      // A video's own controls use the arrows too.
      if (!(event.target instanceof HTMLVideoElement) || event.key === "Escape") dispatch(event, "details");
    });
    this.#dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.#leave();
    });
    this.#dialog.addEventListener("close", () => {
      if (this.#store.state.model) this.#leave();
    });
    this.#dialog.addEventListener("click", ({ target }) => {
      if (target === this.#dialog) this.#leave();
    });

    store.watch(["model"], ({ model }) => (model ? this.#show(model) : this.#close()));
    source.addEventListener("items", () => this.#listChanged());
  }

  async #show(filePath) {
    if (!this.#dialog.open) this.#dialog.showModal();
    if (this.#item?.file_path === filePath) return;
    this.#asking?.abort();
    const { signal } = (this.#asking = new AbortController());
    this.#index = this.#source.indexOf(filePath);
    const listed = this.#source.item(this.#index) ?? this.#store.state.shownModel;
    try {
      if (listed?.file_path === filePath) {
        this.#fill(listed);
      } else {
        this.#say(t("details.loading"));
        const status = this.#store.state.status ?? (await this.#api.get("status", {}, signal));
        const found = await findModel(this.#api, filePath, status.roots, signal);
        if (!found) {
          this.#say(t("details.gone"), filePath);
          return;
        }
        this.#index = this.#source.indexOf(filePath);
        this.#fill(found);
      }
      await this.#fillMore(this.#item, signal);
    } catch (error) {
      if (!isAbort(error)) this.#say(t("details.failed"), error.message);
    }
  }

  #say(title, detail = "") {
    this.#item = null;
    this.#picture.clear();
    this.#body.replaceChildren(h("h2", { class: "details__name", id: "details-name" }, title), h("p", { class: "details__note" }, detail));
    this.#showPlace();
  }

  #fill(item) {
    this.#item = item;
    this.#picture.show(item);
    this.#draw(null, null);
    this.#body.scrollTop = 0;
    this.#showPlace();
  }

  /** What the list doesn't carry. Either part may be missing: a file without a sidecar has neither. */
  async #fillMore(item, signal) {
    const missing = (error) => {
      if (error instanceof ApiError) return null;
      throw error;
    };
    const ask = (route) => this.#api.get(route, { file_path: item.file_path }, signal).catch(missing);
    const [metadata, text] = await Promise.all([ask("metadata"), ask("model-description")]);
    const link = item.civitai?.modelId ? await this.#api.get("civitai-url", { name: item.folder ? `${item.folder}/${item.file_name}` : item.file_name }, signal).catch(missing) : null;
    if (this.#item === item) this.#draw(metadata?.metadata ?? null, text?.safe_html ?? "", link?.civitai_url);
  }

  #draw(metadata, html, link) {
    const item = this.#item;
    const guessed = isUnknown(item.base_model);
    const base = guessed ? item.base_model_hint : item.base_model;
    const words = triggerWords(item, metadata);
    const web = webAddress(link ?? item.hf_url);
    this.#body.replaceChildren(...[
      h("header", { class: "details__head" },
        h("h2", { class: "details__name", id: "details-name" }, breakable(item.model_name)),
        h("p", { class: "details__tags" },
          h("span", { class: guessed ? "base base--guess" : "base" }, base && baseDot(base, guessed), baseLabel(item)),
          item.favorite && h("span", { class: "details__star" }, icon("star"), t("mark.favorite")),
          web && h("a", { class: "details__web", href: web.href, target: "_blank", rel: "noopener noreferrer" }, icon("external"), web.hostname))),
      item.problem && h("p", { class: "callout callout--bad" }, icon("alert"), h("span", {}, item.problem)),
      item.offline && h("p", { class: "callout" }, icon("offline"), h("span", {}, t("details.offline"))),
      wordsSection(words),
      item.tags.length > 0 && this.#tagsSection(item.tags),
      item.notes && h("section", { class: "details__section" }, h("h3", {}, t("details.notes")), h("p", { class: "notes" }, item.notes)),
      h("section", { class: "details__section" }, h("h3", {}, t("details.facts")),
        h("dl", { class: "facts" }, factRows(item, metadata).map(([label, value]) => h("div", { class: "fact" }, h("dt", {}, label), h("dd", {}, value))))),
      html && description(html),
    ].filter(Boolean));
  }

  #tagsSection(tags) {
    const filter = (tag) => this.#store.set({ model: "", view: "all", tags: [tag], tagsNot: [] });
    return h("section", { class: "details__section" }, h("h3", {}, t("details.tags")),
      h("ul", { class: "tags" }, tags.map((tag) => h("li", {}, h("button", { class: "tag", type: "button", title: t("details.filterTag", { tag }), onclick: () => filter(tag) }, tag)))));
  }

  #showPlace() {
    const total = this.#source.total ?? 0;
    const listed = this.#index >= 0 && total > 0;
    this.#place.textContent = listed ? t("details.place", { at: number(this.#index + 1), of: number(total) }) : "";
    this.#previous.disabled = !listed || this.#index === 0;
    this.#next.disabled = !listed || this.#index >= total - 1;
  }

  #listChanged() {
    if (!this.#item || !this.#dialog.open) return;
    this.#index = this.#source.indexOf(this.#item.file_path);
    this.#showPlace();
    const now = this.#source.item(this.#index);
    if (!now || JSON.stringify(now) === JSON.stringify(this.#item)) return;
    this.#item = null;
    this.#show(now.file_path);
  }

  async #step(by) {
    if (this.#index < 0) return;
    const item = await this.#source.load(this.#index + by);
    if (item) this.#store.set({ model: item.file_path }, "replace");
  }

  #copyWords() {
    const words = this.#item ? triggerWords(this.#item, null) : [];
    if (!words.length) return false;
    copy(words.join(", "));
    return true;
  }

  // Going back is what the browser's Back button would do; only a page that was opened here has nothing to go back to.
  #leave() {
    if (this.#leaving) return;
    this.#leaving = true;
    if (history.state?.opened) history.back();
    else this.#store.set({ model: "" }, "replace");
  }

  #close() {
    this.#leaving = false;
    if (!this.#item && !this.#dialog.open) return;
    this.#asking?.abort();
    this.#dialog.close();
    this.#picture.clear();
    this.#item = null;
    this.dispatchEvent(new CustomEvent("closed", { detail: this.#index }));
  }
}

function step(glyph, label, run) {
  return h("button", { class: "button button--bare", type: "button", "aria-label": t(label), title: t(label), onclick: run }, icon(glyph));
}
