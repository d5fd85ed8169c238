/** Each node is given what the pull Secret of its OSImage holds, sealed for it alone, once for each version of the Secret. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { PULL_SECRET_BYTES } from '../../../api/index.ts';
import { KubeError } from '../../../operator/errors.ts';
import type { Secret } from '../../../operator/kube/objects.ts';
import { parsePullSecret } from '../../../operator/pull-credentials/pull-secret.ts';
import { CredentialsKey } from '../../../sealing/sealed-credentials.ts';
import { Cluster, configOf, eventually, imageNaming, NAMESPACE, nodeOS } from './credentials-cluster.ts';

const REREAD_MS = 66_000;

describe('Pull credentials', () => {
  let cluster: Cluster;
  let stop: AbortController;
  let running: Promise<void>[];
  const keys: CredentialsKey[] = [];
  const keyOf = (index: number): CredentialsKey => keys[index] ?? assert.fail();

  before(async () => {
    for (let index = 0; index < 3; index++) keys.push(await CredentialsKey.from(randomBytes(32)));
  });
  beforeEach(() => {
    cluster = new Cluster();
    stop = new AbortController();
    running = [];
  });
  afterEach(async () => {
    stop.abort();
    await Promise.all(running);
  });

  const start = (): AbortController => {
    const own = new AbortController();
    running.push(cluster.loop().run(AbortSignal.any([own.signal, stop.signal])));
    return own;
  };
  const later = async (ms: number): Promise<void> => {
    for (let leftMs = ms; leftMs > 0; leftMs -= 1000) await cluster.clock.advance(Math.min(1000, leftMs));
  };
  const held = (name: string) => cluster.nodeOSes.get(name)?.spec.pullCredentials;
  const openedBy = async (key: CredentialsKey, name: string): Promise<string> => {
    const { secretName, secretVersion, sealed } = held(name) ?? assert.fail('nothing is held');
    const sealedFor = { nodeUID: `node-${name}`, namespace: NAMESPACE, secretName, secretVersion };
    return (await key.open(sealed, sealedFor)).toString();
  };

  it('are sealed for each node that has a key, and for none whose OSImage names no Secret', async () => {
    cluster.setSecret('pull', configOf('one'));
    cluster.setImages(imageNaming('pull'), imageNaming(undefined, 'open'));
    cluster.set(nodeOS('a', keyOf(0).publicKey));
    cluster.set(nodeOS('b', keyOf(1).publicKey));
    cluster.set(nodeOS('no-key', undefined));
    cluster.set(nodeOS('other', keyOf(2).publicKey, 'open'));
    start();
    await eventually('both are sealed', () => cluster.writes.length === 2);
    assert.equal(await openedBy(keyOf(0), 'a'), configOf('one'));
    assert.equal(await openedBy(keyOf(1), 'b'), configOf('one'));
    await assert.rejects(openedBy(keyOf(1), 'a'), /sealed for another/);
    assert.deepEqual([held('no-key'), held('other')], [undefined, undefined]);
    cluster.set(nodeOS('no-key', keyOf(2).publicKey));
    await later(1000);
    await eventually('a key that comes later', () => cluster.writes.length === 3);
    assert.equal(await openedBy(keyOf(2), 'no-key'), configOf('one'));
  });

  it('are written once for each of 5,000 nodes and version of the Secret, and not again while nothing changes', async () => {
    const nodes = 5000;
    cluster.setSecret('pull', configOf('one'));
    cluster.setImages(imageNaming('pull'));
    const all = Array.from({ length: nodes }, (_, index) => nodeOS(`n${index}`, keyOf(index % 3).publicKey));
    cluster.nodeOSes.replace(all, '2');
    start();
    await eventually('all are sealed', () => cluster.writes.length >= nodes);
    const { reads } = cluster;
    await later(5 * REREAD_MS);
    // What agents report wakes the loop, and changes nothing.
    for (const one of cluster.nodeOSes.values().slice(0, 100))
      cluster.set({ ...one, status: { ...one.status, host: { ...one.status?.host, bootID: 'b2' } } });
    await later(1000);
    assert.equal(cluster.writes.length, nodes);
    assert.ok(cluster.reads > reads && cluster.reads <= reads + 6, `${cluster.reads - reads} reads in five minutes`);
    assert.ok(cluster.mostAtOnce > 1 && cluster.mostAtOnce <= 8, `${cluster.mostAtOnce} writes at once`);
    cluster.setSecret('pull', configOf('two'));
    await later(REREAD_MS);
    await eventually('all are sealed anew', () => cluster.writes.length >= 2 * nodes);
    await later(2 * REREAD_MS);
    assert.equal(cluster.writes.length, 2 * nodes);
    assert.equal(await openedBy(keyOf(0), 'n0'), configOf('two'));
  }).timeout(120_000);

  it('follow the Secret and the key of the node, and go with both', async () => {
    cluster.setSecret('pull', configOf('one'));
    cluster.setSecret('other', configOf('other'));
    cluster.setImages(imageNaming('pull'));
    cluster.set(nodeOS('a', keyOf(0).publicKey));
    start();
    await eventually('sealed', () => cluster.writes.length === 1);
    cluster.setSecret('pull', configOf('two'));
    await later(REREAD_MS);
    await eventually('rotated', () => cluster.writes.length === 2);
    assert.equal(await openedBy(keyOf(0), 'a'), configOf('two'));

    const change = (key: string | undefined) => {
      const { spec, metadata } = cluster.nodeOSes.get('a') ?? assert.fail();
      cluster.set({ ...nodeOS('a', key), metadata, spec });
    };
    change(keyOf(1).publicKey);
    await later(1000);
    await eventually('another key', () => cluster.writes.length === 3);
    assert.equal(await openedBy(keyOf(1), 'a'), configOf('two'));

    cluster.setImages(imageNaming('other'));
    await later(1000);
    await eventually('another Secret, in one write', () => cluster.writes.length === 4);
    assert.equal(await openedBy(keyOf(1), 'a'), configOf('other'));

    cluster.setImages(imageNaming(undefined));
    await later(1000);
    await eventually('no Secret', () => cluster.writes.length === 5);
    assert.equal(held('a'), undefined);

    cluster.setImages(imageNaming('pull'));
    await later(1000);
    await eventually('a Secret again', () => cluster.writes.length === 6);
    change(undefined);
    await later(1000);
    await eventually('an agent without a key', () => cluster.writes.length === 7);
    assert.deepEqual([held('a'), cluster.writes.at(-1)], [undefined, 'remove a']);
  });

  it('follow at once a Secret that was read for something else, as for the image that a new order is for', async () => {
    cluster.setSecret('pull', configOf('one'));
    cluster.setImages(imageNaming('pull'));
    cluster.set(nodeOS('a', keyOf(0).publicKey));
    const loop = cluster.loop();
    running.push(loop.run(stop.signal));
    await eventually('sealed', () => cluster.writes.length === 1);
    const seen = (config: string, name = 'pull') => {
      cluster.setSecret(name, config);
      const secret = cluster.secrets.get(name);
      assert.ok(secret !== undefined && !(secret instanceof KubeError));
      loop.saw(name, secret);
    };
    seen(configOf('two'));
    seen(configOf('nobody names it'), 'unnamed');
    await later(1000);
    await eventually('rotated', () => cluster.writes.length === 2);
    assert.equal(await openedBy(keyOf(0), 'a'), configOf('two'));
    seen('no docker config');
    await later(1000);
    await eventually('removed', () => cluster.writes.length === 3);
    assert.equal(held('a'), undefined);
  });

  it('are taken away when the Secret is deleted or broken, which is said once for each OSImage, and come back with it', async () => {
    cluster.setSecret('pull', configOf('one'));
    cluster.setImages(imageNaming('pull'), imageNaming('pull', 'second'));
    cluster.set(nodeOS('a', keyOf(0).publicKey));
    start();
    await eventually('sealed', () => cluster.writes.length === 1);
    cluster.secrets.delete('pull');
    await later(REREAD_MS);
    await eventually('removed', () => cluster.writes.length === 2);
    await later(10 * REREAD_MS);
    const missing = 'pull Secret treeline-system/pull does not exist: create it';
    assert.deepEqual(cluster.unusable, [`fleet: ${missing}`, `second: ${missing}`]);
    cluster.setSecret('pull', '{"auths": {"registry.example": {"auth": "c2VjcmV0LXdpdGhvdXQtY29sb24="}}}');
    await later(REREAD_MS);
    assert.match(cluster.unusable[2] ?? '', /^fleet: .*credentials/);
    for (const said of cluster.unusable) assert.doesNotMatch(said, /c2VjcmV0|secret-without/);
    assert.equal(held('a'), undefined);
    cluster.setSecret('pull', configOf('two'));
    await later(REREAD_MS);
    await eventually('sealed again', () => cluster.writes.length === 3);
    assert.equal(await openedBy(keyOf(0), 'a'), configOf('two'));
  });

  it('stay as they are while the API server is busy or away', async () => {
    cluster.setSecret('pull', configOf('one'));
    cluster.setImages(imageNaming('pull'));
    cluster.set(nodeOS('a', keyOf(0).publicKey));
    start();
    await eventually('sealed', () => cluster.writes.length === 1);
    for (const code of ['Unavailable', 'Timeout', 'Forbidden', 'TooManyRequests', 'Unexpected'] as const) {
      cluster.secrets.set('pull', new KubeError(code, 'not now'));
      await later(2 * REREAD_MS);
    }
    assert.deepEqual(cluster.writes, ['seal a'], JSON.stringify(cluster.nodeOSes.get('a')));
    assert.deepEqual(cluster.unusable, []);
  });

  it('are given to all others when one node lies about its key, and written no more often than it lies', async () => {
    cluster.setSecret('pull', configOf('one'));
    cluster.setImages(imageNaming('pull'));
    // The schema lets them through; nothing can be sealed for them.
    cluster.set(nodeOS('zero', `${'A'.repeat(43)}=`));
    cluster.set(nodeOS('odd', `${'A'.repeat(42)}B=`));
    cluster.set(nodeOS('honest', keyOf(0).publicKey));
    cluster.set(nodeOS('thief', keyOf(0).publicKey));
    start();
    await eventually('the others', () => held('honest') !== undefined && held('thief') !== undefined);
    await later(5 * REREAD_MS);
    assert.equal(held('zero'), undefined);
    assert.ok(cluster.writes.length <= 3, cluster.writes.join());
    assert.equal(await openedBy(keyOf(0), 'honest'), configOf('one'));
    // Whoever names the key of another node cannot open anything, and that node cannot open it as its own.
    const stolen = held('thief') ?? assert.fail();
    const asHonest = { ...stolen, nodeUID: 'node-honest', namespace: NAMESPACE };
    await assert.rejects(keyOf(0).open(stolen.sealed, asHonest), /sealed for another node/);
  });

  it('are tried again when a write fails, with a growing rest, and the others do not wait', async () => {
    cluster.setSecret('pull', configOf('one'));
    cluster.setImages(imageNaming('pull'));
    cluster.set(nodeOS('a', keyOf(0).publicKey));
    cluster.failing = new KubeError('Unavailable', 'busy');
    start();
    await eventually('it was tried', () => cluster.mostAtOnce > 0);
    await later(2 * REREAD_MS);
    cluster.failing = undefined;
    await later(REREAD_MS);
    await eventually('sealed', () => cluster.writes.length === 1);
  });

  it('are not written again and again where the API server does not keep them', async () => {
    cluster.setSecret('pull', configOf('one'));
    cluster.setImages(imageNaming('pull'));
    cluster.set(nodeOS('a', keyOf(0).publicKey));
    cluster.prunes = true;
    start();
    await eventually('it was tried', () => cluster.writes.length > 0);
    await later(10 * REREAD_MS);
    assert.ok(cluster.writes.length < 25, `${cluster.writes.length} writes in ten minutes`);
    cluster.prunes = false;
    await later(REREAD_MS);
    await eventually('sealed', () => held('a') !== undefined);
  });

  it('are neither read nor written by a replica that does not lead, and read anew when it leads again', async () => {
    cluster.setSecret('pull', configOf('one'));
    cluster.setImages(imageNaming('pull'));
    cluster.set(nodeOS('a', keyOf(0).publicKey));
    cluster.mayAct = false;
    start();
    await later(2 * REREAD_MS);
    assert.deepEqual([cluster.reads, cluster.writes], [0, []]);
    cluster.mayAct = true;
    await later(REREAD_MS);
    await eventually('sealed', () => cluster.writes.length === 1);
    // Another replica leads, and has given the node what is newer.
    cluster.mayAct = false;
    cluster.set(cluster.nodeOSes.get('a') ?? assert.fail());
    await later(31_000);
    cluster.setSecret('pull', configOf('two'));
    const { spec, metadata } = cluster.nodeOSes.get('a') ?? assert.fail();
    const newer = { ...(spec.pullCredentials ?? assert.fail()), secretVersion: versionOf(cluster, 'pull') };
    cluster.set({ ...nodeOS('a', keyOf(0).publicKey), metadata, spec: { ...spec, pullCredentials: newer } });
    cluster.mayAct = true;
    await later(31_000);
    assert.equal(cluster.writes.length, 1, 'it did not put back what it knew of before');
  });

  it('are not written once leadership is lost, not even in the middle of a round', async () => {
    cluster.setSecret('pull', configOf('one'));
    cluster.setImages(imageNaming('pull'));
    const all = Array.from({ length: 100 }, (_, index) => nodeOS(`n${index}`, keyOf(0).publicKey));
    cluster.nodeOSes.replace(all, '2');
    cluster.onWrite = () => (cluster.mayAct = false);
    start();
    await eventually('it has begun', () => !cluster.mayAct);
    await later(REREAD_MS);
    // Those that were under way, or sealed and not yet sent.
    assert.ok(cluster.writes.length <= 8, `${cluster.writes.length} writes`);
  });

  it('are complete, and none written twice, at whichever write the operator is killed', async () => {
    const names = ['a', 'b', 'c', 'd', 'e'];
    for (let fatal = 0; fatal < names.length; fatal++) {
      cluster = new Cluster();
      cluster.setSecret('pull', configOf('one'));
      cluster.setImages(imageNaming('pull'));
      for (const [index, name] of names.entries()) cluster.set(nodeOS(name, keyOf(index % 3).publicKey));
      cluster.writesToLive = fatal;
      const first = start();
      await eventually('killed', () => cluster.writesToLive <= 0);
      first.abort();
      await Promise.all(running);
      assert.equal(cluster.writes.length, fatal);
      cluster.writesToLive = Infinity;
      const second = start();
      await eventually('complete', () => names.every((name) => held(name) !== undefined));
      second.abort();
      assert.deepEqual(
        cluster.writes.toSorted(),
        names.map((name) => `seal ${name}`),
      );
    }
  });
});

function versionOf(cluster: Cluster, name: string): string {
  const secret = cluster.secrets.get(name);
  assert.ok(secret !== undefined && !(secret instanceof KubeError));
  return parsePullSecret(secret, name).version;
}

describe('A pull Secret', () => {
  const secretOf = (config: string): Secret => ({
    metadata: { uid: 'u', resourceVersion: '7' },
    data: { '.dockerconfigjson': Buffer.from(config).toString('base64') },
  });

  it('that every node can be given is as large as the NodeOS has room for, and no larger', async () => {
    const frame = '{"auths":{}, "x": ""}';
    const largest = `{"auths":{}, "x": "${'y'.repeat(PULL_SECRET_BYTES - frame.length)}"}`;
    const { config, version } = parsePullSecret(secretOf(largest), 'ns/pull');
    assert.equal(version, 'u/7');
    const key = await CredentialsKey.from(randomBytes(32));
    const cluster = new Cluster();
    cluster.setSecret('pull', config);
    cluster.setImages(imageNaming('pull'));
    cluster.set(nodeOS('a', key.publicKey));
    const stop = new AbortController();
    const running = cluster.loop().run(stop.signal);
    // The stand-in holds what is written against the schema.
    await eventually('sealed', () => cluster.writes.length === 1);
    stop.abort();
    await running;
    assert.throws(
      () => parsePullSecret(secretOf(largest.replace('y', 'yy')), 'ns/pull'),
      /pull Secret ns\/pull holds 32769 bytes, and nodes are given up to 32768: leave only the registries/,
    );
  });
});
