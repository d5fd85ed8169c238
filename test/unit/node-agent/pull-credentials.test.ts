/** An agent gets the credentials of its order out of its own NodeOS, and says what to do when it does not. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { NodeOS, PullCredentials } from '../../../api/index.ts';
import { AgentError } from '../../../node-agent/errors.ts';
import { failureOf } from '../../../node-agent/failure.ts';
import { PullCredentialsReader } from '../../../node-agent/pull-credentials.ts';
import { CredentialsKey, seal } from '../../../sealing/sealed-credentials.ts';

const NAMESPACE = 'treeline-system';
const CONFIG = '{"auths":{"registry.example":{"auth":"YW5uOnNlY3JldA=="}}}';
const never = new AbortController().signal;

describe('the pull credentials of an order', () => {
  let key: CredentialsKey;
  let other: CredentialsKey;

  before(async () => {
    key = await CredentialsKey.from(randomBytes(32));
    other = await CredentialsKey.from(randomBytes(32));
  });

  interface Sealing {
    readonly key?: CredentialsKey;
    readonly nodeUID?: string;
    readonly secretName?: string;
    readonly namespace?: string;
    readonly config?: string;
  }
  const sealedFor = async ({ key: to = key, config = CONFIG, ...by }: Sealing = {}): Promise<PullCredentials> => {
    const target = { nodeUID: 'u1', namespace: NAMESPACE, secretName: 'pull', secretVersion: 'a/1', ...by };
    const { secretName, secretVersion } = target;
    return {
      secretName,
      secretVersion,
      key: to.publicKey,
      sealed: await seal(to.publicKey, Buffer.from(config), target),
    };
  };
  const nodeOS = (pullCredentials?: unknown, nodeUID = 'u1'): NodeOS => ({
    metadata: { name: 'n', uid: 'o', resourceVersion: '1' },
    spec: {
      imageName: 'i',
      nodeUID,
      ...(pullCredentials !== undefined && { pullCredentials: pullCredentials as never }),
    },
  });
  const readerOf = (patienceMs = 0) =>
    new PullCredentialsReader({ key, namespace: NAMESPACE, patienceMs, monotonicMs: () => performance.now() });

  const refused = async (object: NodeOS | undefined, message: RegExp): Promise<void> => {
    const reader = readerOf();
    reader.observe(object);
    await assert.rejects(reader.read('pull', never), (error) => {
      assert.ok(error instanceof AgentError);
      assert.equal(error.code, 'PullSecretInvalid');
      assert.match(error.message, message);
      assert.doesNotMatch(error.message, /YW5u|annsecret|c2VjcmV0/);
      assert.equal(failureOf(error).fault, 'Registry');
      return true;
    });
  };

  it('are those that the operator has sealed for this node', async () => {
    const reader = readerOf();
    reader.observe(nodeOS(await sealedFor()));
    const credentials = await reader.read('pull', never);
    assert.notDeepEqual(credentials, undefined);
  });

  it('are waited for, and taken as soon as they come', async () => {
    const reader = readerOf(120_000);
    const reading = reader.read('pull', never);
    reader.observe(nodeOS());
    reader.observe(nodeOS(await sealedFor({ key: other })));
    reader.observe(nodeOS(await sealedFor({ secretName: 'before' })));
    reader.observe(nodeOS(await sealedFor()));
    await reading;
  });

  it('are not waited for any longer when the order is replaced', async () => {
    const abort = new AbortController();
    const reading = readerOf(120_000).read('pull', abort.signal);
    abort.abort(new Error('the order was replaced'));
    await assert.rejects(reading, /the order was replaced/);
  });

  it('that do not come in time are missed with a sentence that says what to look at', async () => {
    const advice = /after 0 s\..* see that treeline-system\/pull is there and spec\.image\.pullSecretRef names it/;
    await refused(undefined, advice);
    await refused(nodeOS(), /holds no pull credentials, and the order needs those of Secret treeline-system\/pull/);
    await refused(nodeOS(await sealedFor({ secretName: 'before' })), /of Secret before, and the order needs/);
    await refused(nodeOS(await sealedFor({ key: other })), /for another key than this agent's/);
  });

  it('that were copied from another node, renamed, or changed, are refused with the reason', async () => {
    const moved = /do not open: it was sealed for another node, Secret or key, or was changed since/;
    const good = await sealedFor();
    // Those of another node, under whatever key they claim to be for.
    const theirs = await sealedFor({ key: other, nodeUID: 'u2' });
    await refused(nodeOS({ ...theirs, key: key.publicKey }), moved);
    await refused(nodeOS(good, 'u2'), moved);
    await refused(nodeOS(await sealedFor({ nodeUID: 'u2' })), moved);
    await refused(nodeOS({ ...(await sealedFor({ secretName: 'other' })), secretName: 'pull' }), moved);
    await refused(nodeOS(await sealedFor({ namespace: 'elsewhere' })), moved);
    await refused(nodeOS({ ...good, secretVersion: 'a/2' }), moved);
    const bytes = Buffer.from(good.sealed, 'base64');
    for (const at of [0, 31, 32, bytes.length - 17, bytes.length - 1]) {
      const flipped = Buffer.from(bytes);
      flipped[at] = (flipped[at] ?? 0) ^ 1;
      await refused(nodeOS({ ...good, sealed: flipped.toString('base64') }), moved);
    }
    await refused(nodeOS({ ...good, sealed: 'AAAA' }), /do not open: it is no sealed text/);
    await refused(nodeOS({ ...good, sealed: 7 }), /cannot be understood \(sealed\)/);
    await refused(nodeOS('everything'), /cannot be understood/);
  });

  it('that are no docker config are called that, and not quoted', async () => {
    await refused(
      nodeOS(await sealedFor({ config: '{"auths": {"registry.example": {"auth": "YW5uc2VjcmV0"}}}' })),
      /Secret treeline-system\/pull is not a docker config/,
    );
    await refused(nodeOS(await sealedFor({ config: 'annsecret' })), /is not a docker config/);
  });

  it('need no operator after a restart: key and NodeOS are enough', async () => {
    const seed = randomBytes(32);
    const before = await CredentialsKey.from(seed);
    const object = nodeOS(await sealedFor({ key: before }));
    const after = await CredentialsKey.from(seed);
    const reader = new PullCredentialsReader({ key: after, namespace: NAMESPACE, patienceMs: 0, monotonicMs: () => 0 });
    reader.observe(object);
    await reader.read('pull', never);
  });
});
