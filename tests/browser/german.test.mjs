import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { openCard } from "./support/browser.mjs";
import { writeSmallLibrary } from "./support/library.mjs";
import { cell, focusGrid, shelf } from "./support/page.mjs";

const LOCALES = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../templates/locales");
const read = async (name) => JSON.parse(await readFile(path.join(LOCALES, name), "utf8"));
const english = await read("en.json");
const german = await read("de.json");

const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
const pattern = (text) => new RegExp(`^${text.split(/\{\w+\}/).map(escaped).join("(.+)")}$`);
const telling = (text) => /[a-zäöü]{3}/i.test(text.replace(/\{\w+\}/g, ""));
const known = Object.values(german).filter(telling).map(pattern);
// Texts that are the same in both languages, or would fit anything, tell nothing.
const rests = Object.entries(english)
  .filter(([key, text]) => text !== german[key] && telling(text))
  .map(([key, text]) => [key, pattern(text)]);
// Words that no German text of the pages has.
const ENGLISH = /\b(the|and|with|from|this|that|not|has|have|was|were|is|are|be|model|models|folder|file|files|error|failed)\b/i;

const library = shelf({ loras: writeSmallLibrary });
const open = (address, check, options = {}) => library.open(address, check, { locale: "de-DE", ...options });

/** Texts that a person sees or hears: of elements, names for screen readers, hints, the page's title. */
function texts(page) {
  return page.evaluate(() => {
    const found = [document.title];
    for (const element of document.querySelectorAll("body *")) {
      if (element.matches("script, style, noscript, template, [lang]:not(:root)")) continue;
      for (const name of ["aria-label", "title", "placeholder", "aria-valuetext", "alt"]) {
        if (element.hasAttribute(name)) found.push(element.getAttribute(name));
      }
      for (const node of element.childNodes) if (node.nodeType === Node.TEXT_NODE) found.push(node.textContent);
    }
    return [...new Set(found.map((text) => text.trim().replace(/\s+/g, " ")).filter(Boolean))];
  });
}

/** What of a page is English, but for what a person named: `names`. */
async function check(page, where, names = []) {
  for (const text of await texts(page)) {
    if (names.some((name) => text.includes(name)) || known.some((own) => own.test(text))) continue;
    const rest = rests.find(([, own]) => own.test(text));
    assert.equal(rest, undefined, `${where}: “${text}” is ${rest?.[0]}`);
    assert.ok(!ENGLISH.test(text), `${where}: “${text}”`);
  }
}

const NAMES = ["Amber", "amber", "warm", "Ink Brush", "Best at", "modelshelf-browser-", "soft light", "cut.safetensors"];

test("the list, its menus and its dialogs are German", async () => {
  await open("/loras", async (page) => {
    await page.locator("#count", { hasText: "12 Modelle" }).waitFor();
    await check(page, "the list", NAMES);
    for (const menu of ["#library-menu", "#theme-menu", "#search-fields", "#display-menu", "#help"]) {
      await page.locator(menu).click();
      await page.locator("[role=menu]:popover-open, dialog[open]").first().waitFor();
      await check(page, menu, NAMES);
      await page.keyboard.press("Escape");
    }
    await cell(page, "Cedar").click({ button: "right" });
    await page.locator("[role=menu]:popover-open").waitFor();
    await check(page, "the menu of a card", NAMES);
    await page.keyboard.press("Escape");
    await focusGrid(page);
    await page.keyboard.press("m");
    await page.locator("dialog.move").waitFor();
    await check(page, "moving", NAMES);
    await page.keyboard.press("Escape");
    await page.keyboard.press("d");
    await page.locator("dialog[open]").waitFor();
    await check(page, "downloads", NAMES);
    await page.keyboard.press("Escape");
    await page.locator("#search-input").fill("nichts davon");
    await page.locator(".notice__title").waitFor();
    await check(page, "an empty list", NAMES);
  });
});

test("the details and what the server says of a failure are German", async () => {
  await open("/loras", async (page) => {
    await page.locator("#count", { hasText: "12 Modelle" }).waitFor();
    await openCard(page, "Amber Style");
    await page.locator(".prose").waitFor();
    await check(page, "the details", NAMES);
  });
  await open("/loras", async (page) => {
    await page.locator("#count", { hasText: "12 Modelle" }).waitFor();
    await page.route("**/loras/delete", (route) => route.fulfill({ status: 409, json: { success: false, error: "x is on a disk that is away; attach it and try again", code: "edit.offline", values: { path: "/x" } } }));
    await cell(page, "Cedar").locator(".card").focus();
    await page.keyboard.press("Delete");
    await page.locator(".toast", { hasText: "Datenträger" }).waitFor();
    await page.unroute("**/loras/delete");
    await page.route("**/loras/delete", (route) => route.fulfill({ status: 500, json: { success: false, error: "Internal error; the server's log has the reason" } }));
    await page.keyboard.press("Delete");
    await page.locator(".toast", { hasText: "Protokoll" }).waitFor();
    await check(page, "failures", NAMES);
  }, { expected: [/status of (409|500)/] });
});

test("other views and pages are German", async () => {
  for (const address of ["/loras?view=duplicates", "/loras?view=conflicts", "/loras?view=excluded", "/loras?view=problems", "/plugins"]) {
    await open(address, async (page) => {
      await page.locator("h1, .notice__title").first().waitFor();
      await page.waitForLoadState("networkidle");
      await check(page, address, NAMES);
    });
  }
  await open("/nothing", async (page) => {
    await page.locator(".error__title").waitFor();
    await check(page, "a page that is not there");
  }, { expected: [/404/] });
});
