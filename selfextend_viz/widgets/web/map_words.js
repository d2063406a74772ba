// Puts a position map in words: one pair of tokens for its tooltip, and the whole map for those who cannot see it.
function mapPercent(share) {
    if (share > 0 && share < 0.01) return "under 1%";
    return `${Math.round(share * 100)}%`;
}

/** One pair as each panel tells it, in short lines; `row` and `column` are cells. */
function mapWords(state, cells, row, column) {
    const [i, j] = [state.tokens[row], state.tokens[column]];
    const number = (value) => value.toLocaleString("en");
    if (j > i) return [`token ${number(i)} does not see token ${number(j)}: it has not been written yet`];
    const lines = [`query i = ${number(i)}, key j = ${number(j)}, d = i − j = ${number(i - j)}`];
    state.panels.forEach((panel, index) => {
        const place = row * state.tokens.length + column;
        const band = panel.bands[cells[index].bands[place]];
        if (!band) {
            lines.push(`${panel.name}: not seen`);
            return;
        }
        const trained =
            state.context_length === null ? "" : cells[index].never[place] ? ", never trained" : ", trained";
        const where = panel.bands.length > 1 ? `, ${band.name}` : "";
        lines.push(`${panel.name}: told ${number(cells[index].told[place])}${trained}${where}`);
        const [first, last] = mapRun(band, state, row, column);
        if (last > first) lines.push(`tokens ${number(first)} to ${number(last)} share this position`);
    });
    if (state.difference) lines.push(mapDifferenceWords(cells[2], row, column));
    return lines;
}

/** The true tokens that share a key's position, as far as the band reaches. */
function mapRun(band, state, row, column) {
    const query = state.tokens[row];
    const nearest = query - band.nearest;
    const farthest = band.beyond === null ? 0 : query - band.beyond + 1;
    const [first, last] = [Math.max(band.first[column], farthest), Math.min(band.last[column], nearest)];
    if (!band.spans) return [first, last];
    const [start, stop] = mapSpan(band.spans[row], column);
    return [Math.max(first, state.tokens[start]), Math.min(last, state.tokens[stop - 1])];
}

function mapSummary(state, cells) {
    const { length, context_length: limit } = state;
    const shares = state.panels.map((panel, index) => `${panel.name} ${mapPercent(cells[index].share)}`).join(", ");
    const trained = limit === null ? "" : `; pairs told a distance never trained: ${shares}`;
    const keys = "Arrow keys move the pointed pair.";
    const [one, other] = state.panels.map((panel) => panel.name);
    const shown = state.difference ? `${one} beside ${other}, and their difference` : "plain RoPE beside the method";
    return `Position map of ${length.toLocaleString("en")} tokens, ${shown}${trained}. ${keys}`;
}
