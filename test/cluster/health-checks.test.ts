/** Checks over real objects of a real API server, with the operator's own ServiceAccount and what is bound to it. */
import assert from 'node:assert/strict';
import { OS_IMAGES, must } from './crd-objects.ts';
import { createRefuge, eventually, readOSImage, waitUntilReady } from './operator-harness.ts';
import { Pool } from './pool.ts';

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

describe('a health check', () => {
  const pool = new Pool('check-test');
  let roles: string[];
  beforeEach(() => {
    roles = [];
  });
  afterEach(async () => {
    await pool.controlPlane.kubectl(['delete', 'deployment', '--all']);
    if (roles.length > 0) await pool.controlPlane.kubectl(['delete', ...roles]);
  });
  const applyImage = (...checks: readonly object[]) => pool.applyImage({ health: { checks } });

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
    return must(pool.controlPlane, { method: 'POST', path: DEPLOYMENTS, body });
  };
  const scale = (replicas: number) =>
    must(pool.controlPlane, { method: 'PATCH', path: `${DEPLOYMENTS}/web`, body: { spec: { replicas } } });
  /** Runs the commands that a blocker recommends, word for word. */
  const obey = async (message: string) => {
    const [, commands = ''] = message.split('To allow it: ');
    for (const command of commands.split(' && ')) {
      const [kubectl, ...args] = command.split(' ');
      assert.equal(kubectl, 'kubectl');
      await pool.controlPlane.kubectl(args);
      roles.push(`${args[1]}/${args[2] === '-n' ? args[4] : args[2]}`);
    }
  };

  it('is refused without rights, with the commands that give just these, and holds nodes before and after', async () => {
    const node = await pool.registerNode('c1');
    await createRefuge(pool.controlPlane);
    await createDeployment();
    await pool.startOperator();
    await applyImage(CHECK, SETTLED);
    const { message } = await pool.blocker(
      /deployments\.apps "web" is forbidden: .*To allow it: kubectl/,
      'CheckForbidden',
    );
    await scale(2);
    await obey(message);
    await pool.blocker(
      /^No node gets a slot: the check web in spec\.health\.checks is not true\. The shop is down\./,
      'CheckFailed',
    );
    assert.deepEqual(node.boots, []);
    assert.equal((await pool.rolloutOf('c1'))?.slotTime, undefined);
    await scale(3);
    await pool.blocker(/^c1 is back on the image, and keeps its slot: the check settled .* is not true/, 'CheckFailed');
    assert.equal((await pool.rolloutOf('c1'))?.phase, 'Verifying');
    await pool.controlPlane.kubectl(['label', 'deployment', 'web', 'settled=yes']);
    await waitUntilReady(pool.controlPlane, 'fleet', pool.digest);
    assert.deepEqual(node.boots, [pool.digest]);
  });

  it('that fails after the node halts the rollout before the next one', async () => {
    const nodes = await pool.registerNodes('h1', 'h2');
    await pool.startOperator();
    // Pods the operator may list anyway.
    const object = { apiVersion: 'v1', kind: 'Pod', namespace: 'default' };
    const about = 'objects.exists(p, p.metadata.name == node.name)';
    await applyImage({ name: 'pods', when: ['AfterNode'], object, expression: about, timeoutSeconds: 1 });
    await pool.blocker(/waits for the check pods to be true/, 'Unhealthy');
    await pool.blocker(/Unhealthy: h\d/, 'RolloutHalted');
    assert.equal(nodes.flatMap(({ boots }) => boots).length, 1);
  });

  it('that an image has broken does not keep the fleet from going back from that image', async () => {
    const nodes = await pool.registerNodes('r1', 'r2');
    await pool.startOperator();
    const bad = pool.registry.push('os', 'v3', '3.0');
    // False for as long as any node runs it, also while that node is on its way back.
    const expression = `objects.all(o, !has(o.status) || !has(o.status.host) || o.status.host.booted.digest != '${bad}')`;
    const object = { apiVersion: 'treeline.dev/v1alpha1', kind: 'NodeOS' };
    const when = ['BeforeRollout', 'BeforeNode', 'AfterNode'];
    await applyImage({ name: 'shop', when, object, expression, timeoutSeconds: 1 });
    await waitUntilReady(pool.controlPlane, 'fleet', pool.digest);
    const spec = { image: { reference: `${pool.registry.host}/os:v3` }, rollout: { onFailure: 'RollBack' } };
    await must(pool.controlPlane, { method: 'PATCH', path: `${OS_IMAGES}/fleet`, body: { spec } });
    const status = await eventually('all are back', async () => {
      const image = await readOSImage(pool.controlPlane, 'fleet');
      const back = image.status?.conditions?.find(({ type }) => type === 'RollingBack');
      return back?.reason === 'RolledBack' && image.status;
    });
    assert.deepEqual(
      status.quarantinedDigests?.map(({ digest: one, reason }) => [one, reason]),
      [[bad, 'Unhealthy']],
    );
    assert.deepEqual(
      nodes.map(({ bootedDigest }) => bootedDigest),
      [pool.digest, pool.digest],
    );
    assert.equal(nodes.flatMap(({ boots }) => boots).filter((one) => one === bad).length, 1, 'one node has tried it');
  });

  it('whose expression is none is told, and so is a kind that nobody serves', async () => {
    await pool.registerNode('i1');
    await createRefuge(pool.controlPlane);
    await pool.startOperator();
    await applyImage({ ...CHECK, expression: 'object.status.' });
    await pool.blocker(/spec\.health\.checks\[web\]\.expression cannot be used \(/, 'CheckInvalid');
    const checks = [{ ...CHECK, object: { ...WEB, kind: 'Circus' } }];
    await must(pool.controlPlane, {
      method: 'PATCH',
      path: `${OS_IMAGES}/fleet`,
      body: { spec: { health: { checks } } },
    });
    await pool.blocker(
      /cannot be told\. The shop is down\. The API server serves no Circus in apps\/v1\./,
      'CheckFailed',
    );
  });

  it('may read what ClusterRoles with the label for it name, and nothing else', async () => {
    const manifest = 'manifests/optional/operator-reads-for-checks.yaml';
    const role = 'shop-for-treeline';
    const as = '--as=system:serviceaccount:treeline-system:treeline-operator';
    const may = (resource: string) =>
      pool.controlPlane.kubectl(['auth', 'can-i', 'get', resource, as]).then(
        () => true,
        () => false,
      );
    await pool.controlPlane.kubectl(['apply', '-f', manifest]);
    roles.push('clusterrole/treeline-operator-reads-for-checks');
    roles.push('clusterrolebinding/treeline-operator-reads-for-checks', `clusterrole/${role}`);
    await pool.controlPlane.kubectl(['create', 'clusterrole', role, '--verb=get,list', '--resource=deployments.apps']);
    assert.equal(await may('deployments.apps'), false, 'nothing without the label');
    await pool.controlPlane.kubectl(['label', 'clusterrole', role, 'treeline.dev/read-for-checks=true']);
    await eventually('it may read what is named', () => may('deployments.apps'));
    assert.equal(await may('daemonsets.apps'), false);
  });
});
