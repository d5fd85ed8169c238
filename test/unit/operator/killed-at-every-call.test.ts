/** The operator killed at every single call of a rollout, once at each: what is written so far is all that the next one knows. */
import assert from 'node:assert/strict';
import { isUnavailable } from '../../../operator/rollout/budget.ts';
import { isLook } from '../rollout/drain-stand-in.ts';
import { unfinished } from '../rollout/promises.ts';
import { World } from '../rollout/world.ts';
import { SimulatedApi } from './simulated-api.ts';
import { SimulatedOperator } from './simulated-operator.ts';

const NAMES = ['node-0', 'node-1', 'node-2'];
/** Rounds of five seconds in which three nodes are updated, and more than enough. */
const PATIENCE = 600;

interface Rollout {
  /** Calls of the operator that lived to the end. */
  readonly calls: number;
  readonly killed: boolean;
  readonly ends: readonly string[];
  readonly ready: string | undefined;
  readonly boots: readonly number[];
  readonly mostAway: number;
}

/** Rolls an image out over three nodes, and kills the operator before its call number `fatal`; with Infinity, never. */
async function rollOut(fatal: number): Promise<Rollout> {
  const world = new World(7);
  world.addImage({ name: 'fleet', maxUnavailable: 1, minReadySeconds: 10 });
  const nodes = NAMES.map((name) => world.addNode(name));
  const api = new SimulatedApi(world);
  const budget = Number.isFinite(fatal) ? fatal : Number.MAX_SAFE_INTEGER;
  api.callsToLive = budget;
  let operator = new SimulatedOperator(world, api, 0);
  let killed = false;
  let calls = 0;
  let mostAway = 0;
  const boots = nodes.map(() => 0);
  const bootIDs = nodes.map(({ machine }) => machine.bootID);
  for (let round = 0, quiet = 0; round < PATIENCE && quiet < 3; round++) {
    const { actions, nextTime } = await operator.turn();
    if (!killed) calls = budget - api.callsToLive;
    if (!killed && api.callsToLive <= 0) {
      killed = true;
      api.callsToLive = Infinity;
      operator = new SimulatedOperator(world, api, 0);
    }
    assert.deepEqual([...api.wrongs, ...world.broken], []);
    const away = world.snapshot().nodes.filter((node) => isUnavailable(node, world.nodeOSes.get(node.name)));
    mostAway = Math.max(mostAway, away.length);
    quiet = actions.every(isLook) && nextTime === undefined ? quiet + 1 : 0;
    world.advance(5);
    for (const [index, { machine }] of nodes.entries()) {
      if (machine.bootID !== bootIDs[index]) boots[index] = (boots[index] ?? 0) + 1;
      bootIDs[index] = machine.bootID;
    }
  }
  const { conditions = [] } = world.images.get('fleet')?.status ?? {};
  const ready = conditions.find(({ type }) => type === 'Ready')?.status;
  return { calls, killed, ends: unfinished(world), ready, boots, mostAway };
}

describe('A rollout whose operator is killed', () => {
  it('ends the same at whichever of its calls that is: every node booted once, one away at a time, nothing left behind', async () => {
    const { calls, ...whole } = await rollOut(Infinity);
    assert.deepEqual(whole, { killed: false, ends: [], ready: 'True', boots: [1, 1, 1], mostAway: 1 });
    assert.ok(calls > 3 * 10, `${calls} calls`);
    for (let fatal = 1; fatal < calls; fatal++) {
      const { calls: _, ...survived } = await rollOut(fatal);
      assert.deepEqual(survived, { ...whole, killed: true }, `killed after call ${fatal} of ${calls}`);
    }
  });
});
