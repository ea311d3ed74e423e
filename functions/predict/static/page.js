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

// --- signing: Signature Version 4, https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html

const encoder = new TextEncoder();
const hex = (buffer) => [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const digest = async (bytes) => hex(await crypto.subtle.digest("SHA-256", bytes));

async function hmac(key, text) {
  const imported = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return crypto.subtle.sign("HMAC", imported, encoder.encode(text));
}

async function signed(path, query, body) {
  const region = byId("region").value.trim(), service = "execute-api";
  const moment = new Date().toISOString().replace(/[-:]|\.\d{3}/g, ""), day = moment.slice(0, 8);
  const scope = `${day}/${region}/${service}/aws4_request`;
  const headers = { host: location.host, "x-amz-date": moment };
  const session = byId("session").value.trim();
  if (session) headers["x-amz-security-token"] = session;
  const names = Object.keys(headers).sort();
  const canonical = ["POST", path, query, ...names.map((name) => `${name}:${headers[name]}`), "", names.join(";"), await digest(body)];
  const toSign = ["AWS4-HMAC-SHA256", moment, scope, await digest(encoder.encode(canonical.join("\n")))].join("\n");
  let key = encoder.encode(`AWS4${byId("secret").value.trim()}`);
  for (const part of [day, region, service, "aws4_request", toSign]) key = await hmac(key, part);
  delete headers.host;
  headers.Authorization =
    `AWS4-HMAC-SHA256 Credential=${byId("key").value.trim()}/${scope}, SignedHeaders=${names.join(";")}, Signature=${hex(key)}`;
  return headers;
}

async function credentials(path, query, body) {
  const kind = byId("kind").value;
  if (kind === "token") return { Authorization: `Bearer ${byId("token").value.trim()}` };
  return kind === "keys" ? signed(path, query, body) : {};
}

// --- asking

let asked = 0;

async function ask() {
  byId("fault").textContent = "";
  if (!file && !isDrawn) return tell("Draw something, or choose a file.");
  const turn = ++asked;
  try {
    const blob = file || await drawnDigit();
    const body = await blob.arrayBuffer();
    const path = `/predict/${encodeURIComponent(byId("project").value.trim())}`, query = "";
    const headers = { "Content-Type": blob.type, ...await credentials(path, query, body) };
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
  byId("label").textContent = first.label;
  byId("version").textContent = answer.model_version;
  byId("latency").textContent = `${answer.latency_ms.toFixed(2)} ms in the function`;
  byId("trip").textContent = `${tripMs.toFixed(0)} ms`;
  const ranked = Object.entries(first.probabilities).sort((a, b) => b[1] - a[1]).slice(0, BEST);
  byId("bars").replaceChildren(...ranked.map(([label, share]) => {
    const row = document.createElement("li"), name = document.createElement("span");
    const bar = document.createElement("meter"), number = document.createElement("span");
    name.textContent = label;
    bar.value = share;
    bar.setAttribute("aria-label", `probability of ${label}`);
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

const host = /\.execute-api\.([a-z0-9-]+)\.amazonaws\./.exec(location.hostname);
if (host) byId("region").value = host[1];
const wanted = new URLSearchParams(location.search).get("project");
if (wanted) byId("project").value = wanted;
clear();
