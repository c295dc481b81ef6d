// What the front ends of our widgets share; the widget's own file follows in the same module. No library, no network.
//
// A question is a message {id, kind, ...}, and its answer carries the same id. One question of each kind is under way;
// of those that come meanwhile only the last is asked afterwards, so that a slider cannot run ahead of the kernel.

const PATIENCE = 2000; // milliseconds until a missing answer is told
const GONE = "The kernel is gone: run the cell again.";
const SLOW = "No answer yet: the kernel is busy, or it is gone (then run the cell again).";

/** A widget's frame: its message line, its questions, and what happens when the kernel is gone.
 *
 * `shows` has a function of each kind's answers, which is also told the question that is asked next. All controls
 * belong in `everything`, one switch that disables them. Null where there is only a problem to tell.
 */
function frame({ model, el }, name, shows) {
  const first = model.get("first");
  const status = make("p", { class: "status", role: "status" }); // announced when it changes
  const root = make("div", { class: `shc-asking ${name}` }, status);
  const everything = make("fieldset", {});
  const me = Math.random().toString(36).slice(2); // several views may show one model, and all hear its answers
  const lines = Object.fromEntries(Object.entries(shows).map(([kind, show]) => [kind, { show }]));
  let count = 0;
  let answers = 0;
  let focused = null; // what is disabled loses the focus, and has it back after an answer that was only late
  el.append(root);
  if (first.problem) return void say(first.problem, true);

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

  function say(text, wrong = false) {
    status.textContent = wrong ? `⚠ ${text}` : text;
    status.classList.toggle("wrong", wrong);
  }

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

  function stop() {
    for (const line of Object.values(lines)) clearTimeout(line.clock);
  }

  function die() {
    stop();
    disable(GONE);
  }

  root.addEventListener("keydown", (event) => {
    // JupyterLab reads letters as commands (d d deletes the cell); Ctrl+S, Shift+Enter and Escape stay its own
    const lab = event.ctrlKey || event.altKey || event.metaKey || event.key === "Escape";
    if (!lab && !(event.shiftKey && event.key === "Enter")) event.stopPropagation();
  });
  model.on("msg:custom", hear);
  model.on("comm_live_update", die); // ipywidgets: the kernel was restarted or shut down
  const close = () => {
    model.off("msg:custom", hear);
    model.off("comm_live_update", die);
    stop();
  };
  return { first, root, status, everything, me, ask, say, close };
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
    const one = what.replace(/ies$/, "y").replace(/s$/, "");
    const all = `${total.toLocaleString("en")} ${total === 1 ? one : what}`;
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

/** The numbers of a table that Python sent as bytes, for instance as a Float32Array. */
function numbers(view, Kind) {
  return new Kind(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
}

/** Give a canvas its size on the page, as fine as the screen is; what is drawn is measured in pixels of the page. */
function sized(canvas, width, height) {
  const fine = window.devicePixelRatio || 1;
  Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
  Object.assign(canvas, { width: Math.round(width * fine), height: Math.round(height * fine) });
  const pen = canvas.getContext("2d");
  pen.scale(fine, fine);
  return pen;
}

/** Call `draw(width)` now and whenever the box has another width; returns what ends it. */
function whenResized(box, draw) {
  let width = 0;
  const watch = new ResizeObserver(() => {
    if (box.clientWidth && box.clientWidth !== width) draw((width = box.clientWidth));
  });
  watch.observe(box);
  return () => watch.disconnect();
}

/** Classes as options of a list, sorted by name. */
function byName(names) {
  return names.map((name, c) => [c, name]).sort((a, b) => a[1].localeCompare(b[1]));
}

/** A box of words beside the pointer, inside a box of this width; none without a text. */
function tip() {
  const box = make("div", { class: "tip", "aria-hidden": "true", hidden: "" });
  const show = (text, [x, y], width) => {
    box.hidden = !text;
    box.textContent = text;
    const flip = x > width / 2; // the words stay inside
    Object.assign(box.style, { left: `${x + (flip ? -12 : 12)}px`, top: `${y + 14}px` });
    box.style.translate = flip ? "-100%" : "0";
  };
  return { box, show, hide: () => (box.hidden = true) };
}

/** Where a pointer is on an element, in pixels. */
function placeOn(box, event) {
  const area = box.getBoundingClientRect();
  return [event.clientX - area.left, event.clientY - area.top];
}

/** The direction of an arrow key, [x, y] in pages' sense; null for other keys, and for those with Ctrl, Alt or Meta. */
function direction(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return null;
  return { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }[event.key] || null;
}

/** Words beside a place on a canvas of some width, in ink on a white edge. */
function writeOn(pen, text, x, y, width) {
  pen.font = "600 12px system-ui, sans-serif";
  const flip = x + pen.measureText(text).width + 12 > width;
  const place = [text, x + (flip ? -10 : 10), y];
  Object.assign(pen, { textAlign: flip ? "right" : "left", textBaseline: "middle", lineJoin: "round", lineWidth: 4 });
  pen.strokeStyle = "#fff";
  pen.strokeText(...place);
  pen.fillStyle = pen.strokeStyle = "#1f1f1f";
  pen.fillText(...place);
}
