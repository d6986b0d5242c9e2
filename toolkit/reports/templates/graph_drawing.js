// Draws graphs of one prompt over the same columns: positions from left to right, layers from bottom to top.

const STEP = 12; // pixels between nodes of a cell
const IN_A_LINE = 6;
const ALL_COLUMNS = 120; // longer prompts show only positions with nodes or edges
const MOST_EDGES = 4000;
const ROWS_HEIGHT = 300; // of all rows, where few layers leave each room enough
const ROW = { least: 18, most: 36 };
const LABELS = { above: 110, below: 76, right: 76 };
const NAMED = 6; // strongest sources and targets whose names are drawn
const GROUP_ROLES = ["first", "second", "third", "fourth"];

function draw(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// Where columns and rows lie, from all parts that are shown, so that they are the same in each.
function layout(graphs, parts) {
  const cells = parts.map(({ nodes }) => Map.groupBy(nodes, (node) => `${node.row} ${node.position}`));
  const columns = new Map();
  const lines = new Map();
  for (const position of columnsOf(graphs, parts)) columns.set(position, { width: STEP + 6 });
  for (const nodes of cells.flatMap((each) => [...each.values()])) {
    const { row, position, kind } = nodes[0];
    const across = kind === "logit" ? nodes.length * 1.5 : Math.min(nodes.length, IN_A_LINE);
    if (columns.has(position)) columns.get(position).width = Math.max(columns.get(position).width, across * STEP + 6);
    if (kind !== "logit") lines.set(row, Math.max(lines.get(row) ?? 1, Math.ceil(nodes.length / IN_A_LINE)));
  }
  let x = 8;
  let last = -1;
  for (const [position, column] of columns) {
    if (position > last + 1) x += STEP + 6; // a gap: positions are left out
    column.gap = position > last + 1;
    column.x = x + column.width / 2;
    x += column.width;
    last = position;
  }
  const layers = Math.max(...graphs.map((graph) => graph.layers));
  return { cells, columns, ...heights(layers, lines), width: x + LABELS.right };
}

function columnsOf(graphs, parts) {
  const length = Math.max(...graphs.map(({ tokens }) => tokens.length));
  if (length <= ALL_COLUMNS) return Array.from({ length: length + 1 }, (_, place) => place - 1);
  const used = new Set([-1, length - 1]);
  for (const { nodes, edges } of parts) {
    for (const node of nodes) if (node.kind !== "token") used.add(node.position);
    for (const { source } of edges) used.add(source.position);
  }
  return [...used].sort((a, b) => a - b);
}

function heights(layers, lines) {
  const rows = [];
  const least = Math.min(ROW.most, Math.max(ROW.least, ROWS_HEIGHT / (layers + 2)));
  let y = LABELS.above;
  for (let row = layers + 1; row >= 0; row -= 1) {
    const height = Math.max(least, (lines.get(row) ?? 1) * STEP + 10);
    rows[row] = y + height / 2;
    y += height;
  }
  return { rows, bottom: y, height: y + LABELS.below };
}

function placeNodes({ cells, columns, rows }, part) {
  for (const nodes of cells[part].values()) {
    const { row, position, kind } = nodes[0];
    const column = columns.get(position);
    const inLine = kind === "logit" ? nodes.length : IN_A_LINE;
    const step = kind === "logit" ? STEP * 1.5 : STEP;
    const nLines = Math.ceil(nodes.length / inLine);
    nodes.forEach((node, number) => {
      const across = Math.min(inLine, nodes.length - Math.floor(number / inLine) * inLine);
      node.x = (column?.x ?? 0) + step * ((number % inLine) - (across - 1) / 2);
      node.y = rows[row] + STEP * (Math.floor(number / inLine) - (nLines - 1) / 2);
      node.hidden = column === undefined;
    });
  }
}

// The rows' names, which stay in view while the graph scrolls.
function drawRowNames({ rows, height }) {
  const name = (row) => (row === 0 ? "tokens" : row === rows.length - 1 ? "next" : `layer ${row - 1}`);
  const texts = rows.map((y, row) => draw("text", { x: 56, y: y + 4, class: "row" }, name(row)));
  return draw("svg", { width: 60, height, class: "rows" }, ...texts);
}

function drawGraph(graph, part, place, state) {
  const chosen = graph.byKey.get(state.node);
  const near = chosen ? nearEdges(chosen, part, state.edges / 4) : new Set();
  const nodes = new Set([...near].flatMap(({ source, target }) => [source, target]));
  const plain = part.edges.filter((edge) => !near.has(edge)).sort((a, b) => b.share - a.share).slice(0, MOST_EDGES);
  const placed = [...part.nodes].filter((node) => !node.hidden);
  const x2 = place.width - LABELS.right;
  return draw("svg", { width: place.width, height: place.height, class: chosen ? "graph chosen" : "graph" },
    draw("g", { class: "lines" }, ...place.rows.map((y) => draw("line", { x1: 0, x2, y1: y, y2: y }))),
    draw("g", { class: "edges" }, ...plain.filter(isDrawn).map(drawEdge)),
    draw("g", { class: "edges near" }, ...[...near].filter(isDrawn).reverse().map(drawEdge)),
    draw("g", {}, ...placed.map((node) => drawNode(node, chosen, nodes, state))),
    draw("g", { class: "words" }, ...words(graph, place, chosen), ...names(chosen, part)));
}

// The edges of the chosen node, strongest first, and those along which it is traced back.
function nearEdges(chosen, part, leastShare) {
  const own = [...chosen.into, ...chosen.out].filter((edge) => edge.share >= leastShare);
  const back = trails(chosen).flat();
  return new Set([...own, ...back].filter(({ source, target }) => part.nodes.has(source) && part.nodes.has(target)));
}

// Names beside the chosen node's strongest sources and targets.
function names(chosen, part) {
  if (!chosen) return [];
  const targets = chosen.out.slice(0, NAMED).map(({ target }) => target);
  const nodes = new Set([...trails(chosen).flat().map(({ source }) => source), ...targets]);
  const named = [...nodes].filter((node) => node.latent && part.nodes.has(node) && !node.hidden);
  const place = ({ x, y }) => ({ class: "name", x: x + 5, y: y - 5 });
  return named.map((node) => draw("text", place(node), node.promoted ? clipped(node.promoted) : node.latent));
}

function isDrawn({ source, target }) {
  return !source.hidden && !target.hidden;
}

function drawEdge(edge) {
  const { source, target, weight, share } = edge;
  const middle = (source.y + target.y) / 2;
  const path = draw("path", {
    d: `M${source.x} ${source.y}C${source.x} ${middle} ${target.x} ${middle} ${target.x} ${target.y}`,
    class: weight > 0 ? "raises" : "lowers", "stroke-width": (0.6 + 5 * Math.sqrt(share)).toFixed(2),
    style: `--strength: ${Math.min(1, 0.12 + 1.2 * share).toFixed(2)}`,
  });
  path.about = () => `${source.name} → ${target.name}\n${signed(weight)}, ${percent(share)} of what enters it`;
  return path;
}

function drawNode(node, chosen, near, state) {
  const kinds = ["node", node.kind];
  if (node === chosen) kinds.push("selected");
  if (near.has(node)) kinds.push("near");
  const shape = draw("path", { d: SHAPES[node.kind], transform: `translate(${node.x} ${node.y})` });
  if (state.groups !== "no" && node.group !== undefined) shape.setAttribute("style", groupStyle(node.group));
  const href = address({ ...state, node: node.key });
  const link = draw("a", { href, class: kinds.join(" "), "aria-label": node.name }, shape);
  link.about = () => [node.name, ...statistics(node).map(([name, value]) => `${name}: ${value}`)].join("\n");
  return link;
}

const SHAPES = {
  latent: "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0", group: "M-6 0a6 6 0 1 0 12 0a6 6 0 1 0 -12 0",
  token: "M-4 -4h8v8h-8z", logit: "M-5 -5h10v10h-10z", bias: "M0 -6L6 0L0 6L-6 0z",
};

// Four colours, each filled, then as a ring.
function groupStyle(group) {
  const colour = `var(--${GROUP_ROLES[group % GROUP_ROLES.length]})`;
  const isRing = Math.floor(group / GROUP_ROLES.length) % 2;
  return isRing ? `fill: var(--paper); stroke: ${colour}; stroke-width: 2` : `fill: ${colour}`;
}

function words(graph, { columns, rows, bottom }, chosen) {
  const below = [...columns].flatMap(([position, { x, gap }]) => {
    const token = position < 0 ? "biases" : graph.tokens[position];
    if (token === undefined) return [];
    const kind = chosen && chosen.position === position && chosen.kind !== "logit" ? "word selected" : "word";
    const text = draw("text", { class: kind, transform: slanted(x + 4, bottom + 4) }, clipped(token));
    text.about = () => (position < 0 ? token : `${quoted(token)}, position ${position}`);
    return gap ? [draw("text", { class: "gap", x: x - STEP - 8, y: rows[0] + 4 }, "…"), text] : [text];
  });
  const above = graph.nodes.filter(({ kind }) => kind === "logit").map((node) => draw("text", {
    class: node === chosen ? "word next selected" : "word next", transform: slanted(node.x + 2, node.y - 10),
  }, `${clipped(node.token)} ${roughly(node.probability)}`));
  return [...below, ...above];
}

function roughly(share) {
  return share < 0.001 ? "< 0.1 %" : percent(Number(share.toPrecision(2)));
}

function slanted(x, y) {
  return `translate(${x} ${y}) rotate(-60)`;
}

function clipped(token) {
  const text = visible(token).trim() || "␣";
  return text.length > 14 ? `${text.slice(0, 13)}…` : text;
}
