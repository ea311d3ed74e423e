"use strict";

const SIDE = 28, BOX = 20, BEST = 10;
const byId = (id) => document.getElementById(id);
const pad = byId("pad"), pen = pad.getContext("2d", { willReadFrequently: true });
let file = null, isDrawn = false, last = null;

// --- drawing

function clear() {
  pen.fillStyle = "#000";
  pen.fillRect(0, 0, pad.width, pad.height);
  file = null;
  isDrawn = false;
  byId("file").value = "";
  byId("source").textContent = "Light ink on dark, as the model was taught.";
}

function place(event) {
  const box = pad.getBoundingClientRect();
  return [(event.clientX - box.left) * pad.width / box.width, (event.clientY - box.top) * pad.height / box.height];
}

function stroke(event) {
  if (!last) return;
  const here = place(event);
  pen.strokeStyle = "#fff";
  pen.lineWidth = 22;
  pen.lineCap = pen.lineJoin = "round";
  pen.beginPath();
  pen.moveTo(...last);
  pen.lineTo(...here);
  pen.stroke();
  last = here;
  isDrawn = true;
}

pad.addEventListener("pointerdown", (event) => {
  if (file) clear();
  pad.setPointerCapture(event.pointerId);
  last = place(event);
  stroke(event);
});
pad.addEventListener("pointermove", stroke);
pad.addEventListener("pointerup", () => { if (last) { last = null; ask(); } });
pad.addEventListener("pointercancel", () => { last = null; });

// As the digits of MNIST were made: fitted into 20 x 20, then moved so that the centre of mass is the centre.
function drawnDigit() {
  const { data } = pen.getImageData(0, 0, pad.width, pad.height);
  let left = pad.width, right = -1, top = pad.height, bottom = -1, mass = 0, sumX = 0, sumY = 0;
  for (let y = 0; y < pad.height; y++) {
    for (let x = 0; x < pad.width; x++) {
      const ink = data[(y * pad.width + x) * 4];
      if (!ink) continue;
      left = Math.min(left, x); right = Math.max(right, x);
      top = Math.min(top, y); bottom = Math.max(bottom, y);
      mass += ink; sumX += ink * x; sumY += ink * y;
    }
  }
  const small = new OffscreenCanvas(SIDE, SIDE), brush = small.getContext("2d");
  brush.fillStyle = "#000";
  brush.fillRect(0, 0, SIDE, SIDE);
  brush.imageSmoothingQuality = "high";
  const scale = BOX / Math.max(right - left + 1, bottom - top + 1);
  const x = SIDE / 2 - (sumX / mass) * scale, y = SIDE / 2 - (sumY / mass) * scale;
  brush.drawImage(pad, x, y, pad.width * scale, pad.height * scale);
  return small.convertToBlob({ type: "image/png" });
}

// --- files

async function take(chosen) {
  if (!chosen) return;
  clear();
  file = chosen;
  byId("source").textContent = `${chosen.name}, ${chosen.size} bytes; sent as it is.`;
  if (chosen.type.startsWith("audio/")) return ask();
  try {
    const image = await createImageBitmap(chosen);
    const scale = Math.min(pad.width / image.width, pad.height / image.height);
    const width = image.width * scale, height = image.height * scale;
    pen.imageSmoothingEnabled = scale < 1;
    pen.drawImage(image, (pad.width - width) / 2, (pad.height - height) / 2, width, height);
  } catch {
    byId("source").textContent = `${chosen.name} cannot be shown; the endpoint will say why.`;
  }
  ask();
}

byId("file").addEventListener("change", (event) => take(event.target.files[0]));
document.addEventListener("dragover", (event) => { event.preventDefault(); pad.classList.add("over"); });
document.addEventListener("dragleave", () => pad.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  pad.classList.remove("over");
  take(event.dataTransfer.files[0]);
});

// --- asking

async function credentials(path, body) {
  const kind = byId("kind").value;
  if (kind === "token") return { Authorization: `Bearer ${byId("token").value.trim()}` };
  return kind === "keys" ? signature("POST", path, body, typedKeys()) : {};
}

let asked = 0;

async function ask() {
  byId("fault").textContent = "";
  if (!file && !isDrawn) return tell("Draw something, or choose a file.");
  const turn = ++asked;
  try {
    const blob = file || await drawnDigit();
    const body = await blob.arrayBuffer();
    const path = `/predict/${encodeURIComponent(byId("project").value.trim())}`;
    const headers = { "Content-Type": blob.type, ...await credentials(path, body) };
    const begin = performance.now();
    const response = await fetch(path, { method: "POST", headers, body });
    const document_ = await response.json();
    if (turn !== asked) return;
    if (!response.ok) return tell(refusal(response.status, document_));
    show(document_, performance.now() - begin);
  } catch (fault) {
    tell(`The endpoint was not reached: ${fault.message}`);
  }
}

function refusal(status, said) {
  if (status === 401) return "401: the token is missing or not valid.";
  if (status === 403) return "403: the keys are missing or may not invoke the endpoint.";
  return `${status}: ${said.detail || said.message || "refused"}`;
}

function tell(text) {
  byId("fault").textContent = text;
}

function show(answer, tripMs) {
  const [first] = answer.predictions;
  const found = first.detections;
  byId("version").textContent = answer.model_version;
  byId("latency").textContent = `${answer.latency_ms.toFixed(2)} ms in the function`;
  byId("trip").textContent = `${tripMs.toFixed(0)} ms`;
  // Where pixels have labels: the share of each.
  const shares = found
    ? found.map((one) => [one.label, one.score])
    : Object.entries(first.probabilities || first.shares);
  const ranked = shares.sort((a, b) => b[1] - a[1]).slice(0, BEST);
  const names = found ? found.map((one) => one.label).join(" ") || "nothing" : first.label || ranked[0][0];
  byId("label").textContent = names;
  byId("bars").replaceChildren(...ranked.map(([label, share]) => {
    const row = document.createElement("li"), name = document.createElement("span");
    const bar = document.createElement("meter"), number = document.createElement("span");
    name.textContent = label;
    bar.value = share;
    const said = found ? "score" : first.shares ? "share" : "probability";
    bar.setAttribute("aria-label", `${said} of ${label}`);
    number.textContent = share.toFixed(4);
    row.append(name, bar, number);
    return row;
  }));
}

byId("clear").addEventListener("click", clear);
byId("ask").addEventListener("click", ask);
byId("kind").addEventListener("change", () => {
  byId("keys").hidden = byId("kind").value !== "keys";
  byId("bearer").hidden = byId("kind").value !== "token";
});

const wanted = new URLSearchParams(location.search).get("project");
if (wanted) byId("project").value = wanted;
clear();
