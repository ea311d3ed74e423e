"use strict";

// Signature Version 4: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html

const encoder = new TextEncoder();
const hex = (buffer) => [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const digest = async (bytes) => hex(await crypto.subtle.digest("SHA-256", bytes));
const strict = (text) => encodeURIComponent(text).replace(/[!'()*]/g, (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`);

async function hmac(key, text) {
  const imported = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return crypto.subtle.sign("HMAC", imported, encoder.encode(text));
}

// The headers that sign a request to this page's own host; `body` is an ArrayBuffer.
async function signature(method, address, body, keys) {
  const service = "execute-api", url = new URL(address, location.href);
  const moment = new Date().toISOString().replace(/[-:]|\.\d{3}/g, ""), day = moment.slice(0, 8);
  const scope = `${day}/${keys.region}/${service}/aws4_request`;
  const headers = { host: url.host, "x-amz-date": moment };
  if (keys.session) headers["x-amz-security-token"] = keys.session;
  const names = Object.keys(headers).sort();
  const query = [...url.searchParams].map((pair) => pair.map(strict).join("=")).sort().join("&");
  const path = url.pathname.split("/").map(strict).join("/");
  const canonical = [method, path, query, ...names.map((name) => `${name}:${headers[name]}`), "", names.join(";"), await digest(body)];
  const toSign = ["AWS4-HMAC-SHA256", moment, scope, await digest(encoder.encode(canonical.join("\n")))].join("\n");
  let key = encoder.encode(`AWS4${keys.secret}`);
  for (const part of [day, keys.region, service, "aws4_request", toSign]) key = await hmac(key, part);
  delete headers.host;
  headers.Authorization = `AWS4-HMAC-SHA256 Credential=${keys.key}/${scope}, SignedHeaders=${names.join(";")}, Signature=${hex(key)}`;
  return headers;
}

function typedKeys() {
  return Object.fromEntries(["key", "secret", "session", "region"].map((name) => [name, document.getElementById(name).value.trim()]));
}

const host = /\.execute-api\.([a-z0-9-]+)\.amazonaws\./.exec(location.hostname);
if (host) document.getElementById("region").value = host[1];
