// Lines over the last ten seconds, and bars of blendshapes.

export const SPAN_S = 10;
const BREAK_S = 0.5;

// A ring of samples: a time, and a value per line.
export class History {
  constructor(lines, size = 2048) {
    this.lines = lines;
    this.size = size;
    this.data = new Float64Array(size * (lines + 1));
    this.clear();
  }

  clear() {
    this.begin = this.count = 0;
  }

  push(t, values) {
    if (this.count && t <= this.time(this.count - 1)) return;
    const at = ((this.begin + this.count) % this.size) * (this.lines + 1);
    this.data[at] = t;
    for (let i = 0; i < this.lines; i++) this.data[at + 1 + i] = values[i];
    if (this.count < this.size) this.count++;
    else this.begin = (this.begin + 1) % this.size;
  }

  time(i) {
    return this.data[((this.begin + i) % this.size) * (this.lines + 1)];
  }

  value(i, line) {
    return this.data[((this.begin + i) % this.size) * (this.lines + 1) + 1 + line];
  }
}

// ranges: the tops that the axis may have; signed: from -top to top.
export class Plot {
  constructor(canvas, colors, { ranges, signed = false, unit = "" }) {
    Object.assign(this, { canvas, ranges, signed, unit });
    this.context = canvas.getContext("2d");
    const style = getComputedStyle(document.documentElement);
    this.colors = colors.map((name) => style.getPropertyValue(name).trim());
  }

  draw(history, now) {
    const ratio = Math.min(window.devicePixelRatio || 1, 2), c = this.context;
    const width = this.canvas.clientWidth, height = this.canvas.clientHeight;
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
    }
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, width, height);
    const left = 34, right = width - 2, top = 6, bottom = height - 16;
    const first = this.firstShown(history, now);
    const reach = this.reach(history, first);
    const low = this.signed ? -reach : 0;
    const x = (t) => right - ((now - t) / SPAN_S) * (right - left);
    const y = (v) => bottom - ((v - low) / (reach - low)) * (bottom - top);
    this.grid(y, { left, right, bottom, low, reach });
    c.save();
    c.beginPath();
    c.rect(left, 0, right - left, height);
    c.clip();
    c.lineJoin = "round";
    this.colors.forEach((color, line) => {
      c.strokeStyle = color;
      // Where lines lie upon each other, the first shows at the sides of the next.
      c.lineWidth = line === 0 && this.colors.length === 2 ? 2.6 : 1.5;
      c.beginPath();
      let before = -Infinity;
      for (let i = first; i < history.count; i++) {
        const t = history.time(i), value = history.value(i, line);
        if (Number.isNaN(value)) {
          before = -Infinity;
          continue;
        }
        if (t - before > BREAK_S) c.moveTo(x(t), y(value));
        else c.lineTo(x(t), y(value));
        before = t;
      }
      c.stroke();
    });
    c.restore();
  }

  firstShown(history, now) {
    let low = 0, high = history.count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (history.time(middle) < now - SPAN_S - BREAK_S) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  reach(history, first) {
    let most = 0;
    for (let i = first; i < history.count; i++)
      for (let line = 0; line < this.colors.length; line++) most = Math.max(most, Math.abs(history.value(i, line)) || 0);
    return this.ranges.find((range) => range >= most) ?? this.ranges[this.ranges.length - 1];
  }

  grid(y, { left, right, bottom, low, reach }) {
    const c = this.context;
    c.font = "11px system-ui, sans-serif";
    c.lineWidth = 1;
    c.textBaseline = "middle";
    c.textAlign = "right";
    for (const value of [low, (low + reach) / 2, reach]) {
      const at = Math.round(y(value)) + 0.5;
      c.strokeStyle = value === 0 ? "#333d46" : "#222a31";
      c.beginPath();
      c.moveTo(left, at);
      c.lineTo(right, at);
      c.stroke();
      c.fillStyle = "#7c8994";
      c.fillText(`${value < 0 ? "−" : ""}${+Math.abs(value).toPrecision(3)}${this.unit}`, left - 6, at);
    }
    c.textBaseline = "alphabetic";
    for (const [ago, align] of [[SPAN_S, "left"], [SPAN_S / 2, "center"], [0, "right"]]) {
      c.textAlign = align;
      const at = right - (ago / SPAN_S) * (right - left);
      c.fillText(ago ? `−${ago} s` : "now", at, bottom + 14);
    }
  }
}

const ROWS = [
  ["Blink", "eyeBlinkLeft", "eyeBlinkRight"],
  ["Squint", "eyeSquintLeft", "eyeSquintRight"],
  ["Eyes wide", "eyeWideLeft", "eyeWideRight"],
  ["Brow down", "browDownLeft", "browDownRight"],
  ["Brow up", "browInnerUp"],
  ["Jaw open", "jawOpen"],
  ["Smile", "mouthSmileLeft", "mouthSmileRight"],
  ["Frown", "mouthFrownLeft", "mouthFrownRight"],
  ["Pucker", "mouthPucker"],
  ["Funnel", "mouthFunnel"],
];

export class Bars {
  constructor(root, names) {
    this.rows = ROWS.map(([label, ...parts]) => {
      const row = add(root, "div", "bar");
      add(row, "span").textContent = label;
      const pair = add(row, "div", "pair");
      const fills = parts.map((name, i) => {
        const side = parts.length > 1 ? ["left", "right"][i] : "";
        return [names.indexOf(name), add(add(pair, "div", parts.length > 1 ? "track" : "track one"), "div", `fill ${side}`)];
      });
      return { fills, number: add(row, "span") };
    });
  }

  draw(values) {
    for (const { fills, number } of this.rows) {
      let most = 0;
      for (const [index, fill] of fills) {
        const value = values && values[index] >= 0 ? Math.min(1, values[index]) : 0;
        most = Math.max(most, value);
        fill.style.transform = `scaleX(${value.toFixed(3)})`;
      }
      number.textContent = values && !Number.isNaN(values[0]) ? most.toFixed(2) : "–";
    }
  }
}

export function add(parent, tag, className = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  parent.append(element);
  return element;
}
