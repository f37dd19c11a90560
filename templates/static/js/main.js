// The one place that knows every part; the parts know only what they are given.

import { mirror } from "./address.js";
import { Api } from "./api.js";
import { bootstrap } from "./bootstrap.js";
import { Details } from "./details/panel.js";
import { mountDisplay, rememberedTile } from "./display.js";
import { byId } from "./dom.js";
import { mountDownloads } from "./downloads/mount.js";
import { mountEditing } from "./editing/mount.js";
import { mountChips } from "./filters/chips.js";
import { Facts } from "./filters/facts.js";
import { mountFacets, mountPlaces, Panel } from "./filters/panel.js";
import { mountSearch } from "./filters/search.js";
import { mountSort } from "./filters/sort.js";
import { Grid } from "./grid/grid.js";
import { bindGridKeys } from "./grid/keys.js";
import { Source } from "./grid/source.js";
import { mountHelp } from "./help.js";
import { mountListing } from "./listing.js";
import { Live } from "./live.js";
import { fromAddress } from "./query.js";
import { Refresh } from "./remote/refresh.js";
import { openSettings } from "./settings/dialog.js";
import { bind } from "./shortcuts.js";
import { mountActivity } from "./status/activity.js";
import { mountBanners } from "./status/banners.js";
import { followPlugins } from "./status/follow-plugins.js";
import { mountLibraryMenu } from "./status/library-menu.js";
import { mountLibrarySwitch } from "./status/library-switch.js";
import { Store } from "./store.js";
import { mountTheme } from "./theme.js";
import { Stage } from "./views/stage.js";

const { type } = bootstrap;
const store = new Store({
  ...fromAddress(location.search),
  status: null,
  total: null,
  listError: null,
  waiting: bootstrap.isInitializing,
  reachable: true,
  scan: false,
  shownModel: null,
  library: bootstrap.library,
  activities: {},
  refreshing: null,
  providers: null,
  pluginFailure: null,
});
mirror(store);

const api = new Api(type.prefix);
const general = new Api();
const live = new Live(api, type.prefix, bootstrap.library);
const source = new Source(api);
const facts = new Facts(api, new Set(type.facets.map((facet) => facet.kind)));
const grid = new Grid({ scroller: byId("scroller"), root: byId("grid"), source, state: () => store.state, tile: rememberedTile() });
const panel = new Panel();

const open = (item) => store.set({ shownModel: item, model: item.file_path });
const openAt = (index) => {
  const item = source.item(index);
  if (item) open(item);
};
const toGrid = () => grid.activate(grid.active);
byId("skip").addEventListener("click", (event) => {
  if (!store.state.total) return;
  event.preventDefault();
  toGrid();
});
bindGridKeys(grid, byId("grid"), source, openAt);

mountTheme();
mountDisplay({ store, grid });
mountFacets({ store, facts, type });
mountPlaces({ store, onGo: () => panel.over && panel.toggle(false) });
mountChips({ store });
mountSearch({ store, toGrid });
mountSort({ store });
bind("filters", () => panel.toggle());

const remote = new Refresh({ api, general, live, store });
const editing = mountEditing({ api, store, source, grid, facts, live, open, renameIn: (item) => details.rename(item), refresh: (paths) => remote.run(paths) });
const details = new Details({ api, store, source, edits: editing.edits, move: editing.move, remove: editing.remove, download: (address) => download(address) });
store.watch(["model"], ({ model }) => {
  const index = model ? source.indexOf(model) : -1;
  if (index >= 0) grid.activate(index, { focus: false });
});
details.addEventListener("closed", ({ detail: index }) => {
  if (index >= 0) grid.activate(index);
});

const stage = new Stage({ api, store, open, edits: editing.edits });
const listing = mountListing({ store, source, grid, facts });
const library = mountLibraryMenu({ api, store, live, remote, openHistory: editing.openHistory, organiseAll: editing.organiseAll, openSettings: () => openSettings({ general }) });
mountBanners({ store, retry: listing.retry, cancelScan: library.cancel, cancelRefresh: () => remote.cancel() });
mountActivity({ api, general, live, store });
mountLibrarySwitch({
  general,
  live,
  store,
  reload: () => {
    listing.again();
    facts.load();
    stage.refresh();
    live.refresh();
  },
});
followPlugins({ live, store });
const download = mountDownloads({ api: general, type: api, live });
mountHelp();

live.addEventListener("status", ({ detail }) => store.set({ status: detail }));
live.addEventListener("reachable", ({ detail: reachable }) => {
  store.set({ reachable });
  if (reachable && store.state.listError) listing.retry();
});
live.addEventListener("changed", () => {
  source.reload();
  facts.load();
  stage.refresh();
});
live.start();
facts.load();
