/**
 * The promise of crash-only design: whatever is killed, at whatever moment of a rollout, the fleet ends in the same state.
 * Every round moves the same fleet to a version of its own and kills one party at a random moment; the seed is printed.
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import * as fc from 'fast-check';
import { IMAGE_NAME, isComplete, manifest, MAX_UNAVAILABLE } from '../../demo/rollout.ts';
import { isUnavailable, viewFleet } from '../../demo/fleet-view.ts';
import type { NodeObject } from '../../demo/fleet-view.ts';
import { Onlooker } from '../../demo/onlooker.ts';
import { deriveImage } from '../../testbed/derived-image.ts';
import { startFleet } from '../../testbed/fleet.ts';
import type { Fleet } from '../../testbed/fleet.ts';
import { ObjectWatch } from '../../testbed/object-watch.ts';
import { checkRepository } from '../../testbed/repository-check.ts';
import { makeSmallOSImage } from '../../testbed/small-os-image.ts';

const NODES = 3;
const ROUND_LIMIT_MS = 120_000;
const LONGEST_ABSENCE_MS = 3_000;
const POLL_MS = 100;
/** What is left of a rollout when the kill comes after this is too little to be hit; the rest is spread over it. */
const TYPICAL_ROLLOUT_MS = 12_000;

interface Fault {
  readonly name: string;
  /** A cut costs one reboot and one node for a moment, which is not the rollout's doing. */
  readonly cutsPower?: true;
  /** Kills, and returns what brings the victim back. */
  readonly strike: (fleet: Fleet, node: number) => Promise<() => Promise<void>>;
}

const machineAt = (fleet: Fleet, node: number) => {
  const machine = fleet.machines[node % fleet.machines.length];
  assert.ok(machine !== undefined);
  return machine;
};

const FAULTS: readonly Fault[] = [
  {
    name: 'an agent',
    strike: async (fleet, node) => {
      const release = await machineAt(fleet, node).holdAgent();
      return async () => release();
    },
  },
  {
    name: 'the operator',
    strike: async (fleet) => {
      await fleet.killOperator();
      return async () => fleet.startOperator();
    },
  },
  {
    name: 'the registry',
    strike: async (fleet) => {
      await fleet.killRegistry();
      return async () => fleet.restartRegistry();
    },
  },
  {
    name: 'the API server',
    strike: async (fleet) => {
      await fleet.controlPlane.killApiServer();
      return async () => fleet.controlPlane.startApiServer();
    },
  },
  {
    name: "a node's power",
    cutsPower: true,
    strike: async (fleet, node) => {
      await machineAt(fleet, node).cutPower();
      return async () => undefined;
    },
  },
];

const seed = Number(process.env['TREELINE_SEED'] ?? Date.now() % 1_000_000);
const rounds = Number(process.env['TREELINE_FAULT_ROUNDS'] ?? 10);
const plan = fc.sample(
  fc.record({
    node: fc.noBias(fc.nat(NODES - 1)),
    delayMs: fc.noBias(fc.nat(TYPICAL_ROLLOUT_MS)),
    absenceMs: fc.noBias(fc.nat(LONGEST_ABSENCE_MS)),
  }),
  { numRuns: rounds, seed },
);

describe(`a rollout in which something is killed (seed ${seed})`, function () {
  this.timeout(ROUND_LIMIT_MS + 60_000);
  let folder: string;
  let fleet: Fleet;
  let onlooker: Onlooker;
  let nodes: ObjectWatch<NodeObject>;
  let mostUnavailable = 0;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'treeline-faults-'));
    const os = await makeSmallOSImage(folder);
    fleet = await startFleet({ nodes: NODES, os, bootDelayMs: 300, logFolder: join(folder, 'logs') });
    onlooker = new Onlooker(fleet.controlPlane, IMAGE_NAME, () => undefined);
    nodes = new ObjectWatch<NodeObject>(fleet.controlPlane, '/api/v1/nodes', () => {
      mostUnavailable = Math.max(mostUnavailable, [...nodes.items.values()].filter(isUnavailable).length);
    });
  });

  after(async () => {
    await nodes?.[Symbol.asyncDispose]();
    await onlooker?.[Symbol.asyncDispose]();
    await fleet?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  it('ends on the target when nothing is killed, and kubectl wait returns then and not before', async () => {
    mostUnavailable = 0;
    await roll(fleet, onlooker, 'undisturbed', async (digest) => {
      await fleet.controlPlane.kubectl(['wait', '--for=condition=Ready', `osimage/${IMAGE_NAME}`, '--timeout=120s']);
      const booted = await fleet.controlPlane.kubectl([
        'get',
        'nodeoses',
        '-o=jsonpath={.items[*].status.host.booted.digest}',
      ]);
      assert.deepEqual(booted.split(' '), Array(NODES).fill(digest));
    });
    assert.equal(mostUnavailable, MAX_UNAVAILABLE);
  });

  it('stages again, and ends on the target, when the power goes between the approval and the reboot', async () => {
    await roll(fleet, onlooker, 'cut-when-approved', async () => {
      for (;;) {
        const [name] =
          [...onlooker.objects.nodeOSes].find(([, { status }]) => status?.rollout?.phase === 'Rebooting') ?? [];
        if (name !== undefined) return fleet.machines.find((machine) => machine.name === name)?.cutPower();
        await sleep(10);
      }
    });
  });

  plan.forEach(({ node, delayMs, absenceMs }, round) => {
    const fault = FAULTS[round % FAULTS.length];
    assert.ok(fault !== undefined);
    it(`ends in the same state with ${fault.name} gone after ${delayMs} ms for ${absenceMs} ms`, async () => {
      mostUnavailable = 0;
      const rebootsBefore = fleet.machines.map(({ reboots }) => reboots);
      await roll(fleet, onlooker, `round-${round}`, async () => {
        await sleep(delayMs);
        const revive = await fault.strike(fleet, node);
        await sleep(absenceMs);
        await revive();
      });
      const reboots = fleet.machines.map((machine, index) => machine.reboots - (rebootsBefore[index] ?? 0));
      if (fault.cutsPower === true) {
        assert.ok(mostUnavailable <= MAX_UNAVAILABLE + 1, `${mostUnavailable} nodes were unavailable at once`);
        assert.ok(
          reboots.every((count, index) => count === 1 || (index === node && count === 2)),
          `reboots: ${reboots.join()}`,
        );
      } else {
        assert.equal(mostUnavailable, MAX_UNAVAILABLE);
        assert.ok(
          reboots.every((count) => count === 1),
          `every node reboots once, not ${reboots.join()} times`,
        );
      }
    });
  });
});

/** One rollout to a version of its own, and the state that every one of them must end in. */
async function roll(
  fleet: Fleet,
  onlooker: Onlooker,
  tag: string,
  disturb: (digest: string) => Promise<void>,
): Promise<void> {
  const digest = await deriveImage({
    registryUrl: fleet.registry.url,
    repository: fleet.os.name,
    baseTag: '2',
    tag,
    files: [
      { path: 'usr/share/round', content: `${tag}\n` },
      { path: 'etc/motd', content: `This is ${tag}.\n` },
    ],
    labels: { 'org.opencontainers.image.version': tag },
    createdBy: tag,
  });
  const versions = new Map([[digest, tag]]);
  await fleet.controlPlane.kubectl(['apply', '-f', '-'], {
    input: manifest(`${fleet.registry.host}/${fleet.os.name}:${tag}`),
  });
  await disturb(digest);

  const deadline = performance.now() + ROUND_LIMIT_MS;
  for (;;) {
    const view = viewFleet(onlooker.objects, versions);
    if (isComplete(onlooker.objects, view, digest)) break;
    assert.ok(
      performance.now() < deadline,
      `The rollout to ${tag} has not ended: ${JSON.stringify(view, undefined, 1)}`,
    );
    await sleep(POLL_MS);
  }

  for (const [name, node] of onlooker.objects.nodes)
    assert.notEqual(node.spec.unschedulable, true, `${name} is cordoned`);
  await Promise.all(
    fleet.machines.map(async ({ name, sysroot }) => {
      const repository = join(sysroot.path, 'ostree', 'repo');
      const { code, stdout, stderr } = await checkRepository(repository);
      assert.equal(code, 0, `${name}: ostree fsck: ${stdout}${stderr}`);
    }),
  );
}
