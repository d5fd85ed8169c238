/** Checks over real objects of a real API server, with the operator's own ServiceAccount and what is bound to it. */
import assert from 'node:assert/strict';
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { clearCluster, sharedControlPlane } from '../../testbed/shared-control-plane.ts';
import { OS_IMAGES, must } from './crd-objects.ts';
import {
  createRefuge,
  eventually,
  readNodeOS,
  readOSImage,
  startOperator,
  waitUntilReady,
} from './operator-harness.ts';
import { SimulatedNode } from './simulated-node.ts';
import { SimulatedRegistry } from './simulated-registry.ts';

const POOL = { pool: 'check-test' };
const OLD = `sha256:${'0'.repeat(64)}`;
const DEPLOYMENTS = '/apis/apps/v1/namespaces/default/deployments';
const WEB = { apiVersion: 'apps/v1', kind: 'Deployment', namespace: 'default', name: 'web' };
const CHECK = {
  name: 'web',
  when: ['BeforeRollout', 'BeforeNode'],
  object: WEB,
  expression: 'object.spec.replicas >= 3',
  message: 'The shop is down.',
};
const SETTLED = {
  name: 'settled',
  when: ['AfterNode'],
  object: WEB,
  expression: "has(object.metadata.labels) && 'settled' in object.metadata.labels",
};

describe('a health check', function () {
  this.timeout(120_000);
  let controlPlane: ControlPlane;
  let registry: SimulatedRegistry;
  let digest: string;
  let disposals: AsyncDisposable[];
  let roles: string[];

  before(async () => {
    controlPlane = await sharedControlPlane();
  });
  beforeEach(async () => {
    registry = await new SimulatedRegistry().start();
    digest = registry.push('os', 'v2', '2.0');
    disposals = [registry];
    roles = [];
  });
  afterEach(async () => {
    for (const one of disposals.reverse()) await one[Symbol.asyncDispose]();
    await controlPlane.kubectl(['delete', 'deployment', '--all']);
    if (roles.length > 0) await controlPlane.kubectl(['delete', ...roles]);
    await clearCluster(controlPlane);
  });

  const keep = <T extends AsyncDisposable>(one: T): T => {
    disposals.push(one);
    return one;
  };
  const applyImage = (...checks: readonly object[]) =>
    must(controlPlane, {
      method: 'POST',
      path: OS_IMAGES,
      body: {
        apiVersion: 'treeline.dev/v1alpha1',
        kind: 'OSImage',
        metadata: { name: 'fleet' },
        spec: {
          nodeSelector: { matchLabels: POOL },
          image: { reference: `${registry.host}/os:v2` },
          health: { checks },
        },
      },
    });
  const createDeployment = () => {
    const labels = { app: 'web' };
    const containers = [{ name: 'web', image: 'registry.example/web:1' }];
    // Paused, so that its controller makes no pods.
    const spec = {
      paused: true,
      replicas: 3,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers } },
    };
    const body = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'web' }, spec };
    return must(controlPlane, { method: 'POST', path: DEPLOYMENTS, body });
  };
  const scale = (replicas: number) =>
    must(controlPlane, { method: 'PATCH', path: `${DEPLOYMENTS}/web`, body: { spec: { replicas } } });
  const blocker = (type: string, says: RegExp) =>
    eventually(`${type} says ${String(says)}`, async () => {
      const { blockers = [] } = (await readOSImage(controlPlane, 'fleet')).status ?? {};
      return blockers.find((one) => one.type === type && says.test(one.message));
    });
  const rolloutOf = async (name: string) => (await readNodeOS(controlPlane, name)).status?.rollout;
  /** Runs the commands that a blocker recommends, word for word. */
  const obey = async (message: string) => {
    const [, commands = ''] = message.split('To allow it: ');
    for (const command of commands.split(' && ')) {
      const [kubectl, ...args] = command.split(' ');
      assert.equal(kubectl, 'kubectl');
      await controlPlane.kubectl(args);
      roles.push(`${args[1]}/${args[2] === '-n' ? args[4] : args[2]}`);
    }
  };

  it('is refused without rights, with the commands that give just these, and holds nodes before and after', async () => {
    const node = keep(await SimulatedNode.register(controlPlane, 'c1', POOL, { digest: OLD }));
    await createRefuge(controlPlane);
    await createDeployment();
    keep(await startOperator(controlPlane, registry.host));
    await applyImage(CHECK, SETTLED);
    const { message } = await blocker('CheckForbidden', /deployments\.apps "web" is forbidden: .*To allow it: kubectl/);
    await scale(2);
    await obey(message);
    await blocker(
      'CheckFailed',
      /^No node gets a slot: the check web in spec\.health\.checks is not true\. The shop is down\./,
    );
    assert.deepEqual(node.boots, []);
    assert.equal((await rolloutOf('c1'))?.slotTime, undefined);
    await scale(3);
    await blocker('CheckFailed', /^c1 is back on the image, and keeps its slot: the check settled .* is not true/);
    assert.equal((await rolloutOf('c1'))?.phase, 'Verifying');
    await controlPlane.kubectl(['label', 'deployment', 'web', 'settled=yes']);
    await waitUntilReady(controlPlane, 'fleet', digest);
    assert.deepEqual(node.boots, [digest]);
  });

  it('that fails after the node halts the rollout before the next one', async () => {
    const nodes = [];
    for (const name of ['h1', 'h2'])
      nodes.push(keep(await SimulatedNode.register(controlPlane, name, POOL, { digest: OLD })));
    keep(await startOperator(controlPlane, registry.host));
    // Pods the operator may list anyway.
    const object = { apiVersion: 'v1', kind: 'Pod', namespace: 'default' };
    const about = 'objects.exists(p, p.metadata.name == node.name)';
    await applyImage({ name: 'pods', when: ['AfterNode'], object, expression: about, timeoutSeconds: 1 });
    await blocker('Unhealthy', /waits for the check pods to be true/);
    await blocker('RolloutHalted', /Unhealthy: h\d/);
    assert.equal(nodes.flatMap(({ boots }) => boots).length, 1);
  });

  it('that an image has broken does not keep the fleet from going back from that image', async () => {
    const nodes: SimulatedNode[] = [];
    for (const name of ['r1', 'r2'])
      nodes.push(keep(await SimulatedNode.register(controlPlane, name, POOL, { digest: OLD })));
    keep(await startOperator(controlPlane, registry.host));
    const bad = registry.push('os', 'v3', '3.0');
    // False for as long as any node runs it, also while that node is on its way back.
    const expression = `objects.all(o, !has(o.status) || !has(o.status.host) || o.status.host.booted.digest != '${bad}')`;
    const object = { apiVersion: 'treeline.dev/v1alpha1', kind: 'NodeOS' };
    const when = ['BeforeRollout', 'BeforeNode', 'AfterNode'];
    await applyImage({ name: 'shop', when, object, expression, timeoutSeconds: 1 });
    await waitUntilReady(controlPlane, 'fleet', digest);
    const spec = { image: { reference: `${registry.host}/os:v3` }, rollout: { onFailure: 'RollBack' } };
    await must(controlPlane, { method: 'PATCH', path: `${OS_IMAGES}/fleet`, body: { spec } });
    const status = await eventually('all are back', async () => {
      const image = await readOSImage(controlPlane, 'fleet');
      const back = image.status?.conditions?.find(({ type }) => type === 'RollingBack');
      return back?.reason === 'RolledBack' && image.status;
    });
    assert.deepEqual(
      status.quarantinedDigests?.map(({ digest: one, reason }) => [one, reason]),
      [[bad, 'Unhealthy']],
    );
    assert.deepEqual(
      nodes.map(({ bootedDigest }) => bootedDigest),
      [digest, digest],
    );
    assert.equal(nodes.flatMap(({ boots }) => boots).filter((one) => one === bad).length, 1, 'one node has tried it');
  });

  it('whose expression is none is told, and so is a kind that nobody serves', async () => {
    keep(await SimulatedNode.register(controlPlane, 'i1', POOL, { digest: OLD }));
    await createRefuge(controlPlane);
    keep(await startOperator(controlPlane, registry.host));
    await applyImage({ ...CHECK, expression: 'object.status.' });
    await blocker('CheckInvalid', /spec\.health\.checks\[web\]\.expression cannot be used \(/);
    const checks = [{ ...CHECK, object: { ...WEB, kind: 'Circus' } }];
    await must(controlPlane, { method: 'PATCH', path: `${OS_IMAGES}/fleet`, body: { spec: { health: { checks } } } });
    await blocker('CheckFailed', /cannot be told\. The shop is down\. The API server serves no Circus in apps\/v1\./);
  });

  it('may read what ClusterRoles with the label for it name, and nothing else', async () => {
    const manifest = 'manifests/optional/operator-reads-for-checks.yaml';
    const role = 'shop-for-treeline';
    const as = '--as=system:serviceaccount:treeline-system:treeline-operator';
    const may = (resource: string) =>
      controlPlane.kubectl(['auth', 'can-i', 'get', resource, as]).then(
        () => true,
        () => false,
      );
    await controlPlane.kubectl(['apply', '-f', manifest]);
    roles.push('clusterrole/treeline-operator-reads-for-checks');
    roles.push('clusterrolebinding/treeline-operator-reads-for-checks', `clusterrole/${role}`);
    await controlPlane.kubectl(['create', 'clusterrole', role, '--verb=get,list', '--resource=deployments.apps']);
    assert.equal(await may('deployments.apps'), false, 'nothing without the label');
    await controlPlane.kubectl(['label', 'clusterrole', role, 'treeline.dev/read-for-checks=true']);
    await eventually('it may read what is named', () => may('deployments.apps'));
    assert.equal(await may('daemonsets.apps'), false);
  });
});
