/**
 * Runs `work` unless one of `buttons` waits for such work already. They are shown as disabled meanwhile, and keep the focus,
 * which a button that really is disabled would lose.
 */
export async function whileBusy(buttons, work) {
  if (buttons.some(isBusy)) return;
  for (const button of buttons) button.setAttribute("aria-disabled", "true");
  try {
    await work();
  } finally {
    for (const button of buttons) button.removeAttribute("aria-disabled");
  }
}

function isBusy(button) {
  return button.getAttribute("aria-disabled") === "true";
}
