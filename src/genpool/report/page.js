// Draws the charts: expressions are interpreted, not compiled, so that the page needs no eval; nothing is loaded.
(() => {
  "use strict";
  const specs = JSON.parse(document.getElementById("charts").textContent);
  const refused = () => Promise.reject(new Error("this page loads nothing"));
  const loader = { load: refused, sanitize: refused, http: refused, file: refused };
  const font = getComputedStyle(document.body).fontFamily;
  const look = (width) => ({
    background: "transparent", font, view: { stroke: null },
    axis: {
      labelColor: "var(--ink)", titleColor: "var(--soft)", gridColor: "var(--line)", domainColor: "var(--line)",
      tickColor: "var(--line)", labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal",
      labelLimit: Math.max(90, Math.round(width * 0.38)), labelPadding: 6,
    },
    legend: { labelColor: "var(--ink)", titleColor: "var(--soft)", labelFontSize: 12, labelLimit: 180 },
    text: { color: "var(--ink)" },
  });
  const tooltip = { disableDefaultStyle: true };
  // Names above narrow columns are slanted: Vega reserves room for an angle only where it is fixed beforehand.
  const fitted = (spec, width) => {
    const columns = spec.usermeta?.columns;
    if (!columns || (width * 0.62) / columns > 88) return spec;
    const slanted = structuredClone(spec);
    for (const layer of slanted.layer) {
      Object.assign(layer.encoding.x.axis, { labelAngle: -40, labelAlign: "left", labelLimit: 130 });
    }
    return slanted;
  };
  const draw = async (box) => {
    const name = box.dataset.chart;
    try {
      const width = box.clientWidth || 600;
      const config = look(width);
      const drawn = await vegaEmbed(box, fitted(specs[name], width), {
        mode: "vega-lite", ast: true, actions: false, renderer: "svg", defaultStyle: false, logLevel: 1, loader, config, tooltip,
      });
      const svg = box.querySelector("svg");
      svg.setAttribute("aria-hidden", "true");
      svg.setAttribute("focusable", "false");
      box.dataset.drawn = "yes";
      return drawn;
    } catch (error) {
      box.classList.add("failed");
      box.textContent = "This chart cannot be drawn here; its numbers are in the table.";
      console.error(`chart ${name}: ${error.message}`);
      return null;
    }
  };
  const boxes = [...document.querySelectorAll("[data-chart]")];
  Promise.all(boxes.map(draw)).then(() => { document.documentElement.dataset.charts = "drawn"; });
  const reachable = () => document.querySelectorAll(".scroll, .words, .chart").forEach((one) => {
    const scrolls = one.scrollWidth > one.clientWidth + 1 || one.scrollHeight > one.clientHeight + 1;
    if (scrolls) one.tabIndex = 0; else one.removeAttribute("tabindex");
  });
  reachable();
  addEventListener("resize", reachable);
  document.addEventListener("toggle", reachable, true);
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details.numbers:not([open])")];
    opened.forEach((one) => { one.open = true; });
  });
  addEventListener("afterprint", () => { opened.forEach((one) => { one.open = false; }); });
})();
