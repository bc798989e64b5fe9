// A plot in SVG: axes, one path for all points of a colour, hover, click and keys.
const SVG = "http://www.w3.org/2000/svg";
const drawn = (tag, attributes, ...children) => {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null && value !== undefined) made.setAttribute(name, value);
  made.append(...children);
  return made;
};

const niceTicks = (low, high, count = 6) => {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const ticks = [];
  for (let at = Math.ceil(low / step - 1e-9) * step; at <= high + 1e-9 * step; at += step) ticks.push(Math.abs(at) < 1e-9 * step ? 0 : at);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return ticks.map((at) => ({ at, label: at.toFixed(digits) }));
};
const roomy = (values, part = 0.05) => {
  const [low, high] = values.reduce(([least, most], value) => [Math.min(least, value), Math.max(most, value)], [Infinity, -Infinity]);
  if (!Number.isFinite(low)) return [0, 1];
  const room = (high - low) * part || Math.abs(high) * 0.05 || 1;
  return [low - room, high + room];
};
// Always the same scatter for the same image.
const jitter = (number) => {
  const mixed = Math.imul(number + 1, 2654435761) >>> 0;
  return mixed / 4294967296 - 0.5;
};
const at = (value) => value.toFixed(1);

// spec: {x: {range, ticks, label, turned}, y: {range, ticks, label}, height,
//        shapes: [{kind: band|line|rule|bar|cells, ...}], points: [{colour, items: [{x, y, image, text}]}],
//        trail(item) -> items to join while it is pointed at, size}
const makePlot = (host, name) => {
  const tip = element("div", { class: "tip", role: "status", hidden: true });
  const svg = drawn("svg", { tabindex: "0", role: "img", "aria-label": name });
  host.append(svg, tip);
  let spec = null;
  let items = [];
  let scale = null;
  let current = -1;
  let marker = null;

  const render = () => {
    const width = Math.max(host.clientWidth, 260);
    const height = spec.height ?? 340;
    const margin = { left: spec.y.width ?? 52, right: 12, top: spec.top ?? 10, bottom: spec.x.turned ? 92 : spec.x.label ? 44 : 28 };
    const inner = { width: width - margin.left - margin.right, height: height - margin.top - margin.bottom };
    const [x0, x1] = spec.x.range;
    const [y0, y1] = spec.y.range;
    const x = (value) => margin.left + ((value - x0) / (x1 - x0)) * inner.width;
    const y = (value) => margin.top + inner.height - ((value - y0) / (y1 - y0)) * inner.height;
    scale = { x, y };
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("height", height);
    svg.setAttribute("aria-label", `${name}. ${plural(items.length, "mark")}. ${spec.said ?? ""}`);
    const axes = drawn("g", {});
    for (const tick of spec.y.ticks ?? niceTicks(y0, y1)) {
      if (!spec.y.plain) axes.append(drawn("path", { class: "axis", d: `M${margin.left} ${at(y(tick.at))}h${inner.width}` }));
      axes.append(drawn("text", { x: margin.left - 7, y: at(y(tick.at) + 4), "text-anchor": "end" }, tick.label));
    }
    for (const tick of spec.x.ticks ?? niceTicks(x0, x1, Math.max(3, Math.min(10, width / 90)))) {
      const place = at(x(tick.at));
      const low = height - margin.bottom;
      if (spec.x.lines) axes.append(drawn("path", { class: "axis", d: `M${place} ${margin.top}V${low}` }));
      axes.append(spec.x.turned
        ? drawn("text", { x: place, y: low + 12, "text-anchor": "end", transform: `rotate(-50 ${place} ${low + 12})` }, tick.label.length > 16 ? `${tick.label.slice(0, 15)}…` : tick.label)
        : drawn("text", { x: place, y: low + 16, "text-anchor": tick.anchor ?? "middle" }, tick.label));
    }
    if (spec.x.label) axes.append(drawn("text", { class: "faint", x: margin.left + inner.width / 2, y: height - 6, "text-anchor": "middle" }, spec.x.label));
    if (spec.y.label) axes.append(drawn("text", { class: "faint", transform: `translate(12 ${margin.top + inner.height / 2}) rotate(-90)`, "text-anchor": "middle" }, spec.y.label));
    const marks = drawn("g", { class: "marks" });
    const over = drawn("g", {});
    const under = drawn("g", {});
    const half = Math.min(9, 0.35 * (x(1) - x(0)));
    const path = (points) => points.map(([px, py], place) => `${place && !Number.isNaN(px) ? "L" : "M"}${at(x(px))} ${at(y(py))}`).join("");
    for (const shape of spec.shapes ?? []) {
      if (shape.kind === "band") under.append(drawn("path", { d: `${path(shape.points.map(([px, low]) => [px, low]))}${path(shape.points.map(([px, , high]) => [px, high]).reverse()).replace("M", "L")}Z`, style: `fill:${shape.colour ?? "var(--band)"}`, opacity: shape.opacity ?? 1 }));
      if (shape.kind === "line") marks.append(drawn("path", { d: shape.parts.map(path).join(""), fill: "none", style: `stroke:${shape.colour}`, "stroke-width": shape.thick ?? 1.2, opacity: shape.opacity ?? 1, "stroke-dasharray": shape.dash }));
      if (shape.kind === "rule") over.append(
        drawn("path", { class: "rule", d: `M${margin.left} ${at(y(shape.y))}h${inner.width}`, "stroke-dasharray": shape.dash, "stroke-width": shape.thick ?? 1.2 }),
        drawn("text", { x: width - margin.right, y: at(y(shape.y) - 5), "text-anchor": "end", class: "halo" }, shape.label ?? ""));
      if (shape.kind === "bar") over.append(drawn("path", { class: "rule", "stroke-width": 2, d: `M${at(x(shape.x) - half)} ${at(y(shape.y))}h${at(2 * half)}M${at(x(shape.x))} ${at(y(shape.low))}V${at(y(shape.high))}` }));
      if (shape.kind === "cells") under.append(drawn("path", { style: `fill:${shape.colour}`, d: shape.cells.map(([px, py]) => {
        const [left, right] = [x(px - 0.5), x(px + 0.5)];
        const gap = right - left > 5 ? 1 : right - left > 3 ? 0.5 : 0;
        return `M${left.toFixed(2)} ${at(y(py + 0.42))}H${(right - gap).toFixed(2)}V${at(y(py - 0.42))}H${left.toFixed(2)}Z`;
      }).join("") }));
    }
    const size = spec.size ?? (items.length > 1500 ? 4 : items.length > 300 ? 5.5 : 7.5);
    for (const group of spec.points ?? []) marks.append(drawn("path", { d: group.items.map((item) => `M${at(x(item.x))} ${at(y(item.y))}h.01`).join(""), fill: "none", style: `stroke:${group.colour}`, "stroke-width": group.size ?? size, "stroke-linecap": "round", opacity: group.opacity ?? (items.length > 300 ? 0.7 : 0.9) }));
    // What is not to be trusted is seen at once, whatever its colour.
    const suspect = (spec.points ?? []).flatMap((group) => group.items).filter((item) => item.image?.severity >= 3);
    if (suspect.length) over.append(drawn("path", { class: "suspect", d: suspect.map((item) => `M${at(x(item.x) - 6)} ${at(y(item.y))}a6 6 0 1 0 12 0a6 6 0 1 0 -12 0`).join("") }));
    marker = drawn("g", {});
    svg.replaceChildren(under, axes, marks, over, marker);
  };

  const point = (place) => {
    current = place;
    marker.replaceChildren();
    svg.classList.toggle("hot", place >= 0);
    tip.hidden = place < 0;
    if (place < 0) return;
    const item = items[place];
    const joined = spec.trail ? spec.trail(item) : [];
    for (const part of joined.length && Array.isArray(joined[0]) ? joined : [joined])
      if (part.length > 1) marker.append(drawn("path", { class: "trail", d: part.map((each, index) => `${index ? "L" : "M"}${at(scale.x(each.x))} ${at(scale.y(each.y))}`).join("") }));
    marker.append(drawn("circle", { class: "ring", cx: at(scale.x(item.x)), cy: at(scale.y(item.y)), r: 6 }));
    tip.textContent = item.text;
    const box = svg.viewBox.baseVal;
    const factor = svg.clientWidth / box.width || 1;
    const left = scale.x(item.x) * factor;
    const wide = tip.offsetWidth;
    tip.style.left = `${Math.max(0, Math.min(left + 12, host.clientWidth - wide - 2))}px`;
    tip.style.top = `${Math.max(0, scale.y(item.y) * factor - tip.offsetHeight - 12)}px`;
  };
  const nearest = (event) => {
    const frame = svg.getBoundingClientRect();
    const factor = svg.viewBox.baseVal.width / frame.width;
    const [px, py] = [(event.clientX - frame.left) * factor, (event.clientY - frame.top) * factor];
    let best = -1;
    let least = (spec.reach ?? 22) ** 2;
    items.forEach((item, place) => {
      const away = (scale.x(item.x) - px) ** 2 + (scale.y(item.y) - py) ** 2;
      if (away < least) [best, least] = [place, away];
    });
    return best;
  };
  const openCurrent = () => {
    const item = items[current];
    if (item?.image) tell("open", { image: item.image, list: unique(items.map((each) => each.image)) });
  };
  svg.addEventListener("pointermove", (event) => spec && scale && point(nearest(event)));
  svg.addEventListener("pointerleave", () => spec && scale && point(-1));
  svg.addEventListener("click", (event) => { if (!spec || !scale) return; point(nearest(event)); openCurrent(); });
  svg.addEventListener("blur", () => spec && scale && point(-1));
  svg.addEventListener("keydown", (event) => {
    if (!items.length) return;
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) point(current < 0 ? (step > 0 ? 0 : items.length - 1) : (current + step + items.length) % items.length);
    else if (event.key === "Enter") openCurrent();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  // Drawn when it comes near the window: a page of plots opens at once.
  let near = false;
  let waiting = null;
  const now = () => {
    if (!near || !waiting) return;
    const made = waiting();
    waiting = null;
    current = -1;
    tip.hidden = true;
    host.classList.toggle("low", typeof made === "string" || made.height < 320);
    if (typeof made === "string") {
      spec = null;
      items = [];
      svg.style.display = "none";
      host.querySelector(".why")?.remove();
      host.append(element("p", { class: "why" }, made));
      return;
    }
    host.querySelector(".why")?.remove();
    svg.style.display = "";
    spec = made;
    // In the order of the x axis, for the keys.
    items = (spec.points ?? []).flatMap((group) => group.items).concat(spec.targets ?? []).sort((one, other) => one.x - other.x || one.y - other.y);
    render();
  };
  new IntersectionObserver((entries) => { if (entries.some((entry) => entry.isIntersecting)) { near = true; now(); } }, { rootMargin: "400px" }).observe(host);
  let width = 0;
  new ResizeObserver(() => {
    if (host.clientWidth === width) return;
    width = host.clientWidth;
    if (spec && near) render();
  }).observe(host);
  addEventListener("beforeprint", () => { near = true; now(); });
  return { draw: (build) => { waiting = build; now(); }, items: () => items };
};
