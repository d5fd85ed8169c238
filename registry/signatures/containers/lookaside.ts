/** Signatures that are kept beside a registry, one file each (containers-registries.d(5), "lookaside"). */
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Connection, drain, readBody } from '../../connection.ts';
import { hexOf } from '../../digest.ts';
import { reasonOf, RegistryError } from '../../errors.ts';
import { DEFAULT_RETRY, type RegistryOptions, SYSTEM_CLOCK } from '../../options.ts';
import { withRetries } from '../../retry.ts';
import { SIGNATURES_MAX } from '../lookup.ts';

/** A GPG signature around a payload of a few hundred bytes. */
const SIGNATURE_MAX_BYTES = 256 * 1024;

export interface LookasideSignature {
  /** For messages. */
  readonly where: string;
  readonly bytes: Buffer;
}

/**
 * The signatures of `digest` below `base`: `signature-1` and so on, until there is none.
 * @param root where absolute paths of `file:` URLs start.
 * @throws RegistryError when a place cannot be read, or is neither a file nor a web address.
 */
export async function readLookaside(
  base: string,
  digest: string,
  root: string,
  options: RegistryOptions,
  signal?: AbortSignal,
): Promise<readonly LookasideSignature[]> {
  const found: LookasideSignature[] = [];
  for (let number = 1; number <= SIGNATURES_MAX; number++) {
    const where = `${base}@sha256=${hexOf(digest)}/signature-${number}`;
    const bytes = await read(where, root, options, signal);
    if (bytes === undefined) break;
    found.push({ where, bytes });
  }
  return found;
}

async function read(
  where: string,
  root: string,
  options: RegistryOptions,
  signal: AbortSignal | undefined,
): Promise<Buffer | undefined> {
  const url = URL.parse(where);
  switch (url?.protocol) {
    case 'file:':
      return await readFileAt(join(root, fileURLToPath(url)));
    case 'https:':
    case 'http:':
      return await fetchFrom(url, options, signal);
    default:
      throw new RegistryError(
        'InvalidConfiguration',
        `The signature storage ${where} is neither file:// nor https://: correct it in registries.d.`,
      );
  }
}

async function readFileAt(path: string): Promise<Buffer | undefined> {
  try {
    await using file = await open(path);
    const buffer = Buffer.alloc(SIGNATURE_MAX_BYTES + 1);
    let length = 0;
    for (;;) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    if (length > SIGNATURE_MAX_BYTES) throw tooLarge(path);
    return buffer.subarray(0, length);
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
    if (cause instanceof RegistryError) throw cause;
    throw new RegistryError('InvalidConfiguration', `The signature ${path} cannot be read: ${reasonOf(cause)}.`, cause);
  }
}

async function fetchFrom(
  url: URL,
  options: RegistryOptions,
  signal: AbortSignal | undefined,
): Promise<Buffer | undefined> {
  // Whoever writes http:// into registries.d means it; signatures prove themselves.
  const plain = url.protocol === 'http:' ? [...(options.plainHttpHosts ?? []), url.host] : options.plainHttpHosts;
  await using connection = new Connection({ ...options, ...(plain && { plainHttpHosts: plain }) }, url.host);
  return await withRetries(
    async () => {
      const answer = await connection.send({ method: 'GET', url, headers: {}, signal });
      if (answer.status === 404) {
        await drain(answer);
        return undefined;
      }
      if (answer.status !== 200) {
        await drain(answer);
        const code = answer.status >= 500 ? 'ServerError' : 'UnexpectedResponse';
        throw new RegistryError(
          code,
          `${url.host} answers ${answer.status} for the signature ${url.href}: only 404 would mean that there is none.`,
        );
      }
      const bytes = await readBody(answer, SIGNATURE_MAX_BYTES, signal);
      if (bytes === undefined) throw tooLarge(url.href);
      return bytes;
    },
    { ...DEFAULT_RETRY, ...options.retry },
    options.clock ?? SYSTEM_CLOCK,
    signal,
  );
}

function tooLarge(where: string): RegistryError {
  return new RegistryError(
    'TooLarge',
    `The signature ${where} is larger than ${SIGNATURE_MAX_BYTES} bytes: it is none.`,
  );
}
