// One graph or two beside each other, and what the chosen node is made of. The address's hash holds all state, so that
// every view is a link: #left=0&right=1&cut=.6&edges=.02&groups=no&node=3/17@12.

const data = JSON.parse(document.getElementById("data").textContent);
const graphs = data.graphs.map((raw) => readGraph(raw, data.notes));
const mergedGraphs = graphs.map(merged);
const view = document.getElementById("view");
const controls = document.getElementById("controls");
const tip = document.getElementById("tip");
const threshold = Math.max(...graphs.map((graph) => graph.threshold));
const READABLE = 150; // latents that the page opens with
const GROUPINGS = [["no", "each for itself"], ["coloured", "in one colour"], ["merged", "as one node"]];
const ARRANGEMENTS = [[0, "side by side"], [1, "one above the other"]];
const SOURCES = [[["latent", "group"], "from latents"], [["token"], "from tokens"], [["bias"], "from biases"]];
const MARGIN = 24;
const LEAST_LISTED = 0.001; // share of an edge
const openingCut = readableCut();
let scrolled = null; // pixels, of all graphs alike; at first to the prompt's end

function state() {
  const given = new URLSearchParams(location.hash.slice(1));
  const numberOf = (name, otherwise) => (given.has(name) ? Number(given.get(name)) : otherwise);
  const left = graphs[numberOf("left", 0)] ? numberOf("left", 0) : 0;
  return {
    left, right: numberOf("right", graphs.length > 1 ? 1 : -1), cut: numberOf("cut", openingCut),
    edges: numberOf("edges", 0.03), groups: given.get("groups") ?? "no", under: numberOf("under", 0),
    node: given.get("node") ?? graphs[left].nodes.find(({ kind }) => kind === "logit")?.key ?? "",
  };
}

function address(given) {
  return `#${new URLSearchParams(given)}`;
}

function changed(change) {
  return address({ ...state(), ...change });
}

// A share of influence at which no graph has too many latents for a first look.
function readableCut() {
  const cuts = graphs.map((graph) => {
    const ranked = graph.nodes.filter(isLatent).map(({ influence }) => influence);
    return ranked.sort((a, b) => a - b)[READABLE] ?? threshold;
  });
  return Math.min(...cuts);
}

function signed(weight) {
  return weight === null ? "–" : `${weight < 0 ? "−" : "+"}${number(Math.abs(weight))}`;
}

function render() {
  const now = state();
  const numbers = [now.left, now.right].filter((place) => graphs[place]);
  const chosen = numbers.map((place) => (now.groups === "merged" ? mergedGraphs : graphs)[place]);
  const parts = chosen.map((graph) => shownPart(graph, now.cut, now.edges, graph.byKey.get(now.node)));
  const place = layout(chosen, parts);
  const panels = chosen.map((_, side) => {
    placeNodes(place, side);
    return panel(side, chosen, parts[side], place, now);
  });
  showControls(now, chosen, parts);
  const hadFocus = document.activeElement?.classList.contains("node");
  view.replaceChildren(make("div", { class: now.under ? "panels under" : "panels" }, ...panels), notesOf(now, chosen));
  const x = chosen.map((graph) => graph.byKey.get(now.node)?.x).find((each) => each !== undefined);
  const scrollers = [...view.querySelectorAll(".scroll")];
  for (const scroller of scrollers) scroller.addEventListener("scroll", () => scrollAll(scroller));
  scrolled = inView(x, scrollers[0]);
  for (const scroller of scrollers) scroller.scrollLeft = scrolled;
  if (hadFocus) view.querySelector(".node.selected")?.focus({ preventScroll: true });
}

// How far to scroll for a place to be in view: no farther than is needed.
function inView(x, { clientWidth, scrollWidth }) {
  scrolled ??= scrollWidth - clientWidth;
  const isSeen = x === undefined || (x > scrolled + MARGIN && x < scrolled + clientWidth - MARGIN);
  return isSeen ? scrolled : Math.max(0, x - clientWidth / 2);
}

function scrollAll(by) {
  scrolled = by.scrollLeft;
  for (const other of view.querySelectorAll(".scroll")) if (other !== by) other.scrollLeft = scrolled;
}

function panel(side, chosen, part, place, now) {
  const graph = chosen[side];
  const scroll = make("div", { class: "scroll" }, drawGraph(graph, part, place, now));
  return make("section", { class: "panel" }, heading(graph, now, side),
    make("div", { class: "drawing" }, drawRowNames(place), scroll), details(graph, chosen[1 - side], now));
}

function heading(graph, now, side) {
  const title = make("h2", {}, graph.model);
  if (graphs.length < 3) return title;
  const name = side ? "right" : "left";
  return make("h2", {}, select(name, graphs.map(({ model }, number) => [number, model]), now[name]));
}

function showControls(now, chosen, parts) {
  if (controls.children.length === 0) controls.append(...makeControls(now));
  const latents = parts.map((part, place) => `${part.latents} of ${chosen[place].latents}`);
  const edges = parts.map((part, place) => `${part.edges.length} of ${chosen[place].edges.length}`);
  document.getElementById("cut-text").textContent = `${percent(now.cut)}: ${latents.join(", ")}`;
  document.getElementById("edges-text").textContent = `${percent(now.edges)}: ${edges.join(", ")}`;
}

function makeControls(now) {
  const made = [slider("cut", "latents by influence", threshold, 0.01, now.cut),
    slider("edges", "edges from a share of", 0.3, 0.005, now.edges)];
  const isGrouped = graphs.some(({ groups }) => groups.length);
  if (isGrouped) made.push(labelled("latents with edges alike", "groups", GROUPINGS, now));
  if (graphs.length > 1) made.push(labelled("two graphs", "under", ARRANGEMENTS, now));
  return made;
}

function labelled(label, name, options, now) {
  return make("label", {}, `${label} `, select(name, options, now[name]));
}

function slider(name, label, largest, step, value) {
  const input = make("input", { type: "range", id: name, min: 0, max: largest, step, value });
  input.addEventListener("input", () => location.replace(changed({ [name]: input.value })));
  return make("label", {}, `${label} `, input, make("output", { id: `${name}-text`, for: name }));
}

function select(name, options, value) {
  const element = make("select", { name }, ...options.map(([key, text]) => make("option", { value: key }, text)));
  element.value = value;
  element.addEventListener("change", () => location.replace(changed({ [name]: element.value })));
  return element;
}

function statistics(node) {
  const given = [
    ["position", node.position < 0 ? undefined : node.position],
    ["probability", node.probability === undefined ? undefined : percent(node.probability)],
    ["activation", node.activation === undefined ? undefined : number(node.activation)],
    ["latents", node.members?.length],
    ["among the nodes with, together", isLatent(node) ? `${percent(node.influence)} of the influence` : undefined],
    ["sum of its kept edges", node.into.length ? completeness(node) : undefined],
    ...SOURCES.map(([kinds, name]) => [name, sumFrom(node, kinds)]),
  ];
  return given.filter(([, value]) => value !== undefined).map(([name, value]) => [name, String(value)]);
}

function completeness({ sum, value }) {
  return `${number(sum)} of ${number(value)} (${percent(value ? sum / value : null)})`;
}

function sumFrom({ into }, kinds) {
  const edges = into.filter(({ source }) => kinds.includes(source.kind));
  return edges.length ? signed(edges.reduce((sum, { weight }) => sum + weight, 0)) : undefined;
}

function details(graph, other, now) {
  const node = graph.byKey.get(now.node);
  const missing = now.node ? "The chosen node is not among those kept of this graph." : "No node is chosen.";
  if (!node) return make("p", { class: "missing" }, missing);
  const same = other?.byKey.get(now.node);
  const besides = (side, end) => (neighbour) => (same ? `; ${other.model} ${weightOf(same[side], end, neighbour)}` : "");
  const entries = statistics(node).map(([name, value]) =>
    make("div", {}, make("dt", {}, name), make("dd", {}, value)));
  return make("div", { class: "details" }, make("h3", {}, node.name), make("dl", { class: "statistics" }, ...entries),
    ...edgeList("What made it", node.into, "source", besides("into", "source")), ...trailList(node),
    ...edgeList("What it acts on", node.out, "target", besides("out", "target")), ...memberList(node));
}

// The weight of an edge in the other graph, where it was kept.
function weightOf(edges, end, neighbour) {
  return signed(edges.find((edge) => edge[end].key === neighbour.key)?.weight ?? null);
}

function memberList({ members }) {
  if (!members) return [];
  return [make("h4", {}, "Its latents"), make("p", { class: "members" }, ...members.map(memberLink))];
}

function memberLink(member) {
  return make("a", { href: changed({ node: member.key, groups: "coloured" }) }, `${member.name} `);
}

function edgeList(title, edges, end, besides) {
  if (!edges.length) return [];
  const listed = edges.slice(0, LISTED).filter(({ share }) => share >= LEAST_LISTED);
  const rest = edges.slice(listed.length);
  const sum = signed(rest.reduce((total, { weight }) => total + weight, 0));
  const what = listed.length ? "more" : "weak edges";
  const others = rest.length ? [make("p", { class: "rest" }, `${rest.length} ${what}, together ${sum}`)] : [];
  return [make("h4", {}, title), ...listed.map((edge) => edgeRow(edge, edge[end], besides(edge[end]))), ...others];
}

function edgeRow(edge, node, besides) {
  const kind = edge.weight > 0 ? "raises" : "lowers";
  const says = node.promoted ? `, promotes ${quoted(node.promoted)}` : "";
  return make("a", { href: changed({ node: node.key }), class: "edge" },
    make("span", { class: `weight ${kind}` }, signed(edge.weight)),
    make("span", { class: "bar", style: `--share: ${100 * edge.share}%` }),
    make("span", { class: "share" }, percent(edge.share)),
    make("span", { class: "name" }, node.name, make("small", {}, `${where(node)}${says}${besides}`)));
}

function where(node) {
  return node.position < 0 || node.kind === "logit" ? "" : ` position ${node.position}`;
}

function trailList(node) {
  const found = trails(node);
  if (!found.length) return [];
  const rows = found.map((edges) => make("li", {}, ...edges.toReversed().flatMap(({ source, weight }) => [
    make("a", { href: changed({ node: source.key }) }, source.name), make("small", {}, where(source)),
    make("span", { class: weight > 0 ? "raises" : "lowers" }, ` ${signed(weight)} → `),
  ]), node.name));
  return [make("h4", {}, "Back along the strongest edges, by way of latents"), make("ol", { class: "trails" }, ...rows)];
}

function notesOf(now, chosen) {
  const node = chosen.map((graph) => graph.byKey.get(now.node)).find((found) => found?.latent);
  const notes = data.notes[node?.latent];
  if (!notes) return "";
  const largest = Math.max(...notes.examples.flatMap(([, activations]) => activations), 0);
  const lens = [["promotes", notes.promoted], ["suppresses", notes.suppressed]].filter(([, tokens]) => tokens.length);
  return make("section", { id: "notes" }, make("h2", {}, `Latent ${node.latent}, on any text`),
    ...lens.map(([title, tokens]) => lensRow(title, tokens)),
    ...(notes.examples.length ? [make("h3", {}, `It fires most on (${notes.examples.length})`)] : []),
    ...notes.examples.map((example) => gallery(example, largest)));
}

function showTip(event) {
  let element = event.target;
  while (element && !element.about) element = element.parentElement;
  tip.hidden = !element;
  if (!element) return;
  tip.textContent = element.about();
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.min(event.clientX + 14, innerWidth - width - 8)}px`;
  tip.style.top = `${event.clientY + height + 24 > innerHeight ? event.clientY - height - 10 : event.clientY + 14}px`;
}

view.addEventListener("pointermove", showTip);
view.addEventListener("pointerleave", () => { tip.hidden = true; });
controls.addEventListener("submit", (event) => event.preventDefault());
window.addEventListener("hashchange", render);
render();
