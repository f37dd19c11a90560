import { Menu } from "./controls/menu.js";
import { byId } from "./dom.js";
import { TILES } from "./grid/geometry.js";
import { remember, remembered } from "./preferences.js";
import { t } from "./texts.js";

export function rememberedTile() {
  return remembered("tile", "medium", Object.keys(TILES));
}

/** How the list looks: tile size (of this browser) and whether versions of one model share a card (of the address). */
export function mountDisplay({ store, grid }) {
  new Menu(byId("display-menu"), () => [
    {
      label: t("display.size"),
      kind: "radio",
      items: Object.keys(TILES).map((tile) => ({
        label: t(`display.${tile}`),
        checked: tile === rememberedTile(),
        run: () => {
          remember("tile", tile);
          grid.setTile(tile);
        },
      })),
    },
    { label: t("display.versions"), kind: "check", items: [{ label: t("display.grouped"), checked: store.state.grouped, run: () => store.set({ grouped: !store.state.grouped }) }] },
  ]);
}
