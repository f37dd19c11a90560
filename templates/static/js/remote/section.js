import { isAbort } from "../api.js";
import { whileBusy } from "../controls/busy.js";
import { h, icon } from "../dom.js";
import { reasonOf } from "../reason.js";
import { bytes, day, t } from "../texts.js";
import { toast } from "../toast.js";
import { relinkDialog } from "./relink-dialog.js";

/**
 * What the details say of a model's provider: new metadata on request, another link, and the versions there are. Versions
 * are asked for when the list is opened, since that asks the provider.
 */
export class RemoteSection {
  #api;
  #edits;
  #download;
  #item = null;
  #asking = null;
  #shown = 0;
  #state = h("p", { class: "edit__status", role: "status" });
  #refresh = h("button", { class: "button button--quiet button--small", type: "button", onclick: () => whileBusy([this.#refresh], () => this.#fetch()) }, icon("refresh"), t("remote.refresh"));
  #relink = h("button", { class: "button button--quiet button--small", type: "button", onclick: () => relinkDialog({ item: this.#item, edits: this.#edits }) }, icon("link"), t("remote.relink"));
  #list = h("div", { class: "versions", "aria-live": "polite" });
  #versions = h("details", { class: "versions__fold", ontoggle: () => this.#versions.open && this.#load() }, h("summary", {}, t("remote.versions")), this.#list);
  element = h("section", { class: "details__section remote" }, h("h3", {}, t("remote.title")), h("div", { class: "remote__acts" }, this.#refresh, this.#relink), this.#state, this.#versions);

  /** `download(address)` opens the downloads with an address. */
  constructor({ api, edits, download }) {
    this.#download = download;
    this.#api = api;
    this.#edits = edits;
  }

  /** Shows this model. */
  update(item) {
    const other = item.file_path !== this.#item?.file_path;
    this.#item = item;
    const id = item.civitai?.modelId ?? 0;
    this.#versions.hidden = !id;
    if (other) this.#state.textContent = "";
    if (other || id !== this.#shown) {
      this.#asking?.abort();
      this.#shown = id;
      this.#versions.open = false;
      this.#list.replaceChildren();
    }
  }

  async #fetch() {
    const item = this.#item;
    const say = (text) => {
      if (this.#item?.file_path === item.file_path) this.#state.textContent = text;
    };
    say(t("remote.asking"));
    try {
      await this.#edits.refresh(item);
      say("");
    } catch (error) {
      say(reasonOf(error));
    }
  }

  async #load() {
    const { signal } = (this.#asking = new AbortController());
    const id = this.#shown;
    this.#list.replaceChildren(h("p", { class: "edit__status" }, t("remote.asking")));
    try {
      const { record } = await this.#api.get(`updates/versions/${id}`, { refresh: true }, signal);
      this.#draw(record);
    } catch (error) {
      if (!isAbort(error)) this.#list.replaceChildren(h("p", { class: "edit__error", role: "alert" }, reasonOf(error)));
    }
  }

  #draw(record) {
    const newest = Math.max(0, ...record.inLibraryVersionIds);
    const ignore = h("button", { class: "button button--quiet button--small", type: "button", onclick: () => this.#ignore("updates/ignore", { shouldIgnore: !record.shouldIgnore }) }, t(record.shouldIgnore ? "updates.tellModel" : "updates.ignoreModel"));
    this.#list.replaceChildren(
      h("ul", { class: "versions__rows" }, record.versions.map((version) => this.#row(version, version.versionId > newest && !record.shouldIgnore))),
      ignore,
    );
  }

  #row(version, newer) {
    const name = version.name ?? version.fileName ?? String(version.versionId);
    const facts = [version.baseModel, version.releasedAt && day(new Date(version.releasedAt)), version.sizeBytes > 0 && bytes(version.sizeBytes), version.isEarlyAccess && t("remote.earlyAccess"), version.isPaid && t("remote.paid")].filter(Boolean);
    return h("li", { class: "versions__row" },
      h("span", { class: "versions__name" }, name),
      h("span", { class: "versions__facts" }, facts.join(" · ")),
      version.isInLibrary && h("span", { class: "versions__mark" }, icon("check"), t("remote.here")),
      !version.isInLibrary && h("button", { class: "button button--quiet button--small", type: "button", "aria-label": t("remote.downloadOne", { name }), onclick: () => this.#download(`https://civitai.com/models/${this.#shown}?modelVersionId=${version.versionId}`) }, icon("download"), t("remote.download")),
      newer && !version.isInLibrary && h("button", { class: "button button--quiet button--small", type: "button", onclick: () => this.#ignore("updates/ignore-version", { versionId: version.versionId, shouldIgnore: !version.shouldIgnore }) }, t(version.shouldIgnore ? "updates.tellVersion" : "updates.ignoreVersion")),
    );
  }

  async #ignore(route, change) {
    const id = this.#shown;
    try {
      const { record } = await this.#api.post(route, { modelId: id, ...change });
      if (this.#shown !== id) return;
      this.#draw(record);
      this.#versions.querySelector("summary").focus();
    } catch (error) {
      toast(reasonOf(error), { bad: true });
    }
  }
}
