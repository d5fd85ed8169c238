/** What processes without privilege answer: one that has been taken over may send whatever it likes to one that is root. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { EntryReader, encodeEntry } from '../../ostree/import/unpacker/entry-stream.ts';
import {
  encodeFrame as encodeUnpackerFrame,
  FRAME as UNPACKER,
  FrameSource,
} from '../../ostree/import/unpacker/frame.ts';
import { encodeFrame, FRAME, FrameReader } from '../../registry/fetcher/frame.ts';
import { parseFailure, parseHead } from '../../registry/fetcher/protocol.ts';
import type { FuzzTarget } from './fuzz.ts';
import type { Random } from './random.ts';

const HEADS = [
  { statusCode: 200, headers: { 'content-length': '10', 'www-authenticate': ['Bearer realm="x"', 'Basic'] } },
  { statusCode: 599, headers: {} },
  { statusCode: 99, headers: { a: 1 } },
  { statusCode: 200, headers: [] },
];
const FAILURES = [{ code: 'ECONNREFUSED', message: 'refused\n' }, { code: 7, message: 'x' }, []];

export interface Understood {
  readonly seen: readonly unknown[];
  readonly refusal: Error | undefined;
}

const PATHS = ['usr/', 'usr/a', 'é', '..', '/etc/passwd', 'a'.repeat(300)];
const TYPES = ['file', 'file', 'hardlink', 'symlink', 'directory', 'fifo'] as const;
const DATA_BYTES = 600;

function cut(bytes: Buffer, pieceSize: number): readonly Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / pieceSize) }, (_, index) =>
    Buffer.from(bytes.subarray(index * pieceSize, (index + 1) * pieceSize)),
  );
}

/** Answers of many exchanges, whole or nearly so. */
function fetcherAnswers(random: Random): Buffer {
  const frames = Array.from({ length: 1 + random.below(5) }, () => {
    const kind = random.chance(8) ? random.below(256) : random.pick([FRAME.head, FRAME.data, FRAME.end, FRAME.failed]);
    const text = JSON.stringify(kind === FRAME.failed ? random.pick(FAILURES) : random.pick(HEADS));
    const payload = kind === FRAME.end ? '' : kind === FRAME.data ? random.bytes(random.below(DATA_BYTES)) : text;
    return encodeFrame(kind, random.below(4), payload);
  });
  const whole = Buffer.concat(frames);
  return random.chance(3) ? whole : random.damaged(whole);
}

/** What is understood of answers, up to the first that is none; and why that is none. */
export function understood(answers: Buffer, pieceSize: number): Understood {
  const seen: unknown[] = [];
  const reader = new FrameReader(({ kind, id, payload }) => {
    if (kind === FRAME.head) {
      const { statusCode, headers } = parseHead(payload);
      assert.ok(statusCode >= 100 && statusCode <= 599);
      assert.equal(Object.getPrototypeOf(headers), null);
      for (const value of Object.values(headers)) assert.ok(typeof value === 'string' || Array.isArray(value));
      seen.push([id, statusCode, Object.entries(headers)]);
    } else if (kind === FRAME.failed) {
      const failure = parseFailure(payload);
      assert.doesNotMatch(failure.message, /\p{Cc}/u);
      seen.push([id, failure.message]);
    } else {
      seen.push([id, kind, payload.toString('hex')]);
    }
  });
  try {
    for (const piece of cut(answers, pieceSize)) reader.write(piece);
    return { seen, refusal: undefined };
  } catch (error) {
    if (!(error instanceof Error) || error.name !== 'RegistryError') throw error;
    return { seen, refusal: error };
  }
}

const fetcher: FuzzTarget = {
  name: 'fetcher-answers',
  round: (random) => {
    const answers = fetcherAnswers(random);
    assert.deepEqual(understood(answers, 1 + random.below(40)), understood(answers, answers.length + 1));
  },
};

/** Entries of a layer in frames, the entries and the frames whole or nearly so. */
function unpackerAnswers(random: Random): Buffer {
  const entries = Array.from({ length: 1 + random.below(4) }, () => {
    const type = random.pick(TYPES);
    const content = type === 'file' ? random.bytes(random.below(DATA_BYTES)) : Buffer.alloc(0);
    const xattrs = new Map(random.chance(2) ? [] : [['user.a', random.bytes(random.below(9))] as const]);
    const owner = { mode: random.below(0o10000), uid: random.below(2 ** 32), gid: 0, mtime: random.below(2 ** 32) };
    const link = { path: random.pick(PATHS), linkPath: random.pick(PATHS) };
    return Buffer.concat([encodeEntry({ type, ...link, ...owner, size: content.length, xattrs }), content]);
  });
  const stream = Buffer.concat(entries);
  const frames = cut(random.chance(2) ? stream : random.damaged(stream), 1 + random.below(DATA_BYTES));
  const end = random.chance(4)
    ? encodeUnpackerFrame(UNPACKER.failed, random.bytes(random.below(50)))
    : encodeUnpackerFrame(UNPACKER.end);
  const whole = Buffer.concat([...frames.map((frame) => encodeUnpackerFrame(UNPACKER.data, frame)), end]);
  return random.chance(2) ? whole : random.damaged(whole);
}

/** What is imported of it, up to the first thing that no unpacker says; and why. */
export async function imported(answers: Buffer, pieceSize: number, targetSize: number): Promise<Understood> {
  const seen: unknown[] = [];
  let remaining = 0;
  let hash = createHash('sha256');
  const reader = new EntryReader({
    entry: (entry) => {
      assert.equal(remaining, 0, 'entries do not overlap');
      assert.ok(Number.isSafeInteger(entry.size) && entry.size >= 0 && entry.path !== '');
      assert.ok(!`${entry.path}${entry.linkPath}`.includes('\0'));
      remaining = entry.size;
      hash = createHash('sha256');
      seen.push({ ...entry, xattrs: [...entry.xattrs].map(([name, value]) => [name, value.toString('hex')]) });
    },
    data: (bytes) => {
      remaining -= bytes.length;
      assert.ok(remaining >= 0, 'no more than was announced');
      hash.update(bytes);
    },
    entryEnd: () => {
      assert.equal(remaining, 0);
      seen.push(hash.digest('hex'));
    },
  });
  async function* pieces(): AsyncGenerator<Buffer> {
    yield* cut(answers, pieceSize);
  }
  const source = new FrameSource(pieces());
  const target = Buffer.alloc(targetSize);
  try {
    for (let count = await source.fill(target); count > 0; count = await source.fill(target)) {
      reader.write(Buffer.from(target.subarray(0, count)));
    }
    reader.end();
    return { seen, refusal: undefined };
  } catch (error) {
    if (!(error instanceof Error) || !['UnpackingFailed', 'ImportError'].includes(error.name)) throw error;
    return { seen, refusal: error };
  }
}

const unpacker: FuzzTarget = {
  name: 'unpacker-answers',
  round: async (random) => {
    const answers = unpackerAnswers(random);
    const piecemeal = await imported(answers, 1 + random.below(40), 64);
    assert.deepEqual(piecemeal, await imported(answers, answers.length + 1, 64));
  },
};

export const CONFINED_TARGETS: readonly FuzzTarget[] = [fetcher, unpacker];
