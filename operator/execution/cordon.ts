/**
 * Cordon and uncordon, without ever touching a cordon that is not ours. The patch carries the resource version on which
 * the decision was made, so the API server itself refuses when anybody has changed the Node in between.
 */
import { CORDONED_BY_ANNOTATION } from '../../api/index.ts';
import { OperatorError, isKubeError } from '../errors.ts';
import type { KubeApi } from '../kube/kube-api.ts';
import type { ObjectCache } from '../kube/object-cache.ts';
import type { Node } from '../kube/objects.ts';

/** Kubelets write to their Node often; a write of theirs in between is no reason to give up. */
const ATTEMPTS = 5;

interface Context {
  readonly api: Pick<KubeApi, 'getNode' | 'mergePatchNode'>;
  readonly nodes: ObjectCache<Node>;
  /** Throws unless this replica may write now. */
  readonly assertLeading: () => void;
}

/**
 * Makes the Node unschedulable and marks the cordon with `by`, in one write. Does nothing if that is already so.
 * Throws `OperatorError` `ForeignCordon` when somebody else has cordoned it.
 */
export async function cordon(context: Context, name: string, by: string): Promise<void> {
  await patchNode(context, name, (node) => {
    if (node.spec.unschedulable === true) {
      if (markOf(node) === by) return undefined;
      throw new OperatorError('ForeignCordon', `node ${name} has been cordoned by somebody else; it is left as it is`);
    }
    return { metadata: { annotations: { [CORDONED_BY_ANNOTATION]: by } }, spec: { unschedulable: true } };
  });
}

/**
 * Makes the Node schedulable and takes our mark off, in one write. Does nothing if neither is there any more.
 * Throws `OperatorError` `ForeignCordon` when the mark is not `by`.
 */
export async function uncordon(context: Context, name: string, by: string): Promise<void> {
  await patchNode(context, name, (node) => {
    if (markOf(node) === by)
      return { metadata: { annotations: { [CORDONED_BY_ANNOTATION]: null } }, spec: { unschedulable: null } };
    if (markOf(node) === undefined && node.spec.unschedulable !== true) return undefined;
    throw new OperatorError('ForeignCordon', `the cordon of node ${name} is not Treeline's (any more); it stays`);
  });
}

function markOf(node: Node): string | undefined {
  return node.metadata.annotations?.[CORDONED_BY_ANNOTATION];
}

async function patchNode(
  { api, nodes, assertLeading }: Context,
  name: string,
  decide: (node: Node) => { readonly metadata: object; readonly spec: object } | undefined,
): Promise<void> {
  let node = nodes.get(name) ?? (await api.getNode(name));
  for (let attempt = 1; ; attempt++) {
    const patch = decide(node);
    if (patch === undefined) return;
    assertLeading();
    const { uid, resourceVersion } = node.metadata;
    try {
      nodes.observe(
        await api.mergePatchNode(name, { ...patch, metadata: { ...patch.metadata, uid, resourceVersion } }),
      );
      return;
    } catch (error) {
      if (!isKubeError(error, 'Conflict') || attempt === ATTEMPTS) throw error;
      node = await api.getNode(name);
      nodes.observe(node);
    }
  }
}
