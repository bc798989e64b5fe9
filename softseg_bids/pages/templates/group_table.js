// A table that sorts, filters, and only builds the rows that are seen.
const ROW = 30;
const SPARE = 12;
const PRINTED = 80;

// A filter as a test of rows: words, column:word, -word, column<number.
const filterOf = (text, columns) => {
  const names = new Map(columns.map((column) => [column.name.toLowerCase(), column]));
  const terms = text.trim().match(/(?:[^\s"]+|"[^"]*")+/g) ?? [];
  const tests = terms.map((raw) => {
    const not = raw.length > 1 && raw[0] === "-" && !/^-[\d.]/.test(raw);
    const term = (not ? raw.slice(1) : raw).replaceAll('"', "").toLowerCase();
    const compared = /^([^<>=:]+)(<=|>=|<|>|=|:)(.*)$/.exec(term);
    const column = compared && names.get(compared[1]);
    let test;
    if (column && [":", "="].includes(compared[2])) {
      test = (row) => {
        const shown = String(column.value(row) ?? "n/a").toLowerCase();
        return compared[2] === "=" ? shown === compared[3] : shown.includes(compared[3]);
      };
    } else if (column && compared[3] !== "" && !Number.isNaN(Number(compared[3]))) {
      const bound = Number(compared[3]);
      const compare = { "<": (value) => value < bound, ">": (value) => value > bound, "<=": (value) => value <= bound, ">=": (value) => value >= bound }[compared[2]];
      test = (row) => typeof column.value(row) === "number" && compare(column.value(row));
    } else {
      test = (row) => columns.some((each) => String(each.value(row) ?? "").toLowerCase().includes(term));
    }
    return not ? (row) => !test(row) : test;
  });
  return (row) => tests.every((test) => test(row));
};

// Numbers by size, texts as people sort them; missing values always last.
const compareBy = (column, direction) => (one, other) => {
  const [first, second] = [column.value(one), column.value(other)];
  if (first === null || first === undefined || second === null || second === undefined)
    return (first === null || first === undefined ? 1 : 0) - (second === null || second === undefined ? 1 : 0);
  return direction * (typeof first === "number" && typeof second === "number" ? first - second : natural.compare(String(first), String(second)));
};

// columns: [{name, title, help, value(row), show(row) -> node or text, width (ch), numeric}]
const makeTable = (host, { caption, columns, rows, open = null, sort = null, tools = [], note = "" }) => {
  let shown = rows;
  let only = () => true;
  let order = sort;
  const search = element("input", { type: "search", placeholder: "filter: words, contrast:T2w, coverage<0.9", "aria-label": `Filter ${caption}` });
  const count = element("span", { class: "quiet", role: "status" });
  const head = element("tr");
  const body = element("tbody");
  const table = element("table", { class: "grid", "aria-label": caption }, element("colgroup", {}, columns.map((column) => element("col", { style: `width:${column.width ?? 12}ch` }))), element("thead", {}, head), body);
  table.style.width = `${columns.reduce((sum, column) => sum + (column.width ?? 12), 0)}ch`;
  const scroller = element("div", { class: "scroller", tabindex: "0", role: "region", "aria-label": caption }, table);
  host.append(element("div", { class: "frame" }, element("div", { class: "tools" }, search, count, ...tools, note ? element("span", { class: "quiet" }, note) : null), scroller));

  columns.forEach((column) => {
    const button = element("button", { type: "button", title: column.help ?? column.title }, column.title);
    button.addEventListener("click", () => {
      const again = order && order.name === column.name;
      order = { name: column.name, direction: again ? -order.direction : column.numeric && column.largestFirst ? -1 : 1 };
      update();
    });
    head.append(element("th", { scope: "col", class: column.numeric ? "num" : null }, button));
  });

  const line = (row, place) => {
    const made = element("tr", { class: open ? "opens" : null, "aria-rowindex": String(place + 2) }, columns.map((column) => {
      const content = column.show ? column.show(row) : column.numeric ? brief(column.value(row)) : (column.value(row) ?? "n/a");
      return element("td", { class: column.numeric ? "num" : null, title: typeof content === "string" ? content : null }, content);
    }));
    if (open) made.addEventListener("click", (event) => { if (!event.target.closest("a, input")) open(row, shown); });
    return made;
  };
  let drawn = [-1, -1];
  const draw = (force = false, all = 0) => {
    const first = all ? 0 : Math.max(0, Math.floor(scroller.scrollTop / ROW) - SPARE);
    const last = Math.min(shown.length, all || first + Math.ceil((scroller.clientHeight || 600) / ROW) + 2 * SPARE);
    if (!force && drawn[0] === first && drawn[1] === last) return;
    const focused = body.contains(document.activeElement) ? document.activeElement.closest("tr")?.getAttribute("aria-rowindex") : null;
    drawn = [first, last];
    const gap = (height) => (height > 0 && !all ? element("tr", { "aria-hidden": "true" }, element("td", { class: "gap", colspan: String(columns.length), style: `height:${height}px` })) : null);
    body.replaceChildren(...[gap(first * ROW), ...shown.slice(first, last).map((row, place) => line(row, first + place)), gap((shown.length - last) * ROW)].filter(Boolean));
    if (!shown.length) body.append(element("tr", {}, element("td", { class: "none", colspan: String(columns.length) }, rows.length ? "No row fits." : "No rows.")));
    if (focused) body.querySelector(`[aria-rowindex="${focused}"] button`)?.focus({ preventScroll: true });
  };
  const update = () => {
    const fits = filterOf(search.value, columns);
    shown = rows.filter((row) => only(row) && fits(row));
    if (order) {
      const column = columns.find((each) => each.name === order.name);
      shown = shown.sort(compareBy(column, order.direction));
    }
    Array.from(head.children).forEach((cellOf, place) => {
      const sorted = order && order.name === columns[place].name;
      cellOf.setAttribute("aria-sort", sorted ? (order.direction > 0 ? "ascending" : "descending") : "none");
    });
    table.setAttribute("aria-rowcount", String(shown.length + 1));
    count.textContent = shown.length === rows.length ? plural(rows.length, "row") : `${shown.length} of ${plural(rows.length, "row")}`;
    scroller.scrollTop = 0;
    draw(true);
  };
  search.addEventListener("input", update);
  scroller.addEventListener("scroll", () => draw());
  addEventListener("resize", () => draw());
  addEventListener("beforeprint", () => draw(true, PRINTED));
  addEventListener("afterprint", () => draw(true));
  update();
  return {
    search,
    shown: () => shown,
    redraw: () => draw(true),
    show: (test) => { only = test; update(); },
  };
};

// Widths from what stands in the first rows.
const widthOf = (title, values, least = 5, most = 34) =>
  Math.min(most, Math.max(least, title.length + 3, ...values.slice(0, 200).map((value) => (value === null ? 3 : brief(value).length + 2))));
