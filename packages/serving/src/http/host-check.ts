import type { IncomingMessage, ServerResponse } from 'node:http';

const loopbackName = /^(?:localhost|.+\.localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

/** Whether only this machine reaches an address. */
export function isLoopback(host: string): boolean {
  return loopbackName.test(host.includes(':') && !host.startsWith('[') ? `[${host}]` : host.toLowerCase());
}

/**
 * Whether a request may be meant for a server on a loopback address. A page in a browser can reach such a server by a name of
 * its own that resolves to 127.0.0.1 (DNS rebinding); then `Host` has that name.
 */
export function isHostAllowed(header: string | undefined, allowed: ReadonlySet<string>): boolean {
  // HTTP/1.0 clients send none; browsers always do.
  if (header === undefined) return true;
  const name = header.replace(/:\d*$/, '').toLowerCase();
  return loopbackName.test(name) || allowed.has(name);
}

/** Answers 403 in the form of the API. */
export function refuseHost(request: IncomingMessage, response: ServerResponse): void {
  const message = `requests to this server must be addressed to localhost, not to ${(request.headers.host ?? '').slice(0, 100)}; add the name to allowedHosts if a proxy passes it on`;
  const body = JSON.stringify({
    error: { message, type: 'invalid_request_error', param: null, code: 'host_not_allowed' },
  });
  // What the client still sends is not read.
  response.writeHead(403, { 'content-type': 'application/json', connection: 'close' }).end(body);
}
