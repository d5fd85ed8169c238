/** References: what a person or an order names, and the refs that are made of it. */
import assert from 'node:assert/strict';
import { imageOfRef, imageRef } from '../../ostree/import/store-refs.ts';
import { assertRefName, escapeRefPath, unescapeRefPath } from '../../ostree/repository/ref-name.ts';
import {
  parseAnyImageReference,
  parseOstreeImageReference,
  formatOstreeImageReference,
  parseRegistryName,
  formatRegistryName,
} from '../../registry/index.ts';
import { attempt, type FuzzTarget } from './fuzz.ts';
import type { Random } from './random.ts';

const PIECES = [
  'ostree-image-signed:',
  'ostree-unverified-image:',
  'ostree-unverified-registry:',
  'ostree-remote-image:fedora:',

  'ostree-remote-registry:',
  'docker://',
  'registry:',
  'oci:',
  'oci-archive:',
  'docker-archive:',
  'dir:',
  'docker-daemon:',

  'containers-storage:',
  'quay.io',
  'localhost:5000',
  '/ex/os',
  ':latest',
  '@sha256:',
  'a'.repeat(64),
  ':',
  '/',
  '@',
  '[::1]',

  'A',
  'z',
  '0',
  '_',
  '-',
  '.',
  '+',
];
const REFUSED = ['RegistryError'];

const references: FuzzTarget = {
  name: 'references',
  round: (random: Random) => {
    const text = random.text(PIECES, 8);
    attempt(REFUSED, () => parseAnyImageReference(text));
    const reference = attempt(REFUSED, () => parseOstreeImageReference(text));
    if (reference === undefined) return;
    assert.deepEqual(parseOstreeImageReference(formatOstreeImageReference(reference)), reference);
    const name = attempt(REFUSED, () => parseRegistryName(reference.image.name));
    if (name !== undefined) assert.deepEqual(parseRegistryName(formatRegistryName(name)), name);
    const ref = attempt(['OstreeError'], () => imageRef(reference.image));
    if (ref !== undefined) assert.deepEqual(imageOfRef(ref), reference.image);
  },
};

const refNames: FuzzTarget = {
  name: 'ref-names',
  round: (random) => {
    const text = random.text(PIECES, 8);
    attempt(['OstreeError'], () => unescapeRefPath(text));
    attempt(['OstreeError'], () => assertRefName(text));
    const escaped = attempt(['OstreeError'], () => escapeRefPath(text));
    if (escaped !== undefined) assert.equal(unescapeRefPath(escaped), text);
  },
};

export const REFERENCE_TARGETS = [references, refNames];
