/** Every Pod that Treeline runs or makes has no more than it needs; each exception is listed here with its reason. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { parseAllDocuments } from 'yaml';
import { jobOf } from '../../../operator/builds/build-job.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');

interface SecurityContext {
  readonly runAsNonRoot?: boolean;
  readonly runAsUser?: number;
  readonly privileged?: boolean;
  readonly allowPrivilegeEscalation?: boolean;
  readonly readOnlyRootFilesystem?: boolean;
  readonly capabilities?: { readonly add?: readonly string[]; readonly drop?: readonly string[] };
  readonly seccompProfile?: { readonly type: string };
  readonly appArmorProfile?: { readonly type: string };
  readonly seLinuxOptions?: { readonly type?: string };
}

interface Container {
  readonly name: string;
  readonly securityContext?: SecurityContext;
  readonly resources?: { readonly limits?: { readonly memory?: string } };
}

interface PodSpec {
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly securityContext?: SecurityContext;
  readonly automountServiceAccountToken?: boolean;
  readonly hostNetwork?: boolean;
  readonly hostPID?: boolean;
  readonly hostIPC?: boolean;
  readonly volumes?: readonly { readonly hostPath?: object }[];
}

interface Manifest {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly spec?: {
    readonly template?: { readonly metadata?: Manifest['metadata']; readonly spec: PodSpec };
    readonly podSelector?: { readonly matchLabels?: Readonly<Record<string, string>> };
    readonly policyTypes?: readonly string[];
    readonly ports?: readonly { readonly targetPort: number }[];
    readonly ingress?: readonly { readonly ports?: readonly { readonly port: number }[] }[];
    readonly egress?: readonly {
      readonly to?: readonly { readonly ipBlock?: { readonly cidr: string; readonly except?: readonly string[] } }[];
      readonly ports?: readonly { readonly port: number }[];
    }[];
  };
}

const manifests = globSync('manifests/{base,optional}/*.yaml', {
  cwd: ROOT,
  exclude: ['**/kustomization.yaml'],
}).flatMap((path) =>
  parseAllDocuments(readFileSync(join(ROOT, path), 'utf8')).map((document) => document.toJS() as Manifest),
);

/** The Job of a build with everything that a build can have. */
const BUILD_JOB = jobOf(
  {
    metadata: { name: 'workers', uid: 'u', resourceVersion: '1' },
    spec: {
      base: 'registry.example/os:1',
      destination: 'registry.example/os:2',
      containerfile: 'FROM x',
      context: { configMapName: 'files' },
      pushSecretRef: { name: 'push' },
      signingKeySecretRef: { name: 'key' },
      suspend: false,
      timeoutSeconds: 3600,
      historyLimit: 3,
    },
  },
  { inputs: 'h', job: 'workers-1', startTime: '2026-11-23T12:00:00Z' },
  undefined,
  { builderImage: 'b', plainHttpHosts: [] },
) as Manifest;

const workloads = new Map(
  [...manifests, { ...BUILD_JOB, metadata: { ...BUILD_JOB.metadata, namespace: 'treeline-builds' } }].flatMap(
    (manifest): [string, Manifest & { pod: PodSpec }][] => {
      const pod = manifest.spec?.template?.spec;
      const { name } = manifest.metadata;
      return pod === undefined ? [] : [[`${manifest.kind}/${name}`, { ...manifest, pod }]];
    },
  ),
);

type Rule = (pod: PodSpec, container: Container) => boolean;

/** A field of the container, else of the Pod. */
const set = <Name extends keyof SecurityContext>(pod: PodSpec, container: Container, name: Name) =>
  container.securityContext?.[name] ?? pod.securityContext?.[name];

const RULES: Readonly<Record<string, Rule>> = {
  'is not root': (pod, container) =>
    set(pod, container, 'runAsNonRoot') === true && set(pod, container, 'runAsUser') !== 0,
  'cannot become more than it is': (_, { securityContext }) =>
    securityContext?.privileged !== true && securityContext?.allowPrivilegeEscalation === false,
  'has no capability': (_, { securityContext }) =>
    securityContext?.capabilities?.drop?.includes('ALL') === true &&
    (securityContext.capabilities.add ?? []).length === 0,
  'writes nothing of its image': (_, { securityContext }) => securityContext?.readOnlyRootFilesystem === true,
  'is confined by seccomp': (pod, container) => set(pod, container, 'seccompProfile')?.type === 'RuntimeDefault',
  // Not set, the runtime's own profile is taken where the host has AppArmor. Set, hosts without it refuse the Pod.
  'leaves AppArmor to the runtime': (pod, container) => set(pod, container, 'appArmorProfile') === undefined,
  // Nothing but the type: the runtime gives categories of its own.
  'has the SELinux type of a container': (pod, container) =>
    isDeepStrictEqual(set(pod, container, 'seLinuxOptions'), { type: 'container_t' }),
  'shares no namespace with its node': ({ hostNetwork, hostPID, hostIPC }) =>
    hostNetwork !== true && hostPID !== true && hostIPC !== true,
  'mounts nothing of its node': ({ volumes = [] }) => volumes.every(({ hostPath }) => hostPath === undefined),
  'has no token of the API': ({ automountServiceAccountToken }) => automountServiceAccountToken === false,
  'has a bound to its memory': (_, { resources }) => resources?.limits?.memory !== undefined,
};

/** By workload and container: rules that do not hold, and why. */
const EXCEPTIONS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'Deployment/treeline-operator operator': { 'has no token of the API': 'The API is what it works on.' },
  'DaemonSet/treeline-agent agent': {
    'is not root': 'It writes files of any owner, and runs the host’s own ostree.',
    'cannot become more than it is': 'Privileged: it enters the mount namespace of the host’s process 1.',
    'has no capability': 'Privileged: files with any owner and capability, mounts, a reboot.',
    'is confined by seccomp': 'Privileged containers are not confined, whatever is asked for.',
    'leaves AppArmor to the runtime': 'It says Unconfined, as its being privileged does; no host refuses that.',
    'has the SELinux type of a container': 'spc_t, the type of privileged containers.',
    'shares no namespace with its node': 'It reports also when the new system has broken the network of Pods.',
    'mounts nothing of its node': 'It deploys what its node boots.',
    'has no token of the API': 'It reads its orders there.',
  },
  'Job/workers-1 compose': {
    'is not root': 'Root in a user namespace of its own is nobody on the node, and may change owners inside.',
    'cannot become more than it is': 'The API does not let SYS_ADMIN be combined with that.',
    'has no capability': 'SYS_ADMIN in its user namespace: a build mounts its layers.',
    'writes nothing of its image': 'What a Containerfile runs writes where it likes, in a container that ends with it.',
    'has the SELinux type of a container': 'container_engine_t, which may mount its layers.',
    'has a bound to its memory': 'Only its author knows what a build takes; a LimitRange of the namespace may say.',
  },
};

describe('the Pods of Treeline', () => {
  it('are known to this test, each of them', () => {
    assert.deepEqual([...workloads.keys()].toSorted(), [
      'DaemonSet/treeline-agent',
      'Deployment/treeline-layer-cache',
      'Deployment/treeline-operator',
      'Job/workers-1',
    ]);
  });

  for (const [workload, { pod }] of workloads) {
    for (const container of [...pod.containers, ...(pod.initContainers ?? [])]) {
      const exceptions = EXCEPTIONS[`${workload} ${container.name}`] ?? {};
      for (const [promise, rule] of Object.entries(RULES)) {
        const reason = exceptions[promise];
        it(`${workload} ${container.name} ${promise}${reason === undefined ? '' : `, but does not: ${reason}`}`, () =>
          // An exception that is not needed any more is to be taken out.
          assert.equal(rule(pod, container), reason === undefined));
      }
    }
  }

  it('name the SELinux types and the AppArmor profiles that their exceptions speak of, and no user, role or level', () => {
    const named = [...workloads].flatMap(([workload, { pod }]) =>
      pod.containers.map(
        (container) =>
          [workload, set(pod, container, 'seLinuxOptions'), set(pod, container, 'appArmorProfile')] as const,
      ),
    );
    assert.deepEqual(Object.fromEntries(named.map(([workload, ...names]) => [workload, names])), {
      'DaemonSet/treeline-agent': [{ type: 'spc_t' }, { type: 'Unconfined' }],
      'Deployment/treeline-layer-cache': [{ type: 'container_t' }, undefined],
      'Deployment/treeline-operator': [{ type: 'container_t' }, undefined],
      'Job/workers-1': [{ type: 'container_engine_t' }, undefined],
    });
  });

  it('are no Pods but these on the network and in the processes of their node', () => {
    const onHost = [...workloads].filter(([, { pod }]) => pod.hostNetwork === true || pod.hostPID === true);
    assert.deepEqual(
      onHost.map(([name]) => name),
      ['DaemonSet/treeline-agent'],
    );
  });

  const policies = manifests.filter(({ kind }) => kind === 'NetworkPolicy');
  for (const workload of ['Deployment/treeline-operator', 'Job/workers-1']) {
    it(`may be reached by few, and do not reach what only their node should: ${workload}`, () => {
      const { metadata, spec } = workloads.get(workload) ?? assert.fail();
      const labels = spec?.template?.metadata?.labels ?? {};
      const own = policies.filter(
        (policy) =>
          policy.metadata.namespace === metadata.namespace &&
          Object.entries(policy.spec?.podSelector?.matchLabels ?? {}).every(([key, value]) => labels[key] === value),
      );
      assert.ok(own.some(({ spec: policy }) => policy?.policyTypes?.includes('Ingress')));
      assert.ok(own.some(({ spec: policy }) => policy?.policyTypes?.includes('Egress')));
      for (const { to, ports } of own.flatMap(({ spec: policy }) => policy?.egress ?? [])) {
        if (to === undefined)
          assert.deepEqual(
            ports?.map(({ port }) => port),
            [53, 53],
          );
        for (const { ipBlock } of to ?? []) {
          const wanted = ipBlock?.cidr === '::/0' ? 'fe80::/10' : '169.254.0.0/16';
          assert.ok(ipBlock?.except?.includes(wanted), JSON.stringify(ipBlock));
        }
      }
    });
  }

  it('may be asked for locks where the Service of FleetLock leads, and at no other port', () => {
    const opened = policies
      .filter(({ metadata }) => metadata.name === 'treeline-fleet-lock')
      .flatMap(({ spec }) => spec?.ingress ?? [])
      .flatMap(({ ports = [] }) => ports.map(({ port }) => port));
    const service = manifests.find(
      ({ kind, metadata }) => kind === 'Service' && metadata.name === 'treeline-fleet-lock',
    );
    assert.deepEqual(
      opened,
      service?.spec?.ports?.map(({ targetPort }) => targetPort),
    );
    assert.equal(opened.length, 1);
  });

  it('are in namespaces that say what Pod Security asks of them', () => {
    const namespaces = manifests.filter(({ kind }) => kind === 'Namespace');
    assert.deepEqual(namespaces.map(({ metadata }) => metadata.name).toSorted(), [
      'treeline-builds',
      'treeline-system',
    ]);
    for (const { metadata } of namespaces)
      assert.equal(metadata.labels?.['pod-security.kubernetes.io/enforce'], 'privileged', metadata.name);
  });
});
