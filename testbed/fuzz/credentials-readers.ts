/** How the corpora about pull credentials are read: keys that agents report, and sealed texts that stand in NodeOSes. */
import assert from 'node:assert/strict';
import { CredentialsKey, seal } from '../../sealing/sealed-credentials.ts';
import { attemptAsync, type CorpusReader } from './fuzz.ts';

const REFUSALS = ['SealingError'];
const CONFIG = Buffer.from('{"auths":{}}');
const SEALED_FOR = { nodeUID: 'node', namespace: 'treeline-system', secretName: 'pull', secretVersion: 'uid/1' };
/** Whose public half and whose texts the corpora hold. */
const key = CredentialsKey.from(Buffer.alloc(32, 7));

export const CREDENTIALS_READERS: Readonly<Record<string, CorpusReader>> = {
  'credentials-keys': {
    asserts: 'what is sealed for it opens with no other key',
    refusals: REFUSALS,
    read: async (input) => {
      const { publicKey } = await key;
      const sealed = await seal(input.toString(), CONFIG, SEALED_FOR);
      const opened = await attemptAsync(REFUSALS, async () => await (await key).open(sealed, SEALED_FOR));
      assert.deepEqual(opened, input.toString() === publicKey ? CONFIG : undefined);
    },
  },
  'sealed-credentials': {
    asserts: 'it is what was sealed, to the byte',
    refusals: REFUSALS,
    read: async (input) => assert.deepEqual(await (await key).open(input.toString(), SEALED_FOR), CONFIG),
  },
};
