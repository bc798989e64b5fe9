// Blinded pairs: one after the other, judged by keys, kept in this browser, exported, and counted with the key.
const STORE = `softseg-pairs-${data.identity}`;
const COLUMNS = ["pair", "choice", "note", "rater", "date"];
const CHOICES = ["A", "B", "equal", "neither"];
const ratings = (() => {
  try {
    return JSON.parse(localStorage.getItem(STORE) ?? "{}");
  } catch {
    return {};
  }
})();
ratings.pairs ??= {};
ratings.rater ??= "";
const pairs = data.pairs;
let place = 0;

const keep = () => {
  let kept = true;
  try {
    localStorage.setItem(STORE, JSON.stringify(ratings));
  } catch {
    kept = false;
  }
  byId("store").textContent = kept ? "Kept in this browser until you clear its data." : "This browser does not keep ratings: export them before you close the page.";
  const done = pairs.filter((pair) => ratings.pairs[pair.number]?.choice).length;
  byId("progress").textContent = `${done} of ${plural(pairs.length, "pair")} judged`;
  byId("export").disabled = !Object.keys(ratings.pairs).length;
};

const said = () => ratings.pairs[pairs[place].number] ?? {};
const say = (fields) => {
  const now = { ...said(), ...fields, rater: ratings.rater, date: today() };
  for (const name of ["choice", "note"]) if (!now[name]) delete now[name];
  if (now.choice || now.note) ratings.pairs[pairs[place].number] = now;
  else delete ratings.pairs[pairs[place].number];
  keep();
  fill();
};

const buttons = Array.from(document.querySelectorAll("[data-choice]"));
const fill = () => {
  const now = said();
  buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.choice === now.choice)));
  document.querySelectorAll("[data-side]").forEach((side) => side.classList.toggle("chosen", side.dataset.side === now.choice));
  if (document.activeElement !== byId("note")) byId("note").value = now.note ?? "";
};

const show = () => {
  const pair = pairs[place];
  byId("pair-title").textContent = `Pair ${pair.number} of ${pairs.length} · ${pair.contrast}`;
  for (const side of ["A", "B"]) {
    const [base, over] = document.querySelectorAll(`[data-side="${side}"] img`);
    base.src = `data:image/png;base64,${pair.picture}`;
    base.alt = `Pair ${pair.number}, image with outline ${side}`;
    over.src = `data:image/png;base64,${pair[side]}`;
  }
  fill();
};
const step = (by) => { byId("note").blur(); place = (place + by + pairs.length) % pairs.length; show(); };
const choose = (choice) => say({ choice: said().choice === choice ? null : choice });
const clear = () => { byId("note").value = ""; say({ choice: null, note: null }); };
const turnContours = () => {
  const bare = byId("pair").toggleAttribute("data-bare");
  byId("contours").setAttribute("aria-pressed", String(!bare));
};

// Rows of a TSV as objects.
const rowsOf = (text) => {
  const [header, ...lines] = text.replace(/^\ufeff/, "").split(/\r?\n/).filter((line) => line.trim()).map((line) => line.split("\t"));
  return (lines ?? []).map((line) => Object.fromEntries((header ?? []).map((name, at) => [name, line[at] === "n/a" ? "" : line[at] ?? ""])));
};
const readRatings = (text) => {
  let read = 0;
  for (const row of rowsOf(text)) {
    if (!pairs.some((pair) => String(pair.number) === row.pair) || (row.choice && !CHOICES.includes(row.choice))) continue;
    ratings.pairs[row.pair] = Object.fromEntries(COLUMNS.slice(1).filter((name) => row[name]).map((name) => [name, row[name]]));
    read += 1;
  }
  keep();
  show();
  return `${plural(read, "rating")} read.`;
};

// Two-sided sign test of n against m, exact.
const signTest = (n, m) => {
  let total = 0;
  let term = 0.5 ** (n + m);
  for (let k = 0; k <= Math.min(n, m); k += 1) {
    total += term;
    term *= (n + m - k) / (k + 1);
  }
  return Math.min(1, 2 * total);
};
const count = (text) => {
  const key = new Map(rowsOf(text).map((row) => [row.pair, row]));
  const tally = { softseg: 0, other: 0, equal: 0, neither: 0 };
  let unknown = 0;
  for (const [number, { choice }] of Object.entries(ratings.pairs)) {
    if (!choice) continue;
    const who = { A: key.get(number)?.a, B: key.get(number)?.b, equal: "equal", neither: "neither" }[choice];
    if (who in tally) tally[who] += 1;
    else unknown += 1;
  }
  const names = { softseg: "softseg better", other: `${data.name} better`, equal: "equal", neither: "neither usable" };
  const p = signTest(tally.softseg, tally.other);
  byId("result").replaceChildren(
    element("div", { class: "sheet" }, element("table", { class: "stat" }, element("tbody", {}, Object.entries(names).map(([name, label]) => element("tr", {}, element("td", {}, label), element("td", { class: "num" }, String(tally[name]))))))),
    element("p", { class: "quiet" }, `Sign test of better against better: p = ${format(p, 3)}.${unknown ? ` ${plural(unknown, "rating")} without an entry in the key.` : ""} These are the worst disagreements, no sample of all images.`));
};

if (pairs.length) {
  buttons.forEach((button) => button.addEventListener("click", () => choose(button.dataset.choice)));
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  byId("clear").addEventListener("click", clear);
  byId("contours").addEventListener("click", turnContours);
  byId("note").addEventListener("input", (event) => say({ note: event.target.value }));
  byId("rater").value = ratings.rater;
  byId("rater").addEventListener("input", (event) => { ratings.rater = event.target.value.trim(); keep(); });
  byId("export").addEventListener("click", () => download("ratings.tsv", tsv(COLUMNS, pairs.filter((pair) => ratings.pairs[pair.number]).map((pair) => ({ pair: pair.number, ...ratings.pairs[pair.number] })))));
  for (const [button, input, read] of [["import-button", "import-file", readRatings], ["key-button", "key-file", count]]) {
    byId(button).addEventListener("click", () => byId(input).click());
    byId(input).addEventListener("change", async (event) => {
      const [file] = event.target.files;
      if (file) byId("store").textContent = read(await file.text()) ?? "";
      event.target.value = "";
    });
  }
  const keys = { a: () => choose("A"), b: () => choose("B"), e: () => choose("equal"), n: () => choose("neither"), m: turnContours, u: clear, r: () => byId("note").focus(), ArrowRight: () => step(1), ArrowLeft: () => step(-1) };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.target.matches?.("input")) {
      if (event.key === "Enter" || event.key === "Escape") event.target.blur();
      return;
    }
    const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  keep();
  show();
}
document.documentElement.dataset.ready = "true";
