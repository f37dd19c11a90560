import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { BINARY } from "./support/host.mjs";
import { safetensors } from "./support/library.mjs";
import { picture, shelf } from "./support/page.mjs";

const REPOSITORY = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
// A busy machine compiles for minutes; what is asserted is that the page follows.
const BUILDING = { timeout: 300_000 };

// Both programs below build in it, so that what every plugin is made from is compiled once.
process.env.MODELSHELF_PLUGIN_TARGET ??= path.join(REPOSITORY, "target/plugins-build");

let source;

const host = shelf({}, {
  // Of the crate, which is built when the server has begun.
  expected: { upscalers: 1 },
  prepare: async (folder) => {
    await promisify(execFile)(BINARY, ["plugin", "new", "upscaler", "--sdk", path.join(REPOSITORY, "plugin-sdk")], { cwd: folder });
    const models = path.join(folder, "models");
    await mkdir(models);
    await writeFile(path.join(models, "first.safetensors"), safetensors("first"));
    source = path.join(folder, "upscaler/src/lib.rs");
    return ["--plugin", path.join(folder, "upscaler"), "--root", `upscaler=${models}`];
  },
});

test("the page of a type follows its source while the server runs, and shows what does not compile", async (context) => {
  const code = await readFile(source, "utf8");
  await host.open("/upscalers", async (page) => {
    page.setDefaultTimeout(BUILDING.timeout);
    await page.locator(".card", { hasText: "first" }).click();
    const fact = (name, value) => page.locator(".fact", { has: page.locator("dt", { hasText: new RegExp(`^${name}$`) }) }).locator("dd", { hasText: new RegExp(`^${value}$`) });
    await fact("Tensors", "1").waitFor();

    // A rule: its models are derived again.
    let since = Date.now();
    const counts = code.replace("json_of(&Fields { tensors })", "json_of(&Fields { tensors: tensors + 40 })");
    assert.notEqual(counts, code);
    await writeFile(source, counts);
    await fact("Tensors", "41").waitFor();
    context.diagnostic(`another rule was seen on the page after ${Date.now() - since} ms`);

    // What the type is called.
    since = Date.now();
    const named = counts.replace('("tensors", "Tensors")', '("tensors", "Layers")');
    assert.notEqual(named, counts);
    await writeFile(source, named);
    await page.waitForFunction(() => document.getElementById("bootstrap").textContent.includes("Layers"));
    context.diagnostic(`another heading was seen after ${Date.now() - since} ms`);

    // What does not compile: where, while the last good version serves.
    await page.keyboard.press("Escape");
    await page.locator("#details").waitFor({ state: "hidden" });
    await writeFile(source, `${named}\nfn broken( {}\n`);
    const told = page.locator(".banner__reason");
    await told.waitFor();
    assert.match(await told.textContent(), /error.*src\/lib\.rs:\d+:\d+/s);
    await picture(page, "plugin-error");
    assert.equal((await fetch(`${host.url}/api/lm/upscalers/tensors/first`)).status, 200);

    await writeFile(source, named);
    await told.waitFor({ state: "detached" });
  });
});
