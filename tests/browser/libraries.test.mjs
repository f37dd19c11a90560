import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { violations } from "./support/axe.mjs";
import { expectNames } from "./support/browser.mjs";
import { writeModel } from "./support/library.mjs";
import { shelf } from "./support/page.mjs";

const library = shelf({}, {
  prepare: async (folder) => {
    const libraries = {};
    for (const [name, models] of [["Home", ["Amber", "Birch"]], ["Work", ["Cedar"]]]) {
      const root = path.join(folder, name);
      await mkdir(root, { recursive: true });
      for (const model of models) await writeModel(root, `${model.toLowerCase()}.safetensors`, { sidecar: { model_name: model, tags: ["tree"] } });
      libraries[name] = { folder_paths: { loras: [root] } };
    }
    const file = path.join(folder, "settings.json");
    await writeFile(file, JSON.stringify({ active_library: "Home", libraries }));
    return ["--settings-json", file];
  },
  expected: { loras: 2 },
});

const choose = async (page, name) => {
  await page.locator("#library-switch").click();
  await page.getByRole("menuitemradio", { name }).click();
};

test("choosing another library shows its models without the old filters, in every open page", async () => {
  await library.open("/loras?tag=tree&q=amber", async (page) => {
    await expectNames(page, ["Amber"]);
    const other = await page.context().newPage();
    await other.goto(`${library.url}/loras?q=birch`);
    await expectNames(other, ["Birch"]);
    await choose(page, "Work");
    await expectNames(page, ["Cedar"]);
    assert.equal(new URL(page.url()).search, "");
    await expectNames(other, ["Cedar"]);
    assert.equal(await other.locator("#library-switch .button__text").textContent(), "Work");
    await page.locator(".toast", { hasText: "Work" }).waitFor();

    await choose(other, "Home");
    await expectNames(page, ["Amber", "Birch"]);
    await page.reload();
    await expectNames(page, ["Amber", "Birch"]);
  });
});

test("a page that can't have a socket follows, too", async () => {
  await library.open("/loras", async (page) => {
    await expectNames(page, ["Amber", "Birch"]);
    const activate = (name) => page.request.post(`${library.url}/api/lm/settings/libraries/activate`, { data: { library: name }, headers: { "X-Modelshelf-Page": "1" } });
    assert.equal((await activate("Work")).status(), 200);
    await expectNames(page, ["Cedar"]);
    await activate("Home");
    await expectNames(page, ["Amber", "Birch"]);
  }, { before: (page) => page.routeWebSocket(/\/ws\//, (socket) => socket.close()) });
});

test("the switch is used with the keyboard and says which library is open", async () => {
  await library.open("/loras", async (page) => {
    await expectNames(page, ["Amber", "Birch"]);
    await page.getByRole("button", { name: "Library: Home. Choose another" }).focus();
    await page.keyboard.press("ArrowDown");
    await page.getByRole("menuitemradio", { name: "Home", checked: true }).waitFor();
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    await expectNames(page, ["Cedar"]);
    await page.getByRole("button", { name: "Library: Work. Choose another" }).waitFor();
    await choose(page, "Home");
    await expectNames(page, ["Amber", "Birch"]);
  });
});

test("a library that can't be opened is said, and the old one stays", async () => {
  await library.open("/loras", async (page) => {
    await expectNames(page, ["Amber", "Birch"]);
    await choose(page, "Work");
    await page.locator(".toast", { hasText: "the disk is full" }).waitFor();
    await expectNames(page, ["Amber", "Birch"]);
    assert.equal(await page.locator("#library-switch .button__text").textContent(), "Home");
  }, {
    before: (page) => page.route(/\/activate$/, (route) => route.fulfill({ status: 500, json: { success: false, error: "the disk is full" } })),
    expected: [/status of 500/],
  });
});

for (const colorScheme of ["light", "dark"]) {
  test(`axe finds nothing wrong with the open switch in the ${colorScheme} theme`, async () => {
    await library.open("/loras", async (page) => {
      await expectNames(page, ["Amber", "Birch"]);
      await page.locator("#library-switch").click();
      await page.locator(".menu--placed").waitFor();
      assert.deepEqual(await violations(page), []);
    }, { colorScheme });
  });
}
