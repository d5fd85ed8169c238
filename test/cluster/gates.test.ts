/** Gates on a real API server: a hook with rights of its own sets conditions on the real Node status. */
import assert from 'node:assert/strict';
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { clearCluster, sharedControlPlane } from '../../testbed/shared-control-plane.ts';
import { OS_IMAGES, must } from './crd-objects.ts';
import {
  OperatorProcess,
  createRefuge,
  eventually,
  readNodeOS,
  readOSImage,
  startOperator,
  waitUntilReady,
} from './operator-harness.ts';
import { SimulatedNode } from './simulated-node.ts';
import { SimulatedRegistry } from './simulated-registry.ts';

const POOL = { pool: 'gate-test' };
const OLD = `sha256:${'0'.repeat(64)}`;
const ROLE = 'manifests/optional/gate-hook.yaml';
const BEFORE = 'example.com/StorageMoved';
const AFTER = 'example.com/StorageBack';

describe('a gate on a Node condition', function () {
  this.timeout(120_000);
  let controlPlane: ControlPlane;
  let registry: SimulatedRegistry;
  let digest: string;
  let hook: string;
  let disposals: AsyncDisposable[];

  before(async () => {
    controlPlane = await sharedControlPlane();
    await controlPlane.kubectl(['apply', '-f', ROLE]);
    await controlPlane.kubectl(['create', 'serviceaccount', 'storage-hook']);
    const binding = ['create', 'clusterrolebinding', 'storage-hook', '--clusterrole=treeline-gate-hook'];
    await controlPlane.kubectl([...binding, '--serviceaccount=default:storage-hook']);
    hook = await controlPlane.kubeconfigFor(
      await controlPlane.tokenFor({ namespace: 'default', name: 'storage-hook' }),
    );
  });
  after(async () => {
    await controlPlane.kubectl(['delete', 'clusterrolebinding/storage-hook', 'serviceaccount/storage-hook']);
    await controlPlane.kubectl(['delete', '-f', ROLE]);
  });
  beforeEach(async () => {
    registry = await new SimulatedRegistry().start();
    digest = registry.push('os', 'v2', '2.0');
    disposals = [registry];
  });
  afterEach(async () => {
    for (const one of disposals.reverse()) await one[Symbol.asyncDispose]();
    await clearCluster(controlPlane);
  });

  const keep = <T extends AsyncDisposable>(one: T): T => {
    disposals.push(one);
    return one;
  };
  const applyImage = (gates: readonly object[]) =>
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
          health: { gates },
        },
      },
    });
  const rolloutOf = async (name: string) => (await readNodeOS(controlPlane, name)).status?.rollout;
  const reaches = (name: string, phase: string) =>
    eventually(`${name} is ${phase}`, async () => {
      const rollout = await rolloutOf(name);
      return rollout?.phase === phase && rollout;
    });
  /** As docs/tasks/hooks.md tells hook writers, with the hook's own rights. */
  const say = (name: string, type: string, status: string, time: string) =>
    controlPlane.kubectl(
      [
        'patch',
        'node',
        name,
        '--subresource=status',
        '--type=strategic',
        `--patch=${JSON.stringify({
          status: {
            conditions: [
              { type, status, reason: 'Test', message: '', lastTransitionTime: time, lastHeartbeatTime: time },
            ],
          },
        })}`,
      ],
      { kubeconfig: hook },
    );
  const blocker = (type: string, says: RegExp) =>
    eventually(`${type} says ${String(says)}`, async () => {
      const { blockers = [] } = (await readOSImage(controlPlane, 'fleet')).status ?? {};
      return blockers.some((one) => one.type === type && one.node === 'g1' && says.test(one.message));
    });

  it('holds an empty node before its reboot and after it, until the hook has answered, through a killed operator', async () => {
    const node = keep(await SimulatedNode.register(controlPlane, 'g1', POOL, { digest: OLD }));
    await createRefuge(controlPlane);
    const operator = keep(await OperatorProcess.start(controlPlane, registry.host));
    await say('g1', BEFORE, 'True', '2026-01-01T00:00:00Z');
    await applyImage([
      { conditionType: BEFORE, when: 'BeforeReboot' },
      { conditionType: AFTER, when: 'AfterReboot' },
    ]);
    const { gateTime = '', slotTime } = await reaches('g1', 'AwaitingGate');
    await blocker('GateClosed', /True anew \(it is so since before status\.rollout\.gateTime/);
    await operator.kill();
    operator.spawn();
    assert.deepEqual(node.boots, [], 'what is left from the last update opens nothing');
    await say('g1', BEFORE, 'True', gateTime);
    const { backTime = '', slotTime: same } = await eventually('it is back', async () => {
      const rollout = await rolloutOf('g1');
      return rollout?.phase === 'Verifying' && rollout.backTime !== undefined && rollout;
    });
    assert.equal(same, slotTime, 'in the same slot');
    assert.deepEqual(node.boots, [digest]);
    await blocker('GateClosed', /StorageBack to be True/);
    const { spec } = await eventually('no approval is left', async () => {
      const os = await readNodeOS(controlPlane, 'g1');
      return os.spec.order?.goal === 'Observe' && os;
    });
    assert.equal(spec.order?.bootApproval, undefined);
    await assert.rejects(controlPlane.kubectl(['cordon', 'g1'], { kubeconfig: hook }), /forbidden/);
    await say('g1', AFTER, 'False', backTime);
    await blocker('GateClosed', /StorageBack to be True \(it is False\)/);
    await say('g1', AFTER, 'True', backTime);
    await waitUntilReady(controlPlane, 'fleet', digest);
  });

  it('that is not open in time gives the node back under Skip, and fails it under Fail', async () => {
    keep(await SimulatedNode.register(controlPlane, 'g1', POOL, { digest: OLD }));
    await createRefuge(controlPlane);
    keep(await startOperator(controlPlane, registry.host));
    const skip = { conditionType: BEFORE, when: 'BeforeReboot', timeoutSeconds: 1, timeoutAction: 'Skip' };
    await applyImage([skip]);
    await reaches('g1', 'Blocked');
    await blocker('GateTimedOut', /^g1: Its gate example\.com\/StorageMoved was not open by /);
    await eventually('its cordon is lifted', async () => {
      const { body } = await controlPlane.call({ path: '/api/v1/nodes/g1' });
      return (body as { spec?: { unschedulable?: boolean } }).spec?.unschedulable !== true;
    });
    const fail = { conditionType: AFTER, when: 'AfterReboot', timeoutSeconds: 1, timeoutAction: 'Fail' };
    const patch = { spec: { health: { gates: [fail] } } };
    await must(controlPlane, { method: 'PATCH', path: `${OS_IMAGES}/fleet`, body: patch });
    // It would rest for five minutes.
    await controlPlane.kubectl(['delete', 'nodeos', 'g1']);
    const { backTime = '' } = await reaches('g1', 'Failed');
    await blocker('Unhealthy', /was not healthy by/);
    await say('g1', AFTER, 'True', backTime);
    await waitUntilReady(controlPlane, 'fleet', digest);
  });
});
