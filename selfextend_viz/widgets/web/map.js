// The position map on a canvas: two square maps side by side, and one pair of tokens pointed out in both, by the
// pointer or by the arrow keys. A pair is told query[i] - key[j] in the band that holds i - j; no other sum is done here.
const MAP_PAUSE = 60; // milliseconds between two reports of a pointer that keeps moving

function mapElements(element) {
    const frame = document.createElement("div");
    frame.className = "sv-map";
    const [base, marks] = [0, 1].map(() => frame.appendChild(document.createElement("canvas")));
    marks.tabIndex = 0;
    marks.setAttribute("role", "img");
    marks.dataset.lmSuppressShortcuts = "true"; // arrow keys would move JupyterLab's cell cursor
    const tip = frame.appendChild(document.createElement("div"));
    tip.className = "sv-map-tip";
    tip.hidden = true;
    const live = frame.appendChild(document.createElement("div"));
    live.className = "sv-map-live";
    live.setAttribute("aria-live", "polite");
    element.append(frame);
    return { frame, base, marks, tip, live };
}

function paintMap(context, drawn, ratio, ink, width, height) {
    const { state, cells, places } = drawn;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    places.forEach((place, index) => {
        const panel = cells[index];
        if (panel.difference) return paintMapDifference(context, panel, place, ratio);
        paintMapCells(context, panel, place, ratio, mapTop(state));
        paintMapParting(context, panel, panel.never, place, [["#1a1208", 2.5]]);
        paintMapParting(context, panel, panel.bands, place, [["#10141f", 3.6], ["#ffffff", 1.6]]);
    });
    paintMapAxes(context, state, places, ink);
    places.forEach((place, index) => {
        if (cells[index].difference) paintMapDifferenceLabels(context, cells[index], place, ink);
        else paintMapLabels(context, state.panels[index], cells[index], place, state, ink);
    });
    paintMapBar(context, state, places, ink, ratio);
    if (state.difference) paintMapDifferenceBar(context, cells[2], places[2], ink);
}

/** Frames the pointed row and column, and rings the pair together with the tokens that share its position. */
function paintMapMarks(context, drawn, pointed) {
    const { state, cells, places } = drawn;
    const count = state.tokens.length;
    places.forEach((place, index) => {
        const width = place.side / count;
        const thick = Math.max(width, 3);
        const x = place.x + (pointed.column + 0.5) * width;
        const y = place.y + (pointed.row + 0.5) * width;
        const boxes = [
            [place.x, y - thick / 2, (pointed.row + 1) * width, thick],
            [x - thick / 2, place.y + pointed.column * width, thick, place.side - pointed.column * width],
        ];
        for (const [color, line] of [["rgba(0, 0, 0, 0.85)", 3], ["#ffffff", 1.2]]) {
            context.strokeStyle = color;
            context.lineWidth = line;
            for (const box of boxes) context.strokeRect(...box);
        }
        const band = state.panels[index]?.bands[cells[index].bands[pointed.row * count + pointed.column]];
        if (!band) return;
        const [first, last] = mapRun(band, state, pointed.row, pointed.column).map(
            (token) => place.x + mapShare(token, state) * place.side,
        );
        for (const [color, line] of [["#000000", 4.5], ["#ffffff", 2.2]]) {
            context.strokeStyle = color;
            context.lineWidth = line;
            context.beginPath();
            context.roundRect((first + last) / 2 - (last - first) / 2 - 5, y - 5, last - first + 10, 10, 5);
            context.stroke();
        }
    });
}

function mapView(element, { onPoint } = {}) {
    const { frame, base, marks, tip, live } = mapElements(element);
    let drawn = null;
    let pointed = null;
    let ink = null;
    let held = false;
    let timer = 0;

    function fit() {
        const [width, height, ratio] = [frame.clientWidth, frame.clientHeight, globalThis.devicePixelRatio || 1];
        for (const canvas of [base, marks]) {
            const size = [Math.round(width * ratio), Math.round(height * ratio)];
            if (canvas.width !== size[0]) canvas.width = size[0];
            if (canvas.height !== size[1]) canvas.height = size[1];
        }
        return { width, height, ratio };
    }

    function paint() {
        const { width, height, ratio } = fit();
        if (!drawn || width === 0 || height === 0) return;
        ink ??= mapInk(frame);
        drawn.places = mapPlaces(width, height, drawn.cells.length, ratio);
        paintMap(base.getContext("2d"), drawn, ratio, ink, width, height);
        paintMarks();
    }

    function paintMarks() {
        const ratio = globalThis.devicePixelRatio || 1;
        const context = marks.getContext("2d");
        context.setTransform(ratio, 0, 0, ratio, 0, 0);
        context.clearRect(0, 0, frame.clientWidth, frame.clientHeight);
        if (pointed && drawn?.places) paintMapMarks(context, drawn, pointed);
    }

    function cellOf(token) {
        const { tokens } = drawn.state;
        const place = tokens.findIndex((other) => other >= token);
        if (place <= 0) return Math.max(place, 0);
        return tokens[place] - token <= token - tokens[place - 1] ? place : place - 1;
    }

    function draw(state) {
        const kept = held && pointed ? [pointed.row, pointed.column].map((cell) => drawn.state.tokens[cell]) : null;
        drawn = { state, cells: state.panels.map((panel) => mapCells(panel, state)), places: null };
        if (state.difference) drawn.cells.push(mapDifference(...drawn.cells));
        held = kept !== null && kept[0] < state.length;
        const [i, j] = held ? kept : [state.row, state.column ?? 0];
        pointed = i === null ? null : { row: cellOf(i), column: cellOf(j) };
        marks.setAttribute("aria-label", mapSummary(state, drawn.cells));
        paint();
        if (held && drawn.places) showPair();
        else tip.hidden = true;
        frame.dispatchEvent(new CustomEvent("sv-map-drawn"));
    }

    function told(panel, i, j) {
        const { tokens } = drawn.state;
        const [row, column] = [tokens.indexOf(i), tokens.indexOf(j)];
        const place = row * tokens.length + column;
        return row < 0 || column < 0 || drawn.cells[panel].bands[place] < 0 ? null : drawn.cells[panel].told[place];
    }

    /** The middle of a pair's cell and its width, in CSS pixels from the corner of the view. */
    function where(panel, i, j) {
        const place = drawn.places[panel];
        const width = place.side / drawn.state.tokens.length;
        return { x: place.x + (cellOf(j) + 0.5) * width, y: place.y + (cellOf(i) + 0.5) * width, width };
    }

    function report() {
        if (!onPoint || timer) return;
        const sent = pointed;
        onPoint(drawn.state.tokens[sent.row], drawn.state.tokens[sent.column]);
        timer = setTimeout(() => {
            timer = 0;
            if (pointed && pointed !== sent) report();
        }, MAP_PAUSE);
    }

    function explain(row, column, x, y) {
        const lines = mapWords(drawn.state, drawn.cells, row, column);
        tip.replaceChildren(
            ...lines.map((line) => Object.assign(document.createElement("div"), { textContent: line })),
        );
        tip.hidden = false;
        const [width, height] = [frame.clientWidth, frame.clientHeight];
        const left = x + 16 + tip.offsetWidth > width ? x - 16 - tip.offsetWidth : x + 16;
        tip.style.left = `${Math.max(0, Math.min(left, width - tip.offsetWidth))}px`;
        const below = y + 12 + tip.offsetHeight <= height;
        tip.style.top = `${Math.max(0, below ? y + 12 : y - 12 - tip.offsetHeight)}px`;
        return lines;
    }

    function point(row, column, x, y) {
        const lines = explain(row, column, x, y);
        if (column > row || (pointed && pointed.row === row && pointed.column === column)) return;
        pointed = { row, column };
        live.textContent = lines.join(". ");
        paintMarks();
        report();
    }

    function hover(event) {
        if (!drawn?.places) return;
        const { left, top } = frame.getBoundingClientRect();
        const [x, y] = [event.clientX - left, event.clientY - top];
        const place = drawn.places.find(
            (one) => x >= one.x && x < one.x + one.side && y >= one.y && y < one.y + one.side,
        );
        held = Boolean(place);
        if (!place) {
            tip.hidden = true;
            return;
        }
        const count = drawn.state.tokens.length;
        const cell = (value) => Math.min(count - 1, Math.floor((value / place.side) * count));
        point(cell(y - place.y), cell(x - place.x), x, y);
    }

    /** Puts the tooltip at the pointed pair, where no pointer says a place. */
    function showPair() {
        const [i, j] = [pointed.row, pointed.column].map((cell) => drawn.state.tokens[cell]);
        const { x, y } = where(drawn.places.length - 1, i, j);
        explain(pointed.row, pointed.column, x, y);
    }

    function leave() {
        held = false;
        tip.hidden = true;
    }

    function press(event) {
        const step = event.shiftKey ? 10 : 1;
        const moves = {
            ArrowLeft: [0, -step], ArrowRight: [0, step], ArrowUp: [-step, 0], ArrowDown: [step, 0],
            Home: [0, -Infinity], End: [0, Infinity],
        };
        if (event.key === "Escape") leave();
        if (!(event.key in moves) || !drawn?.places) return;
        event.preventDefault();
        const last = drawn.state.tokens.length - 1;
        const [down, across] = moves[event.key];
        const from = pointed ?? { row: last, column: 0 };
        const row = Math.min(last, Math.max(down ? from.column : 0, from.row + down));
        const column = Math.min(row, Math.max(0, from.column + across));
        held = true;
        const { x, y } = where(drawn.places.length - 1, drawn.state.tokens[row], drawn.state.tokens[column]);
        point(row, column, x, y);
    }

    function recolor() {
        ink = null;
        requestAnimationFrame(paint);
    }

    const resized = new ResizeObserver(paint);
    resized.observe(frame);
    const themed = new MutationObserver(recolor);
    themed.observe(document.body, { attributeFilter: ["data-jp-theme-light", "class", "style"] });
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", recolor);
    globalThis.addEventListener("resize", paint); // zooming changes the pixel ratio, not always the size
    marks.addEventListener("pointermove", hover);
    marks.addEventListener("pointerdown", hover);
    marks.addEventListener("pointerleave", leave);
    marks.addEventListener("blur", leave);
    marks.addEventListener("keydown", press);

    function dispose() {
        clearTimeout(timer);
        resized.disconnect();
        themed.disconnect();
        dark.removeEventListener("change", recolor);
        globalThis.removeEventListener("resize", paint);
        frame.remove();
    }

    const view = { draw, told, where, dispose };
    frame.mapView = view;
    return view;
}
