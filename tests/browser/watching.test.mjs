import assert from "node:assert/strict";
import { rename, rm } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { writeModel, writeSmallLibrary } from "./support/library.mjs";
import { shelf } from "./support/page.mjs";

// A person should wait two seconds; the machine of a test may be slow.
const SOON = { timeout: 5000 };

const library = shelf({ loras: writeSmallLibrary });

const card = (page, name) => page.locator(".card__name", { hasText: new RegExp(`^${name}$`) });

test("a file that is copied into a folder, renamed, and deleted is seen in an open page", async () => {
  await library.open("/loras", async (page) => {
    await card(page, "Amber Style").waitFor();
    const file = await writeModel(library.folders.loras, "new/zebra.safetensors", { sidecar: null });
    await card(page, "zebra").waitFor(SOON);

    const renamed = path.join(library.folders.loras, "new/yak.safetensors");
    await rename(file, renamed);
    await rename(file.replace(".safetensors", ".metadata.json"), renamed.replace(".safetensors", ".metadata.json"));
    // The name to show is the sidecar's, which came along.
    await page.waitForFunction(async () => {
      const list = await (await fetch("/api/lm/loras/list?page_size=100")).json();
      return list.items.some((item) => item.file_name === "yak") && !list.items.some((item) => item.file_name === "zebra");
    }, null, SOON);
    await writeModel(library.folders.loras, "new/yak.safetensors", { sidecar: { model_name: "Yak" } });
    await card(page, "Yak").waitFor(SOON);
    assert.equal(await card(page, "zebra").count(), 0);

    await rm(renamed);
    await card(page, "Yak").waitFor({ state: "hidden", ...SOON });
    await page.locator("#count", { hasText: "12" }).waitFor(SOON);
  });
});
