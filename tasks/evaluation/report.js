// Shows the examples that the three choices ask for, some at a time. Without it every example is on the page.
const AT_ONCE = 20;
const cards = [...document.querySelectorAll(".example")];
const choices = [...document.querySelectorAll("#choices select")];
const more = document.getElementById("more");
let limit = AT_ONCE;

function show() {
  const wanted = cards.filter((card) => choices.every(({ name, value }) => !value || card.dataset[name] === value));
  const shown = new Set(wanted.slice(0, limit));
  for (const card of cards) card.hidden = !shown.has(card);
  document.getElementById("count").textContent = wanted.length
    ? `${shown.size} of ${wanted.length.toLocaleString("en")} examples`
    : "no such example";
  more.hidden = shown.size === wanted.length;
}

for (const choice of choices) choice.addEventListener("change", () => { limit = AT_ONCE; show(); });
more.addEventListener("click", () => { limit += AT_ONCE; show(); });
document.getElementById("choices").hidden = false;
show();
