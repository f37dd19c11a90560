import assert from "node:assert/strict";
import { test } from "node:test";
import { violations } from "./support/axe.mjs";
import { writeSmallLibrary } from "./support/library.mjs";
import { overflow, picture, shelf } from "./support/page.mjs";

const library = shelf({ loras: writeSmallLibrary });

for (const [colorScheme, width] of [["light", 1440], ["dark", 390]]) {
  test(`an address without a page says so, and leads to the library and the plugins (${colorScheme}, ${width} pixels)`, async () => {
    await library.open("/vaes", async (page) => {
      await page.getByRole("heading", { name: "No such page" }).waitFor();
      await page.getByText("some only when a folder for them is configured").waitFor();
      assert.deepEqual(await violations(page), []);
      assert.equal(await overflow(page.locator("main")), 0);
      await picture(page, `error-${colorScheme}-${width}`);
      await page.getByRole("link", { name: "Plugins" }).click();
      await page.getByRole("heading", { name: "Plugins", exact: true }).waitFor();
      await page.goBack();
      await page.getByRole("link", { name: "Back to the library" }).click();
      await page.locator("#count", { hasText: "12 models" }).waitFor();
    }, { colorScheme, viewport: { width, height: 844 }, expected: [/status of 404/] });
  });
}

test("a type without folders does not speak of folders that are there", async () => {
  await library.open("/checkpoints", async (page) => {
    await page.getByText("No folder is looked at yet.").waitFor();
    await page.getByText("Start the server with a folder that has some:").waitFor();
  });
});
