// One image after the other: figure, facts, and the rating.
const review = byId("review");
const form = byId("rating");
let list = [];
let place = 0;

const VIEWS = Array.from(review.querySelectorAll("input[name=view]"));
const showView = (choice) => { choice.checked = true; review.dataset.view = choice.value; };
VIEWS.forEach((choice) => choice.addEventListener("change", () => showView(choice)));
showView(VIEWS[1]);
const turnView = (step) => showView(VIEWS[(VIEWS.findIndex((choice) => choice.checked) + step + VIEWS.length) % VIEWS.length]);

const address = (path) => path.split("/").map(encodeURIComponent).join("/");
const FIGURES = { M: ["Montage", "Axial tiles with the outline of the cord"], S: ["Sagittal", "Sagittal view with the outline of the cord"], O: ["Overview", "Middle planes; no cord was found"] };
const stack = (image, letter) => {
  const [name, what] = FIGURES[letter];
  const picture = (ending) => address(`${image.figure}${name}_qc${ending}.png`);
  return element("span", { class: "stack" }, element("img", { src: picture(""), alt: `${what}: ${image.label}` }),
    letter === "O" ? null : [element("img", { class: "over soft", src: picture("_soft"), alt: "" }), element("img", { class: "over contour", src: picture("_contour"), alt: "" })]);
};

const factsOf = (image) => {
  const rows = [
    ["file", image.source], ["status", image.status], ["why", image.reason], ["site", image.site], ["scanner", [image.manufacturer, image.scanner, image.software].filter(Boolean).join(" ")],
    ["plane", image.plane], ["voxel mm", image.voxel], ["fit for CSA", image.csa_fit], ["coverage", image.coverage === null ? null : brief(image.coverage)], ["length", image.length_mm === null ? null : `${format(image.length_mm, 0)} mm`],
    ["flagged slices", image.slice_flags], ["z, other contrasts", image.z_contrasts === null ? null : format(image.z_contrasts)], ["z, site", image.z_site === null ? null : format(image.z_site)],
    ["mask, levels", [image.mask_source, image.levels_source].filter(Boolean).join(", ")], ["gradient correction", image.gradient_correction], ["remarks", image.notes],
    ...Object.entries(sessions).filter(([name, values]) => !["page", "participant_id", "session_id"].includes(name) && values[image.session] !== null).slice(0, 12).map(([name, values]) => [name, brief(values[image.session])]),
  ];
  return element("dl", {}, rows.filter(([, value]) => value !== null && value !== undefined && value !== "").flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, String(value))]));
};

const areasOf = (image) => {
  const found = (regionsOf.get(image.number) ?? []).slice().sort((one, other) => regions.indexOf(areas.region[one]) - regions.indexOf(areas.region[other]));
  if (!found.length) return element("p", { class: "quiet" }, "No area was measured.");
  return element("div", { class: "scroller", tabindex: "0", role: "region", "aria-label": "areas", style: "max-height:300px" }, statTable(["region", "CSA mm²", "binary", "SD", "coverage", "in statistics"], found.map((row) => [
    areas.region[row], format(areas.area_mm2[row], 2), format(areas.area_binary_mm2[row], 2), format(areas.area_sd_mm2[row], 2), areas.coverage[row] === null ? "n/a" : `${Math.floor(100 * areas.coverage[row] + 1e-6)} %`, areas.used[row] ? "yes" : "no"])));
};

const fillForm = () => {
  const said = ratingOf(list[place]);
  form.querySelectorAll("[data-rating]").forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.rating === said.rating)));
  form.querySelectorAll("[data-rank]").forEach((button) => button.setAttribute("aria-pressed", String(Number(button.dataset.rank) === said.rank)));
  for (const name of ["slices", "levels", "reason"]) if (document.activeElement !== form.elements[name]) form.elements[name].value = said[name] ?? "";
  byId("rated").textContent = said.date ? `rated ${said.date}${said.rater ? ` by ${said.rater}` : ""}` : "";
};

const showImage = () => {
  const image = list[place];
  byId("review-title").textContent = image.label;
  byId("review-place").textContent = `${place + 1} of ${list.length}`;
  byId("previous").disabled = list.length < 2;
  byId("next").disabled = list.length < 2;
  const letters = Array.from(image.shown ?? "");
  const page = sessions.page[image.session] === 1 ? `${image.participant_id}.html` : null;
  byId("review-body").replaceChildren(
    element("div", { class: "figures" }, letters.length ? letters.map((letter) => stack(image, letter)) : element("p", { class: "why" }, image.status === "measured" ? "Its figures do not lie beside this page." : `${image.status}: ${image.reason ?? "there is no figure"}`)),
    element("div", { class: "facts" },
      image.flagList.length ? element("ul", {}, image.flagList.map((flag) => element("li", {}, element("span", { class: `flag s${severity(flag)}` }, flag), ` ${meaning(flag)}`))) : element("p", { class: "quiet" }, "No flags."),
      areasOf(image), factsOf(image),
      page ? element("p", {}, element("a", { href: `${address(page)}#${encodeURIComponent(`${(image.session_id ?? "").replace(/^ses-/, "")}:${image.key ?? ""}`)}` }, `Page of ${image.participant_id}`)) : ""));
  byId("review-body").scrollTop = 0;
  fillForm();
  // The next figure is fetched while this one is looked at.
  const after = list[(place + 1) % list.length];
  for (const letter of after.shown ?? "") new Image().src = address(`${after.figure}${FIGURES[letter][0]}_qc.png`);
};

const step = (by) => { if (list.length > 1) { leaveFields(); place = (place + by + list.length) % list.length; showImage(); } };
const leaveFields = () => { if (form.contains(document.activeElement) && document.activeElement.tagName === "INPUT") document.activeElement.blur(); };
const setRating = (rating) => {
  const same = ratingOf(list[place]).rating === rating;
  rate(list[place], { rating: same ? null : rating });
  fillForm();
  if (byId("advance").checked && !same && rating === "pass") step(1);
};
const setRank = (rank) => {
  const same = ratingOf(list[place]).rank === rank;
  rate(list[place], { rank: same ? null : rank });
  fillForm();
  if (byId("advance").checked && !same) step(1);
};

form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.dataset.rating) setRating(button.dataset.rating);
  if (button?.dataset.rank) setRank(Number(button.dataset.rank));
});
for (const name of ["slices", "levels", "reason"])
  form.elements[name].addEventListener("input", (event) => {
    // Only what the app can read is kept.
    if (!event.target.validity.valid) return;
    const value = event.target.value.replace(/\s+/g, name === "reason" ? " " : "").replaceAll(";", name === "reason" ? ";" : ",");
    rate(list[place], { [name]: name === "levels" ? value.toUpperCase() : value });
    fillForm();
  });
byId("unrate").addEventListener("click", () => unrate());
const unrate = () => { leaveFields(); delete ratings.images[list[place].source]; keep(); tell("rating", list[place]); fillForm(); };
byId("previous").addEventListener("click", () => step(-1));
byId("next").addEventListener("click", () => step(1));
byId("close").addEventListener("click", () => review.close());

const openReview = (image, of) => {
  list = of.length ? of : [image];
  place = Math.max(0, list.indexOf(image));
  showImage();
  if (!review.open) review.showModal();
  byId("review-body").focus();
};

const reviewKeys = {
  ArrowRight: () => step(1), j: () => step(1), ArrowLeft: () => step(-1), k: () => step(-1),
  p: () => setRating("pass"), f: () => setRating("fail"), u: () => unrate(),
  s: () => form.elements.slices.focus(), l: () => form.elements.levels.focus(), r: () => form.elements.reason.focus(),
  ...Object.fromEntries([1, 2, 3, 4, 5].map((rank) => [String(rank), () => setRank(rank)])),
};
