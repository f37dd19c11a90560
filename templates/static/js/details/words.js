/** Trigger words without the empty ones; several may stand in one text. */
export function triggerWords(item, metadata) {
  const words = item.civitai?.trainedWords ?? metadata?.trainedWords ?? [];
  return words.map((word) => String(word).trim()).filter(Boolean);
}
