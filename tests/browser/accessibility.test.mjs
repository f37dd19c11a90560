import assert from "node:assert/strict";
import { test } from "node:test";
import { violations } from "./support/axe.mjs";
import { openCard } from "./support/browser.mjs";
import { writeSmallLibrary } from "./support/library.mjs";
import { libraryMenu, shelf } from "./support/page.mjs";

const library = shelf({ loras: writeSmallLibrary, checkpoints: async () => 0 });

for (const colorScheme of ["light", "dark"]) {
  const clean = (name, path, prepare, options = {}) => test(`axe finds nothing wrong with ${name} in the ${colorScheme} theme`, async () => {
    await library.open(path, async (page) => {
      await prepare(page);
      assert.deepEqual(await violations(page), []);
    }, { colorScheme, ...options });
  });

  clean("the list", "/loras", (page) => page.locator("#count", { hasText: "12" }).waitFor());
  clean("a filtered list", "/loras?base=Pony&not-tag=ink&favorites=0", (page) => page.locator(".chip--not").waitFor());
  clean("the details", "/loras", (page) => openCard(page, "Amber Style"));
  clean("an open menu", "/loras", async (page) => {
    await page.locator("#sort-menu").click();
    await page.getByRole("menuitemradio", { name: "Size" }).waitFor();
  });
  clean("the overview of keys", "/loras", (page) => page.locator("#help").click());
  clean("the list of problems", "/loras?view=problems", (page) => page.locator(".problem").first().waitFor());
  clean("the duplicates", "/loras?view=duplicates", (page) => page.locator("#view .notice__title").waitFor());
  clean("the list while models are chosen", "/loras", async (page) => {
    await page.locator("#select-mode").click();
    await page.locator(".card").first().click();
    await page.locator(".card").nth(1).hover();
    await page.locator(".bulk__count", { hasText: "1 selected" }).waitFor();
  });
  clean("the chosen models on a phone", "/loras", async (page) => {
    await page.locator("#select-mode").click();
    await page.locator(".card").first().click();
    await page.locator(".bulk__count", { hasText: "1 selected" }).waitFor();
    for (const button of await page.locator(".bulk button:visible").all()) {
      const { right, name } = await button.evaluate((own) => ({ right: own.getBoundingClientRect().right, name: own.textContent }));
      assert.ok(right <= 390, `${name} ends at ${right}`);
    }
  }, { viewport: { width: 390, height: 844 } });
  clean("the plan of a change", "/loras", async (page) => {
    await page.locator("#select-mode").click();
    await page.locator(".card").first().click();
    await page.getByRole("button", { name: "Add tags" }).click();
    await page.keyboard.type("sunlit");
    await page.keyboard.press("Enter");
    await page.locator(".plan__lead").waitFor();
  });
  clean("fields that are edited", "/loras", async (page) => {
    await openCard(page, "Amber Style");
    await page.getByRole("button", { name: "Edit: Base model" }).click();
    await page.getByRole("option", { name: "Pony" }).waitFor();
    await page.keyboard.press("ArrowDown");
  });
  clean("a field that could not be saved", "/loras", async (page) => {
    await page.route("**/save-metadata", (route) => route.fulfill({ status: 200, contentType: "application/json", body: JSON.stringify({ success: false, error: "The disk is full" }) }));
    await openCard(page, "Amber Style");
    await page.getByRole("button", { name: "Edit: Notes" }).click();
    await page.keyboard.type("x");
    await page.keyboard.press("Control+Enter");
    await page.locator(".edit__error", { hasText: "The disk is full" }).waitFor();
  });
  clean("the offer to undo, and the history", "/loras", async (page) => {
    await page.locator(".card").nth(1).focus();
    await page.keyboard.press("s");
    await page.locator(".toast__action").waitFor();
    assert.deepEqual(await violations(page), []);
    await libraryMenu(page, "History");
    await page.locator(".history__act").first().waitFor();
  });
  clean("an empty library", "/checkpoints", (page) => page.locator(".notice__code").waitFor());
  clean("the filters on a phone", "/loras", (page) => page.locator("#filters-toggle").click(), { viewport: { width: 390, height: 844 } });
}

test("the number of results is said once when typing rests", async () => {
  await library.open("/loras", async (page) => {
    await page.locator("#count", { hasText: "12" }).waitFor();
    await page.evaluate(() => {
      window.said = [];
      new MutationObserver(() => window.said.push(document.getElementById("count").textContent)).observe(document.getElementById("count"), { childList: true, characterData: true, subtree: true });
    });
    await page.locator("#search-input").pressSequentially("willow", { delay: 40 });
    await page.locator("#count", { hasText: "1 model" }).waitFor();
    assert.deepEqual(await page.evaluate(() => [...new Set(window.said)]), ["1 model"]);
  });
});
