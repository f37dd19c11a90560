import { Api } from "../api.js";
import { reasonOf } from "../reason.js";
import { t, tn } from "../texts.js";
import { toast } from "../toast.js";

/** The model's name, or that of its file. */
export function nameOf(item) {
  return item.model_name || fileName(item.file_path);
}

export function fileName(path) {
  return path.slice(path.lastIndexOf("/") + 1);
}

/**
 * All changes of models go through here: each is asked of the server, said in a toast that can take it back, and
 * remembered so that a key can. Every call throws ApiError when nothing was changed. Event `changed` after each.
 */
export class Edits extends EventTarget {
  #api;
  #general = new Api();
  // What this page did and nobody has taken back yet, oldest first.
  #done = [];
  #dismiss = () => {};

  constructor(api) {
    super();
    this.#api = api;
  }

  async set(item, fields, said) {
    this.#made(await this.#api.post("save-metadata", { file_path: item.file_path, ...fields }), said);
  }

  /** Returns the tags that the model has then. */
  async addTags(item, tags) {
    const answer = await this.#api.post("add-tags", { file_path: item.file_path, tags });
    this.#made(answer, t("did.tagsAdded", { tags: tags.join(", "), name: nameOf(item) }));
    return answer.tags;
  }

  async removeTag(item, tag) {
    await this.#bulk([item.file_path], { remove_tags: [tag] }, () => t("did.tagRemoved", { tag, name: nameOf(item) }));
  }

  async favorite(item, yes) {
    await this.set(item, { favorite: yes }, t(yes ? "did.favorite" : "did.unfavorite", { name: nameOf(item) }));
  }

  async exclude(item, yes) {
    this.#made(await this.#api.post(yes ? "exclude" : "unexclude", { file_path: item.file_path }), t(yes ? "did.excluded" : "did.restored", { name: nameOf(item) }));
  }

  /** Takes a provider's word on a model. */
  async refresh(item) {
    this.#made(await this.#api.post("fetch-civitai", { file_path: item.file_path }), t("did.refreshed", { name: nameOf(item) }));
  }

  /** Links a model to a version, or to the newest one, of a provider's model. */
  async relink(item, { model_id: model, model_version_id: version = null }) {
    this.#made(await this.#api.post("relink-civitai", { file_path: item.file_path, model_id: model, model_version_id: version }), t("did.relinked", { name: nameOf(item), id: model }));
  }

  /** Replaces the preview by a file; its NSFW level stays. */
  async replacePreview(item, file) {
    const answer = await this.#api.postForm("replace-preview", { model_path: item.file_path, nsfw_level: item.preview_nsfw_level ?? 0, preview_file: file });
    this.#made(answer, t("did.preview", { name: nameOf(item) }));
  }

  /** The same by what is at an address. */
  async previewFrom(item, address) {
    const answer = await this.#api.post("set-preview-from-url", { model_path: item.file_path, image_url: address, nsfw_level: item.preview_nsfw_level ?? 0 });
    this.#made(answer, t("did.preview", { name: nameOf(item) }));
  }

  /** Reads files again that count as copies: `{verified_as_duplicates, mismatched_files}`. */
  verify(paths, signal) {
    return this.#api.post("verify-duplicates", { file_paths: paths }, signal);
  }

  /** What `link` would do: `{results: [{file_path, success, method, bytes_saved, error}], bytes_saved}`. */
  planLink(wanted, signal) {
    return this.#api.post("link-duplicates", { ...wanted, dry_run: true }, signal);
  }

  /** Has the files `replace` share the bytes of `keep`; answers as `planLink`. */
  async link(wanted) {
    const answer = await this.#api.post("link-duplicates", wanted);
    this.#made(answer, tn("did.linked", answer.success_count));
    return answer;
  }

  /** What `change` would do: `[{file_path, success, changes: [{field, from, to}], error}]`. Nothing is changed. */
  async plan(paths, change, signal) {
    return (await this.#api.post("bulk-edit", { file_paths: paths, ...change, dry_run: true }, signal)).results;
  }

  /** One act over many models. Returns what could not be changed: `[{file_path, error}]`. */
  async many(paths, change) {
    const { results } = await this.#bulk(paths, change, (changed) => tn(saidOf(change), changed));
    return results.filter(({ success }) => !success);
  }

  /** Puts models into the trash; `name` is said when it is one. Returns what could not be: `[{file_path, error}]`. */
  async delete(paths, name = fileName(paths[0])) {
    if (paths.length === 1) {
      this.#made(await this.#api.post("delete", { file_path: paths[0] }), t("did.deleted", { name }));
      return [];
    }
    const answer = await this.#api.post("bulk-delete", { file_paths: paths });
    this.#made({ undo_id: answer.undo_id ?? answer.batch_id }, tn("did.deletedMany", answer.total_deleted));
    return answer.results.filter(({ success }) => !success);
  }

  /** Gives the model's files another name; the model's path then. */
  async rename(item, name) {
    const answer = await this.#api.post("rename", { file_path: item.file_path, new_file_name: name });
    this.#made(answer, t("did.renamed", { from: item.file_name, to: name }));
    return answer.new_file_path;
  }

  /** What moving would do: `{move_count, bytes, results}`. Nothing is moved. */
  planMove(paths, to, signal) {
    return this.#api.post("move_models_bulk", { file_paths: paths, target_path: to, dry_run: true }, signal);
  }

  /** Moves models into the folder `to`. Returns `[{original_file_path, new_file_path, success, message}]`. */
  async move(paths, to) {
    const answer = await this.#api.post("move_models_bulk", { file_paths: paths, target_path: to });
    this.#made(answer, tn("did.moved", answer.success_count, { folder: fileName(to) }));
    return answer.results;
  }

  /** What filing by the template would do, for these models or, without any, for all; `all` as for `organise`. */
  planOrganise(paths, all, signal) {
    return this.#api.post("auto-organize", { ...organiseBody(paths, all), dry_run: true }, signal);
  }

  /** Files models by the template; `all`: also those about which nothing is known. */
  async organise(paths, all) {
    const answer = await this.#api.post("auto-organize", organiseBody(paths, all));
    this.#made(answer, tn("did.organised", answer.summary.success));
    return answer;
  }

  /** Asks the long act that runs to stop; what it did stays. */
  cancelTask() {
    return this.#api.post("cancel-task");
  }

  async #bulk(paths, change, said) {
    const answer = await this.#api.post("bulk-edit", { file_paths: paths, ...change });
    this.#made(answer, said(answer.success_count));
    return answer;
  }

  /** A page of what was done: `{total, acts}`. */
  history(offset, limit, signal) {
    return this.#general.get("history", { offset, limit }, signal);
  }

  /** Takes an act back. Returns `{restored, conflicts, undo_id}`; what was changed since is a conflict and stays. */
  async undo(id) {
    const answer = await this.#general.post("undo", { id });
    this.#forget(id);
    this.#changed();
    return answer;
  }

  /** Takes the last act of this page back that still can be. */
  async undoLast() {
    const last = this.#done.at(-1);
    if (last) await this.#takeBack(last);
    else toast(t("undo.nothing"));
  }

  async #takeBack({ id, said }) {
    this.#dismiss();
    try {
      const { conflicts, undo_id: redo } = await this.undo(id);
      const again = redo && { label: t("undo.redo"), run: () => this.#takeBack({ id: redo, said: t("undo.undone", { what: said }) }) };
      this.#say(conflicts.length ? conflictText(conflicts) : t("undo.undone", { what: said }), { action: again, bad: conflicts.length > 0 });
    } catch (error) {
      // Trying the same again would fail in the same way.
      if (error.status) this.#forget(id);
      this.#say(reasonOf(error), { bad: true });
    }
  }

  #made({ undo_id: id }, said) {
    if (!id) return;
    const act = { id, said };
    this.#done.push(act);
    this.#changed();
    this.#say(said, { action: { label: t("undo.undo"), run: () => this.#takeBack(act) } });
  }

  // Only the last one: a pile of messages would cover the page.
  #say(text, options) {
    this.#dismiss();
    this.#dismiss = toast(text, options);
  }

  #forget(id) {
    this.#done = this.#done.filter((act) => act.id !== id);
  }

  #changed() {
    this.dispatchEvent(new Event("changed"));
  }
}

function organiseBody(paths, all) {
  return { ...(paths && { file_paths: paths }), without_metadata: all };
}

/** The text that says of many models what `change` did. */
function saidOf({ exclude, set = {}, add_tags: added, remove_tags: removed }) {
  if (exclude !== undefined) return exclude ? "did.excludedMany" : "did.restoredMany";
  if (set.favorite !== undefined) return set.favorite ? "did.favoriteMany" : "did.unfavoriteMany";
  if (set.base_model !== undefined) return "did.baseMany";
  if (added) return "did.tagsAddedMany";
  return removed ? "did.tagsRemovedMany" : "did.many";
}

const NAMED = 3;

/** Which models an undo left as they are, and why. */
export function conflictText(conflicts) {
  const names = conflicts.slice(0, NAMED).map(reasonOf).join(" · ");
  return tn("undo.conflicts", conflicts.length, { names });
}
