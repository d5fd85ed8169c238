/** The planner with the executor that carries it out, over an API that refuses, loses answers, and tells late and twice. */
import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { isUnavailable } from '../../../operator/rollout/budget.ts';
import { isLook } from '../rollout/drain-stand-in.ts';
import { somethingHappens } from '../rollout/people.ts';
import { unfinished } from '../rollout/promises.ts';
import { NO_FAULTS } from '../rollout/rates.ts';
import { heal } from '../rollout/healing.ts';
import { World } from '../rollout/world.ts';
import { SOUND, SimulatedApi } from './simulated-api.ts';
import type { ApiRates } from './simulated-api.ts';
import { SimulatedOperator } from './simulated-operator.ts';

/** A failure is told at once; repeated by its seed, it is shrunk. */
const SEED = process.env['TREELINE_PROPERTY_SEED'];
const RUNS = Number(process.env['TREELINE_PROPERTY_RUNS'] ?? 30);
const seeded = SEED === undefined ? { endOnFailure: true } : { seed: Number(SEED) };
/** Rounds in which a healed fleet must be done. */
const PATIENCE = 1200;

/** Doubles would nearly all be next to nothing. */
const rate = (max: number) => fc.constantFrom(0, 0, max / 4, max / 2, max);
const apiFaults: fc.Arbitrary<ApiRates> = fc.record({
  refused: rate(0.2),
  answerLost: rate(0.2),
  late: rate(0.6),
  repeated: rate(0.4),
  broken: rate(0.2),
  meddled: rate(0.3),
});
const stories = fc.record({
  seed: fc.integer({ min: 0, max: 2 ** 31 }),
  nodes: fc.integer({ min: 1, max: 6 }),
  maxUnavailable: fc.constantFrom(1, 2, 3),
  rounds: fc.integer({ min: 10, max: 80 }),
  skewSeconds: fc.integer({ min: -45, max: 45 }),
  killed: rate(0.15),
  refusal: rate(0.5),
  agentAway: rate(0.5),
  stageFails: rate(0.3),
  people: rate(0.1),
});

describe('The operator, over an API that fails it', function () {
  this.timeout(300_000 + RUNS * 2000);

  it('keeps to its budget, boots nobody unapproved, lifts no foreign cordon, and ends when the faults stop', async () => {
    await fc.assert(
      fc.asyncProperty(stories, apiFaults, async (story, rates) => {
        const world = new World(story.seed);
        const { maxUnavailable } = story;
        world.addImage({ name: 'fleet', maxUnavailable, rollout: { maxBlocked: '50%' } });
        for (let index = 0; index < story.nodes; index++) world.addNode(`node-${index}`);
        world.rates = {
          ...NO_FAULTS,
          refusal: story.refusal,
          agentAway: story.agentAway,
          stageFails: story.stageFails,
        };
        const api = new SimulatedApi(world);
        api.rates = rates;
        const start = () => new SimulatedOperator(world, api, story.skewSeconds * 1000);
        let operator = start();
        for (let round = 0; round < story.rounds; round++) {
          if (world.chance(story.people)) somethingHappens(world);
          if (world.chance(story.killed)) api.callsToLive = Math.floor(world.random() * 6);
          await operator.turn();
          if (api.callsToLive < Infinity) {
            api.callsToLive = Infinity;
            operator = start();
          }
          if (story.people === 0 && rates.meddled === 0)
            assert.ok(away(world) <= maxUnavailable, `${away(world)} nodes are away`);
          assert.deepEqual([...api.wrongs, ...world.broken], []);
          world.advance(1 + Math.floor(world.random() * 20));
        }
        heal(world);
        // What checks read is not simulated here.
        world.edit('fleet', (spec) => ({ ...spec, health: { ...spec.health, checks: [] } }));
        api.rates = SOUND;
        await settle(world, operator, api);
        const status = world.images.get('fleet')?.status;
        const said = (status?.blockers ?? []).map(({ type }) => type);
        const excused = said.some((type) => ['RolledBack', 'BootRefused', 'DigestQuarantined'].includes(type));
        if (!excused) assert.deepEqual(unfinished(world), [], `the blockers say: ${said.join() || 'nothing'}`);
      }),
      { numRuns: RUNS, ...seeded },
    );
  });
});

/** Nodes that are away by our doing: the truth of the cluster, not what the operator believes. */
function away(world: World): number {
  return world.snapshot().nodes.filter((node) => isUnavailable(node, world.nodeOSes.get(node.name))).length;
}

async function settle(world: World, operator: SimulatedOperator, api: SimulatedApi): Promise<void> {
  let quiet = 0;
  for (let round = 0; round < PATIENCE && quiet < 6; round++) {
    const { actions, nextTime } = await operator.turn();
    assert.deepEqual([...api.wrongs, ...world.broken], []);
    const idle = actions.every(isLook);
    quiet = idle && nextTime === undefined ? quiet + 1 : 0;
    world.advance(idle ? 30 : 5);
  }
}
