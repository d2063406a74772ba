// Names the regions of a position map where they stand: on the region if it has room, else beside it with a line.
const MAP_LINE = 14;
const MAP_UNTRAINED = -2; // the kind of a cell that training never showed; other kinds are the number of a band

/** Two lines of much the same length; short text stays on one. */
function mapBalanced(text) {
    if (text.length < 16) return [text];
    const words = text.split(" ");
    let best = [text];
    let shortest = Infinity;
    for (let cut = 1; cut < words.length; cut++) {
        const lines = [words.slice(0, cut).join(" "), words.slice(cut).join(" ")];
        const longest = Math.max(...lines.map((line) => line.length));
        if (longest < shortest) [best, shortest] = [lines, longest];
    }
    return best;
}

/** The regions of a panel worth naming: all that was never trained, and each band where it was. */
function mapRegions(panel, cells, state) {
    const limit = state.context_length?.toLocaleString("en");
    const several = panel.bands.length > 1;
    const kinds = panel.bands.map((band, number) => ({
        text: several ? `${band.name}: ${band.note}` : limit ? `trained: told under ${limit}` : "",
        kind: number,
        narrow: several && number === 0,
    }));
    const never = several ? "never trained" : `never trained: told ${limit} or more`;
    kinds.push({ text: never, kind: MAP_UNTRAINED, narrow: false });
    return kinds.reverse().flatMap((region) => {
        const rows = region.text ? mapRows(region.kind, cells) : [];
        return rows.length > 0 ? [{ ...region, ...mapMiddle(rows), rows }] : [];
    });
}

function mapKind(cells, cell) {
    return cells.never[cell] ? MAP_UNTRAINED : cells.bands[cell];
}

/** The rows of a region: how many cells each has, and the middle one's column. */
function mapRows(kind, cells) {
    const found = [];
    for (let row = 0; row < cells.count; row++) {
        let [size, columns] = [0, 0];
        for (let column = 0; column <= row; column++) {
            if (mapKind(cells, row * cells.count + column) !== kind) continue;
            size += 1;
            columns += column;
        }
        if (size > 0) found.push({ row, size, column: columns / size });
    }
    return found;
}

function mapMiddle(rows) {
    const size = rows.reduce((sum, one) => sum + one.size, 0);
    const row = rows.reduce((sum, one) => sum + one.row * one.size, 0) / size;
    return { size, middle: rows.find((one) => one.row >= Math.round(row)) ?? rows[rows.length - 1] };
}

function mapPlate(context, lines, ink) {
    context.font = `11.5px ${ink.family}`;
    const widest = Math.max(...lines.map((line) => context.measureText(line).width));
    return { lines, width: Math.ceil(widest) + 10, height: lines.length * MAP_LINE + 4 };
}

/** A place for a plate whose corners and middle all lie on its region, as near its middle as there is one. */
function mapOn(region, cells, place, plate) {
    const width = place.side / cells.count;
    const cell = (value) => Math.floor(value / width);
    const lower = region.rows.filter((one) => one.row >= region.middle.row);
    const holds = (x, y) =>
        [0, 0.5, 1].every((across) =>
            [0, 1].every((down) => {
                const [row, column] = [cell(y + down * plate.height), cell(x + across * plate.width)];
                const inside = row < cells.count && column <= row;
                return inside && mapKind(cells, row * cells.count + column) === region.kind;
            }),
        );
    const step = Math.max(1, Math.floor(lower.length / 12));
    for (let tried = 0; tried < lower.length; tried += step) {
        const middle = (lower[tried].column + 0.5) * width - plate.width / 2;
        const y = (lower[tried].row + 0.5) * width - plate.height / 2;
        const x = [Math.max(4, middle), 4].find((left) => holds(left, y));
        if (x !== undefined) return { x: place.x + x, y: place.y + y };
    }
    return null;
}

function paintMapPlate(context, plate, ink) {
    context.fillStyle = MAP_PLATE;
    context.beginPath();
    context.roundRect(plate.x, plate.y, plate.width, plate.height, 4);
    context.fill();
    context.font = `11.5px ${ink.family}`;
    context.fillStyle = "#ffffff";
    context.textAlign = "center";
    context.textBaseline = "middle";
    plate.lines.forEach((line, number) => {
        context.fillText(line, plate.x + plate.width / 2, plate.y + 2.5 + (number + 0.5) * MAP_LINE);
    });
}

function paintMapLeader(context, plate, end, ink) {
    context.strokeStyle = ink.strong;
    context.lineWidth = 1.2;
    context.beginPath();
    const down = end.x < plate.x ? plate.height / 2 : plate.height;
    context.moveTo(Math.max(plate.x, Math.min(end.x, plate.x + 10)), plate.y + down);
    context.lineTo(end.x, end.y);
    context.stroke();
    context.beginPath();
    context.arc(end.x, end.y, 3, 0, 2 * Math.PI);
    context.fillStyle = "#ffffff";
    context.fill();
    context.strokeStyle = "#10141f";
    context.stroke();
}

/** Names each region of one panel: on it, or in the empty half above the diagonal with a line to it. */
function paintMapLabels(context, panel, cells, place, state, ink) {
    const width = place.side / cells.count;
    const beside = [];
    let depth = place.y + 4;
    for (const region of mapRegions(panel, cells, state)) {
        const plate = mapPlate(context, mapBalanced(region.text), ink);
        const on = width < MAP_NUMBERS && !region.narrow ? mapOn(region, cells, place, plate) : null;
        if (on) {
            paintMapPlate(context, { ...plate, ...on }, ink);
            continue;
        }
        const upper = region.size * width * width < 40 ? null : mapAbove(context, region, place, depth, width, ink);
        if (!upper) continue;
        depth += upper.height + 5;
        beside.push([upper, mapEnd(region, place, width)]);
    }
    for (const [plate, end] of beside) paintMapLeader(context, plate, end, ink);
    for (const [plate] of beside) paintMapPlate(context, plate, ink);
    paintMapNumbers(context, cells, place, ink);
    paintMapName(context, panel.name, place, ink);
}

/** A plate to the right above the diagonal, with fewer words where there is no room for all. */
function mapAbove(context, region, place, depth, width, ink) {
    const name = region.text.split(":")[0];
    for (const lines of [mapBalanced(region.text), [name], name.split(" ")]) {
        const plate = mapPlate(context, lines, ink);
        const edge = place.x + place.side + place.room - 3;
        const diagonal = place.x + depth - place.y + plate.height + width;
        if (edge - plate.width >= diagonal) return { ...plate, x: edge - plate.width, y: depth };
    }
    return null;
}

/** Where a line to a region ends: in its middle, or between two numbers. */
function mapEnd({ middle }, place, width) {
    const corner = width < MAP_NUMBERS ? 0.5 : 0;
    const [row, column] = width < MAP_NUMBERS ? [middle.row, middle.column] : [middle.row, Math.ceil(middle.column)];
    return { x: place.x + (column + corner) * width, y: place.y + (row + corner) * width };
}

function paintMapName(context, name, place, ink) {
    context.font = `650 12px ${ink.family}`;
    context.fillStyle = ink.strong;
    context.textAlign = "left";
    context.textBaseline = "bottom";
    context.fillText(name, place.x, place.y - 4, place.side + place.room);
}
