/** Gates on a real API server: a hook with rights of its own sets conditions on the real Node status. */
import assert from 'node:assert/strict';
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { sharedControlPlane } from '../../testbed/shared-control-plane.ts';
import { OS_IMAGES, must } from './crd-objects.ts';
import { OperatorProcess, createRefuge, eventually, readNodeOS, waitUntilReady } from './operator-harness.ts';
import { Pool } from './pool.ts';

const ROLE = 'manifests/optional/gate-hook.yaml';
const BEFORE = 'example.com/StorageMoved';
const AFTER = 'example.com/StorageBack';

describe('a gate on a Node condition', () => {
  const pool = new Pool('gate-test');
  let controlPlane: ControlPlane;
  let hook: string;

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
  const reaches = (name: string, phase: string) =>
    eventually(`${name} is ${phase}`, async () => {
      const rollout = await pool.rolloutOf(name);
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
  it('holds an empty node before its reboot and after it, until the hook has answered, through a killed operator', async () => {
    const node = await pool.registerNode('g1');
    await createRefuge(controlPlane);
    const operator = pool.keep(await OperatorProcess.start(controlPlane, pool.registry.host));
    await say('g1', BEFORE, 'True', '2026-01-01T00:00:00Z');
    await pool.applyImage({
      health: {
        gates: [
          { conditionType: BEFORE, when: 'BeforeReboot' },
          { conditionType: AFTER, when: 'AfterReboot' },
        ],
      },
    });
    const { gateTime = '', slotTime } = await reaches('g1', 'AwaitingGate');
    await pool.blocker(/True anew \(it is so since before status\.rollout\.gateTime/, 'GateClosed');
    await operator.kill();
    operator.spawn();
    assert.deepEqual(node.boots, [], 'what is left from the last update opens nothing');
    await say('g1', BEFORE, 'True', gateTime);
    const { backTime = '', slotTime: same } = await eventually('it is back', async () => {
      const rollout = await pool.rolloutOf('g1');
      return rollout?.phase === 'Verifying' && rollout.backTime !== undefined && rollout;
    });
    assert.equal(same, slotTime, 'in the same slot');
    assert.deepEqual(node.boots, [pool.digest]);
    await pool.blocker(/StorageBack to be True/, 'GateClosed');
    const { spec } = await eventually('no approval is left', async () => {
      const os = await readNodeOS(controlPlane, 'g1');
      return os.spec.order?.goal === 'Observe' && os;
    });
    assert.equal(spec.order?.bootApproval, undefined);
    await assert.rejects(controlPlane.kubectl(['cordon', 'g1'], { kubeconfig: hook }), /forbidden/);
    await say('g1', AFTER, 'False', backTime);
    await pool.blocker(/StorageBack to be True \(it is False\)/, 'GateClosed');
    await say('g1', AFTER, 'True', backTime);
    await waitUntilReady(controlPlane, 'fleet', pool.digest);
  });

  it('that is not open in time gives the node back under Skip, and fails it under Fail', async () => {
    await pool.registerNode('g1');
    await createRefuge(controlPlane);
    await pool.startOperator();
    const skip = { conditionType: BEFORE, when: 'BeforeReboot', timeoutSeconds: 1, timeoutAction: 'Skip' };
    await pool.applyImage({ health: { gates: [skip] } });
    await reaches('g1', 'Blocked');
    await pool.blocker(/^g1: Its gate example\.com\/StorageMoved was not open by /, 'GateTimedOut');
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
    await pool.blocker(/was not healthy by/, 'Unhealthy');
    await say('g1', AFTER, 'True', backTime);
    await waitUntilReady(controlPlane, 'fleet', pool.digest);
  });
});
