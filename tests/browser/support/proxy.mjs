// A reverse proxy as programs made for LoraManager have it: it forwards some addresses and knows no others.

import http from "node:http";

/** Forwards what starts with one of `prefixes` to `target`, requests and sockets; everything else is 404. */
export async function startProxy(target, prefixes) {
  const { hostname, port } = new URL(target);
  const known = (url) => prefixes.some((prefix) => url === prefix || url.startsWith(prefix.endsWith("/") ? prefix : `${prefix}?`));
  // As aiohttp and nginx do: the server sees its own name.
  const forwarded = (headers) => ({ ...headers, host: `${hostname}:${port}`, ...(headers.origin && { origin: target }) });
  const refused = [];
  const server = http.createServer((request, response) => {
    if (!known(request.url)) {
      refused.push(request.url);
      response.writeHead(404).end();
      return;
    }
    const onward = http.request({ hostname, port, method: request.method, path: request.url, headers: forwarded(request.headers) }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    onward.on("error", () => response.destroy());
    request.pipe(onward);
  });
  server.on("upgrade", (request, socket, head) => {
    if (!known(request.url)) {
      refused.push(request.url);
      socket.destroy();
      return;
    }
    const onward = http.request({ hostname, port, path: request.url, headers: forwarded(request.headers) });
    onward.on("upgrade", (answer, remote, rest) => {
      const lines = Object.entries(answer.headers).map(([name, value]) => `${name}: ${value}`);
      socket.write(`HTTP/1.1 101 Switching Protocols\r\n${lines.join("\r\n")}\r\n\r\n`);
      socket.write(rest);
      remote.write(head);
      remote.pipe(socket).pipe(remote);
      for (const end of [socket, remote]) end.on("error", () => [socket, remote].forEach((other) => other.destroy()));
    });
    onward.on("response", () => socket.destroy());
    onward.on("error", () => socket.destroy());
    onward.end();
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    refused,
    stop: () => new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    }),
  };
}
