/** What users do: install Treeline by its manifests on a cluster, and have an OSImage move the nodes' operating systems. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { ObjectWatch } from '../../testbed/object-watch.ts';
import { startSlowRegistry } from '../../testbed/slow-registry.ts';
import { createWorkload } from '../../testbed/workload.ts';
import { DEFAULT_NAMESPACE } from '../../api/index.ts';
import { oneAfterTheOther } from '../report/one-after-the-other.ts';
import { lookForTraces, type MachineTraces } from './machine-traces.ts';
import { NodesBench, type Pod } from './nodes-bench.ts';

const REPLICAS = 4;
const BUDGETS = '/apis/policy/v1/namespaces/default/poddisruptionbudgets';
/** An argument of Treeline's own processes, and none of a process that looks for it. */
const PROGRAM = '/opt/treeline/dist/treeline[.]mjs';
/** Of each body: version 3 takes minutes, unless it is told to hurry. */
const SLOW_BYTES_PER_SECOND = 10_000;
/** More than an image's configuration has: what has sent so much is a layer. */
const LAYER_BYTES = 20_000;
const LINGER_SECONDS = 15;
/** So that a poll sees it. */
const SOAK_SECONDS = 15;

/** A check that holds whatever is Verifying, for as long as it is asked. */
const heldBack = (name = '') => ({
  name: 'held-back',
  when: ['AfterNode'],
  object: { apiVersion: 'v1', kind: 'Node', name },
  expression: 'false',
  timeoutSeconds: 0,
});

interface Budget {
  readonly metadata: { readonly name: string };
  readonly status: { readonly currentHealthy?: number };
}

describe('a cluster of real nodes', function () {
  this.timeout(900_000);
  oneAfterTheOther();
  let bench: NodesBench;
  let logs = '';
  let untouched: MachineTraces;
  before(async () => {
    logs = await mkdtemp(join(tmpdir(), 'treeline-nodes-logs-'));
    untouched = await lookForTraces();
    bench = await NodesBench.start(logs);
  });
  after(async function keepLogsOfFailures() {
    await bench?.[Symbol.asyncDispose]();
    const failed = this.test?.parent?.tests.some(({ state }) => state !== 'passed') ?? true;
    if (failed) process.stdout.write(`The logs of the control plane, the nodes and the pods are in ${logs}.\n`);
    else await rm(logs, { recursive: true });
  });

  it('boots what is on its disks, with nothing writable that should not be', async () => {
    for (const node of bench.lab.nodes) {
      assert.equal(await bench.running(node), '1');
      for (const path of ['/usr/x', '/sysroot/x']) {
        const { code, stderr } = await node.tryRun('touch', path);
        assert.equal(code, 1);
        assert.match(stderr, /Read-only file system/);
      }
    }
  });

  it('runs an agent on each node, in its pod, and nothing of Treeline outside of pods', async () => {
    const placed = (await bench.agents()).map(({ spec: { nodeName = '' } }) => nodeName);
    assert.deepEqual(
      placed.toSorted(),
      bench.lab.nodes.map(({ name }) => name),
    );
    for (const node of bench.lab.nodes) {
      const found = await node.run('sh', '-c', `grep -lzx '${PROGRAM}' /proc/[0-9]*/cmdline`);
      const processes = found.trim().split('\n').map(dirname);
      const groups = await Promise.all(processes.map((path) => node.run('cat', `${path}/cgroup`)));
      for (const text of groups) assert.match(text, /kubepods/);
    }
  });

  it('has agents that see their host from inside of the pod, and show whose they are', async () => {
    const { lab } = bench;
    for (const {
      metadata,
      spec: { nodeName = '' },
    } of await bench.agents()) {
      const node = lab.node(nodeName);
      const run = (script: string) =>
        lab.controlPlane.kubectl(['exec', `--namespace=${DEFAULT_NAMESPACE}`, metadata.name, '--', 'sh', '-c', script]);
      assert.equal((await run('cat /host/proc/sys/kernel/random/boot_id')).trim(), node.boots.at(-1));
      assert.equal((await run('nsenter --target 1 --mount -- cat /etc/hostname')).trim(), nodeName);
      // As the agent does it, for itself alone.
      await run('mount -o remount,bind,rw /host/sysroot && touch /host/sysroot/x && rm /host/sysroot/x');
      assert.match((await node.tryRun('touch', '/sysroot/x')).stderr, /Read-only file system/);
      const token = await run('cat /var/run/secrets/kubernetes.io/serviceaccount/token');
      const { body } = await lab.controlPlane.call({
        method: 'POST',
        path: '/apis/authentication.k8s.io/v1/selfsubjectreviews',
        token,
        body: { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' },
      });
      const { userInfo } = body['status'] as { userInfo: { extra: Record<string, readonly string[]> } };
      assert.deepEqual(userInfo.extra['authentication.kubernetes.io/node-name'], [nodeName]);
    }
  });

  it('has agents that find everything on their host that they need', async () => {
    const { lab } = bench;
    for (const { metadata } of await bench.agents()) {
      const log = await lab.eventually(`${metadata.name} has looked at its host`, async () => {
        const text = await lab.controlPlane.kubectl(['logs', `--namespace=${DEFAULT_NAMESPACE}`, metadata.name]);
        return /the host (offers|does not offer) what the agent needs/.test(text) && text;
      });
      assert.doesNotMatch(log, /does not offer/);
    }
  });

  it('moves to version 2 one node after the other, with pods evicted within their budget and agents that stay', async () => {
    const { lab } = bench;
    const agentsBefore = await bench.agents();
    await createWorkload(lab.controlPlane, REPLICAS, { image: lab.treelineImage, command: ['sleep', 'infinity'] });
    for (const node of lab.nodes) await node.run('sh', '-c', 'echo kept > /etc/edited; echo kept > /var/lib/kept');
    const evicted = new Set<string>();
    let fewest = REPLICAS;
    {
      await using _pods = new ObjectWatch<Pod>(lab.controlPlane, '/api/v1/namespaces/default/pods', (pod) => {
        const target = pod?.status.conditions?.find(({ type }) => type === 'DisruptionTarget');
        if (pod !== undefined && target?.reason === 'EvictionByEvictionAPI') evicted.add(pod.metadata.name);
      });
      await using _budgets = new ObjectWatch<Budget>(lab.controlPlane, BUDGETS, (budget) => {
        fewest = Math.min(fewest, budget?.status.currentHealthy ?? fewest);
      });
      await bench.order('2');
      await bench.updated('2');
    }
    assert.ok(evicted.size >= REPLICAS, `evicted: ${[...evicted].join(', ')}`);
    assert.ok(fewest >= REPLICAS - 1, `${fewest} pods were left`);
    for (const node of lab.nodes) {
      assert.equal(await bench.running(node), '2');
      assert.equal(node.boots.length, 2);
      assert.equal((await lab.nodeOS(node.name))?.status?.host?.bootID, node.boots[1]);
      assert.equal(await node.run('cat', '/etc/edited', '/var/lib/kept'), 'kept\nkept\n');
      assert.equal(await node.run('cat', '/etc/motd'), "Version 2 of the nodes' operating system.\n");
    }
    // The same pods: what has begun anew in them is the container.
    const identities = (list: readonly Pod[]) => list.map(({ metadata }) => metadata.uid).toSorted();
    assert.deepEqual(identities(await bench.agents()), identities(agentsBefore));
    for (const { status } of await bench.agents()) assert.ok((status.containerStatuses?.[0]?.restartCount ?? 0) > 0);
  });

  it('gets to version 3 although agents are replaced in the middle of a pull, and power fails in each phase', async () => {
    const { lab } = bench;
    await using slow = await startSlowRegistry(lab.registry.host, SLOW_BYTES_PER_SECOND);
    const mirror = `[[registry]]\nlocation = "${lab.registry.host}"\ninsecure = true\n[[registry.mirror]]\nlocation = "${slow.host}"\ninsecure = true\n`;
    for (const node of lab.nodes) {
      await node.run('sh', '-c', `printf '%s' '${mirror}' > /etc/containers/registries.conf`);
    }
    await createLingerers();
    const pulling = () => slow.blobs.filter(({ sent, open }) => open && sent > LAYER_BYTES).length;
    const soak = { minReadySeconds: SOAK_SECONDS };
    // One place to fetch, so that who waits for it waits; and no node is found well before that is let.
    const held = { ...soak, checks: [heldBack(lab.nodes[0]?.name)] };
    await bench.order('3', { staging: { maxConcurrent: 1 }, health: held });
    const staging = await bench.nodeIn('Staging');
    const pending = await bench.nodeIn('Pending', [staging]);
    await lab.eventually('the first node pulls', async () => pulling() === 1);
    await Promise.all([bench.cutPower(staging), bench.cutPower(pending)]);
    for (const node of [staging, pending]) assert.equal(await bench.running(node), '2');
    await bench.order('3', { health: held });
    await lab.eventually('every node pulls', async () => pulling() === lab.nodes.length);

    const old = await bench.agents();
    const workload = ['daemonset/treeline-agent', `--namespace=${DEFAULT_NAMESPACE}`];
    await lab.controlPlane.kubectl(['rollout', 'restart', ...workload]);
    await lab.controlPlane.kubectl(['rollout', 'status', '--timeout=240s', ...workload]);
    // The new ones are counted while the old ones still end.
    await lab.eventually('the old agents are gone', async () => {
      const agents = await bench.agents();
      return agents.every(({ metadata }) => old.every((pod) => pod.metadata.uid !== metadata.uid));
    });

    slow.bytesPerSecond = Number.POSITIVE_INFINITY;

    const draining = await bench.nodeIn('Draining');
    await bench.cutPower(draining);
    assert.equal(await bench.running(draining), '2', 'what was staged and not approved is not booted');

    // The slot stays with the node that is held: the others wait for theirs.
    const verifying = await bench.nodeIn('Verifying');
    const waiting = await bench.nodeIn('AwaitingSlot', [verifying]);
    await Promise.all([bench.cutPower(verifying), bench.cutPower(waiting)]);
    assert.equal(await bench.running(verifying), '3');
    assert.equal(await bench.running(waiting), '2', 'nor is it where a slot is waited for');
    await bench.order('3', { health: soak });

    const soaking = await bench.nodeIn('Soaking');
    await bench.cutPower(soaking);
    assert.equal(await bench.running(soaking), '3');

    // One whose approved boot no cut has taken yet: from the second time on, a node rests longer than a test waits.
    const rebooting = await bench.nodeIn('Rebooting', [verifying, draining]);
    await bench.cutPower(rebooting);

    await bench.updated('3');
    for (const node of lab.nodes) {
      assert.equal(await bench.running(node), '3');
      await bench.isWhole(node);
    }
  });

  it('leaves nothing behind on the machine', async () => {
    await bench[Symbol.asyncDispose]();
    assert.deepEqual(await lookForTraces(), untouched);
  });

  /** A pod on each node that takes its time to end, so that no drain is over before somebody has seen it. */
  async function createLingerers(): Promise<void> {
    const { lab } = bench;
    const pods = lab.nodes.map(({ name }) => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: `lingerer-${name}`, namespace: 'default' },
      spec: {
        nodeName: name,
        terminationGracePeriodSeconds: LINGER_SECONDS,
        // The first process of a container is not stopped by a signal that it does not handle.
        containers: [{ name: 'main', image: lab.treelineImage, command: ['sleep', 'infinity'] }],
      },
    }));
    const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: pods });
    await lab.controlPlane.kubectl(['apply', '-f', '-'], { input });
    const names = pods.map(({ metadata }) => `pod/${metadata.name}`);
    await lab.controlPlane.kubectl(['wait', '--for=condition=Ready', '--timeout=120s', ...names]);
  }
});
