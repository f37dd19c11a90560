import { bootstrap } from "../bootstrap.js";
import { calm, h } from "../dom.js";
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

/**
 * Fills `slot` with the preview of `item`: at once with the placeholder's colours, then with the decoded picture, so
 * that scrolling never waits for a decoder. Returns a function that gives the download up.
 */
export function showPreview(slot, item) {
  if (!item.media_url) {
    slot.replaceChildren(placeholder(item.model_name));
    return () => {};
  }
  return item.media_type === "video" ? showVideo(slot, item) : showImage(slot, item);
}

function showImage(slot, item) {
  const image = h("img", { class: "media", alt: "", decoding: "async", draggable: "false" });
  let given = false;
  image.src = item.media_url;
  const place = () => {
    if (!given) slot.replaceChildren(image);
  };
  if (image.complete && image.naturalWidth) {
    place();
  } else {
    slot.replaceChildren();
    image.classList.add("media--arriving");
    image.decode().then(place, () => {
      if (!given) slot.replaceChildren(placeholder(item.model_name));
    });
  }
  return () => {
    given = true;
    if (!image.complete) image.removeAttribute("src");
  };
}

function showVideo(slot, item) {
  const video = h("video", { class: "media", muted: true, loop: true, playsinline: true, preload: "metadata", tabindex: "-1", "aria-hidden": "true" });
  // The attribute only sets the default; the property is what lets it play without a click.
  video.muted = true;
  video.src = `${item.media_url}#t=0.05`;
  video.addEventListener("error", () => slot.replaceChildren(placeholder(item.model_name)), { once: true });
  slot.replaceChildren(video);
  return () => {
    video.pause();
    video.removeAttribute("src");
    video.load();
  };
}

/** Plays or rests the video in `slot`, if there is one. Someone who wants less motion starts it in the details. */
export function playVideo(slot, play) {
  const video = slot.querySelector("video");
  if (!video) return;
  if (play && !calm()) video.play().catch(() => {});
  else video.pause();
}
