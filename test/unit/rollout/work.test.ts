/** How much a plan looks at: counted, not timed, so that a loaded machine says the same as an idle one. */
import assert from 'node:assert/strict';
import type { NodeOS } from '../../../api/index.ts';
import { stageOrder } from '../../../operator/rollout/order.ts';
import { plan } from '../../../operator/rollout/plan.ts';
import type { NodeSnapshot, Snapshot } from '../../../operator/rollout/snapshot.ts';
import { NOW, imageOf, manifestOf, nodeOSOf, nodeOf, snapshotOf } from './fixtures.ts';
import type { NodeOSOptions } from './fixtures.ts';

const TARGET = {
  digest: manifestOf('v2'),
  image: `ostree-unverified-registry:registry.example/os@${manifestOf('v2')}`,
};
const HOLDING: NodeOSOptions = {
  staged: 'v2',
  order: stageOrder(TARGET, 0, 'boot-1'),
  rollout: { phase: 'AwaitingSlot' },
};
const REFUSAL = { namespace: 'shop', pod: 'db-0', message: 'No disruption is allowed.', since: NOW };

/** How often one plan for `count` nodes, each in the state that `os` and `refused` say, asks for a node or its NodeOS. */
function looks(count: number, os: NodeOSOptions, refused: boolean, health: object = {}): number {
  const seen = { looks: 0 };
  const names = Array.from({ length: count }, (_, index) => `node-${index}`);
  const dryRuns: Snapshot['dryRuns'] = new Map(
    names.map((name) => [name, { refusals: refused ? [{ ...REFUSAL, pod: `db-${name}` }] : [] }]),
  );
  const policy = { staging: { maxConcurrent: '50%' }, drain: { timeoutAction: 'Skip' }, health };
  const snapshot = snapshotOf({
    images: [imageOf({ maxUnavailable: '10%', policy })],
    nodes: names.map((name): NodeSnapshot =>
      counted(nodeOf(name), ['labels', 'ready', 'cordoned', 'conditions'], seen),
    ),
    nodeOSes: names.map((name): NodeOS => counted(nodeOSOf(name, os), ['status', 'spec'], seen)),
    dryRuns,
  });
  assert.ok(plan(snapshot, NOW).actions.length > 0);
  return seen.looks;
}

function counted<T extends object>(object: T, keys: readonly (keyof T)[], seen: { looks: number }): T {
  const copy = { ...object };
  for (const key of keys) {
    const value = object[key];
    Object.defineProperty(copy, key, {
      enumerable: true,
      get: () => {
        seen.looks += 1;
        return value;
      },
    });
  }
  return copy;
}

describe('A plan for four times the nodes', () => {
  const states: readonly (readonly [string, NodeOSOptions, boolean])[] = [
    ['have no order yet', {}, false],
    ['wait for a slot', HOLDING, false],
    ['cannot be drained, each for a reason of its own', HOLDING, true],
    ['were passed over', { ...HOLDING, rollout: { phase: 'Blocked' } }, true],
    ['have failed', { ...HOLDING, rollout: { phase: 'Failed', attempts: 6 } }, false],
    ['are done', { booted: 'v2', rollout: { phase: 'Updated' } }, false],
  ];
  const object = { apiVersion: 'apps/v1', kind: 'Deployment', namespace: 'shop', name: 'web' };
  const health = {
    checks: [{ name: 'web', when: ['BeforeNode', 'AfterNode'], object, expression: 'object.ok' }],
    alerts: { prometheusURL: 'http://prometheus.example' },
    gates: ['BeforeSlot', 'BeforeReboot', 'AfterReboot'].map((when) => ({ conditionType: 'Checked', when })),
  };
  const back = { slotTime: '2026-11-23T11:00:00Z', preBootID: 'boot-0', backTime: '2026-11-23T11:30:00Z' };
  const asked: readonly (readonly [string, NodeOSOptions])[] = [
    ['wait for a slot', HOLDING],
    ['are back', { booted: 'v2', rollout: { phase: 'Verifying', ...back, rebootDeadline: '2026-11-23T13:00:00Z' } }],
  ];
  for (const [state, os] of asked) {
    it(`looks at no more than four times as much when they ${state} and spec.health asks for everything`, () => {
      const [few, many] = [looks(200, os, false, health), looks(800, os, false, health)];
      assert.ok(many <= few * 4.4, `${few} looks at 200 nodes, ${many} at 800`);
    });
  }
  for (const [state, os, refused] of states) {
    it(`looks at no more than four times as much when they ${state}`, () => {
      const [few, many] = [looks(200, os, refused), looks(800, os, refused)];
      assert.ok(many <= few * 4.4, `${few} looks at 200 nodes, ${many} at 800`);
    });
  }
});
