import assert from 'node:assert/strict';
import type { StepStatus } from '../../../api/index.ts';
import { digestOf } from './fixtures.ts';
import type { NodeOSOptions } from './fixtures.ts';
import { HOLDING, NAMES, PLACE, STAGE, WAITING, begun, leaving } from './staging-scene.ts';

describe('Staging places ahead of the rollout', () => {
  it('go to the next nodes only with AheadOfRollout, counted beyond those that hold a slot', () => {
    const staging = { mode: 'AheadOfRollout', lookahead: 3 };
    assert.equal(begun({ staging }).length, 3);
    const slot: NodeOSOptions = { ...HOLDING, rollout: { phase: 'Draining', slotTime: PLACE } };
    const some = (name: string) => (name === 'node-0' ? slot : name === 'node-1' ? HOLDING : WAITING);
    assert.equal(begun({ staging, os: some, rollout: { paused: true } }).length, 2);
    const enough = (name: string) => (NAMES.indexOf(name) < 3 ? HOLDING : WAITING);
    assert.deepEqual(begun({ staging, os: enough, rollout: { paused: true } }), []);
  });

  it('go beyond the next nodes to one that is cordoned anyway, or when none of those that hold the image can take the free slot', () => {
    const staging = { mode: 'AheadOfRollout', lookahead: 1 };
    const os = (name: string) => (name === 'node-0' ? HOLDING : WAITING);
    const cordoned = (name: string) => (name === 'node-1' ? { cordoned: true } : {});
    assert.deepEqual(begun({ staging, os, node: cordoned, names: NAMES.slice(0, 3) }), ['node-1']);
    assert.equal(begun({ staging, os: leaving, names: NAMES.slice(0, 3) }).length, 1);
  });

  it('go beyond one that holds the image and rests from its last boots: it is not what comes next', () => {
    const staging = { mode: 'AheadOfRollout', lookahead: 2 };
    // Another has the slot, so that nothing but the look-ahead itself lets them begin.
    const slot: NodeOSOptions = { ...HOLDING, rollout: { phase: 'Draining', slotTime: PLACE } };
    const resting: NodeOSOptions = {
      ...HOLDING,
      rollout: { phase: 'AwaitingSlot', restUntil: '2026-11-23T12:30:00Z' },
    };
    const others = (first: NodeOSOptions) => (name: string) =>
      name === 'node-0' ? first : name === 'node-1' ? slot : WAITING;
    assert.equal(begun({ staging, os: others(HOLDING) }).length, 1);
    assert.equal(begun({ staging, os: others(resting) }).length, 2);
  });

  describe('do not go beyond the next nodes', () => {
    const staging = { mode: 'AheadOfRollout', lookahead: 1 };
    const names = NAMES.slice(0, 4);
    const held = (name: string) => (name === 'node-0' ? HOLDING : WAITING);

    it('while the cluster is asked whether the one that holds the image may go', () => {
      const object = { apiVersion: 'v1', kind: 'ConfigMap', namespace: 'shop', name: 'state' };
      const asked = {
        name: 'shop',
        when: ['BeforeNode'],
        object,
        expression: 'object.ok',
        message: 'The shop is down.',
      };
      assert.deepEqual(begun({ staging, names, os: held, health: { checks: [asked] } }), []);
    });

    it('while another has a slot, whoever cannot take the other that is free', () => {
      const slot: NodeOSOptions = { ...HOLDING, rollout: { phase: 'Draining', slotTime: PLACE } };
      const os = (name: string) => (name === 'node-1' ? slot : leaving(name));
      const rollout = { maxUnavailable: 2 };
      assert.deepEqual(begun({ staging, names, os, rollout }), []);
      assert.equal(begun({ staging, names, os: leaving, rollout }).length, 1);
    });

    it('while a step that is full keeps the one that holds the image, and do in one that takes more', () => {
      const canary = { name: 'canary', nodeSelector: { matchLabels: { canary: '' } }, limit: 1, soakSeconds: 3600 };
      const wave = { name: 'wave', limit: 3 };
      const digest = digestOf('v2');
      const counts = { total: 2, since: PLACE, nodesUpdated: 1, nodesNeeded: 1, summary: '' };
      const done: NodeOSOptions = { booted: 'v2', order: STAGE, rollout: { phase: 'Updated' } };
      const os = (name: string) => (name === 'node-1' ? done : leaving(name));
      const node = (name: string) => (name === 'node-1' ? { labels: { canary: '' } } : {});
      const stepped = { staging, names, os, node, rollout: { steps: [canary, wave] } };
      const soaking: StepStatus = { digest, name: 'canary', index: 1, state: 'Soaking', passed: [], ...counts };
      assert.deepEqual(begun({ ...stepped, step: soaking }), []);
      const passed: StepStatus = { digest, name: 'wave', index: 2, state: 'Updating', passed: ['canary'], ...counts };
      assert.equal(begun({ ...stepped, step: passed }).length, 1);
    });
  });

  it('go beyond the next nodes to one whose failure halts the rollout, once its attempt rests no more: nothing else could move', () => {
    const staging = { mode: 'AheadOfRollout', lookahead: 1 };
    const fault = 'Registry';
    const failed: NodeOSOptions = {
      order: STAGE,
      lastOrder: {
        id: STAGE.id,
        result: 'Failed',
        reason: 'RegistryUnreachable',
        message: '',
        fault,
        completionTime: PLACE,
      },
      rollout: { phase: 'Failed', attempts: 6, nextAttemptTime: PLACE, fault },
    };
    const os = (name: string) => (name === 'node-0' ? failed : HOLDING);
    const names = NAMES.slice(0, 2);
    assert.deepEqual(begun({ staging, os, names }), ['node-0']);
    assert.deepEqual(begun({ staging, os, names, rollout: { failureThreshold: 2 } }), []);
  });
});
