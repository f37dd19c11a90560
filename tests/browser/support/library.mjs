// Makes libraries of model files to browse: valid files with real headers, sidecars and previews, and broken ones.

import { createHash } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { crc32, deflateSync } from "node:zlib";

/** A folder that is gone when the test is over. */
export async function temporaryFolder() {
  const folder = await mkdtemp(path.join(tmpdir(), "modelshelf-browser-"));
  return { folder, remove: () => rm(folder, { recursive: true, force: true, maxRetries: 3 }) };
}

/** The bytes of a safetensors file with one tensor; `seed` makes the content, and so the hash, its own. */
export function safetensors(seed, { metadata = {}, size = 64 } = {}) {
  const header = JSON.stringify({
    __metadata__: metadata,
    "lora_unet_down_blocks_0.lora_down.weight": { dtype: "U8", shape: [size], data_offsets: [0, size] },
  });
  const padded = header + " ".repeat((8 - (header.length % 8)) % 8);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  const data = Buffer.alloc(size);
  createHash("sha256").update(String(seed)).digest().copy(data);
  return Buffer.concat([length, Buffer.from(padded), data]);
}

/** A PNG of one colour, given as `[red, green, blue]`. */
export function png([red, green, blue], width = 48, height = 64) {
  const line = Buffer.alloc(1 + width * 3);
  for (let x = 0; x < width; x += 1) line.set([red, green, blue], 1 + x * 3);
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 2, 0, 0, 0], 8);
  const chunk = (type, data) => {
    const body = Buffer.concat([Buffer.from(type), data]);
    const length = Buffer.alloc(4);
    const check = Buffer.alloc(4);
    length.writeUInt32BE(data.length);
    check.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, check]);
  };
  const pixels = deflateSync(Buffer.concat(Array.from({ length: height }, () => line)));
  return Buffer.concat([Buffer.from("89504e470d0a1a0a", "hex"), chunk("IHDR", head), chunk("IDAT", pixels), chunk("IEND", Buffer.alloc(0))]);
}

/**
 * Writes one model below `root`. `sidecar` holds what differs from a plain sidecar (null: no sidecar at all), `color`
 * gives it a preview, `bytes` replaces the file's content.
 */
export async function writeModel(root, relative, { sidecar = {}, color = null, metadata = {}, size = 64, bytes = null } = {}) {
  const file = path.join(root, relative);
  const stem = file.slice(0, -path.extname(file).length);
  await mkdir(path.dirname(file), { recursive: true });
  const content = bytes ?? safetensors(relative, { metadata, size });
  await writeFile(file, content);
  if (color) await writeFile(`${stem}.png`, png(color));
  if (sidecar) {
    const name = path.basename(stem);
    await writeFile(`${stem}.metadata.json`, JSON.stringify({
      file_name: name,
      model_name: name,
      file_path: file,
      size: content.length,
      modified: 1_700_000_000,
      sha256: createHash("sha256").update(content).digest("hex"),
      base_model: "SDXL 1.0",
      preview_url: color ? `${stem}.png` : "",
      preview_nsfw_level: 0,
      notes: "",
      from_civitai: true,
      tags: [],
      modelDescription: "",
      civitai: {},
      favorite: false,
      ...sidecar,
    }));
  }
  return file;
}

/** A dozen models that between them have everything that the page can show. */
export async function writeSmallLibrary(root) {
  await writeModel(root, "styles/amber.safetensors", {
    color: [220, 150, 60],
    size: 128,
    metadata: { ss_network_dim: "16" },
    sidecar: {
      model_name: "Amber Style",
      tags: ["style", "warm"],
      favorite: true,
      notes: "Best at 0.7",
      modelDescription: "<p>A <strong>warm</strong> light.</p>",
      civitai: { id: 11, modelId: 1, name: "v1.0", trainedWords: ["amber glow", "soft light"], creator: { username: "mira" } },
    },
  });
  await writeModel(root, "styles/ink/brush.safetensors", { color: [40, 40, 60], size: 256, sidecar: { model_name: "Ink Brush", base_model: "Pony", tags: ["style", "ink"] } });
  await writeModel(root, "characters/knight.safetensors", { color: [90, 120, 180], size: 512, sidecar: { model_name: "Knight", base_model: "Illustrious", tags: ["character"], favorite: true } });
  await writeModel(root, "characters/oracle.safetensors", { color: [150, 60, 150], size: 1024, sidecar: { model_name: "Oracle", base_model: "Pony", tags: ["character", "warm"], preview_nsfw_level: 16 } });
  await writeModel(root, "plain.safetensors", { sidecar: { model_name: "Plain", base_model: "SD 1.5" } });
  for (const [at, name] of ["Birch", "Cedar", "Fir", "Maple", "Rowan", "Willow"].entries()) {
    await writeModel(root, `trees/${name.toLowerCase()}.safetensors`, { size: 2048 + at, sidecar: { model_name: name, base_model: "SDXL 1.0", tags: ["tree"] } });
  }
  await writeModel(root, "broken/cut.safetensors", { sidecar: null, bytes: Buffer.from([200, 1, 0, 0, 0, 0, 0, 0, 123]) });
  return 12;
}
