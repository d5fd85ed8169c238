/** What the onlooker of a rollout is shown, drawn from the objects in the API and nothing else. */
import type { NodeOS, OSImage } from '../api/index.ts';
import type { WatchedObject } from '../testbed/object-watch.ts';

export interface NodeObject extends WatchedObject {
  readonly spec: { readonly unschedulable?: boolean };
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

export interface NodeView {
  readonly name: string;
  /** `Ready`, `NotReady`, with `,cordoned` where it is. */
  readonly state: string;
  readonly phase: string;
  /** `41%`, `Importing`, or empty when nothing is being pulled. */
  readonly pull: string;
  readonly staged: string;
  readonly booted: string;
}

export interface FleetView {
  /** Version of the rollout's target, or empty. */
  readonly target: string;
  readonly updatedOfTotal: string;
  readonly nodes: readonly NodeView[];
  /** One sentence. */
  readonly waitingFor: string;
}

export interface FleetObjects {
  readonly image: OSImage | undefined;
  readonly nodeOSes: ReadonlyMap<string, NodeOS>;
  readonly nodes: ReadonlyMap<string, NodeObject>;
}

/** Cordoned or NotReady: what a PodDisruptionBudget of nodes would count. */
export function isUnavailable(node: NodeObject): boolean {
  return node.spec.unschedulable === true || !isReady(node);
}

function isReady(node: NodeObject): boolean {
  return node.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') === true;
}

/** `versionOf` names a digest; digests that it does not know are shown short. */
export function viewFleet(objects: FleetObjects, versionOf: ReadonlyMap<string, string>): FleetView {
  const { image, nodeOSes, nodes } = objects;
  const version = (digest: string | undefined) =>
    digest === undefined ? '' : (versionOf.get(digest) ?? digest.slice('sha256:'.length, 'sha256:'.length + 8));
  const views = [...nodes.values()]
    .toSorted((a, b) => a.metadata.name.localeCompare(b.metadata.name, 'en', { numeric: true }))
    .map((node) => {
      const nodeOS = nodeOSes.get(node.metadata.name);
      const host = nodeOS?.status?.host;
      return {
        name: node.metadata.name,
        state: (isReady(node) ? 'Ready' : 'NotReady') + (node.spec.unschedulable === true ? ',cordoned' : ''),
        phase: nodeOS?.status?.rollout?.phase ?? '',
        pull: describePull(nodeOS),
        staged: version(host?.staged?.digest) + (host?.staged?.locked === true ? ' (locked)' : ''),
        booted: version(host?.booted?.digest),
      };
    });
  return {
    target: version(image?.status?.target?.digest),
    updatedOfTotal: image?.status?.nodes?.updatedOfTotal ?? '',
    nodes: views,
    waitingFor: waitingFor(image),
  };
}

function describePull(nodeOS: NodeOS | undefined): string {
  const progress = nodeOS?.status?.progress;
  if (progress === undefined) return '';
  if (progress.stage !== 'Pulling' || progress.bytesTotal === 0) return progress.stage;
  return `${Math.floor((100 * progress.bytesDone) / progress.bytesTotal)} % of ${formatBytes(progress.bytesTotal)}`;
}

export function formatBytes(bytes: number): string {
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** The most important blocker, else what the conditions say. */
function waitingFor(image: OSImage | undefined): string {
  const status = image?.status;
  const blocker = status?.blockers?.[0];
  if (blocker !== undefined) return blocker.message;
  const condition = (type: string) => status?.conditions?.find((one) => one.type === type);
  const progressing = condition('Progressing');
  if (progressing?.status === 'True') return progressing.message;
  return condition('Ready')?.message ?? 'The operator has not looked at the OSImage yet.';
}
