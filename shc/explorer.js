// The front end of shc.explorer: it shows what Python computed, and asks. No library, no build step, no network.
//
// A question is a message {id, kind, ...}, and its answer carries the same id: "sheet" is a page of queries, "find" a
// page of a code's neighbors. One question of each kind is under way; of those that come meanwhile only the last is
// asked afterwards, so that a slider cannot run ahead of the kernel.

const PATIENCE = 2000; // milliseconds until a missing answer is told
const GONE = "The kernel is gone: run the cell again.";
const SLOW = "No answer yet: the kernel is busy, or it is gone (then run the cell again).";
const RELATIONS = ["other", "related", "same"]; // class names in explorer.css
const MARKS = ["✗", "~", "✓"];
const TOLD = ["other", "same super-class", "same class"];

function render({ model, el }) {
  const first = model.get("first");
  const status = make("p", { class: "status", role: "status" }); // announced when it changes
  const root = make("div", { class: "shc-explorer" }, status);
  el.append(root);
  if (first.problem) return say(first.problem, true);

  // ---------------------------------------------------------------------------------------------- what is asked for
  const state = { split: first.splits[0], chosen: {}, sheetPage: 0, asked: null, code: null, radius: null, page: 0 };
  const me = Math.random().toString(36).slice(2); // several views may show one model, and all hear its answers
  const lines = { sheet: { show: showSheet }, find: { show: showFound } };
  let count = 0;
  let answers = 0;

  function ask(kind, question) {
    const line = lines[kind];
    if (line.id) return void (line.next = question);
    line.id = `${me} ${++count}`;
    line.since = performance.now();
    line.clock = setTimeout(() => disable(SLOW), PATIENCE);
    try {
      model.send({ ...question, kind, id: line.id });
    } catch {
      die(); // its channel is closed
    }
  }

  function hear(answer) {
    const kind = Object.keys(lines).find((key) => lines[key].id && lines[key].id === answer.id);
    if (!kind) return;
    const line = lines[kind];
    const next = line.next;
    clearTimeout(line.clock);
    line.id = line.next = null;
    enable();
    if (answer.problem) say(answer.problem, true);
    else line.show(answer, next);
    root.dataset.ms = (performance.now() - line.since).toFixed(1);
    root.dataset.answers = ++answers;
    if (next) ask(kind, next);
  }

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

  const everything = make("fieldset", {}); // one switch disables all controls
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
  root.addEventListener("keydown", (event) => {
    // JupyterLab reads letters as commands (d d deletes the cell); Ctrl+S, Shift+Enter and Escape stay its own
    const lab = event.ctrlKey || event.altKey || event.metaKey || event.key === "Escape";
    if (!lab && !(event.shiftKey && event.key === "Enter")) event.stopPropagation();
  });
  arrows(sheet, sheetPager.turn);
  arrows(bits, () => {});
  arrows(list, listPager.turn);

  // ---------------------------------------------------------------------------------------------- a dead kernel
  function say(text, wrong = false) {
    status.textContent = wrong ? `⚠ ${text}` : text;
    status.classList.toggle("wrong", wrong);
  }
  let focused = null; // what is disabled loses the focus, and has it back after an answer that was only late
  function disable(text) {
    if (everything.contains(document.activeElement)) focused = document.activeElement;
    everything.disabled = true;
    root.classList.add("dead");
    say(text, true);
  }
  function enable() {
    if (!everything.disabled) return;
    everything.disabled = false;
    focused?.focus({ preventScroll: true });
    root.classList.remove("dead");
  }
  function die() {
    for (const line of Object.values(lines)) clearTimeout(line.clock);
    disable(GONE);
  }
  showSheet(first.sheet);
  showFound(first.found);
  model.on("msg:custom", hear);
  model.on("comm_live_update", die); // ipywidgets: the kernel was restarted or shut down
  return () => {
    model.off("msg:custom", hear);
    model.off("comm_live_update", die);
    for (const line of Object.values(lines)) clearTimeout(line.clock);
  };
}

// ------------------------------------------------------------------------------------------------ pieces of a page

/** A new element with attributes and children; text is never read as HTML. */
function make(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function select(name, changed) {
  const box = make("select", { "data-name": name });
  box.addEventListener("change", () => changed(box.value));
  return box;
}

function fill(box, options, value) {
  box.replaceChildren(...options.map(([key, text]) => make("option", { value: key }, text)));
  box.value = value;
}

function label(box) {
  return make("label", {}, box.dataset.name, box);
}

/** Buttons that turn the pages of a sheet; `turn(±1)` does the same and says whether there is such a page. */
function pager(what, go) {
  const back = make("button", { type: "button", "aria-label": `previous page of ${what}` }, "‹");
  const text = make("span", {});
  const on = make("button", { type: "button", "aria-label": `next page of ${what}` }, "›");
  const box = make("div", { class: "pager" }, back, text, on);
  const turn = (step) => !(step < 0 ? back : on).disabled && go(step);
  back.addEventListener("click", () => turn(-1));
  on.addEventListener("click", () => turn(1));
  const show = ({ page, pages, total }) => {
    const all = `${total.toLocaleString("en")} ${what}`;
    text.textContent = pages > 1 ? `${all}, page ${page + 1} of ${pages.toLocaleString("en")}` : all;
    back.disabled = page <= 0;
    on.disabled = page >= pages - 1;
    back.hidden = on.hidden = pages < 2;
  };
  return { box, show, turn };
}

/** Arrow keys, Home and End move the focus among the children of a box, PageUp and PageDown turn its page. */
function arrows(box, turn) {
  box.addEventListener("keydown", (event) => {
    const items = [...box.children];
    const at = items.indexOf(event.target);
    if (at < 0 || event.ctrlKey || event.altKey || event.metaKey) return;
    const columns = items.filter((item) => item.offsetTop === items[0].offsetTop).length;
    const last = items.length - 1;
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: at + columns, ArrowUp: at - columns, Home: 0, End: last };
    if (event.key in to) {
      const item = items[to[event.key]];
      if (item) {
        items[at].tabIndex = -1; // Tab comes back to where the focus was
        item.tabIndex = 0;
        item.focus();
      }
    } else if (event.key === "PageDown" || event.key === "PageUp") turn(event.key === "PageDown" ? 1 : -1);
    else return;
    event.preventDefault();
  });
}

export default { render };
