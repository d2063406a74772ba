// Loads plotly once for all figures of the page, keeps figures as wide as their cards, and gives figures and controls
// names that a screen reader can say.
// Chromium compiles a script that begins with this line on another thread, and so need not hold the page meanwhile.
const COMPILED_ASIDE = "//# allFunctionsCalledOnLoad\n";

function initialize({ model }) {
    const page = globalThis;
    if (!page.selfextendVizPlotly) {
        const deferred = {};
        deferred.promise = new Promise((resolve) => (deferred.resolve = resolve));
        page.selfextendVizPlotly = deferred;
    }
    if (page.selfextendVizPlotly.loading) return;
    page.selfextendVizPlotly.loading = true;
    const source = [COMPILED_ASIDE, model.get("_plotly")];
    const address = URL.createObjectURL(new Blob(source, { type: "text/javascript" }));
    page.selfextendVizPlotly.resolve(import(address).finally(() => URL.revokeObjectURL(address)));
}

function put(node, name, value) {
    if (node && value && node.getAttribute(name) !== value) node.setAttribute(name, value);
}

function nameFigures(lab, seen) {
    for (const plot of lab.querySelectorAll(".js-plotly-plot")) {
        if (plot._fullLayout) seen(plot);
        const card = plot.closest(".sv-card");
        put(plot, "role", "img");
        put(plot, "aria-label", `${card?.querySelector(".sv-name")?.textContent}: ${card?.querySelector(".sv-say")?.textContent}`);
    }
}

function nameControls(lab) {
    for (const number of lab.querySelectorAll(".sv-number")) {
        const label = number.querySelector(".widget-label");
        const words = `${label?.textContent}, ${label?.title}`;
        const box = number.querySelector("input");
        put(number.querySelector(".noUi-handle"), "aria-label", words);
        put(number.querySelector(".noUi-handle"), "aria-valuetext", box?.value);
        put(box, "aria-label", words);
    }
    put(lab.querySelector(".sv-presets select"), "aria-label", "Presets");
    put(lab.querySelector(".sv-call input"), "aria-label", "Python call that opens the lab like this");
    const bar = lab.querySelector(".sv-progress .progress");
    put(bar, "role", "progressbar");
    put(bar, "aria-label", "Share of the work done");
    put(bar, "aria-valuenow", String(Math.round(parseFloat(bar?.firstElementChild?.style.width) || 0)));
}

function render({ el }) {
    const resized = new ResizeObserver((entries) => {
        for (const { target } of entries) {
            if (target.clientWidth > 0 && target._responsiveChartHandler) target._responsiveChartHandler();
        }
    });
    const known = new WeakSet();
    let tools = null;
    let waiting = false;

    function seen(plot) {
        if (known.has(plot)) return;
        known.add(plot);
        resized.observe(plot);
    }

    function look(lab) {
        if (waiting) return;
        waiting = true;
        setTimeout(() => {
            waiting = false;
            nameFigures(lab, seen);
            nameControls(lab);
            tools.keepFocus();
        }, 60);
    }

    let changed = null;
    const attach = setInterval(() => {
        const lab = el.closest(".sv-lab");
        if (!lab) return;
        clearInterval(attach);
        tools = toolKeys(lab);
        changed = new MutationObserver(() => look(lab));
        changed.observe(lab, { childList: true, subtree: true, attributeFilter: ["aria-valuenow", "disabled", "style"] });
        look(lab);
    }, 50);

    return () => {
        clearInterval(attach);
        changed?.disconnect();
        tools?.dispose();
        resized.disconnect();
    };
}

export default { initialize, render };
