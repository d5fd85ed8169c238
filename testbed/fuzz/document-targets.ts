/** Documents from registries: manifests, indexes, configs, tokens, and the layouts that are read from them. */
import assert from 'node:assert/strict';
import { layersOf, parseLayout, requireBootableImage } from '../../ostree/import/layout.ts';
import { canonicalJson, imageVersion, parseDockerConfig } from '../../registry/index.ts';
import { parseChallenges } from '../../registry/challenge.ts';
import { linksOf } from '../../registry/mirror/document-links.ts';
import { tagsOf } from '../../registry/mirror/pages.ts';
import { parseConfig, parseIndex, parseJsonObject, parseManifest } from '../../registry/document.ts';
import { attempt, type FuzzTarget } from './fuzz.ts';
import type { Random } from './random.ts';

const digest = (letter: string): string => `sha256:${letter.repeat(64)}`;
const descriptor = (letter: string) => ({
  mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
  digest: digest(letter),
  size: 12,
});
const MANIFEST = {
  schemaVersion: 2,
  config: descriptor('c'),
  layers: [descriptor('a'), descriptor('b')],
  annotations: { k: 'v' },
};
const INDEX = {
  schemaVersion: 2,
  manifests: [{ ...descriptor('d'), platform: { os: 'linux', architecture: 'amd64' } }],
};
const CONFIG = {
  architecture: 'amd64',
  os: 'linux',
  created: '2024-01-01T00:00:00Z',
  config: { Labels: { 'ostree.final-diffid': digest('a'), 'ostree.bootable': 'true', version: '1' } },
  rootfs: { type: 'layers', diff_ids: [digest('a'), digest('b')] },
  history: [{ created_by: 'x', empty_layer: true }],
};
const VALUES: readonly unknown[] = [
  null,
  0,
  -1,
  1e300,
  0.5,
  '',
  'x',
  true,
  [],
  {},
  [[]],
  digest('a'),
  2 ** 53,
  '\ud800',
];
const REFUSED = ['RegistryError'];

/** The value with some members replaced, removed, doubled or renamed. */
export function changed(random: Random, value: unknown): unknown {
  if (random.chance(12)) return random.pick(VALUES);
  if (Array.isArray(value)) {
    const items = value.map((item) => changed(random, item));
    return random.chance(8) ? [...items, ...items] : items;
  }
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(() => !random.chance(25))
      .map(([key, member]) => [random.chance(30) ? '__proto__' : key, changed(random, member)]),
  );
}

function document(random: Random, valid: unknown): Buffer {
  const bytes = Buffer.from(JSON.stringify(changed(random, valid)) ?? '');
  return random.chance(4) ? random.damaged(bytes) : bytes;
}

const documents: FuzzTarget = {
  name: 'documents',
  round: (random) => {
    const read = (valid: unknown) =>
      attempt(REFUSED, () => parseJsonObject(document(random, valid), 'InvalidManifest', 'it'));
    const index = read(INDEX);
    if (index !== undefined) attempt(REFUSED, () => parseIndex(index, 'img'));
    const raw = read(MANIFEST);
    const manifest = raw && attempt(REFUSED, () => parseManifest(raw, 'img'));
    const config = attempt(REFUSED, () => parseConfig(document(random, CONFIG), 'img'));
    if (manifest !== undefined)
      assert.deepEqual(JSON.parse(canonicalJson(manifest)), JSON.parse(JSON.stringify(manifest)));
    if (config === undefined) return;
    imageVersion(config);
    attempt(['ImportError'], () => requireBootableImage('img', config, { os: 'linux', architecture: 'amd64' }));
    if (manifest === undefined) return;
    const layout = attempt(['ImportError'], () => parseLayout('img', manifest, config));
    if (layout === undefined) return;
    assert.deepEqual(
      layersOf(layout).map(({ descriptor }) => descriptor),
      manifest.layers,
    );
  },
};

const deepDocuments: FuzzTarget = {
  name: 'deep-documents',
  round: (random) => {
    const depth = random.below(20_000);
    const text = `{"a":${random.pick(['[', '{"a":'])}`.repeat(depth);
    attempt(REFUSED, () => parseJsonObject(Buffer.from(text), 'InvalidManifest', 'it'));
  },
};

const credentials: FuzzTarget = {
  name: 'credentials',
  round: (random) => {
    const valid = {
      auths: { 'quay.io': { auth: 'dTpw' }, 'a/b': { identitytoken: 't' } },
      credHelpers: { c: 'd' },
      credsStore: 'e',
    };
    attempt(REFUSED, () => parseDockerConfig(document(random, valid).toString(), true));
    const header = random.text(['Bearer', 'Basic', ' ', ',', 'realm', '=', '"https://a/b"', 'scope', '"', '\\'], 20);
    parseChallenges(header);
  },
};

/** What a mirror follows: each name that comes out of it becomes a path or a URL. */
const mirrored: FuzzTarget = {
  name: 'mirrored-documents',
  round: (random) => {
    const valid = { ...random.pick([MANIFEST, INDEX]), subject: descriptor('e') };
    const bytes = document(random, valid);
    const mediaType = random.chance(3)
      ? undefined
      : random.pick(['application/vnd.oci.image.index.v1+json', 'text/html']);
    const links = attempt(REFUSED, () => linksOf({ bytes, mediaType, digest: digest('f') }, 'img'));
    if (links !== undefined) {
      assert.equal(links.document.bytes, bytes);
      for (const { digest: name } of [...links.documents, ...links.blobs]) assert.match(name, /^sha256:[0-9a-f]{64}$/);
      assert.match(links.subject ?? digest('0'), /^sha256:[0-9a-f]{64}$/);
    }
    const page = attempt(REFUSED, () =>
      parseJsonObject(document(random, { name: 'os', tags: ['v1', '../x'] }), 'UnexpectedResponse', 'it'),
    );
    if (page === undefined) return;
    for (const tag of attempt(REFUSED, () => tagsOf(page, 'os')) ?? []) assert.match(tag, /^\w[\w.-]*$/);
  },
};

export const DOCUMENT_TARGETS = [documents, deepDocuments, credentials, mirrored];
