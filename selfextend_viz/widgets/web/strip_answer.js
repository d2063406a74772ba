// The digits a row answered, large, each over its probability as a number and as a bar, and whether they are the key.
const STRIP_SURE = 0.005; // a probability within this of 1 is written 99+, since no model is certain
const STRIP_DOT = "·";

function stripElement(name, className, text) {
    const element = document.createElement(name);
    element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
}

function stripPercent(share) {
    return share > 1 - STRIP_SURE ? "99+" : `${Math.round(100 * share)}%`;
}

/** A token as it can be shown: what is no visible character becomes a dot. */
function stripVisible(text) {
    return text.trim() && !/[\p{C}\p{Z}\uFFFD]/u.test(text) ? text : STRIP_DOT;
}

function stripRight(row) {
    return row.digits.every((digit) => digit.said === digit.wanted);
}

function stripSpoken(row) {
    if (!row.digits) return `${row.name} has not answered yet`;
    const said = row.digits.map((digit) => stripVisible(digit.said)).join("");
    return `${row.name} answers ${said}, ${stripRight(row) ? "the right key" : "not the key"}`;
}

function stripDigit(digit) {
    const share = digit.probability_said;
    const cell = stripElement("span", "sv-strip-digit");
    if (digit.said !== digit.wanted) cell.classList.add("sv-strip-wrong");
    const wanted = `the key has ${digit.wanted}, at ${stripPercent(digit.probability_wanted)}`;
    cell.title = `says ${JSON.stringify(digit.said)} at ${stripPercent(share)}; ${wanted}`;
    const said = cell.appendChild(stripElement("span", "sv-strip-said", stripVisible(digit.said)));
    if (said.textContent === STRIP_DOT) said.classList.add("sv-strip-dot"); // struck out, a dot looks like a sign
    said.style.setProperty("--ss-share", `${Math.round(45 * share)}%`);
    const meter = cell.appendChild(stripElement("span", "sv-strip-meter"));
    meter.appendChild(stripElement("i", "")).style.width = `${100 * share}%`;
    cell.append(stripElement("span", "sv-strip-percent", stripPercent(share)));
    return cell;
}

/** Fill `place` with a row's answer, or with a dot for each digit to come. */
function stripAnswer(place, row, answer) {
    const waiting = [...answer].map(() => stripElement("span", "sv-strip-digit sv-strip-waiting", "·"));
    place.replaceChildren(...(row.digits ? row.digits.map(stripDigit) : waiting));
    const verdict = !row.digits ? "" : stripRight(row) ? "✓" : "✗";
    place.append(stripElement("span", "sv-strip-verdict", verdict));
    place.setAttribute("role", "img");
    place.setAttribute("aria-label", stripSpoken(row));
}

/** The share of a row's attention that lies on the key, or null while it waits. */
function stripNeedleMass(state, row) {
    if (!row.arcs) return null;
    const [start, stop] = state.needle;
    return row.arcs.filter((arc) => arc.start === start && arc.stop === stop).reduce((sum, arc) => sum + arc.mass, 0);
}

function stripShareWords(state, row) {
    const mass = stripNeedleMass(state, row);
    return mass === null ? "asking …" : `${Math.round(100 * mass)}% on the key`;
}
