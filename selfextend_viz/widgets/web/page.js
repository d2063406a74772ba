// A page without a kernel: sliders and menus choose among the states that were computed before and stand in the page.
function startPage(body) {
    const data = JSON.parse(document.getElementById("sv-data").textContent);
    const stops = data.controls.map((control) => control.stop);
    const inputs = data.controls.map((control, place) => addControl(body, control, (stop) => choose(place, stop)));
    const movable = data.controls.some((control) => control.name === "depth");
    const views = data.views.map((view) => addView(body, view, movable ? moveNeedle : undefined));
    let asked = false;

    function choose(place, stop) {
        stops[place] = stop;
        inputs[place].show(stop);
        if (asked) return;
        asked = true;
        requestAnimationFrame(() => {
            asked = false;
            draw();
        });
    }

    function draw() {
        for (const view of views) view.show(stops, data.pool);
    }

    function moveNeedle(token) {
        const place = data.controls.findIndex((control) => control.name === "depth");
        const strip = data.views.find((view) => view.kind === "strip" && view.controls.includes(place));
        if (!strip) return;
        choose(place, depthTowards(strip, stops, place, data.controls[place].values.length, data.pool, token));
    }

    followTheme();
    draw();
}

// The stop of the depth whose key begins nearest to a token; where that is the present one, the next stop on that side,
// so that small steps of the keyboard get on.
function depthTowards(strip, stops, place, count, pool, token) {
    const starts = [...Array(count).keys()].map((stop) => frameOf(strip, stops.with(place, stop), pool)[0].needle[0]);
    const here = stops[place];
    const nearest = starts.reduce(
        (best, start, stop) => (Math.abs(start - token) < Math.abs(starts[best] - token) ? stop : best),
        0,
    );
    if (nearest !== here || token === starts[here]) return nearest;
    const beyond = starts.findIndex((start, stop) => Math.abs(stop - here) === 1 && start > starts[here] === token > starts[here]);
    return beyond < 0 ? here : beyond;
}

function frameOf(view, stops, pool) {
    return unshared(view.frames[view.controls.map((place) => stops[place]).join("|")], pool);
}

// A fresh copy of a value, with every reference replaced by the part it stands for.
function unshared(value, pool) {
    if (Array.isArray(value)) return value.map((item) => unshared(item, pool));
    if (value === null || typeof value !== "object") return value;
    if ("$" in value) return unshared(pool[value.$], pool);
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, unshared(item, pool)]));
}

function element(parent, tag, properties = {}) {
    return parent.appendChild(Object.assign(document.createElement(tag), properties));
}

function addControl(body, control, onChoose) {
    const kind = control.values.length < 2 ? "span" : "label";
    const label = element(body.querySelector(".sv-controls"), kind, { className: "sv-control" });
    element(label, "span", { className: "sv-control-name", textContent: control.label });
    if (control.values.length < 2) return addFact(label, control);
    const add = control.values.some((value) => typeof value === "string") ? addMenu : addSlider;
    return add(label, control, onChoose);
}

// What has one value only is said, not set.
function addFact(label, control) {
    element(label, "span", { className: "sv-value", textContent: control.values[0].toLocaleString("en") });
    return { show() {} };
}

function addMenu(label, control, onChoose) {
    const menu = element(label, "select", { name: control.name });
    for (const value of control.values) element(menu, "option", { textContent: value });
    menu.selectedIndex = control.stop;
    menu.addEventListener("change", () => onChoose(menu.selectedIndex));
    return { show: (stop) => (menu.selectedIndex = stop) };
}

function addSlider(label, control, onChoose) {
    const slider = element(label, "input", { type: "range", name: control.name, min: 0, step: 1 });
    slider.max = control.values.length - 1;
    const value = element(label, "output", { className: "sv-value" });
    const show = (stop) => {
        slider.value = stop;
        value.textContent = control.values[stop].toLocaleString("en");
        slider.setAttribute("aria-valuetext", value.textContent);
    };
    slider.addEventListener("input", () => onChoose(Number(slider.value)));
    show(control.stop);
    return { show };
}

function addView(body, view, onNeedle) {
    const card = element(body.querySelector(".sv-views"), "section", { className: `sv-card sv-view-${view.kind}` });
    element(card, "h2", { className: "sv-name", textContent: view.title });
    const words = element(card, "div", { className: "sv-words" });
    words.setAttribute("aria-live", "polite");
    const place = element(card, "div", { className: "sv-figure" });
    place.style.height = view.kind === "strip" ? "auto" : `${view.height}px`;
    const picture = pictureOf(view, place, onNeedle);
    return {
        show(stops, pool) {
            const [state, said] = frameOf(view, stops, pool);
            words.innerHTML = said;
            picture.draw(state, `${view.title}: ${words.textContent}`);
        },
    };
}

function pictureOf(view, place, onNeedle) {
    if (view.kind === "map") return mapView(place);
    if (view.kind === "strip") return stripView(place, { onNeedle });
    place.setAttribute("role", "img");
    return {
        draw(state, summary) {
            place.setAttribute("aria-label", summary);
            const layout = { ...state.layout, height: view.height, autosize: true };
            Plotly.react(place, state.data, layout, { displayModeBar: false, responsive: true });
        },
    };
}

// The drawings look at the attribute that JupyterLab sets; here the system's setting stands for it.
function followTheme() {
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const follow = () => (document.body.dataset.jpThemeLight = String(!dark.matches));
    dark.addEventListener("change", follow);
    follow();
}

startPage(document.querySelector(".sv-page"));
