// The front end of shc.class_map, after asking.js: a heat map of classes whose cells answer.
//
// The table of S is here, so that pointing tells s at once; the only question, "pair", brings images of two classes.

const WORDS = 128; // pixels left of the map for names
const BAND = 12; // pixels of a band of super-classes, with the gap beside it
const LEAST = 11; // pixels that a name needs
const REST = 150; // milliseconds that the pointer rests on a cell until images are asked for
const SIDE = 250; // pixels for the images beside the map

function render(context) {
  const page = frame(context, "shc-class-map", { pair: showPair });
  if (!page) return;
  const { first, root, status, everything, ask, close } = page;
  const { names, groups, group_names: groupNames, colors, orders } = first;
  const count = names.length;
  const S = numbers(first.S, Float32Array);
  const apart = first.apart && numbers(first.apart, Uint16Array);
  const scale = numbers(first.scale, Uint8Array);
  const { low } = first;
  const along = (s) => Math.max(0, Math.min(1, (s - low) / (1 - low))); // 0 to 1 on the scale of colors
  const state = { pair: null, order: Object.keys(orders)[0], shows: "S", size: 0, clock: 0, looked: false };
  let order = [];
  let place = []; // of every class in the order

  const similarity = (a, b) => (state.shows === "S" ? S[a * count + b] : 1 - (2 * apart[a * count + b]) / first.bits);

  // ---------------------------------------------------------------------------------------------- the parts
  const sorting = select("order", (name) => sort(name));
  fill(sorting, Object.keys(orders).map((name) => [name, name]), state.order);
  const showing = select("colors", (value) => {
    state.shows = value;
    draw();
  });
  fill(showing, [["S", "class similarity S"], ["centers", "centers, HᵀH/K"]], "S");
  const lists = ["row", "column"].map((name, k) => {
    const box = select(name, (value) => pick(k ? state.pair[0] : Number(value), k ? Number(value) : state.pair[1]));
    fill(box, byName(names), 0);
    return box;
  });
  const jumps = first.pairs.map(([text, a, b]) => {
    const button = make("button", { type: "button", "data-jump": text }, text);
    button.addEventListener("click", () => pick(a, b));
    return button;
  });
  const cells = make("canvas", {
    class: "cells", tabindex: 0, role: "application",
    "aria-label": `heat map of ${count} classes; arrow keys go from cell to cell, the lists of rows and columns too`,
  });
  const [bandLeft, bandTop] = [make("canvas", {}), make("canvas", {})];
  const words = make("div", { class: "words", "aria-hidden": "true" });
  const [across, down, mark, mirror] = ["across", "down", "mark", "mirror"].map((name) => make("i", { class: name }));
  const pointed = tip();
  const map = make("div", { class: "map" }, words, bandLeft, bandTop, cells, across, down, mirror, mark, pointed.box);
  const strength = make("strong", { class: "s" });
  const bits = make("span", { class: "bits" });
  const pointer = make("i", {});
  const steps = [...Array(17).keys()].map((k) => color(scale, Math.min(255, k * 16)));
  const bar = make("div", { class: "bar", style: `background: linear-gradient(90deg, ${steps})` }, pointer);
  const faces = [make("div", { class: "face" }), make("div", { class: "face" })];
  const side = make(
    "div", { class: "side" },
    make("div", { class: "row" }, strength, bits),
    bar,
    make("div", { class: "ends" }, ...[`${low > -1 ? "≤ " : ""}${String(low).replace("-", "−")} unlike`, "alike 1"].map((text) => make("span", {}, text))),
    ...faces
  );
  const body = make("div", { class: "body" }, map, side);
  everything.append(
    make("div", { class: "row" }, label(sorting), ...(apart ? [label(showing)] : []), ...lists.map(label)),
    make("div", { class: "row jumps" }, ...(jumps.length ? ["Look at the pair that is"] : []), ...jumps),
    body,
    status, // below the map, which must not move while the pointer is on it
    ...(first.without ? [make("p", { class: "without" }, first.without)] : [])
  );
  root.append(everything);

  // ---------------------------------------------------------------------------------------------- what is shown
  function fit(width) {
    const room = width - WORDS - BAND - (width > 720 ? SIDE + 24 : 0);
    const fine = window.devicePixelRatio || 1;
    const most = Math.max(200, Math.min(560, room)) * fine;
    const cell = Math.max(1, Math.floor(most / count)); // whole pixels of the screen, or cells are of unequal size
    state.size = Math.min(cell * count, Math.max(most, Math.min(count, room * fine))) / fine;
    body.classList.toggle("narrow", width <= 720);
    Object.assign(map.style, { width: `${WORDS + BAND + state.size}px`, height: `${BAND + state.size}px` });
    draw();
  }

  function sort(name) {
    state.order = name;
    order = orders[name];
    place = [];
    order.forEach((c, k) => (place[c] = k));
    draw();
  }

  function draw() {
    if (!state.size) return;
    const small = document.createElement("canvas"); // a pixel for every cell
    small.width = small.height = count;
    const pixels = new ImageData(count, count);
    for (let i = 0, at = 0; i < count; i++)
      for (let j = 0; j < count; j++, at += 4) {
        const level = 3 * Math.round(255 * along(similarity(order[i], order[j])));
        pixels.data.set([scale[level], scale[level + 1], scale[level + 2], 255], at);
      }
    small.getContext("2d").putImageData(pixels, 0, 0);
    const pen = sized(cells, state.size, state.size);
    pen.imageSmoothingEnabled = cells.width < count; // else crisp
    pen.drawImage(small, 0, 0, state.size, state.size);
    drawBands();
    putMarks(state.pair);
  }

  function drawBands() {
    const cell = state.size / count;
    bandLeft.hidden = bandTop.hidden = !groupNames.length;
    const [left, top] = [sized(bandLeft, BAND - 3, state.size), sized(bandTop, state.size, BAND - 3)];
    const stretches = []; // of one super-class, or of a single class where names have room
    order.forEach((c, k) => {
      left.fillStyle = top.fillStyle = colors[groups[c]] || "transparent";
      left.fillRect(0, k * cell, BAND, cell + 0.5);
      top.fillRect(k * cell, 0, cell + 0.5, BAND);
      const last = stretches[stretches.length - 1];
      if (cell < LEAST && last && groups[last.c] === groups[c]) last.end = k + 1;
      else stretches.push({ c, start: k, end: k + 1 });
    });
    words.replaceChildren();
    for (const { c, start, end } of stretches) {
      const text = cell >= LEAST ? names[c] : groupNames[groups[c]];
      if (!text || (end - start) * cell < LEAST) continue;
      words.append(make("span", { title: text, style: `top: ${BAND + ((start + end) / 2) * cell}px` }, text));
    }
  }

  /** Put the marks on a pair's cell, and on its mirror image. */
  function putMarks(pair) {
    if (!pair) return;
    const cell = state.size / count;
    const side = Math.max(cell, 7);
    const [y, x] = pair.map((c) => (place[c] + 0.5) * cell);
    const put = (box, left, top) =>
      Object.assign(box.style, { left: `${WORDS + BAND + left}px`, top: `${BAND + top}px` });
    for (const box of [mark, mirror]) Object.assign(box.style, { width: `${side}px`, height: `${side}px` });
    put(mark, x - side / 2, y - side / 2);
    put(mirror, y - side / 2, x - side / 2);
    mirror.hidden = Math.abs(x - y) < 2 * side; // beside the diagonal it would hide the other
    put(across, 0, y);
    put(down, x, 0);
    across.style.width = down.style.height = `${state.size}px`;
  }

  function showPair(answer) {
    const { a, b, s, bits: far, told } = answer;
    Object.assign(root.dataset, { a, b, s, bits: far ?? "" });
    strength.textContent = `s = ${signed(s)}`;
    bits.textContent = far === null ? "" : `${far} of ${first.bits} bits apart`;
    pointer.style.left = `${100 * along(s)}%`;
    answer.faces.forEach(({ name, group, src }, k) => {
      const swatch = make("i", { class: "swatch", style: `background: ${colors[groups[k ? b : a]] || "transparent"}` });
      const heading = make("p", {}, ...(group ? [swatch] : []), make("strong", {}, name), group ? ` ${group}` : "");
      const images = src.map((url) => make("img", { src: url, alt: name }));
      faces[k].replaceChildren(heading, make("div", { class: "images" }, ...images));
    });
    page.say(told);
  }

  // ---------------------------------------------------------------------------------------------- what is done
  function pick(a, b) {
    state.pair = [a, b];
    state.looked = false;
    clearTimeout(state.clock);
    lists.forEach((box, k) => (box.value = state.pair[k]));
    putMarks(state.pair);
    ask("pair", { a, b });
  }

  function cellAt(event) {
    const [j, i] = placeOn(cells, event).map((pixel) => Math.floor((pixel / state.size) * count));
    return order[i] === undefined || order[j] === undefined ? null : [order[i], order[j]];
  }

  cells.addEventListener("pointermove", (event) => {
    const pair = everything.disabled ? null : cellAt(event);
    clearTimeout(state.clock);
    if (!pair) return void pointed.hide();
    const [a, b] = pair;
    const far = apart ? `, ${apart[a * count + b]} bits` : "";
    const text = a === b ? names[a] : `${names[a]} – ${names[b]}: ${signed(S[a * count + b])}${far}`;
    const [x, y] = placeOn(cells, event);
    pointed.show(text, [x + WORDS + BAND, y + BAND], state.size + 2 * WORDS);
    state.clock = setTimeout(() => look(pair), REST);
  });
  cells.addEventListener("pointerleave", () => {
    pointed.hide();
    clearTimeout(state.clock);
    if (state.looked) look(state.pair); // back to what was picked
    state.looked = false;
  });
  function look([a, b]) {
    if (everything.disabled || (root.dataset.a === String(a) && root.dataset.b === String(b))) return;
    state.looked = true;
    ask("pair", { a, b });
  }
  cells.addEventListener("click", (event) => {
    const pair = everything.disabled ? null : cellAt(event);
    if (pair) pick(...pair);
  });
  cells.addEventListener("keydown", (event) => {
    const step = everything.disabled ? null : direction(event);
    if (!step) return;
    event.preventDefault();
    const to = state.pair.map((c, k) => order[Math.max(0, Math.min(count - 1, place[c] + step[1 - k]))]);
    pick(...to);
  });

  state.pair = [first.pair.a, first.pair.b];
  lists.forEach((box, k) => (box.value = state.pair[k]));
  sort(state.order);
  showPair(first.pair);
  const rest = whenResized(root, fit);
  return () => {
    clearTimeout(state.clock);
    rest();
    close();
  };
}

function color(scale, level) {
  return `rgb(${scale.slice(3 * level, 3 * level + 3).join(" ")})`;
}

function signed(value) {
  return value.toFixed(2).replace("-", "−");
}

export default { render };
