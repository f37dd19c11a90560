// A browser cuts elements off at some height (about 33 million device pixels in Chromium, 18 million in Firefox).
// A list that is higher gets a scroll range of LIMIT pixels, and this class says which part of the list a scroll
// position means. Small steps move the list by as many pixels as the person scrolled; only a jump (dragging the
// scrollbar, End) goes by proportion. When scrolling rests, the position is put where the proportion wants it.

const LIMIT = 6_000_000;
const SHORTEST_JUMP = 4000;

export class ScrollScale {
  #limit;
  #height = 0;
  #viewport = 0;
  #physical = 0;
  #top = 0;

  constructor(limit = LIMIT) {
    this.#limit = limit;
  }

  /** Height that the scrolled element is to have. */
  get range() {
    return Math.min(this.#height, this.#limit);
  }

  /** First pixel of the list that is to be seen. */
  get top() {
    return this.#top;
  }

  /** What to take off a position in the list to get a position in the scrolled element. */
  get offset() {
    return this.#top - this.#physical;
  }

  get #lastTop() {
    return Math.max(0, this.#height - this.#viewport);
  }

  get #lastPhysical() {
    return Math.max(0, this.range - this.#viewport);
  }

  resize(height, viewport) {
    this.#height = height;
    this.#viewport = viewport;
    this.#top = Math.min(this.#top, this.#lastTop);
  }

  /** Tells that the element was scrolled to `physical`; returns where it should be instead, or null if it is right. */
  scrolled(physical) {
    const step = physical - this.#physical;
    this.#physical = physical;
    if (this.range === this.#height) {
      this.#top = physical;
      return null;
    }
    if (Math.abs(step) > Math.max(SHORTEST_JUMP, 3 * this.#viewport)) {
      this.#top = this.#fromPhysical(physical);
      return null;
    }
    this.#top = Math.min(this.#lastTop, Math.max(0, this.#top + step));
    const stuck = (physical <= 0 && this.#top > 0) || (physical >= this.#lastPhysical && this.#top < this.#lastTop);
    return stuck ? this.rest() : null;
  }

  /** Where the element should be scrolled to for the present `top`; null when it is there. */
  rest() {
    const wanted = Math.round(this.#toPhysical(this.#top));
    return Math.abs(wanted - this.#physical) < 1 ? null : wanted;
  }

  /** Goes to `top` in the list; returns the scroll position for it. */
  moveTo(top) {
    this.#top = Math.min(this.#lastTop, Math.max(0, top));
    return Math.round(this.#toPhysical(this.#top));
  }

  /** Accepts `physical` as the position of the present `top`: what the browser made of a position asked for. */
  anchored(physical) {
    this.#physical = physical;
  }

  // Near both ends one pixel is one pixel, so that the ends are reached exactly.
  get #margin() {
    return Math.min(10 * this.#viewport, this.#lastPhysical / 4);
  }

  #fromPhysical(physical) {
    const margin = this.#margin;
    const back = this.#lastPhysical - physical;
    if (physical <= margin) return physical;
    if (back <= margin) return this.#lastTop - back;
    return margin + ((physical - margin) * (this.#lastTop - 2 * margin)) / (this.#lastPhysical - 2 * margin);
  }

  #toPhysical(top) {
    if (this.range === this.#height) return top;
    const margin = this.#margin;
    const back = this.#lastTop - top;
    if (top <= margin) return top;
    if (back <= margin) return this.#lastPhysical - back;
    return margin + ((top - margin) * (this.#lastPhysical - 2 * margin)) / (this.#lastTop - 2 * margin);
  }
}
