// Draws faces with WebGL: head frame to camera frame (x right, y down, z forward, mm) to the screen.

const VERTEX = `
attribute vec3 position, normal;
attribute float fade;
uniform mat4 placed, projection;
uniform mat3 turned;
uniform float size, nearer;
varying vec3 n, p;
varying float whole;
void main() {
  whole = fade;
  vec4 at = placed * vec4(position, 1.0);
  p = at.xyz;
  n = turned * normal;
  gl_Position = projection * vec4(at.xyz * nearer, 1.0);
  gl_PointSize = size;
}`;
const SURFACE = `
precision mediump float;
uniform vec3 color;
uniform float strength;
varying vec3 n, p;
varying float whole;
void main() {
  if (whole < 0.04) discard;
  vec3 look = normalize(-p), normal = normalize(n);
  bool inside = dot(normal, look) < 0.0;
  if (inside) normal = -normal;
  float key = max(dot(normal, normalize(vec3(-0.45, -0.65, -0.75))), 0.0);
  float fill = max(dot(normal, normalize(vec3(0.80, 0.05, -0.45))), 0.0);
  float sky = 0.5 - 0.5 * normal.y;
  float rim = pow(1.0 - max(dot(normal, look), 0.0), 3.0);
  float shine = pow(max(dot(normal, normalize(look + normalize(vec3(-0.45, -0.65, -0.75)))), 0.0), 28.0);
  vec3 clay = mix(vec3(0.82, 0.76, 0.72), color, 0.07);
  vec3 lit = clay * (0.10 + 0.16 * sky + 0.66 * key) + clay * vec3(0.62, 0.74, 0.92) * 0.26 * fill
    + 0.10 * shine + color * 0.22 * rim;
  if (inside) lit *= 0.22;
  float a = strength * whole;
  gl_FragColor = vec4(pow(lit, vec3(0.86)) * a, a);
}`;
const PLAIN = `
precision mediump float;
uniform vec3 color;
uniform float strength;
uniform bool round;
varying float whole;
void main() {
  float a = round ? strength : strength * whole;
  if (round) a *= 1.0 - smoothstep(0.32, 0.5, length(gl_PointCoord - 0.5));
  gl_FragColor = vec4(color * a, a);
}`;
const NEAR = 10, FAR = 20000;

export const TRACKS = ["#5aebbe", "#ffbe50", "#6eaaff", "#ff8cc8", "#e6e678", "#ffa096"];

export class MeshView {
  constructor(canvas) {
    this.canvas = canvas;
    this.orbit = [0, 0];
    this.zoom = 1;
    const gl = canvas.getContext("webgl", { antialias: true, alpha: true });
    this.gl = gl && gl.getExtension("OES_element_index_uint") ? gl : null;
    canvas.addEventListener("webglcontextlost", (event) => {
      event.preventDefault();
      this.gl = null;
    });
    canvas.addEventListener("webglcontextrestored", () => {
      this.gl = gl;
      this.prepare();
    });
    this.prepare();
    this.handle();
  }

  prepare() {
    if (!this.gl) return;
    this.programs = { surface: link(this.gl, SURFACE), plain: link(this.gl, PLAIN) };
    this.models = new Map();
  }

  handle() {
    const canvas = this.canvas;
    canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
    canvas.addEventListener("pointermove", (event) => {
      if (!event.buttons) return;
      this.orbit[0] -= event.movementX * 0.008;
      this.orbit[1] = Math.max(-1.4, Math.min(1.4, this.orbit[1] + event.movementY * 0.008));
    });
    canvas.addEventListener("dblclick", () => {
      this.orbit = [0, 0];
      this.zoom = 1;
    });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom = Math.max(0.4, Math.min(4, this.zoom * Math.exp(-event.deltaY * 0.001)));
    }, { passive: false });
  }

  // Buffers of a model on the card, made on first use.
  buffers(model) {
    const gl = this.gl;
    if (!this.models.has(model)) {
      const index = (array) => {
        const buffer = gl.createBuffer();
        gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, buffer);
        gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, array, gl.STATIC_DRAW);
        return { buffer, count: array.length };
      };
      const fadeBuffer = gl.createBuffer();
      gl.bindBuffer(gl.ARRAY_BUFFER, fadeBuffer);
      gl.bufferData(gl.ARRAY_BUFFER, model.fade, gl.STATIC_DRAW);
      this.models.set(model, {
        triangles: index(model.triangles),
        edges: index(model.edges),
        landmarks: index(model.landmarks),
        vertices: new Float32Array(model.mean.length),
        normals: new Float32Array(model.mean.length),
        positionBuffer: gl.createBuffer(),
        normalBuffer: gl.createBuffer(),
        fadeBuffer,
      });
    }
    return this.models.get(model);
  }

  forget(model) {
    const parts = this.gl && this.models.get(model);
    if (!parts) return;
    const own = [parts.triangles, parts.edges, parts.landmarks].map(({ buffer }) => buffer);
    for (const buffer of [...own, parts.positionBuffer, parts.normalBuffer, parts.fadeBuffer]) this.gl.deleteBuffer(buffer);
    this.models.delete(model);
  }

  // faces: [{ face, model, selected }]; stream: of hello; options: { camera, lines, points }.
  draw(faces, stream, options) {
    const gl = this.gl;
    if (!gl) return false;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const width = Math.round(this.canvas.clientWidth * ratio), height = Math.round(this.canvas.clientHeight * ratio);
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.enable(gl.DEPTH_TEST);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    const inCamera = options.camera && stream && stream.camera_matrix;
    const projection = inCamera ? cameraProjection(stream, width, height) : headProjection(width, height, this.zoom);
    for (const item of faces)
      if (inCamera || item.selected) this.drawFace(item, projection, inCamera, options, ratio * (height > 500 * ratio ? 1.25 : 1));
    return true;
  }

  drawFace({ face, model }, projection, inCamera, options, ratio) {
    const gl = this.gl, parts = this.buffers(model);
    model.decode(face, parts.vertices);
    model.normals(parts.vertices, parts.normals);
    gl.bindBuffer(gl.ARRAY_BUFFER, parts.positionBuffer);
    gl.bufferData(gl.ARRAY_BUFFER, parts.vertices, gl.STREAM_DRAW);
    gl.bindBuffer(gl.ARRAY_BUFFER, parts.normalBuffer);
    gl.bufferData(gl.ARRAY_BUFFER, parts.normals, gl.STREAM_DRAW);

    let turn = rotation(face.quat_wxyz), move = face.translation;
    if (!inCamera) {
      turn = multiply(orbitMatrix(this.orbit), turn);
      // The middle of the head, rather than the bridge of the nose, stays in the middle.
      const c = [0, 18, 62];
      move = [0, 1, 2].map((i) => -(turn[i] * c[0] + turn[3 + i] * c[1] + turn[6 + i] * c[2]));
      move[2] += 900;
    }
    const placed = new Float32Array([...turn.slice(0, 3), 0, ...turn.slice(3, 6), 0, ...turn.slice(6, 9), 0, ...move, 1]);
    const color = hex(TRACKS[((face.track % TRACKS.length) + TRACKS.length) % TRACKS.length]);
    const strength = face.observed ? 1 : 0.45;
    const uniforms = { placed, projection, turn, strength };
    this.pass(this.programs.surface, parts, parts.triangles, gl.TRIANGLES, { ...uniforms, color, nearer: 1, size: 1 });
    if (options.lines)
      this.pass(this.programs.plain, parts, parts.edges, gl.LINES, { ...uniforms, color: [0.04, 0.06, 0.08], strength: 0.4, nearer: 0.999, size: 1 });
    if (options.points)
      this.pass(this.programs.plain, parts, parts.landmarks, gl.POINTS, { ...uniforms, color, nearer: 0.997, size: 4.5 * ratio, round: 1 });
  }

  pass(program, parts, elements, mode, values) {
    const gl = this.gl, { handle, at } = program;
    gl.useProgram(handle);
    const arrays = [["position", parts.positionBuffer, 3], ["normal", parts.normalBuffer, 3], ["fade", parts.fadeBuffer, 1]];
    for (const [name, buffer, width] of arrays) {
      if (at[name] < 0) continue;
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.enableVertexAttribArray(at[name]);
      gl.vertexAttribPointer(at[name], width, gl.FLOAT, false, 0, 0);
    }
    gl.uniformMatrix4fv(at.placed, false, values.placed);
    gl.uniformMatrix4fv(at.projection, false, values.projection);
    gl.uniformMatrix3fv(at.turned, false, values.turn);
    gl.uniform3fv(at.color, values.color);
    gl.uniform1f(at.strength, values.strength);
    gl.uniform1f(at.nearer, values.nearer);
    gl.uniform1f(at.size, values.size);
    gl.uniform1i(at.round, values.round ? 1 : 0);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, elements.buffer);
    gl.drawElements(mode, elements.count, gl.UNSIGNED_INT, 0);
  }
}

function link(gl, fragment) {
  const handle = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(handle, shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost()) throw new Error(gl.getShaderInfoLog(shader));
  }
  gl.linkProgram(handle);
  const at = {};
  for (const name of ["position", "normal", "fade"]) at[name] = gl.getAttribLocation(handle, name);
  for (const name of ["placed", "projection", "turned", "color", "strength", "nearer", "size", "round"]) at[name] = gl.getUniformLocation(handle, name);
  return { handle, at };
}

// Matrices are in columns, as WebGL takes them.
function rotation([w, x, y, z]) {
  return [
    1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y),
    2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x),
    2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y),
  ];
}

function multiply(a, b) {
  const out = new Array(9);
  for (let c = 0; c < 3; c++)
    for (let r = 0; r < 3; r++) out[3 * c + r] = a[r] * b[3 * c] + a[3 + r] * b[3 * c + 1] + a[6 + r] * b[3 * c + 2];
  return out;
}

function orbitMatrix([yaw, pitch]) {
  const a = Math.cos(yaw), b = Math.sin(yaw), c = Math.cos(pitch), d = Math.sin(pitch);
  return multiply([1, 0, 0, 0, c, d, 0, -d, c], [a, 0, -b, 0, 1, 0, b, 0, a]);
}

// From pixels of a pinhole camera (y down, z forward) to the clip cube of WebGL.
function pinhole(fx, fy, cx, cy, width, height) {
  const a = (FAR + NEAR) / (FAR - NEAR), b = (-2 * FAR * NEAR) / (FAR - NEAR);
  return new Float32Array([
    (2 * fx) / width, 0, 0, 0,
    0, (-2 * fy) / height, 0, 0,
    (2 * cx) / width - 1, 1 - (2 * cy) / height, a, 1,
    0, 0, b, 0,
  ]);
}

function headProjection(width, height, zoom) {
  const focal = 3.05 * Math.min(width * 1.1, height) * zoom;
  return pinhole(focal, focal, width / 2, height / 2, width, height);
}

// Where the picture's frame lies, whole and in the middle.
export function pictureFrame(stream, width, height) {
  const scale = 0.94 * Math.min(width / stream.width, height / stream.height);
  return { scale, left: (width - scale * stream.width) / 2, top: (height - scale * stream.height) / 2 };
}

function cameraProjection(stream, width, height) {
  const [[fx, , cx], [, fy, cy]] = stream.camera_matrix;
  const { scale, left, top } = pictureFrame(stream, width, height);
  return pinhole(fx * scale, fy * scale, left + (cx + 0.5) * scale, top + (cy + 0.5) * scale, width, height);
}

function hex(color) {
  return [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16) / 255);
}
