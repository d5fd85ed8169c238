/** What a plan may take over from the one before. That it is the same plan is a property of its own (`properties.test.ts`). */
import assert from 'node:assert/strict';
import { CONTROL_PLANE_LABEL } from '../../../api/index.ts';
import type { Action } from '../../../operator/rollout/action.ts';
import { surveyFleet } from '../../../operator/rollout/fleet.ts';
import { factsOf } from '../../../operator/rollout/node-facts.ts';
import { PlanMemory } from '../../../operator/rollout/plan-memory.ts';
import type { Premises } from '../../../operator/rollout/plan-memory.ts';
import { chooseTarget } from '../../../operator/rollout/target.ts';
import { NOW, imageOf, nodeOSOf, nodeOf } from './fixtures.ts';
import type { ImageOptions, NodeOSOptions } from './fixtures.ts';
import { keepsItsPromises } from './promises.ts';
import { World } from './world.ts';

const SLOT = { slotTime: '2026-11-23T11:58:00Z' } as const;
const UPDATED: NodeOSOptions = { booted: 'v2', rollout: { phase: 'Updated' } };
const SOAKING: NodeOSOptions = { booted: 'v2', rollout: { phase: 'Soaking', ...SLOT } };
const LATER = new Date(NOW.getTime() + 60_000);

function rulingOf(memory: PlanMemory, options: ImageOptions = {}, now = NOW) {
  const image = imageOf(options);
  return memory.ruling(image, chooseTarget(image, now), now);
}

function premises(memory: PlanMemory, os: NodeOSOptions, differences: Partial<Premises> = {}): Premises {
  const parts = { node: nodeOf('a'), os: nodeOSOf('a', os), ruling: rulingOf(memory), drain: undefined, alone: false };
  return { ...parts, ...differences };
}

function stepFor({ os }: Premises, wake?: Date) {
  const { rollout } = os.status ?? {};
  assert.ok(rollout);
  return { rollout, order: undefined, cordon: 'Leave', ...(wake && { wake }) } as const;
}

function factsFor({ node, os }: Premises) {
  return factsOf(node, os, undefined, true);
}

describe('A plan after another one', () => {
  it('takes over what was decided about each node of a fleet that is done', () => {
    const world = new World(3);
    world.addImage({ name: 'fleet' });
    for (const name of ['a', 'b', 'c']) world.addNode(name);
    world.settle(keepsItsPromises);
    const { members } = surveyFleet(world.snapshot(), world.now, world.memory);
    assert.deepEqual(
      members.map(({ recalled }) => recalled?.step.rollout.phase),
      ['Updated', 'Updated', 'Updated'],
    );
  });

  it('takes over nothing of a node of which anything has changed, nor when its time has come, or the clock was set back', () => {
    const memory = new PlanMemory();
    const before = premises(memory, UPDATED);
    const step = stepFor(before, LATER);
    memory.keep(before, { step, facts: factsFor(before), actions: [] }, NOW);
    assert.equal(memory.recall({ ...before }, NOW)?.step, step);
    assert.equal(memory.recall(before, new Date(LATER.getTime() - 1))?.step, step);
    assert.equal(memory.recall(before, LATER), undefined);
    assert.equal(memory.recall(before, new Date(NOW.getTime() - 1)), undefined);
    const changes: readonly Partial<Premises>[] = [
      { node: nodeOf('a') },
      { os: nodeOSOf('a', UPDATED) },
      { ruling: rulingOf(memory, { paused: true }) },
      { drain: { podsLeft: 0, refusals: [] } },
      { alone: true },
    ];
    for (const change of changes) assert.equal(memory.recall({ ...before, ...change }, NOW), undefined);
  });

  it('knows an OSImage again by what it says, whatever object says it', () => {
    const memory = new PlanMemory();
    assert.equal(rulingOf(memory), rulingOf(memory));
    const frozen = { freezes: [{ start: '2026-11-23T12:00:30Z', end: '2026-11-24T00:00:00Z', reason: 'Audit' }] };
    const thawed = rulingOf(memory, { policy: frozen });
    assert.equal(rulingOf(memory, { policy: frozen }), thawed);
    assert.notEqual(rulingOf(memory, { policy: frozen }, LATER), thawed);
    memory.retain(new Set());
    assert.notEqual(rulingOf(memory, { policy: frozen }), thawed);
  });

  it('decides anew about a node in a slot on which answers to checks or other control-plane nodes have a say', () => {
    const memory = new PlanMemory();
    const kept = (one: Premises, actions: readonly Action[] = []) => {
      memory.keep(one, { step: stepFor(one), facts: factsFor(one), actions }, NOW);
      return memory.recall(one, NOW) !== undefined;
    };
    const controlPlane = nodeOf('a', { labels: { [CONTROL_PLANE_LABEL]: '' } });
    const object = { apiVersion: 'v1', kind: 'ConfigMap', namespace: 'shop', name: 'open' };
    const health = { checks: [{ name: 'open', when: ['AfterNode'], object, expression: 'true' }] };
    const asking = rulingOf(memory, { policy: { health } });
    assert.ok(kept(premises(memory, SOAKING)));
    assert.ok(!kept(premises(memory, SOAKING, { node: controlPlane })));
    assert.ok(!kept(premises(memory, SOAKING, { ruling: asking })));
    assert.ok(kept(premises(memory, UPDATED, { node: controlPlane, ruling: asking })));
    const draining = () => premises(memory, { rollout: { phase: 'Draining', ...SLOT } });
    assert.ok(kept(draining(), [{ kind: 'Drain', node: 'a', how: { mode: 'Evict' } }]));
    assert.ok(!kept(draining(), [{ kind: 'Cordon', node: 'a', by: 'nos-a', marks: {} }]));
  });
});
