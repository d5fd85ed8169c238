/** OSImageBuilds against the real API server and Job controller; the pods are run by a stand-in, as processes of this machine. */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { OSImageBuild } from '../../api/index.ts';
import { BuildPodStandIn } from '../../testbed/build-pod-stand-in.ts';
import { operatorToken } from '../../testbed/control-plane-treeline.ts';
import type { ApiCall } from '../../testbed/control-plane-client.ts';
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { type TestRegistry, startRegistry } from '../../testbed/registry.ts';
import { sharedControlPlane } from '../../testbed/shared-control-plane.ts';
import { treeline } from '../../testbed/treeline-command.ts';
import { runCommand } from '../../tools/setup/command.ts';
import { INSTALLED, writeRootfs } from '../interop/rootfs-fixture.ts';
import { must } from './crd-objects.ts';
import { eventually, type RunningOperator, startOperator } from './operator-harness.ts';

const MANIFEST = join(import.meta.dirname, '..', '..', 'manifests', 'optional', 'operator-builds.yaml');
const NAMESPACE = 'treeline-builds';
const BUILDS = '/apis/treeline.dev/v1alpha1/osimagebuilds';
const JOBS = `/apis/batch/v1/namespaces/${NAMESPACE}/jobs`;
const CONFIG_MAPS = `/api/v1/namespaces/${NAMESPACE}/configmaps`;
const SECRETS = `/api/v1/namespaces/${NAMESPACE}/secrets`;
const BUILDER = `registry.example.com/builder@sha256:${'b'.repeat(64)}`;

describe('OSImageBuild', () => {
  let controlPlane: ControlPlane;
  let token: string;
  let folder: string;
  let registry: TestRegistry;
  let kubelet: BuildPodStandIn;
  let operator: RunningOperator;

  before(async () => {
    controlPlane = await sharedControlPlane();
    await controlPlane.kubectl(['apply', '-f', MANIFEST]);
    token = await operatorToken(controlPlane);
    folder = await mkdtemp(join(tmpdir(), 'treeline-builds-'));
    registry = await startRegistry({ storage: join(folder, 'registry') });
    const storage = join(folder, 'storage.conf');
    await writeFile(
      storage,
      `[storage]\ndriver = "vfs"\ngraphroot = "${folder}/storage"\nrunroot = "${folder}/storage-run"\n`,
    );
    writeRootfs(join(folder, 'rootfs'), INSTALLED);
    await treeline([
      'compose',
      `--rootfs=${join(folder, 'rootfs')}`,
      `--plain-http=${registry.host}`,
      '--version=12',
      image('base', '12'),
    ]);
    kubelet = new BuildPodStandIn(controlPlane, NAMESPACE, { CONTAINERS_STORAGE_CONF: storage });
    operator = await startBuilder();
  });
  after(async () => {
    await operator.stop();
    await kubelet[Symbol.asyncDispose]();
    await controlPlane.call({ method: 'DELETE', path: BUILDS });
    await controlPlane.kubectl(['delete', '-f', MANIFEST, '--wait=false']);
    await registry.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const image = (name: string, tag: string): string => `${registry.host}/os/${name}:${tag}`;
  const startBuilder = () =>
    startOperator(controlPlane, registry.host, 'builder-0', {
      builds: { namespace: NAMESPACE, builderImage: BUILDER },
      leaderElection: false,
    });
  const read = async (name: string): Promise<OSImageBuild> =>
    (await controlPlane.call({ path: `${BUILDS}/${name}` })).body as unknown as OSImageBuild;
  const create = (name: string, spec: object) =>
    must(controlPlane, {
      method: 'POST',
      path: `${BUILDS}?fieldValidation=Strict`,
      body: { apiVersion: 'treeline.dev/v1alpha1', kind: 'OSImageBuild', metadata: { name }, spec },
    });
  const reaches = (name: string, phase: string, generation = 1) =>
    eventually(
      `${name} is ${phase}`,
      async () => {
        const build = await read(name);
        return build.status?.phase === phase && build.status.observedGeneration === generation && build;
      },
      180_000,
      async () => JSON.stringify((await read(name)).status, null, 2),
    );
  const jobsOf = async (name: string): Promise<string[]> => {
    const { body } = await must(controlPlane, { path: `${JOBS}?labelSelector=treeline.dev/build=${name}` });
    return (body as unknown as { items: { metadata: { name: string } }[] }).items.map(({ metadata }) => metadata.name);
  };

  it('builds, signs and pushes what it describes, and says with which digest; a changed spec is built anew', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const pem = privateKey.export({ type: 'pkcs8', format: 'pem' });
    await must(controlPlane, {
      method: 'POST',
      path: SECRETS,
      body: { metadata: { name: 'cosign' }, data: { 'cosign.key': Buffer.from(pem).toString('base64') } },
    });
    await must(controlPlane, {
      method: 'POST',
      path: CONFIG_MAPS,
      body: { metadata: { name: 'files' }, data: { 'worker.conf': 'worker=1\n' } },
    });
    await create('workers', {
      base: image('base', '12'),
      containerfile: 'FROM base\nCOPY worker.conf /etc/worker.conf\n',
      context: { configMapName: 'files' },
      destination: image('workers', 'stable'),
      signingKeySecretRef: { name: 'cosign' },
      version: '1',
    });
    const built = await reaches('workers', 'Succeeded');
    const digest = await digestOf(image('workers', 'stable'));
    assert.equal(built.status?.digest, digest);
    assert.equal(built.status?.image, `${registry.host}/os/workers@${digest}`);
    assert.equal(built.status?.history?.length, 1);
    assert.match(built.status?.logs ?? '', /^kubectl logs --namespace treeline-builds job\/workers-/);
    const shared = join(folder, 'key.pub');
    await writeFile(shared, publicKey.export({ type: 'spki', format: 'pem' }));
    await treeline(['verify', `--plain-http=${registry.host}`, '--key', shared, image('workers', 'stable')]);
    await controlPlane.kubectl(['wait', '--for=condition=Ready', 'osimagebuild/workers', '--timeout=10s']);

    await must(controlPlane, { method: 'PATCH', path: `${BUILDS}/workers`, body: { spec: { version: '2' } } });
    const again = await reaches('workers', 'Succeeded', 2);
    assert.notEqual(again.status?.digest, digest);
    assert.equal(again.status?.digest, await digestOf(image('workers', 'stable')));
    assert.equal((await jobsOf('workers')).length, 2);
  });

  it('says in its status why a build failed, in the words of what failed, and tries again later', async () => {
    await create('broken', { base: image('nothing', '1'), destination: image('broken', '1') });
    const build = await reaches('broken', 'Pending');
    assert.equal(build.status?.history?.[0]?.reason, 'ImageNotFound');
    assert.match(
      build.status?.conditions?.find(({ type }) => type === 'Ready')?.message ?? '',
      /no image os\/nothing with tag 1/,
    );
    assert.equal(build.status?.attempts, 1);
    assert.ok(build.status?.nextAttemptTime !== undefined);
    await must(controlPlane, { method: 'DELETE', path: `${BUILDS}/broken` });
    // The Job is the build's: the garbage collector takes it.
    await eventually('the Job is gone', async () => (await jobsOf('broken')).length === 0);
  });

  it('goes on where it was when the operator is started again, with the same Job', async () => {
    await operator.stop();
    await create('restart', { base: image('base', '12'), destination: image('restart', '1') });
    operator = await startBuilder();
    await eventually('a Job is there', async () => (await jobsOf('restart')).length === 1);
    await operator.stop();
    operator = await startBuilder();
    await reaches('restart', 'Succeeded');
    assert.equal((await jobsOf('restart')).length, 1);
  });

  it('says in its status and in an event that a quota keeps its Job away, and builds when it does not any more', async () => {
    const quota = `/api/v1/namespaces/${NAMESPACE}/resourcequotas`;
    const spec = { hard: { 'count/jobs.batch': '0' } };
    await must(controlPlane, { method: 'POST', path: quota, body: { metadata: { name: 'no-jobs' }, spec } });
    // It holds once somebody has counted; the controller that does is not among those that run here.
    const status = { ...spec, used: { 'count/jobs.batch': '0' } };
    await must(controlPlane, { method: 'PATCH', path: `${quota}/no-jobs/status`, body: { status } });
    await create('refused', { base: image('base', '12'), destination: image('refused', '1') });
    const build = await eventually('the refusal is in the status', async () => {
      const found = await read('refused');
      return found.status?.conditions?.some(({ reason }) => reason === 'JobRefused') === true && found;
    });
    assert.equal(build.status?.phase, 'Pending');
    assert.match(build.status?.conditions?.find(({ type }) => type === 'Ready')?.message ?? '', /quota.*no-jobs/);
    await must(controlPlane, { method: 'DELETE', path: `${quota}/no-jobs` });
    await reaches('refused', 'Succeeded');
    assert.equal((await jobsOf('refused')).length, 1);
    await eventually('all of it is in events', async () => {
      const { body } = await must(controlPlane, {
        path: '/apis/events.k8s.io/v1/namespaces/default/events?fieldSelector=regarding.name=refused',
      });
      const reasons = (body as unknown as { items: { reason: string }[] }).items.map(({ reason }) => reason);
      return ['JobRefused', 'BuildStarted', 'BuildSucceeded'].every((reason) => reasons.includes(reason));
    });
  });

  it('begins nothing while it is suspended', async () => {
    await create('suspended', { base: image('base', '12'), destination: image('suspended', '1'), suspend: true });
    await reaches('suspended', 'Suspended');
    assert.deepEqual(await jobsOf('suspended'), []);
  });

  for (const [what, spec] of [
    ['made of nothing', { destination: 'a.example/b:1' }],
    ['pushed to a digest', { base: 'a.example/b:1', destination: `a.example/b@sha256:${'0'.repeat(64)}` }],
    ['pushed to a name without host', { base: 'a.example/b:1', destination: 'b:1' }],
    ['with an unknown field', { base: 'a.example/b:1', destination: 'a.example/b:1', schedule: 'daily' }],
  ] as const) {
    it(`is refused by the API server when it is ${what}`, async () => {
      await assert.rejects(create('refused', spec), /refused|spec/);
    });
  }

  describe('the rights of the operator', () => {
    const job = (pod: object, kind = 'OSImageBuild'): ApiCall => ({
      method: 'POST',
      path: `${JOBS}?dryRun=All`,
      body: {
        apiVersion: 'batch/v1',
        kind: 'Job',
        metadata: {
          name: 'rights',
          ownerReferences: [{ apiVersion: 'treeline.dev/v1alpha1', kind, name: 'x', uid: 'x' }],
        },
        spec: {
          template: {
            spec: {
              restartPolicy: 'Never',
              automountServiceAccountToken: false,
              hostUsers: false,
              securityContext: { seccompProfile: { type: 'RuntimeDefault' } },
              containers: [{ name: 'c', image: 'i' }],
              ...pod,
            },
          },
        },
      },
    });
    const rows: readonly (readonly [action: string, call: ApiCall, code: number, message?: RegExp])[] = [
      ['list OSImageBuilds', { path: BUILDS }, 200],
      ['list Jobs of builds', { path: JOBS }, 200],
      ['make a Job of a build', job({}), 201],
      ['make a Job with a token', job({ automountServiceAccountToken: true }), 403, /no ServiceAccount and no token/],
      ['make a Job as another', job({ serviceAccountName: 'other' }), 403, /no ServiceAccount and no token/],
      [
        'make a Job in the network of its node',
        job({ hostUsers: true, hostNetwork: true }),
        403,
        /shares no namespace/,
      ],
      ['make a Job as root of its node', job({ hostUsers: true }), 403, /shares no namespace/],
      [
        'make a Job with the disk of its node',
        job({ volumes: [{ name: 'v', hostPath: { path: '/' } }] }),
        403,
        /mounts nothing of its node/,
      ],
      [
        'make a privileged Job',
        job({ containers: [{ name: 'c', image: 'i', securityContext: { privileged: true } }] }),
        403,
        /not privileged/,
      ],
      [
        'make a Job that is privileged before it begins',
        job({ initContainers: [{ name: 'before', image: 'i', securityContext: { privileged: true } }] }),
        403,
        /not privileged/,
      ],
      [
        'make a Job with a capability that builds do not need',
        job({ containers: [{ name: 'c', image: 'i', securityContext: { capabilities: { add: ['NET_ADMIN'] } } }] }),
        403,
        /no capability but SYS_ADMIN/,
      ],
      ['make a Job that is not confined', job({ securityContext: {} }), 403, /own seccomp and AppArmor profiles/],
      [
        'make a Job with a container that is not confined',
        job({
          containers: [{ name: 'c', image: 'i', securityContext: { seccompProfile: { type: 'Unconfined' } } }],
        }),
        403,
        /own seccomp and AppArmor profiles/,
      ],
      [
        'make a Job whose pod is out of AppArmor',
        job({
          securityContext: { seccompProfile: { type: 'RuntimeDefault' }, appArmorProfile: { type: 'Unconfined' } },
        }),
        403,
        /own seccomp and AppArmor profiles/,
      ],
      [
        'make a Job with the SELinux type that builds have',
        job({
          containers: [{ name: 'c', image: 'i', securityContext: { seLinuxOptions: { type: 'container_engine_t' } } }],
        }),
        201,
      ],
      [
        'make a Job that SELinux does not confine',
        job({ containers: [{ name: 'c', image: 'i', securityContext: { seLinuxOptions: { type: 'spc_t' } } }] }),
        403,
        /an SELinux type of containers/,
      ],
      [
        'make a Job as an SELinux user of its own',
        job({ securityContext: { seccompProfile: { type: 'RuntimeDefault' }, seLinuxOptions: { user: 'system_u' } } }),
        403,
        /no user or role of its own/,
      ],
      ['make a Job of nobody', job({}, 'Deployment'), 403, /only for an OSImageBuild/],
      [
        'make a Job in its own namespace',
        { method: 'POST', path: '/apis/batch/v1/namespaces/treeline-system/jobs', body: {} },
        403,
        /cannot create resource/,
      ],
      ['change the spec of a build', { method: 'PATCH', path: `${BUILDS}/workers`, body: {} }, 403, /cannot patch/],
      ['delete a build', { method: 'DELETE', path: `${BUILDS}/workers` }, 403, /cannot delete/],
      ['delete a Job', { method: 'DELETE', path: `${JOBS}/x` }, 403, /cannot delete/],
      ['read the Secrets of builds', { path: `${SECRETS}/cosign` }, 403, /cannot get/],
      ['read the files of builds', { path: `${CONFIG_MAPS}/files` }, 403, /cannot get/],
    ];
    before(() =>
      eventually(
        'the policy is enforced',
        async () => (await controlPlane.call({ ...job({ automountServiceAccountToken: true }), token })).code === 403,
      ),
    );
    for (const [action, call, code, message] of rows) {
      it(`${code < 300 ? 'let it' : 'do not let it'} ${action}`, async () => {
        const answer = await controlPlane.call({ ...call, token });
        assert.equal(answer.code, code, answer.message);
        if (message !== undefined) assert.match(answer.message, message);
      });
    }
  });

  async function digestOf(name: string): Promise<string> {
    const said = await runCommand('skopeo', [
      'inspect',
      '--tls-verify=false',
      '--format={{.Digest}}',
      `docker://${name}`,
    ]);
    return said.trim();
  }
});
