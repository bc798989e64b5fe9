// What needs looking at: counts that filter, a strip of every scan, and the list of images, worst first.
const isLook = (image) => image.severity >= 2 || ratingOf(image).rating === "fail";
const KINDS = [
  { name: "look", title: "need a look", css: "s3", test: isLook },
  { name: "failed", title: "failed", css: "s3", test: (image) => ["failed", "not run"].includes(image.status) },
  { name: "no-cord", title: "no cord found", css: "s3", test: (image) => image.status === "no_cord" },
  { name: "outliers", title: "stand apart", css: "s3", test: (image) => image.flagList.some((flag) => flag.startsWith("outlier_")) },
  { name: "flagged", title: "flagged", css: "s2", test: (image) => image.status === "measured" && image.flagList.some((flag) => severity(flag) > 1 && !flag.startsWith("outlier_")) },
  { name: "limited", title: "of limited use", css: "s1", test: (image) => image.csa_fit === "limited" || image.csa_fit === "no" },
  { name: "excluded", title: "excluded", css: "s1", test: (image) => image.excluded !== null },
  { name: "rated-fail", title: "failed by me", css: "s3", test: (image) => ratingOf(image).rating === "fail" },
  { name: "unrated", title: "not rated", css: "good", test: (image) => !(image.source in ratings.images) },
  { name: "all", title: "images", css: "good", test: () => true },
];
const ALWAYS = ["look", "all", "unrated"];

const flagMarks = (image) =>
  element("span", {}, image.flagList.flatMap((flag) => [element("span", { class: `flag s${severity(flag)}`, title: meaning(flag) }, flag), " "]));

const ratingMark = (image) => {
  const said = ratingOf(image);
  const part = [said.rank ? `rank ${said.rank}` : "", said.slices ? `slices ${said.slices}` : "", said.levels ?? ""].filter(Boolean).join(" ");
  return element("span", { title: said.reason ?? "" }, said.rating ? element("span", { class: said.rating }, said.rating) : "", said.rating && part ? " " : "", part);
};

const areaOf = (image, region) => {
  const place = areaAt.get(`${image.number}\t${region}`);
  return place === undefined ? null : areas.area_mm2[place];
};

const imageColumns = () => {
  const column = (name, title, more = {}) => ({
    name, title, value: (image) => image[name],
    width: widthOf(title, images.map((image) => image[name]), 6, 26), ...more,
  });
  const some = (name) => images.some((image) => image[name] !== null && image[name] !== undefined);
  return [
    { name: "open", title: "look", value: (image) => image.concern, numeric: false, largestFirst: true, width: 8, help: "sort by how much it asks for a look",
      show: (image) => element("button", { type: "button", "aria-label": `Look at ${image.label}` }, "open") },
    column("participant_id", "participant"),
    some("session_id") ? column("session_id", "session") : null,
    column("contrast", "contrast"),
    some("repeat") ? column("repeat", "repeat") : null,
    { name: "flags", title: "flags", value: (image) => image.flagList.join(";"), show: flagMarks, width: Math.max(10, Math.min(44, ...[Math.max(...images.map((image) => image.flagList.join("  ").length + 3), 8)])), help: "point at a flag for its meaning" },
    { name: "rating", title: "my rating", value: (image) => [ratingOf(image).rating, ratingOf(image).rank].filter(Boolean).join(" ") || null, show: ratingMark, width: 13 },
    { name: "area_mm2", title: "area mm²", value: (image) => areaOf(image, state.region), numeric: true, width: 12, help: "area of the region chosen above" },
    column("coverage", "coverage", { numeric: true, help: "measured share of the cord that is seen" }),
    some("z_contrasts") ? column("z_contrasts", "z contrasts", { numeric: true, largestFirst: true, help: "robust z against the person's other contrasts; farthest region" }) : null,
    some("z_site") ? column("z_site", "z site", { numeric: true, largestFirst: true, help: "robust z among the site's images of this contrast; farthest region" }) : null,
    column("n_flagged", "flagged slices", { numeric: true, largestFirst: true }),
    some("site") ? column("site", "site") : null,
    column("csa_fit", "fit for CSA"),
    column("status", "status"),
    { name: "source", title: "file", value: (image) => image.source, width: widthOf("file", images.map((image) => image.source), 20, 60) },
  ].filter(Boolean);
};

let imageTable = null;
const makeOverview = () => {
  const people = unique(sessions.participant_id).length;
  const sites = unique(images.map((image) => image.site)).length;
  const done = images.filter((image) => image.status === "measured").length;
  byId("summary").textContent = [
    plural(people, "participant"), sessions.participant_id.length !== people ? plural(sessions.participant_id.length, "session") : "",
    `${plural(images.length, "image")}${done < images.length ? `, ${done} measured` : ""}`, contrasts.join(" "), sites > 1 ? plural(sites, "site") : sites ? "" : "no site is named",
    `softseg-bids ${data.version}`, `model ${data.model}`,
  ].filter(Boolean).join(" · ");
  data.notes.forEach((note) => byId("head").append(element("p", { class: "note" }, note)));

  const tools = [element("button", { type: "button", onclick: () => { const list = imageTable.shown(); if (list.length) tell("open", { image: list[0], list }); } }, "View them ", element("kbd", {}, "V"))];
  imageTable = makeTable(byId("images"), {
    caption: "Images", columns: imageColumns(), rows: images, tools, sort: { name: "open", direction: -1 },
    open: (image, list) => tell("open", { image, list }),
  });
  let chosen = images.some(isLook) ? "look" : "all";
  const tiles = () => {
    byId("tiles").replaceChildren(...KINDS.map((kind) => [kind, images.filter(kind.test).length])
      .filter(([kind, count]) => count || ALWAYS.includes(kind.name) || kind.name === chosen)
      .map(([kind, count]) => element("button", { type: "button", class: `tile ${count || kind.css === "good" ? kind.css : "good"}`, "data-kind": kind.name, "aria-pressed": String(kind.name === chosen), onclick: () => choose(kind.name) }, element("b", {}, String(count)), kind.title)));
  };
  const choose = (name) => {
    chosen = name;
    tiles();
    imageTable.show(KINDS.find((kind) => kind.name === name).test);
  };
  choose(chosen);
  listen("rating", () => { tiles(); imageTable.redraw(); });
  listen("region", () => imageTable.redraw());
  makeStrip();
};

// One cell a session and contrast; of several images the worst.
const STATES = [
  { title: "measured", colour: "var(--s0)" }, { title: "with a remark", colour: "var(--s1)" }, { title: "flagged: look", colour: "var(--s2)" },
  { title: "distrust", colour: "var(--s3)" }, { title: "failed or no cord", colour: "var(--s4)" }, { title: "no image", colour: "var(--s5)" },
];
const MOST_CELLS = 1500;
const stateOf = (image) => (image.status !== "measured" ? 4 : image.severity);
const makeStrip = () => {
  if (!images.length) return;
  const worst = new Map();
  for (const image of images) {
    const key = `${image.session}\t${image.contrast}`;
    if (!worst.has(key) || stateOf(image) > stateOf(worst.get(key))) worst.set(key, image);
  }
  const siteOf = new Map(images.filter((image) => image.site).map((image) => [image.session, image.site]));
  const concern = (session) => Math.max(0, ...contrasts.map((name) => { const image = worst.get(`${session}\t${name}`); return image ? 10 * stateOf(image) + image.concern / 100 : 5; }));
  const orders = {
    "by site": (one, other) => natural.compare(siteOf.get(one) ?? "~", siteOf.get(other) ?? "~") || one - other,
    "by participant": (one, other) => one - other,
    "worst first": (one, other) => concern(other) - concern(one) || one - other,
  };
  const several = unique(Array.from(siteOf.values())).length > 1;
  const choice = element("select", { "aria-label": "Order of the strip" }, Object.keys(orders).filter((name) => several || name !== "by site").map((name) => element("option", {}, name)));
  const host = element("div", { class: "canvas low" });
  const legend = element("div", { class: "legend" }, STATES.map((each) => element("span", {}, element("i", { class: "square", style: `background:${each.colour}` }), each.title)));
  const caption = element("figcaption", {});
  byId("strip").append(element("figure", { class: "plot", style: "margin-bottom:12px" }, element("div", { class: "controls" }, element("h3", {}, "Every scan"), choice, legend), host, caption));
  const plot = makePlot(host, "Every scan: a column a session, a row a contrast");
  const draw = () => plot.draw(() => {
    let order = Array.from({ length: sessions.participant_id.length }, (_, place) => place).sort(orders[choice.value]);
    const cut = order.length > MOST_CELLS;
    if (cut) order = order.sort(orders["worst first"]).slice(0, MOST_CELLS);
    const cells = STATES.map(() => []);
    const targets = [];
    const ticks = [];
    order.forEach((session, column) => {
      if (choice.value === "by site" && (!column || siteOf.get(session) !== siteOf.get(order[column - 1]))) ticks.push({ at: column - 0.5, anchor: "start", label: siteOf.get(session) ?? "no site" });
      contrasts.forEach((contrast, row) => {
        const image = worst.get(`${session}\t${contrast}`);
        const place = [column, contrasts.length - 1 - row];
        cells[image ? stateOf(image) : 5].push(place);
        const who = [sessions.participant_id[session], sessions.session_id[session], contrast].filter(Boolean).join(" ");
        targets.push({ x: place[0], y: place[1], image, text: image ? `${image.label}\n${image.flagList.join(", ") || image.status}${image.reason ? `\n${image.reason}` : ""}` : `${who}\nno image` });
      });
    });
    const tallest = Math.max(order.length, Math.ceil(host.clientWidth / 26));
    caption.textContent = cut ? `The ${MOST_CELLS} sessions that most ask for a look, of ${order.length < sessions.participant_id.length ? sessions.participant_id.length : order.length}.` : `${plural(order.length, "session")}, ${choice.value}. A column a session; click one to open it.`;
    return {
      x: { range: [-0.5, tallest - 0.5], ticks: ticks.length > 1 && ticks.length <= 60 ? thinned(ticks, tallest, host.clientWidth) : [], lines: ticks.length > 1 && ticks.length <= 60 },
      y: { range: [-0.5, contrasts.length - 0.5], ticks: contrasts.map((label, row) => ({ at: contrasts.length - 1 - row, label })), plain: true, width: 76 },
      height: 18 * contrasts.length + 38, targets, reach: 30,
      shapes: STATES.map((each, number) => ({ kind: "cells", colour: each.colour, cells: cells[number] })),
    };
  });
  choice.addEventListener("change", draw);
  draw();
};
// Labels that would stand on one another lose their text and keep their line.
const thinned = (ticks, count, width) => {
  let free = -Infinity;
  return ticks.map((tick) => {
    const place = (tick.at / count) * width;
    const room = tick.label.length * 7 + 8;
    if (place < free) return { ...tick, label: "" };
    free = place + room;
    return tick;
  });
};
