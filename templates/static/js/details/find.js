const PAGES = 5;

/**
 * The model at `filePath` for a link that was opened from outside: the list may be anywhere else, so it is looked up
 * by its file name in its folder. Null when the library doesn't have it.
 */
export async function findModel(api, filePath, roots, signal) {
  const stem = filePath.slice(filePath.lastIndexOf("/") + 1).replace(/\.[^.]+$/, "");
  const params = { search: stem, search_filename: true, search_modelname: false, page_size: 100 };
  const root = roots.map(({ path }) => path.replace(/\/$/, "")).find((path) => filePath.startsWith(`${path}/`));
  if (root !== undefined) {
    params.folder = filePath.slice(root.length + 1, Math.max(root.length + 1, filePath.lastIndexOf("/")));
    params.recursive = false;
  }
  for (let page = 1; page <= PAGES; page += 1) {
    const answer = await api.getWhenReady("list", { ...params, page }, signal);
    const found = answer.items.find((item) => item.file_path === filePath);
    if (found || page >= answer.total_pages) return found ?? null;
  }
  return null;
}
