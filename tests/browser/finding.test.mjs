import assert from "node:assert/strict";
import { test } from "node:test";
import { expectNames, names } from "./support/browser.mjs";
import { writeSmallLibrary } from "./support/library.mjs";
import { shelf } from "./support/page.mjs";

const library = shelf({ loras: writeSmallLibrary });

const open = (check, query = "", options = {}) => library.open(`/loras${query}`, check, options);
const choice = (page, value) => page.locator(`.choice[data-value="${value}"]`);

test("typing searches, and the address keeps the search", async () => {
  await open(async (page) => {
    await page.locator("#search-input").pressSequentially("knig");
    await expectNames(page, ["Knight"]);
    // Fewer letters find the same model; the address has them all a moment later.
    await page.waitForURL((url) => url.searchParams.get("q") === "knig");
    await page.reload();
    await expectNames(page, ["Knight"]);
    assert.equal(await page.locator("#search-input").inputValue(), "knig");
  });
});

test("words that are not neighbours find a model, whatever their order", async () => {
  await open(async (page) => {
    await page.locator("#search-input").fill("brush ink");
    await expectNames(page, ["Ink Brush"]);
    await page.locator("#search-input").fill("amber glow style ");
    await expectNames(page, ["Amber Style"]);
    await page.locator("#search-input").fill("amber brush");
    await page.getByText("Nothing matches").waitFor();
  });
});

test("a search that is overtaken by the next letter is cancelled", async () => {
  const cancelled = [];
  await open(async (page) => {
    await page.route(/search=k(&|$)/, () => {});
    page.on("requestfailed", (request) => cancelled.push(request.failure().errorText));
    const asked = page.waitForRequest(/search=k(&|$)/);
    await page.locator("#search-input").pressSequentially("k");
    await asked;
    await page.locator("#search-input").pressSequentially("night");
    await expectNames(page, ["Knight"]);
    assert.deepEqual(cancelled, ["net::ERR_ABORTED"]);
  });
});

test("the person chooses which fields are searched", async () => {
  await open(async (page) => {
    await page.locator("#search-input").fill("mira");
    await page.getByText("Nothing matches").waitFor();
    await page.locator("#search-fields").click();
    await page.getByRole("menuitemcheckbox", { name: "Creators" }).click();
    await expectNames(page, ["Amber Style"]);
  });
});

test("trigger words are searched unless told otherwise, descriptions when asked", async () => {
  await open(async (page) => {
    const asked = (name, value) => page.waitForRequest((request) => new URL(request.url()).searchParams.get(name) === value);
    const first = Promise.all([asked("search_trigger_words", "true"), asked("search_description", "false")]);
    await page.locator("#search-input").fill("amber");
    await first;
    await page.locator("#search-fields").click();
    const second = asked("search_description", "true");
    await page.getByRole("menuitemcheckbox", { name: "Descriptions" }).click();
    await second;
    const third = asked("search_trigger_words", "false");
    await page.getByRole("menuitemcheckbox", { name: "Trigger words" }).click();
    await third;
  });
});

test("a search begins with the best match, and the earlier order is back when it is over", async () => {
  await open(async (page) => {
    const order = (value) => page.waitForRequest((request) => request.url().includes("/list?") && new URL(request.url()).searchParams.get("sort_by") === value);
    const entries = async () => {
      await page.locator("#sort-menu").click();
      const texts = await page.locator("#sort-menu + .menu .menu__item").allTextContents();
      await page.keyboard.press("Escape");
      return texts;
    };
    const search = page.locator("#search-input");
    await page.locator("#count", { hasText: "12" }).waitFor();
    assert.ok(!(await entries()).includes("Best match"));
    let asked = order("relevance");
    await search.fill("r");
    await asked;
    assert.equal(await page.locator("#sort-name").textContent(), "Best match");
    assert.deepEqual((await entries())[0], "Best match");

    asked = order("size:desc");
    await search.fill("");
    await asked;
    assert.equal(await page.locator("#sort-name").textContent(), "Size");

    // Another order can be chosen for one search.
    asked = order("relevance");
    await search.fill("re");
    await asked;
    asked = order("name:asc");
    await page.locator("#sort-menu").click();
    await page.getByRole("menuitemradio", { name: "Name", exact: true }).click();
    await asked;
    await page.reload();
    assert.equal(await page.locator("#sort-name").textContent(), "Name");
  }, "?sort=size&order=desc");
});

test("a base model can be wanted, and it can be unwanted", async () => {
  await open(async (page) => {
    await choice(page, "Pony").locator(".choice__main").click();
    await expectNames(page, ["Ink Brush", "Oracle"]);
    await choice(page, "Pony").locator(".choice__not").click();
    await page.locator("#count", { hasText: "10" }).waitFor();
    const shown = await names(page);
    assert.ok(!shown.includes("Oracle") && shown.includes("Knight") && shown.includes("Plain"));
  });
});

test("tags can be wanted, unwanted, and combined by any or all", async () => {
  await open(async (page) => {
    await choice(page, "style").locator(".choice__main").click();
    await choice(page, "warm").locator(".choice__main").click();
    await expectNames(page, ["Amber Style", "Ink Brush", "Oracle"]);
    await page.getByRole("button", { name: "All", exact: true }).click();
    await expectNames(page, ["Amber Style"]);
    await page.getByRole("button", { name: "Any", exact: true }).click();
    await choice(page, "warm").locator(".choice__not").click();
    await expectNames(page, ["Ink Brush"]);
  });
});

test("a tag is found by a part of its name, and untagged models can be listed", async () => {
  await open(async (page) => {
    await page.getByRole("searchbox", { name: "Find a tag" }).fill("tre");
    await choice(page, "warm").waitFor({ state: "detached" });
    await choice(page, "tree").locator(".choice__main").click();
    await expectNames(page, ["Birch", "Cedar", "Fir", "Maple", "Rowan", "Willow"]);
    await choice(page, "tree").locator(".choice__main").click();
    await choice(page, "__no_tags__").locator(".choice__main").click();
    await expectNames(page, ["cut", "Plain"]);
  });
});

test("a folder shows the models of its subfolders unless told otherwise", async () => {
  await open(async (page) => {
    await page.locator(".tree__name", { hasText: /^styles$/ }).click();
    await expectNames(page, ["Amber Style", "Ink Brush"]);
    await page.getByRole("switch", { name: "With subfolders" }).click();
    await expectNames(page, ["Amber Style"]);
  });
});

test("favourites can be listed alone", async () => {
  await open(async (page) => {
    await page.getByRole("switch", { name: "Favourites only" }).click();
    await expectNames(page, ["Amber Style", "Knight"]);
  });
});

test("every filter is a chip that takes it away", async () => {
  await open(async (page) => {
    await page.locator(".chip", { hasText: "Pony" }).first().waitFor();
    assert.deepEqual(await page.locator(".chip__text").allTextContents(), ["characters", "Pony", "not #warm"]);
    await page.getByRole("button", { name: "Remove filter: Pony" }).click();
    await expectNames(page, ["Knight"]);
    await page.getByRole("button", { name: "Clear all" }).click();
    await page.locator("#count", { hasText: "12" }).waitFor();
    assert.equal(new URL(page.url()).search, "");
  }, "?folder=characters&base=Pony&not-tag=warm");
});

test("a search and filters that fit nothing offer to be cleared", async () => {
  await open(async (page) => {
    await page.getByRole("button", { name: "Clear search and filters" }).click();
    await page.locator("#count", { hasText: "12" }).waitFor();
  }, "?q=nothing-has-this-name&base=Pony");
});

test("sorting by size starts with the largest, and the order can be turned", async () => {
  await open(async (page) => {
    await page.locator("#sort-menu").click();
    await page.getByRole("menuitemradio", { name: "Size" }).click();
    await page.waitForFunction(() => document.querySelector(".card__name").textContent === "Willow");
    await page.locator("#sort-menu").click();
    await page.getByRole("menuitemradio", { name: "Smallest first" }).click();
    await page.waitForFunction(() => document.querySelector(".card__name").textContent === "cut");
  });
});

test("a random order stays the same until it is shuffled again", async () => {
  await open(async (page) => {
    await page.locator("#sort-menu").click();
    await page.getByRole("menuitemradio", { name: "Random" }).click();
    await page.waitForFunction(() => document.querySelectorAll(".cell:not(.cell--waiting) .card__name").length >= 12);
    const first = await names(page);
    await page.reload();
    await expectNames(page, first);
    const asked = page.waitForResponse(/sort_by=random/);
    await page.locator("#shuffle").click();
    await asked;
    await page.waitForFunction((before) => [...document.querySelectorAll(".card__name")].map((name) => name.textContent).join() !== before, first.join());
  });
});

test("Back undoes a filter", async () => {
  await open(async (page) => {
    await choice(page, "Illustrious").locator(".choice__main").click();
    await expectNames(page, ["Knight"]);
    await page.goBack();
    await page.locator("#count", { hasText: "12" }).waitFor();
  });
});
