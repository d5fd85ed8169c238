/**
 * Part of a blob from a registry by HTTP Range (RFC 9110, section 14): a cut connection is resumed, and a server that
 * answers with anything but exactly the part that was asked for is refused before a byte of it is given away.
 */
import { type Answer, connectionError, drain, header } from './connection.ts';
import { RegistryError } from './errors.ts';
import type { BlobReadOptions } from './image-source.ts';
import type { Descriptor } from './oci.ts';
import type { RegistryClient } from './registry-client.ts';
import { isTransient, waitOrGiveUp } from './retry.ts';
import { TransferPace } from './transfer-pace.ts';

/** A transfer that gains this much between two cuts is going somewhere: its tries start anew. */
const PROGRESS_BYTES = 1024 * 1024;

/**
 * Streams `length` bytes from `offset` on. Only the number of bytes is checked: a part has no digest of its own here.
 * @throws RegistryError `RangeUnsupported`, and whatever the registry does wrong.
 */
export async function* openBlobRange(
  client: RegistryClient,
  descriptor: Descriptor,
  offset: number,
  length: number,
  options: BlobReadOptions = {},
): AsyncIterable<Buffer> {
  const { signal, onBytes } = options;
  refuseOutside(descriptor, offset, length);
  const end = offset + length;
  let position = offset;
  let failures = 0;
  let positionAtFailure = offset;
  while (position < end) {
    let answer: Answer | undefined;
    try {
      answer = await openPart(client, descriptor, position, end, signal);
      const pieces = (answer.body as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
      const pace = new TransferPace(`Registry ${answer.url.host}`, 2 * answer.idleTimeoutMs);
      const { url } = answer;
      const next = (): Promise<Buffer | undefined> => nextPiece(pieces, pace, url);
      for (let piece = await next(); piece !== undefined; piece = await next()) {
        position += piece.length;
        if (position > end) throw wrongLength(client, descriptor, 'more');
        onBytes?.(piece.length);
        yield piece;
      }
      // An end without the promised bytes and without a connection error is the server's word, not a cut.
      if (position < end) throw wrongLength(client, descriptor, 'fewer');
    } catch (error) {
      signal?.throwIfAborted();
      if (!isTransient(error)) throw error;
      if (position - positionAtFailure >= PROGRESS_BYTES) failures = 0;
      positionAtFailure = position;
      if (position < end) await waitOrGiveUp(error, failures++, client.retry, client.clock, signal);
    } finally {
      answer?.body.destroy();
    }
  }
}

/** Refuses a part that is not inside the blob. @throws RangeError: the caller's mistake, not the image's. */
export function refuseOutside(descriptor: Descriptor, offset: number, length: number): void {
  const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(length);
  if (!whole || offset < 0 || length < 0 || offset + length > descriptor.size) {
    throw new RangeError(
      `Bytes ${offset}+${length} are not inside blob ${descriptor.digest}, which has ${descriptor.size}.`,
    );
  }
}

async function openPart(
  client: RegistryClient,
  descriptor: Descriptor,
  start: number,
  end: number,
  signal: AbortSignal | undefined,
): Promise<Answer> {
  const { host, repository } = client.name;
  const answer = await client.attempt({
    method: 'GET',
    target: `blobs/${descriptor.digest}`,
    headers: { range: `bytes=${start}-${end - 1}` },
    expect: [200, 206, 416],
    missing: `Registry ${host} has no blob ${descriptor.digest} in ${repository}, though a manifest names it: push the image again.`,
    signal,
  });
  if (answer.status !== 206) {
    // The whole blob would follow a 200: it is not read.
    if (answer.status === 200) answer.body.destroy();
    else await drain(answer);
    throw new RegistryError(
      'RangeUnsupported',
      `Registry ${host} does not serve parts of blob ${descriptor.digest} (it answers ${answer.status} to a Range request): fetch the whole blob.`,
    );
  }
  const range = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(header(answer, 'content-range') ?? '');
  const fits =
    range !== null &&
    Number(range[1]) === start &&
    Number(range[2]) === end - 1 &&
    (range[3] === '*' || Number(range[3]) === descriptor.size);
  if (fits) return answer;
  answer.body.destroy();
  throw new RegistryError(
    'UnexpectedResponse',
    `Registry ${host} answers a request for bytes ${start}-${end - 1} of blob ${descriptor.digest} with another part of it (${header(answer, 'content-range') ?? 'no Content-Range'}): report it to whoever runs it.`,
  );
}

/** The next piece; connection errors are told apart from whatever else may throw around it. */
async function nextPiece(pieces: AsyncIterator<Buffer>, pace: TransferPace, url: URL): Promise<Buffer | undefined> {
  try {
    const { done, value } = await pace.next(pieces);
    return done === true ? undefined : value;
  } catch (error) {
    throw connectionError(error, url);
  }
}

function wrongLength(client: RegistryClient, descriptor: Descriptor, how: 'more' | 'fewer'): RegistryError {
  return new RegistryError(
    'SizeMismatch',
    `Registry ${client.name.host} sends ${how} bytes of blob ${descriptor.digest} than the part that was asked for: report it to whoever runs it.`,
  );
}
