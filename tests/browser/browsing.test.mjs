import assert from "node:assert/strict";
import { test } from "node:test";
import { violations } from "./support/axe.mjs";
import { expectNames, openCard } from "./support/browser.mjs";
import { writeModel, writeSmallLibrary } from "./support/library.mjs";
import { cell, shelf } from "./support/page.mjs";

const library = shelf({
  loras: writeSmallLibrary,
  embeddings: async (root) => {
    await writeModel(root, "better-hands.safetensors", { sidecar: { model_name: "Better Hands" } });
    return 1;
  },
});

test("each model type has its page, and the navigation leads from one to the other", async () => {
  await library.open("/loras", async (page) => {
    await page.locator("#count", { hasText: "12" }).waitFor();
    await page.locator(".types").getByText("Embeddings").click();
    await expectNames(page, ["Better Hands"]);
    assert.equal(await page.locator(".types [aria-current=page]").textContent(), "Embeddings");
  });
});

test("a card shows the preview, the name, the base model and whether it is a favourite", async () => {
  await library.open("/loras", async (page) => {
    const amber = cell(page, "Amber Style");
    await amber.locator("img.media").waitFor();
    assert.ok(await amber.locator("img.media").evaluate((image) => image.naturalWidth > 0));
    assert.equal(await amber.locator(".base__name").textContent(), "SDXL 1.0");
    assert.equal(await amber.locator(".mark--star").count(), 1);
    assert.equal(await cell(page, "Plain").locator(".mark--star").count(), 0);
  });
});

test("a model without a preview gets a drawn placeholder", async () => {
  await library.open("/loras", async (page) => {
    assert.equal(await cell(page, "Plain").locator(".placeholder__text").textContent(), "PL");
  });
});

test("the details tell the facts, the notes, the trigger words and the description", async () => {
  await library.open("/loras", async (page) => {
    await openCard(page, "Amber Style");
    const details = page.locator("#details");
    for (const text of ["Best at 0.7", "amber glow", "styles/amber.safetensors".split("/").pop(), "mira", "v1.0"]) await details.getByText(text).first().waitFor();
    assert.equal(await details.locator(".prose strong").textContent(), "warm");
    assert.match(await details.locator(".hash").textContent(), /^[0-9a-f]{64}$/);
  });
});

test("the address of opened details leads back to them", async () => {
  await library.open("/loras", async (page) => {
    await openCard(page, "Knight");
    const address = page.url();
    assert.ok(new URL(address).searchParams.get("model").endsWith("characters/knight.safetensors"));
    await page.goto(`${library.url}/embeddings`);
    await page.goto(address);
    await page.locator("#details-name", { hasText: "Knight" }).waitFor();
  });
});

test("the address of a model that the list does not show leads to it too", async () => {
  const file = `${library.folders.loras}/characters/knight.safetensors`;
  await library.open(`/loras?base=Pony&model=${encodeURIComponent(file)}`, async (page) => {
    await page.locator("#details-name", { hasText: "Knight" }).waitFor();
  });
});

test("the address of a model that is gone says so", async () => {
  await library.open(`/loras?model=${encodeURIComponent(`${library.folders.loras}/nowhere.safetensors`)}`, async (page) => {
    await page.locator("#details-name", { hasText: "not in the library" }).waitFor();
  });
});

test("Back closes the details that were opened from the list", async () => {
  await library.open("/loras", async (page) => {
    await openCard(page, "Birch");
    await page.goBack();
    await page.locator("#details").waitFor({ state: "hidden" });
    assert.equal(new URL(page.url()).search, "");
  });
});

test("trigger words are copied with one click", async () => {
  await library.open("/loras", async (page) => {
    await openCard(page, "Amber Style");
    await page.locator("#details").getByText("Copy all").click();
    await page.locator(".toast").waitFor();
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), "amber glow, soft light");
  }, { permissions: ["clipboard-read", "clipboard-write"] });
});

test("a tag in the details lists the models that have it", async () => {
  await library.open("/loras", async (page) => {
    await openCard(page, "Amber Style");
    await page.locator("#details .tag", { hasText: "warm" }).click();
    await expectNames(page, ["Amber Style", "Oracle"]);
  });
});

test("a file that can't be read is listed with its problem", async () => {
  await library.open("/loras", async (page) => {
    await page.locator("[data-place=problems]").click();
    await page.locator(".problem__name", { hasText: "cut.safetensors" }).click();
    const problem = await page.locator("#details .callout--bad").textContent();
    assert.ok(problem.trim().length > 10);
    // It has no sidecar, so there is nothing more to be had.
  }, { expected: [/status of 404/] });
});

test("a mature preview is veiled until somebody asks to see it", async () => {
  await library.open("/loras", async (page) => {
    const oracle = cell(page, "Oracle");
    await oracle.locator(".card__media--veiled").waitFor();
    await oracle.locator(".card__veil").click();
    await oracle.locator(".card__media--veiled").waitFor({ state: "detached" });
    assert.equal(await page.locator("#details").isVisible(), false);
    await openCard(page, "Oracle");
    await page.locator("#details").getByText("Hide preview").click();
    await oracle.locator(".card__media--veiled").waitFor({ state: "attached" });
  });
});

test("an address that has no page gets an error page with a way back", async () => {
  await library.open("/no-such-page", async (page) => {
    await page.locator(".error__status", { hasText: "404" }).waitFor();
    await page.locator(".error__home").click();
    await page.locator("#grid").waitFor();
  }, { expected: [/status of 404/] });
});

test("a model that is reached over several paths says so on its card and lists them in the details", async () => {
  await library.open("/loras", async (page) => {
    await page.locator(".cell", { hasText: "Amber Style" }).locator(".mark", { hasText: "Also at 2 other paths" }).waitFor();
    await openCard(page, "Amber Style");
    const rows = page.locator("#details .fact__list code");
    assert.deepEqual(await rows.allTextContents(), ["/mnt/a/amber.safetensors", "/mnt/b/amber.safetensors"]);
  }, {
    before: (page) => page.route(/\/list\?/, async (route) => {
      const answer = await (await route.fetch()).json();
      for (const item of answer.items) item.aliases = item.model_name === "Amber Style" ? ["/mnt/a/amber.safetensors", "/mnt/b/amber.safetensors"] : [];
      await route.fulfill({ json: answer });
    }),
  });
});

test("a code block of a description is scrolled by keyboard", async () => {
  await library.open("/loras", async (page) => {
    await page.route("**/model-description*", (route) => route.fulfill({ json: { success: true, description: "x", safe_html: `<pre>${"a long line ".repeat(60)}</pre>` } }));
    await openCard(page, "Amber Style");
    const block = page.locator(".prose pre");
    await block.focus();
    await page.keyboard.press("ArrowRight");
    await page.waitForFunction(() => document.querySelector(".prose pre").scrollLeft > 0);
    assert.deepEqual(await violations(page), []);
  });
});

test("a card that waits for its model has no veil of the one before", async () => {
  await library.open("/loras", async (page) => {
    await page.locator("#count", { hasText: "12" }).waitFor();
    const veiled = await page.evaluate(async () => {
      const script = document.querySelector("script[type=module]").src;
      const { Card } = await import(new URL("grid/card.js", script));
      const { fromAddress } = await import(new URL("query.js", script));
      const card = new Card(() => fromAddress(""), "gridcell");
      const model = { file_path: "/x", model_name: "X", media_url: "/x.png?v=1", media_type: "image", preview_nsfw_level: 32, base_model: "Pony", offline: true };
      const seen = () => [...card.element.querySelectorAll(".card__media--veiled"), ...(card.element.matches(".cell--offline") ? [card.element] : [])].length;
      card.show(model, false, 200);
      const before = seen();
      card.show(null, false, 200);
      const after = seen();
      card.dispose();
      return [before, after];
    });
    assert.deepEqual(veiled, [2, 0]);
  });
});
