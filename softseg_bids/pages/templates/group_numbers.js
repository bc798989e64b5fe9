// The numbers of one region, table by table, as a manuscript would have them.
const PERSONAL = ["participant_id", "session_id", "source_image", "input", "person_id"];
const ESTIMATES = ["statistic", "estimate", "ci_low", "ci_high", "se", "df", "p", "p_fdr", "units", "method", "formula", "notes", "region", "n_people", "n_images", "n_controls", "n_sites", "n_fit", "sd_mm2", "shrunken"];

const worded = (name) => name.replaceAll("_", " ").replace("icc 2 1", "ICC(2,1)").replace("icc 3 1", "ICC(3,1)").replace(/\bsd\b/, "SD").replace(/\bcov\b/, "CoV").replace(/\bfdr\b/, "FDR");
const unit = (text) => (text ?? "").replace("mm^2", "mm²");
const small = (value) => (value === null || value === undefined ? "" : value < 0.001 ? "< 0.001" : value.toPrecision(2));
// As many decimals as the interval deserves.
const sized = (value, span) => {
  if (value === null || value === undefined) return "";
  const size = span > 0 ? span : Math.abs(value) / 10 || 1;
  return value.toFixed(Math.min(4, Math.max(0, 1 - Math.floor(Math.log10(size) + 1e-9)))).replace(/^-(0(\.0*)?)$/, "$1");
};
const estimate = (row) => {
  if (row.estimate === null || row.estimate === undefined) return "n/a";
  // There are no parts of people.
  const digits = row.units === "people" ? (value) => String(Math.round(value)) : sized;
  const span = row.ci_low !== null && row.ci_high !== null ? row.ci_high - row.ci_low : 0;
  const interval = span > 0 ? ` [${digits(row.ci_low, span)}, ${digits(row.ci_high, span)}]` : "";
  return `${digits(row.estimate, span)}${interval}${row.units ? ` ${unit(row.units)}` : ""}`;
};

const copyButton = (tables) => element("button", { type: "button", onclick: (event) => copy(tables.flatMap((table) => Array.from(table.rows)).map( (row) => Array.from(row.cells, (each) => each.textContent.trim()).join("\t")).join("\n"), event.currentTarget) }, "Copy");
const copy = async (text, button) => {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Pages opened from a folder may have no clipboard but the old one.
    const area = element("textarea", {}, text);
    (button.closest("dialog") ?? document.body).append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = before; }, 1500);
};

const statTable = (header, rows) => element("table", { class: "stat" },
  element("thead", {}, element("tr", {}, header.map((name) => element("th", { scope: "col" }, name)))),
  element("tbody", {}, rows.map((row) => element("tr", {}, row.map((each, place) => element(place ? "td" : "th", place ? { class: header[place] === "notes" ? "wordy" : "" } : { scope: "row", style: "font-weight:400" }, each))))));

// Contrasts in the order of the page, what is no contrast after them, and all else as people sort it.
const rank = (label) => (contrasts.includes(label) ? contrasts.indexOf(label) : contrasts.length);
const compareLabels = (one, other) => {
  for (const [place, first] of one.entries()) {
    const apart = rank(first) - rank(other[place]) || natural.compare(String(first), String(other[place]));
    if (apart) return apart;
  }
  return 0;
};

const panel = (title, file, ...content) => {
  const tables = content.filter((each) => each instanceof HTMLTableElement);
  return element("article", { class: "panel" },
    element("header", {}, element("h3", {}, title), tables.length ? copyButton(tables) : ""),
    ...content.map((each) => (each instanceof HTMLTableElement ? element("div", { class: "scroller", tabindex: "0", role: "region", "aria-label": title }, each) : each)),
    file ? element("p", { class: "quiet" }, element("a", { href: file }, file)) : "");
};

// What was measured, before any model.
const asMeasured = () => {
  const found = measured(state.region);
  const spread = spreadIn(state.region);
  const rows = contrasts.map((contrast) => {
    const part = found.filter((row) => row.image.contrast === contrast);
    const values = part.map((row) => row.area);
    const binary = part.map((row) => row.binary).filter((value) => value !== null);
    if (!values.length) return [contrast, "0", "n/a", "", "", ""];
    return [contrast, String(values.length), `${format(mean(values), 2)} ± ${format(deviation(values), 2)}`, values.length > 1 ? `${format(quantile(values, 0), 1)} to ${format(quantile(values, 1), 1)}` : "", binary.length ? format(mean(binary), 2) : "n/a", format(100 * (deviation(values) ?? NaN) / mean(values), 1)];
  });
  const sds = spread.map((row) => row.sd_mm2);
  return panel(`Areas as measured, ${state.region}`, "group_csa_wide.tsv", statTable(["contrast", "images", "mean ± SD mm²", "range", "binary mask", "CV %"], rows),
    sds.length ? element("p", {}, `SD over contrasts within a session: mean ${format(mean(sds), 2)}, median ${format(quantile(sds, 0.5), 2)}, 95 % under ${format(quantile(sds, 0.95), 2)} mm² (${plural(sds.length, "session")} with two contrasts or more).`) : element("p", { class: "quiet" }, "No session has two contrasts of the set here: no spread over contrasts."));
};

// Rows of one table with statistics side by side: one row a label, one column a statistic.
const statisticPanels = (table) => {
  const everything = rowsOf(table);
  const here = everything.filter((row) => row.region === undefined || row.region === null || row.region === state.region);
  const labels = Object.keys(table.columns).filter((name) => !ESTIMATES.includes(name));
  const kinds = table.columns.statistic?.Levels ?? {};
  if (!here.length) return [panel(table.title, `group_${table.name}.tsv`, element("p", { class: "quiet" }, everything.length ? `Nothing about ${state.region}; it has ${unique(everything.map((row) => row.region)).slice(0, 6).join(", ")}.` : `No rows: ${table.empty}.`))];
  // Why there is no number is said once.
  if (here.every((row) => row.estimate === null || row.estimate === undefined)) {
    const notes = unique(here.map((row) => row.notes)).join("; ") || "no reason is given";
    return [panel(table.title, `group_${table.name}.tsv`, element("p", { class: "quiet" }, `n/a: ${notes}.`))];
  }
  const groups = new Map();
  for (const row of here) {
    const signature = labels.filter((name) => row[name] !== null && row[name] !== undefined).join();
    if (!groups.has(signature)) groups.set(signature, []);
    groups.get(signature).push(row);
  }
  const tables = Array.from(groups, ([signature, rows]) => {
    const used = signature ? signature.split(",") : [];
    const statistics = unique(rows.map((row) => row.statistic));
    const lines = new Map();
    for (const row of rows) {
      const key = used.map((name) => row[name]).join("\t");
      if (!lines.has(key)) lines.set(key, { labels: used.map((name) => (typeof row[name] === "number" ? brief(row[name]) : String(row[name]).replaceAll(";", " "))), cells: {}, rows: [] });
      lines.get(key).cells[row.statistic] = row;
      lines.get(key).rows.push(row);
    }
    const sorted = Array.from(lines.values()).sort((one, other) => compareLabels(one.labels, other.labels));
    const tested = rows.some((row) => row.p !== null && row.p !== undefined && ["difference", "annual_change", "bias", "slope"].includes(row.statistic));
    const remarks = unique(rows.map((row) => row.notes || null));
    // A remark on all rows is made once, below.
    const noted = remarks.length > 1 || (remarks.length === 1 && rows.some((row) => !row.notes));
    const below = remarks.length && !noted ? [element("p", { class: "quiet" }, remarks[0])] : [];
    const counted = ["n_people", "n_images", "n_controls", "n_sites", "n_fit"].filter((name) => rows.some((row) => row[name] !== null && row[name] !== undefined));
    // Few labels and many statistics read better downwards.
    if (lines.size <= 2 && statistics.length > 2) {
      return [statTable([...used, "statistic", "estimate [95 % CI]", tested ? "p" : "", ...counted.map(worded), noted ? "notes" : ""].filter(Boolean), sorted.flatMap((line) => line.rows.map((row) => [...line.labels, named(row.statistic, kinds), estimate(row), tested ? small(row.p_fdr ?? row.p) : null, ...counted.map((name) => brief(row[name] ?? null)), noted ? (row.notes ?? "") : null].filter((each) => each !== null)))), ...below];
    }
    return [statTable([...(used.length ? used.map(worded) : ["all"]), ...statistics.map((name) => worded(name ?? "")), ...counted.slice(0, 1).map(worded), ...(noted ? ["notes"] : [])],
      sorted.map((line) => [...(line.labels.length ? line.labels : ["all"]), ...statistics.map((name) => {
        const row = line.cells[name];
        if (!row) return "";
        const p = row.p_fdr ?? row.p;
        return element("span", { title: [kinds[name], row.method, row.formula].filter(Boolean).join("\n") }, estimate(row), tested && p !== null && p !== undefined && ["difference", "annual_change", "bias", "slope"].includes(name) ? element("small", {}, `p ${row.p_fdr !== null && row.p_fdr !== undefined ? "(FDR) " : ""}${small(p).startsWith("<") ? small(p) : `= ${small(p)}`}`) : "");
      }), ...counted.slice(0, 1).map((name) => unique(line.rows.map((row) => row[name])).join(" / ")), ...(noted ? [unique(line.rows.map((row) => row.notes)).join("; ")] : [])])), ...below];
  });
  return [panel(table.title, `group_${table.name}.tsv`, ...tables.flat())];
};
const named = (name, kinds) => element("span", { title: kinds[name] ?? "" }, worded(name ?? ""));

const makeNumbers = () => {
  const host = byId("number-list");
  const draw = () => {
    byId("numbers-region").textContent = state.region ? `of ${state.region}` : "";
    const statistical = data.tables.filter((table) => "estimate" in table.columns && !PERSONAL.some((name) => name in table.columns));
    const absent = data.absent.map(([file, title, why]) => element("li", {}, title, element("span", { class: "quiet" }, ` (${file}): ${why}`)));
    host.replaceChildren(
      element("div", { class: "numbers" }, regions.length ? asMeasured() : element("p", { class: "why" }, "No image has an area."), ...statistical.flatMap(statisticPanels)),
      absent.length ? element("details", { open: statistical.length ? null : true }, element("summary", {}, `Not here, and why (${absent.length})`), element("ul", {}, absent)) : "");
  };
  listen("region", draw);
  draw();
};

const makeTables = () => {
  const host = byId("table-list");
  host.append(element("p", { class: "quiet" }, "Every area stands in ", element("a", { href: "group_csa.tsv" }, "group_csa.tsv"), " (a row an image and region) and ", element("a", { href: "group_csa_wide.tsv" }, "group_csa_wide.tsv"), " (a row a session); beside each table lies a JSON file that says what its columns mean."));
  const bySource = new Map(images.map((image) => [image.source, image]));
  for (const table of data.tables) {
    const file = `group_${table.name}.tsv`;
    const content = element("div");
    const details = element("details", { id: `table-${table.name}` }, element("summary", {}, table.title, element("small", {}, ` ${file}, ${plural(table.rows, "row")}`)), content);
    details.addEventListener("toggle", () => {
      if (!details.open || content.children.length) return;
      const rows = rowsOf(table);
      const columns = Object.entries(table.columns).map(([name, said]) => {
        const values = rows.slice(0, 300).map((row) => row[name]);
        return {
          name, title: name, value: (row) => row[name], numeric: "n" in table.data[name], width: widthOf(name, values),
          help: [said.Description, said.Units ? `(${unit(said.Units)})` : "", ...Object.entries(said.Levels ?? {}).map(([level, text]) => `\n${level}: ${text}`)].filter(Boolean).join(" "),
        };
      });
      const source = ["source_image", "input"].find((name) => name in table.columns);
      const opens = source && rows.some((row) => bySource.has(row[source]));
      makeTable(content, {
        caption: table.title, columns, rows, note: rows.length < table.rows ? `the first ${rows.length} of ${table.rows} rows; all are in ${file}` : "",
        open: opens ? (row, list) => { const image = bySource.get(row[source]); if (image) tell("open", { image, list: unique(list.map((each) => bySource.get(each[source]))) }); } : null,
      });
    });
    host.append(details);
  }
};
