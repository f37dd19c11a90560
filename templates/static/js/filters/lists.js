import { isAbort } from "../api.js";
import { debounce, h, icon } from "../dom.js";
import { baseDot, baseName } from "../grid/card.js";
import { UNTAGGED } from "../query.js";
import { t } from "../texts.js";
import { Choices, choose } from "./choices.js";

const TYPED = 150;

function stateOf(value, wanted, unwanted = []) {
  return wanted.includes(value) ? "in" : unwanted.includes(value) ? "not" : "";
}

/** Chosen values that the server no longer lists must still be there to be taken back. */
function withChosen(values, chosen) {
  const known = new Set(values.map((row) => row.value));
  return [...chosen.filter((value) => !known.has(value)).map((value) => ({ value })), ...values];
}

export function mountBases(body, label, { store, facts }) {
  const set = (into) => (value, yes) => store.set(choose(store.state, "bases", "basesNot", value, into, yes));
  const choices = new Choices({ label, onInclude: set("bases"), onExclude: set("basesNot") });
  body.append(choices.element);
  const draw = () => {
    const { bases, basesNot } = store.state;
    const rows = (facts.bases ?? []).map(({ name, count }) => ({ value: name, count }));
    choices.show(withChosen(rows, [...bases, ...basesNot]).map((row) => ({
      ...row,
      label: baseName(row.value),
      lead: baseDot(row.value),
      state: stateOf(row.value, bases, basesNot),
    })));
    return rows.length > 0;
  };
  return { draw, keys: ["bases", "basesNot"] };
}

export function mountSubTypes(body, label, { store, facts, type }) {
  const choices = new Choices({ label, onInclude: (value, yes) => store.set(choose(store.state, "subTypes", null, value, "subTypes", yes)) });
  const labels = new Map(type.sub_types.map(({ id, label }) => [id, label]));
  body.append(choices.element);
  const draw = () => {
    const { subTypes } = store.state;
    const rows = (facts.subTypes ?? []).map(({ type: value, count }) => ({ value, count }));
    choices.show(withChosen(rows, subTypes).map((row) => ({ ...row, label: labels.get(row.value) ?? row.value, state: stateOf(row.value, subTypes) })));
    return rows.length > 1 || subTypes.length > 0;
  };
  return { draw, keys: ["subTypes"] };
}

export function mountTags(body, label, { store, facts }) {
  const set = (into) => (value, yes) => store.set(choose(store.state, "tags", "tagsNot", value, into, yes));
  const choices = new Choices({ label, folded: 10, onInclude: set("tags"), onExclude: set("tagsNot") });
  const input = h("input", { class: "field__input", type: "search", placeholder: t("tags.find"), "aria-label": t("tags.find"), autocomplete: "off", spellcheck: "false" });
  const logic = ["any", "all"].map((value) => h("button", { class: "segment__button", type: "button", title: t(`tags.${value}.hint`), onclick: () => store.set({ tagLogic: value }) }, t(`tags.${value}`)));
  let found = null;
  let asking = null;

  const draw = () => {
    const { tags, tagsNot, tagLogic } = store.state;
    logic.forEach((button, at) => button.setAttribute("aria-pressed", String((at === 0) === (tagLogic === "any"))));
    const rows = (found ?? facts.tags ?? []).map(({ tag, count }) => ({ value: tag, count }));
    const chosen = [...tags, ...tagsNot].filter((tag) => tag !== UNTAGGED);
    choices.show([{ value: UNTAGGED, label: t("tags.none") }, ...withChosen(rows, found ? [] : chosen).map((row) => ({ ...row, label: row.value }))]
      .map((row) => ({ ...row, state: stateOf(row.value, tags, tagsNot) })));
    return (facts.tags ?? []).length > 0 || chosen.length > 0;
  };

  const find = debounce(TYPED, async () => {
    asking?.abort();
    const text = input.value.trim();
    if (!text) {
      found = null;
      draw();
      return;
    }
    const { signal } = (asking = new AbortController());
    try {
      found = await facts.findTags(text, signal);
      draw();
    } catch (error) {
      if (!isAbort(error)) found = [];
    }
  });
  input.addEventListener("input", find);

  body.append(
    h("div", { class: "facet__tools" },
      h("label", { class: "field" }, icon("search"), input),
      h("div", { class: "segment", role: "group", "aria-label": t("tags.logic") }, logic)),
    choices.element,
  );
  return { draw, keys: ["tags", "tagsNot", "tagLogic"] };
}
