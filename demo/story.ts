/** The demo's story: a fleet on version 1, an OSImage for version 2, then for version 3, and the proof. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ensureKubernetesBinary } from '../tools/setup/control-plane-binaries.ts';
import type { DemoFleet, DemoFleetOptions } from './demo-fleet.ts';
import type { Display } from './display.ts';
import { formatBytes, viewFleet } from './fleet-view.ts';
import { Onlooker } from './onlooker.ts';
import { collectProof, flawIn } from './proof.ts';
import type { Proof } from './proof.ts';
import { applyVersion, IMAGE_NAME, isComplete, manifest, MAX_UNAVAILABLE, STUCK_AFTER_MS } from './rollout.ts';

const POLL_MS = 100;

export interface StoryOptions {
  readonly nodes: number;
  /** Starts the fleet, with all nodes Ready on version 1, and Treeline running. */
  readonly start: (options: DemoFleetOptions) => Promise<DemoFleet>;
  readonly keep: boolean;
  readonly logFolder: string;
  readonly display: Display;
  /** Aborts on Ctrl-C: everything that was started is stopped and removed. */
  readonly signal: AbortSignal;
  /** Called with the proof as soon as it is there; with `keep`, the fleet is still running then. */
  readonly onProof: (proof: Proof) => void;
}

/** Tells the story; throws with one sentence when it does not end well. Nothing is left running or on disk afterwards. */
export async function tellStory(options: StoryOptions): Promise<void> {
  const { display, signal, nodes, logFolder } = options;
  const say = (sentence: string) => display.say(sentence);
  await using fleet = await options.start({ nodes, say, signal, logFolder });
  const started = performance.now();
  const versionOf = new Map(Object.entries(fleet.versions).map(([version, { digest }]) => [digest, version]));
  const show = () => {
    changed = performance.now();
    if (onlooker.objects.image !== undefined) display.update(viewFleet(onlooker.objects, versionOf));
  };
  let changed = started;
  await using onlooker: Onlooker = new Onlooker(fleet.controlPlane, IMAGE_NAME, show);

  for (const version of [2, 3] as const) {
    const { reference, digest } = fleet.versions[version];
    say(`kubectl apply: version ${version}, ${fleet.news[version]}`);
    display.quote(manifest(reference));
    await applyVersion(fleet, version);
    changed = performance.now();
    for (;;) {
      const view = viewFleet(onlooker.objects, versionOf);
      if (isComplete(onlooker.objects, view, digest)) break;
      if (performance.now() - changed > STUCK_AFTER_MS) {
        throw new Error(
          `Nothing has moved for ${STUCK_AFTER_MS / 1000} s; the rollout waits for this: ${view.waitingFor}`,
        );
      }
      await sleep(POLL_MS, undefined, { signal });
    }
    display.end();
    say(`All ${nodes} nodes run version ${version}.`);
  }

  const durationSeconds = Math.round((performance.now() - started) / 1000);
  await onlooker[Symbol.asyncDispose]();
  display.end();
  say('Proof: what ostree and kubectl say, and what was measured.');
  const proof = await collectProof(fleet, onlooker, { maxUnavailable: MAX_UNAVAILABLE, durationSeconds });
  showProof(proof, display);
  options.onProof(proof);
  const flaw = flawIn(proof);
  if (flaw !== undefined) throw new Error(flaw);
  if (options.keep) await keepRunning(fleet, options);
}

function showProof(proof: Proof, display: Display): void {
  for (const node of proof.nodes) {
    display.say(`${node.name}: ostree admin status`);
    display.quote(node.status);
    display.say(`${node.name}: ostree fsck`);
    display.quote(node.fsck);
  }
  display.say('kubectl get osimage,nodeos');
  display.quote(proof.objects);
  display.say(`Most nodes unavailable at once: ${proof.mostUnavailable} (allowed: ${proof.maxUnavailable})`);
  const pulled = proof.nodes.map(
    ({ name, bytesPulled, reboots }) => `${name} ${formatBytes(bytesPulled)}, ${reboots} reboots`,
  );
  display.say(`Pulled over the wire: ${pulled.join('; ')}`);
  display.say(`Both rollouts took ${proof.durationSeconds} s.`);
}

async function keepRunning(fleet: DemoFleet, { display, signal, logFolder }: StoryOptions): Promise<void> {
  const { adminKubeconfig } = fleet.controlPlane;
  const kubectl = await ensureKubernetesBinary('kubectl', (sentence) => display.say(sentence));
  display.say('Everything keeps running until Ctrl-C. To play with it, in another terminal:');
  display.quote(`export KUBECONFIG=${adminKubeconfig}\n${[...fleet.way, kubectl].join(' ')} get osimage,nodeos\n`);
  const references = Object.values(fleet.versions).map(({ reference }) => reference);
  display.quote(`Images to move to: ${references.join(', ')}\nLogs: ${logFolder}`);
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
