/** What is shown at the end of the demo: what other programs say of the result, and what was measured on the way. */
import type { DemoFleet } from './demo-fleet.ts';
import type { Onlooker } from './onlooker.ts';

export interface NodeProof {
  readonly name: string;
  /** `ostree admin status` of the node. */
  readonly status: string;
  /** `ostree fsck` of its repository: its last line. */
  readonly fsck: string;
  readonly fsckClean: boolean;
  readonly bytesPulled: number;
  readonly reboots: number;
}

export interface Proof {
  readonly nodes: readonly NodeProof[];
  /** `kubectl get osimage,nodeos`. */
  readonly objects: string;
  readonly maxUnavailable: number;
  /** The highest number of nodes that were cordoned or NotReady at one moment. */
  readonly mostUnavailable: number;
  readonly durationSeconds: number;
}

export async function collectProof(
  fleet: DemoFleet,
  onlooker: Onlooker,
  facts: Pick<Proof, 'maxUnavailable' | 'durationSeconds'>,
): Promise<Proof> {
  const nodes = await Promise.all(
    fleet.nodes.map(async (node): Promise<NodeProof> => {
      const { name, reboots } = node;
      const status = await node.ostreeStatus();
      const fsck = await node.fsck();
      const lastLine = `${fsck.stdout}\n${fsck.stderr}`.trim().split('\n').at(-1) ?? '';
      return {
        name,
        status: status.code === 0 ? status.stdout.trim() : status.stderr.trim(),
        fsck: lastLine,
        fsckClean: fsck.code === 0,
        bytesPulled: onlooker.bytesPulled.get(name) ?? 0,
        reboots,
      };
    }),
  );
  const objects = await fleet.controlPlane.kubectl(['get', 'osimages,nodeoses']);
  return { ...facts, nodes, objects, mostUnavailable: onlooker.mostUnavailable };
}

/** Why the proof proves nothing, or undefined when it holds. */
export function flawIn(proof: Proof): string | undefined {
  const broken = proof.nodes.find(({ fsckClean }) => !fsckClean);
  if (broken !== undefined) return `ostree fsck found the repository of ${broken.name} damaged: ${broken.fsck}`;
  if (proof.mostUnavailable > proof.maxUnavailable) {
    return `${proof.mostUnavailable} nodes were unavailable at once; at most ${proof.maxUnavailable} may be.`;
  }
  return undefined;
}
