import assert from "node:assert/strict";
import { access, rm } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { violations } from "./support/axe.mjs";
import { openCard, quiet } from "./support/browser.mjs";
import { writeModel, writeSmallLibrary } from "./support/library.mjs";
import { cell, focusGrid, hasFocus, libraryMenu, overflow, picture, shelf, toast, undo } from "./support/page.mjs";

const library = shelf({ loras: writeSmallLibrary });

const item = (page, name) => page.getByRole("menuitem", { name });

/** Waits until a file is there, or gone. */
async function onDisk(relative, there = true) {
  const file = path.join(library.folders.loras, `${relative}.safetensors`);
  const until = Date.now() + 20_000;
  while (Date.now() < until) {
    const is = await access(file).then(() => true, () => false);
    if (is === there) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.fail(`${file} is ${there ? "not there" : "still there"}`);
}

async function accessible(page, what) {
  assert.deepEqual(await violations(page), [], what);
}

test("the menu of a card opens by pointer and by keys, and gives the focus back", async () => {
  await library.openList(async (page) => {
    // Held for as long as a person does; what is pressed opens the menu, and its release must not close it.
    await cell(page, "Cedar").click({ button: "right", delay: 120 });
    await item(page, "Open the details").waitFor();
    await page.waitForTimeout(100);
    assert.ok(await item(page, "Open the details").isVisible(), "the menu closed again");
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
  await library.openList(async (page) => {
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
  await library.openList(async (page) => {
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

test("the dialog begins with the model's own folder, and Enter moves nothing before another one is chosen", async () => {
  await library.openList(async (page) => {
    await cell(page, "Cedar").locator(".card").focus();
    const moves = [];
    page.on("request", (request) => request.url().endsWith("move_models_bulk") && moves.push(request.postDataJSON()));
    await page.keyboard.press("m");
    const dialog = page.getByRole("dialog", { name: "Move 1 model" });
    const folder = dialog.getByLabel("Folder", { exact: true });
    await dialog.getByText("Choose another folder").waitFor();
    assert.equal(await folder.inputValue(), "trees");
    assert.ok(await dialog.getByRole("button", { name: "Move here" }).isDisabled());
    await page.keyboard.press("Enter");
    await page.keyboard.press("Enter");
    await quiet(page);
    assert.ok(await dialog.isVisible());
    assert.deepEqual(moves, []);
    // The top folder is moved to when it is chosen.
    await dialog.getByRole("treeitem", { name: "Top folder" }).click();
    await dialog.getByRole("button", { name: "Move 1 model" }).click();
    await onDisk("cedar");
    await undo(page);
    await onDisk("trees/cedar");
  });
});

test("cards are dragged onto a folder, the chosen ones together", async () => {
  await library.openList(async (page) => {
    for (const name of ["Maple", "Rowan"]) await cell(page, name).locator(".card__pick").click();
    await cell(page, "Maple").locator(".card").dragTo(page.locator("#facets [role=treeitem]", { hasText: "characters" }).first());
    await toast(page, "2 models moved to characters");
    await onDisk("characters/maple");
    await onDisk("characters/rowan");
    await undo(page);
    await toast(page, "Undone");
    await onDisk("trees/rowan");
    await page.locator(".bulk").waitFor({ state: "hidden" });
  });
});

test("moving a card that isn't chosen leaves the chosen ones chosen", async () => {
  await library.openList(async (page) => {
    await cell(page, "Rowan").locator(".card__pick").click();
    await cell(page, "Maple").locator(".card").dragTo(page.locator("#facets [role=treeitem]", { hasText: "characters" }).first());
    await toast(page, "1 model moved to characters");
    assert.equal(await page.locator(".bulk__count").textContent(), "1 selected");
    await undo(page);
    await toast(page, "Undone");
    await cell(page, "Cedar").click({ button: "right" });
    await item(page, "Move …").click();
    await page.locator("#move-folder").fill("woods");
    await page.locator(".plan__change ins", { hasText: "woods" }).waitFor();
    await page.keyboard.press("Enter");
    await toast(page, "1 model moved to woods");
    await page.locator("dialog.move").waitFor({ state: "detached" });
    assert.equal(await page.locator(".bulk__count").textContent(), "1 selected");
    await undo(page);
    await onDisk("trees/cedar");
  });
});

test("while models are moved nothing else can be asked for, and a failure is said even when the dialog was closed", async () => {
  await library.openList(async (page) => {
    let answer = null;
    await page.route("**/move_models_bulk", async (route) => {
      if (route.request().postDataJSON().dry_run) return route.fallback();
      await new Promise((resolve) => (answer = resolve));
      return route.fulfill({ status: 500, json: { success: false, error: "The disk is full" } });
    });
    const fails = async () => {
      for (let tries = 0; !answer && tries < 400; tries += 1) await page.waitForTimeout(50);
      answer();
      answer = null;
    };
    await focusGrid(page);
    await page.keyboard.press("m");
    const dialog = page.locator("dialog.move");
    await dialog.getByLabel("Folder", { exact: true }).fill("elsewhere");
    await dialog.locator(".plan__change ins", { hasText: "elsewhere" }).waitFor();
    const go = dialog.getByRole("button", { name: "Move 1 model" });
    await go.focus();
    await page.keyboard.press("Enter");
    await dialog.getByText("Moving").first().waitFor();
    assert.ok(await dialog.locator(".tree").evaluate((tree) => tree.inert));
    await fails();
    await dialog.getByRole("alert").getByText("The disk is full").waitFor();
    assert.ok(await hasFocus(go), "the focus is lost");
    assert.ok(!(await dialog.locator(".tree").evaluate((tree) => tree.inert)));
    await page.keyboard.press("Enter");
    await dialog.getByText("Moving").first().waitFor();
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
    await fails();
    await toast(page, "The disk is full");
  }, { expected: [/status of 500/] });
});

test("a file is renamed where its name stands, and the details stay with the model", async () => {
  await library.openList(async (page) => {
    await cell(page, "Willow").locator(".card").focus();
    await page.keyboard.press("F2");
    await page.locator("#details-name", { hasText: "Willow" }).waitFor();
    await quiet(page);
    await page.keyboard.type("weeping");
    await page.keyboard.press("Enter");
    await toast(page, "willow is now weeping");
    await onDisk("trees/weeping");
    await page.locator(".details__file", { hasText: "weeping.safetensors" }).waitFor();
    await page.locator(".star").click();
    await toast(page, "Willow is a favourite");
    await page.keyboard.press("Control+z");
    await toast(page, "Undone: Willow is a favourite");
    await quiet(page);
    await page.keyboard.press("Control+z");
    await onDisk("trees/willow");
    await page.locator(".details__file", { hasText: "willow.safetensors" }).waitFor();
  });
});

test("a deleted model is in the trash and Undo brings it back, from a card and from the details", async () => {
  await library.openList(async (page) => {
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

test("the details stay open when deleting fails", async () => {
  await library.openList(async (page) => {
    await page.route("**/loras/delete", (route) => route.fulfill({ status: 500, json: { success: false, error: "The disk is full" } }));
    await openCard(page, "Birch");
    await page.locator(".details__foot").getByRole("button", { name: "Delete" }).click();
    await toast(page, "The disk is full");
    assert.ok(await page.locator("#details").isVisible());
  }, { expected: [/status of 500/] });
});

test("the library is organised after the plan was seen, and Undo in the dialog brings everything back", async () => {
  await library.openList(async (page) => {
    await libraryMenu(page, "Organise by the template …");
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

test("models without metadata stay where they are unless asked, and every row of a plan can be seen", async () => {
  const files = Array.from({ length: 9 }, (_, at) => `unsorted/nobody${at}`);
  for (const file of files) await writeModel(library.folders.loras, `${file}.safetensors`, { sidecar: null });
  await library.openList(async (page) => {
    await page.locator("#count", { hasText: "21 models" }).waitFor();
    await libraryMenu(page, "Organise by the template …");
    const dialog = page.getByRole("dialog", { name: "Organise the library" });
    await dialog.getByText("models without metadata stay where they are").waitFor();
    const names = () => dialog.locator(".plan__name").allTextContents();
    await dialog.getByRole("button", { name: /^Show \d+ more/ }).first().click();
    assert.ok(!(await names()).some((name) => name.startsWith("nobody")));
    const before = (await names()).length;
    await dialog.getByLabel("Also move models without metadata").check();
    // Also the broken file of the library.
    await dialog.locator(".plan__lead", { hasText: String(before + 10) }).waitFor();
    await dialog.getByRole("button", { name: /^Show \d+ more/ }).first().click();
    assert.equal((await names()).filter((name) => name.startsWith("nobody")).length, 9);
    await accessible(page, "the plan");
    await picture(page, "organise-plan");
    await page.keyboard.press("Escape");
  });
  for (const file of files) await rm(path.join(library.folders.loras, `${file}.safetensors`));
});

for (const [width, height, scheme] of [[390, 844, "light"], [1440, 900, "dark"]]) {
  test(`the dialog fits ${width} pixels, ${scheme}`, async () => {
    await library.openList(async (page) => {
      await page.locator(".card[tabindex='0']").focus();
      await page.keyboard.press("m");
      const dialog = page.locator("dialog.move");
      await dialog.locator(".plan__lead").waitFor();
      assert.equal(await overflow(dialog), 0);
      await accessible(page, "the dialog");
      await picture(page, `move-${width}`);
    }, { viewport: { width, height }, colorScheme: scheme });
  });
}
