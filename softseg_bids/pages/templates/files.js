// Tables that a page writes: kept in this browser, exported as files.
const today = () => {
  const now = new Date();
  return [now.getFullYear(), now.getMonth() + 1, now.getDate()].map((part) => String(part).padStart(2, "0")).join("-");
};

// One cell of a TSV: a line break or tab would begin another.
const cell = (text) => String(text ?? "").replace(/[\s\u0000-\u001f\u007f]+/g, " ").trim() || "n/a";
const tsv = (columns, rows) => [columns, ...rows.map((row) => columns.map((name) => cell(row[name])))].map((row) => row.join("\t")).join("\n") + "\n";

const download = (name, text) => {
  const address = URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" }));
  const link = element("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
};
