/**
 * Credentials are planted wherever Treeline takes them, right ones, wrong ones and broken ones, and looked for afterwards
 * wherever somebody could read them who may not read Secrets: logs, the API, process lists, the node's disk.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DEFAULT_NAMESPACE, type NodeOS } from '../../api/index.ts';
import { startFleet, type Fleet } from '../../testbed/fleet.ts';
import { ProcessOnlooker } from '../../testbed/process-onlooker.ts';
import { makeSmallOSImage } from '../../testbed/small-os-image.ts';

const PULL_SECRET = 'pull-secret';
const USER = 'puller';
const PATIENCE_MS = 120_000;
const POLL_MS = 200;
const LETTERS = 'ghjkmnpqrstvwxyz';
/** Parsers quote some ten characters of what they cannot read: so much of a password is too much. */
const TOO_MUCH = 8;

/** Whatever may be asked for in the cluster, but for Secrets. */
const KINDS = ['osimages', 'nodeoses', 'nodes', 'pods', 'events.events.k8s.io', 'leases', 'configmaps', 'roles'];

/** Of a node's disk, more is the operating system's own. */
const NODE_FOLDERS = [
  'ostree/repo/refs',
  'ostree/repo/tmp',
  'ostree/repo/extensions',
  'boot/loader',
  'var/lib/treeline',
];

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly message?: string;
}

describe('a pull secret', function () {
  this.timeout(PATIENCE_MS + 60_000);
  const canaries = new Map<string, string>();
  /** From which the key of the node is derived. */
  const keySeeds: string[] = [];
  let folder: string;
  let fleet: Fleet;
  let onlooker: ProcessOnlooker;

  /** Makes a password of letters that no digest is written in. */
  const plant = (name: string): string => {
    const canary = randomBytes(12)
      .toString('hex')
      .replaceAll(/./g, (digit) => LETTERS[Number.parseInt(digit, 16)] ?? '');
    canaries.set(name, canary);
    return canary;
  };

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'treeline-secrets-'));
    const os = await makeSmallOSImage(folder);
    fleet = await startFleet({ nodes: 1, os, bootDelayMs: 300, logFolder: join(folder, 'logs') });
    onlooker = new ProcessOnlooker(() =>
      [fleet.operatorPid, ...fleet.machines.map(({ agentPid }) => agentPid)].filter((pid) => pid !== undefined),
    );
    await fleet.killRegistry();
    await fleet.restartRegistry({ [USER]: plant('right password') });
  });

  after(async () => {
    await onlooker?.[Symbol.asyncDispose]();
    await fleet?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  const setSecret = async (dockerConfig: string): Promise<void> => {
    const secret = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: PULL_SECRET, namespace: DEFAULT_NAMESPACE },
      type: 'Opaque',
      data: { '.dockerconfigjson': Buffer.from(dockerConfig).toString('base64') },
    };
    // Not kubectl: it would note the whole Secret in an annotation, which is nothing of Treeline's.
    const collection = `/api/v1/namespaces/${DEFAULT_NAMESPACE}/secrets`;
    const { code } = await fleet.controlPlane.call({
      method: 'PUT',
      path: `${collection}/${PULL_SECRET}`,
      body: secret,
    });
    if (code !== 404) return assert.equal(code, 200);
    const created = await fleet.controlPlane.call({ method: 'POST', path: collection, body: secret });
    assert.equal(created.code, 201);
  };

  const dockerConfig = (password: string): string =>
    JSON.stringify({
      auths: { [fleet.registry.host]: { auth: Buffer.from(`${USER}:${password}`).toString('base64') } },
    });

  const applyImage = async (version: 1 | 2, name: string): Promise<void> => {
    const { reference } = fleet.os.versions[version];
    const image = {
      apiVersion: 'treeline.dev/v1alpha1',
      kind: 'OSImage',
      metadata: { name },
      spec: {
        nodeSelector: {},
        image: { reference, pullSecretRef: { name: PULL_SECRET }, pollIntervalSeconds: 60 },
        rollout: { maxUnavailable: 1 },
      },
    };
    await fleet.controlPlane.kubectl(['apply', '-f', '-'], { input: JSON.stringify(image) });
  };

  const waitForImageResolved = async (name: string, status: string): Promise<Condition> => {
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      const { body } = await fleet.controlPlane.call({ path: `/apis/treeline.dev/v1alpha1/osimages/${name}` });
      const conditions = (body['status'] as { conditions?: readonly Condition[] } | undefined)?.conditions ?? [];
      const found = conditions.find(({ type }) => type === 'ImageResolved');
      if (found?.status === status) return found;
      assert.ok(performance.now() < deadline, `ImageResolved did not become ${status}: ${JSON.stringify(conditions)}`);
      await sleep(POLL_MS);
    }
  };

  const remove = async (name: string): Promise<void> => {
    await fleet.controlPlane.kubectl(['delete', 'osimage', name, '--wait']);
  };

  /** All parts that would give it away, as they are and as such files have them in base64. */
  const partsOf = (canary: string): string[] =>
    [
      canary,
      Buffer.from(`${USER}:${canary}`).toString('base64').slice(-24),
      Buffer.from(canary).toString('base64'),
    ].flatMap((text) =>
      Array.from({ length: text.length - TOO_MUCH + 1 }, (_, start) => text.slice(start, start + TOO_MUCH)),
    );

  /** Fails with the name of what was found and where, never with the text around it. */
  const assertSilent = (text: string, where: string): void => {
    for (const seed of where === 'credentials-key' ? [] : keySeeds)
      for (const form of ['base64', 'base64url', 'hex'] as const)
        assert.ok(
          !text.includes(Buffer.from(seed, 'base64').toString(form).slice(0, 16)),
          `the key stands in ${where}`,
        );
    for (const [name, canary] of canaries) {
      for (const part of partsOf(canary)) assert.ok(!text.includes(part), `the ${name} stands in ${where}`);
    }
  };

  it('that is wrong is said to be wrong', async () => {
    await setSecret(dockerConfig(plant('wrong password')));
    await applyImage(2, 'wrong');
    const { message = '' } = await waitForImageResolved('wrong', 'False');
    assert.match(message, /401|credentials|unauthori[sz]ed/i);
    assertSilent(message, 'the condition ImageResolved');
    await remove('wrong');
  });

  it('that is broken is said to be broken', async () => {
    for (const broken of [
      `{"auths": {"${fleet.registry.host}": {"auth": ${plant('password without quotes')}}}}`,
      `{"auths": {"${fleet.registry.host}": {"auth": "${plant('password that is not base64 of user:password')}"}}}`,
      plant('a password alone'),
    ]) {
      await setSecret(broken);
      await applyImage(2, 'broken');
      const { message = '' } = await waitForImageResolved('broken', 'False');
      assert.match(message, /credentials/);
      assertSilent(message, 'the condition ImageResolved');
      await remove('broken');
    }
  });

  it('that is right brings the node to the image', async () => {
    await setSecret(dockerConfig(canaries.get('right password') ?? ''));
    await applyImage(2, 'right');
    await fleet.controlPlane.kubectl([
      'wait',
      '--for=condition=Ready',
      'osimage/right',
      `--timeout=${PATIENCE_MS / 1000}s`,
    ]);
  });

  it('that is changed brings the node on, while the registry takes the old one no longer', async () => {
    await fleet.killRegistry();
    await fleet.restartRegistry({ [USER]: plant('changed password') });
    await setSecret(dockerConfig(canaries.get('changed password') ?? ''));
    const { reference } = fleet.os.versions[3];
    const patch = JSON.stringify({ spec: { image: { reference } } });
    await fleet.controlPlane.kubectl(['patch', 'osimage', 'right', '--type=merge', '-p', patch]);
    const isThere = `--for=jsonpath={.status.target.reference}=${reference}`;
    const patience = `--timeout=${PATIENCE_MS / 1000}s`;
    await fleet.controlPlane.kubectl(['wait', isThere, 'osimage/right', patience]);
    await fleet.controlPlane.kubectl(['wait', '--for=condition=Ready', 'osimage/right', patience]);
    const host = await fleet.controlPlane.kubectl(['get', 'nodeoses', '-o=jsonpath={..booted.version}']);
    assert.equal(host, '3');
  });

  it('comes to the node sealed, and the key for it stays on the node', async () => {
    const [machine] = fleet.machines;
    assert.ok(machine !== undefined);
    const file = join(machine.sysroot.path, 'var/lib/treeline/credentials-key');
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    const { seed } = JSON.parse(await readFile(file, 'utf8')) as { seed: string };
    const { body } = await fleet.controlPlane.call({ path: `/apis/treeline.dev/v1alpha1/nodeoses/${machine.name}` });
    const { spec, status } = body as unknown as NodeOS;
    assert.equal(spec.pullCredentials?.secretName, PULL_SECRET);
    assert.equal(spec.pullCredentials.key, status?.host?.credentialsKey);
    keySeeds.push(seed);
  });

  it('stands in no log of operator and agent', async () => {
    const logs = (await readdir(fleet.logFolder)).filter((name) => /^(operator|node-\d+)\.log$/.test(name));
    assert.equal(logs.length, 2);
    for (const log of logs) {
      const text = await readFile(join(fleet.logFolder, log), 'utf8');
      assert.match(text, /"level"/, `${log} has what was logged`);
      assertSilent(text, log);
    }
  });

  it('stands in no object of the API but itself', async () => {
    for (const kind of KINDS) {
      const text = await fleet.controlPlane.kubectl([
        'get',
        kind,
        '--all-namespaces',
        '-o=json',
        '--show-managed-fields',
      ]);
      assert.match(text, /"kind": "List"/);
      assertSilent(text, kind);
    }
  });

  it('stands in no command line and no environment of what operator and agent run', () => {
    assert.ok(onlooker.seen.some((text) => text.includes('--host=sandbox')));
    assert.ok(
      onlooker.seen.some((text) => /ostree\0/.test(text)),
      'what they start was seen, too',
    );
    for (const text of onlooker.seen) assertSilent(text, `a process: ${text.slice(0, 40)}`);
  });

  it("stays in no file that the agent writes on the node's disk", async () => {
    const [machine] = fleet.machines;
    assert.ok(machine !== undefined);
    const { path, runDirectory } = machine.sysroot;
    let files = 0;
    for (const root of [...NODE_FOLDERS.map((name) => join(path, name)), runDirectory]) {
      const entries = await readdir(root, { recursive: true, withFileTypes: true }).catch(() => []);
      for (const entry of entries.filter((found) => found.isFile())) {
        files += 1;
        assertSilent(await readFile(join(entry.parentPath, entry.name), 'latin1'), entry.name);
      }
    }
    assert.ok(files > 0);
  });
});
