// What most tests of the pages begin with: a server with a library, a browser, and what is done in a page again and again.

import path from "node:path";
import { after, before } from "node:test";
import { startBrowser, withPage } from "./browser.mjs";
import { startHost } from "./host.mjs";

/**
 * A server and a browser for all tests of a file; `roots` and `options` as for `startHost`. `open(address, check, options)`
 * opens a page as `withPage` does, `openList(check, options)` the list of loras once its models are counted.
 */
export function shelf(roots, options) {
  let host;
  let browser;
  before(async () => {
    host = await startHost(roots, options);
    browser = await startBrowser();
  });
  after(async () => {
    await browser?.close();
    await host?.stop();
  });
  const open = (address, check, given) => withPage(browser, host.url + address, check, given);
  return {
    get url() {
      return host.url;
    },
    get folders() {
      return host.folders;
    },
    open,
    openList: (check, { query = "", ...given } = {}) => open(`/loras${query}`, async (page) => {
      await page.locator("#count", { hasText: /\d+ model/ }).waitFor();
      await check(page);
    }, given),
  };
}

/** The card with exactly this name, with what lies over it. */
export function cell(page, name) {
  return page.locator(".cell", { has: page.locator(".card__name", { hasText: new RegExp(`^${name}$`) }) });
}

/** Waits until a message says this. */
export function toast(page, text) {
  return page.locator(".toast", { hasText: text }).first().waitFor();
}

/** Takes back what a message says. */
export function undo(page) {
  return page.locator(".toast").getByRole("button", { name: "Undo" }).click();
}

export function focusGrid(page) {
  return page.locator(".card[tabindex='0']").focus();
}

/** Chooses an entry of the menu of the library. */
export async function libraryMenu(page, name) {
  await page.locator("#library-menu").click();
  await page.getByRole("menuitem", { name }).click();
}

/** Whether the focus is on (or in) what `locator` finds. */
export function hasFocus(locator) {
  return locator.evaluate((element) => element.contains(document.activeElement));
}

/** How far an element, and what is in it, reaches over its own edge or the screen's, in pixels; 0 when it fits. */
export function overflow(locator) {
  return locator.evaluate((element) => Math.max(0, element.scrollWidth - element.clientWidth, element.getBoundingClientRect().right - innerWidth));
}

/** Saves what is seen, where `MODELSHELF_SHOTS` names a folder. */
export async function picture(page, name) {
  if (process.env.MODELSHELF_SHOTS) await page.screenshot({ path: path.join(process.env.MODELSHELF_SHOTS, `${name}.png`) });
}
