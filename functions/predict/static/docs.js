"use strict";

// Keys that were typed sign what is tried out; a token that was given to "Authorize" goes as it is.
async function sign(request) {
  const keys = typedKeys();
  const headers = request.headers || {};
  const isAuthorized = Object.keys(headers).some((name) => name.toLowerCase() === "authorization");
  if (request.loadSpec || !keys.key || isAuthorized) return request;
  const body = await new Response(request.body ?? "").arrayBuffer();
  request.headers = { ...headers, ...await signature(request.method, request.url, body, keys) };
  return request;
}

SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  displayRequestDuration: true,
  validatorUrl: null,
  requestInterceptor: sign,
});
