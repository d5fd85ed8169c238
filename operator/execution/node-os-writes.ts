/** The writes to NodeOS objects. Each carries the version it was decided on, and leaves the agent's fields alone. */
import { IMAGE_LABEL, type NodeOS } from '../../api/index.ts';
import { OperatorError, isKubeError } from '../errors.ts';
import type { KubeApi } from '../kube/kube-api.ts';
import type { ObjectCache } from '../kube/object-cache.ts';
import type { Action, NodeOSStatusPart } from '../rollout/action.ts';

type ActionOf<K extends Action['kind']> = Extract<Action, { readonly kind: K }>;

interface Context {
  readonly api: KubeApi;
  readonly nodeOSes: ObjectCache<NodeOS>;
}

/**
 * From the version that a plan was made on to the version that our own write made of it: a plan may write spec and
 * status of the same object, and nobody else can have written between two versions that follow each other.
 */
interface WriteContext extends Context {
  readonly succession: Map<string, string>;
}

/** Creates the NodeOS, owned by its Node: garbage collection removes it with the Node, which frees its slot. */
export async function createNodeOS({ api, nodeOSes }: Context, action: ActionOf<'CreateNodeOS'>): Promise<void> {
  const { node, nodeUID, imageName } = action;
  const metadata = {
    name: node,
    labels: { [IMAGE_LABEL]: labelValue(imageName) },
    ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: node, uid: nodeUID }],
  };
  nodeOSes.observe(await api.createNodeOS(metadata, { imageName, nodeUID }));
}

export async function deleteNodeOS({ api, nodeOSes }: Context, action: ActionOf<'DeleteNodeOS'>): Promise<void> {
  try {
    await api.deleteNodeOS(action.name, action.uid);
  } catch (error) {
    // Gone, or already another one of that name: what was asked for is so.
    if (!isKubeError(error, 'NotFound', 'Conflict')) throw error;
  }
  nodeOSes.forget(action.name, action.uid);
}

export async function writeOrder(
  { api, nodeOSes, succession }: WriteContext,
  action: ActionOf<'WriteOrder'>,
): Promise<void> {
  const held = heldAt(nodeOSes, action.name, succession.get(action.resourceVersion) ?? action.resourceVersion);
  const labels = { ...held.metadata.labels, [IMAGE_LABEL]: labelValue(action.spec.imageName) };
  const object = { ...held, metadata: { ...held.metadata, labels }, spec: action.spec };
  const written = await api.replaceNodeOS(object);
  succession.set(action.resourceVersion, written.metadata.resourceVersion);
  nodeOSes.observe(written);
}

export async function writeRollout(
  { api, nodeOSes, succession }: WriteContext,
  action: ActionOf<'WriteRollout'>,
): Promise<void> {
  const held = heldAt(nodeOSes, action.name, succession.get(action.resourceVersion) ?? action.resourceVersion);
  const { uid, resourceVersion } = held.metadata;
  const patch = { metadata: { uid, resourceVersion }, status: rolloutPatch(held, action.status) };
  const written = await api.mergePatchNodeOSStatus(action.name, patch);
  succession.set(action.resourceVersion, written.metadata.resourceVersion);
  nodeOSes.observe(written);
}

/** A JSON merge patch (RFC 7386) removes only what it sets to null: every field that `next` no longer has. */
export function rolloutPatch(held: NodeOS, next: NodeOSStatusPart): Record<string, unknown> {
  const removed = Object.keys(held.status?.rollout ?? {}).map((field) => [field, null] as const);
  return { rollout: { ...Object.fromEntries(removed), ...next.rollout }, conditions: next.conditions };
}

function heldAt(nodeOSes: ObjectCache<NodeOS>, name: string, resourceVersion: string): NodeOS {
  const held = nodeOSes.get(name);
  if (held?.metadata.resourceVersion === resourceVersion) return held;
  throw new OperatorError('StalePicture', `NodeOS ${name} has changed since the plan was made`);
}

/** Names may be longer than label values: 63 characters that begin and end alphanumerically. */
function labelValue(name: string): string {
  return name.slice(0, 63).replace(/[^A-Za-z0-9]+$/, '');
}
