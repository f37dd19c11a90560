// Where things are, without a document: pure numbers, so that it can be reasoned about and tested alone.

/** Smallest card width and the space around cards for each tile size. */
export const TILES = {
  small: { min: 112, gap: 12, caption: 64 },
  medium: { min: 168, gap: 18, caption: 66 },
  large: { min: 244, gap: 22, caption: 68 },
};

/** Height of a card's picture, of its width. */
export const RATIO = 4 / 3;

/** Whole pixels throughout: fractions would add up over ten thousand rows. */
export function layout(width, count, tile) {
  const { min, gap, caption } = TILES[tile];
  const fewest = width < 300 || tile === "large" ? 1 : 2;
  const columns = Math.max(fewest, Math.floor((width + gap) / (min + gap)));
  const cardWidth = Math.floor((width - gap * (columns - 1)) / columns);
  const rowHeight = Math.round(cardWidth * RATIO) + caption + gap;
  const rows = Math.ceil(count / columns);
  return { columns, gap, cardWidth, rowHeight, rows, mediaHeight: rowHeight - caption - gap, height: rows * rowHeight };
}

/** The rows that `[top, top + viewport)` touches, with `spare` more on both sides. */
export function visibleRows(shape, top, viewport, spare) {
  if (!shape.rows) return { first: 0, last: -1 };
  const first = Math.max(0, Math.floor(top / shape.rowHeight) - spare);
  const last = Math.min(shape.rows - 1, Math.ceil((top + viewport) / shape.rowHeight) - 1 + spare);
  return { first, last };
}
