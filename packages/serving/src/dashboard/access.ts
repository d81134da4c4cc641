import { createHash, timingSafeEqual } from 'node:crypto';
import { ServingError } from '../errors.js';

/** Who may see figures and traces. */
export interface AdminAccess {
  /**
   * SHA-256 of the admin key in hexadecimal. With it, whoever sends the key as `Authorization: Bearer` may look. Without
   * it, only requests from this machine that name it by a loopback address may.
   */
  readonly adminKeySha256?: string;
}

/** Where a request comes from; undefined when it comes from code in this process. */
export interface Peer {
  readonly address?: string | undefined;
}

const loopbackAddress = /^(?:::ffff:)?127\.|^::1$/;
const loopbackHost = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?$/i;

/**
 * Lets a request through or not.
 *
 * A page of another site can make a browser on this machine ask a loopback server under a name of its own (DNS
 * rebinding), and a proxy on this machine asks for others: so the `Host` header must name loopback too, and there must
 * be no `X-Forwarded-For` or `Forwarded`.
 *
 * @throws {@link ServingError} 401 or 403.
 */
export function requireAdmin(request: Request, peer: Peer | undefined, access: AdminAccess): void {
  const { adminKeySha256 } = access;
  if (adminKeySha256 !== undefined) {
    if (isKey(request.headers.get('authorization'), adminKeySha256)) return;
    throw new ServingError({
      code: 'serving/admin-key-needed',
      openAiCode: 'invalid_api_key',
      message: 'this needs the admin key',
      remedy: 'send it as Authorization: Bearer',
      status: 401,
      type: 'invalid_request_error',
    });
  }
  if (peer === undefined || isLocal(request, peer)) return;
  throw new ServingError({
    code: 'serving/not-local',
    openAiCode: 'forbidden',
    message: 'without an admin key this is shown to browsers on the machine itself only',
    remedy: 'open it by http://127.0.0.1 there, or start the server with an admin key',
    status: 403,
    type: 'invalid_request_error',
  });
}

function isLocal({ headers }: Request, peer: Peer): boolean {
  if (headers.has('x-forwarded-for') || headers.has('forwarded')) return false;
  return loopbackAddress.test(peer.address ?? '') && loopbackHost.test(headers.get('host') ?? '');
}

function isKey(authorization: string | null, sha256: string): boolean {
  const key = /^Bearer (.+)$/i.exec(authorization ?? '')?.[1];
  if (key === undefined) return false;
  return timingSafeEqual(createHash('sha256').update(key).digest(), Buffer.from(sha256, 'hex'));
}
