import assert from "node:assert/strict";
import { test } from "node:test";
import { expectNames, focusedName } from "./support/browser.mjs";
import { writeSmallLibrary } from "./support/library.mjs";
import { cell, focusGrid, hasFocus, shelf } from "./support/page.mjs";

const library = shelf({ loras: writeSmallLibrary });

const detailsName = (page, name) => page.locator("#details-name", { hasText: new RegExp(`^${name}$`) }).waitFor();

test("arrow keys move the focus through the grid, and Enter opens the model", async () => {
  await library.openList(async (page) => {
    await focusGrid(page);
    assert.equal(await focusedName(page), "Amber Style");
    await page.keyboard.press("ArrowRight");
    assert.equal(await focusedName(page), "Birch");
    const columns = Number(await page.locator("#grid").getAttribute("aria-colcount"));
    await page.keyboard.press("ArrowDown");
    assert.equal(Number(await page.evaluate(() => document.activeElement.dataset.index)), 1 + columns);
    await page.keyboard.press("ArrowUp");
    assert.equal(await focusedName(page), "Birch");
    await page.keyboard.press("Enter");
    await detailsName(page, "Birch");
  });
});

test("only one card is a stop for Tab", async () => {
  await library.openList(async (page) => {
    assert.equal(await page.locator("#grid [tabindex='0']").count(), 1);
    await focusGrid(page);
    await page.keyboard.press("ArrowRight");
    assert.equal(await page.locator("#grid [tabindex='0']").count(), 1);
    assert.equal(await focusedName(page), await page.locator("#grid [tabindex='0'] .card__name").textContent());
  });
});

test("in the details arrow keys go to the next and previous model, and Escape gives the focus back to its card", async () => {
  await library.openList(async (page) => {
    await focusGrid(page);
    await page.keyboard.press("Enter");
    await detailsName(page, "Amber Style");
    await page.keyboard.press("ArrowRight");
    await detailsName(page, "Birch");
    await page.keyboard.press("ArrowRight");
    await detailsName(page, "Cedar");
    await page.keyboard.press("ArrowLeft");
    await detailsName(page, "Birch");
    await page.keyboard.press("Escape");
    await page.locator("#details").waitFor({ state: "hidden" });
    assert.equal(await focusedName(page), "Birch");
    assert.equal(new URL(page.url()).search, "");
  });
});

test("slash goes to the search, and Arrow Down from there to the results", async () => {
  await library.openList(async (page) => {
    await page.keyboard.press("/");
    assert.equal(await page.evaluate(() => document.activeElement.id), "search-input");
    await page.keyboard.type("cedar");
    await expectNames(page, ["Cedar"]);
    await page.keyboard.press("ArrowDown");
    assert.equal(await focusedName(page), "Cedar");
  });
});

test("every key that the overlay lists for the page and the list does something", async () => {
  await library.openList(async (page) => {
    await page.keyboard.press("?");
    const listed = await page.locator(".shortcuts kbd").allTextContents();
    await page.keyboard.press("Escape");
    assert.deepEqual(listed, ["/", "F", "D", "?", "Ctrl Z", "Esc", "←", "→", "↑", "↓", "Home", "End", "Page ↑", "Page ↓", "Enter", "V", "S", "␣", "Shift ← → ↑ ↓", "Ctrl A", "Shift F10", "F2", "M", "Del", "←", "→", "V", "C", "S", "Ctrl Z", "Esc"]);

    await page.keyboard.press("f");
    await page.locator("#filters").waitFor({ state: "hidden" });
    await page.keyboard.press("f");
    await page.locator("#filters").waitFor();

    await focusGrid(page);
    await page.keyboard.press("End");
    assert.equal(await focusedName(page), "Willow");
    await page.keyboard.press("PageUp");
    assert.notEqual(await focusedName(page), "Willow");
    await page.keyboard.press("PageDown");
    await page.keyboard.press("Home");
    assert.equal(await focusedName(page), "Amber Style");

    for (let step = 0; step < 12 && (await focusedName(page)) !== "Oracle"; step += 1) await page.keyboard.press("ArrowRight");
    await page.keyboard.press("v");
    assert.equal(await page.locator(".card__media--veiled").count(), 0);
  });
});

test("keys that are single characters can be switched off", async () => {
  await library.openList(async (page) => {
    await page.keyboard.press("?");
    await page.getByRole("switch", { name: "single characters" }).click();
    await page.keyboard.press("Escape");
    await page.keyboard.press("f");
    await page.keyboard.press("/");
    assert.ok(await page.locator("#filters").isVisible());
    assert.notEqual(await page.evaluate(() => document.activeElement.id), "search-input");
  });
});

test("a key with Ctrl is left to the browser", async () => {
  await library.openList(async (page) => {
    await page.keyboard.press("Control+f");
    assert.ok(await page.locator("#filters").isVisible());
  });
});

test("the folder tree is walked with arrow keys and chosen with Enter", async () => {
  await library.openList(async (page) => {
    await page.locator("[role=treeitem][tabindex='0']").focus();
    const path = () => page.evaluate(() => document.activeElement.dataset.path);
    await page.keyboard.press("End");
    assert.equal(await path(), "trees");
    await page.keyboard.press("ArrowUp");
    assert.equal(await path(), "styles");
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowRight");
    assert.equal(await path(), "styles/ink");
    await page.keyboard.press("Enter");
    await expectNames(page, ["Ink Brush"]);
    assert.equal(await path(), "styles/ink");
    await page.keyboard.press("ArrowLeft");
    assert.equal(await path(), "styles");
  });
});

test("a key that is held acts once, and is not typed where the focus went by it", async () => {
  await library.openList(async (page) => {
    let deleted = 0;
    await page.route("**/loras/delete", (route) => {
      deleted += 1;
      return route.fulfill({ json: { success: true } });
    });
    await focusGrid(page);
    for (let times = 0; times < 4; times += 1) await page.keyboard.down("Delete");
    await page.keyboard.up("Delete");
    for (let times = 0; times < 4; times += 1) await page.keyboard.down("m");
    await page.keyboard.up("m");
    assert.equal(await page.locator("#move-folder").inputValue(), "styles", "only the model's own folder stands there");
    await page.keyboard.press("m");
    assert.equal(await page.locator("#move-folder").inputValue(), "m", "the same key is typed when it is pressed again");
    await page.keyboard.press("Escape");
    assert.equal(deleted, 1);
    const before = await focusedName(page);
    for (let times = 0; times < 3; times += 1) await page.keyboard.down("ArrowRight");
    await page.keyboard.up("ArrowRight");
    assert.deepEqual([before, await focusedName(page)], ["Amber Style", "cut"], "arrows go on while they are held");
  });
});

test("keys in a menu of the details are for the menu alone", async () => {
  await library.openList(async (page) => {
    await cell(page, "Birch").locator(".card").click();
    await detailsName(page, "Birch");
    const button = page.getByRole("button", { name: "Change preview" });
    await button.click();
    await page.getByRole("menuitem", { name: "Choose a file" }).waitFor();
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("Escape");
    await page.getByRole("menuitem", { name: "Choose a file" }).waitFor({ state: "hidden" });
    // Closing would take a moment.
    await page.waitForTimeout(300);
    assert.ok(await page.locator("#details").isVisible());
    await detailsName(page, "Birch");
    assert.ok(await hasFocus(button));
  });
});

test("a menu is walked with arrow keys, and Escape gives the focus back to its button", async () => {
  await library.openList(async (page) => {
    await page.locator("#sort-menu").focus();
    await page.keyboard.press("Enter");
    const focused = (name) => page.waitForFunction((text) => document.activeElement.textContent === text, name);
    await focused("Name");
    await page.keyboard.press("ArrowDown");
    await focused("Date added");
    await page.keyboard.press("Escape");
    assert.equal(await page.evaluate(() => document.activeElement.id), "sort-menu");
  });
});
