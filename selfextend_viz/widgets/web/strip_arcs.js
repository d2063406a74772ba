// The arcs from the answer to the tokens that one head looks at: the thicker, the more of its attention.
const STRIP_LEAST = 0.01; // bins with less attention have no arc
const STRIP_THICKEST = 10;

function stripPath(from, to, top, full) {
    const span = Math.max(from - to, 14);
    const height = (4 / 3) * (7 + 23 * Math.sqrt(Math.min(1, span / full)));
    const bend = Math.min(span * 0.18, 90);
    const end = from - span;
    return `M ${from} ${top} C ${from - bend} ${top - height} ${end + bend} ${top - height} ${end} ${top}`;
}

function stripArcWords(state, row, arc) {
    const tokens = arc.stop - arc.start > 1 ? `tokens ${arc.start} to ${arc.stop - 1}` : `token ${arc.start}`;
    const share = `${(100 * arc.mass).toFixed(1)}% of the attention`;
    return `${row.name}: ${share} on ${tokens}, told to be ${stripNumber(arc.told)} away`;
}

/** The arcs of a row, by the place of their bins in the state, so that a redraw moves each to where it now belongs. */
function stripArcs(group, state, row, index, scale) {
    const top = stripTop(index);
    const known = new Map([...group.children].map((path) => [path.dataset.bin, path]));
    (row.arcs ?? []).forEach((arc, number) => {
        const onNeedle = arc.start === state.needle[0] && arc.stop === state.needle[1];
        const bin = onNeedle ? "needle" : String(number);
        const path = known.get(bin) ?? stripFreshArc(bin, scale, top);
        known.delete(bin);
        path.classList.toggle("sv-strip-found", onNeedle);
        const middle = scale.x((arc.start + arc.stop) / 2);
        const line = stripPath(scale.right, middle, top, scale.right - scale.left);
        path.setAttribute("d", line);
        path.style.d = `path("${line}")`; // the property moves smoothly where the attribute would jump
        const seen = arc.mass >= STRIP_LEAST;
        path.style.strokeWidth = seen ? `${Math.max(1.2, STRIP_THICKEST * arc.mass)}px` : "0px";
        path.style.opacity = seen ? Math.min(1, (onNeedle ? 0.55 : 0.4) + 0.6 * arc.mass) : 0;
        path.style.pointerEvents = seen ? "" : "none";
        path.firstChild.textContent = stripArcWords(state, row, arc);
        if (!path.isConnected) group.append(path);
        if (onNeedle) group.append(path);
    });
    for (const path of known.values()) path.remove();
}

function stripFreshArc(bin, scale, top) {
    const path = stripShape("path", { class: "sv-strip-arc" });
    path.dataset.bin = bin;
    path.style.opacity = 0;
    path.append(stripShape("title", {}));
    return path;
}
