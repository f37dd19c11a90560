/** What the server knew when it rendered the page: `{version, lang, type, isInitializing, libraries, library, settings, texts}`. */
export const bootstrap = JSON.parse(document.getElementById("bootstrap").textContent);
