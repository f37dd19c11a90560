// The three forms of one question: the state, the page's address, the API's parameters.

export const UNTAGGED = "__no_tags__";
const PLACES = ["all", "duplicates", "conflicts", "problems", "excluded"];
export const SEARCH_FIELDS = ["name", "file", "words", "tags", "creator", "description"];
/** The order of a search, best match first. It is no order of all models, so it is not among `SORTS`. */
export const BEST = "relevance";
export const SORTS = [
  { key: "name", order: "asc" },
  { key: "date", order: "desc" },
  { key: "size", order: "desc" },
  { key: "usage", order: "desc" },
  { key: "versions_count", order: "desc" },
  { key: "random", order: "asc" },
];

const EMPTY_FILTERS = {
  folder: null,
  recursive: true,
  bases: [],
  basesNot: [],
  tags: [],
  tagsNot: [],
  tagLogic: "any",
  subTypes: [],
  favorites: false,
  updates: false,
};

const EMPTY = {
  ...EMPTY_FILTERS,
  view: "all",
  search: "",
  searchIn: ["name", "file", "words"],
  best: true,
  fuzzy: false,
  sort: "name",
  order: "asc",
  seed: "",
  grouped: false,
  model: "",
};

/** How each key stands in the address; a key at its default stands nowhere. */
const ADDRESS = [
  ["view", "view", oneOf(PLACES)],
  ["search", "q", text],
  ["searchIn", "in", list(SEARCH_FIELDS)],
  ["fuzzy", "fuzzy", flag],
  ["best", "best", flag],
  ["sort", "sort", oneOf(SORTS.map((sort) => sort.key))],
  ["order", "order", oneOf(["asc", "desc"])],
  ["seed", "seed", text],
  ["folder", "folder", text],
  ["recursive", "subfolders", flag],
  ["bases", "base", many],
  ["basesNot", "not-base", many],
  ["tags", "tag", many],
  ["tagsNot", "not-tag", many],
  ["tagLogic", "tags", oneOf(["any", "all"])],
  ["subTypes", "kind", many],
  ["favorites", "favorites", flag],
  ["updates", "updates", flag],
  ["grouped", "grouped", flag],
  ["model", "model", text],
];

export const ADDRESS_KEYS = ADDRESS.map(([key]) => key);

/** What of the state decides which list is asked for: all that stands in the address but the model that is open. */
export const QUESTION_KEYS = ADDRESS_KEYS.filter((key) => key !== "model");

function text(values) {
  return values[0];
}
function many(values) {
  return values;
}
function flag(values) {
  return values[0] !== "0";
}
function oneOf(allowed) {
  return (values) => (allowed.includes(values[0]) ? values[0] : undefined);
}
function list(allowed) {
  return (values) => {
    const known = allowed.filter((name) => values[0].split(",").includes(name));
    return known.length ? known : undefined;
  };
}

export function fromAddress(search) {
  const params = new URLSearchParams(search);
  const state = { ...EMPTY };
  for (const [key, name, read] of ADDRESS) {
    const value = params.has(name) ? read(params.getAll(name)) : undefined;
    if (value !== undefined) state[key] = value;
  }
  return state;
}

export function toAddress(state) {
  const params = new URLSearchParams();
  for (const [key, name] of ADDRESS) {
    const value = state[key];
    if (JSON.stringify(value) === JSON.stringify(EMPTY[key])) continue;
    if (typeof value === "boolean") params.set(name, value ? "1" : "0");
    else if (key === "searchIn") params.set(name, value.join(","));
    else if (Array.isArray(value)) value.forEach((entry) => params.append(name, entry));
    else params.set(name, value);
  }
  return params.toString();
}

/**
 * The API's parameters for `state`, or null while they can't be known yet: the API has no "not this base model", so
 * that one is asked as "any of the others", which needs `knownBases`.
 */
export function toApi(state, knownBases) {
  const params = new URLSearchParams();
  const sort = sortOf(state);
  params.set("sort_by", sort === BEST ? BEST : `${sort}:${sort === "random" ? state.seed : state.order}`);
  if (state.search.trim()) {
    params.set("search", state.search.trim());
    params.set("search_modelname", state.searchIn.includes("name"));
    params.set("search_filename", state.searchIn.includes("file"));
    params.set("search_tags", state.searchIn.includes("tags"));
    params.set("search_creator", state.searchIn.includes("creator"));
    params.set("search_trigger_words", state.searchIn.includes("words"));
    params.set("search_description", state.searchIn.includes("description"));
    params.set("search_words", "true");
    if (state.fuzzy) params.set("fuzzy_search", "true");
  }
  if (state.view === "excluded") return params;

  if (state.folder !== null) {
    params.set("folder", state.folder);
    params.set("recursive", state.recursive);
  }
  let bases = state.bases;
  if (state.basesNot.length) {
    if (!knownBases) return null;
    bases = (bases.length ? bases : knownBases).filter((base) => !state.basesNot.includes(base));
    // Everything is excluded: ask for a name that no model has.
    if (!bases.length) bases = ["\u0000"];
  }
  bases.forEach((base) => params.append("base_model", base));
  state.tags.forEach((tag) => params.append("tag_include", tag));
  state.tagsNot.forEach((tag) => params.append("tag_exclude", tag));
  if (state.tagLogic === "all") params.set("tag_logic", "all");
  state.subTypes.forEach((kind) => params.append("model_type", kind));
  if (state.favorites) params.set("favorites_only", "true");
  if (state.updates) params.set("update_available_only", "true");
  if (state.grouped) params.set("group_by_model", "true");
  return params;
}

/** Whether the list can be in the order of the best match: there is something to match. */
export function canMatch({ view, search }) {
  return view === "all" && search.trim() !== "";
}

/** The order that is in force: of a search the best match, unless another one was chosen for it. */
export function sortOf(state) {
  return state.best && canMatch(state) ? BEST : state.sort;
}

/** Whether `view` is a list of models in the grid. */
export function isGridView(view) {
  return view === "all" || view === "excluded";
}

/** The patch that takes all filters and the search away. */
export function cleared() {
  return { ...EMPTY_FILTERS, search: "", best: true };
}

export function isFiltered(state) {
  return Object.keys(EMPTY_FILTERS).some((key) => key !== "recursive" && key !== "tagLogic" && JSON.stringify(state[key]) !== JSON.stringify(EMPTY_FILTERS[key]));
}
