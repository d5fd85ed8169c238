/**
 * Pull Secrets reach the nodes of their OSImage, each sealed for it alone, on a real API server with the operator's real
 * role; the nodes' keys are real, too, and every NodeOS is read with the token of an agent.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { NodeOS, PullCredentials } from '../../api/index.ts';
import { CredentialsKey } from '../../sealing/sealed-credentials.ts';
import { agentToken } from '../../testbed/control-plane-treeline.ts';
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { clearCluster, sharedControlPlane } from '../../testbed/shared-control-plane.ts';
import { createFleet, must, NODE_OSES, OS_IMAGES } from './crd-objects.ts';
import { eventually, OperatorProcess, readNodeOS, startOperator } from './operator-harness.ts';
import { SimulatedNode } from './simulated-node.ts';
import { SimulatedRegistry } from './simulated-registry.ts';

const POOL = { pool: 'pull-credentials' };
const OLD = `sha256:${'0'.repeat(64)}`;
const NAMESPACE = 'treeline-system';
const SECRETS = `/api/v1/namespaces/${NAMESPACE}/secrets`;
const BINDING = 'treeline-agent-own-node';

describe('pull credentials', () => {
  let controlPlane: ControlPlane;
  let registry: SimulatedRegistry;
  let disposals: AsyncDisposable[];
  let digest: string;

  before(async () => {
    controlPlane = await sharedControlPlane();
  });
  beforeEach(async () => {
    registry = await new SimulatedRegistry().start();
    disposals = [registry];
    digest = registry.push('os', 'v2', '2.0');
  });
  afterEach(async () => {
    for (const one of disposals.reverse()) await one[Symbol.asyncDispose]();
    await clearCluster(controlPlane);
  });

  const keep = <T extends AsyncDisposable>(one: T): T => {
    disposals.push(one);
    return one;
  };
  const newKey = () => CredentialsKey.from(randomBytes(32));
  const register = async (name: string, credentialsKey?: string) =>
    keep(
      await SimulatedNode.register(controlPlane, name, POOL, {
        digest: OLD,
        ...(credentialsKey !== undefined && { credentialsKey }),
      }),
    );
  const configOf = (password: string): string =>
    JSON.stringify({ auths: { [registry.host]: { auth: Buffer.from(`fleet:${password}`).toString('base64') } } });
  const secretOf = (config: string) => ({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'pull' },
    type: 'kubernetes.io/dockerconfigjson',
    stringData: { '.dockerconfigjson': config },
  });
  const createSecret = (config: string) =>
    must(controlPlane, { method: 'POST', path: SECRETS, body: secretOf(config) });
  const changeSecret = (config: string) =>
    must(controlPlane, { method: 'PUT', path: `${SECRETS}/pull`, body: secretOf(config) });
  /** Paused: nothing but the credentials is to be written. */
  const createImage = (secret: string | undefined) =>
    createFleet(controlPlane, {
      nodeSelector: { matchLabels: POOL },
      image: { reference: `${registry.host}/os:v2`, ...(secret !== undefined && { pullSecretRef: { name: secret } }) },
      rollout: { maxUnavailable: 0 },
    });
  const held = async (name: string): Promise<PullCredentials | undefined> =>
    (await readNodeOS(controlPlane, name)).spec?.pullCredentials;
  const sealedFor = async (name: string, key: CredentialsKey, secretVersion?: string): Promise<PullCredentials> =>
    eventually(`${name} has credentials for its key`, async () => {
      const found = await held(name);
      return found?.key === key.publicKey && found.secretVersion !== secretVersion ? found : undefined;
    });
  const open = async (nodeOS: NodeOS, key: CredentialsKey): Promise<string> => {
    const { nodeUID, pullCredentials } = nodeOS.spec;
    const { secretName, secretVersion, sealed } = pullCredentials ?? assert.fail('nothing is held');
    return (await key.open(sealed, { nodeUID, namespace: NAMESPACE, secretName, secretVersion })).toString();
  };

  it('are opened by their own node, and by no other, although its agent may read them', async () => {
    const [a, b] = [await newKey(), await newKey()];
    await createSecret(configOf('one'));
    await register('pc-a', a.publicKey);
    await register('pc-b', b.publicKey);
    await register('pc-old-agent');
    keep(await startOperator(controlPlane, registry.host));
    registry.authorization = `Basic ${Buffer.from('fleet:one').toString('base64')}`;
    await createImage('pull');
    await sealedFor('pc-a', a);
    await sealedFor('pc-b', b);
    const token = await agentToken(controlPlane, 'pc-b');
    const seen = (await must(controlPlane, { path: `${NODE_OSES}/pc-a`, token })).body as unknown as NodeOS;
    await assert.rejects(open(seen, b), /sealed for another node/);
    assert.equal(await open(seen, a), configOf('one'));
    const own = await readNodeOS(controlPlane, 'pc-b');
    assert.equal(await open(own, b), configOf('one'));
    // What stands in one NodeOS means nothing in the other.
    const copied = { ...own, spec: { ...own.spec, pullCredentials: seen.spec.pullCredentials } } as NodeOS;
    for (const key of [a, b]) await assert.rejects(open(copied, key), /sealed for another node/);
    assert.equal((await controlPlane.call({ path: `${SECRETS}/pull`, token })).code, 403);
    assert.equal(await held('pc-old-agent'), undefined);
    const all = JSON.stringify((await must(controlPlane, { path: NODE_OSES })).body);
    for (const plain of [configOf('one'), Buffer.from('fleet:one').toString('base64'), 'fleet:one'])
      for (const form of [plain, Buffer.from(plain).toString('base64')]) assert.ok(!all.includes(form));
  });

  it('are written once, beside orders and reports, and stay through both', async () => {
    const key = await newKey();
    await createSecret(configOf('one'));
    const node = await register('pc-a', key.publicKey);
    keep(await startOperator(controlPlane, registry.host));
    await createImage('pull');
    const first = await sealedFor('pc-a', key);
    await must(controlPlane, {
      method: 'PATCH',
      path: `${OS_IMAGES}/fleet`,
      body: { spec: { rollout: { maxUnavailable: 1 } } },
    });
    await eventually('the node is on the image', async () => node.bootedDigest === digest);
    assert.deepEqual(await held('pc-a'), first);
  });

  it('follow the Secret, a lost key, and the OSImage, and a restarted operator goes on from what is there', async () => {
    const [before, after] = [await newKey(), await newKey()];
    await createSecret(configOf('one'));
    const node = await register('pc-a', before.publicKey);
    let operator = await startOperator(controlPlane, registry.host);
    await createImage('pull');
    const first = await sealedFor('pc-a', before);
    await node.setCredentialsKey(after.publicKey);
    const second = await sealedFor('pc-a', after);
    assert.equal(second.secretVersion, first.secretVersion);
    await operator.stop();
    // Nothing has changed: the next operator writes nothing.
    const { resourceVersion } = (await readNodeOS(controlPlane, 'pc-a')).metadata;
    operator = await startOperator(controlPlane, registry.host, 'operator-1');
    await delay(2000);
    assert.equal((await readNodeOS(controlPlane, 'pc-a')).metadata.resourceVersion, resourceVersion);
    await operator.stop();
    await changeSecret(configOf('two'));
    keep(await startOperator(controlPlane, registry.host, 'operator-2'));
    await sealedFor('pc-a', after, second.secretVersion);
    assert.equal(await open(await readNodeOS(controlPlane, 'pc-a'), after), configOf('two'));
    await must(controlPlane, {
      method: 'PATCH',
      path: `${OS_IMAGES}/fleet`,
      body: { spec: { image: { pullSecretRef: null } } },
    });
    await eventually('they are gone', async () => (await held('pc-a')) === undefined);
  });

  it('are read anew without anybody’s doing', async () => {
    const key = await newKey();
    await createSecret(configOf('one'));
    await register('pc-a', key.publicKey);
    keep(await startOperator(controlPlane, registry.host));
    await createImage('pull');
    const first = await sealedFor('pc-a', key);
    await changeSecret(configOf('two'));
    await sealedFor('pc-a', key, first.secretVersion);
    await must(controlPlane, { method: 'DELETE', path: `${SECRETS}/pull` });
    await eventually('they are gone with the Secret', async () => (await held('pc-a')) === undefined);
    const note = await eventually('an event says so', async () => {
      const { items } = (await must(controlPlane, { path: '/apis/events.k8s.io/v1/namespaces/default/events' }))
        .body as { items: readonly { reason: string; note: string }[] };
      return items.find(({ reason }) => reason === 'PullSecretUnusable')?.note;
    });
    assert.equal(note, 'pull Secret treeline-system/pull does not exist: create it');
  });

  it('are complete when the operator was killed in the middle of many, and none is written again', async () => {
    const key = await newKey();
    await createSecret(configOf('one'));
    const names = Array.from({ length: 60 }, (_, index) => `pc-many-${index}`);
    for (const name of names) {
      const body = { apiVersion: 'v1', kind: 'Node', metadata: { name, labels: POOL } };
      await must(controlPlane, { method: 'POST', path: '/api/v1/nodes', body });
    }
    const operator = keep(await OperatorProcess.start(controlPlane, registry.host));
    await createImage('pull');
    await eventually('every NodeOS is there', async () => {
      const { items } = (await must(controlPlane, { path: NODE_OSES })).body as { items: readonly NodeOS[] };
      return items.length === names.length;
    });
    const all = async () => {
      const { items } = (await must(controlPlane, { path: NODE_OSES })).body as unknown as { items: readonly NodeOS[] };
      return new Map(items.map(({ metadata, spec }) => [metadata.name, spec.pullCredentials]));
    };
    // All keys come at once, and it dies over them.
    const report = { status: { host: { bootID: 'b', credentialsKey: key.publicKey } } };
    const reports = names.map((name) =>
      must(controlPlane, { method: 'PATCH', path: `${NODE_OSES}/${name}/status`, body: report }),
    );
    await eventually('some are sealed', async () => [...(await all()).values()].some((one) => one !== undefined));
    await operator.kill();
    await Promise.all(reports);
    const before = await all();
    operator.spawn();
    await eventually('all are sealed', async () => [...(await all()).values()].every((one) => one !== undefined));
    for (const [name, credentials] of await all())
      if (before.get(name) !== undefined) assert.deepEqual(credentials, before.get(name));
  });

  it('are given to no new key while the policy is missing that lets a node’s key come from that node alone', async () => {
    const [a, b] = [await newKey(), await newKey()];
    await createSecret(configOf('one'));
    const path = `/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/${BINDING}`;
    const { body: binding } = await must(controlPlane, { path });
    await must(controlPlane, { method: 'DELETE', path });
    try {
      await register('pc-a', a.publicKey);
      keep(await startOperator(controlPlane, registry.host));
      await createImage('pull');
      await eventually('the NodeOS has a key', async () => {
        return (await readNodeOS(controlPlane, 'pc-a')).status?.host?.credentialsKey === a.publicKey;
      });
      await delay(3000);
      assert.equal(await held('pc-a'), undefined);
    } finally {
      const { uid: _, resourceVersion: __, ...metadata } = binding['metadata'] as Record<string, unknown>;
      await must(controlPlane, { method: 'POST', path: path.replace(/\/[^/]+$/, ''), body: { ...binding, metadata } });
    }
    await sealedFor('pc-a', a);
    await assert.rejects(open(await readNodeOS(controlPlane, 'pc-a'), b), /sealed for another node/);
    // The binding is enforced again before others rely on it.
    const token = await agentToken(controlPlane, 'pc-a');
    await eventually('the policy is enforced', async () => {
      const probe = { path: `${NODE_OSES}/pc-a/status?dryRun=All`, body: { status: { conditions: null } }, token };
      return (await controlPlane.call({ method: 'PATCH', ...probe })).code === 403;
    });
  });

  it('are never written to another object of the same name', async () => {
    const body = { apiVersion: 'treeline.dev/v1alpha1', kind: 'NodeOS', metadata: { name: 'pc-anew' } };
    const spec = { imageName: 'none', nodeUID: 'second' };
    await must(controlPlane, { method: 'POST', path: NODE_OSES, body: { ...body, spec } });
    const pullCredentials = { secretName: 's', secretVersion: 'u/1', key: `${'A'.repeat(43)}=`, sealed: 'AAAA' };
    const patch = { metadata: { uid: 'that of the first' }, spec: { pullCredentials } };
    const answer = await controlPlane.call({ method: 'PATCH', path: `${NODE_OSES}/pc-anew`, body: patch });
    assert.equal(answer.code, 422, answer.message);
    assert.match(answer.message, /metadata\.uid: .*immutable/);
    assert.equal(await held('pc-anew'), undefined);
  });
});
