// One key walks through what lies on the figures; the choice is kept on the body for the style sheet.
"use strict";
const choices = Array.from(document.querySelectorAll("input[name=view]"));
const show = (choice) => {
  choice.checked = true;
  document.body.dataset.view = choice.value;
};
choices.forEach((choice) => choice.addEventListener("change", () => show(choice)));
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.key.toLowerCase() !== "m") return;
  const now = choices.findIndex((choice) => choice.checked);
  const step = event.shiftKey ? choices.length - 1 : 1;
  show(choices[(now + step) % choices.length]);
});
// A link to the folders opens what they stand in.
const folders = document.getElementById("folders");
document.querySelectorAll('a[href="#folders"]').forEach((link) => link.addEventListener("click", () => { folders.open = true; }));
