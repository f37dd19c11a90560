// What one browser remembers. Not in the URL: a link must not change how somebody else's page looks.

const PREFIX = "modelshelf.";

export function remembered(name, fallback, allowed) {
  try {
    const value = localStorage.getItem(PREFIX + name);
    return value !== null && (!allowed || allowed.includes(value)) ? value : fallback;
  } catch {
    return fallback;
  }
}

export function remember(name, value) {
  try {
    if (value === null) localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, value);
  } catch {
    // The choice then lasts as long as the page.
  }
}
