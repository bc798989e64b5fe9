// The data of the group's page: packed columns made readable, and what the parts of the page share.
// A packed column as an array: numbers and null, or texts and null.
const unpack = (column) =>
  !column ? [] : column.n ? column.n : column.i.map((place) => (place < 0 ? null : column.s[place]));

const unpackAll = (columns) => Object.fromEntries(Object.entries(columns).map(([name, column]) => [name, unpack(column)]));

const split = (text) => (text ? String(text).split(";") : []);

const unique = (values) => Array.from(new Set(values.filter((value) => value !== null && value !== undefined)));

const natural = new Intl.Collator("en", { numeric: true });

// Enough digits for a number of unknown size.
const brief = (value) => {
  if (value === null || value === undefined) return "n/a";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return String(value);
  return Math.abs(value) >= 100 ? value.toFixed(1) : Math.abs(value) >= 0.1 ? String(Number(value.toFixed(2))) : String(Number(value.toPrecision(2)));
};

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const deviation = (values) => {
  const middle = mean(values);
  return values.length > 1 ? Math.sqrt(values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1)) : null;
};
// Linear between the order statistics, as R's type 7.
const quantile = (values, part) => {
  const sorted = Float64Array.from(values).sort();
  const place = (sorted.length - 1) * part;
  const low = Math.floor(place);
  return sorted[low] + (place - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
};

const sessions = unpackAll(data.sessions);
const severity = (flag) => (data.flags[flag] ? data.flags[flag][0] : 2);
const meaning = (flag) => (data.flags[flag] ? data.flags[flag][1] : "see the column's description in the table's JSON");

// One object an image, with its session's names beside.
const images = (() => {
  const columns = unpackAll(data.images);
  return columns.session.map((session, number) => {
    const image = { number };
    for (const [name, values] of Object.entries(columns)) image[name] = values[number];
    image.participant_id = sessions.participant_id[session];
    image.session_id = sessions.session_id[session];
    const flags = unique(split(image.flags));
    if (image.status === "no_cord" && !flags.includes("no_cord")) flags.push("no_cord");
    if (image.csa_fit === "no") flags.push("coarse");
    if (image.csa_fit === "limited") flags.push("limited");
    if (image.excluded) flags.push("excluded");
    image.flagList = flags.sort((one, other) => severity(other) - severity(one));
    image.severity = Math.max(0, ...flags.map(severity));
    const apart = Math.max(Math.abs(image.z_contrasts ?? 0), Math.abs(image.z_site ?? 0));
    // Worst first; among equals more flags, then the farthest from the others.
    image.concern = 100 * image.severity + (image.status === "measured" ? 0 : 90) + 10 * Math.min(flags.filter((flag) => severity(flag) > 1).length, 5) + Math.min(apart, 9.9);
    image.label = [image.participant_id, image.session_id, image.contrast, image.repeat].filter(Boolean).join(" ");
    return image;
  });
})();

const contrasts = Object.keys(data.contrasts).filter((name) => images.some((image) => image.contrast === name));
const colourOf = (contrast) => data.contrasts[contrast] ?? "#5b636c";

// Areas, looked up by image and region.
const areas = unpackAll(data.areas);
const regionsOf = new Map();
const areaAt = new Map();
areas.image.forEach((image, place) => {
  const region = areas.region[place];
  areaAt.set(`${image}\t${region}`, place);
  if (!regionsOf.has(image)) regionsOf.set(image, []);
  regionsOf.get(image).push(place);
});
const regionOrder = (name) => {
  const first = ["vert-C2:C3", "disc-C2C3", "pmj-50", "common", "cord"].indexOf(name);
  return first < 0 ? 3.5 : first;
};
const levelNumber = (region) => {
  const found = /^vert-([CTL])(\d+)$/.exec(region);
  return found ? Number(found[2]) + { C: 0, T: 7, L: 19 }[found[1]] : null;
};
const regions = unique(areas.region).sort((one, other) => regionOrder(one) - regionOrder(other) || (levelNumber(one) ?? 0) - (levelNumber(other) ?? 0));

// Images whose area of a region entered statistics, with that area.
const measured = (region) => {
  const found = [];
  areas.image.forEach((number, place) => {
    if (areas.region[place] === region && areas.used[place])
      found.push({ image: images[number], area: areas.area_mm2[place], binary: areas.area_binary_mm2[place] });
  });
  return found;
};

const tableNamed = (name) => data.tables.find((table) => table.name === name);
const rowsOf = (table) => {
  const columns = unpackAll(table.data);
  const names = Object.keys(columns);
  const count = names.length ? columns[names[0]].length : 0;
  return Array.from({ length: count }, (_, row) => Object.fromEntries(names.map((name) => [name, columns[name][row]])));
};

// What the parts tell each other: the region that is shown, a rating that changed.
const listeners = {};
const listen = (what, call) => (listeners[what] ??= []).push(call);
const tell = (what, value) => (listeners[what] ?? []).forEach((call) => call(value));
const state = { region: regions.find((name) => areas.used.some((used, place) => used && areas.region[place] === name)) ?? regions[0] ?? "", hideFailed: false };
