// The plots of the study.
const VENDORS = [["siemens", "#0072b2"], ["philips", "#d55e00"], ["ge", "#009e73"], ["canon", "#cc79a7"], ["toshiba", "#cc79a7"], ["united", "#e69f00"], ["bruker", "#56b4e9"]];
const SERIES = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#882255", "#999933", "#44aa99", "#117733", "#332288", "#aa4499"];
const OTHER = "#7d868f";
const vendorColour = (vendor) => (VENDORS.find(([name]) => (vendor ?? "").toLowerCase().startsWith(name)) ?? ["", OTHER])[1];

const select = (label, options, change) => {
  const made = element("select", { onchange: change }, options.map((each) => element("option", { value: each }, each)));
  return { node: element("label", {}, `${label} `, made), get value() { return made.value; }, set value(name) { made.value = name; }, options };
};

const frame = (title, controls = [], broad = false) => {
  const host = element("div", { class: "canvas" });
  const legend = element("div", { class: "legend" });
  const caption = element("figcaption", {});
  byId("plot-list").append(element("figure", { class: broad ? "plot broad" : "plot" }, element("h3", {}, title), element("div", { class: "controls" }, controls.map((each) => each.node), legend), host, caption));
  const plot = makePlot(host, title);
  return {
    plot, caption,
    legend: (entries) => legend.replaceChildren(...entries.map(([name, colour, shape]) => element("span", {}, element("i", { class: shape ?? null, style: `background:${colour}` }), name))),
  };
};

// What the plots show: statistics' images of the region, without what the rater failed if so asked.
const shownAreas = () => measured(state.region).filter((row) => !(state.hideFailed && failed(row.image)));
const areaText = (row) => `${row.image.label}\n${format(row.area, 2)} mm²${row.image.flagList.length ? `\n${row.image.flagList.join(", ")}` : ""}`;
const bars = (places) => places.filter(([, values]) => values.length > 1).map(([x, values]) => ({ kind: "bar", x, y: mean(values), low: mean(values) - deviation(values), high: mean(values) + deviation(values) }));
const grouped = (rows, key) => {
  const found = new Map();
  for (const row of rows) {
    const name = key(row);
    if (!found.has(name)) found.set(name, []);
    found.get(name).push(row);
  }
  return found;
};
const nothing = () => (regions.length ? `No image has an area of ${state.region} that enters statistics.` : "No image has an area.");
const pairIn = (names, first, second) => names.includes(first) && names.includes(second);

const colourings = () => {
  const found = { contrast: (row) => row.image.contrast };
  if (unique(images.map((image) => image.manufacturer)).length) found.vendor = (row) => row.image.manufacturer ?? "n/a";
  const fewSites = unique(images.map((image) => image.site)).length;
  if (fewSites > 1 && fewSites <= SERIES.length) found.site = (row) => row.image.site ?? "n/a";
  for (const [name, values] of Object.entries(sessions)) {
    const kinds = unique(values);
    if (["page", "participant_id", "session_id"].includes(name) || "n" in data.sessions[name] || kinds.length < 2 || kinds.length > 8 || name === "site") continue;
    found[name] = (row) => values[row.image.session] ?? "n/a";
  }
  return found;
};

const plotContrasts = () => {
  const kinds = colourings();
  const by = select("colour by", Object.keys(kinds), () => draw());
  const { plot, caption, legend } = frame("CSA by contrast", Object.keys(kinds).length > 1 ? [by] : []);
  const draw = () => plot.draw(() => {
    const rows = shownAreas();
    const there = contrasts.filter((name) => rows.some((row) => row.image.contrast === name));
    if (!there.length) return nothing();
    const items = rows.map((row) => ({ x: there.indexOf(row.image.contrast) + 0.55 * jitter(row.image.session), y: row.area, image: row.image, text: areaText(row), key: kinds[by.value](row) }));
    const names = by.value === "contrast" ? there : unique(items.map((item) => item.key)).sort(natural.compare);
    const shade = (name) => (by.value === "contrast" ? colourOf(name) : by.value === "vendor" ? vendorColour(name) : name === "n/a" ? OTHER : SERIES[names.indexOf(name) % SERIES.length]);
    legend(by.value === "contrast" ? [] : names.map((name) => [name, shade(name)]));
    const sessionItems = grouped(items, (item) => item.image.session);
    caption.textContent = `CSA over ${state.region}: a mark an image, bars are mean ± SD. Pointing at a mark joins the images of its session.${unique(rows.map((row) => row.image.participant_id)).length < 2 ? "" : ` ${plural(unique(rows.map((row) => row.image.participant_id)).length, "participant")}.`}`;
    return {
      x: { range: [-0.6, there.length - 0.4], ticks: there.map((label, number) => ({ at: number, label })) },
      y: { range: roomy(items.map((item) => item.y)), label: "CSA (mm²)" },
      points: names.map((name) => ({ colour: shade(name), items: items.filter((item) => item.key === name) })),
      shapes: bars(there.map((name, number) => [number, rows.filter((row) => row.image.contrast === name).map((row) => row.area)])),
      trail: (item) => sessionItems.get(item.image.session).slice().sort((one, other) => one.x - other.x),
      said: there.map((name) => `${name} mean ${format(mean(rows.filter((row) => row.image.contrast === name).map((row) => row.area)))} mm²`).join(", "),
    };
  });
  return draw;
};

// SDs over the contrasts of each session in a region, as group_variability.tsv has them.
const spreadIn = (() => {
  const table = tableNamed("variability");
  const rows = table ? rowsOf(table) : [];
  return (region) => {
    if (!rows.length || region === "cord") return [];
    if (rows.length === table.rows) return rows.filter((row) => row.region === region && row.sd_mm2 !== null && row.n_contrasts > 1);
    // The page holds the first rows only: the same again from the areas, which are all here.
    const set = split(rows[0].contrast_set);
    return Array.from(grouped(measured(region).filter((row) => set.includes(row.image.contrast)), (row) => row.image.session))
      .filter(([, part]) => part.length > 1)
      .map(([session, part]) => {
        const values = part.map((row) => row.area);
        return {
          participant_id: sessions.participant_id[session], session_id: sessions.session_id[session], region, contrast_set: rows[0].contrast_set,
          members: part.map((row) => row.image.contrast).join(";"), n_contrasts: part.length, mean_mm2: mean(values), sd_mm2: deviation(values),
        };
      });
  };
})();

const plotSpread = () => {
  const { plot, caption } = frame("SD over contrasts");
  const table = tableNamed("variability");
  const sessionAt = new Map(sessions.participant_id.map((name, place) => [`${name}\t${sessions.session_id[place]}`, place]));
  return () => plot.draw(() => {
    if (!table) return "group_variability.tsv is not there; run the group level again.";
    const here = spreadIn(state.region);
    if (!here.length) return state.region === "cord" ? "cord is another stretch in every image; choose another region." : `No session has two contrasts of the set over ${state.region}: no spread.`;
    const bySession = grouped(shownAreas(), (row) => row.image.session);
    here.sort((one, other) => one.sd_mm2 - other.sd_mm2);
    const items = here.map((row, place) => {
      const own = bySession.get(sessionAt.get(`${row.participant_id}\t${row.session_id}`)) ?? [];
      // A click opens the contrast that is farthest from the others.
      const farthest = own.slice().sort((one, other) => Math.abs(other.area - row.mean_mm2) - Math.abs(one.area - row.mean_mm2))[0];
      return { x: place + 1, y: row.sd_mm2, image: farthest?.image, text: `${row.participant_id}${row.session_id ? ` ${row.session_id}` : ""}\nSD ${format(row.sd_mm2, 2)} mm² of ${split(row.members).join(" ")}${farthest ? `\nfarthest: ${farthest.image.contrast}, ${format(farthest.area)} mm²` : ""}` };
    });
    const sds = here.map((row) => row.sd_mm2);
    caption.textContent = `SD of the CSA over the contrasts of a session (${split(here[0].contrast_set).join(" ")}), ${state.region}; sessions in order of their SD. A click opens the contrast farthest from the mean.`;
    return {
      x: { range: [0, here.length + 1], ticks: niceTicks(1, Math.max(here.length, 2), 6).filter((tick) => tick.at % 1 === 0), label: "session, by its SD" },
      y: { range: [0, roomy(sds)[1]], label: "SD (mm²)" },
      points: [{ colour: SERIES[0], items }],
      shapes: [{ kind: "rule", y: quantile(sds, 0.5), label: `median ${format(quantile(sds, 0.5), 2)}`, dash: "5 4" }],
      said: `Median ${format(quantile(sds, 0.5), 2)} mm².`,
    };
  });
};

const plotSites = () => {
  const which = select("contrast", contrasts, () => draw());
  if (contrasts.includes("T2w")) which.value = "T2w";
  const { plot, caption, legend } = frame("Sites, coloured by vendor", [which]);
  const draw = () => plot.draw(() => {
    const rows = shownAreas().filter((row) => row.image.contrast === which.value && row.image.site);
    legend([]);
    if (!unique(images.map((image) => image.site)).length) return "No site is named: participants.tsv needs a column site (or --site-column), or the sidecars an InstitutionName.";
    if (!rows.length) return `No ${which.value} of a named site has an area of ${state.region}.`;
    const sites = Array.from(grouped(rows, (row) => row.image.site), ([site, part]) => ({ site, vendor: part.find((row) => row.image.manufacturer)?.image.manufacturer ?? "vendor n/a", part }))
      .sort((one, other) => natural.compare(one.vendor, other.vendor) || natural.compare(one.site, other.site));
    const vendors = unique(sites.map((each) => each.vendor));
    legend(vendors.map((vendor) => [vendor, vendorColour(vendor)]));
    const place = new Map(sites.map((each, number) => [each.site, number]));
    const items = rows.map((row) => ({ x: place.get(row.image.site) + 0.5 * jitter(row.image.session), y: row.area, image: row.image, text: `${areaText(row)}\n${row.image.site}, ${row.image.scanner ?? row.image.manufacturer ?? "scanner n/a"}`, vendor: row.image.manufacturer ?? "vendor n/a" }));
    caption.textContent = `CSA of ${which.value} over ${state.region}: a mark an image, bars are mean ± SD of a site, the line is the mean of all. ${plural(sites.length, "site")}, by vendor.`;
    return {
      x: { range: [-0.6, sites.length - 0.4], ticks: sites.map((each, number) => ({ at: number, label: each.site })), turned: sites.length > 6 },
      y: { range: roomy(items.map((item) => item.y)), label: "CSA (mm²)" },
      height: sites.length > 6 ? 390 : 340,
      points: unique(items.map((item) => item.vendor)).map((vendor) => ({ colour: vendorColour(vendor), items: items.filter((item) => item.vendor === vendor) })),
      shapes: [{ kind: "rule", y: mean(rows.map((row) => row.area)), dash: "5 4", thick: 1 }, ...bars(sites.map((each, number) => [number, each.part.map((row) => row.area)]))],
    };
  });
  return draw;
};

const levelName = (number) => (number <= 7 ? `C${number}` : number <= 19 ? `T${number - 7}` : `L${number - 19}`);
// Profiles as lists of [level, area]; means of levels stand for them where there are none.
const profilesOf = (contrast) => {
  const { first, step, image, start, values } = data.profiles;
  const found = [];
  image.forEach((number, place) => {
    if (images[number].contrast !== contrast || (state.hideFailed && failed(images[number]))) return;
    const parts = [[]];
    values[place].forEach((tenths, offset) => {
      if (tenths === null) parts.push([]);
      else parts.at(-1).push([first + step * (start[place] + offset), tenths / 10]);
    });
    found.push({ image: images[number], parts: parts.filter((part) => part.length > 1) });
  });
  if (found.length || !data.profiles.why) return found;
  const levels = new Map();
  areas.image.forEach((number, place) => {
    const level = levelNumber(areas.region[place]);
    if (level === null || !areas.used[place] || images[number].contrast !== contrast) return;
    if (!levels.has(number)) levels.set(number, []);
    levels.get(number).push([level + 0.5, areas.area_mm2[place]]);
  });
  return Array.from(levels, ([number, points]) => ({ image: images[number], parts: [points.sort((one, other) => one[0] - other[0])] }));
};

const plotProfiles = () => {
  const table = tableNamed("profile");
  const reference = table ? rowsOf(table) : [];
  const groups = unique(reference.map((row) => row.group));
  const which = select("contrast", contrasts, () => draw());
  if (contrasts.includes("T2w")) which.value = "T2w";
  // Without named controls nobody's band stands for that of healthy people.
  const named = groups.includes(data.controls);
  const band = select("band of", named || groups.length < 2 ? groups : ["nobody", ...groups], () => draw());
  if (named) band.value = data.controls;
  const { plot, caption, legend } = frame("Profiles over the levels", groups.length > 1 ? [which, band] : [which], true);
  const draw = () => plot.draw(() => {
    const lines = profilesOf(which.value);
    legend([]);
    if (!lines.length) return data.profiles.why ? `No profiles: ${data.profiles.why}.` : `No ${which.value} has vertebral levels; give disc labels.`;
    const here = reference.filter((row) => row.contrast === which.value && (groups.length < 2 || row.group === band.value) && row.reference_low !== null).sort((one, other) => one.level - other.level);
    const items = lines.flatMap((line) => line.parts.flatMap((part) => part.map(([x, y]) => ({ x, y, image: line.image, line, text: `${line.image.label}\n${format(y)} mm² at ${levelName(Math.floor(x))}.${Math.floor((x % 1) * 10)}` }))));
    const all = items.map((item) => item.y);
    const middle = here.map((row) => [row.level + 0.5, row.mean_mm2]);
    const low = Math.floor(Math.min(...items.map((item) => item.x)));
    const high = Math.ceil(Math.max(...items.map((item) => item.x)));
    const suspect = lines.filter((line) => line.image.severity >= 3);
    const some = [[which.value, colourOf(which.value)]];
    if (suspect.length) some.push([`distrust (${suspect.length})`, "var(--s3)"]);
    if (here.length > 1) some.push([`${groups.length > 1 ? `${band.value}: ` : ""}mean and range of 95 % of new people`, "var(--band)", "square"]);
    legend(some);
    caption.textContent = `${plural(lines.length, "image")} of ${which.value}, each interpolated over its levels${data.profiles.why ? ` (means of levels: ${data.profiles.why})` : ""}. ${here.length > 1 ? `The band is that of the study's own ${groups.length > 1 ? `group ${band.value}` : "people"} (${here[0].n_people} at ${levelName(here[0].level)}), from group_profile.tsv; norms of others stand in group_norms.tsv.` : band.value === "nobody" ? "No band: no group is named as the controls (--controls)." : "No band: group_profile.tsv has no range for this contrast (it needs several people)."}`;
    return {
      x: { range: [low, high], ticks: Array.from({ length: high - low }, (_, number) => ({ at: low + number + 0.5, label: levelName(low + number) })), label: "vertebral level" },
      y: { range: roomy(all.concat(here.flatMap((row) => [row.reference_low, row.reference_high]))), label: "CSA (mm²)" },
      height: 400, reach: 16,
      shapes: [
        ...(here.length > 1 ? [{ kind: "band", points: here.map((row) => [row.level + 0.5, row.reference_low, row.reference_high]) }] : []),
        { kind: "line", parts: lines.flatMap((line) => line.parts), colour: colourOf(which.value), opacity: lines.length > 150 ? 0.16 : lines.length > 40 ? 0.35 : 0.75, thick: 1 },
        ...(suspect.length ? [{ kind: "line", parts: suspect.flatMap((line) => line.parts), colour: "var(--s3)", opacity: 0.9, thick: 1.4 }] : []),
        ...(middle.length > 1 ? [{ kind: "line", parts: [middle], colour: "var(--ink)", thick: 2, dash: "6 4" }] : []),
      ],
      targets: items,
      trail: (item) => item.line.parts.map((part) => part.map(([x, y]) => ({ x, y }))),
    };
  });
  return draw;
};

const plotAgreement = () => {
  const sets = [...contrasts, ...contrasts.map((name) => `${name} binary`)];
  const first = select("", sets, () => draw());
  const second = select("minus", sets, () => draw());
  if (pairIn(contrasts, "T1w", "T2w")) [first.value, second.value] = ["T1w", "T2w"];
  else if (contrasts.length > 1) [first.value, second.value] = contrasts;
  else if (contrasts.length) [first.value, second.value] = [`${contrasts[0]} binary`, contrasts[0]];
  const { plot, caption } = frame("Agreement of two (Bland-Altman)", [first, second]);
  const table = tableNamed("agreement");
  const known = table ? rowsOf(table) : [];
  const draw = () => plot.draw(() => {
    const rows = shownAreas();
    const bySession = (set) => {
      const contrast = set.replace(/ binary$/, "");
      const found = new Map();
      for (const row of rows) {
        const value = set === contrast ? row.area : row.binary;
        if (row.image.contrast === contrast && value !== null && !found.has(row.image.session)) found.set(row.image.session, { row, value });
      }
      return found;
    };
    if (first.value === second.value) return "Choose two that differ.";
    const ones = bySession(first.value);
    const others = bySession(second.value);
    // As the table does: of several sessions of a person the earliest that has both.
    const chosen = new Map();
    for (const session of ones.keys()) {
      const who = sessions.person_id?.[session] ?? sessions.participant_id[session];
      if (others.has(session) && (!chosen.has(who) || data.order[session] < data.order[chosen.get(who)])) chosen.set(who, session);
    }
    const items = Array.from(chosen.values(), (session) => {
      const { row, value } = ones.get(session);
      const other = others.get(session);
      const difference = value - other.value;
      // A click opens the one of the two that more asks for a look.
      const image = other.row.image.concern > row.image.concern ? other.row.image : row.image;
      return { x: (value + other.value) / 2, y: difference, image, text: `${image.label}\n${first.value} ${format(value, 2)}, ${second.value} ${format(other.value, 2)}\ndifference ${difference > 0 ? "+" : ""}${format(difference, 2)} mm²` };
    });
    if (!items.length) return `Nobody has both ${first.value} and ${second.value} of ${state.region}.`;
    const differences = items.map((item) => item.y);
    const middle = mean(differences);
    const sd = deviation(differences);
    const softFirst = (name) => (sets.includes(`${name} binary`) && (first.value.endsWith("binary") || second.value.endsWith("binary")) ? `${name} soft` : name);
    const from = (one, other, statistic) => known.find((row) => row.region === state.region && row.contrast === one && row.versus === other && row.statistic === statistic && row.estimate !== null);
    const bias = from(softFirst(first.value), softFirst(second.value), "bias");
    const limits = sd === null || items.length < 3 ? [] : [middle - 1.96 * sd, middle + 1.96 * sd];
    caption.textContent = `${first.value} minus ${second.value} over their mean, ${state.region}, ${plural(items.length, "person").replace("persons", "people")}. Lines: mean difference${limits.length ? " and 95 % limits of agreement" : " (three people or more are needed for limits)"} of what is shown.${bias ? ` Table: bias ${estimate(bias)}${bias.p !== null ? `, p ${small(bias.p)}` : ""}.` : ""}`;
    return {
      x: { range: roomy(items.map((item) => item.x)), label: "mean of the two (mm²)" },
      y: { range: roomy(differences.concat(limits, [0])), label: "difference (mm²)" },
      points: [{ colour: colourOf(first.value.replace(/ binary$/, "")), items }],
      shapes: [{ kind: "rule", y: middle, label: `mean ${format(middle, 2)}` }, ...limits.map((limit, number) => ({ kind: "rule", y: limit, dash: "5 4", label: `${number ? "+" : "−"}1.96 SD: ${format(limit, 2)}` }))],
      said: `Mean difference ${format(middle, 2)} mm².`,
    };
  });
  return draw;
};

// Lines of people over their visits: from the table of change, else from the sessions in their order.
const visitLines = (contrast) => {
  const table = tableNamed("change");
  const imageOf = new Map(measured(state.region).filter((row) => row.image.contrast === contrast).map((row) => [`${row.image.participant_id}\t${row.image.session_id}`, row]));
  const lines = new Map();
  for (const row of table ? rowsOf(table) : []) {
    if (row.contrast !== contrast || row.region !== state.region || row.area_mm2 === null) continue;
    const key = row.person_id ?? row.participant_id;
    const image = (session) => imageOf.get(`${row.participant_id}\t${session}`)?.image;
    if (!lines.has(key)) lines.set(key, [{ x: 0, y: row.baseline_mm2, image: image(row.baseline_session), session: row.baseline_session, row }]);
    lines.get(key).push({ x: row.years, y: row.area_mm2, image: image(row.session_id), session: row.session_id, row, changed: split(row.flags).length > 0 });
  }
  if (lines.size) return lines;
  for (const [who, rows] of grouped(Array.from(imageOf.values()), (row) => sessions.person_id?.[row.image.session] ?? row.image.participant_id))
    if (rows.length > 1) lines.set(who, rows.map((row) => ({ x: null, y: row.area, image: row.image, session: row.image.session_id })));
  return lines;
};

const plotChange = () => {
  const which = select("contrast", contrasts, () => draw());
  if (contrasts.includes("T2w")) which.value = "T2w";
  const scale = select("show", ["mm²", "% of the first"], () => draw());
  const kinds = { nothing: () => "", ...colourings() };
  delete kinds.contrast;
  const by = select("colour by", Object.keys(kinds), () => draw());
  if (tableNamed("change_model")) by.value = unique(rowsOf(tableNamed("change_model")).map((row) => row.group)).length > 1 ? Object.keys(kinds).find((name) => name === data.group_column) ?? "nothing" : "nothing";
  const held = tableNamed("change") ? rowsOf(tableNamed("change")).length : 0;
  const cut = held && held < tableNamed("change").rows ? `The page holds the first ${held} of ${tableNamed("change").rows} rows of group_change.tsv.` : "";
  const { plot, caption, legend } = frame("Change over visits", Object.keys(kinds).length > 1 ? [which, scale, by] : [which, scale], true);
  const draw = () => plot.draw(() => {
    const lines = Array.from(visitLines(which.value)).filter(([, points]) => !(state.hideFailed && points.some((each) => each.image && failed(each.image))));
    if (!lines.length) return unique(sessions.session_id).length > 1 ? `Nobody has ${which.value} of ${state.region} in two sessions.` : "Nobody came twice: the study has one session a participant.";
    const dated = lines.every(([, points]) => points.every((each) => each.x !== null));
    const items = lines.flatMap(([who, points]) => {
      const line = points.map((each, number) => ({
        x: dated ? each.x : number + 1, y: scale.value === "mm²" ? each.y : (100 * each.y) / points[0].y - 100, image: each.image, changed: each.changed,
        text: `${who} ${each.session ?? ""}\n${format(each.y, 2)} mm²${number ? ` (${each.y >= points[0].y ? "+" : ""}${format((100 * each.y) / points[0].y - 100, 1)} %)` : ""}${each.changed ? `\n${each.row.flags.replaceAll(";", ", ").replaceAll("_", " ")}` : ""}`,
      }));
      const known = points.find((each) => each.image);
      line.forEach((item) => { item.line = line; item.key = known ? kinds[by.value](known) : "n/a"; });
      return line;
    });
    const changed = items.filter((item) => item.changed);
    const names = unique(items.map((item) => item.key)).sort(natural.compare);
    const shade = (name) => (by.value === "nothing" ? colourOf(which.value) : by.value === "vendor" ? vendorColour(name) : name === "n/a" ? OTHER : SERIES[names.indexOf(name) % SERIES.length]);
    legend(by.value === "nothing" ? [] : names.map((name) => [name, shade(name)]));
    caption.textContent = `${which.value} over ${state.region}, a line a person${tableNamed("change") ? ", the identical stretch at every visit" : ""}. ${dated ? "Years since the first visit." : "Visits in their order: no dates are known."}${changed.length ? ` Red: another scanner or software than at the first visit (${changed.length}).` : ""}${cut ? ` ${cut}` : ""}`;
    return {
      x: { range: roomy(items.map((item) => item.x), 0.04), label: dated ? "years since the first visit" : "visit", ticks: dated ? null : Array.from({ length: Math.max(...items.map((item) => item.x)) }, (_, number) => ({ at: number + 1, label: String(number + 1) })) },
      y: { range: roomy(items.map((item) => item.y)), label: scale.value === "mm²" ? "CSA (mm²)" : "change (%)" },
      points: [...names.map((name) => ({ colour: shade(name), items: items.filter((item) => item.key === name && !item.changed) })), { colour: "var(--s3)", items: changed }],
      shapes: names.map((name) => ({ kind: "line", parts: unique(items.filter((item) => item.key === name).map((item) => item.line)).map((line) => line.map((item) => [item.x, item.y])), colour: shade(name), opacity: lines.length > 100 ? 0.3 : 0.6 })),
      trail: (item) => item.line,
    };
  });
  return draw;
};

const makePlots = () => {
  const all = [plotContrasts(), plotSpread(), plotSites(), plotAgreement(), plotProfiles(), plotChange()];
  const draw = () => all.forEach((each) => each());
  listen("region", draw);
  listen("hide", draw);
  listen("rating", () => state.hideFailed && draw());
  draw();
};
