// A dendrogram for a canvas, between asking.js and the widget's own file.

/** The nodes of a tree of joints [node, node, height], leaves first, and the leaves from top to bottom.
 *
 * A node has a height, a row (a joint's is the middle of its two), a group, −1 where several meet, and `up`, its joint.
 */
function dendrogram(joints, groups) {
  const count = groups.length;
  const nodes = groups.map((group) => ({ height: 0, group }));
  for (const [a, b, height] of joints) {
    const [one, two] = [nodes[a], nodes[b]];
    nodes.push({ height, a, b, group: one.group === two.group ? one.group : -1 });
    one.up = two.up = nodes.length - 1;
  }
  const leaves = [];
  const visit = [nodes.length - 1];
  while (visit.length) {
    const node = visit.pop();
    if (node < count) leaves.push(node);
    else visit.push(nodes[node].b, nodes[node].a);
  }
  leaves.forEach((c, k) => (nodes[c].row = k));
  for (const node of nodes.slice(count)) node.row = (nodes[node.a].row + nodes[node.b].row) / 2;
  return { nodes, leaves, highest: nodes[nodes.length - 1].height || 1 };
}

/** Draw all joints: `x(height)` and `y(row)` are places on the page; `look(joint)` sets the pen before each. */
function drawJoints(pen, { nodes, leaves }, x, y, look) {
  for (const joint of nodes.slice(leaves.length)) {
    const [one, two] = [nodes[joint.a], nodes[joint.b]];
    look(joint);
    pen.beginPath();
    pen.moveTo(x(one.height), y(one.row));
    for (const { row } of [one, two]) pen.lineTo(x(joint.height), y(row));
    pen.lineTo(x(two.height), y(two.row));
    pen.stroke();
  }
}

/** Draw the way of a leaf to the root. */
function drawLineage(pen, { nodes }, leaf, x, y) {
  pen.beginPath();
  pen.moveTo(x(0), y(nodes[leaf].row));
  for (let node = nodes[leaf]; node.up !== undefined; node = nodes[node.up]) {
    const { height, row } = nodes[node.up];
    pen.lineTo(x(height), y(node.row));
    pen.lineTo(x(height), y(row));
  }
  pen.stroke();
}

