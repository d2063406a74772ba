// Loads plotly once for all figures of the page, keeps figures as wide as their cards, and gives figures and sliders
// names that a screen reader can say.
function initialize({ model }) {
  const page = globalThis;
  if (!page.selfextendVizPlotly) {
    const deferred = {};
    deferred.promise = new Promise((resolve) => (deferred.resolve = resolve));
    page.selfextendVizPlotly = deferred;
  }
  if (page.selfextendVizPlotly.loading) return;
  page.selfextendVizPlotly.loading = true;
  const address = URL.createObjectURL(new Blob([model.get("_plotly")], { type: "text/javascript" }));
  page.selfextendVizPlotly.resolve(import(address).finally(() => URL.revokeObjectURL(address)));
}

function render({ el }) {
  const resized = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      if (target.clientWidth > 0 && target._responsiveChartHandler) target._responsiveChartHandler();
    }
  });
  const known = new WeakSet();

  function put(node, name, value) {
    if (node && value && node.getAttribute(name) !== value) node.setAttribute(name, value);
  }

  function nameFigures(lab) {
    for (const plot of lab.querySelectorAll(".js-plotly-plot")) {
      if (!known.has(plot) && plot._fullLayout) {
        known.add(plot);
        resized.observe(plot);
      }
      const card = plot.closest(".sv-card");
      put(plot, "role", "img");
      put(plot, "aria-label", `${card?.querySelector(".sv-name")?.textContent}: ${card?.querySelector(".sv-say")?.textContent}`);
    }
  }

  function nameSliders(lab) {
    for (const number of lab.querySelectorAll(".sv-number")) {
      const label = number.querySelector(".widget-label");
      const words = `${label?.textContent}, ${label?.title}`;
      const box = number.querySelector("input");
      put(number.querySelector(".noUi-handle"), "aria-label", words);
      put(number.querySelector(".noUi-handle"), "aria-valuetext", box?.value);
      put(box, "aria-label", words);
    }
  }

  let waiting = false;
  function look() {
    if (waiting) return;
    waiting = true;
    setTimeout(() => {
      waiting = false;
      const lab = el.closest(".sv-lab");
      if (lab) {
        nameFigures(lab);
        nameSliders(lab);
      }
    }, 60);
  }

  const changed = new MutationObserver(look);
  const attach = setInterval(() => {
    const lab = el.closest(".sv-lab");
    if (!lab) return;
    clearInterval(attach);
    changed.observe(lab, { childList: true, subtree: true, attributeFilter: ["aria-valuenow"] });
    look();
  }, 50);

  return () => {
    clearInterval(attach);
    changed.disconnect();
    resized.disconnect();
  };
}

export default { initialize, render };
