// The front end of shc.explorer, after asking.js: it shows what Python computed, and asks.
//
// Of the two questions "sheet" is a page of queries, and "find" a page of a code's neighbors.

const RELATIONS = ["other", "related", "same"]; // class names in explorer.css
const MARKS = ["✗", "~", "✓"];
const TOLD = ["other", "same super-class", "same class"];

function render(context) {
  const page = frame(context, "shc-explorer", { sheet: showSheet, find: showFound });
  if (!page) return;
  const { first, root, status, everything, me, ask, say, close } = page;
  const state = { split: first.splits[0], chosen: {}, sheetPage: 0, asked: null, code: null, radius: null, page: 0 };

  // ---------------------------------------------------------------------------------------------- what is asked for
  const askSheet = (changes) => {
    Object.assign(state, changes);
    ask("sheet", { split: state.split, chosen: state.chosen, page: state.sheetPage });
  };
  const askFound = (changes) => {
    Object.assign(state, { page: 0 }, changes);
    ask("find", { ...state.asked, code: state.code, radius: state.radius, page: state.page });
  };

  // ---------------------------------------------------------------------------------------------- the parts
  const splits = select("queries of", (value) => askSheet({ split: value, sheetPage: 0 }));
  fill(splits, first.splits.map((name) => [name, name]), state.split);
  const filters = new Map(
    first.filters.map((name) => [name, select(name, (value) => choose(name, Number(value)))])
  );
  const sheet = make("div", { class: "sheet", role: "listbox", "aria-label": "queries" });
  const sheetPager = pager("queries", (step) => askSheet({ sheetPage: state.sheetPage + step }));
  const picture = make("img", { alt: "" });
  const title = make("strong", {});
  const reset = make("button", { type: "button", class: "reset" }, "Reset code");
  const bits = make("div", { class: "bits", role: "group" });
  const nearest = make("input", { type: "radio", name: `mode ${me}`, value: "nearest", checked: "" });
  const within = make("input", { type: "radio", name: `mode ${me}`, value: "within" });
  const start = Math.min(4, first.bits);
  const radius = make("input", { type: "range", min: 0, max: first.bits, value: start, "aria-label": "radius in bits" });
  const told = make("output", {});
  const list = make("ol", { class: "neighbors", "aria-label": "neighbors" });
  const listPager = pager("neighbors", (step) => askFound({ page: state.page + step }));
  const legend = make("div", { class: "legend" });
  for (const relation of [2, 1, 0])
    legend.append(make("span", { class: RELATIONS[relation] }, make("i", {}), `${MARKS[relation]} ${TOLD[relation]}`));
  legend.append(make("span", { class: "strip" }, make("b", { class: "plus" }), "+1"));
  legend.append(make("span", { class: "strip" }, make("b", { class: "minus" }), "−1"));
  legend.append(make("span", { class: "strip" }, make("b", { class: "plus differs" }), "bit differs from the query's"));

  everything.append(
    make("div", { class: "row" }, label(splits), ...[...filters.values()].map(label), sheetPager.box),
    sheet,
    make(
      "div", { class: "query" },
      picture,
      make("div", {}, make("div", { class: "row" }, title, reset), bits)
    ),
    make(
      "div", { class: "row" },
      make("label", {}, nearest, `the ${first.neighbors} nearest`),
      make("label", {}, within, "all within"), radius, told, listPager.box
    ),
    status,
    legend,
    list
  );
  root.append(everything);

  // ---------------------------------------------------------------------------------------------- what is shown
  function showSheet(answer) {
    Object.assign(state, { split: answer.split, sheetPage: answer.page, chosen: {} });
    for (const [name, box] of filters) {
      const filter = answer.filters.find((other) => other.name === name);
      const choice = filter && (filter.options.length > 1 || filter.value >= 0);
      box.parentElement.hidden = !choice; // one value leaves nothing to choose
      if (!choice) continue;
      const options = filter.options.map(([value, text, images]) => [value, `${text} (${images.toLocaleString("en")})`]);
      fill(box, [[-1, "all"], ...options], filter.value);
      if (filter.value >= 0) state.chosen[name] = filter.value;
    }
    const inside = sheet.contains(document.activeElement);
    sheet.replaceChildren(
      ...answer.queries.map(({ row, name, src }) =>
        make("button", { type: "button", role: "option", "data-row": row, title: `${row}: ${name}`, tabindex: -1 },
          make("img", { src, alt: name }))
      )
    );
    markQuery();
    if (inside) sheet.children[0]?.focus(); // the keyboard stays in the sheet when its page is turned
    sheetPager.show(answer);
  }

  function showFound(answer, next) {
    const known = { split: answer.split, query: answer.query };
    if (!next) Object.assign(state, { asked: known, code: answer.code, radius: answer.radius, page: answer.page });
    state.own = answer.own;
    picture.src = answer.src;
    picture.alt = title.textContent = `${answer.split} ${answer.query}: ${answer.name}`;
    root.dataset.query = answer.query;
    markQuery();
    if (state.code) showBits(); // else another query was clicked meanwhile
    nearest.checked = state.radius === null;
    within.checked = !nearest.checked;
    showRadius();
    list.replaceChildren(...answer.neighbors.map((neighbor) => card(neighbor, answer.code)));
    if (list.children[0]) list.children[0].tabIndex = 0;
    root.dataset.total = answer.total;
    listPager.show(answer);
    say(answer.told);
  }

  function card({ row, bits: apart, relation, name, src, code }, asked) {
    const far = `${apart} bit${apart === 1 ? "" : "s"}`;
    const differs = [...code].map((sign, k) => (sign === asked[k] ? "" : " differs"));
    const strip = make("div", { class: "strip", "aria-hidden": "true" });
    strip.append(...differs.map((word, k) => make("b", { class: (code[k] === "+" ? "plus" : "minus") + word })));
    return make(
      "li",
      { class: RELATIONS[relation], "data-row": row, "data-bits": apart, "data-relation": relation, "data-code": code,
        tabindex: -1, title: name, "aria-label": `${name}, ${TOLD[relation]}, ${far}` },
      make("img", { src, alt: "" }), make("span", { class: "far" }, `${MARKS[relation]} ${far}`),
      make("span", { class: "name" }, name), strip
    );
  }

  function showBits() {
    if (bits.children.length !== state.code.length)
      bits.replaceChildren(...[...state.code].map((_, k) => make("button", { type: "button", "data-bit": k, tabindex: k ? -1 : 0 })));
    const flipped = [...state.code].filter((sign, k) => sign !== state.own[k]).length;
    bits.setAttribute("aria-label", `code of the query, ${state.code.length} bits, ${flipped} flipped by hand`);
    reset.disabled = !flipped;
    [...bits.children].forEach((button, k) => {
      const plus = state.code[k] === "+";
      const other = state.code[k] !== state.own[k];
      button.textContent = plus ? "+" : "−";
      button.className = (plus ? "plus" : "minus") + (other ? " differs" : "");
      button.setAttribute("aria-pressed", plus);
      button.setAttribute("aria-label", `bit ${k}: ${plus ? "+1" : "−1"}${other ? ", flipped by hand" : ""}`);
    });
  }

  function showRadius() {
    if (state.radius !== null) radius.value = state.radius;
    told.textContent = `${radius.value} bit${radius.value === "1" ? "" : "s"}`;
    radius.setAttribute("aria-valuetext", told.textContent);
  }

  function markQuery() {
    const items = [...sheet.children];
    const here = state.asked && state.split === state.asked.split ? String(state.asked.query) : "";
    for (const item of items) item.setAttribute("aria-selected", item.dataset.row === here);
    const stop = items.find((item) => item.dataset.row === here) || items[0]; // where Tab enters
    for (const item of items) item.tabIndex = item === stop ? 0 : -1;
  }

  // ---------------------------------------------------------------------------------------------- what is done
  function choose(name, value) {
    askSheet({ chosen: { ...state.chosen, [name]: value }, sheetPage: 0 });
  }

  sheet.addEventListener("click", (event) => {
    const item = event.target.closest("[data-row]");
    if (item) askFound({ asked: { split: state.split, query: Number(item.dataset.row) }, code: null });
  });
  bits.addEventListener("click", (event) => {
    const bit = event.target.closest("[data-bit]");
    if (!bit || !state.code) return;
    const code = [...state.code];
    code[bit.dataset.bit] = code[bit.dataset.bit] === "+" ? "-" : "+";
    state.code = code.join("");
    showBits(); // at once; the neighbors follow
    askFound({});
  });
  reset.addEventListener("click", () => askFound({ code: null }));
  nearest.addEventListener("change", () => askFound({ radius: null }));
  within.addEventListener("change", () => askFound({ radius: Number(radius.value) }));
  radius.addEventListener("input", () => {
    within.checked = true;
    askFound({ radius: Number(radius.value) });
    showRadius();
  });
  arrows(sheet, sheetPager.turn);
  arrows(bits, () => {});
  arrows(list, listPager.turn);

  showSheet(first.sheet);
  showFound(first.found);
  return close;
}

export default { render };
