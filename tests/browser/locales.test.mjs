import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const FOLDER = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../templates/locales");
const read = async (name) => JSON.parse(await readFile(path.join(FOLDER, name), "utf8"));
const places = (text) => [...text.matchAll(/\{\w+\}/g)].map(([place]) => place).sort();

test("every language has exactly the texts of the English one, with the same places to fill in", async () => {
  const english = await read("en.json");
  const others = (await readdir(FOLDER)).filter((name) => name.endsWith(".json") && name !== "en.json");
  assert.ok(others.includes("de.json"));
  for (const name of others) {
    const texts = await read(name);
    assert.deepEqual(Object.keys(texts).sort(), Object.keys(english).sort(), name);
    for (const [key, text] of Object.entries(texts)) assert.deepEqual(places(text), places(english[key]), `${name}: ${key}`);
  }
});
