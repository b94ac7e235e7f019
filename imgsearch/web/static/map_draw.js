// Draws the map. Loaded before map.js in the same script; uses its canvas, map, view and marks.
const NUM_COLOURS = 6, NUM_SERIES = 12, NUM_RANKS = 12; // 12 series: six colours as discs, then the same as triangles
const MAX_OUTLINED = 2000; // points; with more, no outlines: they take longer than everything else
const TURN = 2 * Math.PI;
let pen = null, frame = 0;

// Draws at most once per frame.
const redraw = () => {
  frame ||= requestAnimationFrame(() => { frame = 0; draw(); });
};

const draw = () => {
  const [width, height] = size(), ratio = devicePixelRatio;
  if (!map || !width) return;
  pen ??= canvas.getContext('2d');
  const pixels = [width, height].map((side) => Math.round(side * ratio));
  if (canvas.width !== pixels[0] || canvas.height !== pixels[1]) [canvas.width, canvas.height] = pixels;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  const style = getComputedStyle(root), ink = (name) => style.getPropertyValue(name);
  const spacing = Math.sqrt((width * height) / (map.count + 1));
  const radius = map.sheet ? 0.6 * pictureSide() : clamp(0.16 * spacing, 1.7, 5.5) * clamp(view.zoom ** 0.4, 1, 2.2);
  const hasMarks = marks.query || marks.hits.length;
  drawPoints(radius, ink, hasMarks ? 0.45 : 0.9);
  if (hasMarks) drawMarks(radius, ink, style.fontFamily);
  if (current >= 0) ring(...placeOf(current), radius + 3, ink, 2.5);
  showCard();
};

const colourOf = (series, ink) => ink(series < NUM_SERIES ? `--atlas-${series % NUM_COLOURS}` : '--atlas-other');

const shape = (series, left, top, radius) => {
  if (series < NUM_COLOURS || series >= NUM_SERIES) {
    pen.moveTo(left + radius, top);
    pen.arc(left, top, radius, 0, TURN);
  } else {
    pen.moveTo(left, top - 1.3 * radius);
    pen.lineTo(left + 1.2 * radius, top + 0.9 * radius);
    pen.lineTo(left - 1.2 * radius, top + 0.9 * radius);
    pen.closePath();
  }
};

const pictureSide = () => map.side * clamp(0.55 * view.zoom ** 0.6, 0.55, 1.6);
const picture = (point, left, top) => {
  const side = pictureSide(), from = [(point % map.across) * map.side, Math.floor(point / map.across) * map.side];
  pen.drawImage(sheet, ...from, map.side, map.side, left - side / 2, top - side / 2, side, side);
};

// One path per point: a single path per colour takes the browser 1.5 times as long.
const drawPoints = (radius, ink, strength) => {
  const [width, height] = size(), step = scale();
  pen.lineWidth = 0.8;
  pen.strokeStyle = ink('--atlas-ground');
  for (let series = NUM_SERIES; series >= 0; series--) {
    pen.globalAlpha = only === null || only === series ? strength : 0.1;
    pen.fillStyle = colourOf(series, ink);
    for (const point of colouring.members[series]) {
      const left = (map.points[2 * point] - view.x) * step + width / 2;
      const top = (map.points[2 * point + 1] - view.y) * step + height / 2;
      if (left < -radius || top < -radius || left > width + radius || top > height + radius) continue;
      if (map.sheet && sheet.complete) {
        picture(point, left, top);
        continue;
      }
      pen.beginPath();
      shape(series, left, top, radius);
      pen.fill();
      if (map.count <= MAX_OUTLINED) pen.stroke(); // separates points that overlap
    }
  }
  pen.globalAlpha = 1;
};

const ring = (left, top, radius, ink, width) => {
  for (const [line, colour] of [[width + 3, ink('--atlas-ground')], [width, ink('--atlas-ink')]]) {
    pen.beginPath();
    pen.arc(left, top, radius, 0, TURN);
    pen.lineWidth = line;
    pen.strokeStyle = colour;
    pen.stroke();
  }
};

const drawMarks = (radius, ink, font) => {
  for (const point of [...marks.hits].reverse()) {
    const [left, top] = placeOf(point), series = colouring.codes[point];
    ring(left, top, radius + 3, ink, 1.5);
    if (map.sheet) {
      picture(point, left, top);
      continue;
    }
    pen.beginPath();
    shape(series, left, top, radius);
    pen.fillStyle = colourOf(series, ink);
    pen.fill();
  }
  pen.font = `600 11px ${font}`;
  pen.lineJoin = 'round';
  pen.lineWidth = 4;
  pen.strokeStyle = ink('--atlas-ground');
  pen.fillStyle = ink('--atlas-ink');
  marks.hits.slice(0, NUM_RANKS).map((point, index) => [point, index + 1]).reverse().forEach(([point, rank]) => {
    const [left, top] = placeOf(point);
    pen.strokeText(rank, left + radius + 6, top - radius);
    pen.fillText(rank, left + radius + 6, top - radius);
  });
  if (marks.query) star(...place(...marks.query), ink);
};

const star = (left, top, ink) => {
  pen.beginPath();
  for (let corner = 0; corner < 10; corner++) {
    const reach = corner % 2 ? 5 : 12, angle = (corner / 10) * TURN - TURN / 4;
    pen.lineTo(left + reach * Math.cos(angle), top + reach * Math.sin(angle));
  }
  pen.closePath();
  pen.stroke(); // still in the background colour
  pen.fillStyle = ink('--atlas-ink');
  pen.fill();
};
