import assert from "node:assert/strict";
import { createServer } from "node:http";
import { readdir, readFile, rename, rm, stat } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { violations } from "./support/axe.mjs";
import { openCard } from "./support/browser.mjs";
import { png, safetensors, writeModel } from "./support/library.mjs";
import { cell, hasFocus, picture, shelf, toast, undo } from "./support/page.mjs";

const library = shelf({
  loras: async (root) => {
    const bytes = safetensors("same", { size: 4096 });
    await writeModel(root, "styles/ink.safetensors", { bytes, color: [40, 40, 60], sidecar: { model_name: "Ink", tags: ["ink", "style"], notes: "the tested one" } });
    await writeModel(root, "old/ink copy.safetensors", { bytes, color: [150, 60, 60], sidecar: { model_name: "Ink copy", base_model: "Pony" } });
    await writeModel(root, "inbox/download (1).safetensors", { bytes, sidecar: { model_name: "Downloaded" } });
    await writeModel(root, "plain.safetensors", { color: [90, 120, 180], sidecar: { model_name: "Plain", preview_nsfw_level: 1 } });
    return 4;
  },
});

const open = (query, check, options = {}) => library.open(`/loras${query}`, check, options);
const inode = async (name) => (await stat(path.join(library.folders.loras, name))).ino;
const sidecar = async (name) => JSON.parse(await readFile(path.join(library.folders.loras, `${name}.metadata.json`), "utf8"));
const previews = async () => (await readdir(library.folders.loras)).filter((name) => name.startsWith("plain.") && !/\.(safetensors|json)$/.test(name));

test("copies are compared side by side, verified, linked after their plan, and an undo takes that back", async () => {
  await open("?view=duplicates", async (page) => {
    const group = page.locator(".group");
    await group.getByText("the tested one").waitFor();
    assert.equal(await group.getByRole("radio").count(), 3);
    assert.ok(await group.getByText("styles/ink.safetensors").first().isVisible());

    const verify = group.getByRole("button", { name: "Verify" });
    await verify.focus();
    await page.keyboard.press("Enter");
    await group.getByText("all 3 have the same content").waitFor();
    assert.ok(await hasFocus(verify), "the focus is lost");

    // By keyboard: the second one is kept.
    await group.getByRole("radio").first().focus();
    await page.keyboard.press("ArrowDown");
    await group.getByRole("button", { name: "Link the 2 others" }).focus();
    await page.keyboard.press("Enter");
    await group.getByText(/2 files will share the bytes/).waitFor();
    assert.notEqual(await inode("styles/ink.safetensors"), await inode("old/ink copy.safetensors"));
    await page.keyboard.press("Enter");
    await toast(page, "2 copies linked");
    await group.getByText(/more room/).waitFor();
    // The library's news come first, and with them the view is made anew.
    await page.route("**/api/lm/undo", async (route) => {
      const remade = page.waitForResponse(/find-duplicates/);
      const response = await route.fetch();
      await remade;
      await route.fulfill({ response });
    });
    await undo(page);
    await toast(page, "Undone: 2 copies linked");
    await group.getByText(/more room/).waitFor({ state: "detached" });
    assert.notEqual(await inode("styles/ink.safetensors"), await inode("old/ink copy.safetensors"));
  });
});

test("why some copies could not be deleted stays to be read when the library changes", async () => {
  const folder = library.folders.loras;
  await open("?view=duplicates", async (page) => {
    await page.route("**/bulk-delete", async (route) => {
      const results = route.request().postDataJSON().file_paths.map((file) => ({ file_path: file, success: false, error: `${path.basename(file)} is held` }));
      await route.fulfill({ json: { success: true, status: "success", total_deleted: 0, total_attempted: results.length, undo_id: null, results } });
    });
    const group = page.locator(".group");
    await group.getByRole("button", { name: "Delete the 2 others" }).click();
    await group.getByText("is held").first().waitFor();
    const before = await group.elementHandle();
    await writeModel(folder, "late.safetensors");
    await page.evaluate(() => fetch("/api/lm/loras/scan"));
    await page.waitForFunction((old) => !old.isConnected, before);
    await group.getByText("is held").first().waitFor();
    await rm(path.join(folder, "late.safetensors"));
  });
});

test("a model that goes to another place is followed by its content, one that has a copy is not", async () => {
  const folder = library.folders.loras;
  const scan = (page) => page.evaluate(() => fetch("/api/lm/loras/scan").then((answer) => answer.json()));
  const sidecar = (name) => ({ sidecar: { model_name: name } });
  const bytes = safetensors("a pair", { size: 2048 });
  await writeModel(folder, "pair/one.safetensors", { bytes, ...sidecar("Pair one") });
  await writeModel(folder, "pair/two.safetensors", { bytes, ...sidecar("Pair two") });
  await writeModel(folder, "pair/single.safetensors", sidecar("Single"));
  await open("", async (page) => {
    await scan(page);
    const shown = () => new URL(page.url()).searchParams.get("model");
    const looked = () => page.waitForResponse(/\/list\?hash=/);
    await Promise.all([looked(), openCard(page, "Single")]);
    await rename(path.join(folder, "pair/single.safetensors"), path.join(folder, "moved.safetensors"));
    await scan(page);
    await page.waitForURL((url) => url.searchParams.get("model")?.endsWith("/moved.safetensors"));
    await page.keyboard.press("Escape");

    await Promise.all([looked(), openCard(page, "Pair one")]);
    await rm(path.join(folder, "pair/one.safetensors"));
    await scan(page);
    await cell(page, "Pair one").waitFor({ state: "hidden" });
    // It is looked for now, and must not be taken for the other one.
    await page.waitForTimeout(1500);
    assert.match(shown(), /one.safetensors$/);
    assert.equal(await page.locator("#details-name").textContent(), "Pair one");
    await rm(path.join(folder, "pair"), { recursive: true });
    await rm(path.join(folder, "moved.safetensors"));
    await scan(page);
  }, { expected: [/status of 404/] });
});

test("all copies but the chosen one are deleted, and come back", async () => {
  await open("?view=duplicates", async (page) => {
    const group = page.locator(".group");
    await group.locator(".copy", { hasText: "old/ink copy.safetensors" }).getByRole("radio").check();
    await group.getByRole("button", { name: "Delete the 2 others" }).click();
    await toast(page, "2 models are in the trash");
    await page.getByText("No duplicates").waitFor();
    assert.ok(await stat(path.join(library.folders.loras, "old/ink copy.safetensors")));
    await undo(page);
    await group.getByText("the tested one").waitFor();
  });
});

test("a preview is replaced by a chosen, a dropped and a pasted file, keeps its level, and comes back by Undo", async () => {
  const before = await readFile(path.join(library.folders.loras, "plain.png"));
  await open("", async (page) => {
    await openCard(page, "Plain");
    const source = () => page.locator(".picture__media").evaluate((image) => new URL(image.currentSrc).searchParams.get("v"));
    const changed = (from) => page.waitForFunction((old) => new URL(document.querySelector(".picture__media")?.currentSrc || location.href).searchParams.get("v") !== old, from);
    const first = await source();
    await page.getByRole("button", { name: "Change preview" }).click();
    const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.getByRole("menuitem", { name: "Choose a file" }).click()]);
    await chooser.setFiles({ name: "x.png", mimeType: "image/png", buffer: png([10, 200, 90], 900, 600) });
    await toast(page, "Preview of Plain replaced");
    await changed(first);
    assert.deepEqual(await previews(), ["plain.webp"]);
    assert.equal((await sidecar("plain")).preview_nsfw_level, 1);
    await undo(page);
    await toast(page, "Undone");
    await changed(null);
    assert.deepEqual(await readFile(path.join(library.folders.loras, "plain.png")), before);
    assert.deepEqual(await previews(), ["plain.png"]);

    for (const kind of ["drop", "paste"]) {
      const data = [...png(kind === "drop" ? [250, 0, 0] : [0, 0, 250], 20, 20)];
      await page.evaluate(([type, bytes]) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(bytes)], "x.png", { type: "image/png" }));
        const target = document.querySelector(".picture");
        target.dispatchEvent(type === "drop"
          ? new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true })
          : new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true }));
      }, [kind, data]);
      await toast(page, "Preview of Plain replaced");
      await undo(page);
      await toast(page, "Undone: Preview of Plain");
    }

    await page.getByRole("button", { name: "Change preview" }).click();
    await page.getByRole("menuitemradio", { name: "PG-13" }).click();
    await toast(page, "Level of Plain: PG-13");
    assert.equal((await sidecar("plain")).preview_nsfw_level, 2);
    await undo(page);
  });
});

test("a preview from an address that is not allowed says why, and the dialog stays", async () => {
  const web = createServer((_, answer) => answer.end("x")).listen(0, "127.0.0.1");
  await new Promise((resolve) => web.once("listening", resolve));
  try {
    await open("", async (page) => {
      await openCard(page, "Plain");
      await page.getByRole("button", { name: "Change preview" }).click();
      await page.getByRole("menuitem", { name: "From an address" }).click();
      await page.getByLabel("Address of an image or video").fill(`http://127.0.0.1:${web.address().port}/a.png`);
      await page.keyboard.press("Enter");
      await page.getByText(/private network/).waitFor();
      assert.deepEqual(await violations(page), []);
      await page.keyboard.press("Escape");
      await page.getByText(/private network/).waitFor({ state: "detached" });
      assert.ok(await page.locator("#details").isVisible(), "only the dialog in front is closed");
    }, { expected: [/status of 502/] });
  } finally {
    web.close();
  }
});

for (const colorScheme of ["light", "dark"]) {
  for (const [width, height] of [[1440, 900], [390, 844]]) {
    test(`axe finds nothing wrong with copies and the menu of previews at ${width} pixels, ${colorScheme}`, async () => {
      await open("?view=duplicates", async (page) => {
        await page.locator(".copies__acts").waitFor();
        await page.getByRole("button", { name: "Link the 2 others" }).click();
        await page.getByText(/will share the bytes/).waitFor();
        assert.deepEqual(await violations(page), []);
        await picture(page, `copies-${width}-${colorScheme}`);
      }, { colorScheme, viewport: { width, height } });
      await open("", async (page) => {
        await openCard(page, "Plain");
        await page.getByRole("button", { name: "Change preview" }).click();
        await page.getByRole("menuitem", { name: "Choose a file" }).waitFor();
        assert.deepEqual(await violations(page), []);
        await picture(page, `preview-${width}-${colorScheme}`);
      }, { colorScheme, viewport: { width, height } });
    });
  }
}
