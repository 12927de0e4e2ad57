"use strict";
for (const figure of document.querySelectorAll("figure.chart")) {
  const spec = JSON.parse(figure.querySelector("script").textContent);
  const options = { displayModeBar: false, responsive: true };
  Plotly.newPlot(figure.querySelector(".plot"), spec.data, spec.layout, options);
}
