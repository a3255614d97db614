// Light or dark.  A classic script in <head>, so that the choice is there before the first paint.
// Only a choice that differs from the system's is kept; choosing the system's own again forgets it.
{
  const NAME = "llamatw.theme";
  const system = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;

  const stored = () => {
    try {
      return localStorage.getItem(NAME);
    } catch {
      return null; // storage is switched off: the choice lasts as long as the page
    }
  };

  const choose = (theme) => {
    const own = system.matches ? "dark" : "light";
    if (theme === own) delete root.dataset.theme;
    else root.dataset.theme = theme;
    try {
      if (theme === own) localStorage.removeItem(NAME);
      else localStorage.setItem(NAME, theme);
    } catch {
      // as above
    }
  };

  const kept = stored();
  if (kept === "light" || kept === "dark") root.dataset.theme = kept;

  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-action=theme]")) return;
    const now = root.dataset.theme ?? (system.matches ? "dark" : "light");
    choose(now === "dark" ? "light" : "dark");
  });
}
