// Draws the charts, in the colours of the theme; before printing in those of paper, and as wide as paper.
"use strict";

(() => {
  const PAPER = 650; // pixels: an A4 page less its margins and the box around a chart
  const root = document.documentElement;
  const night = matchMedia("(prefers-color-scheme: dark)");
  const shades = JSON.parse(document.getElementById("shades").textContent);
  const options = { displayModeBar: false, responsive: true };
  const charts = [...document.querySelectorAll(".chart")].map((place) => ({
    place,
    text: document.getElementById(place.dataset.figure).textContent,
  }));

  const isDark = () => (root.dataset.theme === "auto" ? night.matches : root.dataset.theme === "dark");

  const draw = (dark, width) => {
    for (const { place, text } of charts) {
      let wanted = text;
      if (dark) for (const [day, dusk] of Object.entries(shades)) wanted = wanted.replaceAll(day, dusk);
      const { data, layout } = JSON.parse(wanted);
      if (width) Object.assign(layout, { width, autosize: false });
      Plotly.react(place, data, layout, options);
    }
  };

  for (const choice of document.querySelectorAll("input[name=theme]")) {
    choice.addEventListener("change", () => {
      root.dataset.theme = choice.value;
      draw(isDark());
    });
  }
  document.querySelector(".themes").hidden = false;
  night.addEventListener("change", () => draw(isDark()));
  addEventListener("beforeprint", () => draw(false, PAPER));
  addEventListener("afterprint", () => draw(isDark()));
  draw(isDark());
})();
