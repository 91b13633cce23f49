"use strict";
// Draws the curves of one film. Each face has bins of some frames; a bin has the least and the
// greatest value of each series, so that a blink of one frame stays visible in an hour.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const times = new Float64Array(bytes(data.times).buffer);
  const unpack = {
    angle: (text) => Float32Array.from(new Int16Array(bytes(text).buffer), (v) => (v === -32768 ? NaN : v / 100)),
    unit: (text) => Float32Array.from(bytes(text), (v) => (v === 255 ? NaN : v / 250)),
  };
  const PLOTS = [
    { name: "Yaw", unit: "°", kind: "angle", series: ["yaw"], height: 124 },
    { name: "Pitch", unit: "°", kind: "angle", series: ["pitch"], height: 124 },
    { name: "Roll", unit: "°", kind: "angle", series: ["roll"], height: 106 },
    { name: "Eyes closed (left full, right thin)", unit: "", kind: "unit", series: ["blink_left", "blink_right"], height: 106 },
    { name: "Confidence", unit: "", kind: "unit", series: ["confidence"], height: 84 },
  ];
  const faces = data.faces.map((face, i) => {
    const at = new Uint32Array(bytes(face.at).buffer);
    const curves = {};
    for (const plot of PLOTS) {
      for (const name of plot.series) {
        if (face.curves[name]) curves[name] = face.curves[name].map(unpack[plot.kind]);
      }
    }
    return { label: face.label, color: `--face-${i % 6}`, at, curves, bins: new Uint32Array(bytes(face.bins).buffer), seen: bytes(face.seen), shown: true };
  });
  const LEFT = 52, RIGHT = 14, AXIS = 22;
  const whole = [0, Math.max(data.seconds, 1e-3)];
  let view = whole.slice(), cursor = null, drag = null;
  const host = document.getElementById("plots");
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const clock = (s, step) => {
    const digits = step >= 1 ? 0 : step >= 0.1 ? 1 : 2;
    const h = Math.floor(s / 3600), m = Math.floor(s / 60) % 60;
    const rest = (s % 60).toFixed(digits).padStart(digits ? 3 + digits : 2, "0");
    return h ? `${h}:${String(m).padStart(2, "0")}:${rest}` : `${m}:${rest}`;
  };
  const nice = (span, count) => {
    const steps = [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200];
    return steps.find((s) => span / s <= count) || 14400;
  };

  const range = (plot) => {
    if (plot.kind === "unit") return [0, 1];
    let low = -10, high = 10;
    for (const face of faces) {
      for (const name of plot.series) {
        const pair = face.curves[name];
        if (!pair || !face.shown) continue;
        for (let i = 0; i < face.at.length; i++) {
          if (pair[0][i] < low) low = pair[0][i];
          if (pair[1][i] > high) high = pair[1][i];
        }
      }
    }
    const step = high - low > 120 ? 30 : 10;
    return [Math.floor(low / step) * step, Math.ceil(high / step) * step];
  };

  const plots = PLOTS.filter((plot) => faces.some((f) => plot.series.some((s) => f.curves[s]))).map((plot, i, all) => {
    const div = document.createElement("div");
    div.className = "plot";
    const canvas = document.createElement("canvas");
    const name = document.createElement("span");
    name.className = "name";
    name.textContent = plot.name;
    const value = document.createElement("span");
    value.className = "value";
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${plot.name} over time`);
    div.append(canvas, name, value);
    host.append(div);
    const last = i === all.length - 1;
    return { ...plot, canvas, value, last, total: plot.height + (last ? AXIS : 0), range: range(plot) };
  });

  const draw = () => {
    for (const plot of plots) drawPlot(plot);
    host.dataset.drawn = String(plots.length);
  };

  const drawPlot = (plot) => {
    const ratio = window.devicePixelRatio || 1;
    const width = host.clientWidth, height = plot.total;
    plot.canvas.style.height = `${height}px`;
    plot.canvas.width = Math.round(width * ratio);
    plot.canvas.height = Math.round(height * ratio);
    const g = plot.canvas.getContext("2d");
    g.scale(ratio, ratio);
    const top = 24, bottom = plot.height - 6, right = width - RIGHT;
    const [low, high] = plot.range;
    const x = (t) => LEFT + ((t - view[0]) / (view[1] - view[0])) * (right - LEFT);
    const y = (v) => bottom - ((v - low) / (high - low)) * (bottom - top);
    g.font = "11.5px system-ui, sans-serif";
    g.textBaseline = "middle";

    // Lost stretches.
    g.save();
    g.beginPath();
    g.rect(LEFT, 0, right - LEFT, plot.height);
    g.clip();
    g.fillStyle = color("--lost-wash");
    for (const [from, to] of data.lost) {
      if (to >= view[0] && from <= view[1]) g.fillRect(x(from), top, Math.max(1, x(to) - x(from)), bottom - top);
    }
    g.restore();

    // Grid and labels.
    const marks = plot.kind === "unit" ? [0, 0.5, 1] : angleMarks(low, high, plot.height);
    g.textAlign = "right";
    for (const mark of marks) {
      g.strokeStyle = mark === 0 && plot.kind === "angle" ? color("--line") : color("--grid");
      g.lineWidth = 1;
      line(g, LEFT, Math.round(y(mark)) + 0.5, right, Math.round(y(mark)) + 0.5);
      g.fillStyle = color("--soft");
      g.fillText(`${mark}${plot.unit}`, LEFT - 7, y(mark));
    }
    const step = nice(view[1] - view[0], Math.max(3, (right - LEFT) / 90));
    for (let t = Math.ceil(view[0] / step) * step; t <= view[1] + 1e-9; t += step) {
      g.strokeStyle = color("--grid");
      line(g, Math.round(x(t)) + 0.5, top, Math.round(x(t)) + 0.5, bottom);
      if (plot.last) {
        g.textAlign = "center";
        g.fillStyle = color("--soft");
        g.fillText(clock(t, step), Math.min(Math.max(x(t), LEFT + 12), right - 16), plot.height + AXIS / 2 - 2);
      }
    }

    // Curves.
    g.save();
    g.beginPath();
    g.rect(LEFT, 0, right - LEFT, plot.height);
    g.clip();
    g.lineJoin = "round";
    for (const face of faces) {
      if (!face.shown) continue;
      g.strokeStyle = color(face.color);
      plot.series.forEach((name, second) => {
        if (!face.curves[name]) return;
        g.lineWidth = second ? 0.8 : 1.4;
        g.globalAlpha = (second ? 0.8 : 1) * (faces.length > 1 ? 0.75 : 1);
        drawCurve(g, face, 1, face.curves[name], x, y);
        g.globalAlpha = 0.4; // predicted, not seen
        drawCurve(g, face, 0, face.curves[name], x, y);
      });
      g.globalAlpha = 1;
    }
    for (const shot of data.shots) {
      g.fillStyle = color(shot.kind === "best" ? "--good" : "--lost");
      if (plot === plots[0]) {
        g.beginPath();
        g.moveTo(x(shot.t) - 4, top - 8);
        g.lineTo(x(shot.t) + 4, top - 8);
        g.lineTo(x(shot.t), top - 1);
        g.fill();
      }
    }
    if (drag) {
      g.fillStyle = color("--link");
      g.globalAlpha = 0.14;
      g.fillRect(Math.min(x(drag[0]), x(drag[1])), top, Math.abs(x(drag[1]) - x(drag[0])), bottom - top);
      g.globalAlpha = 1;
    }
    if (cursor !== null) {
      g.strokeStyle = color("--soft");
      g.lineWidth = 1;
      line(g, Math.round(x(cursor)) + 0.5, top, Math.round(x(cursor)) + 0.5, bottom);
    }
    g.restore();
  };

  const angleMarks = (low, high, height) => {
    const step = [5, 10, 15, 30, 45, 60, 90].find((s) => (high - low) / s <= height / 28) || 90;
    const marks = [];
    for (let v = Math.ceil(low / step) * step; v <= high; v += step) marks.push(v);
    return marks;
  };

  const line = (g, x0, y0, x1, y1) => {
    g.beginPath();
    g.moveTo(x0, y0);
    g.lineTo(x1, y1);
    g.stroke();
  };

  // One vertical stroke a pixel column from the least to the greatest value, joined to its
  // neighbours; the pen is lifted where bins are missing.
  const drawCurve = (g, face, seen, [low, high], x, y) => {
    g.beginPath();
    let column = null, least = 0, most = 0, entry = 0, exit = 0, down = false, before = -2;
    const flush = () => {
      if (column === null) return;
      if (down) g.lineTo(column, y(entry)); else g.moveTo(column, y(entry));
      if (most > least) {
        g.lineTo(column, y(least));
        g.lineTo(column, y(most));
        g.lineTo(column, y(exit));
      } else if (!down) g.lineTo(column + 0.7, y(entry));
      down = true;
      column = null;
    };
    const margin = (view[1] - view[0]) * 0.02 + 2 * data.bin_seconds;
    for (let i = 0; i < face.at.length; i++) {
      const t = times[face.at[i]];
      if (t < view[0] - margin) { before = face.bins[i]; continue; }
      if (t > view[1] + margin) break;
      if (Number.isNaN(low[i]) || face.seen[i] !== seen) { flush(); down = false; continue; }
      if (face.bins[i] !== before + 1) { flush(); down = false; }
      before = face.bins[i];
      const here = Math.round(x(t) * 2) / 2;
      if (here !== column) {
        flush();
        column = here;
        [least, most] = [low[i], high[i]];
        entry = (low[i] + high[i]) / 2;
      } else {
        least = Math.min(least, low[i]);
        most = Math.max(most, high[i]);
      }
      exit = (low[i] + high[i]) / 2;
    }
    flush();
    g.stroke();
  };

  // Readings under the pointer.
  const nearest = (face, t) => {
    let from = 0, to = face.at.length - 1;
    while (from < to) {
      const middle = (from + to) >> 1;
      if (times[face.at[middle]] < t) from = middle + 1; else to = middle;
    }
    if (from > 0 && t - times[face.at[from - 1]] < times[face.at[from]] - t) from -= 1;
    return Math.abs(times[face.at[from]] - t) <= 1.5 * data.bin_seconds ? from : -1;
  };
  const read = () => {
    plots.forEach((plot, index) => {
      plot.value.replaceChildren();
      if (cursor === null) return;
      if (index === 0) plot.value.append(clock(cursor, 0.01));
      for (const face of faces) {
        const i = face.shown && face.at.length ? nearest(face, cursor) : -1;
        if (i < 0) continue;
        const parts = plot.series.filter((s) => face.curves[s]).map((s) => {
          const [low, high] = [face.curves[s][0][i], face.curves[s][1][i]];
          if (Number.isNaN(low)) return "–";
          const show = (v) => (plot.kind === "unit" ? v.toFixed(2) : `${v.toFixed(1)}°`);
          return high - low < 0.005 ? show(low) : `${show(low)} to ${show(high)}`;
        });
        const b = document.createElement("b");
        b.style.color = `var(${face.color})`;
        b.textContent = parts.join(" / ");
        plot.value.append(b);
      }
    });
  };

  const timeAt = (event) => {
    const box = host.getBoundingClientRect();
    const share = (event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT);
    return view[0] + Math.min(1, Math.max(0, share)) * (view[1] - view[0]);
  };
  const zoom = (from, to) => {
    const least = Math.min(whole[1], Math.max(0.2, 8 * data.bin_seconds));
    const span = Math.min(whole[1], Math.max(least, to - from));
    const start = Math.min(Math.max(0, (from + to - span) / 2), whole[1] - span);
    view = [start, start + span];
    document.getElementById("reset").hidden = span >= whole[1] - 1e-9;
    draw();
  };
  host.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    drag = [timeAt(event), timeAt(event)];
    host.setPointerCapture(event.pointerId);
  });
  host.addEventListener("pointermove", (event) => {
    cursor = timeAt(event);
    if (drag) drag[1] = cursor;
    read();
    draw();
  });
  host.addEventListener("pointerup", () => {
    const range_ = drag && [...drag].sort((a, b) => a - b);
    drag = null;
    if (range_ && range_[1] - range_[0] > (view[1] - view[0]) * 0.01) zoom(...range_); else draw();
  });
  host.addEventListener("pointerleave", () => { cursor = null; read(); draw(); });
  host.addEventListener("dblclick", () => zoom(...whole));
  host.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const at = timeAt(event), by = Math.exp(event.deltaY * 0.002);
    zoom(at - (at - view[0]) * by, at + (view[1] - at) * by);
  }, { passive: false });
  document.getElementById("reset").addEventListener("click", () => zoom(...whole));

  // Chips switch faces off and on; pictures point at their time.
  const chips = document.getElementById("faces");
  if (faces.length > 1) {
    for (const face of faces) {
      const chip = document.createElement("button");
      chip.className = "chip";
      chip.type = "button";
      chip.textContent = face.label;
      chip.style.setProperty("--dot", `var(${face.color})`);
      chip.setAttribute("aria-pressed", "true");
      chip.addEventListener("click", () => {
        face.shown = !face.shown;
        chip.setAttribute("aria-pressed", String(face.shown));
        for (const plot of plots) plot.range = range(plot);
        draw();
      });
      chips.append(chip);
    }
  }
  for (const figure of document.querySelectorAll("figure[data-t]")) {
    const t = Number(figure.dataset.t);
    figure.addEventListener("pointerenter", () => { cursor = t; read(); draw(); });
    figure.addEventListener("pointerleave", () => { cursor = null; read(); draw(); });
  }
  new ResizeObserver(draw).observe(host);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();
})();
