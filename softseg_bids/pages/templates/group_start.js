// Keys, the bar, and the first drawing.
const help = byId("help");
const showHelp = () => { if (!help.open) help.showModal(); };
byId("help-button").addEventListener("click", showHelp);
byId("help-close").addEventListener("click", () => help.close());

byId("region").append(...regions.map((name) => element("option", { value: name }, name)));
byId("region").value = state.region;
byId("region").disabled = !regions.length;
byId("region").addEventListener("change", (event) => { state.region = event.target.value; tell("region"); });
byId("hide-failed").addEventListener("change", (event) => { state.hideFailed = event.target.checked; tell("hide"); });

const showProgress = () => {
  const done = images.filter((image) => image.source in ratings.images).length;
  byId("progress").textContent = `${done} of ${images.length} rated`;
  const none = !done;
  ["export-exclude", "export-yml", "export-all"].forEach((id) => { byId(id).disabled = none; });
};
const menu = byId("export-menu");
const openMenu = (open) => { menu.hidden = !open; byId("export-button").setAttribute("aria-expanded", String(open)); };
byId("export-button").addEventListener("click", () => openMenu(menu.hidden));
document.addEventListener("click", (event) => { if (!event.target.closest(".menu")) openMenu(false); });
byId("rater").value = ratings.rater;
byId("rater").addEventListener("input", (event) => { ratings.rater = event.target.value.trim(); keep(); });
byId("export-exclude").addEventListener("click", () => download("exclude.tsv", excludeText()));
byId("export-yml").addEventListener("click", () => download("qc_fail.yml", failText()));
byId("export-all").addEventListener("click", () => download("ratings.tsv", ratingsText()));
byId("import-button").addEventListener("click", () => byId("import-file").click());
byId("import-file").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  if (file) byId("store").textContent = readRatings(await file.text());
  event.target.value = "";
});
document.querySelectorAll("[data-copy]").forEach((button) => button.addEventListener("click", () => copy(byId(button.dataset.copy).textContent, button)));

listen("open", ({ image, list: of }) => openReview(image, of));
listen("rating", showProgress);

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
  const typing = event.target.closest?.("input:not([type=radio]):not([type=checkbox]), select, textarea");
  if (typing) {
    if (event.key === "Enter" && form.contains(typing)) { typing.blur(); event.preventDefault(); }
    return;
  }
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.key === "?") showHelp();
  else if (help.open) return;
  else if (key === "d") turnTheme();
  else if (key === "m" && review.open) turnView(event.shiftKey ? -1 : 1);
  else if (review.open && key in reviewKeys) reviewKeys[key]();
  else if (review.open) return;
  else if (key === "Escape") openMenu(false);
  else if (key === "/") imageTable.search.focus();
  else if (key === "v") { const shown = imageTable.shown(); if (shown.length) openReview(shown[0], shown); }
  else return;
  if (key !== "Escape") event.preventDefault();
});

makeOverview();
makeNumbers();
makePlots();
makeTables();
keep();
showProgress();
document.documentElement.dataset.ready = String(Math.round(performance.now()));
