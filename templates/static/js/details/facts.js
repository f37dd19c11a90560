import { copyButton } from "../controls/copy-button.js";
import { bootstrap } from "../bootstrap.js";
import { h } from "../dom.js";
import { baseLabel, kindOf } from "../grid/card.js";
import { bytes, day, moment, number, t } from "../texts.js";

const { type } = bootstrap;

function path(text, label) {
  return h("span", { class: "fact__copy" }, h("code", { class: "path" }, ...breakable(text)), copyButton(text, label));
}

// Lets a path break after its separators and nowhere else.
function breakable(text) {
  return text.split(/(?<=[/\\_.-])/).flatMap((part, at) => (at ? [h("wbr"), part] : [part]));
}

function mono(text, label) {
  return h("span", { class: "fact__copy" }, h("code", { class: "hash", title: text }, text), copyButton(text, label));
}

/** A value that only the type's plugin knows, shown by its form: list, yes/no, number, object or text. */
function anyValue(value) {
  if (value === null || value === undefined || value === "") return null;
  if (typeof value === "boolean") return t(value ? "value.yes" : "value.no");
  if (typeof value === "number") return number(value);
  if (Array.isArray(value)) return value.length ? value.map(String).join(", ") : null;
  if (typeof value === "object") return pairs(value);
  const parsed = parsedObject(value);
  return parsed ? pairs(parsed) : String(value);
}

function parsedObject(text) {
  if (!text.startsWith("{")) return null;
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function pairs(object) {
  const entries = Object.entries(object).map(([key, value]) => [key, anyValue(value)]).filter(([, value]) => value !== null);
  if (!entries.length) return null;
  return h("span", { class: "pairs" }, entries.map(([key, value]) => h("span", { class: "pairs__pair" }, h("span", { class: "pairs__key" }, key.replaceAll("_", " ")), " ", value)));
}

/** Rows of `[label, value]`; a value is text, an element, or null for "nothing to say". */
export function factRows(item, metadata) {
  const published = metadata?.publishedAt ?? metadata?.createdAt;
  const shown = new Set(["base_model", "sub_type", "file_name", "folder", "file_size", "modified", "tags", "notes", "sha256", "file_path"]);
  return [
    [t("fact.base"), baseLabel(item)],
    [t("fact.kind"), type.sub_types.length > 1 ? kindOf(item) : null],
    [t("fact.version"), item.civitai?.name ?? metadata?.name],
    [t("fact.creator"), metadata?.creator?.username],
    ...type.columns.filter(({ field }) => !shown.has(field)).map(({ field, label }) => [label, anyValue(item[field])]),
    [t("fact.usage"), item.usage_count > 0 ? number(item.usage_count) : null],
    [t("fact.versions"), item.version_count > 1 ? number(item.version_count) : null],
    [t("fact.autoTags"), item.auto_tags?.length ? item.auto_tags.join(", ") : null],
    [t("fact.size"), h("span", { title: t("fact.bytes", { n: number(item.file_size) }) }, bytes(item.file_size))],
    [t("fact.added"), moment(new Date(item.modified * 1000))],
    [t("fact.published"), published ? day(new Date(published)) : null],
    [t("fact.folder"), item.folder || t("folders.root")],
    [t("fact.file"), path(item.file_path, t("copy.path"))],
    [t("fact.hash"), item.sha256 ? mono(item.sha256, t("copy.hash")) : t("fact.hashPending")],
  ].filter(([, value]) => value !== null && value !== undefined && value !== "");
}
