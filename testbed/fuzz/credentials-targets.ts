/** What stands in a NodeOS about pull credentials: a key that an agent reports, and a sealed text that somebody has changed. */
import assert from 'node:assert/strict';
import type { NodeOS } from '../../api/index.ts';
import { PullCredentialsReader } from '../../node-agent/pull-credentials.ts';
import { CredentialsKey, seal } from '../../sealing/sealed-credentials.ts';
import { attemptAsync, type FuzzTarget } from './fuzz.ts';

const NAMESPACE = 'treeline-system';
const SEALED_FOR = { nodeUID: 'node', namespace: NAMESPACE, secretName: 'pull', secretVersion: 'uid/1' };
const CONFIG = Buffer.from('{"auths":{"registry.example":{"auth":"YW5uOnNlY3JldA=="}}}');
const never = new AbortController().signal;

const fixture = (async () => {
  const key = await CredentialsKey.from(Buffer.alloc(32, 7));
  return { key, sealed: await seal(key.publicKey, CONFIG, SEALED_FOR) };
})();

const keys: FuzzTarget = {
  name: 'credentials-keys',
  round: async (random) => {
    const { key } = await fixture;
    const raw = random.chance(2) ? random.bytes(32) : random.damaged(Buffer.from(key.publicKey, 'base64'));
    const text = random.chance(2)
      ? raw.toString('base64')
      : random.damaged(Buffer.from(key.publicKey)).toString('latin1');
    const sealed = await attemptAsync(['SealingError'], () => seal(text, CONFIG, SEALED_FOR));
    // Whatever it was sealed for, it is for that key alone.
    if (sealed !== undefined && text !== key.publicKey)
      assert.equal(await attemptAsync(['SealingError'], () => key.open(sealed, SEALED_FOR)), undefined);
  },
};

const texts: FuzzTarget = {
  name: 'sealed-credentials',
  round: async (random) => {
    const { key, sealed } = await fixture;
    const bytes = random.damaged(Buffer.from(sealed, 'base64'));
    const damaged = random.chance(2)
      ? bytes.toString('base64')
      : random.damaged(Buffer.from(sealed)).toString('latin1');
    const { secretName, secretVersion, nodeUID } = SEALED_FOR;
    const valid = { secretName, secretVersion, key: key.publicKey, sealed: damaged };
    const pullCredentials: unknown = random.chance(4)
      ? {
          ...valid,
          [random.pick(['secretName', 'secretVersion', 'key', 'sealed'])]: random.pick([0, null, [], {}, '']),
        }
      : valid;
    const reader = new PullCredentialsReader({ key, namespace: NAMESPACE, patienceMs: 0, monotonicMs: () => 0 });
    const spec = { imageName: 'i', nodeUID, pullCredentials } as NodeOS['spec'];
    reader.observe({ metadata: { name: 'n', uid: 'u', resourceVersion: '1' }, spec });
    const read = await attemptAsync(['AgentError'], () => reader.read('pull', never));
    if (read !== undefined) assert.equal(damaged, sealed);
  },
};

export const CREDENTIALS_TARGETS: readonly FuzzTarget[] = [keys, texts];
