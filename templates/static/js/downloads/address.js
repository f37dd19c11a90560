const HUB = "huggingface.co";

/**
 * What a text names: `{model_id?, model_version_id?}` for a number or the address of a model's page, `{repo, filename?}`
 * for an address at Hugging Face, null for anything else.
 */
export function named(text) {
  const trimmed = text.trim();
  if (/^\d+$/.test(trimmed)) return { model_id: Number(trimmed) };
  const whole = /^[\w.-]+\.[a-z]+\//.test(trimmed) ? `https://${trimmed}` : trimmed;
  if (!URL.canParse(whole)) return null;
  const url = new URL(whole);
  if (!/^https?:$/.test(url.protocol)) return null;
  const parts = url.pathname.split("/").filter(Boolean).map(decoded);
  if (url.hostname === HUB && parts.length >= 2) return inHub(parts);
  const after = (name) => Number(parts[parts.indexOf(name) + 1]);
  const version = Number(url.searchParams.get("modelVersionId")) || (parts.includes("model-versions") && after("model-versions")) || (parts.includes("download") && after("models"));
  const model = parts.includes("models") && !parts.includes("download") && after("models");
  if (!model && !version) return null;
  return { ...(model && { model_id: model }), ...(version && { model_version_id: version }) };
}

// A percent sign that stands for nothing stays one.
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function inHub([owner, name, kind, revision, ...path]) {
  const isFile = (kind === "resolve" || kind === "blob") && path.length > 0;
  return { repo: `${owner}/${name}`, ...(isFile && { revision, filename: path.join("/") }) };
}
