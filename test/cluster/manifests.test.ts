/** `manifests/base` on a fresh cluster, as a user applies it. */
import assert from 'node:assert/strict';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseAllDocuments, stringify } from 'yaml';
import { nodeOSStatusSchema } from '../../api/index.ts';
import { startControlPlane, type ControlPlane } from '../../testbed/control-plane.ts';
import { NODE_OS_EXAMPLE, OS_IMAGE_EXAMPLE } from '../../tools/reference-examples.ts';
import { eventually } from './operator-harness.ts';

const BASE = join(import.meta.dirname, '..', '..', 'manifests', 'base');
const OPTIONAL = join(BASE, '..', 'optional');

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

interface Container {
  readonly image: string;
  readonly args: readonly string[];
  readonly volumeMounts?: readonly object[];
  readonly securityContext: Readonly<Record<string, unknown>>;
  readonly resources: { readonly requests?: object; readonly limits?: { readonly memory?: string } };
  readonly livenessProbe?: object;
  readonly readinessProbe?: object;
  readonly env: readonly { readonly name: string }[];
}

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly rules?: readonly Rule[];
  readonly data?: Readonly<Record<string, string>>;
  readonly spec?: {
    readonly replicas?: number;
    readonly template?: {
      readonly spec: Readonly<Record<string, unknown>> & { readonly containers: readonly Container[] };
    };
    readonly failurePolicy?: string;
    readonly validations?: readonly { readonly expression: string }[];
    readonly validationActions?: readonly string[];
  };
  readonly status?: { readonly observedGeneration?: number; readonly typeChecking?: object };
}

describe('manifests/base', () => {
  let controlPlane: ControlPlane;
  let rendered: readonly Manifest[];

  before(async () => {
    controlPlane = await startControlPlane({ controllerManager: true });
    const text = await controlPlane.kubectl(['kustomize', BASE]);
    rendered = parseAllDocuments(text).map((document) => document.toJS() as Manifest);
  });
  after(async () => {
    await controlPlane?.[Symbol.asyncDispose]();
  });

  const of = (kind: string): readonly Manifest[] => rendered.filter((manifest) => manifest.kind === kind);

  function podSpecOf(kind: string): NonNullable<NonNullable<Manifest['spec']>['template']>['spec'] {
    const spec = of(kind)[0]?.spec?.template?.spec;
    assert.ok(spec !== undefined, `there is a ${kind}`);
    return spec;
  }

  describe('on a cluster that has nothing of ours', () => {
    let applied: unknown;

    /** Everything that says what the cluster is to do. Not the generation: a Deployment's moves with its annotations. */
    async function stored(): Promise<unknown> {
      const list = JSON.parse(await controlPlane.kubectl(['get', '-k', BASE, '-o', 'json'])) as { items: Manifest[] };
      return list.items.map(({ kind, metadata, spec, rules }) => [kind, metadata.name, metadata.labels, spec, rules]);
    }

    it('is applied in one go by kubectl apply -k', async () => {
      const said = await controlPlane.kubectl(['apply', '-k', BASE]);
      assert.equal(said.trim().split('\n').length, rendered.length);
      for (const line of said.trim().split('\n')) assert.match(line, / created$/);
      applied = await stored();
    });

    it('changes nothing when it is applied again', async () => {
      await controlPlane.kubectl(['apply', '-k', BASE]);
      assert.deepEqual(await stored(), applied);
    });

    it('can be applied server-side, as GitOps tools do', async () => {
      await controlPlane.kubectl(['apply', '--server-side', '--force-conflicts', '-k', BASE]);
      await controlPlane.kubectl(['apply', '--server-side', '-k', BASE]);
      assert.deepEqual(await stored(), applied);
    });

    it('serves both resources, and accepts the examples of the reference pages', async () => {
      await controlPlane.kubectl(['wait', '--for=condition=Established', 'crd', '--all', '--timeout=60s']);
      for (const input of [OS_IMAGE_EXAMPLE, NODE_OS_EXAMPLE]) {
        await controlPlane.kubectl(['apply', '--validate=strict', '-f', '-'], { input });
      }
      assert.match(await controlPlane.kubectl(['get', 'osi,nos']), /workers[^]*worker-1/);
    });

    it('has policies whose expressions fit the types that they are about', async () => {
      for (const { metadata } of of('ValidatingAdmissionPolicy')) {
        const read = async (): Promise<Manifest> =>
          JSON.parse(
            await controlPlane.kubectl(['get', 'validatingadmissionpolicy', metadata.name, '-o', 'json']),
          ) as Manifest;
        let policy = await read();
        for (let attempt = 0; attempt < 600 && policy.status?.observedGeneration === undefined; attempt++) {
          await sleep(100);
          policy = await read();
        }
        assert.notEqual(policy.status?.observedGeneration, undefined, `${metadata.name} has been checked`);
        assert.deepEqual(policy.status?.typeChecking ?? {}, {}, metadata.name);
      }
    });

    it('runs its Pods: the API server admits those of the operator and of the agent', async () => {
      const node = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'a', labels: { 'kubernetes.io/os': 'linux' } } };
      await controlPlane.kubectl(['apply', '-f', '-'], { input: JSON.stringify(node) });
      const wanted = ['treeline-operator', 'treeline-operator', 'treeline-agent'];
      let names: string[] = [];
      for (let attempt = 0; attempt < 600 && names.length < wanted.length; attempt++) {
        await sleep(100);
        const list = JSON.parse(await controlPlane.kubectl(['get', 'pods', '-n', 'treeline-system', '-o', 'json'])) as {
          items: Manifest[];
        };
        names = list.items.map(({ metadata }) => metadata.labels?.['app.kubernetes.io/name'] ?? '');
      }
      assert.deepEqual(names.toSorted(), wanted.toSorted());
    });

    /** Whether a namespace takes the Pod that is at Pod Security's level `restricted`. */
    async function podWhereStrict(name: string, spec: Readonly<Record<string, unknown>>) {
      const { priorityClassName: _, serviceAccountName: __, ...pod } = spec;
      return await controlPlane.call({
        method: 'POST',
        path: '/api/v1/namespaces/strict/pods?dryRun=All',
        body: {
          metadata: { name },
          spec: { ...pod, serviceAccountName: 'default', automountServiceAccountToken: false },
        },
      });
    }

    it('has Pods that pass Pod Security’s level `restricted`, all but those of the agent', async () => {
      const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' };
      const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'strict', labels } };
      await controlPlane.kubectl(['apply', '-f', '-'], { input: JSON.stringify(namespace) });
      const cache = parseAllDocuments(await readFile(join(OPTIONAL, 'layer-cache.yaml'), 'utf8'));
      const others = cache.map((document) => document.toJS() as Manifest);
      for (const { metadata, spec } of [...rendered, ...others]) {
        if (spec?.template === undefined) continue;
        const answer = await podWhereStrict(metadata.name, spec.template.spec);
        const isAgent = metadata.name === 'treeline-agent';
        assert.equal(answer.code, isAgent ? 403 : 201, answer.message);
        if (isAgent) assert.match(answer.message, /violates PodSecurity "restricted:latest"/);
      }
    });

    it('takes a signature policy for the whole cluster as a component, with the keys of an overlay', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'treeline-overlay-'));
      try {
        const policy = 'match: Any\nauthorities: []\ndeniedDigests: []\n';
        await writeFile(join(folder, 'signature-policy.yaml'), policy);
        const options = { disableNameSuffixHash: true };
        const generated = { name: 'treeline-signature-policy', namespace: 'treeline-system', options };
        const overlay = {
          resources: [relative(folder, BASE)],
          components: [relative(folder, join(BASE, '..', 'components', 'signature-floor'))],
          configMapGenerator: [{ ...generated, files: ['signature-policy.yaml'] }],
        };
        await writeFile(join(folder, 'kustomization.yaml'), stringify(overlay));
        const text = await controlPlane.kubectl(['kustomize', '--load-restrictor=LoadRestrictionsNone', folder]);
        const objects = parseAllDocuments(text).map((document) => document.toJS() as Manifest);
        const floor = objects.find(({ kind }) => kind === 'ConfigMap');
        assert.equal(floor?.metadata.name, 'treeline-signature-policy');
        assert.deepEqual(floor.data, { 'signature-policy.yaml': policy });
        const operator = objects.find(({ kind }) => kind === 'Deployment')?.spec?.template?.spec;
        const [container] = operator?.containers ?? [];
        assert.deepEqual(container?.args, ['operator', '--signature-policy=/etc/treeline/floor/signature-policy.yaml']);
        const [mount] = container.volumeMounts ?? [];
        assert.deepEqual(mount, { mountPath: '/etc/treeline/floor', name: 'signature-policy', readOnly: true });
        assert.deepEqual(operator?.['volumes'], [
          { name: 'signature-policy', configMap: { name: 'treeline-signature-policy' } },
        ]);
        await controlPlane.kubectl(['apply', '--server-side', '--force-conflicts', '--dry-run=server', '-f', '-'], {
          input: text,
        });
      } finally {
        await rm(folder, { recursive: true });
      }
    });

    it('demands AppArmor of all but the agents with a component, and still passes `restricted`', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'treeline-overlay-'));
      try {
        await copyFile(join(OPTIONAL, 'layer-cache.yaml'), join(folder, 'layer-cache.yaml'));
        const overlay = {
          resources: [relative(folder, BASE), 'layer-cache.yaml'],
          components: [relative(folder, join(BASE, '..', 'components', 'apparmor'))],
        };
        await writeFile(join(folder, 'kustomization.yaml'), stringify(overlay));
        const text = await controlPlane.kubectl(['kustomize', folder]);
        const objects = parseAllDocuments(text).map((document) => document.toJS() as Manifest);
        const pods = objects.flatMap(({ metadata, spec }) =>
          spec?.template ? [[metadata.name, spec.template.spec]] : [],
        );
        const [profile, seccompProfile] = [{ type: 'RuntimeDefault' }, { type: 'RuntimeDefault' }];
        for (const [name, pod] of pods as [string, Readonly<Record<string, unknown>>][]) {
          const { appArmorProfile, ...others } = (pod['securityContext'] ?? {}) as Readonly<Record<string, unknown>>;
          if (name === 'treeline-agent') assert.equal(appArmorProfile, undefined);
          else assert.deepEqual([appArmorProfile, others['seccompProfile']], [profile, seccompProfile], name);
          if (name !== 'treeline-agent') assert.equal((await podWhereStrict(name, pod)).code, 201);
        }
        assert.equal(pods.length, 3);
      } finally {
        await rm(folder, { recursive: true });
      }
    });

    it('takes the optional layer cache beside it, and runs its Pod', async () => {
      const file = join(OPTIONAL, 'layer-cache.yaml');
      const documents = parseAllDocuments(await readFile(file, 'utf8'));
      const said = await controlPlane.kubectl(['apply', '--validate=strict', '-f', file]);
      assert.equal(said.trim().split('\n').length, documents.length);
      for (const line of said.trim().split('\n')) assert.match(line, / created$/);
      await eventually('the Deployment has made its Pod', async () => {
        const found = ['get', 'pods', '-n', 'treeline-system', '-l', 'app.kubernetes.io/name=treeline-layer-cache'];
        return (await controlPlane.kubectl([...found, '-o', 'name'])).startsWith('pod/');
      });
      await controlPlane.kubectl(['delete', '-f', file, '--wait=false']);
    });

    it('is removed by kubectl delete -k', async () => {
      await controlPlane.kubectl(['delete', '-k', BASE, '--wait=false']);
      const left = await controlPlane.kubectl([
        'get',
        'clusterrole,validatingadmissionpolicy',
        '-l',
        'app.kubernetes.io/part-of=treeline',
        '-o',
        'name',
      ]);
      assert.equal(left, '');
    });
  });

  it('grants nothing by wildcard, and writes to Secrets, Roles and Leases only by name', () => {
    const rules = [...of('ClusterRole'), ...of('Role')].flatMap((role) => role.rules ?? []);
    assert.ok(rules.length > 8);
    for (const rule of rules) {
      assert.ok(![...rule.apiGroups, ...rule.resources, ...rule.verbs].includes('*'), JSON.stringify(rule));
      const writes = rule.verbs.some((verb) => !['get', 'list', 'watch', 'create'].includes(verb));
      if (writes && rule.resources.some((resource) => ['secrets', 'roles', 'leases'].includes(resource))) {
        assert.ok((rule.resourceNames ?? []).length > 0, JSON.stringify(rule));
      }
      assert.ok(!['escalate', 'bind', 'impersonate', 'deletecollection'].some((verb) => rule.verbs.includes(verb)));
    }
  });

  it('gives cluster-wide rights on Secrets to nobody', () => {
    const resources = of('ClusterRole')
      .flatMap((role) => role.rules ?? [])
      .flatMap((rule) => rule.resources);
    assert.ok(!resources.some((resource) => resource.startsWith('secrets')));
  });

  it('lets the operator get Secrets of its namespace, and nobody do anything else with Secrets or Roles', () => {
    const all = rendered.filter(({ kind }) => kind === 'ClusterRole' || kind === 'Role');
    const rights = all.flatMap(({ metadata, rules = [] }) =>
      rules
        .filter(({ resources }) =>
          resources.some((resource) => /^(secrets|(cluster)?roles|.*bindings)$/.test(resource)),
        )
        .filter(({ apiGroups }) => !apiGroups.includes('admissionregistration.k8s.io'))
        .map(({ resources, verbs }) => [metadata.name, resources, verbs]),
    );
    assert.deepEqual(rights, [['treeline-operator', ['secrets'], ['get']]]);
  });

  it('enforces its policies, and fails closed', () => {
    const policies = of('ValidatingAdmissionPolicy');
    const bindings = of('ValidatingAdmissionPolicyBinding');
    assert.deepEqual(
      bindings.map(({ metadata }) => metadata.name),
      policies.map(({ metadata }) => metadata.name),
    );
    for (const { spec } of policies) assert.equal(spec?.failurePolicy, 'Fail');
    for (const { spec } of bindings) assert.deepEqual(spec?.validationActions, ['Deny']);
  });

  it('guards every status field that is the operator’s against the agents', () => {
    const policy = of('ValidatingAdmissionPolicy').find(({ metadata }) => metadata.name === 'treeline-agent-own-node');
    const expressions = (policy?.spec?.validations ?? []).map(({ expression }) => expression).join('\n');
    const agents = ['host', 'progress', 'lastOrder'];
    for (const field of Object.keys(nodeOSStatusSchema.shape).filter((name) => !agents.includes(name))) {
      assert.ok(expressions.includes(`object.?status.?${field} == oldObject.?status.?${field}`), field);
    }
  });

  it('runs two operators that could do no harm on their nodes', () => {
    assert.equal(of('Deployment')[0]?.spec?.replicas, 2);
    const pod = podSpecOf('Deployment');
    assert.deepEqual(pod['securityContext'], {
      runAsNonRoot: true,
      runAsUser: 65532,
      runAsGroup: 65532,
      seccompProfile: { type: 'RuntimeDefault' },
      seLinuxOptions: { type: 'container_t' },
    });
    for (const name of ['hostPID', 'hostNetwork', 'hostIPC', 'volumes']) assert.equal(pod[name], undefined, name);
    const [container] = pod.containers;
    assert.deepEqual(container?.securityContext, {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
    assert.ok(container.livenessProbe !== undefined && container.readinessProbe !== undefined);
  });

  it('runs an agent on every Linux node, cordoned and tainted ones too, that knows which node it is on', () => {
    const pod = podSpecOf('DaemonSet');
    assert.deepEqual(pod['tolerations'], [{ operator: 'Exists' }]);
    assert.deepEqual(pod['nodeSelector'], { 'kubernetes.io/os': 'linux' });
    assert.equal(pod['priorityClassName'], 'system-node-critical');
    assert.ok(pod.containers[0]?.env.some(({ name }) => name === 'NODE_NAME'));
  });

  it('bounds the memory of every container, and runs one image', () => {
    const containers = [...podSpecOf('Deployment').containers, ...podSpecOf('DaemonSet').containers];
    assert.equal(new Set(containers.map(({ image }) => image)).size, 1);
    for (const { image, resources } of containers) {
      assert.match(image, /:\d+\.\d+\.\d+$/, 'never `latest`');
      assert.ok(resources.requests !== undefined && resources.limits?.memory !== undefined);
    }
  });
});
