// Drawing: curves, planes of numbers, and the picture that is looked at.

const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Draws lines of points (x, y) with axes, as sharp as the screen is. */
export function chart(canvas, lines, [low, high], label) {
  const scale = devicePixelRatio || 1, { clientWidth: width, clientHeight: height } = canvas;
  if (!width) return;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const context = canvas.getContext('2d');
  context.scale(scale, scale);
  context.font = '12px system-ui, sans-serif';
  const [left, right, top, bottom] = [46, width - 8, 10, height - 24];
  const longest = Math.max(10, ...lines.map(({ points }) => points.at(-2) ?? 0));
  const x = step => left + (right - left) * step / longest;
  const y = value => bottom - (bottom - top) * (Math.min(Math.max(value, low), high) - low) / (high - low);
  context.strokeStyle = colour('--line');
  context.fillStyle = colour('--soft');
  context.textAlign = 'right';
  for (let tick = 0; tick <= 4; tick++) {
    const value = low + (high - low) * tick / 4, at = Math.round(y(value)) + 0.5;
    context.beginPath();
    context.moveTo(left, at);
    context.lineTo(right, at);
    context.stroke();
    context.fillText(label(value), left - 8, at + 4);
  }
  context.fillText(`${longest} steps`, right, height - 6);
  for (const { points, name, dots } of lines) {
    context.strokeStyle = context.fillStyle = colour(name);
    context.lineWidth = 2;
    context.lineJoin = 'round';
    context.beginPath();
    // The mean of what falls on a column of the screen.
    for (let at = 0; at < points.length;) {
      const column = Math.round(x(points[at]));
      let sum = 0, count = 0;
      for (; at < points.length && Math.round(x(points[at])) === column; at += 2) { sum += points[at + 1]; count++; }
      context.lineTo(column, y(sum / count));
      if (dots) context.fillRect(column - 3, y(sum / count) - 3, 6, 6);
    }
    context.stroke();
  }
}

/** Planes of `side` x `side` values as a grid; `paint` gives the colour of a value. */
export function grid(canvas, values, side, columns, paint) {
  const count = values.length / (side * side), rows = Math.ceil(count / columns), each = side + 1;
  [canvas.width, canvas.height] = [columns * each - 1, rows * each - 1];
  const context = canvas.getContext('2d'), image = context.createImageData(canvas.width, canvas.height);
  for (let at = 0; at < values.length; at++) {
    const plane = Math.floor(at / (side * side)), inside = at % (side * side);
    const column = plane % columns * each + inside % side;
    const row = Math.floor(plane / columns) * each + Math.floor(inside / side);
    image.data.set([...paint(values[at]), 255], 4 * (row * canvas.width + column));
  }
  context.putImageData(image, 0, 0);
}

/** Values from 0 to `most`, dark to light; dark ones are told apart too. */
export const lights = most => value => {
  const light = 255 * Math.sqrt(value / most);
  return [light, light, light];
};

/** Values from -`most` to `most`: blue, white, red. */
export const signs = most => value => {
  const share = value / most, rest = 255 * (1 - Math.abs(share));
  return share > 0 ? [255, rest, rest] : [rest, rest, 255];
};

/** The pixels of a picture, and where the keyboard's cursor is. */
export function picture(canvas, pixels, side, cursor) {
  const context = canvas.getContext('2d'), image = context.createImageData(side, side);
  pixels.forEach((value, at) => image.data.set([255 * value, 255 * value, 255 * value, 255], 4 * at));
  if (cursor) image.data.set([240, 130, 60, 255], 4 * (cursor.y * side + cursor.x));
  context.putImageData(image, 0, 0);
}
