// Light, dark, or as the system.
const themes = [null, "light", "dark"];
const showTheme = (theme) => {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  byId("theme").textContent = `Theme: ${theme ?? "system"}`;
  try { localStorage.setItem("softseg-theme", theme ?? ""); } catch { /* a matter of taste, not of data */ }
};
const turnTheme = () => showTheme(themes[(themes.indexOf(document.documentElement.dataset.theme ?? null) + 1) % themes.length]);
let theme = null;
try { theme = localStorage.getItem("softseg-theme"); } catch { theme = null; }
showTheme(themes.includes(theme) ? theme : null);
byId("theme").addEventListener("click", turnTheme);
