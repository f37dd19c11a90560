import { Menu } from "./controls/menu.js";
import { byId } from "./dom.js";
import { remember, remembered } from "./preferences.js";
import { t } from "./texts.js";

const THEMES = ["system", "light", "dark"];

export function mountTheme() {
  const current = () => remembered("theme", "system", THEMES);
  const choose = (theme) => {
    remember("theme", theme === "system" ? null : theme);
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  };
  new Menu(byId("theme-menu"), () => [{
    label: t("theme.menu"),
    kind: "radio",
    items: THEMES.map((theme) => ({ label: t(`theme.${theme}`), checked: theme === current(), run: () => choose(theme) })),
  }]);
}
