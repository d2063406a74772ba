// Two tracks of tokens with one axis under them, counted back from the answer at the right end, and the key on both.
const STRIP_ROW = 52;
const STRIP_SKY = 34; // where a row's arcs are
const STRIP_TRACK = 14;
const STRIP_AXIS = 20;
const STRIP_SPACE = "http://www.w3.org/2000/svg";
let stripCount = 0;

function stripShape(name, attributes, text) {
    const shape = document.createElementNS(STRIP_SPACE, name);
    for (const [key, value] of Object.entries(attributes)) shape.setAttribute(key, value);
    if (text !== undefined) shape.textContent = text;
    return shape;
}

/** From tokens to pixels and back. */
function stripScale(state, width) {
    const [left, right] = [8, Math.max(9, width - 10)];
    return {
        left,
        right,
        x: (token) => left + (Math.min(Math.max(token, 0), state.length) / state.length) * (right - left),
        token: (x) => Math.round(((x - left) / (right - left)) * state.length),
    };
}

function stripHatch(id) {
    const pattern = stripShape("pattern", { id, width: 6, height: 6, patternUnits: "userSpaceOnUse" });
    pattern.setAttribute("patternTransform", "rotate(45)");
    pattern.append(stripShape("rect", { class: "sv-strip-hatch-ground", width: 6, height: 6 }));
    pattern.append(stripShape("rect", { class: "sv-strip-hatch-line", width: 2.2, height: 6 }));
    const definitions = stripShape("defs", {});
    definitions.append(pattern);
    return definitions;
}

function stripNumber(value) {
    return value.toLocaleString("en");
}

function stripTicks(length) {
    const rough = length / 8;
    const power = 10 ** Math.floor(Math.log10(Math.max(rough, 1)));
    const step = [1, 2, 5, 10].map((times) => times * power).find((size) => size >= rough);
    return Array.from({ length: Math.floor(length / step) }, (_, index) => (index + 1) * step);
}

/** L and the reach, as distances from the answer; one longer than the text has no place on the track. */
function stripLimits(state) {
    const limits = [{ back: state.context_length, text: `L = ${stripNumber(state.context_length)}` }];
    if (state.reach !== state.context_length) limits.push({ back: state.reach, text: `reach ${stripNumber(state.reach)}` });
    return limits.filter((limit) => limit.back <= state.length);
}

/** Axis labels from left to right, the important ones first in line for their room. */
function stripLabels(state, scale) {
    const wanted = [
        { x: scale.x(state.needle[0]), half: 26 },
        { x: scale.right - 18, text: "answer", half: 22 },
        ...(state.reach > state.length ? [stripBeyond(state, scale)] : []),
        ...stripLimits(state).map(({ back, text }) => ({ x: scale.x(state.length - back), text, strong: true })),
        ...stripTicks(state.length).map((back) => ({ x: scale.x(state.length - back), text: stripNumber(back) })),
    ];
    const taken = [];
    return wanted.filter((label) => {
        const half = label.half ?? 3.4 * label.text.length + 2;
        const middle = Math.max(label.x, half);
        const free = taken.every(([low, high]) => middle + half < low || middle - half > high);
        if (!free && !stripBeside(label, half, taken)) return false;
        label.middle = label.moved ?? middle;
        taken.push([label.middle - half - 4, label.middle + half + 4]);
        return label.text !== undefined;
    });
}

/** A reach longer than the text lies off its left end. */
function stripBeyond(state, scale) {
    const text = `◂ reach ${stripNumber(state.reach)}`;
    return { x: scale.left + 3.4 * text.length, text, strong: true };
}

/** A limit's label that would cover another goes beside it, on the side that is free. */
function stripBeside(label, half, taken) {
    if (!label.strong) return false;
    const sides = [label.x - 30 - half, label.x + 30 + half, label.x - 60 - half, label.x + 60 + half];
    label.moved = sides.find((middle) => middle > half && taken.every(([a, b]) => middle + half < a || middle - half > b));
    return label.moved !== undefined;
}

function stripAxis(state, scale) {
    const axis = stripShape("g", { class: "sv-strip-axis" });
    const bottom = 2 * STRIP_ROW;
    for (const back of stripTicks(state.length)) {
        const x = scale.x(state.length - back);
        axis.append(stripShape("line", { class: "sv-strip-notch", x1: x, x2: x, y1: bottom - 2, y2: bottom + 2 }));
    }
    for (const { back } of stripLimits(state)) {
        const x = scale.x(state.length - back);
        axis.append(stripShape("line", { class: "sv-strip-limit", x1: x, x2: x, y1: 6, y2: bottom + 5 }));
    }
    for (const label of stripLabels(state, scale)) {
        const look = label.strong ? "sv-strip-strong" : "sv-strip-tick";
        axis.append(stripShape("text", { class: look, x: label.middle, y: bottom + 15, "text-anchor": "middle" }, label.text));
    }
    return axis;
}

function stripTop(index) {
    return index * STRIP_ROW + STRIP_SKY;
}

/** One row's track, with the stretch that was never trained hatched. */
function stripTrack(state, row, index, scale, hatch) {
    const group = stripShape("g", {});
    const size = { y: stripTop(index), height: STRIP_TRACK, rx: 3 };
    group.append(
        stripShape("rect", { class: "sv-strip-track", x: scale.left, width: scale.right - scale.left, ...size }),
    );
    if (!row.never) return group;
    const [start, stop] = row.never.map(scale.x);
    const width = Math.max(stop - start, 1);
    group.append(stripShape("rect", { class: "sv-strip-never", fill: `url(#${hatch})`, x: start, width, ...size }));
    if (width > 190) {
        const words = `told L or more away: never trained`;
        group.append(stripShape("text", { class: "sv-strip-inside", x: start + 8, y: size.y + 10.5 }, words));
    }
    return group;
}

/** Where the key stands on a row's track. */
function stripKeyMark(index) {
    return stripShape("rect", { class: "sv-strip-key", y: stripTop(index) - 2, height: STRIP_TRACK + 4, rx: 2 });
}

function stripPlaceKey(mark, state, token, scale) {
    const middle = scale.x(token + (state.needle[1] - state.needle[0]) / 2);
    const width = Math.max(6, scale.x(state.needle[1]) - scale.x(state.needle[0]));
    mark.setAttribute("x", middle - width / 2);
    mark.setAttribute("width", width);
    return middle;
}
