/** Writing Kubernetes' lifecycle conditions. */
import assert from 'node:assert/strict';
import { tellLifecycle } from '../../../operator/execution/lifecycle-conditions.ts';
import { ObjectCache } from '../../../operator/kube/object-cache.ts';
import { trimNode, type Node } from '../../../operator/kube/objects.ts';
import { FakeClock } from './fake-clock.ts';

const raw = (version: string, conditions: readonly object[]) => ({
  metadata: { name: 'a', uid: 'uid-a', resourceVersion: version },
  status: { conditions },
});
const OURS = { type: 'DrainInProgress', status: 'True', reason: 'TreelineRollout' };
const act = (set: readonly ('MaintenanceInProgress' | 'Drained')[], remove: readonly 'DrainInProgress'[]) =>
  ({ kind: 'TellLifecycle', node: 'a', set, remove }) as const;

describe('lifecycle conditions', () => {
  let sent: unknown[];
  let nodes: ObjectCache<Node>;
  const patchNodeStatus = async (name: string, patch: unknown) => {
    sent.push([name, patch]);
    return trimNode(raw('6', []));
  };
  const tell = (action: Parameters<typeof tellLifecycle>[1]) =>
    tellLifecycle({ api: { patchNodeStatus }, nodes, clock: new FakeClock() }, action);

  beforeEach(() => {
    sent = [];
    nodes = new ObjectCache();
    nodes.replace([trimNode(raw('5', [OURS, { type: 'Ready', status: 'True' }]))], '5');
  });

  it('are set and removed in one write, on the version that was seen, by their types', async () => {
    await tell(act(['Drained'], ['DrainInProgress']));
    const times = { lastTransitionTime: '2026-01-01T00:00:00Z', lastHeartbeatTime: '2026-01-01T00:00:00Z' };
    const message = 'Every pod that has to leave before the boot has left, as spec.drain of the OSImage says.';
    const drained = { type: 'Drained', status: 'True', reason: 'TreelineRollout', message, ...times };
    assert.deepEqual(sent, [
      [
        'a',
        {
          metadata: { uid: 'uid-a', resourceVersion: '5' },
          status: { conditions: [drained, { $patch: 'delete', type: 'DrainInProgress' }] },
        },
      ],
    ]);
    assert.equal(nodes.get('a')?.metadata.resourceVersion, '6');
  });

  it('of somebody else, set since the plan was made, are left alone', async () => {
    const theirs = { type: 'DrainInProgress', status: 'True', reason: 'KubectlDrainStarted' };
    nodes.replace([trimNode(raw('6', [theirs, { ...theirs, type: 'Drained' }]))], '6');
    await assert.rejects(tell(act([], ['DrainInProgress'])), { code: 'StalePicture' });
    await assert.rejects(tell(act(['Drained'], [])), { code: 'StalePicture' });
    assert.deepEqual(sent, []);
  });

  it('keep their reasons in the picture of a Node, and heartbeats of others change nothing', () => {
    const beat = (time: string) => raw('7', [{ type: 'Disk', status: 'False', reason: time, lastHeartbeatTime: time }]);
    assert.deepEqual(trimNode(beat('a')), trimNode(beat('b')));
    assert.equal(nodes.get('a')?.status.conditions?.['DrainInProgress']?.reason, 'TreelineRollout');
  });
});
