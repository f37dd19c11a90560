import { at } from "../base-path.js";
import { bootstrap } from "../bootstrap.js";
import { calm, h } from "../dom.js";
import { t } from "../texts.js";
import { RATIO } from "./geometry.js";
import { placeholder } from "./placeholder.js";

const { blur_mature_content: blurs, mature_blur_level: blurFrom } = bootstrap.settings;

/** Models whose preview the person asked to see, for as long as the page lives. */
const revealed = new Set();

/** `change` when a preview was veiled or revealed, wherever that was asked for. */
export const veils = new EventTarget();

export function isVeiled(item) {
  return Boolean(blurs && item.media_url && item.preview_nsfw_level >= blurFrom && !revealed.has(item.file_path));
}

/** Whether the level of `item` is one that gets veiled, shown or not. */
export function isMature(item) {
  return Boolean(blurs && item.media_url && item.preview_nsfw_level >= blurFrom);
}

export function setRevealed(item, yes) {
  if (yes) revealed.add(item.file_path);
  else revealed.delete(item.file_path);
  veils.dispatchEvent(new Event("change"));
}

// The widths that the server makes.
const WIDTHS = [160, 240, 320, 480, 640, 960, 1280, 1920];

/** The preview at `url` in several widths, from which a browser takes the one that its screen needs. */
export function widths(url, from = 0) {
  return WIDTHS.filter((width) => width >= from).map((width) => `${at(url)}&w=${width} ${width}w`).join(", ");
}

/** The placeholder of a preview that can't be shown; says why as soon as the server has. */
export function refused(item, large = false) {
  const element = placeholder(item.model_name, t("preview.refused"));
  const note = element.querySelector(".placeholder__note");
  fetch(`${at(item.media_url)}&w=${WIDTHS[0]}`).then(async (answer) => {
    const reason = answer.ok ? "" : ((await answer.json()).error ?? "");
    note.title = reason;
    if (large && reason) note.textContent = reason;
  }).catch(() => {
    // Without an answer nothing more is known.
  });
  return element;
}

/**
 * Fills `slot`, which is `width` pixels wide, with the preview of `item`: at once with the placeholder's colours, then
 * with the decoded picture, so that scrolling never waits for a decoder. Returns a function that gives the download up.
 */
export function showPreview(slot, item, width) {
  if (!item.media_url) {
    slot.replaceChildren(placeholder(item.model_name));
    return () => {};
  }
  return item.media_type === "video" ? showVideo(slot, item, width) : showImage(slot, item, width);
}

function showImage(slot, item, width) {
  const image = h("img", { class: "media", alt: "", decoding: "async", draggable: "false", sizes: `${width}px`, srcset: widths(item.media_url) });
  let given = false;
  const place = () => {
    if (given) return;
    // A picture that is wider than the card's shape covers it by its height.
    const covers = Math.ceil((width * RATIO * image.naturalWidth) / image.naturalHeight);
    if (covers > width * 1.2) image.sizes = `${covers}px`;
    slot.replaceChildren(image);
  };
  if (image.complete && image.naturalWidth) {
    place();
  } else {
    slot.replaceChildren();
    image.classList.add("media--arriving");
    image.decode().then(place, () => {
      if (!given) slot.replaceChildren(refused(item));
    });
  }
  return () => {
    given = true;
    if (!image.complete) image.removeAttribute("srcset");
  };
}

function showVideo(slot, item, width) {
  const video = h("video", { class: "media", muted: true, loop: true, playsinline: true, preload: "metadata", tabindex: "-1", "aria-hidden": "true", "data-src": `${at(item.media_url)}#t=0.05` });
  // The attribute only sets the default; the property is what lets it play without a click.
  video.muted = true;
  video.addEventListener("error", () => slot.replaceChildren(placeholder(item.model_name)), { once: true });
  slot.replaceChildren(video);
  // With a picture to stand for it, the video itself is not fetched before it plays.
  const poster = h("img", { sizes: `${width}px`, srcset: widths(`${item.media_url}&poster=true`) });
  let given = false;
  poster.decode().then(() => {
    if (!given) video.poster = poster.currentSrc;
  }, () => {
    if (!given) fetchVideo(video);
  });
  return () => {
    given = true;
    poster.removeAttribute("srcset");
    video.pause();
    video.removeAttribute("src");
    video.load();
  };
}

function fetchVideo(video) {
  if (!video.hasAttribute("src")) video.src = video.dataset.src;
}

/** Plays or rests the video in `slot`, if there is one. Someone who wants less motion starts it in the details. */
export function playVideo(slot, play) {
  const video = slot.querySelector("video");
  if (!video) return;
  if (!play || calm()) {
    video.pause();
    return;
  }
  fetchVideo(video);
  video.play().catch(() => {});
}
