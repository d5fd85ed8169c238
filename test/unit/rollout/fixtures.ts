/** Objects for the planner's tests, each whole by default, so that a test names only what it is about. */
import { EXCLUDE_LABEL, osImageSpecSchema } from '../../../api/index.ts';
import type { HostStatus, NodeOS, OSImage, OSImageSpec, RolloutStatus } from '../../../api/index.ts';
import type { ImageSnapshot, NodeSnapshot, ResolvedImage, Snapshot } from '../../../operator/rollout/snapshot.ts';
import { stableHash } from '../../../operator/rollout/stable-hash.ts';

export const NOW = new Date('2026-11-23T12:00:00Z');
export const ARCHITECTURES = ['amd64', 'arm64'] as const;

/** A digest that looks like one, different for every name. */
export function digestOf(name: string): string {
  let hex = '';
  for (let part = 0; hex.length < 64; part++) hex += stableHash(`${name} ${part}`).toString(16).padStart(8, '0');
  return `sha256:${hex.slice(0, 64)}`;
}

/** The manifest digest that a node of `architecture` takes from release `version`. */
export function manifestOf(version: string, architecture = 'amd64'): string {
  return digestOf(`${version} ${architecture}`);
}

/** The version that `digest` is the manifest of, in this little world. */
export function versionOf(digest: string): string | undefined {
  const versions = ['v0', 'v1', 'v2', 'v3', 'v4'];
  return versions.find((version) => ARCHITECTURES.some((one) => manifestOf(version, one) === digest));
}

/** What the registry says about `reference` when it means `version`. */
export function release(version: string, reference = `registry.example/os:${version}`): ResolvedImage {
  return {
    release: { digest: digestOf(version), reference, version, resolvedTime: '2026-11-23T11:00:00Z' },
    repository: 'ostree-unverified-registry:registry.example/os',
    platforms: Object.fromEntries(ARCHITECTURES.map((one) => [one, manifestOf(version, one)])),
  };
}

export interface ImageOptions {
  readonly name?: string;
  readonly version?: string;
  readonly selector?: OSImageSpec['nodeSelector'];
  readonly maxUnavailable?: number | string;
  readonly paused?: boolean;
  readonly timeoutSeconds?: number;
  readonly minReadySeconds?: number;
  readonly updatePolicy?: 'Manual' | 'Automatic';
  /** Further fields of `spec.rollout`. */
  readonly rollout?: Record<string, unknown>;
  /** Further fields of `spec`, by name of the policy. */
  readonly policy?: Record<string, unknown>;
  readonly mirrors?: readonly string[];
  /** `status.target` is that of `version` already; default true. */
  readonly announced?: boolean;
}

/** An OSImage with its resolution. */
export function imageOf(options: ImageOptions = {}): ImageSnapshot {
  const { name = 'fleet', version = 'v2', announced = true } = options;
  const resolved = release(version);
  const object: OSImage = {
    metadata: { name, uid: `image-${name}`, resourceVersion: '1', generation: 1 },
    spec: osImageSpecSchema.parse({
      nodeSelector: options.selector ?? {},
      image: { reference: resolved.release.reference, updatePolicy: options.updatePolicy, mirrors: options.mirrors },
      rollout: { paused: options.paused, maxUnavailable: options.maxUnavailable, ...options.rollout },
      reboot: { timeoutSeconds: options.timeoutSeconds },
      health: { minReadySeconds: options.minReadySeconds },
      ...options.policy,
    }),
    ...(announced && { status: { target: resolved.release } }),
  };
  return { object, resolution: { state: 'Resolved', image: resolved } };
}

/** A Ready, schedulable amd64 node. */
export function nodeOf(name: string, differences: Partial<NodeSnapshot> = {}): NodeSnapshot {
  return {
    name,
    uid: `node-${name}`,
    labels: {},
    cordoned: false,
    marked: false,
    outdated: false,
    gated: false,
    repels: [],
    volumes: [],
    ready: true,
    architecture: 'amd64',
    deleting: false,
    ...differences,
  };
}

export interface NodeOSOptions {
  readonly imageName?: string;
  readonly nodeUID?: string;
  readonly booted?: string;
  readonly staged?: string;
  readonly bootID?: string;
  readonly rollout?: Partial<RolloutStatus>;
  readonly order?: NodeOS['spec']['order'];
  readonly lastOrder?: NonNullable<NodeOS['status']>['lastOrder'];
  /** What the host can fall back to, or has fallen back from. */
  readonly rollback?: string;
  /** What else the host says. */
  readonly host?: Partial<HostStatus>;
  /** The agent has not reported yet. */
  readonly silent?: boolean;
}

/** A NodeOS whose host runs `booted` (default v1) and has staged `staged`, in the given phase. */
export function nodeOSOf(name: string, options: NodeOSOptions = {}): NodeOS {
  const host: HostStatus = {
    bootID: options.bootID ?? 'boot-1',
    booted: { checksum: 'c1', digest: manifestOf(options.booted ?? 'v1') },
    ...(options.staged !== undefined && {
      staged: { checksum: 'c2', digest: manifestOf(options.staged), locked: true },
    }),
    ...(options.rollback !== undefined && { rollback: { checksum: 'c3', digest: manifestOf(options.rollback) } }),
    ...options.host,
  };
  const { rollout, order, lastOrder } = options;
  return {
    metadata: { name, uid: `nos-${name}`, resourceVersion: '1' },
    spec: {
      imageName: options.imageName ?? 'fleet',
      nodeUID: options.nodeUID ?? `node-${name}`,
      ...(order && { order }),
    },
    status: {
      ...(options.silent !== true && { host }),
      ...(lastOrder && { lastOrder }),
      ...(rollout && {
        rollout: { phase: 'Pending', phaseTime: '2026-11-23T11:59:00Z', digest: manifestOf('v2'), ...rollout },
      }),
    },
  };
}

/** The mark of our own cordon on the node of `nodeOSOf(name)`. */
export function ourCordon(name: string): Partial<NodeSnapshot> {
  return { cordoned: true, cordonedBy: `nos-${name}`, marked: true };
}

export const EXCLUDED = { labels: { [EXCLUDE_LABEL]: '' } } as const;

/** A snapshot of the given parts; default: one OSImage for v2 over all nodes, each of which could be emptied now. */
export function snapshotOf(parts: Partial<Snapshot>): Snapshot {
  const { nodes = [] } = parts;
  const dryRuns = new Map(nodes.map(({ name }) => [name, { refusals: [] }]));
  return {
    images: [imageOf()],
    nodes,
    nodeOSes: [],
    drains: new Map(),
    dryRuns,
    checks: new Map(),
    alerts: new Map(),
    ...parts,
  };
}
