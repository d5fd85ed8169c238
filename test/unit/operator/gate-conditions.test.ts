import assert from 'node:assert/strict';
import { MARKS_ANNOTATION } from '../../../api/index.ts';
import { trimNode } from '../../../operator/kube/objects.ts';

const EARLY = '2026-11-23T11:00:00Z';
const LATE = '2026-11-23T12:00:00Z';

function raw(cordoned: boolean, heartbeat: string, annotations = {}): object {
  return {
    metadata: { name: 'a', uid: 'u', resourceVersion: '1', annotations },
    spec: { unschedulable: cordoned },
    status: {
      conditions: [
        { type: 'Ready', status: 'True', lastTransitionTime: EARLY, lastHeartbeatTime: heartbeat },
        { type: 'example.com/Checked', status: 'True', lastTransitionTime: EARLY, lastHeartbeatTime: heartbeat },
        { type: 'NoTimes', status: 'False' },
      ],
    },
  };
}

describe('The conditions that gates read', () => {
  it('of a node at work change with their status only, so that heartbeats cause no plan', () => {
    assert.deepEqual(trimNode(raw(false, LATE)), trimNode(raw(false, EARLY)));
    assert.deepEqual(trimNode(raw(false, LATE)).status.conditions, {
      'example.com/Checked': { status: 'True', time: EARLY },
      NoTimes: { status: 'False' },
    });
  });

  it('of a node in its slot are as new as their last heartbeat, also when somebody lifts its cordon', () => {
    const marks = { [MARKS_ANNOTATION]: 'x' };
    for (const node of [raw(true, LATE), raw(false, LATE, marks)]) {
      const { conditions } = trimNode(node).status;
      assert.deepEqual(conditions?.['example.com/Checked'], { status: 'True', time: LATE });
    }
  });
});
