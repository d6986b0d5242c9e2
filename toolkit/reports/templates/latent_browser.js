"use strict";
// A list of latents to sort and search, and one latent opened. The address's hash holds all state, so that every
// view is a link: #sort=nrn&desc=1&q=wait&latent=12. A term of the search may be a condition, such as frequency>1%.

const data = JSON.parse(document.getElementById("data").textContent);
const view = document.getElementById("view");
const search = document.getElementById("search");
const count = document.getElementById("count");
const loaded = new Map(); // shard number: a promise of its latents
const arrivals = new Map(); // shard number: what to call with its latents
const placeOf = new Map(data.columns.latent.map((latent, place) => [String(latent), place]));
const WRITTEN = { text: String, count: String, thousandths, percent, number };
const COLUMNS = [{ key: "latent", title: "latent", kind: "count", listed: true }, ...data.described];
const LISTED = COLUMNS.filter(({ listed }) => listed);
const TEXTS = data.described.filter(({ kind }) => kind === "text");
const haystacks = data.columns.text.map((text, place) => [...tags(place), text].join(" ").toLowerCase());
const CONDITION = /^(.+?)(>=|<=|>|<|=)(-?[\d.]+)(%?)$/;
const HOLDS = {
  ">": (a, b) => a > b, "<": (a, b) => a < b, "=": (a, b) => a === b, ">=": (a, b) => a >= b, "<=": (a, b) => a <= b,
};
const ROWS = 200;
let shown = ROWS;

function thousandths(value) {
  return value === null ? "–" : value.toFixed(3);
}

function state() {
  const given = new URLSearchParams(location.hash.slice(1));
  const sort = given.get("sort");
  return {
    sort: sort in data.columns ? sort : data.sort,
    desc: given.get("desc") !== "0",
    q: given.get("q") ?? "",
    latent: given.get("latent"),
  };
}

function address(change) {
  const { sort, desc, q, latent } = { ...state(), ...change };
  const parts = { sort, desc: Number(desc), ...(q && { q }), ...(latent !== null && { latent }) };
  return `#${new URLSearchParams(parts)}`;
}

// The text statistics of a latent, which name what it is.
function tags(place) {
  return TEXTS.map(({ key }) => data.columns[key][place]);
}

// What a term of the search asks of a latent's place: a condition on a statistic, its own name, or a text.
function asked(term) {
  const [, name, sign, value, unit] = CONDITION.exec(term) ?? [];
  const column = data.described.find(({ key }) => key.toLowerCase().replaceAll(" ", "-") === name);
  if (column) {
    const limit = Number(value) / (unit ? 100 : 1);
    return (place) => data.columns[column.key][place] !== null && HOLDS[sign](data.columns[column.key][place], limit);
  }
  return (place) => String(data.columns.latent[place]) === term || haystacks[place].includes(term);
}

function matching(query) {
  const terms = query.toLowerCase().split(/\s+/).filter(Boolean).map(asked);
  return [...placeOf.values()].filter((place) => terms.every((holds) => holds(place)));
}

function sorted(places, column, descending) {
  const values = data.columns[column];
  const texts = values.some((value) => typeof value === "string");
  const ascending = texts ? inOrder : (a, b) => a - b;
  const compare = descending ? (a, b) => ascending(b, a) : ascending;
  const known = places.filter((place) => values[place] !== null).sort((a, b) => compare(values[a], values[b]));
  return [...known, ...places.filter((place) => values[place] === null)];
}

function inOrder(a, b) {
  return String(a).localeCompare(String(b), "en", { numeric: true });
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
  const titles = LISTED.map(({ key, title, kind }) => {
    const active = key === sort;
    const link = make("a", { href: address({ sort: key, desc: active ? !desc : true }) }, title);
    const order = active ? (desc ? "descending" : "ascending") : "none";
    return make("th", { "aria-sort": order, ...(kind === "text" && { class: "text" }) }, link);
  });
  return make("thead", {}, make("tr", {}, ...titles, make("th", { class: "name" }, "fires on, and promotes")));
}

function row(place) {
  const cells = LISTED.map(({ key, kind }) =>
    make("td", kind === "text" ? { class: kind } : {}, WRITTEN[kind](data.columns[key][place])));
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
    steps(place), make("h2", {}, [`Latent ${latent}`, ...tags(place)].join(", ")), statistics(place),
    lens(detail), ...galleries(detail),
  );
}

function absence(latent) {
  const known = [...placeOf.keys()].sort(inOrder);
  const range = `${known[0]} to ${known.at(-1)}`;
  return `Latent ${latent} is not on this page, which has ${known.length} latents from ${range}.`;
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
  const numbers = data.described.filter(({ kind }) => kind !== "text");
  const entries = numbers.map(({ key, title, kind }) =>
    make("div", {}, make("dt", {}, title), make("dd", {}, WRITTEN[kind](data.columns[key][place]))));
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
