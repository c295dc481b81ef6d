"use strict"; // all of this is an addition: without it the page is plain and complete
const fill = (element, ...inside) => { element.append(...inside); return element; };
const make = (tag, values, ...inside) => fill(Object.assign(document.createElement(tag), values), ...inside);

// A column's head sorts its table: numbers from the largest, texts from A; a second click turns the order round.
const number = (text) => parseFloat(text.replaceAll("−", "-").replace(/(\d),(?=\d{3})/g, "$1"));
const missing = (text) => text === "" || text === "–";
for (const table of document.querySelectorAll("table:has(thead + tbody)")) {
  const rows = [...table.tBodies[0].rows];
  if (table.tHead.rows.length !== 1 || rows.length < 2 || table.querySelector("[colspan], [rowspan]")) continue;
  [...table.tHead.rows[0].cells].forEach((head, column, heads) => {
    const text = (row) => row.cells[column].textContent.trim();
    const numeric = rows.every((row) => missing(text(row)) || !isNaN(number(text(row))));
    const compare = (a, b) => (numeric ? number(a) - number(b) : a.localeCompare(b));
    const button = make("button", { type: "button", className: "sort" }, ...head.childNodes);
    if (!button.textContent.trim()) button.ariaLabel = "first column";
    head.append(button);
    button.onclick = () => {
      const falling = head.ariaSort ? head.ariaSort === "ascending" : numeric;
      const order = (a, b) => missing(text(a)) - missing(text(b)) || (falling ? -1 : 1) * compare(text(a), text(b));
      table.tBodies[0].append(...rows.sort(order));
      heads.forEach((other) => { other.ariaSort = other === head ? (falling ? "descending" : "ascending") : null; });
    };
  });
}

// A picture opens over the page: Esc closes, arrow keys go on, a click on it shows every pixel.
const pictures = [...document.querySelectorAll("figure img")];
const big = make("img", { onclick: () => zoom.classList.toggle("pixels") });
const told = make("p");
const press = (textContent, ariaLabel, onclick) => make("button", { type: "button", textContent, ariaLabel, onclick });
const keys = [press("‹", "Previous picture", () => show(at - 1)), press("›", "Next picture", () => show(at + 1))];
keys.push(press("×", "Close", () => zoom.close()));
const zoom = make("dialog", { className: "zoom", ariaLabel: "Picture" }, make("div", {}, big), told, ...keys);
let at = 0;
const show = (index) => {
  at = (index + pictures.length) % pictures.length;
  [big.src, big.alt, told.textContent] = [pictures[at].src, pictures[at].alt, pictures[at].alt];
  zoom.classList.remove("pixels");
};
zoom.onkeydown = (event) => show(at + ({ ArrowLeft: -1, ArrowRight: 1 }[event.key] ?? 0));
zoom.onclick = (event) => event.target === big.parentNode && zoom.close();
zoom.onclose = () => pictures[at].parentNode.focus();
pictures.forEach((picture, index) => {
  const button = make("button", { type: "button", className: "enlarge", title: "Enlarge" });
  button.onclick = () => { show(index); zoom.showModal(); };
  picture.replaceWith(button);
  button.append(picture);
});
document.body.append(zoom);

// One button folds all code, or unfolds it.
const folds = [...document.querySelectorAll("details.code")];
const fold = make("button", { type: "button", className: "fold" });
const tell = () => { fold.textContent = folds.some((each) => each.open) ? "Hide all code" : "Show all code"; };
fold.onclick = () => { const open = folds.some((each) => each.open); folds.forEach((each) => { each.open = !open; }); };
folds.forEach((each) => { each.ontoggle = tell; });
if (folds.length) document.querySelector("header nav").append(fold);
tell();
