import assert from "node:assert/strict";
import { access } from "node:fs/promises";
import path from "node:path";
import { after, before, test } from "node:test";
import axe from "axe-core";
import { openCard, startBrowser, withPage } from "./support/browser.mjs";
import { startHost } from "./support/host.mjs";
import { writeSmallLibrary } from "./support/library.mjs";

let host;
let browser;

before(async () => {
  host = await startHost({ loras: writeSmallLibrary });
  browser = await startBrowser();
});

after(async () => {
  await browser?.close();
  await host?.stop();
});

const open = (check, options = {}) => withPage(browser, `${host.url}/loras${options.query ?? ""}`, async (page) => {
  await page.locator("#count", { hasText: /\d+ model/ }).waitFor();
  await check(page);
}, options);

const cell = (page, name) => page.locator(".cell", { has: page.locator(".card__name", { hasText: new RegExp(`^${name}$`) }) });
const toast = (page, text) => page.locator(".toast", { hasText: text }).first().waitFor();
const undo = (page) => page.locator(".toast").getByRole("button", { name: "Undo" }).click();
const item = (page, name) => page.getByRole("menuitem", { name });

/** Waits until a file is there, or gone. */
async function onDisk(relative, there = true) {
  const file = path.join(host.folders.loras, `${relative}.safetensors`);
  const until = Date.now() + 20_000;
  while (Date.now() < until) {
    const is = await access(file).then(() => true, () => false);
    if (is === there) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.fail(`${file} is ${there ? "not there" : "still there"}`);
}

async function accessible(page, what) {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"] }));
  assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes.map(({ target }) => target.join(" "))]), [], what);
}

test("the menu of a card opens by pointer and by keys, and gives the focus back", async () => {
  await open(async (page) => {
    await cell(page, "Cedar").click({ button: "right" });
    await item(page, "Open the details").waitFor();
    await accessible(page, "the menu");
    await page.keyboard.press("Escape");
    assert.equal(await page.evaluate(() => document.activeElement.querySelector(".card__name")?.textContent), "Cedar");
    await page.keyboard.press("Shift+F10");
    await item(page, "Move …").waitFor();
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    await toast(page, "Cedar is a favourite");
    await undo(page);
    await toast(page, "Undone");
  });
});

test("a model is moved into a new folder after its plan was seen, and Undo brings it back", async () => {
  await open(async (page) => {
    await cell(page, "Fir").click({ button: "right" });
    await item(page, "Move …").click();
    const dialog = page.getByRole("dialog", { name: "Move 1 model" });
    await dialog.getByLabel("Folder", { exact: true }).fill("woods/new");
    await dialog.locator(".plan__change ins", { hasText: "woods/new" }).waitFor();
    await accessible(page, "the dialog");
    await dialog.getByRole("button", { name: "Move 1 model" }).click();
    await toast(page, "1 model moved to new");
    await onDisk("woods/new/fir");
    await page.locator("#facets [role=treeitem]", { hasText: "woods" }).waitFor();
    await undo(page);
    await toast(page, "Undone");
    await onDisk("trees/fir");
    await onDisk("woods/new/fir", false);
  });
});

test("a folder of the dialog's tree is chosen by keys", async () => {
  await open(async (page) => {
    await page.locator(".card[tabindex='0']").focus();
    await page.keyboard.press("m");
    const dialog = page.getByRole("dialog", { name: "Move 1 model" });
    await dialog.getByRole("treeitem", { name: "characters" }).focus();
    await page.keyboard.press("Enter");
    assert.equal(await dialog.getByLabel("Folder", { exact: true }).inputValue(), "characters");
    await dialog.locator(".plan__change ins", { hasText: "characters" }).waitFor();
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
  });
});

test("cards are dragged onto a folder, the chosen ones together", async () => {
  await open(async (page) => {
    for (const name of ["Maple", "Rowan"]) await cell(page, name).locator(".card__pick").click();
    await cell(page, "Maple").locator(".card").dragTo(page.locator("#facets [role=treeitem]", { hasText: "characters" }).first());
    await toast(page, "2 models moved to characters");
    await onDisk("characters/maple");
    await onDisk("characters/rowan");
    await undo(page);
    await toast(page, "Undone");
    await onDisk("trees/rowan");
    await page.locator(".bulk__end").click();
  });
});

test("a file is renamed where its name stands, and the details stay with the model", async () => {
  await open(async (page) => {
    await cell(page, "Willow").locator(".card").focus();
    await page.keyboard.press("F2");
    await page.locator("#details-name", { hasText: "Willow" }).waitFor();
    await page.keyboard.type("weeping");
    await page.keyboard.press("Enter");
    await toast(page, "willow is now weeping");
    await onDisk("trees/weeping");
    await page.locator(".details__file", { hasText: "weeping.safetensors" }).waitFor();
    await page.locator(".star").click();
    await toast(page, "Willow is a favourite");
    await page.keyboard.press("Control+z");
    await toast(page, "Undone: Willow is a favourite");
    await page.keyboard.press("Control+z");
    await onDisk("trees/willow");
    await page.locator(".details__file", { hasText: "willow.safetensors" }).waitFor();
  });
});

test("a deleted model is in the trash and Undo brings it back, from a card and from the details", async () => {
  await open(async (page) => {
    await cell(page, "Birch").locator(".card").focus();
    await page.keyboard.press("Delete");
    await toast(page, "Birch is in the trash");
    await cell(page, "Birch").waitFor({ state: "detached" });
    await undo(page);
    await cell(page, "Birch").waitFor();
    await openCard(page, "Birch");
    await page.locator(".details__foot").getByRole("button", { name: "Delete" }).click();
    await toast(page, "Birch is in the trash");
    await page.locator("#details").waitFor({ state: "hidden" });
    await undo(page);
    await onDisk("trees/birch");
  });
});

test("the library is organised after the plan was seen, and Undo in the dialog brings everything back", async () => {
  await open(async (page) => {
    await page.locator("#library-menu").click();
    await item(page, "Organise by the template …").click();
    const dialog = page.getByRole("dialog", { name: "Organise the library" });
    await dialog.locator(".plan__lead", { hasText: "models will be moved" }).waitFor();
    await accessible(page, "the plan");
    await onDisk("trees/cedar");
    await dialog.getByRole("button", { name: /^Move \d+ models$/ }).click();
    await dialog.locator(".plan__lead", { hasText: "models were moved" }).waitFor();
    await onDisk("SDXL 1.0/tree/cedar");
    await dialog.getByRole("button", { name: "Undo" }).click();
    await dialog.getByText("Everything is where it was.").waitFor();
    await onDisk("trees/cedar");
    await dialog.getByRole("button", { name: "Close" }).last().click();
  });
});

for (const [width, height, scheme] of [[390, 844, "light"], [1440, 900, "dark"]]) {
  test(`the dialog fits ${width} pixels, ${scheme}`, async () => {
    await open(async (page) => {
      await page.locator(".card[tabindex='0']").focus();
      await page.keyboard.press("m");
      const dialog = page.locator("dialog.move");
      await dialog.locator(".plan__lead").waitFor();
      const { scroll, client } = await page.evaluate(() => ({ scroll: document.documentElement.scrollWidth, client: document.documentElement.clientWidth }));
      assert.ok(scroll <= client, `${scroll} > ${client}`);
      await accessible(page, "the dialog");
      if (process.env.SHOTS) await page.screenshot({ path: `${process.env.SHOTS}/move-${width}.png` });
    }, { viewport: { width, height }, colorScheme: scheme });
  });
}
