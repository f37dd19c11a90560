const HUBS = ["huggingface.co", "www.huggingface.co", "hf.co"];
// Parts of a download address that choose a file of the version.
const FILE_PARAMETERS = ["type", "format", "size", "fp"];
// `urn:air:ECOSYSTEM:TYPE:civitai:MODEL@VERSION`, with or without `urn:` and `air:`, perhaps with a layer and a format.
// Source: the AIR specification of Civitai.
const AIR = /^(?:urn:)?(?:air:)?[\w.-]+:[\w.-]+:civitai:(\d+)(?:@(\d+))?(?::[\w.-]+)?(?:\.\w+)?$/i;
const AIR_OF_HUB = /^(?:urn:)?(?:air:)?[\w.-]+:[\w.-]+:huggingface:([\w.-]+)\/([\w.-]+?)(?:@([\w.-]+))?$/i;

/**
 * Reads what a person pasted: `{model_id?, model_version_id?, file_params?}` for a number, an AIR or an address of a model's
 * page or file, `{repo, revision?, filename?}` for an address at Hugging Face, null for anything else.
 */
export function named(text) {
  const trimmed = text.trim();
  if (/^\d+$/.test(trimmed)) return { model_id: Number(trimmed) };
  const air = AIR.exec(trimmed);
  if (air) return { model_id: Number(air[1]), ...(air[2] && { model_version_id: Number(air[2]) }) };
  const repository = AIR_OF_HUB.exec(trimmed);
  if (repository) return { repo: `${repository[1]}/${repository[2]}`, ...(repository[3] && { revision: repository[3] }) };
  const whole = /^[\w.-]+\.[a-z]+\//.test(trimmed) ? `https://${trimmed}` : trimmed;
  if (!URL.canParse(whole)) return null;
  const url = new URL(whole);
  if (!/^https?:$/.test(url.protocol)) return null;
  const parts = url.pathname.split("/").filter(Boolean).map(decoded);
  if (HUBS.includes(url.hostname) && parts.length >= 2) return inHub(parts);
  const after = (name) => Number(parts[parts.indexOf(name) + 1]);
  const version = Number(url.searchParams.get("modelVersionId")) || (parts.includes("model-versions") && after("model-versions")) || (parts.includes("download") && after("models"));
  const model = parts.includes("models") && !parts.includes("download") && after("models");
  if (!model && !version) return null;
  const asked = FILE_PARAMETERS.map((name) => [name, url.searchParams.get(name)]);
  const chosen = parts.includes("download") ? asked.filter(([, value]) => value) : [];
  return {
    ...(model && { model_id: model }),
    ...(version && { model_version_id: version }),
    ...(chosen.length > 0 && { file_params: Object.fromEntries(chosen) }),
  };
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
