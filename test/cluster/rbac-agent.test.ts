/**
 * What an agent may do with the token that the manifests give it: report on its own node, and nothing else. Verb by resource
 * by node, and field by field, each asked of the API server itself.
 */
import assert from 'node:assert/strict';
import { agentToken, AGENT_ACCOUNT } from '../../testbed/control-plane-treeline.ts';
import type { ApiCall } from '../../testbed/control-plane-client.ts';
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { sharedControlPlane } from '../../testbed/shared-control-plane.ts';
import { must, NODE_OSES, nodeOS, OS_IMAGES, osImage, type Json } from './crd-objects.ts';

const OWN = 'rbac-agent-a';
const OTHER = 'rbac-agent-b';
const NAMESPACE = '/api/v1/namespaces/treeline-system';
const SECRETS = `${NAMESPACE}/secrets`;

const SECRET_OF_OWN = 'rbac-agent-own';
const SECRET_OF_OTHER = 'rbac-agent-other';
const KEY = `${'A'.repeat(42)}E=`;
const BY_NAME = (name: string): string => `fieldSelector=metadata.name%3D${name}`;

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

const VERBS = ['get', 'list', 'watch', 'create', 'update', 'patch', 'delete', 'deletecollection'] as const;
const RBAC = '/apis/rbac.authorization.k8s.io/v1';
const LEASES = '/apis/coordination.k8s.io/v1/namespaces/treeline-system/leases';
const EVENTS = '/apis/events.k8s.io/v1/namespaces/default/events';

/**
 * Verb by resource by node: the code of the answer. A list or watch is of the one object by its name, as agents ask; `-` is
 * what the API has not. Both nodes' orders name a pull Secret, each its own.
 */
const TABLE: readonly (readonly [resource: string, collection: string, name: string, sub: string, codes: string])[] = [
  //                                                                        get list watch create update patch delete all
  ["its own node's NodeOS", NODE_OSES, OWN, '', '                           200 200 200 403 403 403 403 403'],
  ["another node's NodeOS", NODE_OSES, OTHER, '', '                         200 200 200 403 403 403 403 403'],
  ['a NodeOS that is not there', NODE_OSES, 'rbac-agent-c', '', '           404 200 200 403 403 403 403 403'],
  ["its own node's NodeOS status", NODE_OSES, OWN, '/status', '             200 - - 403 200 200 403 -'],
  ["another node's NodeOS status", NODE_OSES, OTHER, '/status', '           200 - - 403 403 403 403 -'],
  ['its own Node', '/api/v1/nodes', OWN, '', '                              403 403 403 403 403 403 403 403'],
  ['another Node', '/api/v1/nodes', OTHER, '', '                            403 403 403 403 403 403 403 403'],
  ['the status of its own Node', '/api/v1/nodes', OWN, '/status', '         403 - - 403 403 403 403 -'],
  ['the kubelet of its own Node', '/api/v1/nodes', OWN, '/proxy', '         403 - - 403 403 403 403 -'],
  ['the pull Secret of its own order', SECRETS, SECRET_OF_OWN, '', '        403 403 403 403 403 403 403 403'],
  ["the pull Secret of another node's order", SECRETS, SECRET_OF_OTHER, '', '403 403 403 403 403 403 403 403'],
  ['a Secret that is not there', SECRETS, 'nothing', '', '                  403 403 403 403 403 403 403 403'],
  ['a Secret of kube-system', '/api/v1/namespaces/kube-system/secrets', 'x', '', '403 403 403 403 403 403 403 403'],
  ['a Pod beside it', `${NAMESPACE}/pods`, 'x', '', '                       403 403 403 403 403 403 403 403'],
  ['a Pod elsewhere', '/api/v1/namespaces/default/pods', 'x', '', '         403 403 403 403 403 403 403 403'],
  ['the log of a Pod', `${NAMESPACE}/pods`, 'x', '/log', '                  403 - - 403 403 403 403 -'],
  ['a command in a Pod', `${NAMESPACE}/pods`, 'x', '/exec', '               403 - - 403 403 403 403 -'],
  ['the eviction of a Pod', `${NAMESPACE}/pods`, 'x', '/eviction', '        403 - - 403 403 403 403 -'],
  ['a ConfigMap', `${NAMESPACE}/configmaps`, 'treeline-signature-policy', '', '403 403 403 403 403 403 403 403'],
  ['an OSImage', OS_IMAGES, 'rbac-agent', '', '                             403 403 403 403 403 403 403 403'],
  ['the status of an OSImage', OS_IMAGES, 'rbac-agent', '/status', '        403 - - 403 403 403 403 -'],
  ['an OSImageBuild', OS_IMAGES.replace('osimages', 'osimagebuilds'), 'x', '', '403 403 403 403 403 403 403 403'],
  ['the operator’s Lease', LEASES, 'treeline-operator', '', '               403 403 403 403 403 403 403 403'],
  ['an Event', EVENTS, 'x', '', '                                           403 403 403 403 403 403 403 403'],
  ['a Role', `${RBAC}/namespaces/treeline-system/roles`, 'x', '', '         403 403 403 403 403 403 403 403'],
  ['a RoleBinding', `${RBAC}/namespaces/treeline-system/rolebindings`, 'x', '', '403 403 403 403 403 403 403 403'],
  ['its own ClusterRole', `${RBAC}/clusterroles`, 'treeline-agent', '', '   403 403 403 403 403 403 403 403'],
  ['its ServiceAccount', `${NAMESPACE}/serviceaccounts`, 'treeline-agent', '', '403 403 403 403 403 403 403 403'],
  ['a token of its own', `${NAMESPACE}/serviceaccounts`, 'treeline-agent', '/token', '403 - - 403 403 403 403 -'],
  ["the operator's token", `${NAMESPACE}/serviceaccounts`, 'treeline-operator', '/token', '403 - - 403 403 403 403 -'],
];

/** Every Secret, Pod and Node of the cluster at once. */
const EVERYWHERE = ['/api/v1/secrets', '/api/v1/pods', '/api/v1/nodes', SECRETS, `${NAMESPACE}/pods`];

const ALLOWED: readonly Row[] = [
  ['watch its own NodeOS as agents do', { path: `${NODE_OSES}?${BY_NAME(OWN)}&watch=true&timeoutSeconds=1` }, 200],
  ['report its host', status(OWN, { host: { ...HOST, freeBytes: 1 } }), 200],
  [
    'report the key that credentials are to be sealed for',
    status(OWN, { host: { ...HOST, credentialsKey: KEY } }),
    200,
  ],
  ['report its progress', status(OWN, { progress: PROGRESS }), 200],
  ['report that nothing is in progress', status(OWN, { progress: null }), 200],
  ['report how an order ended', status(OWN, { lastOrder: LAST_ORDER }), 200],
];

const notSchema = /Invalid value|Too long|should match/;

const REFUSED: readonly Row[] = [
  ['report for another node', status(OTHER, { host: HOST }), 403, notItsOwn],
  ['put its key where that of another node stands', status(OTHER, { host: { credentialsKey: KEY } }), 403, notItsOwn],
  ['report a key that is none', status(OWN, { host: { ...HOST, credentialsKey: 'mine' } }), 422, notSchema],
  ['report a key of a megabyte', status(OWN, { host: { ...HOST, credentialsKey: 'A'.repeat(1e6) } }), 422, notSchema],
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
  ['give itself credentials', patch(`${NODE_OSES}/${OWN}`, { spec: { pullCredentials: { key: KEY } } }), 403, rbac],
  ['label its own NodeOS', patch(`${NODE_OSES}/${OWN}`, { metadata: { labels: { a: 'b' } } }), 403, rbac],
];

function secret(name: string): Json {
  return { apiVersion: 'v1', kind: 'Secret', metadata: { name }, stringData: { '.dockerconfigjson': '{}' } };
}

describe('an agent', () => {
  let controlPlane: ControlPlane;
  let token: string;

  before(async () => {
    controlPlane = await sharedControlPlane();
    for (const [name, pullSecret] of [
      [OWN, SECRET_OF_OWN],
      [OTHER, SECRET_OF_OTHER],
    ] as const) {
      await must(controlPlane, {
        method: 'POST',
        path: '/api/v1/nodes',
        body: { apiVersion: 'v1', kind: 'Node', metadata: { name } },
      });
      await must(controlPlane, { method: 'POST', path: SECRETS, body: secret(pullSecret) });
      const spec = { order: { pullSecretRef: { name: pullSecret } } };
      await must(controlPlane, { method: 'POST', path: NODE_OSES, body: nodeOS({ metadata: { name }, spec }) });
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
    for (const name of [SECRET_OF_OWN, SECRET_OF_OTHER])
      await controlPlane?.call({ method: 'DELETE', path: `${SECRETS}/${name}` });
  });

  async function check([, call, code, message]: Row, as: string): Promise<void> {
    const answer = await controlPlane.call({ ...call, token: as });
    assert.equal(answer.code, code, answer.message);
    if (message !== undefined) assert.match(answer.message, message);
  }

  /** The request for one cell of the table; of what the agent may write, one that changes nothing but its own. */
  async function requestFor(verb: (typeof VERBS)[number], collection: string, name: string, sub: string) {
    const item = `${collection}/${name}${sub}`;
    const isStatus = collection === NODE_OSES && sub === '/status';
    const held = isStatus && verb === 'update' ? (await must(controlPlane, { path: item })).body : {};
    const host = { host: { ...HOST, freeBytes: 2 } };
    const calls: Readonly<Record<(typeof VERBS)[number], ApiCall>> = {
      get: { path: item },
      list: { path: `${collection}?${BY_NAME(name)}` },
      watch: { path: `${collection}?${BY_NAME(name)}&watch=true&timeoutSeconds=1` },
      create: { method: 'POST', path: sub === '' ? collection : item, body: {} },
      update: { method: 'PUT', path: item, body: { ...held, status: { ...(held['status'] as Json), ...host } } },
      patch: patch(item, isStatus ? { status: host } : {}),
      delete: { method: 'DELETE', path: item },
      deletecollection: { method: 'DELETE', path: `${collection}?${BY_NAME(name)}` },
    };
    return calls[verb];
  }

  for (const [resource, collection, name, sub, expected] of TABLE) {
    it(`gets for each verb on ${resource} the code in the table`, async () => {
      const codes = expected.trim().split(/\s+/);
      assert.equal(codes.length, VERBS.length);
      const got: Record<string, string> = {};
      for (const [index, verb] of VERBS.entries()) {
        if (codes[index] === '-') continue;
        const answer = await controlPlane.call({ ...(await requestFor(verb, collection, name, sub)), token });
        got[verb] = String(answer.code);
      }
      const wanted = VERBS.flatMap((verb, index) => (codes[index] === '-' ? [] : [[verb, codes[index]] as const]));
      assert.deepEqual(got, Object.fromEntries(wanted));
    });
  }

  for (const path of EVERYWHERE) it(`cannot list ${path}`, () => check(['', { path }, 403, rbac], token));

  it('holds no right on Secrets by any Role, whatever the names of the Secrets', async () => {
    const review = { apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectRulesReview' };
    const path = '/apis/authorization.k8s.io/v1/selfsubjectrulesreviews';
    const body = { ...review, spec: { namespace: 'treeline-system' } };
    const answer = await must(controlPlane, { method: 'POST', path, body, token });
    const { resourceRules } = answer.body['status'] as { resourceRules: readonly { resources: readonly string[] }[] };
    const resources = resourceRules.flatMap((rule) => rule.resources);
    assert.ok(resources.includes('nodeoses'));
    assert.deepEqual(
      resources.filter((resource) => /secret|pod|^node$|^nodes|\*/.test(resource)),
      [],
    );
  });

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
});
