// The front end of shc.code_map, after asking.js: codes on a map, the dendrogram of their centers, and a selection.
//
// Points, tree and bits are here, so that marks and colours change at once; the only question, "select", brings the
// images inside a box of the map, or of a class, and the mix of their classes.

const PAD = 14; // pixels around the points
const NEAR = 9; // pixels from the pointer to what it means
const LEAF = 11; // pixels that a name needs
const INK = "#1f1f1f"; // on white, whatever the theme
const [PLUS, MINUS] = ["#e8d75a", "#123570"]; // as in the figures: light for +1, dark for −1

function render(context) {
  const page = frame(context, "shc-code-map", { select: showFound });
  if (!page) return;
  const { first, root, status, everything, ask, close } = page;
  const { names, groups, group_names: groupNames, colors } = first;
  const tree = dendrogram(first.tree, groups);
  const classes = names.length;
  const labels = numbers(first.labels, Uint16Array);
  const layouts = Object.keys(first.places);
  const points = Object.fromEntries(layouts.map((name) => [name, numbers(first.places[name], Float32Array)]));
  const signs = numbers(first.signs, Uint8Array);
  const stride = signs.length / first.bits.length;
  const state = { layout: layouts[0], bit: null, chosen: null, group: null, box: null, page: 0, mix: [] };
  const view = { size: 0, treeWidth: 0, left: PAD }; // in pixels
  let drag = null;

  const sign = (point, bit) => (signs[bit * stride + (point >> 3)] >> (7 - (point & 7))) & 1;
  const classOf = (point) => (point < classes ? point : labels[point - classes]);
  const at = (point, k) => PAD + points[state.layout][2 * point + k] * (view.size - 2 * PAD);
  const find = (changes) => {
    Object.assign(state, { page: 0 }, changes);
    ask("select", { layout: state.layout, box: state.box, chosen: state.chosen, page: state.page });
  };

  // ---------------------------------------------------------------------------------------------- the parts
  const titled = (name, ...parts) => make("div", { class: name }, ...parts);
  const maps = select("map", (layout) => {
    state.layout = layout;
    find({ box: null });
    draw();
  });
  fill(maps, layouts.map((name) => [name, name]), state.layout);
  const coloring = select("colors", (value) => {
    state.bit = value === "" ? null : Number(value);
    draw();
  });
  fill(coloring, [["", groupNames.length ? "super-class" : "none"], ...first.bits], "");
  const choice = select("class", (value) => choose(value === "" ? null : Number(value)));
  fill(choice, [["", "none"], ...byName(names)], "");
  const clear = make("button", { type: "button" }, "Clear box");
  const dots = make("canvas", {
    class: "dots", tabindex: 0, role: "application",
    "aria-label": "map of codes; arrow keys move a box over it, with Shift they change its size",
  });
  const box = make("i", { class: "box", hidden: "" });
  const [pointed, leaf] = [tip(), tip()];
  const branches = make("canvas", { class: "branches", role: "img", "aria-label": "dendrogram of the centers" });
  const mix = make("div", { class: "mix", role: "group", "aria-label": "classes of the selection" });
  const shape = (name, text) => make("span", {}, make("i", { class: name }), text);
  const many = groupNames.map((text, g) => {
    const swatch = make("i", { class: "swatch", style: `background: ${colors[g]}` });
    return make("button", { type: "button", "data-group": g }, swatch, text);
  });
  const legend = titled(
    "legend",
    titled("groups", shape("center", "center"), shape("code", "image code"), ...many),
    titled("bits", shape("plus", "bit is +1"), shape("minus", "bit is −1"), "large: centers")
  );
  const shown = make("div", { class: "images", role: "group", "aria-label": "images of the selection" });
  const turner = pager("images", (step) => find({ page: state.page + step }));
  const treeTitle = make("p", {}, `Tree of centers, 0 to ${tree.highest.toFixed(1)} bits`);
  const treePart = titled("tree", branches, treeTitle, leaf.box);
  const body = titled("body", titled("map", dots, box, pointed.box), treePart, mix);
  everything.append(
    titled("row", label(maps), label(coloring), label(choice), clear),
    body, legend, titled("row", status, turner.box), shown
  );
  root.append(everything);

  // ---------------------------------------------------------------------------------------------- what is drawn
  function fit(width) {
    const narrow = width < 880; // then the classes of the selection stand below the map and its tree
    view.size = Math.max(240, Math.min(480, width < 480 ? width : width - 208));
    view.treeWidth = Math.max(200, Math.min(240, width - view.size - (narrow ? 8 : 220)));
    body.classList.toggle("narrow", narrow);
    view.left = view.size / classes >= LEAF ? 96 : PAD;
    mix.style.maxHeight = narrow ? "" : `${view.size}px`;
    draw();
  }

  /** How opaque a point is: those that are not meant stand back. */
  function look(point) {
    const c = classOf(point);
    if (state.chosen !== null && c !== state.chosen) return 0.3;
    if (state.group !== null && groups[c] !== state.group) return 0.12;
    return state.chosen === null && point >= classes ? 0.75 : 1;
  }

  /** A dot, diamond or square; a bit is told by its shape too. */
  function stamp(pen, x, y, size, point, edge) {
    const plus = state.bit !== null && sign(point, state.bit);
    pen.fillStyle = state.bit === null ? colors[groups[classOf(point)]] : plus ? PLUS : MINUS;
    pen.beginPath();
    if (state.bit === null && point < classes) {
      for (const [dx, dy] of [[0, -1], [1, 0], [0, 1], [-1, 0]]) pen.lineTo(x + 1.25 * size * dx, y + 1.25 * size * dy);
      pen.closePath();
    } else if (state.bit === null || plus) pen.arc(x, y, size, 0, 7);
    else pen.rect(x - 0.85 * size, y - 0.85 * size, 1.7 * size, 1.7 * size);
    pen.fill();
    if (!edge && !plus) return;
    pen.lineWidth = edge || 0.7;
    pen.stroke();
  }

  function draw() {
    if (!view.size) return;
    const pen = sized(dots, view.size, view.size);
    pen.strokeStyle = INK;
    const mine = (point) => state.chosen === classOf(point);
    const level = (point) => (point < classes ? 2 : mine(point)); // centers on top, then marked ones
    const order = [...Array(classes + labels.length).keys()].sort((a, b) => level(a) - level(b));
    for (const point of order) {
      const [size, edge] = point < classes ? (mine(point) ? [8, 2.5] : [5, 1.2]) : mine(point) ? [4, 1.2] : [2.8, 0];
      pen.globalAlpha = look(point);
      stamp(pen, at(point, 0), at(point, 1), size, point, edge);
    }
    pen.globalAlpha = 1;
    if (state.chosen !== null) writeOn(pen, names[state.chosen], at(state.chosen, 0), at(state.chosen, 1), view.size);
    drawTree();
    placeBox();
    showLegend();
  }

  const rowAt = (row) => PAD + (row + 0.5) * ((view.size - 2 * PAD) / classes);
  const heightAt = (height) => view.left + (height / tree.highest) * (view.treeWidth - view.left - PAD);

  function drawTree() {
    const pen = sized(branches, view.treeWidth, view.size);
    drawJoints(pen, tree, heightAt, rowAt, ({ group }) => {
      pen.strokeStyle = group < 0 || !groupNames.length ? "#6b6b6b" : colors[group];
      pen.lineWidth = group < 0 ? 1 : 2.2;
      pen.globalAlpha = state.chosen === null && (state.group === null || state.group === group) ? 1 : 0.35;
    });
    Object.assign(pen, { globalAlpha: 1, strokeStyle: INK, lineWidth: 2 });
    if (state.chosen !== null) drawLineage(pen, tree, state.chosen, heightAt, rowAt);
    const most = Math.max(...state.mix.map(([, count]) => count), 1);
    const counts = new Map(state.box ? state.mix : []); // a larger leaf has more images in the box
    Object.assign(pen, { font: "10px system-ui, sans-serif", textAlign: "right", textBaseline: "middle" });
    const cell = (view.size - 2 * PAD) / classes;
    for (const c of tree.leaves) {
      const y = rowAt(tree.nodes[c].row);
      pen.globalAlpha = look(c) < 0.75 ? 0.4 : 1;
      const more = counts.has(c) ? 4 * Math.sqrt(counts.get(c) / most) : 0;
      stamp(pen, view.left - 4, y, Math.min(2.4, 0.45 * cell + 1) + more, c, more ? 1 : 0);
      pen.fillStyle = INK;
      const text = names[c].length > 14 ? `${names[c].slice(0, 13)}…` : names[c];
      if (view.left > PAD) pen.fillText(text, view.left - 10, y);
    }
    pen.globalAlpha = 1;
    if (state.chosen !== null && view.left === PAD)
      writeOn(pen, names[state.chosen], view.left, rowAt(tree.nodes[state.chosen].row), view.treeWidth);
  }

  function showLegend() {
    for (const part of legend.children) part.hidden = (part.className === "bits") === (state.bit === null);
    for (const button of legend.querySelectorAll("button"))
      button.setAttribute("aria-pressed", Number(button.dataset.group) === state.group);
  }

  function placeBox() {
    const [left, top, right, bottom] = (drag || state.box || [0, 0, 0, 0]).map((v) => PAD + v * (view.size - 2 * PAD));
    box.hidden = !(drag || state.box);
    Object.assign(box.style, { left: `${left}px`, top: `${top}px` });
    Object.assign(box.style, { width: `${right - left}px`, height: `${bottom - top}px` });
    clear.disabled = !state.box;
  }

  function mark() {
    choice.value = state.chosen ?? "";
    for (const item of mix.children) item.setAttribute("aria-pressed", Number(item.dataset.class) === state.chosen);
    for (const item of shown.children) item.classList.toggle("mine", Number(item.dataset.class) === state.chosen);
    root.dataset.chosen = state.chosen ?? "";
    draw();
  }

  function showFound(answer) {
    Object.assign(state, { page: answer.page, mix: answer.mix });
    const most = Math.max(...answer.mix.map(([, count]) => count), 1);
    mix.replaceChildren(...answer.mix.map(([c, count], k) =>
      make("button", { type: "button", "data-class": c, "data-count": count, tabindex: k ? -1 : 0 },
        make("b", { style: `width: ${(100 * count) / most}%; background: ${colors[groups[c]]}` }),
        make("span", {}, names[c]), make("span", {}, String(count)))
    ));
    const here = shown.contains(document.activeElement);
    shown.replaceChildren(...answer.images.map(({ row, label: c, src }, k) =>
      make("button", { type: "button", "data-row": row, "data-class": c, title: names[c], tabindex: k ? -1 : 0 },
        make("img", { src, alt: names[c] }))
    ));
    if (here) shown.children[0]?.focus();
    Object.assign(root.dataset, { total: answer.total, box: JSON.stringify(answer.box) });
    turner.show(answer);
    page.say(answer.told);
    mark();
  }

  // ---------------------------------------------------------------------------------------------- what is done
  function choose(c) {
    state.chosen = c;
    if (state.box) mark(); // the box stays selected
    else find({});
  }

  const inMap = (event) => placeOn(dots, event);
  const inside = (value) => Math.max(-0.05, Math.min(1.05, value)); // of the map, with its edge
  const unit = (pixel) => inside((pixel - PAD) / (view.size - 2 * PAD));
  const boxOf = (a, b) => [Math.min, Math.max].flatMap((end) => [0, 1].map((k) => unit(end(a[k], b[k]))));
  function told(point) {
    const bit = state.bit === null ? "" : `, bit ${state.bit} is ${sign(point, state.bit) ? "+1" : "−1"}`;
    return (point < classes ? "center of " : "") + names[classOf(point)] + bit;
  }
  /** The nearest point to a place, a center before the others; undefined if none is near. */
  function pointAt([x, y], count = classes + labels.length) {
    let [best, found] = [NEAR * NEAR];
    for (let point = 0; point < count; point++) {
      const far = (at(point, 0) - x) ** 2 + (at(point, 1) - y) ** 2;
      if (far < best) [best, found] = [far, point];
      if (point === classes - 1 && found !== undefined) break;
    }
    return found;
  }

  dots.addEventListener("pointerdown", (event) => {
    if (everything.disabled || event.button) return;
    dots.setPointerCapture(event.pointerId);
    drag = boxOf(inMap(event), inMap(event));
    drag.start = inMap(event);
  });
  dots.addEventListener("pointermove", (event) => {
    const here = inMap(event);
    if (drag) drag = Object.assign(boxOf(drag.start, here), { start: drag.start });
    const point = drag ? undefined : pointAt(here);
    pointed.show(point === undefined ? "" : told(point), here, view.size);
    if (drag) placeBox();
  });
  dots.addEventListener("pointerup", (event) => {
    if (!drag) return;
    const here = inMap(event);
    const moved = Math.hypot(here[0] - drag.start[0], here[1] - drag.start[1]) > 4;
    const area = boxOf(...(moved ? [drag.start, here] : [here.map((v) => v - NEAR), here.map((v) => v + NEAR)]));
    drag = null;
    const center = moved ? undefined : pointAt(here, classes);
    if (center !== undefined) choose(center);
    else find({ box: moved || pointAt(here) !== undefined ? area : null });
    placeBox();
  });
  dots.addEventListener("pointercancel", () => placeBox((drag = null)));
  dots.addEventListener("keydown", (event) => {
    const step = everything.disabled ? null : direction(event);
    if (!step) return;
    event.preventDefault();
    const [x0, y0, x1, y1] = state.box || [0.4, 0.4, 0.6, 0.6];
    const [dx, dy] = state.box ? step.map((v) => 0.05 * v) : [0, 0]; // the first key puts it in the middle
    const start = event.shiftKey ? [x0, y0] : [x0 + dx, y0 + dy];
    const ends = [...start, Math.max(start[0] + 0.02, x1 + dx), Math.max(start[1] + 0.02, y1 + dy)];
    const moved = ends.map((value) => Math.round(1e4 * value) / 1e4); // 7e-17 would leave out the points at 0
    if (moved.every((value) => inside(value) === value)) find({ box: moved });
    placeBox();
  });
  const leafAt = ([, y]) => {
    const row = Math.floor(((y - PAD) / (view.size - 2 * PAD)) * classes);
    return tree.leaves[Math.max(0, Math.min(classes - 1, row))];
  };
  branches.addEventListener("pointermove", (event) => {
    const here = placeOn(branches, event);
    leaf.show(names[leafAt(here)], here, view.treeWidth);
  });
  branches.addEventListener("click", (event) => everything.disabled || choose(leafAt(placeOn(branches, event))));
  dots.addEventListener("pointerleave", pointed.hide);
  branches.addEventListener("pointerleave", leaf.hide);
  for (const list of [mix, shown])
    list.addEventListener("click", (event) => {
      const item = event.target.closest("[data-class]");
      if (item) choose(Number(item.dataset.class) === state.chosen ? null : Number(item.dataset.class));
    });
  legend.addEventListener("click", (event) => {
    const button = event.target.closest("[data-group]");
    if (!button) return;
    state.group = state.group === Number(button.dataset.group) ? null : Number(button.dataset.group);
    draw();
  });
  clear.addEventListener("click", () => find({ box: null }));
  arrows(mix, () => {});
  arrows(shown, turner.turn);

  showFound(first.found);
  const rest = whenResized(root, fit);
  return () => {
    rest();
    close();
  };
}

export default { render };
