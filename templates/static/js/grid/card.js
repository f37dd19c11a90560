import { addressOf } from "../address.js";
import { bootstrap } from "../bootstrap.js";
import { breakable, h, hash, icon } from "../dom.js";
import { SERVER_LANG, lang, t, tn } from "../texts.js";
import { isMature, isVeiled, playVideo, setRevealed, showPreview, veils } from "./media.js";

const { type } = bootstrap;
const kinds = new Map(type.sub_types.map(({ id, label }) => [id, label]));

export function kindOf(item) {
  return kinds.get(item.sub_type) ?? item.sub_type ?? "";
}

export function isUnknown(base) {
  return !base || base === "Unknown";
}

/** The name of a base model as people should read it; files about which nothing is known have a word of LoraManager. */
export function baseName(name) {
  return isUnknown(name) ? t("base.unknown") : name;
}

/** The base model as people should read it: a guess from the file's header is marked as one. */
export function baseLabel(item) {
  if (!isUnknown(item.base_model)) return item.base_model;
  return item.base_model_hint ? t("base.hint", { name: item.base_model_hint }) : t("base.unknown");
}

/** The same in a sentence, for where there is room. */
export function baseExplained(item) {
  return isUnknown(item.base_model) && item.base_model_hint ? t("base.guessed", { name: item.base_model_hint }) : baseLabel(item);
}

export function baseDot(name, guessed = false) {
  const dot = h("span", { class: guessed ? "dot dot--guess" : "dot", "aria-hidden": "true" });
  dot.style.setProperty("--hue", String(hash(name) % 360));
  return dot;
}

/** One cell of the grid. It lives as long as its row does and is given another item when rows are reused. */
export class Card {
  #state;
  #item = null;
  #release = null;
  #slot = h("span", { class: "card__slot" });
  #marks = h("span", { class: "card__marks" });
  #name = h("span", { class: "card__name" });
  #meta = h("span", { class: "card__meta" });
  #veil = h("button", { class: "card__veil", type: "button", tabindex: "-1" });
  #followVeil = () => this.#item && this.#showVeil();
  #media = h("span", { class: "card__media" }, this.#slot);
  // The marks lie on the picture but come last, so that a screen reader begins with the name.
  link = h("a", { class: "card", tabindex: "-1", draggable: "false" }, this.#media, this.#name, this.#meta, this.#marks);
  element = h("div", { class: "cell" }, this.link, this.#veil);

  /** `state()` gives the store's state, for the card's address; `role` is what the card is within its list. */
  constructor(state, role) {
    this.#state = state;
    this.element.setAttribute("role", role);
    this.#veil.addEventListener("click", () => this.toggleVeil());
    veils.addEventListener("change", this.#followVeil);
    for (const [event, play] of [["pointerenter", true], ["pointerleave", false], ["focusin", true], ["focusout", false]]) {
      this.element.addEventListener(event, () => playVideo(this.#slot, play && this.#item !== null && !isVeiled(this.#item)));
    }
  }

  /**
   * Shows `item`, or a skeleton for null. `media` false puts the preview off: the person is scrolling fast. `width` is
   * the card's, in pixels.
   */
  show(item, media, width) {
    const before = this.#item;
    this.#item = item;
    if (item === null || item !== before) {
      // A reload brings equal models as new objects; their pictures stay, or the whole page would flash.
      if (!samePicture(item, before)) this.#dropMedia();
      this.element.classList.toggle("cell--waiting", item === null);
      if (item === null) this.#showSkeleton();
      else this.#showItem(item);
    }
    if (item !== null && media) this.#showMedia(width);
  }

  dispose() {
    veils.removeEventListener("change", this.#followVeil);
    this.#dropMedia();
  }

  toggleVeil() {
    if (!this.#item || !isMature(this.#item)) return;
    setRevealed(this.#item, isVeiled(this.#item));
  }

  #dropMedia() {
    this.#release?.();
    this.#release = null;
    this.#slot.replaceChildren();
  }

  #showSkeleton() {
    this.link.removeAttribute("href");
    this.#marks.replaceChildren();
    this.#name.replaceChildren(h("span", { class: "sr-only" }, t("grid.loading")));
    this.#meta.replaceChildren();
    this.#media.classList.remove("card__media--veiled");
    this.element.classList.remove("cell--offline");
    this.#veil.hidden = true;
  }

  #showItem(item) {
    this.link.href = addressOf(this.#state(), item.file_path);
    this.element.classList.toggle("cell--offline", Boolean(item.offline));
    this.#name.replaceChildren(...breakable(item.model_name));
    this.#name.title = item.model_name;
    const guessed = isUnknown(item.base_model);
    const base = guessed ? item.base_model_hint : item.base_model;
    this.#meta.replaceChildren(
      h("span", { class: guessed ? "base base--guess" : "base", title: guessed ? baseExplained(item) : null }, base && baseDot(base, guessed), h("span", { class: "base__name" }, baseLabel(item))),
      kinds.size > 1 && item.sub_type ? h("span", { class: "card__kind" }, kindOf(item)) : "",
    );
    this.#marks.replaceChildren(...marks(item));
    this.#showVeil();
  }

  #showMedia(width) {
    this.#release ??= showPreview(this.#slot, this.#item, width);
  }

  #showVeil() {
    const mature = isMature(this.#item);
    const veiled = isVeiled(this.#item);
    this.#media.classList.toggle("card__media--veiled", veiled);
    this.#veil.hidden = !mature;
    if (!mature) return;
    this.#veil.classList.toggle("card__veil--open", !veiled);
    this.#veil.title = t(veiled ? "veil.show" : "veil.hide");
    this.#veil.replaceChildren(
      icon(veiled ? "eye-off" : "eye"),
      veiled ? h("span", {}, t("veil.mature")) : "",
      h("span", { class: "sr-only" }, this.#veil.title),
    );
  }
}

function samePicture(a, b) {
  return a !== null && b !== null && a.file_path === b.file_path && a.media_url === b.media_url && a.model_name === b.model_name;
}

function marks(item) {
  return [
    item.problem && mark("alert", t("mark.problem"), "mark--problem", lang === SERVER_LANG ? item.problem : undefined),
    item.offline && mark("offline", t("mark.offline")),
    item.version_count > 1 && mark("layers", t("mark.versions", { n: item.version_count }), "", undefined, String(item.version_count)),
    item.aliases?.length > 0 && mark("link", tn("mark.aliases", item.aliases.length), "", undefined, String(item.aliases.length)),
    item.media_type === "video" && mark("play", t("mark.video"), "mark--end"),
    item.update_available && mark("update", t("mark.update"), "mark--update"),
    item.favorite && mark("star", t("mark.favorite"), "mark--star"),
  ].filter(Boolean);
}

function mark(glyph, text, className = "", title = text, figure = "") {
  return h("span", { class: `mark ${className}`, title }, icon(glyph), figure && h("span", { "aria-hidden": "true" }, figure), h("span", { class: "sr-only" }, text));
}
