/** What the operator may do with the credentials that the manifests give it, and what not even a bug could make it do. */
import assert from 'node:assert/strict';
import { operatorToken } from '../../testbed/control-plane-treeline.ts';
import type { ApiCall } from '../../testbed/control-plane-client.ts';
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { sharedControlPlane } from '../../testbed/shared-control-plane.ts';
import { must, NODE_OSES, nodeOS, OS_IMAGES, osImage, type Json } from './crd-objects.ts';

const NODE = 'rbac-operator';
const POD = 'rbac-operator';
const IMAGE = 'rbac-operator';
const NODE_PATH = `/api/v1/nodes/${NODE}`;
const PODS = '/api/v1/namespaces/default/pods';
const SECRETS = '/api/v1/namespaces/treeline-system/secrets';
const LEASES = '/apis/coordination.k8s.io/v1/namespaces/treeline-system/leases';
const ROLES = '/apis/rbac.authorization.k8s.io/v1/namespaces/treeline-system/roles';

const ADMISSION = '/apis/admissionregistration.k8s.io/v1';

const SEALED = { secretName: 's', secretVersion: 'u/1', key: `${'A'.repeat(43)}=`, sealed: 'AAAA' };

const MARK = 'treeline.dev/cordoned-by';
const rbac = /cannot \w+ resource/;

const patch = (path: string, body: Json): ApiCall => ({ method: 'PATCH', path, body });
type Row = readonly [action: string, call: ApiCall, code: number, message?: RegExp];

const ALLOWED: readonly Row[] = [
  ['list OSImages', { path: OS_IMAGES }, 200],
  [
    'see whether an admission policy is in force',
    { path: `${ADMISSION}/validatingadmissionpolicies/treeline-agent-own-node` },
    200,
  ],
  ['see whether it is bound', { path: `${ADMISSION}/validatingadmissionpolicybindings/treeline-agent-own-node` }, 200],
  ['watch OSImages', { path: `${OS_IMAGES}?watch=true&timeoutSeconds=1` }, 200],
  [
    'answer in the status of an OSImage',
    patch(`${OS_IMAGES}/${IMAGE}/status`, { status: { observedGeneration: 1 } }),
    200,
  ],
  ['create a NodeOS', { method: 'POST', path: NODE_OSES, body: nodeOS({ metadata: { name: NODE } }) }, 201],
  ['write an order', patch(`${NODE_OSES}/${NODE}`, { spec: { order: { id: '9' } } }), 200],
  [
    'write where a node is',
    patch(`${NODE_OSES}/${NODE}/status`, {
      status: { rollout: { phase: 'Pending', phaseTime: '2026-11-23T12:00:00Z' } },
    }),
    200,
  ],
  ['delete a NodeOS', { method: 'DELETE', path: `${NODE_OSES}/${NODE}` }, 200],
  ['ask what kinds are served', { path: '/apis/apps/v1' }, 200],
  ['list Nodes', { path: '/api/v1/nodes' }, 200],
  ['list Pods everywhere', { path: '/api/v1/pods' }, 200],
  [
    'evict a Pod',
    {
      method: 'POST',
      path: `${PODS}/${POD}/eviction`,
      body: { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: POD, namespace: 'default' } },
    },
    201,
  ],
  ['read a pull Secret by its name', { path: `${SECRETS}/rbac-operator` }, 200],
  ['read a volume by its name', { path: '/api/v1/persistentvolumes/none' }, 404],
  ['read a claim by its name', { path: '/api/v1/namespaces/default/persistentvolumeclaims/none' }, 404],
  ['read its Lease', { path: `${LEASES}/treeline-operator` }, 404],
  [
    'seal credentials for a node',
    patch(`${NODE_OSES}/rbac-operator-sealed`, { spec: { pullCredentials: SEALED } }),
    200,
  ],
];

const REFUSED: readonly Row[] = [
  ['change the spec of an OSImage', patch(`${OS_IMAGES}/${IMAGE}`, { spec: { rollout: { paused: true } } }), 403, rbac],
  ['create an OSImage', { method: 'POST', path: OS_IMAGES, body: osImage() }, 403, rbac],
  ['delete an OSImage', { method: 'DELETE', path: `${OS_IMAGES}/${IMAGE}` }, 403, rbac],
  [
    'change the signature policy of the cluster',
    patch('/api/v1/namespaces/treeline-system/configmaps/treeline-signature-policy', { data: {} }),
    403,
    rbac,
  ],
  [
    'loosen an admission policy',
    patch(`${ADMISSION}/validatingadmissionpolicies/treeline-agent-own-node`, { spec: { failurePolicy: 'Ignore' } }),
    403,
    rbac,
  ],
  [
    'unbind an admission policy',
    { method: 'DELETE', path: `${ADMISSION}/validatingadmissionpolicybindings/treeline-agent-own-node` },
    403,
    rbac,
  ],
  ['list admission policies', { path: `${ADMISSION}/validatingadmissionpolicies` }, 403, rbac],
  ['read the admission policies of others', { path: `${ADMISSION}/validatingadmissionpolicies/x` }, 403, rbac],
  ['delete a Node', { method: 'DELETE', path: NODE_PATH }, 403, rbac],
  ['replace a Node', { method: 'PUT', path: NODE_PATH, body: {} }, 403, rbac],
  ['change the status of a Node', patch(`${NODE_PATH}/status`, { status: {} }), 403, rbac],
  ['delete a Pod past its disruption budget', { method: 'DELETE', path: `${PODS}/${POD}` }, 403, rbac],
  ['list the claims of a namespace', { path: '/api/v1/namespaces/default/persistentvolumeclaims' }, 403, rbac],
  ['create a Pod', { method: 'POST', path: PODS, body: {} }, 403, rbac],
  ['run a command in a Pod', { method: 'POST', path: `${PODS}/${POD}/exec?command=id` }, 403, rbac],
  ['list the Secrets of its own namespace', { path: SECRETS }, 403, rbac],
  ['read what a check might ask for, before anybody binds it', { path: '/apis/apps/v1/deployments' }, 403, rbac],
  ['read the configuration of others', { path: '/api/v1/namespaces/default/configmaps' }, 403, rbac],
  ['read a Secret of another namespace', { path: '/api/v1/namespaces/default/secrets/x' }, 403, rbac],
  ['take over a Lease that is not its own', patch(`${LEASES}/another`, { spec: {} }), 403, rbac],
  [
    'make a Lease in another namespace',
    { method: 'POST', path: '/apis/coordination.k8s.io/v1/namespaces/kube-system/leases', body: {} },
    403,
    rbac,
  ],
  ['read a Role', { path: `${ROLES}/treeline-operator` }, 403, rbac],
  ['list Roles', { path: ROLES }, 403, rbac],
  ['change its own Role', patch(`${ROLES}/treeline-operator`, { rules: [] }), 403, rbac],
  [
    'let agents read Secrets, as it could before',
    { method: 'PUT', path: `${ROLES}/treeline-agent-pull-secrets`, body: {} },
    403,
    rbac,
  ],
  ['create a Role', { method: 'POST', path: ROLES, body: {} }, 403, rbac],
  [
    'make itself administrator',
    { method: 'POST', path: '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', body: {} },
    403,
    rbac,
  ],
  [
    'ask for the token of an agent',
    { method: 'POST', path: '/api/v1/namespaces/treeline-system/serviceaccounts/treeline-agent/token', body: {} },
    403,
    rbac,
  ],
  [
    'switch its own policy off',
    {
      method: 'DELETE',
      path: '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/treeline-operator-own-marks-only',
    },
    403,
    rbac,
  ],
];

describe('the operator', () => {
  let controlPlane: ControlPlane;
  let token: string;

  before(async () => {
    controlPlane = await sharedControlPlane();
    token = await operatorToken(controlPlane);
    const node = {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: NODE, labels: { zone: 'a' }, annotations: { keep: 'me' } },
    };
    await must(controlPlane, { method: 'POST', path: '/api/v1/nodes', body: node });
    await must(controlPlane, { method: 'POST', path: OS_IMAGES, body: osImage({ metadata: { name: IMAGE } }) });
    await must(controlPlane, {
      method: 'POST',
      path: NODE_OSES,
      body: nodeOS({ metadata: { name: 'rbac-operator-sealed' } }),
    });
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: POD },
      spec: { nodeName: NODE, containers: [{ name: 'c', image: 'c' }] },
    };
    await must(controlPlane, { method: 'POST', path: PODS, body: pod });
    await must(controlPlane, {
      method: 'POST',
      path: SECRETS,
      body: { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'rbac-operator' } },
    });
  });

  after(async () => {
    await controlPlane?.call({ method: 'DELETE', path: `${PODS}/${POD}?gracePeriodSeconds=0` });
    for (const path of [
      NODE_PATH,
      `${OS_IMAGES}/${IMAGE}`,
      `${NODE_OSES}/rbac-operator-sealed`,
      `${SECRETS}/rbac-operator`,
      `${LEASES}/treeline-operator`,
    ]) {
      await controlPlane?.call({ method: 'DELETE', path });
    }
  });

  async function check([, call, code, message]: Row): Promise<void> {
    const answer = await controlPlane.call({ ...call, token });
    assert.equal(answer.code, code, answer.message);
    if (message !== undefined) assert.match(answer.message, message);
  }

  for (const row of REFUSED) it(`cannot ${row[0]}`, () => check(row));
  for (const row of ALLOWED) it(`can ${row[0]}`, () => check(row));

  it('can take and renew its Lease, and publish Events', async () => {
    const lease = {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { name: 'treeline-operator' },
      spec: { holderIdentity: 'a' },
    };
    const created = await must(controlPlane, { method: 'POST', path: LEASES, token, body: lease });
    await must(controlPlane, { method: 'PUT', path: `${LEASES}/treeline-operator`, token, body: created.body });
    const event = {
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      metadata: { generateName: 'rbac-operator-' },
      eventTime: '2026-11-23T12:00:00.000000Z',
      reportingController: 'treeline.dev/operator',
      reportingInstance: 'test',
      action: 'Test',
      reason: 'Test',
      type: 'Normal',
      regarding: { apiVersion: 'v1', kind: 'Node', name: NODE },
    };
    await must(controlPlane, {
      method: 'POST',
      path: '/apis/events.k8s.io/v1/namespaces/default/events',
      token,
      body: event,
    });
  });

  describe('with a Node', () => {
    const mark = (value: string | null): Json => ({ annotations: { [MARK]: value } });
    const cordon = patch(NODE_PATH, { metadata: mark('uid-1'), spec: { unschedulable: true } });
    const uncordon = patch(NODE_PATH, { metadata: mark(null), spec: { unschedulable: null } });

    beforeEach(() => must(controlPlane, uncordon));

    it('can cordon it and uncordon it again, by its mark', async () => {
      await check(['', cordon, 200]);
      await check(['', uncordon, 200]);
    });

    it('cannot cordon it without leaving its mark', () =>
      check(['', patch(NODE_PATH, { spec: { unschedulable: true } }), 403, /may cordon a Node only with its mark/]));

    it('cannot lift a cordon that somebody else made', async () => {
      await must(controlPlane, patch(NODE_PATH, { spec: { unschedulable: true } }));
      await check(['', uncordon, 403, /uncordon only one that carries it/]);
    });

    it('cannot claim and lift a foreign cordon in one write', async () => {
      await must(controlPlane, patch(NODE_PATH, { spec: { unschedulable: true } }));
      const both = patch(NODE_PATH, { metadata: mark('uid-1'), spec: { unschedulable: false } });
      await check(['', both, 403, /uncordon only one that carries it/]);
    });

    it('can take its mark off and leave the Node cordoned', async () => {
      await check(['', cordon, 200]);
      await check(['', patch(NODE_PATH, { metadata: mark(null) }), 200]);
    });

    const AUTOSCALER = 'cluster-autoscaler.kubernetes.io/scale-down-disabled';
    const BALANCER = 'node.kubernetes.io/exclude-from-external-load-balancers';
    const OUTDATED = { key: 'treeline.dev/outdated', effect: 'PreferNoSchedule' };
    const FOREIGN = { key: 'gpu', effect: 'NoSchedule' };
    const marks = (value: string | null, ours: string | null): Json => ({
      annotations: { [AUTOSCALER]: value, 'treeline.dev/marks': ours },
      labels: { [BALANCER]: value },
    });
    const both = `${AUTOSCALER},${BALANCER}`;

    it('can put the marks of a slot on it, recorded as its own, and take them off again', async () => {
      await check(['', patch(NODE_PATH, { metadata: marks('true', both) }), 200]);
      await check(['', patch(NODE_PATH, { metadata: marks(null, null) }), 200]);
    });

    it('cannot put a mark on it without a record', () =>
      check(['', patch(NODE_PATH, { metadata: marks('true', AUTOSCALER) }), 403, /only if it records it/]));

    it('cannot take off, change or claim a mark that somebody else put there', async () => {
      await must(controlPlane, patch(NODE_PATH, { metadata: marks('mine', null) }));
      await check(['', patch(NODE_PATH, { metadata: marks(null, null) }), 403, /remove only one that is recorded/]);
      await check(['', patch(NODE_PATH, { metadata: { labels: { [BALANCER]: 'x' } } }), 403, metadata]);
      const claim = { annotations: { 'treeline.dev/marks': both } };
      await check(['', patch(NODE_PATH, { metadata: claim }), 403, /may not claim a mark/]);
      await must(controlPlane, patch(NODE_PATH, { metadata: marks(null, null) }));
    });

    it('can taint it as outdated and take that taint off, among the taints of others', async () => {
      await must(controlPlane, patch(NODE_PATH, { spec: { taints: [FOREIGN] } }));
      await check(['', patch(NODE_PATH, { spec: { taints: [FOREIGN, OUTDATED] } }), 200]);
      await check(['', patch(NODE_PATH, { spec: { taints: [OUTDATED] } }), 403, spec]);
      await check(['', patch(NODE_PATH, { spec: { taints: [FOREIGN] } }), 200]);
      await must(controlPlane, patch(NODE_PATH, { spec: { taints: [] } }));
    });

    it('can keep pods off it while it is new, and take off what its kubelet registered with', async () => {
      const gate = { key: 'treeline.dev/not-ready', effect: 'NoSchedule' };
      await check(['', patch(NODE_PATH, { spec: { taints: [gate] } }), 200]);
      await check(['', patch(NODE_PATH, { spec: { taints: [] } }), 200]);
      const kubelets = { ...gate, effect: 'NoExecute' };
      await must(controlPlane, patch(NODE_PATH, { spec: { taints: [kubelets] } }));
      await check(['', patch(NODE_PATH, { spec: { taints: [kubelets, OUTDATED] } }), 200]);
      await check(['', patch(NODE_PATH, { spec: { taints: [] } }), 200]);
    });

    const metadata = /may change only its own notes/;
    const spec = /may change only unschedulable/;
    for (const [promise, body, message] of [
      ['add a label', { metadata: { labels: { a: 'b' } } }, metadata],
      ['change a label', { metadata: { labels: { zone: 'b' } } }, metadata],
      ['remove a label', { metadata: { labels: { zone: null } } }, metadata],
      ['add another annotation', { metadata: { annotations: { a: 'b' } } }, metadata],
      ['change another annotation', { metadata: { annotations: { keep: 'you' } } }, metadata],
      ['remove another annotation', { metadata: { annotations: { keep: null } } }, metadata],
      ['add a finalizer', { metadata: { finalizers: ['treeline.dev/stay'] } }, metadata],
      ['add a taint', { spec: { taints: [{ key: 'a', effect: 'NoExecute' }] } }, spec],
      ['keep pods away by its taint', { spec: { taints: [{ ...OUTDATED, effect: 'NoSchedule' }] } }, spec],
      [
        'drive pods off it as new',
        { spec: { taints: [{ key: 'treeline.dev/not-ready', effect: 'NoExecute' }] } },
        spec,
      ],
      ['name its provider', { spec: { providerID: 'cloud://1' } }, spec],
    ] as const) {
      it(`cannot ${promise}`, () => check(['', patch(NODE_PATH, body), 403, message]));
    }
  });
});
