/** `npm run demo`: one machine plays a fleet, and the fleet is moved from one operating system to the next. */
import { readFlags } from '../tools/script-flags.ts';
import { Display } from './display.ts';
import { Ending, requireRoot, runAsProgram, UsageError } from './ending.ts';
import { isInNamespaces, prepareRealFleet, runInNamespaces, startRealFleet } from './real-fleet.ts';
import { startSandboxFleet } from './sandbox-fleet.ts';
import { tellStory } from './story.ts';

const MAX_NODES = 9;

const SCRIPT = {
  command: 'npm run demo',
  does: `Makes three versions of a small operating system, starts a real Kubernetes API, a registry and some nodes on loopback,
and moves the nodes from version 1 to 2 to 3 with an OSImage. Stops and removes everything at the end.
Needs root, because an operating system's files belong to many users.

With --real-nodes, agents are not processes and sysroots no folders: each node has a kubelet and a containerd, its root is the
deployment that it has booted, and Treeline runs in pods, by kubectl apply -k manifests/base. That needs a machine, or a
privileged container, that allows network and mount namespaces and new cgroups. The first time, a kubelet, an operating
system and the container image are built, which takes some minutes and the package registries of npm and the distribution.`,
  flags: {
    nodes: { kind: 'number', says: `how many nodes, 1 to ${MAX_NODES}`, default: 3 },
    'real-nodes': {
      kind: 'switch',
      says: 'a kubelet on each node, and Treeline installed by its manifests; see above',
    },
    keep: { kind: 'switch', says: 'leave everything running at the end, until Ctrl-C, with a kubeconfig to play with' },
    output: {
      kind: 'one',
      of: ['text', 'json'],
      says: 'json: one document on standard output at the end, the story on standard error',
      default: 'text',
    },
  },
} as const;

async function main(): Promise<number> {
  const { nodes, 'real-nodes': realNodes, keep, output } = readFlags(SCRIPT).values;
  const json = output === 'json';
  if (nodes < 1 || nodes > MAX_NODES) throw new UsageError(`--nodes takes a number from 1 to ${MAX_NODES}.`);
  requireRoot();
  const display = new Display(json ? process.stderr : process.stdout);
  const ending = new Ending(display);
  const { signal } = ending;
  if (realNodes && !isInNamespaces()) {
    return ending.of(async () => {
      await prepareRealFleet((sentence) => display.say(sentence));
      signal.throwIfAborted();
      // From here on, the other run says it.
      ending.leaveSayingToOthers();
      return runInNamespaces(signal);
    });
  }
  return ending.withLogs((logFolder) =>
    tellStory({
      nodes,
      start: realNodes ? startRealFleet : startSandboxFleet,
      keep,
      logFolder,
      display,
      signal,
      onProof: (proof) => {
        if (json) process.stdout.write(`${JSON.stringify(proof, undefined, 2)}\n`);
      },
    }),
  );
}

await runAsProgram(main);
