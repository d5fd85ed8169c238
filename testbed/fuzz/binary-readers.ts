/** How the corpora of bytes are read: tars, objects, tables, databases, keys, signatures, answers of confined processes. */
import assert from 'node:assert/strict';
import { DerivedLayer } from '../../ostree/import/derived-layer.ts';
import { ObjectLayer } from '../../ostree/import/object-layer.ts';
import { parsePaxRecords } from '../../ostree/import/pax.ts';
import { type TarConsumer, TarReader } from '../../ostree/import/tar-reader.ts';
import { readTarSplit } from '../../ostree/import/zstd-chunked/tar-split.ts';
import { TocReader } from '../../ostree/import/zstd-chunked/toc.ts';
import { decodeVariant } from '../../ostree/gvariant/decode.ts';
import { encodeVariant } from '../../ostree/gvariant/encode.ts';
import { decodeCommit, decodeDictionary, encodeCommit, encodeDictionary } from '../../ostree/objects/commit.ts';
import { decodeDirectoryMetadata, encodeDirectoryMetadata } from '../../ostree/objects/dirmeta.ts';
import { decodeDirtree, encodeDirtree } from '../../ostree/objects/dirtree.ts';
import { decodeArchiveFileHeader, encodeFileHeader } from '../../ostree/objects/file-header.ts';
import { decodeXattrs, encodeXattrs } from '../../ostree/objects/xattrs.ts';
import { CommitLayerFiles } from '../../ostree/packages/commit-layer-files.ts';
import { packagesOfFiles } from '../../ostree/packages/database-files.ts';
import { PlainLayerFiles } from '../../ostree/packages/plain-layer-files.ts';
import { readNdbHeaders } from '../../ostree/packages/rpm-ndb.ts';
import { readSqliteHeaders } from '../../ostree/packages/rpm-sqlite.ts';
import { readCertificate } from '../../registry/signatures/certificate.ts';
import type { AttachedSignature, SimpleSignature } from '../../registry/signatures/attached-signature.ts';
import { signerOf } from '../../registry/signatures/containers/sigstore-signer.ts';
import { parsePublicKey, parseSignaturePolicy, parseSigningKey, readGpgKeys } from '../../registry/signatures/index.ts';
import { judgeSignatures } from '../../registry/signatures/judge.ts';
import { imported, type Understood, understood } from './confined-targets.ts';
import { attempt, type CorpusReader, Refused } from './fuzz.ts';
import { parseHeader } from './package-targets.ts';
import { forgetfulSink, readArchive } from './tar-targets.ts';

const TAR = ['TarError', 'ImportError', 'OstreeError'];
const OBJECT = ['OstreeError'];
const SIGNATURE = ['SignatureError'];

/** What a table says is at most here, for a blob that nobody has. */
const DATA_END = 4096;

/** A reader for what is taken only if encoding it again gives the same bytes. */
function exact<Value>(decode: (bytes: Buffer) => Value, encode: (value: Value) => Buffer): CorpusReader {
  return {
    asserts: 'encoded again it is the same bytes',
    refusals: OBJECT,
    read: (input) => assert.deepEqual(encode(decode(input)), input),
  };
}

function feed(input: Buffer, layer: TarConsumer & { abort(): void }, finish: () => unknown): void {
  try {
    const reader = new TarReader(layer);
    reader.write(input);
    reader.end();
    finish();
  } finally {
    layer.abort();
  }
}

function sameInPieces(whole: Understood, pieces: Understood): void {
  assert.deepEqual(pieces.seen, whole.seen);
  assert.equal(pieces.refusal === undefined, whole.refusal === undefined);
  if (whole.refusal !== undefined) throw whole.refusal;
}

/** A signature as its corpus keeps it: what it was made over, and what it is judged by. */
interface KeptSignature {
  readonly publicKey?: string;
  readonly repository?: string;
  readonly digest?: string;
  readonly kind?: string;
  readonly bundle?: string;
  readonly payload?: string;
  readonly signature?: string;
  readonly certificate?: string;
  readonly chain?: string;
  readonly rekorBundle?: string;
  readonly root?: string;
  readonly logKey?: string;
  readonly now?: string;
}

function kept(input: Buffer): KeptSignature {
  try {
    const value: unknown = JSON.parse(input.toString());
    if (typeof value === 'object' && value !== null && !Object.values(value).some((one) => typeof one !== 'string'))
      return value;
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
  }
  // The frame is the fuzzer's own, no input of ours.
  throw new Refused('no kept signature');
}

/** What is trusted is no input of strangers, either. */
function trustedCertificate(base64: string): ReturnType<typeof readCertificate> {
  try {
    return readCertificate(Buffer.from(base64, 'base64'));
  } catch {
    throw new Refused('no trusted certificate');
  }
}

function simpleOf({ payload = '', signature = '', certificate, chain, rekorBundle }: KeptSignature): SimpleSignature {
  return {
    kind: 'simple-signing',
    where: 'the corpus',
    payload: Buffer.from(payload, 'base64'),
    signature: Buffer.from(signature, 'base64'),
    ...(certificate === undefined ? {} : { certificate }),
    ...(chain === undefined ? {} : { chain }),
    ...(rekorBundle === undefined ? {} : { rekorBundle }),
  };
}

export const BINARY_READERS: Readonly<Record<string, CorpusReader>> = {
  tar: {
    asserts: 'it means the same in any pieces, and each entry has as many bytes as it says',
    refusals: TAR,
    read: (input) => {
      const pieces = attempt(TAR, () => readArchive(input, 7));
      const whole = attempt(TAR, () => readArchive(input, input.length + 1));
      assert.deepEqual(pieces, whole);
      return whole ?? readArchive(input, input.length + 1);
    },
  },
  'derived-layers': {
    asserts: '',
    refusals: TAR,
    read: (input) => {
      const layer = new DerivedLayer(forgetfulSink(), { allowNonUsr: false, retainVar: false });
      feed(input, layer, () => layer.finish());
    },
  },
  'object-layers': {
    asserts: '',
    refusals: TAR,
    read: (input) => {
      const chunk = new ObjectLayer(forgetfulSink(), 'chunk');
      feed(input, chunk, () => chunk.finishChunk());
    },
  },
  pax: { asserts: '', refusals: TAR, read: (input) => parsePaxRecords(input) },
  variants: {
    asserts: 'encoded again it is the same bytes',
    refusals: OBJECT,
    read: (input) => {
      const end = input.indexOf(0);
      const [type, bytes] = [input.toString('latin1', 0, Math.max(end, 0)), input.subarray(end + 1)];
      assert.deepEqual(encodeVariant(type, decodeVariant(type, bytes)), bytes);
    },
  },
  'deep-variants': {
    asserts: 'no depth takes more stack than there is',
    refusals: OBJECT,
    read: (input) => decodeVariant('v', input),
  },
  xattrs: exact(decodeXattrs, encodeXattrs),
  dirmetas: exact(decodeDirectoryMetadata, encodeDirectoryMetadata),
  dirtrees: exact(decodeDirtree, encodeDirtree),
  commits: exact(decodeCommit, encodeCommit),
  dictionaries: exact(decodeDictionary, encodeDictionary),
  'file-headers': exact(decodeArchiveFileHeader, ({ header, size }) => encodeFileHeader(header, size)),
  'zstd-tables': {
    asserts: 'contents lie in the blob and do not overlap',
    refusals: ['PartialFetchUnusable', 'ImportError'],
    read: (input) => {
      const reader = new TocReader(DATA_END);
      for (let at = 0; at < input.length; at += 100) reader.write(input.subarray(at, at + 100));
      let end = 0;
      for (const payload of reader.finish().payloads) {
        assert.ok(payload.offset >= end && payload.end <= DATA_END && payload.end > payload.offset);
        end = payload.end;
      }
    },
  },
  'tar-splits': {
    asserts: '',
    refusals: ['PartialFetchUnusable', 'ImportError'],
    read: async (input) => {
      for await (const piece of readTarSplit(input, 65_536)) assert.ok(piece.kind === 'bytes' || piece.size >= 0);
    },
  },
  'rpm-databases': {
    asserts: 'a file of a package lies below the root',
    refusals: ['PackageError'],
    read: (input) => {
      const magic = input.toString('latin1', 0, 4);
      if (magic !== 'SQLi' && magic !== 'RpmP') return parseHeader(input);
      for (const header of magic === 'SQLi' ? readSqliteHeaders(input, 'it') : readNdbHeaders(input, 'it'))
        parseHeader(header);
    },
  },
  'layers-with-packages': {
    asserts: 'a package has a name',
    refusals: [...TAR, 'PackageError'],
    read: (input) => {
      const isCommit = input.includes('sysroot/ostree/repo');
      const consumer = isCommit ? new CommitLayerFiles() : new PlainLayerFiles();
      const reader = new TarReader(consumer);
      reader.write(input);
      reader.end();
      for (const { id } of packagesOfFiles(consumer.files)) assert.ok(id.length > 0);
    },
  },
  'gpg-keyrings': {
    asserts: '',
    refusals: SIGNATURE,
    read: async (bytes) => await readGpgKeys([{ where: 'the fuzzer', bytes }]),
  },
  'signing-keys': {
    asserts: '',
    refusals: SIGNATURE,
    read: (input) => {
      const text = input.toString('latin1');
      return text.includes('PRIVATE') ? parseSigningKey(text, 'x', 'it') : parsePublicKey(text, 'it');
    },
  },
  signatures: {
    asserts: 'it counts for no other image, and for no other name',
    refusals: [...SIGNATURE, 'Refused'],
    read: (input) => {
      const { publicKey = '', repository = '', digest = '', bundle, ...simple } = kept(input);
      const policy = parseSignaturePolicy({ authorities: [{ name: 'a', publicKeys: [publicKey] }] }, 'the fuzzer');
      const signature: AttachedSignature =
        bundle === undefined
          ? simpleOf(simple)
          : { kind: 'bundle', where: 'the corpus', bundle: Buffer.from(bundle, 'base64') };
      const other = { repository, digest: `sha256:${'2'.repeat(64)}` };
      assert.equal(
        attempt(SIGNATURE, () => judgeSignatures(policy, other, [signature])),
        undefined,
      );
      return judgeSignatures(policy, { repository, digest }, [signature]);
    },
  },
  'policy-certificates': {
    asserts: 'who is believed to have signed did sign just these bytes',
    refusals: [...SIGNATURE, 'NotThisSignature', 'Refused'],
    read: (input) => {
      const { root = '', logKey, now = '', ...rest } = kept(input);
      const roots = [trustedCertificate(root)];
      const signer =
        logKey === undefined
          ? ({ by: 'pki', roots, intermediates: [], email: 'a@example', logKeys: [] } as const)
          : ({
              by: 'fulcio',
              roots,
              issuer: 'https://issuer.example',
              email: 'a@example',
              logKeys: [parsePublicKey(logKey, 'the fuzzer')],
            } as const);
      return signerOf(simpleOf(rest), signer, new Date(now));
    },
  },
  'fetcher-answers': {
    asserts: 'it means the same in any pieces; what is told holds no control character',
    refusals: ['RegistryError'],
    read: (input) => sameInPieces(understood(input, input.length + 1), understood(input, 7)),
  },
  'unpacker-answers': {
    asserts: 'it means the same in any pieces; an entry has as many bytes as it says',
    refusals: ['UnpackingFailed', 'ImportError'],
    read: async (input) => sameInPieces(await imported(input, input.length + 1, 64), await imported(input, 7, 64)),
  },
};
