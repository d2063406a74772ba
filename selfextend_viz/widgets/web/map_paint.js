// Paints position maps: the cells of each panel, what parts them, their names, the axes and the colour bar.
// A band may be narrowed to spans of cells in each row, as [start, stop, start, stop, ...].
// Colours are Plotly's "Cividis_r", near to far; what training never showed is orange, hatched and outlined.
const MAP_SCALE = [
    "#fee838", "#e1cc55", "#c3b369", "#a59c74", "#8a8678", "#707173", "#575d6d", "#3b496c", "#123570", "#00224e",
];
const MAP_NEVER = "#e0701a";
const MAP_HATCH = [60, 20, 0, 0.75];
const MAP_PLATE = "rgba(20, 24, 34, 0.8)";
const MAP_ROOM = { left: 56, right: 116, top: 20, bottom: 35, between: 18 };
const MAP_SPARE = 100; // the most, in pixels, that labels may stand out to the right of a map
const MAP_UPPER = 0.56; // the share of the height that the bar takes where another stands under it
const MAP_NUMBERS = 13; // a cell this wide, in pixels, has room for its number

function mapRed(hex) {
    return [1, 3, 5].map((place) => parseInt(hex.slice(place, place + 2), 16));
}

function mapPacked([red, green, blue]) {
    return (255 << 24) | (blue << 16) | (green << 8) | red;
}

function mapColors() {
    const stops = MAP_SCALE.map(mapRed);
    return Uint32Array.from({ length: 256 }, (_, step) => {
        const place = (step / 255) * (stops.length - 1);
        const below = Math.min(Math.floor(place), stops.length - 2);
        return mapPacked(
            stops[below].map((part, index) => Math.round(part + (place - below) * (stops[below + 1][index] - part))),
        );
    });
}

/** Orange, darker where a stroke runs: one colour for each place across the strokes. */
function mapHatching(ratio) {
    const spacing = Math.max(4, Math.round(7 * ratio));
    const orange = mapRed(MAP_NEVER);
    return Uint32Array.from({ length: spacing }, (_, place) => {
        const away = Math.min(place, spacing - place) / Math.SQRT2;
        const cover = MAP_HATCH[3] * Math.min(1, Math.max(0, 0.65 * ratio + 0.5 - away));
        return mapPacked(orange.map((part, index) => Math.round(part + cover * (MAP_HATCH[index] - part))));
    });
}

/** The number told in each cell, and which band holds it; -1 where the key is not seen. */
function mapCells(panel, state) {
    const { tokens, context_length: limit } = state;
    const count = tokens.length;
    const told = new Float64Array(count * count).fill(-1);
    const bands = new Int8Array(count * count).fill(-1);
    const never = new Uint8Array(count * count);
    let seen = 0;
    let untrained = 0;
    for (let row = 0; row < count; row++) {
        for (let column = 0; column <= row; column++) {
            const distance = tokens[row] - tokens[column];
            const place = row * count + column;
            for (let number = 0; number < panel.bands.length; number++) {
                const band = panel.bands[number];
                if (distance < band.nearest || (band.beyond !== null && distance >= band.beyond)) continue;
                if (band.spans && !mapSpan(band.spans[row], column)) continue;
                told[place] = band.query[row] - band.key[column];
                bands[place] = number;
                never[place] = limit !== null && told[place] >= limit ? 1 : 0;
                seen += 1;
                untrained += never[place];
                break;
            }
        }
    }
    return { told, bands, never, count, share: untrained / Math.max(seen, 1) };
}

/** The span of a row that holds a column, as [start, stop]. */
function mapSpan(spans, column) {
    for (let place = 0; place < spans.length; place += 2) {
        if (column >= spans[place] && column < spans[place + 1]) return spans.slice(place, place + 2);
    }
    return null;
}

/** A number as it is read in a cell: positions that are not whole keep one digit. */
function mapNumber(value) {
    return Number.isInteger(value) ? value : value.toFixed(1);
}

/** Where the panels stand, in CSS pixels on whole device pixels, and how far labels may stand out to their right. */
function mapPlaces(width, height, panels, ratio) {
    const { left, right, top, bottom, between } = MAP_ROOM;
    const across = (width - left - right - between * (panels - 1)) / panels;
    const whole = (value) => Math.round(value * ratio) / ratio;
    const side = whole(Math.max(24, Math.min(across, height - top - bottom)));
    const spare = Math.max(0, width - left - right - panels * side - between * (panels - 1));
    const room = Math.min(MAP_SPARE, spare / panels);
    const start = left + Math.max(0, (spare - room * panels) / 2);
    return Array.from({ length: panels }, (_, number) => ({
        x: whole(start + number * (side + room + between)),
        y: whole(top),
        side,
        room,
    }));
}

/** Colours of the text, which follow the page's theme. */
function mapInk(element) {
    const probe = document.createElement("span");
    element.append(probe);
    const read = (color) => {
        probe.style.color = color;
        return getComputedStyle(probe).color;
    };
    const strong = read("var(--sv-text, CanvasText)");
    const soft = read("color-mix(in srgb, var(--sv-text, CanvasText) 82%, transparent)");
    const family = getComputedStyle(probe).fontFamily;
    probe.remove();
    return { strong, soft, family };
}

function mapTop(state) {
    const { length, context_length: limit } = state;
    return limit === null ? Math.max(length - 1, 1) : limit;
}

function paintMapCells(context, cells, place, ratio, top) {
    const size = Math.round(place.side * ratio);
    const image = context.createImageData(size, size);
    const pixels = new Uint32Array(image.data.buffer);
    const colors = mapColors();
    const hatching = mapHatching(ratio);
    const at = Int32Array.from({ length: size }, (_, pixel) => Math.floor(((pixel + 0.5) * cells.count) / size));
    for (let y = 0; y < size; y++) {
        const row = at[y] * cells.count;
        for (let x = 0; x < size && at[x] <= at[y]; x++) {
            const cell = row + at[x];
            if (cells.bands[cell] < 0) continue;
            pixels[y * size + x] = cells.never[cell]
                ? hatching[(x + y) % hatching.length]
                : colors[Math.min(255, Math.max(0, Math.round((cells.told[cell] / top) * 255)))];
        }
    }
    context.putImageData(image, Math.round(place.x * ratio), Math.round(place.y * ratio));
}

/** Strokes the cell edges at which neighbours that are both seen have different labels. */
function paintMapParting(context, cells, labels, place, strokes) {
    const { count, bands } = cells;
    const edge = (number) => (number * place.side) / count;
    context.beginPath();
    for (let row = 0; row < count; row++) {
        for (let column = 0; column <= row; column++) {
            const cell = row * count + column;
            if (bands[cell] < 0) continue;
            if (column < row && bands[cell + 1] >= 0 && labels[cell] !== labels[cell + 1]) {
                context.moveTo(place.x + edge(column + 1), place.y + edge(row));
                context.lineTo(place.x + edge(column + 1), place.y + edge(row + 1));
            }
            if (row + 1 < count && bands[cell + count] >= 0 && labels[cell] !== labels[cell + count]) {
                context.moveTo(place.x + edge(column), place.y + edge(row + 1));
                context.lineTo(place.x + edge(column + 1), place.y + edge(row + 1));
            }
        }
    }
    context.lineCap = "square";
    for (const [color, width] of strokes) {
        context.strokeStyle = color;
        context.lineWidth = width;
        context.stroke();
    }
}

function paintMapNumbers(context, cells, place, ink) {
    const width = place.side / cells.count;
    if (width < MAP_NUMBERS) return;
    context.font = `600 ${Math.max(9, Math.min(14, Math.round(width * 0.62)))}px ${ink.family}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineJoin = "round";
    context.lineWidth = 3;
    context.strokeStyle = "rgba(16, 20, 31, 0.85)";
    context.fillStyle = "#ffffff";
    for (let cell = 0; cell < cells.told.length; cell++) {
        if (cells.bands[cell] < 0 || Number.isNaN(cells.told[cell])) continue;
        const x = place.x + ((cell % cells.count) + 0.5) * width;
        const y = place.y + (Math.floor(cell / cells.count) + 0.5) * width + 0.5;
        context.strokeText(mapNumber(cells.told[cell]), x, y);
        context.fillText(mapNumber(cells.told[cell]), x, y);
    }
}

function mapTicks(length) {
    const rough = length / 4;
    const power = 10 ** Math.floor(Math.log10(Math.max(rough, 1)));
    const step = Math.max(1, [1, 2, 5, 10].find((factor) => factor * power >= rough) * power);
    return Array.from({ length: Math.ceil(length / step) }, (_, number) => number * step);
}

/** Where a true position stands along a side of the map, as a share of it. */
function mapShare(token, state) {
    const count = state.tokens.length;
    return ((token / Math.max(state.length - 1, 1)) * (count - 1) + 0.5) / count;
}

function paintMapAxes(context, state, places, ink) {
    context.fillStyle = ink.soft;
    context.strokeStyle = ink.soft;
    context.lineWidth = 1;
    places.forEach((place, number) => {
        const { x, y, side } = place;
        context.font = `11px ${ink.family}`;
        for (const tick of mapTicks(state.length)) {
            const along = mapShare(tick, state) * side;
            context.fillRect(x + along, y + side, 1, 4);
            context.textAlign = "center";
            context.textBaseline = "top";
            context.fillText(tick.toLocaleString("en"), x + along, y + side + 6);
            if (number > 0) continue;
            context.fillRect(x - 4, y + along, 4, 1);
            context.textAlign = "right";
            context.textBaseline = "middle";
            context.fillText(tick.toLocaleString("en"), x - 6, y + along);
        }
        context.textAlign = "center";
        context.textBaseline = "bottom";
        context.fillText("key position j", x + side / 2, y + side + MAP_ROOM.bottom - 2);
        context.strokeRect(x - 0.5, y - 0.5, side + 1, side + 1);
    });
    context.save();
    context.translate(places[0].x - 43, places[0].y + places[0].side / 2);
    context.rotate(-Math.PI / 2);
    context.textBaseline = "bottom";
    context.fillText("query position i", 0, 0);
    context.restore();
}

function paintMapBar(context, state, places, ink, ratio) {
    const last = places[places.length - 1];
    const x = last.x + last.side + last.room + 14;
    const limit = state.context_length;
    const beyond = limit !== null && state.length > limit;
    const { y } = last;
    const side = state.difference ? last.side * MAP_UPPER : last.side;
    const block = beyond ? Math.max(22, Math.round(side * 0.14)) : 0;
    const foot = y + side;
    const shades = context.createLinearGradient(0, foot, 0, y + block);
    MAP_SCALE.forEach((color, number) => shades.addColorStop(number / (MAP_SCALE.length - 1), color));
    context.fillStyle = shades;
    context.fillRect(x, y + block, 12, side - block);
    if (beyond) paintMapSwatch(context, x, y, 12, block, ratio);
    const top = mapTop(state);
    const ticks = [...new Set([0, Math.floor(top / 2), top])];
    context.font = `11px ${ink.family}`;
    context.textAlign = "left";
    context.textBaseline = "middle";
    context.fillStyle = ink.soft;
    const words = (tick) => `${tick === limit ? "L = " : ""}${tick.toLocaleString("en")}`;
    for (const tick of ticks) {
        const height = foot - (tick / top) * (side - block);
        context.fillText(words(tick), x + 17, Math.min(foot - 5, Math.max(y + 5, height)));
    }
    if (beyond) context.fillText("never trained", x + 17, y + block / 2 - 3);
    context.save();
    context.translate(x + 100, y + side / 2);
    context.rotate(-Math.PI / 2);
    context.textAlign = "center";
    context.textBaseline = "bottom";
    context.fillText("told distance", 0, 0);
    context.restore();
}

function paintMapSwatch(context, x, y, width, height, ratio) {
    const size = [Math.round(width * ratio), Math.round(height * ratio)];
    const image = context.createImageData(...size);
    const pixels = new Uint32Array(image.data.buffer);
    const hatching = mapHatching(ratio);
    pixels.forEach((_, pixel) => {
        pixels[pixel] = hatching[((pixel % size[0]) + Math.floor(pixel / size[0])) % hatching.length];
    });
    context.putImageData(image, Math.round(x * ratio), Math.round(y * ratio));
}
