"use strict";
// A list of latents to sort and search, and one latent opened. The address's hash holds all state, so that every
// view is a link: #sort=nrn&desc=1&q=wait&latent=12.

const data = JSON.parse(document.getElementById("data").textContent);
const view = document.getElementById("view");
const search = document.getElementById("search");
const count = document.getElementById("count");
const loaded = new Map(); // shard number: a promise of its latents
const arrivals = new Map(); // shard number: what to call with its latents
const placeOf = new Map(data.columns.latent.map((latent, place) => [latent, place]));
const haystacks = data.columns.text.map((text, place) => `${data.columns.tag[place]} ${text}`.toLowerCase());
const ROWS = 200;
let shown = ROWS;

const COLUMNS = [
  ["latent", "latent", String],
  ["tag", "tag", String],
  ["nrn", "NRN", thousandths],
  ["cosine", "cosine", thousandths],
  ["nu", "ν", thousandths],
  ["frequency", "frequency", percent],
  ...data.categories.map((name) => [`lift:${name}`, `lift: ${name}`, number]),
];

function thousandths(value) {
  return value === null ? "–" : value.toFixed(3);
}

function state() {
  const given = new URLSearchParams(location.hash.slice(1));
  const sort = given.get("sort");
  return {
    sort: sort in data.columns ? sort : "nrn",
    desc: given.get("desc") !== "0",
    q: given.get("q") ?? "",
    latent: given.has("latent") ? Number(given.get("latent")) : null,
  };
}

function address(change) {
  const { sort, desc, q, latent } = { ...state(), ...change };
  const parts = { sort, desc: Number(desc), ...(q && { q }), ...(latent !== null && { latent }) };
  return `#${new URLSearchParams(parts)}`;
}

function matching(query) {
  const terms = query.toLowerCase().split(/\s+/).filter(Boolean);
  const found = (place, term) => String(data.columns.latent[place]) === term || haystacks[place].includes(term);
  return [...placeOf.values()].filter((place) => terms.every((term) => found(place, term)));
}

function sorted(places, column, descending) {
  const values = data.columns[column];
  const texts = values.some((value) => typeof value === "string");
  const ascending = texts ? (a, b) => a.localeCompare(b) : (a, b) => a - b;
  const compare = descending ? (a, b) => ascending(b, a) : ascending;
  const known = places.filter((place) => values[place] !== null).sort((a, b) => compare(values[a], values[b]));
  return [...known, ...places.filter((place) => values[place] === null)];
}

function listed() {
  const { sort, desc, q } = state();
  return sorted(matching(q), sort, desc);
}

function showList() {
  const places = listed();
  count.textContent = `${places.length.toLocaleString("en")} of ${placeOf.size.toLocaleString("en")} latents`;
  const table = make("table", { class: "latents" }, head(), make("tbody", {}, ...places.slice(0, shown).map(row)));
  view.replaceChildren(make("div", { class: "wide" }, table));
  if (places.length > shown) view.append(moreButton(places.length - shown));
}

function head() {
  const { sort, desc } = state();
  const titles = COLUMNS.map(([column, title]) => {
    const active = column === sort;
    const link = make("a", { href: address({ sort: column, desc: active ? !desc : true }) }, title);
    return make("th", { "aria-sort": active ? (desc ? "descending" : "ascending") : "none" }, link);
  });
  return make("thead", {}, make("tr", {}, ...titles, make("th", { class: "name" }, "fires on, and promotes")));
}

function row(place) {
  const cells = COLUMNS.map(([column, , write]) => make("td", {}, write(data.columns[column][place])));
  const latent = data.columns.latent[place];
  cells[0].replaceChildren(make("a", { href: address({ latent }) }, String(latent)));
  return make("tr", {}, ...cells, make("td", { class: "preview" }, visible(data.columns.text[place])));
}

function moreButton(left) {
  const button = make("button", { type: "button" }, `Show ${Math.min(ROWS, left)} more`);
  button.addEventListener("click", () => { shown += ROWS; showList(); });
  return button;
}

function details(place) {
  const shard = Math.floor(place / data.shard);
  if (!loaded.has(shard)) loaded.set(shard, data.inline ? inlineShard(shard) : shardFile(shard));
  return loaded.get(shard).then((latents) => latents[place % data.shard]);
}

async function inlineShard(shard) {
  return JSON.parse(document.getElementById(`shard${shard}`).textContent);
}

function shardFile(shard) {
  const source = `latents/${String(shard).padStart(4, "0")}.js`;
  return new Promise((arrived, missing) => {
    arrivals.set(shard, arrived);
    const script = make("script", { src: source });
    script.addEventListener("error", () => missing(new Error(`${source} is missing: it belongs beside this page`)));
    document.head.append(script);
  });
}

// Called by the shards.
function receive(shard, latents) {
  arrivals.get(shard)(latents);
}

async function showLatent(latent) {
  count.textContent = "";
  if (!placeOf.has(latent)) return view.replaceChildren(make("p", { class: "missing" }, absence(latent)));
  const here = location.hash;
  const place = placeOf.get(latent);
  const detail = await details(place).catch((error) => error);
  if (location.hash !== here) return; // another view was asked for meanwhile
  if (detail instanceof Error) return view.replaceChildren(make("p", { class: "missing" }, detail.message));
  view.replaceChildren(
    steps(place), make("h2", {}, `Latent ${latent}, ${data.columns.tag[place]}`), statistics(place),
    lens(detail), ...galleries(detail),
  );
}

function absence(latent) {
  const known = data.columns.latent;
  const range = known.reduce(([low, high], i) => [Math.min(low, i), Math.max(high, i)], [Infinity, -Infinity]);
  return `Latent ${latent} is not on this page, which has ${known.length} latents from ${range[0]} to ${range[1]}.`;
}

function steps(place) {
  const order = listed();
  const position = order.indexOf(place);
  const neighbour = (step, text) => {
    const other = order[position + step];
    if (position < 0 || other === undefined) return "";
    return make("a", { href: address({ latent: data.columns.latent[other] }) }, text);
  };
  const all = make("a", { href: address({ latent: null }) }, "all latents");
  return make("nav", {}, all, neighbour(-1, "← previous"), neighbour(1, "next →"));
}

function statistics(place) {
  const entries = COLUMNS.slice(2).map(([column, title, write]) =>
    make("div", {}, make("dt", {}, title), make("dd", {}, write(data.columns[column][place]))));
  return make("dl", { class: "statistics" }, ...entries);
}

function lens(detail) {
  const sides = Object.keys(detail.promoted).map((model) => make("section", {},
    make("h3", {}, `Logit lens, ${model}`),
    lensRow("promotes", detail.promoted[model]), lensRow("suppresses", detail.suppressed[model])));
  return make("div", { class: "columns" }, ...sides);
}

function galleries(detail) {
  const groups = [["Top examples", detail.examples], ...detail.samples];
  const largest = Math.max(...groups.flatMap(([, examples]) => examples.flatMap(([, activations]) => activations)), 0);
  return groups.map(([title, examples]) => make("section", {}, make("h3", {}, `${title} (${examples.length})`),
    ...examples.map((example) => gallery(example, largest))));
}

function render() {
  const { latent, q } = state();
  if (document.activeElement !== search) search.value = q;
  return latent === null ? showList() : showLatent(latent);
}

search.addEventListener("input", () => {
  shown = ROWS;
  location.replace(address({ q: search.value.trim(), latent: null }));
});
window.addEventListener("hashchange", render);
render();
