// A classic script on purpose: a module would run after the first paint.
(function () {
  try {
    const theme = localStorage.getItem("modelshelf.theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // Storage may be forbidden; the system's theme is right then.
  }
})();
