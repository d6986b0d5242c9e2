"use strict";
// What pages with latents share. Text reaches a page as text nodes only.

function number(value) {
  if (value === null) return "–";
  return Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : value.toPrecision(3);
}

function percent(share) {
  return share === null ? "–" : `${Number((100 * share).toPrecision(3))} %`;
}

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function visible(token) {
  return token.replaceAll("\n", "↵");
}

function lensRow(title, tokens) {
  const words = tokens.map(([token, logit]) =>
    make("span", { class: "token" }, visible(token), make("small", {}, ` ${number(logit)}`)));
  return make("p", { class: "lens" }, make("span", { class: "what" }, title), ...words);
}

function gallery([tokens, activations, peak, source], largest) {
  const spans = tokens.map((token, place) => {
    if (activations[place] <= 0) return visible(token);
    const strength = (8 + 47 * activations[place] / largest).toFixed(0);
    const kind = place === peak ? "fires peak" : "fires";
    const attributes = { style: `--strength: ${strength}%`, title: number(activations[place]), class: kind };
    return make("span", attributes, visible(token));
  });
  const activation = make("small", { title: `document ${source}` }, number(activations[peak]));
  return make("div", { class: "example" }, activation, make("div", {}, ...spans));
}
