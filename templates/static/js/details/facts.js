import { copyButton } from "../controls/copy-button.js";
import { bootstrap } from "../bootstrap.js";
import { breakable, h } from "../dom.js";
import { baseExplained, kindOf } from "../grid/card.js";
import { bytes, day, moment, number, t } from "../texts.js";

const { type } = bootstrap;

function path(text, label) {
  return h("span", { class: "fact__copy" }, h("code", { class: "path" }, ...breakable(text)), copyButton(text, label));
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

/** Fields that have a row of their own below; a type may give such a row its own label. */
const OWN = {
  base_model: "fact.base",
  sub_type: "fact.kind",
  usage_count: "fact.usage",
  version_count: "fact.versions",
  auto_tags: "fact.autoTags",
  file_size: "fact.size",
  modified: "fact.added",
  folder: "fact.folder",
  file_path: "fact.file",
  sha256: "fact.hash",
};

/** Fields that the panel shows elsewhere. */
const ELSEWHERE = new Set(["model_name", "tags", "notes", "favorite", "civitai"]);

const given = new Map(type.columns.map(({ field, label }) => [field, label]));
const others = type.columns.filter(({ field }) => !(field in OWN) && !ELSEWHERE.has(field));

/** Rows of `[label, value]`; a value is text, an element, or null for "nothing to say". */
export function factRows(item, metadata) {
  const published = metadata?.publishedAt ?? metadata?.createdAt;
  const own = (field, value) => [given.get(field) ?? t(OWN[field]), value];
  return [
    own("base_model", baseExplained(item)),
    own("sub_type", type.sub_types.length > 1 ? kindOf(item) : null),
    [t("fact.version"), item.civitai?.name ?? metadata?.name],
    [t("fact.creator"), metadata?.creator?.username],
    ...others.map(({ field, label }) => [label, anyValue(item[field])]),
    own("usage_count", item.usage_count > 0 ? number(item.usage_count) : null),
    own("version_count", item.version_count > 1 ? number(item.version_count) : null),
    own("auto_tags", item.auto_tags?.length ? item.auto_tags.join(", ") : null),
    own("file_size", h("span", { title: t("fact.bytes", { n: number(item.file_size) }) }, bytes(item.file_size))),
    own("modified", moment(new Date(item.modified * 1000))),
    [t("fact.published"), published ? day(new Date(published)) : null],
    own("folder", item.folder || t("folders.root")),
    own("file_path", path(item.file_path, t("copy.path"))),
    [t("fact.aliases"), item.aliases?.length ? h("span", { class: "fact__list" }, item.aliases.map((alias) => path(alias, t("copy.path")))) : null],
    own("sha256", item.sha256 ? mono(item.sha256, t("copy.hash")) : t("fact.hashPending")),
  ].filter(([, value]) => value !== null && value !== undefined && value !== "");
}
