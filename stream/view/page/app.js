// The page: one WebSocket in, a mesh, plots and numbers out.

import { decodeMessage } from "./face.js";
import { MeshView, TRACKS, pictureFrame } from "./mesh.js";
import { Bars, History, Plot, add } from "./plots.js";

const GONE_S = 1.5; // a face unseen for longer leaves the list
const LATENCIES = [5, 10, 20, 50, 100, 200, 500, 1000, 5000];
const at = (id) => document.getElementById(id);

const state = {
  hello: null,
  models: new Map(),
  streams: [], // { frame, arrived, status, tracks: Map(track -> { seen, history }), latency }
  stream: 0,
  track: null,
  connection: "connecting",
  camera: false,
  lines: false,
  points: true,
};

const mesh = new MeshView(at("mesh"));
const plots = {
  pose: new Plot(at("pose"), ["--yaw", "--pitch", "--roll"], { ranges: [15, 30, 60, 90, 180], signed: true, unit: "°" }),
  blinks: new Plot(at("blinks"), ["--left", "--right"], { ranges: [1] }),
  latency: new Plot(at("latencies"), ["--accent"], { ranges: LATENCIES }),
};
const nothing = { pose: new History(3, 1), blinks: new History(2, 1), latency: new History(1, 1) };
let bars = null;

function connect(wait) {
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/socket`);
  socket.binaryType = "arraybuffer";
  let next = Math.min(2 * wait, 5000);
  socket.onopen = () => {
    next = 250;
    state.connection = "open";
  };
  socket.onmessage = ({ data }) => {
    if (typeof data === "string") take(JSON.parse(data));
    else takeBinary(data);
    socket.send("ready"); // the newest of what came meanwhile is sent then
  };
  socket.onclose = () => {
    state.connection = "disconnected";
    setTimeout(() => connect(next), wait);
  };
}

function take(message) {
  if (message.type === "hello") {
    state.hello = message;
    while (state.streams.length < message.streams.length)
      state.streams.push({ frame: null, arrived: 0, status: null, tracks: new Map(), latency: new History(1) });
    // After a restart the view's clock and streams are others.
    for (const stream of state.streams) {
      stream.tracks.clear();
      stream.latency.clear();
      stream.frame = null;
    }
    state.streams.length = message.streams.length;
    state.stream = Math.min(state.stream, Math.max(0, message.streams.length - 1));
    if (!bars) bars = new Bars(at("bars"), message.blendshapes);
    state.blinks = ["eyeBlinkLeft", "eyeBlinkRight"].map((name) => message.blendshapes.indexOf(name));
    listStreams();
  } else if (message.type === "status" && state.streams[message.stream]) {
    state.streams[message.stream].status = message;
    showHealth();
  }
}

function takeBinary(buffer) {
  const { model, frame } = decodeMessage(buffer, state.hello);
  if (model) {
    mesh.forget(state.models.get(model.index));
    state.models.set(model.index, model);
  }
  const stream = frame && state.streams[frame.stream];
  if (!stream) return;
  stream.frame = frame;
  stream.arrived = performance.now();
  stream.latency.push(frame.t, [frame.latency]);
  for (const face of frame.faces) {
    if (!stream.tracks.has(face.track)) stream.tracks.set(face.track, { pose: new History(3), blinks: new History(2) });
    const track = stream.tracks.get(face.track);
    track.seen = frame.t;
    track.pose.push(frame.t, face.angles);
    track.blinks.push(frame.t, state.blinks.map((i) => face.blendshapes[i]));
  }
  for (const [id, track] of stream.tracks) if (frame.t - track.seen > GONE_S) stream.tracks.delete(id);
}

function listStreams() {
  const nav = at("streams"), { streams } = state.hello;
  nav.replaceChildren();
  streams.forEach(({ name, source }, i) => {
    const button = add(nav, "button");
    button.textContent = name;
    button.title = source;
    button.setAttribute("aria-pressed", String(i === state.stream));
    button.onclick = () => {
      state.stream = i;
      state.track = null;
      listStreams();
      showHealth();
    };
  });
}

function showHealth() {
  const status = state.streams[state.stream]?.status;
  const name = state.connection !== "open" ? state.connection : status?.state ?? "waiting";
  at("state").dataset.state = name;
  setText("state", name);
  at("state").title = status?.detail ?? "";
  if (!status) return;
  setText("rate", status.rate.toFixed(1));
  setText("drops", String(Object.values(status.drops).reduce((a, b) => a + b, 0)));
  at("drops").title = Object.entries(status.drops).map(([place, n]) => `${place} ${n}`).join(", ");
  const parts = Object.entries(status.latency_ms).filter(([stage, ms]) => stage !== "total" && ms >= 0.05);
  setText("stages", parts.map(([stage, ms]) => `${stage} ${ms.toFixed(1)}`).join(" · "));
}

function setText(id, text) {
  const element = at(id);
  if (element.textContent !== text) element.textContent = text;
}

// The chosen face where it is there, else the largest.
function chosen(frame) {
  if (!frame || !frame.faces.length) return null;
  const area = ({ box }) => box[2] * box[3];
  return frame.faces.find(({ track }) => track === state.track)
    ?? frame.faces.reduce((best, face) => (area(face) > area(best) ? face : best));
}

let listed = "";
function listFaces(frame, face) {
  const faces = frame ? [...frame.faces].sort((a, b) => a.track - b.track) : [];
  const key = faces.map((f) => `${f.track}${f.observed ? "" : "p"}${f === face ? "*" : ""}`).join();
  if (key === listed) return;
  listed = key;
  const group = at("faces");
  group.replaceChildren();
  for (const each of faces) {
    const button = add(group, "button", each.observed ? "" : "predicted");
    button.textContent = `face ${each.track}`;
    button.style.setProperty("--track", TRACKS[((each.track % TRACKS.length) + TRACKS.length) % TRACKS.length]);
    button.setAttribute("aria-pressed", String(each === face));
    button.onclick = () => {
      state.track = each.track;
    };
  }
}

function showNumbers(face, latency) {
  ["yaw", "pitch", "roll"].forEach((name, i) => setText(name, face ? degrees(face.angles[i]) : "–"));
  setText("distance", face ? `${(face.translation[2] / 10).toFixed(0)} cm` : "–");
  setText("confidence", face && !Number.isNaN(face.confidence) ? `${Math.round(100 * face.confidence)} %` : "–");
  setText("latency", latency === null ? "–" : latency < 100 ? latency.toFixed(1) : latency.toFixed(0));
}

function degrees(value) {
  const rounded = Math.round(10 * value) / 10;
  return `${rounded < 0 ? "−" : rounded > 0 ? "+" : ""}${Math.abs(rounded).toFixed(1)}°`;
}

function medianLatency(history) {
  const recent = [];
  for (let i = Math.max(0, history.count - 30); i < history.count; i++) {
    const value = history.value(i, 0);
    if (!Number.isNaN(value)) recent.push(value);
  }
  recent.sort((a, b) => a - b);
  return recent.length ? recent[recent.length >> 1] : null;
}

function notice(stream, face, drawn, late) {
  if (state.connection !== "open") return state.connection === "connecting" ? "Connecting" : "Connection lost; trying again";
  if (!stream) return "No stream yet";
  const status = stream.status;
  if (status && status.state === "reconnecting") return `Reconnecting${status.detail ? `: ${status.detail}` : ""}`;
  if (status && (status.state === "ended" || status.state === "failed")) return `The source has ${status.state}`;
  if (!stream.frame || late >= GONE_S) return "Waiting for frames";
  if (!face) return "No face in the picture";
  return drawn ? "" : "This browser offers no WebGL; numbers and plots go on";
}

// In the camera's view: the border of the picture.
function showFrame(stream) {
  const element = at("frame"), shown = state.camera && stream?.camera_matrix;
  element.hidden = !shown;
  if (!shown) return;
  const { scale, left, top } = pictureFrame(stream, at("stage").clientWidth, at("stage").clientHeight);
  const box = { left, top, width: scale * stream.width, height: scale * stream.height };
  for (const [name, value] of Object.entries(box)) element.style[name] = `${value.toFixed(1)}px`;
}

let slow = 0;
function draw() {
  requestAnimationFrame(draw);
  const stream = state.streams[state.stream], frame = stream?.frame ?? null;
  const late = frame ? (performance.now() - stream.arrived) / 1000 : 0;
  const face = late < GONE_S ? chosen(frame) : null;
  const described = state.hello?.streams[state.stream];
  const model = state.models.get(described?.model);
  const faces = face && model ? frame.faces.map((each) => ({ face: each, model, selected: each === face })) : [];
  const drawn = mesh.draw(faces, described, state);
  showFrame(drawn && face ? described : null);
  const now = frame ? frame.t + late : 0;
  const track = face && stream.tracks.get(face.track);
  plots.pose.draw(track ? track.pose : nothing.pose, now);
  plots.blinks.draw(track ? track.blinks : nothing.blinks, now);
  plots.latency.draw(stream ? stream.latency : nothing.latency, now);
  bars?.draw(face ? face.blendshapes : null);
  listFaces(face ? frame : null, face);
  setText("notice", notice(stream, face, drawn, late));
  if (slow++ % 6 === 0) {
    // Numbers that change sixty times a second cannot be read.
    showNumbers(face, stream ? medianLatency(stream.latency) : null);
    if (state.connection !== "open") showHealth();
  }
}

function toggles() {
  const press = (id, on) => at(id).setAttribute("aria-pressed", String(on));
  for (const id of ["lines", "points"])
    at(id).onclick = () => {
      state[id] = !state[id];
      press(id, state[id]);
    };
  for (const id of ["head", "camera"])
    at(id).onclick = () => {
      state.camera = id === "camera";
      press("head", !state.camera);
      press("camera", state.camera);
    };
}

toggles();
connect(250);
requestAnimationFrame(draw);
