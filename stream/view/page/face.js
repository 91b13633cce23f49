// What arrives over the WebSocket, and the face that coefficients stand for (encoding.py).

const MODEL = 1, FRAME = 2;
const FADE_MM = 16;

export class FaceModel {
  constructor(buffer) {
    const head = new Uint32Array(buffer, 0, 10);
    const [, index, vertices, triangles, landmarks, shape, expression, blendshapes] = head;
    this.index = index;
    this.count = vertices;
    this.sizes = { shape, expression, blendshapes };
    const components = shape + expression + blendshapes, length = 3 * vertices;
    let at = 40;
    const take = (type, n) => {
      const array = new type(buffer, at, n);
      at += array.byteLength;
      return array;
    };
    this.mean = take(Float32Array, length);
    const scale = take(Float32Array, components);
    this.triangles = take(Uint32Array, 3 * triangles);
    this.landmarks = take(Uint32Array, landmarks);
    const raw = take(Int16Array, components * length);
    this.basis = new Float32Array(raw.length);
    for (let c = 0, i = 0; c < components; c++)
      for (const end = i + length; i < end; i++) this.basis[i] = raw[i] * scale[c];
    const { edges, open } = edgesOf(this.triangles);
    this.edges = edges;
    this.fade = fadeOf(this.mean, this.landmarks, open);
  }

  // Vertices in the head frame, mm: by blendshapes where these are known, else by expression.
  decode(face, out) {
    out.set(this.mean);
    const { shape, expression, blendshapes } = this.sizes;
    this.add(out, face.shape, 0, shape);
    if (blendshapes && !Number.isNaN(face.blendshapes[0]))
      this.add(out, face.blendshapes, shape + expression, blendshapes);
    else this.add(out, face.expression, shape, expression);
    return out;
  }

  add(out, values, first, count) {
    const length = out.length, basis = this.basis;
    for (let c = 0; c < count; c++) {
      const value = values[c];
      if (Math.abs(value) < 1e-4) continue;
      for (let i = 0, j = (first + c) * length; i < length; i++, j++) out[i] += value * basis[j];
    }
  }

  normals(vertices, out) {
    out.fill(0);
    const t = this.triangles;
    for (let i = 0; i < t.length; i += 3) {
      const a = 3 * t[i], b = 3 * t[i + 1], c = 3 * t[i + 2];
      const ux = vertices[b] - vertices[a], uy = vertices[b + 1] - vertices[a + 1], uz = vertices[b + 2] - vertices[a + 2];
      const vx = vertices[c] - vertices[a], vy = vertices[c + 1] - vertices[a + 1], vz = vertices[c + 2] - vertices[a + 2];
      const x = uy * vz - uz * vy, y = uz * vx - ux * vz, z = ux * vy - uy * vx;
      for (const k of [a, b, c]) {
        out[k] += x;
        out[k + 1] += y;
        out[k + 2] += z;
      }
    }
    return out;
  }
}

// Every edge once, as pairs of vertices, and those that only one triangle has.
function edgesOf(triangles) {
  const seen = new Map();
  for (let i = 0; i < triangles.length; i += 3)
    for (const [j, k] of [[0, 1], [1, 2], [2, 0]]) {
      const a = Math.min(triangles[i + j], triangles[i + k]), b = Math.max(triangles[i + j], triangles[i + k]);
      const key = a * 0x4000000 + b, edge = seen.get(key);
      if (edge) edge[2]++;
      else seen.set(key, [a, b, 1]);
    }
  const all = [...seen.values()];
  return {
    edges: new Uint32Array(all.flatMap(([a, b]) => [a, b])),
    open: all.filter(([, , times]) => times === 1),
  };
}

// From 0 at the mesh's outer edges, which are ragged, to 1 inside; lids and lips stay whole.
function fadeOf(mean, landmarks, open) {
  const parent = new Map();
  const root = (v) => {
    while (parent.has(v) && parent.get(v) !== v) v = parent.get(v);
    return v;
  };
  for (const [a, b] of open) {
    parent.set(a, parent.get(a) ?? a);
    parent.set(b, parent.get(b) ?? b);
    parent.set(root(a), root(b));
  }
  const loops = new Map();
  for (const v of parent.keys()) loops.set(root(v), [...(loops.get(root(v)) ?? []), v]);
  const apart2 = (a, b) => {
    const x = mean[3 * a] - mean[3 * b], y = mean[3 * a + 1] - mean[3 * b + 1], z = mean[3 * a + 2] - mean[3 * b + 2];
    return x * x + y * y + z * z;
  };
  const features = [...landmarks.slice(27, 68)]; // nose, eyes, lips
  const near = (loop) => loop.some((v) => features.some((mark) => apart2(v, mark) < FADE_MM * FADE_MM));
  const outer = [...loops.values()].filter((loop) => !near(loop)).flat();
  const fade = new Float32Array(mean.length / 3).fill(1);
  for (let i = 0; i < fade.length; i++) {
    let least = FADE_MM * FADE_MM;
    for (const v of outer) least = Math.min(least, apart2(i, v));
    const t = Math.sqrt(least) / FADE_MM;
    fade[i] = t * t * (3 - 2 * t);
  }
  return fade;
}

// A binary message: { model } or { frame }.
export function decodeMessage(buffer, hello) {
  const kind = new Uint32Array(buffer, 0, 1)[0];
  if (kind === MODEL) return { model: new FaceModel(buffer) };
  if (kind !== FRAME || !hello) return {};
  const view = new DataView(buffer);
  const faces = [];
  for (let i = 0; i < view.getUint32(8, true); i++) {
    const begin = hello.header_bytes + 4 * hello.face_words * i;
    const face = {};
    for (const [name, [word, count]] of Object.entries(hello.face)) {
      const at = begin + 4 * word;
      if (name === "track") face[name] = view.getInt32(at, true);
      else if (name === "observed") face[name] = view.getUint32(at, true) !== 0;
      else face[name] = count > 1 ? new Float32Array(buffer, at, count) : view.getFloat32(at, true);
    }
    faces.push(face);
  }
  return {
    frame: {
      stream: view.getUint32(4, true),
      index: view.getUint32(12, true),
      t: view.getFloat64(16, true),
      latency: view.getFloat32(24, true),
      faces,
    },
  };
}
