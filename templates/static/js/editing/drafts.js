import { t } from "../texts.js";
import { toast } from "../toast.js";
import { nameOf } from "./edits.js";

// What was typed and could not be saved before its field went away, by model and field. It is put back when the model is
// opened again.
const drafts = new Map();

const keyOf = (item, name) => `${item.file_path}\n${name}`;

export function hasDrafts() {
  return drafts.size > 0;
}

export function takeDraft(item, name) {
  const key = keyOf(item, name);
  const text = drafts.get(key);
  drafts.delete(key);
  return text;
}

/** Saves a field whose place goes away. What can't be saved is kept, and said. */
export async function saveOrKeep(item, name, field, label) {
  if (!field.dirty) return;
  const { typed } = field;
  if (await field.commit()) return;
  drafts.set(keyOf(item, name), typed);
  toast(t("edit.kept", { field: label, name: nameOf(item) }), { bad: true });
}
