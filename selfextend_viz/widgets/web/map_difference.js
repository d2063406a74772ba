// The third map of two methods: by how much farther the first tells each key than the second.
// Blue is nearer, orange is farther; pairs that only one of the two sees are grey and hatched.
const MAP_APART = ["#1f4f94", "#6aa5e6", "#ece7df", "#f0a05c", "#b04a08"];
const MAP_ONE = [0x8a, 0x8a, 0x8a];
const MAP_LOWER = 0.3; // the share of the height that the second bar takes

/** First minus second, NaN where only one of the two sees the key; `bands` is 0 for both, 1 for one, -1 for none. */
function mapDifference(first, second) {
    const told = new Float64Array(first.told.length);
    const bands = new Int8Array(first.told.length).fill(-1);
    let most = 0;
    let hidden = false;
    for (let cell = 0; cell < told.length; cell++) {
        const seen = (first.bands[cell] >= 0) + (second.bands[cell] >= 0);
        if (seen === 0) continue;
        bands[cell] = seen === 2 ? 0 : 1;
        told[cell] = seen === 2 ? first.told[cell] - second.told[cell] : NaN;
        if (seen === 2) most = Math.max(most, Math.abs(told[cell]));
        else hidden = true;
    }
    return { told, bands, count: first.count, most: most || 1, hidden, difference: true };
}

function mapApartColors() {
    const stops = MAP_APART.map(mapRed);
    return Uint32Array.from({ length: 256 }, (_, step) => {
        const place = (step / 255) * (stops.length - 1);
        const below = Math.min(Math.floor(place), stops.length - 2);
        const [low, high] = [stops[below], stops[below + 1]];
        return mapPacked(low.map((part, index) => Math.round(part + (place - below) * (high[index] - part))));
    });
}

function paintMapDifference(context, cells, place, ratio) {
    const size = Math.round(place.side * ratio);
    const image = context.createImageData(size, size);
    const pixels = new Uint32Array(image.data.buffer);
    const colors = mapApartColors();
    const spacing = Math.max(4, Math.round(7 * ratio));
    const [stroke, ground] = [200, 70].map((cover) => ((cover << 24) | (mapPacked(MAP_ONE) & 0xffffff)) >>> 0);
    const at = Int32Array.from({ length: size }, (_, pixel) => Math.floor(((pixel + 0.5) * cells.count) / size));
    for (let y = 0; y < size; y++) {
        const row = at[y] * cells.count;
        for (let x = 0; x < size && at[x] <= at[y]; x++) {
            const cell = row + at[x];
            if (cells.bands[cell] < 0) continue;
            const step = Math.round(((cells.told[cell] / cells.most + 1) / 2) * 255);
            const hatched = (x + y) % spacing < ratio ? stroke : ground;
            pixels[y * size + x] = cells.bands[cell] === 0 ? colors[step] : hatched;
        }
    }
    context.putImageData(image, Math.round(place.x * ratio), Math.round(place.y * ratio));
}

/** The panel's name, and above the diagonal what its colours mean. */
function paintMapDifferenceLabels(context, cells, place, ink) {
    const lines = ["orange: first told farther", "blue: first told nearer"];
    if (cells.hidden) lines.push("hatched: one sees it");
    const plate = mapPlate(context, lines, ink);
    if (plate.width < place.side * 0.62) {
        paintMapPlate(context, { ...plate, x: place.x + place.side - plate.width - 3, y: place.y + 4 }, ink);
    }
    paintMapNumbers(context, cells, place, ink);
    paintMapName(context, "difference: first \u2212 second", place, ink);
}

function paintMapDifferenceBar(context, cells, place, ink) {
    const x = place.x + place.side + place.room + 14;
    const height = place.side * MAP_LOWER;
    const top = place.y + place.side - height;
    const shades = context.createLinearGradient(0, top + height, 0, top);
    MAP_APART.forEach((color, number) => shades.addColorStop(number / (MAP_APART.length - 1), color));
    context.fillStyle = shades;
    context.fillRect(x, top, 12, height);
    context.font = `11px ${ink.family}`;
    context.textAlign = "left";
    context.textBaseline = "middle";
    context.fillStyle = ink.soft;
    for (const [share, sign] of [[0, "+"], [0.5, ""], [1, "\u2212"]]) {
        const words = share === 0.5 ? "0" : `${sign}${mapNumber(cells.most).toLocaleString("en")}`;
        context.fillText(words, x + 17, Math.min(top + height - 5, Math.max(top + 5, top + share * height)));
    }
    context.save();
    context.translate(x + 100, top + height / 2);
    context.rotate(-Math.PI / 2);
    context.textAlign = "center";
    context.textBaseline = "bottom";
    context.fillText("difference", 0, 0);
    context.restore();
}

function mapDifferenceWords(cells, row, column) {
    const cell = row * cells.count + column;
    if (cells.bands[cell] < 0) return "neither sees it";
    if (cells.bands[cell] > 0) return "only one of the two sees it";
    const apart = cells.told[cell];
    return `difference: ${apart > 0 ? "+" : ""}${apart.toLocaleString("en")}`;
}
