/** Whoever is not the operator, the agent of the node or an emergency leaves a NodeOS as it is, whatever RBAC allows them. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { ApiCall } from '../../testbed/control-plane-client.ts';
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { sharedControlPlane } from '../../testbed/shared-control-plane.ts';
import { must, NODE_OSES, nodeOS, type Json } from './crd-objects.ts';
import { eventually } from './operator-harness.ts';

const NODE = 'by-hand';
const PATH = `${NODE_OSES}/${NODE}`;
const BREAK_GLASS = join(import.meta.dirname, '..', '..', 'manifests', 'optional', 'break-glass.yaml');
const CLUSTER_ROLE_BINDINGS = '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings';

/** May do anything that RBAC can allow. */
const ADMINISTRATOR = { user: 'alice', group: 'system:masters' };
/** As the garbage collector is called where each controller has no account of its own. */
const ALL_CONTROLLERS = { user: 'system:kube-controller-manager', group: 'system:masters' };
const EMERGENCY = { user: 'treeline:break-glass', group: 'treeline:break-glass' };

const patch = (path: string, body: Json): ApiCall => ({ method: 'PATCH', path, body });
const another = nodeOS({ metadata: { name: 'by-hand-2' } });
const ORDER = { spec: { order: { goal: 'Discard' } } };
const ROLLOUT = { status: { rollout: { phase: 'Draining', phaseTime: '2026-11-23T12:00:00Z' } } };
const HOST = { status: { host: { bootID: 'forged' } } };

type Row = readonly [action: string, call: ApiCall, code: number, message?: RegExp];

const REFUSED: readonly Row[] = [
  ['make a NodeOS', { method: 'POST', path: NODE_OSES, body: another }, 403, /only the operator makes a NodeOS/],
  [
    'make a NodeOS by applying it',
    {
      method: 'PATCH',
      path: `${NODE_OSES}/by-hand-2?fieldManager=alice`,
      contentType: 'application/apply-patch+yaml',
      body: another,
    },
    403,
    /only the operator makes a NodeOS/,
  ],
  ['change an order', patch(PATH, ORDER), 403, /change the OSImage instead/],
  ['take an order away', patch(PATH, { spec: { order: null } }), 403, /change the OSImage instead/],
  ['say that it is the order of another OSImage', patch(PATH, { spec: { imageName: 'x' } }), 403, /change the OSImage/],
  [
    'approve a boot for longer',
    patch(PATH, { spec: { order: { bootApproval: { notAfter: '2036-01-01T00:00:00Z' } } } }),
    403,
    /change the OSImage instead/,
  ],
  ['keep it from being deleted', patch(PATH, { metadata: { finalizers: ['example.com/stay'] } }), 403, /finalizers/],
  ['give it another owner', patch(PATH, { metadata: { ownerReferences: [] } }), 403, /goes with its Node/],
  ['delete it', { method: 'DELETE', path: PATH }, 403, /only the operator deletes a NodeOS/],
  ['delete all of them', { method: 'DELETE', path: NODE_OSES }, 403, /only the operator deletes a NodeOS/],
  ['give its node a slot', patch(`${PATH}/status`, ROLLOUT), 403, /what the operator and the agent of its node say/],
  ['report for its host', patch(`${PATH}/status`, HOST), 403, /what the operator and the agent of its node say/],
];

const ALLOWED: readonly Row[] = [
  ['read it', { path: PATH }, 200],
  ['label and annotate it', patch(PATH, { metadata: { labels: { a: 'b' }, annotations: { c: 'd' } } }), 200],
  ['write it back as it is, as a migration of stored versions does', patch(PATH, {}), 200],
];

const IN_AN_EMERGENCY: readonly Row[] = [
  ['change an order', patch(PATH, ORDER), 200],
  ['change what the operator has noted', patch(`${PATH}/status`, ROLLOUT), 200],
  ['make a NodeOS', { method: 'POST', path: NODE_OSES, body: another }, 201],
  ['delete a NodeOS', { method: 'DELETE', path: `${NODE_OSES}/by-hand-2` }, 200],
];

describe('a NodeOS', () => {
  let controlPlane: ControlPlane;
  let node: Json;

  const ownedByItsNode = () => {
    const { uid } = node['metadata'] as Json;
    return nodeOS({ metadata: { name: NODE, ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: NODE, uid }] } });
  };

  before(async () => {
    controlPlane = await sharedControlPlane();
    const body = { apiVersion: 'v1', kind: 'Node', metadata: { name: NODE } };
    node = (await must(controlPlane, { method: 'POST', path: '/api/v1/nodes', body })).body;
    await must(controlPlane, { method: 'POST', path: NODE_OSES, body: ownedByItsNode() });
    await controlPlane.kubectl(['apply', '-f', BREAK_GLASS]);
    // The API server takes up a policy, and a role, by watches of its own.
    await eventually('the policy is enforced', async () => {
      const probe = { ...patch(`${PATH}?dryRun=All`, ORDER), as: ADMINISTRATOR };
      return (await controlPlane.call(probe)).code === 403;
    });
  });

  after(async () => {
    await controlPlane?.kubectl(['delete', '--ignore-not-found', '-f', BREAK_GLASS]);
    for (const path of [PATH, `${NODE_OSES}/by-hand-2`, `/api/v1/nodes/${NODE}`, `${CLUSTER_ROLE_BINDINGS}/by-hand`])
      await controlPlane?.call({ method: 'DELETE', path });
  });

  async function check([, call, code, message]: Row, as: NonNullable<ApiCall['as']>): Promise<void> {
    const answer = await controlPlane.call({ ...call, as });
    assert.equal(answer.code, code, answer.message);
    if (message !== undefined) assert.match(answer.message, message);
    if (code === 403 && message !== undefined) assert.match(answer.message, /treeline-node-os-operator-only/);
  }

  for (const row of REFUSED) it(`does not let the cluster’s administrator ${row[0]}`, () => check(row, ADMINISTRATOR));
  for (const row of ALLOWED) it(`lets the cluster’s administrator ${row[0]}`, () => check(row, ADMINISTRATOR));
  it('does not let the other controllers change an order, whatever they may delete', () =>
    check(['', patch(PATH, ORDER), 403, /change the OSImage/], ALL_CONTROLLERS));
  it('lets the controllers delete it where they have one account', () =>
    check(['', { method: 'DELETE', path: `${PATH}?dryRun=All` }, 200], ALL_CONTROLLERS));

  for (const row of IN_AN_EMERGENCY) {
    it(`lets the break-glass group ${row[0]}, with no more rights than on NodeOSes`, () => check(row, EMERGENCY));
  }
  it('gives the break-glass group nothing else', () => check(['', { path: '/api/v1/secrets' }, 403], EMERGENCY));

  it('is written in an emergency by those only to whom it was given to impersonate the group', async () => {
    const account = { namespace: 'default', name: 'by-hand' };
    const accounts = '/api/v1/namespaces/default/serviceaccounts';
    await must(controlPlane, { method: 'POST', path: accounts, body: { metadata: { name: account.name } } });
    try {
      const token = await controlPlane.tokenFor(account);
      const emergency: ApiCall = { ...patch(PATH, { metadata: { labels: { a: 'c' } } }), as: EMERGENCY, token };
      const refused = await controlPlane.call(emergency);
      assert.equal(refused.code, 403);
      assert.match(refused.message, /cannot impersonate/);
      const binding = {
        metadata: { name: 'by-hand' },
        roleRef: {
          apiGroup: 'rbac.authorization.k8s.io',
          kind: 'ClusterRole',
          name: 'treeline-break-glass-impersonator',
        },
        subjects: [{ kind: 'ServiceAccount', ...account }],
      };
      await must(controlPlane, { method: 'POST', path: CLUSTER_ROLE_BINDINGS, body: binding });
      await eventually('it may impersonate the group', async () => (await controlPlane.call(emergency)).code === 200);
      const masters = { ...emergency, as: { user: EMERGENCY.user, group: 'system:masters' } };
      assert.equal((await controlPlane.call(masters)).code, 403);
    } finally {
      await controlPlane.call({ method: 'DELETE', path: `${accounts}/${account.name}` });
    }
  });

  it('goes with its Node all the same', async () => {
    await must(controlPlane, { method: 'DELETE', path: `/api/v1/nodes/${NODE}` });
    await eventually('the garbage collector has deleted it', async () => {
      return (await controlPlane.call({ path: PATH })).code === 404;
    });
  });
});
