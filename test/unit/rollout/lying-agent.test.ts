/**
^ * Somebody has the credentials of one agent. The API server lets them say of that node whatever the schema allows; it must
 * cost that node at most its own update.
 */
import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { nodeOSStatusSchema, type LastOrder, type NodeOSStatus } from '../../../api/index.ts';
import { digestOf, manifestOf, versionOf } from './fixtures.ts';
import { keepsItsPromises, unfinished } from './promises.ts';
import { NO_FAULTS } from './rates.ts';
import { World } from './world.ts';
import type { WorldNode } from './world-node.ts';

const RUNS = Number(process.env['TREELINE_PROPERTY_RUNS'] ?? 100);
const SEED = process.env['TREELINE_PROPERTY_SEED'];
const seeded = SEED === undefined ? { endOnFailure: true } : { seed: Number(SEED) };

const LIAR = 'node-liar';
const HONEST_NODES = 5;

/** The longest that the schema lets through, and what a careless reader would trip over. */
const STRINGS = ['', 'x', '\u0000\u{1F4A3}', '../../etc', '__proto__', 'sha256:', 'x'.repeat(64)];
const TIMES = ['1970-01-01T00:00:00Z', '9999-12-31T23:59:59Z', '2026-11-23T12:00:00+14:00', '2027-06-01T00:00:00.123Z'];
const RESULTS: readonly LastOrder['result'][] = ['Succeeded', 'Failed', 'Refused', 'RolledBack'];
const REASONS = [
  'Staged',
  'StagedLost',
  'Booted',
  'ApprovalExpired',
  'DowngradeForbidden',
  'InvalidLayer',
  '',
  'x'.repeat(128),
];
const FAULTS: readonly (LastOrder['fault'] | undefined)[] = ['Image', 'Registry', 'Node', undefined];
const NUMBERS = [0, 1, Number.MAX_SAFE_INTEGER];

/** Draws from the world's dice. */
function some<T>(world: World, list: readonly T[]): T {
  return list[Math.floor(world.random() * list.length)] as T;
}

function lie(world: World, node: WorldNode): Partial<NodeOSStatus> {
  const os = world.nodeOSes.get(node.name);
  const { order } = os?.spec ?? {};
  const digests = [
    order?.digest ?? manifestOf('v1'),
    ...['v0', 'v1', 'v2', 'v3', 'v4'].map((version) => manifestOf(version)),
    digestOf('nothing of the kind'),
    ...STRINGS,
  ];
  const deployment = () => {
    const digest = some(world, digests);
    const version = versionOf(digest);
    return {
      checksum: some(world, STRINGS),
      digest,
      // Of a digest that it knows the judge knows the version, too, and only an agent would refuse to go back from it.
      ...(version === undefined
        ? { version: some(world, ['v0', 'v9', 'x'.repeat(256)]), created: some(world, [...TIMES, 'yesterday']) }
        : { version }),
      pinned: world.chance(0.5),
      locked: world.chance(0.5),
    };
  };
  const now = world.timestamp();
  return {
    host: {
      bootID: some(world, [
        ...STRINGS,
        node.machine.bootID,
        os?.status?.rollout?.preBootID ?? '',
        world.unique('boot'),
      ]),
      ...(world.chance(0.8) && { booted: deployment() }),
      ...(world.chance(0.5) && { staged: deployment() }),
      ...(world.chance(0.5) && { rollback: deployment() }),
      ...(world.chance(0.5) && {
        freeBytes: some(world, NUMBERS),
        architecture: some(world, ['amd64', 'arm64', 'vax']),
        credentialsKey: `${some(world, ['A', 'x', '+'])}${'A'.repeat(42)}=`,
      }),
    },
    ...(world.chance(0.5) && {
      progress: {
        stage: 'Pulling' as const,
        layersDone: some(world, NUMBERS),
        layersTotal: some(world, NUMBERS),
        bytesDone: some(world, NUMBERS),
        bytesTotal: some(world, NUMBERS),
      },
    }),
    ...(world.chance(0.8) && {
      lastOrder: {
        id: some(world, [order?.id ?? '', ...STRINGS]),
        result: some(world, RESULTS),
        reason: some(world, REASONS),
        message: some(world, [...STRINGS, 'x'.repeat(4096)]),
        fault: some(world, FAULTS),
        completionTime: some(world, [...TIMES, now, now]),
      },
    }),
  };
}

type Liar = (world: World, node: WorldNode) => void;

const LIARS: Readonly<Record<string, Liar>> = {
  'says something else at nearly every turn': (world, node) => {
    if (world.chance(0.3)) return;
    const said = lie(world, node);
    nodeOSStatusSchema.parse(said);
    world.patch(node.name, said);
  },
  'blames the image': (world, node) =>
    answer(world, node, { result: 'Failed', reason: 'InvalidLayer', fault: 'Image' }),
  'refuses everything': (world, node) => answer(world, node, { result: 'Refused', reason: 'DowngradeForbidden' }),
  'has always fallen back': (world, node) => answer(world, node, { result: 'RolledBack', reason: 'RolledBack' }),
  'boots all the time, and never what it should': (world, node) => {
    node.machine.bootID = world.unique('boot');
    answer(world, node, { result: 'Succeeded', reason: 'Booted' });
  },
  'says nothing': () => undefined,
  'gets on for ever': (world, node) => {
    const progress = { stage: 'Pulling', layersDone: 1, layersTotal: 2, bytesDone: 1, bytesTotal: 2 } as const;
    const host = { bootID: 'b', booted: { checksum: 'b', digest: manifestOf('v1'), version: 'v1' } };
    world.patch(node.name, { host, progress: { ...progress, bytesDone: Math.floor(world.random() * 1e9) } });
  },
};

/** The same to every order, from a host that is always on version 1. */
function answer(world: World, node: WorldNode, said: Pick<LastOrder, 'result' | 'reason' | 'fault'>): void {
  const order = world.nodeOSes.get(node.name)?.spec.order;
  world.patch(node.name, {
    host: { bootID: node.machine.bootID, booted: { checksum: 'b', digest: manifestOf('v1'), version: 'v1' } },
    ...(order && { lastOrder: { id: order.id, message: 'So it is.', completionTime: world.timestamp(), ...said } }),
  });
}

const fleets = fc.record({
  seed: fc.integer({ min: 0, max: 2 ** 31 }),
  maxUnavailable: fc.constantFrom<number | string>(2, 3, '50%', '100%'),
  onFailure: fc.constantFrom('Halt', 'RollBack'),
  staging: fc.constantFrom(
    { mode: 'Eager' },
    { mode: 'AheadOfRollout', lookahead: 1 },
    { mode: 'Eager', maxConcurrent: 1 },
  ),
  crash: fc.constantFrom(0, 0.1),
  liar: fc.constantFrom(...Object.keys(LIARS)),
  // The only node of its architecture is the only one to speak of its digest.
  architecture: fc.constantFrom('amd64', 'amd64', 'arm64'),
});

describe('An agent that lies', function () {
  this.timeout(Math.max(60_000, RUNS * 1500));

  it('makes the planner break no promise, and keeps no other node from its update', () => {
    fc.assert(
      fc.property(fleets, ({ seed, maxUnavailable, onFailure, staging, crash, liar, architecture }) => {
        const world = new World(seed);
        world.rates = { ...NO_FAULTS, crash };
        world.addImage({
          name: 'fleet',
          maxUnavailable,
          // One node that fails is borne; without that, the fleet is meant to stop for it.
          rollout: { failureThreshold: 2, onFailure },
          policy: { staging },
        });
        for (let index = 0; index < HONEST_NODES; index++) world.addNode(`node-${index}`);
        world.addNode(LIAR, {}, architecture);
        world.impostors.set(LIAR, LIARS[liar] ?? assert.fail(liar));
        for (let round = 0; round < 500 && unfinished(world).some((name) => name !== LIAR); round++) {
          world.act(keepsItsPromises);
          // Some lies end only with the patience of hours.
          world.advance(round % 3 === 2 ? 200 : 1 + Math.floor(world.random() * 20));
        }
        const { status } = world.images.get('fleet') ?? {};
        const blockers = (status?.blockers ?? []).map(({ type, node }) => `${type} ${node ?? ''}`);
        assert.deepEqual(
          unfinished(world).filter((name) => name !== LIAR),
          [],
          `blockers: ${blockers.join(', ')}`,
        );
        assert.deepEqual(status?.quarantinedDigests ?? [], []);
      }),
      { numRuns: RUNS, ...seeded },
    );
  });
});
