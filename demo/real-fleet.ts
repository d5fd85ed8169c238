/**
 * A fleet of real nodes: each has a kubelet and a containerd, its root is the deployment that it has booted, and Treeline is
 * installed as its users install it. It lives in namespaces of its own, in which this program runs once more.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { manifestDigest } from '../testbed/derived-image.ts';
import { LAB_NAMESPACES, requireLabMachine } from '../testbed/nodes/lab-machine.ts';
import { NODE_OS, publishNodeOS } from '../testbed/nodes/node-image.ts';
import { NodeLab, prepareNodeLab } from '../testbed/nodes/node-lab.ts';
import type { RealNode } from '../testbed/nodes/real-node.ts';
import type { PublishedVersion } from '../testbed/os-publication.ts';
import { checkRepository } from '../testbed/repository-check.ts';
import { createWorkload } from '../testbed/workload.ts';
import { ensureAll } from '../tools/setup/index.ts';
import type { Say } from '../tools/setup/say.ts';
import type { DemoFleet, DemoFleetOptions, DemoNode } from './demo-fleet.ts';

/** Set for the second run. */
const MARK = 'TREELINE_DEMO_NAMESPACES';
/** Enough that a pull can be watched. */
const CONTENT_BYTES = 16_000_000;
/** One more than nodes, so that some drains meet the budget and wait, but not all of them for long. */
const REPLICAS_BEYOND_NODES = 1;

/** Whether this is the run in namespaces of its own. */
export function isInNamespaces(): boolean {
  return process.env[MARK] !== undefined;
}

/** Makes ready, where there is a network, what the run in namespaces needs. @throws SetupError */
export async function prepareRealFleet(say: Say): Promise<void> {
  await requireLabMachine();
  await ensureAll(say, ['demo', 'nodes']);
  await prepareNodeLab(say);
}

/** Runs this program once more, in namespaces of its own; returns its exit code. It is told to stop when we are, or have gone. */
export async function runInNamespaces(signal: AbortSignal): Promise<number> {
  const again = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const child = spawn('setpriv', ['--pdeathsig', 'TERM', '--', ...LAB_NAMESPACES, ...again], {
    stdio: 'inherit',
    env: { ...process.env, [MARK]: '1' },
  });
  signal.addEventListener('abort', () => child.kill('SIGTERM'), { once: true });
  const [code] = (await once(child, 'exit')) as [number | null];
  return code ?? 1;
}

export async function startRealFleet({ nodes, logFolder, say, signal }: DemoFleetOptions): Promise<DemoFleet> {
  await using started = new AsyncDisposableStack();
  say(
    `Starting a registry, a control plane and ${nodes} nodes, each with a kubelet, a containerd and a disk of its own.`,
  );
  const lab = started.use(await NodeLab.start({ nodeCount: nodes, logs: logFolder, say, signal }));
  const published = async (version: string): Promise<PublishedVersion> => ({
    reference: lab.image(version),
    digest: await manifestDigest(lab.registry.url, NODE_OS, version),
  });
  say('Publishing versions 2 and 3 of their operating system.');
  for (const version of ['2', '3']) {
    const content = { path: 'usr/share/treeline-testbed/content', content: randomBytes(CONTENT_BYTES) };
    await publishNodeOS(lab.registry.url, version, [content]);
  }
  signal.throwIfAborted();
  say('kubectl apply -k manifests/base: the operator as a Deployment, the agents as a DaemonSet.');
  await lab.install();
  signal.throwIfAborted();
  if (nodes > 1) {
    say('Creating a Deployment with a PodDisruptionBudget, so that draining means something.');
    const program = { image: lab.treelineImage, command: ['sleep', 'infinity'] };
    await createWorkload(lab.controlPlane, nodes + REPLICAS_BEYOND_NODES, program);
  }
  const versions = { 1: await published('1'), 2: await published('2'), 3: await published('3') };
  started.move();
  return {
    controlPlane: lab.controlPlane,
    versions,
    news: { 2: 'a layer with another 16 MB', 3: 'yet another 16 MB' },
    nodes: lab.nodes.map(nodeOf),
    way: ['nsenter', `--target=${process.pid}`, '--net', '--'],
    [Symbol.asyncDispose]: () => lab[Symbol.asyncDispose](),
  };
}

function nodeOf(node: RealNode): DemoNode {
  return {
    name: node.name,
    get reboots() {
      return node.boots.length - 1;
    },
    ostreeStatus: () => node.tryRun('ostree', 'admin', 'status'),
    fsck: () => checkRepository(node.repository),
  };
}
