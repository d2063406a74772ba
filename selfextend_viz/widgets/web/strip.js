// The strip: one prompt twice, stock above and the method below. Arcs lead from the answer, at the right end, to the
// tokens one attention head looks at while the model answers; the key is a slider that can be moved along the tracks.
const STRIP_STEPS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 };

function stripElements(element) {
    const frame = stripElement("div", "sv-strip-view");
    frame.setAttribute("role", "group");
    frame.setAttribute("aria-label", "Where the answer looks");
    const svg = frame.appendChild(stripShape("svg", { class: "sv-strip-drawing", role: "img" }));
    const key = frame.appendChild(stripElement("div", "sv-strip-handle", "▲ key"));
    const unit = frame.appendChild(stripElement("div", "sv-strip-unit", "tokens back"));
    unit.setAttribute("aria-hidden", "true");
    const rows = [0, 1].map((index) => stripRowElements(frame, index));
    element.append(frame);
    return { frame, svg, key, rows };
}

function stripRowElements(frame, index) {
    const who = frame.appendChild(stripElement("div", `sv-strip-who sv-strip-row-${index}`));
    const [name, note, share] = ["name", "note", "share"].map((part) =>
        who.appendChild(stripElement("div", `sv-strip-${part}`)),
    );
    const digits = frame.appendChild(stripElement("div", `sv-strip-digits sv-strip-row-${index}`));
    return { name, note, share, digits };
}

/** The groups of the drawing that stay while their content changes. */
function stripCanvas(svg) {
    const hatch = `sv-strip-hatch-${(stripCount += 1)}`;
    const ground = stripShape("g", {});
    const arcs = [0, 1].map((index) => stripShape("g", { class: `sv-strip-arcs sv-strip-row-${index}` }));
    const keys = [0, 1].map(stripKeyMark);
    const ends = [0, 1].map((index) => stripShape("circle", { class: `sv-strip-end sv-strip-row-${index}`, r: 4 }));
    svg.append(stripHatch(hatch), ground, ...arcs, ...keys, ...ends);
    return { hatch, ground, arcs, keys, ends };
}

function stripSummary(state) {
    const place = `The key ${state.answer} stands ${stripNumber(state.length - state.needle[0])} tokens before the answer.`;
    return [place, ...state.rows.map((row) => `${stripSpoken(row)}; ${stripShareWords(state, row)}.`)].join(" ");
}

/** Rows of one prompt can be compared arc by arc. */
function stripPrompt(state) {
    return JSON.stringify([state.length, state.needle, state.answer, state.question, state.head]);
}

function stripView(element, { onNeedle } = {}) {
    const { frame, svg, key, rows } = stripElements(element);
    const canvas = stripCanvas(svg);
    const answered = [];
    let [state, shown, scale, token] = [null, [], null, 0];

    function placeKey(at) {
        token = Math.min(Math.max(at, state.needle_range[0]), state.needle_range[1]);
        const [middle] = canvas.keys.map((mark) => stripPlaceKey(mark, state, token, scale));
        const left = svg.getBoundingClientRect().left - frame.getBoundingClientRect().left;
        key.style.left = `${left + middle}px`;
        const back = stripNumber(state.length - token);
        key.setAttribute("aria-valuenow", token);
        key.setAttribute("aria-valuetext", `token ${stripNumber(token)}, ${back} tokens before the answer`);
    }

    function layOut() {
        const width = svg.clientWidth;
        if (!state || width < 40) return;
        scale = stripScale(state, width);
        canvas.ground.replaceChildren(
            ...state.rows.map((row, index) => stripTrack(state, row, index, scale, canvas.hatch)),
            stripAxis(state, scale),
        );
        state.rows.forEach((row, index) => {
            stripArcs(canvas.arcs[index], state, shown[index], index, scale);
            canvas.ends[index].setAttribute("cx", scale.right);
            canvas.ends[index].setAttribute("cy", stripTop(index));
        });
        placeKey(state.needle[0]);
    }

    /** A row that waits keeps its last answer, greyed, while the prompt is the same. */
    function rowToDraw(row, index) {
        const last = answered[index];
        if (row.digits) answered[index] = { row, prompt: stripPrompt(state) };
        const old = !row.digits && last?.prompt === stripPrompt(state);
        for (const part of [canvas.arcs[index], rows[index].digits]) part.classList.toggle("sv-strip-old", old);
        return old ? { ...row, digits: last.row.digits, arcs: last.row.arcs } : row;
    }

    function draw(next) {
        frame.style.visibility = next?.rows ? "" : "hidden";
        if (!next?.rows) return;
        state = { needle_range: [0, next.length - 1], ...next };
        shown = state.rows.map(rowToDraw);
        state.rows.forEach((row, index) => {
            const place = rows[index];
            [place.name.textContent, place.note.textContent] = [row.name, row.note];
            place.share.textContent = stripShareWords(state, row);
            stripAnswer(place.digits, shown[index], state.answer);
        });
        key.setAttribute("aria-valuemin", state.needle_range[0]);
        key.setAttribute("aria-valuemax", state.needle_range[1]);
        svg.setAttribute("aria-label", stripSummary(state));
        layOut();
    }

    const resized = new ResizeObserver(layOut);
    resized.observe(svg);
    if (onNeedle) stripMoving({ svg, key, placeKey, at: () => token, now: () => [state, scale], onNeedle });
    return {
        draw,
        dispose: () => {
            resized.disconnect();
            frame.remove();
        },
    };
}

/** Let the key be moved: by a click or a drag on the tracks, and by the keyboard. */
function stripMoving({ svg, key, placeKey, at, now, onNeedle }) {
    let dragging = false;
    Object.assign(key, { tabIndex: 0 });
    key.dataset.lmSuppressShortcuts = "true"; // arrow keys would move JupyterLab's cell cursor
    key.setAttribute("role", "slider");
    key.setAttribute("aria-label", "Where the key stands");
    key.setAttribute("aria-orientation", "horizontal");
    svg.classList.add("sv-strip-movable");

    const follow = (event) => placeKey(now()[1].token(event.clientX - svg.getBoundingClientRect().left));
    for (const place of [svg, key]) {
        place.addEventListener("pointerdown", (event) => {
            if (event.button !== 0 || !now()[0]) return;
            dragging = true;
            place.setPointerCapture(event.pointerId);
            follow(event);
        });
        place.addEventListener("pointermove", (event) => dragging && follow(event));
        place.addEventListener("pointerup", () => {
            if (dragging) onNeedle(at());
            dragging = false;
        });
        place.addEventListener("pointercancel", () => (dragging = false));
    }
    key.addEventListener("keydown", (event) => {
        const state = now()[0];
        if (!state) return;
        const [first, last] = state.needle_range;
        const ends = { Home: first, End: last };
        const step = STRIP_STEPS[event.key];
        if (step === undefined && ends[event.key] === undefined) return;
        event.preventDefault();
        event.stopPropagation();
        const one = state.needle_step ?? Math.max(1, Math.round((last - first) / 50));
        placeKey(ends[event.key] ?? at() + step * one);
        onNeedle(at());
    });
}
