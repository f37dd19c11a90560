import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { expectNames, focusedName, openCard } from "./support/browser.mjs";
import { writeModel, writeSmallLibrary } from "./support/library.mjs";
import { cell, focusGrid, libraryMenu, shelf, toast, undo } from "./support/page.mjs";

const MANY = 230;

const library = shelf({ loras: writeSmallLibrary, checkpoints: writeMany });

async function writeMany(root) {
  for (let at = 0; at < MANY; at += 1) await writeModel(root, `many/m${String(at).padStart(3, "0")}.safetensors`);
  return MANY;
}

const sidecarFile = (relative) => path.join(library.folders.loras, `${relative}.metadata.json`);
const sidecar = async (relative) => JSON.parse(await readFile(sidecarFile(relative), "utf8"));

/** Waits until `check` of a model's sidecar holds. */
async function onDisk(relative, check, what) {
  const until = Date.now() + 20_000;
  let last = null;
  while (Date.now() < until) {
    last = await sidecar(relative);
    if (check(last)) return last;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.fail(`${what}: ${JSON.stringify(last)}`);
}

const chosen = (page, count) => page.locator(".bulk__count", { hasText: new RegExp(`^${count} selected$`) }).waitFor();

test("a name is edited where it stands: Escape leaves it, Enter saves it, and Undo brings the old one back", async () => {
  await library.openList(async (page) => {
    await openCard(page, "Cedar");
    await page.getByRole("button", { name: "Edit: Name" }).click();
    await page.keyboard.type("Something else");
    await page.keyboard.press("Escape");
    assert.equal(await page.locator("#details-name").textContent(), "Cedar");
    assert.ok(await page.locator("#details").isVisible(), "Escape closed the details too");

    await page.keyboard.press("Enter");
    await page.keyboard.type("Red Cedar");
    await page.keyboard.press("Enter");
    await page.locator("#details-name", { hasText: "Red Cedar" }).waitFor();
    await onDisk("trees/cedar", (side) => side.model_name === "Red Cedar", "the new name");
    await toast(page, "Name of Cedar saved");
    await undo(page);
    await toast(page, "Undone: Name of Cedar saved");
    await page.locator("#details-name", { hasText: /^Cedar$/ }).waitFor();
    await onDisk("trees/cedar", (side) => side.model_name === "Cedar", "the old name");
  });
});

test("notes have lines, are saved when the field is left, and arrows in them don't turn to other models", async () => {
  await library.openList(async (page) => {
    await openCard(page, "Birch");
    await page.getByRole("button", { name: "Edit: Notes" }).click();
    await page.keyboard.type("first line");
    await page.keyboard.press("Enter");
    await page.keyboard.type("second");
    await page.keyboard.press("ArrowLeft");
    await page.keyboard.press("ArrowRight");
    await page.locator(".details__section h3", { hasText: "Facts" }).click();
    await page.locator("#details .notes", { hasText: "second" }).waitFor();
    assert.equal(await page.locator("#details-name").textContent(), "Birch");
    assert.equal((await onDisk("trees/birch", (side) => side.notes !== "", "the notes")).notes, "first line\nsecond");
  });
});

test("tags and trigger words are added and taken away, with tags suggested that the library has", async () => {
  await library.openList(async (page) => {
    await openCard(page, "Amber Style");
    await page.getByRole("button", { name: "Add a tag" }).click();
    await page.keyboard.type("char");
    await page.getByRole("option", { name: "character" }).waitFor();
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    await page.locator("#details .tag", { hasText: "character" }).waitFor();
    await page.keyboard.type("New One, other");
    await page.keyboard.press("Enter");
    await onDisk("styles/amber", (side) => side.tags.join() === "style,warm,character,new one,other", "the added tags");
    await page.getByRole("button", { name: "Remove other" }).click();
    await onDisk("styles/amber", (side) => !side.tags.includes("other"), "the removed tag");
    assert.ok(await page.evaluate(() => document.activeElement.closest(".edit-list") !== null), "the focus is lost");

    await page.getByRole("button", { name: "Add a trigger word" }).click();
    await page.keyboard.type("golden hour, haze");
    await page.keyboard.press("Enter");
    const side = await onDisk("styles/amber", ({ civitai }) => civitai.trainedWords.length === 3, "the words");
    assert.deepEqual(side.civitai.trainedWords, ["amber glow", "soft light", "golden hour, haze"]);
    assert.equal(side.civitai.creator.username, "mira", "the rest of the provider's data is gone");
    await page.getByRole("button", { name: "Remove soft light" }).click();
    await onDisk("styles/amber", ({ civitai }) => !civitai.trainedWords.includes("soft light"), "the removed word");
  });
});

test("a base model is chosen from those of the library", async () => {
  await library.openList(async (page) => {
    await openCard(page, "Plain");
    await page.getByRole("button", { name: "Edit: Base model" }).click();
    await page.getByRole("option", { name: "Illustrious" }).click();
    await onDisk("plain", (side) => side.base_model === "Illustrious", "the base model");
    await page.locator("#details .base", { hasText: "Illustrious" }).first().waitFor();
    await page.keyboard.press("Control+z");
    await onDisk("plain", (side) => side.base_model === "SD 1.5", "the base model after Ctrl+Z");
  });
});

test("what can't be saved stays in its field, which says so, and nothing closes over it", async () => {
  await library.openList(async (page) => {
    await openCard(page, "Fir");
    await page.route("**/save-metadata", (route) => route.fulfill({ status: 500, contentType: "application/json", body: JSON.stringify({ success: false, error: "The disk is full" }) }));
    await page.getByRole("button", { name: "Edit: Notes" }).click();
    await page.keyboard.type("typed with care");
    await page.keyboard.press("Control+Enter");
    await page.locator(".edit__error", { hasText: "Not saved: Notes. The disk is full" }).waitFor();
    assert.equal(await page.getByRole("textbox", { name: "Notes" }).inputValue(), "typed with care");

    await page.getByRole("button", { name: "Close the details" }).click();
    await page.locator(".edit__error", { hasText: "The disk is full" }).waitFor();
    assert.ok(await page.locator("#details").isVisible());

    // Going back can't be held up; what was typed is there again the next time.
    await page.goBack();
    await page.locator("#details").waitFor({ state: "hidden" });
    await toast(page, "Not saved: Notes of Fir");
    await page.unroute("**/save-metadata");
    await openCard(page, "Fir");
    assert.equal(await page.getByRole("textbox", { name: "Notes" }).inputValue(), "typed with care");
    await page.keyboard.press("Control+Enter");
    await onDisk("trees/fir", (side) => side.notes === "typed with care", "the notes");
  }, { expected: [/500/] });
});

test("closing the details saves what is typed", async () => {
  await library.openList(async (page) => {
    await openCard(page, "Maple");
    await page.getByRole("button", { name: "Edit: Notes" }).click();
    await page.keyboard.type("sweet");
    await page.getByRole("button", { name: "Close the details" }).click();
    await page.locator("#details").waitFor({ state: "hidden" });
    await onDisk("trees/maple", (side) => side.notes === "sweet", "the notes");
    await toast(page, "Notes of Maple saved");
  });
});

test("the star is set on the card, with its key, and in the details", async () => {
  await library.openList(async (page) => {
    await cell(page, "Rowan").hover();
    await cell(page, "Rowan").getByRole("button", { name: "Favourite: Rowan" }).click();
    await onDisk("trees/rowan", (side) => side.favorite === true, "the star");
    await cell(page, "Rowan").locator(".mark--star").waitFor({ state: "attached" });
    assert.equal(await focusedName(page), "Rowan");
    await page.keyboard.press("s");
    await onDisk("trees/rowan", (side) => side.favorite === false, "no star");
    await page.keyboard.press("Enter");
    await page.locator("#details .star[aria-pressed='false']").waitFor();
    await page.keyboard.press("s");
    await page.locator("#details .star[aria-pressed='true']").waitFor();
    await page.locator("#details .star").click();
    await onDisk("trees/rowan", (side) => side.favorite === false, "no star again");
  });
});

test("a model is excluded in its details and restored among the excluded", async () => {
  await library.openList(async (page) => {
    await openCard(page, "Willow");
    await page.getByRole("button", { name: "Exclude from the library" }).click();
    await page.locator("#details").waitFor({ state: "hidden" });
    await toast(page, "Willow is excluded");
    await page.locator("#count", { hasText: "11 models" }).waitFor();
    await page.locator("[data-place='excluded']").click();
    await expectNames(page, ["Willow"]);
    await openCard(page, "Willow");
    await page.getByRole("button", { name: "Restore to the library" }).click();
    await page.locator(".notice__title", { hasText: "Nothing is excluded" }).waitFor();
    await onDisk("trees/willow", (side) => side.exclude === false, "the restored model");
  });
});

test("models are chosen with mouse and keys, and Escape ends it", async () => {
  await library.openList(async (page) => {
    await cell(page, "Birch").hover();
    await cell(page, "Birch").getByRole("checkbox", { name: "Select Birch" }).click();
    await chosen(page, 1);
    // In this mode a click chooses too.
    await cell(page, "Cedar").locator(".card").click();
    await chosen(page, 2);
    assert.ok(await page.locator("#details").isHidden());
    await cell(page, "Birch").locator(".card").click({ modifiers: ["ControlOrMeta"] });
    await chosen(page, 1);
    await cell(page, "Amber Style").locator(".card").click();
    await cell(page, "Fir").locator(".card").click({ modifiers: ["Shift"] });
    // From Amber Style over Birch, Cedar and the broken one to Fir.
    await chosen(page, 5);
    assert.equal(await page.locator("#grid [aria-selected='true']").count(), 5);
    await page.keyboard.press("Escape");
    await page.locator(".bulk").waitFor({ state: "hidden" });
    assert.equal(await page.locator("#grid [aria-selected]").count(), 0);

    await focusGrid(page);
    await page.keyboard.press("Home");
    await page.keyboard.press("Space");
    await chosen(page, 1);
    await page.keyboard.press("Shift+ArrowRight");
    await page.keyboard.press("Shift+ArrowRight");
    await chosen(page, 3);
    await page.keyboard.press("Shift+ArrowLeft");
    await chosen(page, 2);
    await page.keyboard.press("Control+a");
    await chosen(page, 12);
    // Enter opens the model still.
    await page.keyboard.press("Enter");
    await page.locator("#details-name", { hasText: "Birch" }).waitFor();
    await page.keyboard.press("Escape");
    await page.locator("#details").waitFor({ state: "hidden" });
    await chosen(page, 12);
    await page.keyboard.press("Escape");
    await page.locator(".bulk").waitFor({ state: "hidden" });
  });
});

test("tags of many models change after their plan was seen, and come back with one Undo", async () => {
  await library.openList(async (page) => {
    await focusGrid(page);
    await page.keyboard.press("Control+a");
    await chosen(page, 6);
    await page.getByRole("button", { name: "Add tags" }).click();
    await page.getByRole("heading", { name: "Add tags to 6 models" }).waitFor();
    await page.keyboard.type("forest, tree");
    await page.getByRole("button", { name: "Show what changes" }).click();
    await page.locator(".plan__lead", { hasText: "6 of 6 will change" }).waitFor();
    assert.equal(await page.locator(".plan__row").count(), 5);
    assert.equal(await page.locator(".plan__change").first().textContent(), "tree→tree, forest");
    assert.ok(!(await sidecar("trees/fir")).tags.includes("forest"), "a plan changed something");
    await page.getByRole("button", { name: "Change 6 models" }).click();
    await toast(page, "Tags added to 6 models");
    for (const name of ["birch", "willow"]) await onDisk(`trees/${name}`, (side) => side.tags.join() === "tree,forest", "the new tags");
    await undo(page);
    await toast(page, "Undone");
    for (const name of ["birch", "willow"]) await onDisk(`trees/${name}`, (side) => side.tags.join() === "tree", "the old tags");

    await page.getByRole("button", { name: "Remove tags" }).click();
    await page.keyboard.type("ink");
    await page.getByRole("button", { name: "Show what changes" }).click();
    await page.locator(".plan__lead", { hasText: "Nothing will change" }).waitFor();
    assert.ok(await page.locator(".bulk-dialog [type=submit]").isDisabled());
  }, { query: "?folder=trees" });
});

test("base model, star and exclusion are set for many", async () => {
  await library.openList(async (page) => {
    await focusGrid(page);
    await page.keyboard.press("Control+a");
    await chosen(page, 2);
    await page.getByRole("button", { name: "Base model", exact: true }).and(page.locator(".bulk button")).click();
    await page.getByRole("combobox", { name: "Base model" }).fill("Flux.1 D");
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: "Change 2 models" }).click();
    for (const name of ["knight", "oracle"]) await onDisk(`characters/${name}`, (side) => side.base_model === "Flux.1 D", "the base model");
    await page.locator(".bulk").getByRole("button", { name: "Favourite", exact: true }).click();
    for (const name of ["knight", "oracle"]) await onDisk(`characters/${name}`, (side) => side.favorite === true, "the stars");
    await page.locator(".bulk").getByRole("button", { name: "Exclude" }).click();
    await toast(page, "2 models excluded");
    await page.locator(".bulk").waitFor({ state: "hidden" });
    await page.locator(".notice__title").waitFor();
    await page.keyboard.press("Control+z");
    await expectNames(page, ["Knight", "Oracle"]);

    await page.locator("#select-mode").click();
    await cell(page, "Knight").locator(".card").click();
    await page.locator(".bulk").getByRole("button", { name: "Exclude" }).click();
    await expectNames(page, ["Oracle"]);
    await page.locator("[data-place='excluded']").click();
    await expectNames(page, ["Knight"]);
    await focusGrid(page);
    await page.keyboard.press("Space");
    await page.locator(".bulk").getByRole("button", { name: "Restore" }).click();
    await page.locator(".notice__title", { hasText: "Nothing is excluded" }).waitFor();
  }, { query: "?folder=characters" });
});

test("the history lists what was done and takes it back, and names what was changed since", async () => {
  await library.openList(async (page) => {
    await focusGrid(page);
    await page.keyboard.press("Control+a");
    await page.getByRole("button", { name: "Add tags" }).click();
    await page.keyboard.type("historic");
    await page.getByRole("button", { name: "Show what changes" }).click();
    await page.getByRole("button", { name: "Change 6 models" }).click();
    await toast(page, "Tags added to 6 models");
    const theirs = await sidecar("trees/fir");
    await writeFile(sidecarFile("trees/fir"), JSON.stringify({ ...theirs, notes: "theirs" }));

    await libraryMenu(page, "History of changes");
    const first = page.locator(".history__act").first();
    await first.locator(".history__kind", { hasText: "6 models edited" }).waitFor();
    assert.match(await first.locator(".history__names").textContent(), /birch.*and 3 more/s);
    const id = await first.getAttribute("data-id");
    await first.getByRole("button", { name: "Undo" }).click();
    const act = page.locator(`.history__act[data-id="${id}"]`);
    await act.locator(".edit__error", { hasText: "5 undone, 1 left as it is" }).waitFor();
    assert.match(await act.locator(".plan__row").textContent(), /fir.*was changed since/);
    assert.equal((await sidecar("trees/fir")).notes, "theirs");
    assert.ok(!(await sidecar("trees/birch")).tags.includes("historic"));

    // What was left can be taken back once the file is again as the act left it.
    await writeFile(sidecarFile("trees/fir"), JSON.stringify(theirs));
    await act.getByRole("button", { name: "Undo" }).click();
    await act.locator(".history__undone").waitFor();
    assert.ok(!(await sidecar("trees/fir")).tags.includes("historic"));
  }, { query: "?folder=trees" });
});

test("all of a list are chosen, also those that were not loaded yet, and so is a range into them", async () => {
  await library.open("/checkpoints", async (page) => {
    await page.locator("#count", { hasText: `${MANY} models` }).waitFor();
    await focusGrid(page);
    await page.keyboard.press("Control+a");
    await chosen(page, MANY);
    await page.locator(".bulk").getByRole("button", { name: "Favourite", exact: true }).click();
    await toast(page, `${MANY} models are favorites`);
    await undo(page);
    await toast(page, "Undone");
    await page.keyboard.press("Escape");
    await page.locator(".bulk").waitFor({ state: "hidden" });

    await page.getByRole("button", { name: "Select", exact: true }).click();
    await page.locator(".card").first().click();
    await page.keyboard.press("End");
    await cell(page, "m229").locator(".card").click({ modifiers: ["Shift"] });
    await chosen(page, MANY);
  });
});

test("a card that is seen in part only is opened by a click, and chosen by one", async () => {
  await library.openList(async (page) => {
    const { x, y } = await page.locator(".card").nth(7).boundingBox();
    await page.mouse.click(x + 40, y + 30);
    await page.locator("#details[open]").waitFor();
    await page.keyboard.press("Escape");
    await page.locator("#details").waitFor({ state: "hidden" });
  }, { viewport: { width: 1280, height: 520 } });
  await library.openList(async (page) => {
    await page.locator("#select-mode").click();
    const { x, y } = await page.locator(".card").nth(7).boundingBox();
    await page.mouse.click(x + 40, y + 10);
    await chosen(page, 1);
  }, { viewport: { width: 1280, height: 520 } });
});

test("an open field that nobody typed in follows what is changed elsewhere, and one that was typed in says so", async () => {
  await library.openList(async (page) => {
    const elsewhere = (notes) => fetch(`${library.url}/api/lm/loras/save-metadata`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ file_path: path.join(library.folders.loras, "plain.safetensors"), notes }) });
    await openCard(page, "Plain");
    const area = page.getByRole("textbox", { name: "Notes" });
    await page.getByRole("button", { name: "Edit: Notes" }).click();
    await elsewhere("from another page");
    await page.waitForFunction(() => document.querySelector("#details textarea").value === "from another page");
    await page.locator(".details__body h3").last().click();
    await page.locator(".notes", { hasText: "from another page" }).waitFor();
    await page.waitForTimeout(300);
    assert.equal((await sidecar("plain")).notes, "from another page");

    await page.getByRole("button", { name: "Edit: Notes" }).click();
    await area.fill("mine");
    await elsewhere("theirs");
    await page.getByText("It was changed elsewhere meanwhile").waitFor();
    assert.equal(await area.inputValue(), "mine");
    await page.keyboard.press("Escape");
    await page.locator(".notes", { hasText: "theirs" }).waitFor();
  });
});

test("notes that Escape discarded are brought back from the message that says so", async () => {
  await library.openList(async (page) => {
    await openCard(page, "Rowan");
    await page.getByRole("button", { name: "Edit: Notes" }).click();
    const area = page.getByRole("textbox", { name: "Notes" });
    await area.fill("a long text\nof two lines");
    await page.keyboard.press("Escape");
    await toast(page, "Discarded: what you typed as Notes");
    await page.getByRole("button", { name: "Bring it back" }).click();
    assert.equal(await area.inputValue(), "a long text\nof two lines");
    await page.keyboard.press("Control+Enter");
    await onDisk("trees/rowan", (side) => side.notes === "a long text\nof two lines", "the notes");
  });
});
