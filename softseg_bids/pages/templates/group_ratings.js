// Ratings: kept in this browser under the study's identity, written to files that the app and SCT read.
const STORE = `softseg-ratings-${data.identity}`;
const EXCLUDE_COLUMNS = ["file", "slices", "levels", "reason", "rater", "date"];
const RATING_COLUMNS = ["file", "rating", "rank", "slices", "levels", "reason", "rater", "date"];
let kept = true;

const ratings = (() => {
  try {
    return JSON.parse(localStorage.getItem(STORE) ?? "{}");
  } catch {
    return {};
  }
})();
ratings.images ??= {};
ratings.rater ??= "";

const keep = () => {
  try {
    localStorage.setItem(STORE, JSON.stringify(ratings));
    kept = true;
  } catch {
    kept = false;
  }
  byId("store").textContent = kept ? "Kept in this browser until you clear its data." : "This browser does not keep ratings: export them before you close the page.";
};

const ratingOf = (image) => ratings.images[image.source] ?? {};

// Change some fields of an image's rating; empty ones go, and so does a rating without any.
const rate = (image, fields) => {
  const said = { ...ratingOf(image), ...fields, rater: ratings.rater, date: today() };
  for (const [name, value] of Object.entries(said)) if (value === "" || value === null || value === undefined) delete said[name];
  if (["rating", "rank", "slices", "levels", "reason"].some((name) => name in said)) ratings.images[image.source] = said;
  else delete ratings.images[image.source];
  keep();
  tell("rating", image);
};

const failed = (image) => {
  const said = ratingOf(image);
  return said.rating === "fail" && !said.slices && !said.levels;
};

const ratedImages = () => images.filter((image) => image.source in ratings.images).map((image) => ({ file: image.source, ...ratingOf(image) }));
const excludeText = () => tsv(EXCLUDE_COLUMNS, ratedImages().filter((row) => row.rating === "fail"));
const ratingsText = () => tsv(RATING_COLUMNS, ratedImages());
// A name of letters, digits and the like is a plain scalar; any other is quoted as JSON, which is YAML.
const scalar = (name) => (/^[A-Za-z][A-Za-z0-9_.-]*$/.test(name) ? name : JSON.stringify(name));
const failText = () => {
  const names = unique(ratedImages().filter((row) => row.rating === "fail").map((row) => row.file.split("/").pop()));
  return names.length ? `FILES_SEG:\n${names.map((name) => `- ${scalar(name)}\n`).join("")}` : "FILES_SEG: []\n";
};

// Ratings of a file written here, or exclude.tsv of anybody: what they name replaces what is known of it.
const readRatings = (text) => {
  const [header, ...lines] = text.replace(/^\ufeff/, "").split(/\r?\n/).filter((line) => line.trim()).map((line) => line.split("\t"));
  const known = new Map(images.map((image) => [image.source, image]));
  const bare = new Map(images.map((image) => [image.source.split("/").pop(), image]));
  if (!header || !header.includes("file")) return "No column “file”: nothing was read.";
  let read = 0;
  for (const line of lines) {
    const row = Object.fromEntries(header.map((name, place) => [name, ["n/a", "-", undefined].includes(line[place]) ? "" : line[place]]));
    const image = known.get(row.file) ?? bare.get(row.file.split("/").pop());
    if (!image) continue;
    if (!header.includes("rating")) row.rating = "fail";
    const said = {};
    for (const name of RATING_COLUMNS.slice(1)) if (row[name]) said[name] = name === "rank" ? Number(row[name]) : row[name];
    ratings.images[image.source] = said;
    read += 1;
  }
  keep();
  tell("rating", null);
  return `${plural(read, "rating")} read${read < lines.length ? `, ${lines.length - read} about no image here` : ""}.`;
};
