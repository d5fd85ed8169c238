/** What an agent may do with the credentials that the manifests give it: report on its own node, and nothing else. */
import assert from 'node:assert/strict';
import { agentToken, AGENT_ACCOUNT, operatorToken } from '../../testbed/control-plane-treeline.ts';
import type { ApiCall } from '../../testbed/control-plane-client.ts';
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { sharedControlPlane } from '../../testbed/shared-control-plane.ts';
import { must, NODE_OSES, nodeOS, OS_IMAGES, osImage, type Json } from './crd-objects.ts';

const OWN = 'rbac-agent-a';
const OTHER = 'rbac-agent-b';
const NAMESPACE = '/api/v1/namespaces/treeline-system';
const SECRETS = `${NAMESPACE}/secrets`;
const PULL_SECRETS_ROLE =
  '/apis/rbac.authorization.k8s.io/v1/namespaces/treeline-system/roles/treeline-agent-pull-secrets';

const HOST = { bootID: 'b1', booted: { checksum: 'c', version: '1' } };
const ROLLOUT = { phase: 'Draining', phaseTime: '2026-11-23T12:00:00Z', slotTime: '2026-11-23T12:00:00Z' };
const CONDITION = {
  type: 'UpToDate',
  status: 'False',
  reason: 'RollingOut',
  message: '',
  lastTransitionTime: '2026-11-23T12:00:00Z',
};
const LAST_ORDER = {
  id: '1',
  result: 'Succeeded',
  reason: 'Staged',
  message: 'staged',
  completionTime: '2026-11-23T12:00:00Z',
};
const PROGRESS = { stage: 'Pulling', layersDone: 1, layersTotal: 2, bytesDone: 1, bytesTotal: 2 };

const rbac = /cannot \w+ resource/;
const notItsOwn = /an agent may write only the NodeOS of its own node; this one runs on rbac-agent-a/;
const notItsField = /an agent may change only host, progress and lastOrder in the status of a NodeOS/;

const patch = (path: string, body: Json): ApiCall => ({ method: 'PATCH', path, body });
const status = (node: string, body: Json): ApiCall => patch(`${NODE_OSES}/${node}/status`, { status: body });

type Row = readonly [action: string, call: ApiCall, code: number, message?: RegExp];

const ALLOWED: readonly Row[] = [
  ['read its own NodeOS', { path: `${NODE_OSES}/${OWN}` }, 200],
  [
    'watch its own NodeOS',
    { path: `${NODE_OSES}?watch=true&timeoutSeconds=1&fieldSelector=metadata.name%3D${OWN}` },
    200,
  ],
  ['read the NodeOS of another node, which RBAC cannot prevent', { path: `${NODE_OSES}/${OTHER}` }, 200],
  ['report its host', status(OWN, { host: { ...HOST, freeBytes: 1 } }), 200],
  ['report its progress', status(OWN, { progress: PROGRESS }), 200],
  ['report that nothing is in progress', status(OWN, { progress: null }), 200],
  ['report how an order ended', status(OWN, { lastOrder: LAST_ORDER }), 200],
];

const REFUSED: readonly Row[] = [
  ['report for another node', status(OTHER, { host: HOST }), 403, notItsOwn],
  [
    'change where its own node is in the rollout',
    status(OWN, { rollout: { ...ROLLOUT, phase: 'Updated' } }),
    403,
    notItsField,
  ],
  ['take its own rollout away', status(OWN, { rollout: null }), 403, notItsField],
  ['change its own conditions', status(OWN, { conditions: [{ ...CONDITION, status: 'True' }] }), 403, notItsField],
  ['take its own conditions away', status(OWN, { conditions: null }), 403, notItsField],
  ['slip a rollout in with a report', status(OWN, { host: HOST, rollout: { podsLeft: 0 } }), 403, notItsField],
  ['write its own order', patch(`${NODE_OSES}/${OWN}`, { spec: { order: { goal: 'Observe' } } }), 403, rbac],
  [
    'approve its own boot for longer',
    patch(`${NODE_OSES}/${OWN}`, { spec: { order: { bootApproval: { notAfter: '2036-01-01T00:00:00Z' } } } }),
    403,
    rbac,
  ],
  ['label its own NodeOS', patch(`${NODE_OSES}/${OWN}`, { metadata: { labels: { a: 'b' } } }), 403, rbac],
  ['delete its own NodeOS', { method: 'DELETE', path: `${NODE_OSES}/${OWN}` }, 403, rbac],
  ['delete every NodeOS', { method: 'DELETE', path: NODE_OSES }, 403, rbac],
  [
    'create a NodeOS',
    { method: 'POST', path: NODE_OSES, body: nodeOS({ metadata: { name: 'rbac-agent-c' } }) },
    403,
    rbac,
  ],
  ['read its own Node', { path: `/api/v1/nodes/${OWN}` }, 403, rbac],
  ['list Nodes', { path: '/api/v1/nodes' }, 403, rbac],
  ['cordon its own Node', patch(`/api/v1/nodes/${OWN}`, { spec: { unschedulable: true } }), 403, rbac],
  ['claim that its Node is Ready', patch(`/api/v1/nodes/${OWN}/status`, { status: {} }), 403, rbac],
  ['list Pods', { path: '/api/v1/pods' }, 403, rbac],
  ['list Pods of its own namespace', { path: `${NAMESPACE}/pods` }, 403, rbac],
  ['create a Pod', { method: 'POST', path: `${NAMESPACE}/pods`, body: {} }, 403, rbac],
  ['evict a Pod', { method: 'POST', path: `${NAMESPACE}/pods/x/eviction`, body: {} }, 403, rbac],
  ['list Secrets', { path: SECRETS }, 403, rbac],
  ['list Secrets everywhere', { path: '/api/v1/secrets' }, 403, rbac],
  ['read a Secret of another namespace', { path: '/api/v1/namespaces/kube-system/secrets/x' }, 403, rbac],
  ['create a Secret', { method: 'POST', path: SECRETS, body: {} }, 403, rbac],
  ['list ConfigMaps', { path: `${NAMESPACE}/configmaps` }, 403, rbac],
  [
    'change the signature policy of the cluster',
    patch(`${NAMESPACE}/configmaps/treeline-signature-policy`, { data: {} }),
    403,
    rbac,
  ],
  ['read an OSImage', { path: `${OS_IMAGES}/rbac-agent` }, 403, rbac],
  ['list OSImages', { path: OS_IMAGES }, 403, rbac],
  ['change an OSImage', patch(`${OS_IMAGES}/rbac-agent`, { spec: { rollout: { maxUnavailable: 100 } } }), 403, rbac],
  ['change the status of an OSImage', patch(`${OS_IMAGES}/rbac-agent/status`, { status: {} }), 403, rbac],
  [
    'read the operator’s Lease',
    { path: '/apis/coordination.k8s.io/v1/namespaces/treeline-system/leases/treeline-operator' },
    403,
    rbac,
  ],
  [
    'create an Event',
    { method: 'POST', path: '/apis/events.k8s.io/v1/namespaces/default/events', body: {} },
    403,
    rbac,
  ],
  ['read its own Role', { path: PULL_SECRETS_ROLE }, 403, rbac],
  ['widen its own Role', patch(PULL_SECRETS_ROLE, { rules: [] }), 403, rbac],
  [
    'ask for another token',
    { method: 'POST', path: `${NAMESPACE}/serviceaccounts/treeline-operator/token`, body: {} },
    403,
    rbac,
  ],
];

function secret(name: string): Json {
  return { apiVersion: 'v1', kind: 'Secret', metadata: { name }, stringData: { '.dockerconfigjson': '{}' } };
}

describe('an agent', () => {
  let controlPlane: ControlPlane;
  let token: string;

  before(async () => {
    controlPlane = await sharedControlPlane();
    for (const name of [OWN, OTHER]) {
      await must(controlPlane, {
        method: 'POST',
        path: '/api/v1/nodes',
        body: { apiVersion: 'v1', kind: 'Node', metadata: { name } },
      });
      await must(controlPlane, { method: 'POST', path: NODE_OSES, body: nodeOS({ metadata: { name } }) });
      await must(controlPlane, status(name, { host: HOST, rollout: ROLLOUT, conditions: [CONDITION] }));
    }
    await must(controlPlane, { method: 'POST', path: OS_IMAGES, body: osImage({ metadata: { name: 'rbac-agent' } }) });
    token = await agentToken(controlPlane, OWN);
  });

  after(async () => {
    for (const name of [OWN, OTHER]) {
      await controlPlane?.call({ method: 'DELETE', path: `${NODE_OSES}/${name}` });
      await controlPlane?.call({ method: 'DELETE', path: `/api/v1/nodes/${name}` });
    }
    await controlPlane?.call({ method: 'DELETE', path: `${OS_IMAGES}/rbac-agent` });
  });

  async function check([, call, code, message]: Row, as: string): Promise<void> {
    const answer = await controlPlane.call({ ...call, token: as });
    assert.equal(answer.code, code, answer.message);
    if (message !== undefined) assert.match(answer.message, message);
  }

  for (const row of ALLOWED) it(`can ${row[0]}`, () => check(row, token));
  for (const row of REFUSED) it(`cannot ${row[0]}`, () => check(row, token));

  it('can replace the whole status when it leaves the operator’s part as it is', async () => {
    const path = `${NODE_OSES}/${OWN}`;
    const { body } = await must(controlPlane, { path });
    const next = { ...body, status: { ...(body['status'] as Json), host: { ...HOST, bootID: 'b2' } } };
    const answer = await controlPlane.call({ method: 'PUT', path: `${path}/status`, body: next, token });
    assert.equal(answer.code, 200, answer.message);
  });

  it('can apply its part of the status server-side, without owning the rest', async () => {
    const answer = await controlPlane.call({
      method: 'PATCH',
      path: `${NODE_OSES}/${OWN}/status?fieldManager=treeline-agent&force=true`,
      contentType: 'application/apply-patch+yaml',
      body: { apiVersion: 'treeline.dev/v1alpha1', kind: 'NodeOS', metadata: { name: OWN }, status: { host: HOST } },
      token,
    });
    assert.equal(answer.code, 200, answer.message);
    assert.deepEqual((answer.body['status'] as Json)['rollout'], ROLLOUT);
  });

  it('changes no spec and no metadata by way of the status', async () => {
    const path = `${NODE_OSES}/${OWN}`;
    const before = await must(controlPlane, { path });
    const answer = await controlPlane.call({
      ...patch(`${path}/status`, {
        spec: { order: { goal: 'Discard' } },
        metadata: { labels: { sneaked: 'in' }, annotations: { sneaked: 'in' }, finalizers: ['treeline.dev/sneaked'] },
        status: { host: { ...HOST, bootID: 'b3' } },
      }),
      token,
    });
    const after = await must(controlPlane, { path });
    assert.deepEqual(after.body['spec'], before.body['spec'], `the answer was ${answer.code}`);
    const { labels, annotations, finalizers } = after.body['metadata'] as Json;
    assert.deepEqual([labels, annotations, finalizers], [undefined, undefined, undefined]);
  });

  it('is refused with a token that names no node', async () => {
    const unbound = await controlPlane.tokenFor(AGENT_ACCOUNT);
    await check(['', status(OWN, { host: HOST }), 403, /the token of the agent names no node/], unbound);
  });

  it('is known by the node of the Pod it runs in, and only while that Pod exists', async () => {
    const path = `${NAMESPACE}/pods`;
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'rbac-agent' },
      spec: {
        serviceAccountName: AGENT_ACCOUNT.name,
        nodeName: OWN,
        containers: [{ name: 'agent', image: 'registry.treeline.dev/treeline' }],
      },
    };
    await must(controlPlane, { method: 'POST', path, body: pod });
    const bound = await controlPlane.tokenFor(AGENT_ACCOUNT, { pod: 'rbac-agent' });
    await check(['', status(OWN, { host: HOST }), 200], bound);
    await check(['', status(OTHER, { host: HOST }), 403, notItsOwn], bound);
    await must(controlPlane, { method: 'DELETE', path: `${path}/rbac-agent?gracePeriodSeconds=0` });
    let code = 200;
    for (let attempt = 0; attempt < 300 && code !== 401; attempt++) {
      // The API server remembers a good token for ten seconds.
      await new Promise((resolve) => setTimeout(resolve, 200));
      code = (await controlPlane.call({ ...status(OWN, { host: HOST }), token: bound })).code;
    }
    assert.equal(code, 401);
  });

  it('reads a pull Secret exactly while the operator lists it by name', async () => {
    const operator = await operatorToken(controlPlane);
    for (const name of ['rbac-listed', 'rbac-unlisted']) {
      await must(controlPlane, { method: 'POST', path: SECRETS, body: secret(name) });
    }
    const list = async (names: readonly string[]): Promise<void> => {
      const role = await must(controlPlane, { path: PULL_SECRETS_ROLE, token: operator });
      const rules =
        names.length === 0 ? [] : [{ apiGroups: [''], resources: ['secrets'], resourceNames: names, verbs: ['get'] }];
      await must(controlPlane, {
        method: 'PUT',
        path: PULL_SECRETS_ROLE,
        token: operator,
        body: { ...role.body, rules },
      });
    };
    const codeOf = async (name: string): Promise<number> =>
      (await controlPlane.call({ path: `${SECRETS}/${name}`, token })).code;
    const becomes = async (name: string, wanted: number): Promise<void> => {
      // The authorizer learns of a changed Role through its own watch.
      for (let attempt = 0; attempt < 600 && (await codeOf(name)) !== wanted; attempt++) {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      assert.equal(await codeOf(name), wanted);
    };
    try {
      assert.equal(await codeOf('rbac-listed'), 403);
      await list(['rbac-listed']);
      await becomes('rbac-listed', 200);
      assert.equal(await codeOf('rbac-unlisted'), 403);
      await check(['', patch(`${SECRETS}/rbac-listed`, { stringData: { a: 'b' } }), 403, rbac], token);
      await list([]);
      await becomes('rbac-listed', 403);
    } finally {
      await list([]);
      for (const name of ['rbac-listed', 'rbac-unlisted']) {
        await controlPlane.call({ method: 'DELETE', path: `${SECRETS}/${name}` });
      }
    }
  });
});
