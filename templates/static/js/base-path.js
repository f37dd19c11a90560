/** The path below which a proxy serves this server, such as "/models"; empty where it has none. */
const base = document.documentElement.dataset.basePath ?? "";

/** The address of `path`, which starts with a slash, as this page reaches it. */
export function at(path) {
  return base + path;
}
