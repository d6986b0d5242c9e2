// Attribution graphs: their nodes and edges, groups of nodes as one, and the parts that are shown.

const LISTED = 10; // strongest edges of a node, into it and out of it
const TRAILS = 3;
const TRAIL_STEPS = 30;

// A node's key is the same in all graphs of a prompt. Row 0 holds tokens, row l + 1 the latents of layer l.
function readGraph(raw, notes) {
  const nodes = [...latentNodes(raw, notes), ...tokenNodes(raw), biasNode(), ...logitNodes(raw)];
  nodes.forEach((node, number) => { node.influence = raw.influence[number]; node.value = raw.values[number]; });
  const edges = raw.sources.map((source, place) =>
    ({ source: nodes[source], target: nodes[raw.targets[place]], weight: raw.weights[place] }));
  const groups = raw.groups.map(([name, members]) => [name, members.map((number) => nodes[number])]);
  groups.forEach(([, members], number) => members.forEach((node) => { node.group = number; }));
  const { model, tokens, layers, threshold } = raw;
  return connected({ model, tokens, layers, threshold, groups, nodes, edges });
}

function latentNodes(raw, notes) {
  return raw.latents.map(([layer, position, index], number) => ({
    key: `${layer}/${index}@${position}`, kind: "latent", row: layer + 1, position, latent: `${layer}/${index}`,
    name: `latent ${layer}/${index} at ${quoted(raw.tokens[position])}`, activation: raw.activations[number],
    promoted: notes[`${layer}/${index}`]?.promoted[0]?.[0],
  }));
}

function tokenNodes(raw) {
  return raw.tokens.map((token, position) =>
    ({ key: `token@${position}`, kind: "token", row: 0, position, name: `the word ${quoted(token)}` }));
}

function biasNode() {
  return { key: "bias", kind: "bias", row: 0, position: -1, name: "the biases" };
}

function logitNodes(raw) {
  return raw.logits.map(([id, token, probability]) => ({
    key: `next@${id}`, kind: "logit", row: raw.layers + 1, position: raw.tokens.length - 1,
    name: `next token ${quoted(token)}`, token, probability,
  }));
}

function quoted(token) {
  return `“${visible(token)}”`;
}

// Gives every node its edges, strongest first, and every edge its share of all that enters its target.
function connected(graph) {
  for (const node of graph.nodes) { node.into = []; node.out = []; node.entering = 0; node.sum = 0; }
  for (const edge of graph.edges) {
    edge.target.into.push(edge);
    edge.source.out.push(edge);
    edge.target.entering += Math.abs(edge.weight);
    edge.target.sum += edge.weight;
  }
  for (const edge of graph.edges) edge.share = Math.abs(edge.weight) / (edge.target.entering || 1);
  const strongest = (a, b) => Math.abs(b.weight) - Math.abs(a.weight);
  for (const node of graph.nodes) { node.into.sort(strongest); node.out.sort(strongest); }
  graph.latents = graph.nodes.filter(isLatent).length;
  graph.byKey = new Map(graph.nodes.map((node) => [node.key, node]));
  return graph;
}

// The same graph with each group as one node, where its member of most influence stands; weights are summed.
function merged(graph) {
  const standIn = new Map(graph.nodes.map((node) => [node, { ...node }]));
  graph.groups.forEach(([name, members], number) => {
    const first = members.reduce((best, node) => (node.influence < best.influence ? node : best));
    const node = {
      ...first, key: `group@${graph.model}:${number}`, kind: "group", name: `group ${name}`, members,
      latent: undefined, promoted: undefined, activation: undefined,
      value: members.reduce((sum, member) => sum + member.value, 0),
    };
    for (const member of members) standIn.set(member, node);
  });
  const edges = new Map();
  for (const { source, target, weight } of graph.edges) {
    const [from, to] = [standIn.get(source), standIn.get(target)];
    if (from === to) continue;
    const name = `${from.key} ${to.key}`;
    if (!edges.has(name)) edges.set(name, { source: from, target: to, weight: 0 });
    edges.get(name).weight += weight;
  }
  const whole = connected({ ...graph, nodes: [...new Set(standIn.values())], edges: [...edges.values()] });
  for (const [node, group] of standIn) whole.byKey.set(node.key, group);
  return whole;
}

// Latents that have together `cut` of the influence, the chosen node with its strongest neighbours, and all nodes of
// other kinds; and the edges between them that have at least a share of their target.
function shownPart(graph, cut, leastShare, chosen) {
  const nodes = new Set(graph.nodes.filter((node) => !isLatent(node) || node.influence <= cut));
  for (const node of chosen ? neighbours(chosen) : []) nodes.add(node);
  const strong = graph.edges.filter(({ share }) => share >= leastShare);
  const edges = strong.filter(({ source, target }) => nodes.has(source) && nodes.has(target));
  return { nodes, edges, latents: [...nodes].filter(isLatent).length };
}

function isLatent({ kind }) {
  return kind === "latent" || kind === "group";
}

function neighbours(node) {
  const back = [...node.into.slice(0, LISTED), ...trails(node).flat()];
  return [node, ...back.map(({ source }) => source), ...node.out.slice(0, LISTED).map(({ target }) => target)];
}

// From each of a node's strongest edges from latents back along the strongest edge into each source, to a token or the
// biases.
function trails(node) {
  return node.into.filter(({ source }) => source.into.length).slice(0, TRAILS).map((edge) => {
    const edges = [edge];
    while (edges.at(-1).source.into.length && edges.length < TRAIL_STEPS) edges.push(edges.at(-1).source.into[0]);
    return edges;
  });
}
