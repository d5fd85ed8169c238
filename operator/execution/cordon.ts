/**
 * Cordon, uncordon and mark a Node, without ever touching a cordon that is not ours. The patch carries the resource version on which
 * the decision was made, so the API server itself refuses when anybody has changed the Node in between.
 */
import { CORDONED_BY_ANNOTATION } from '../../api/index.ts';
import { OperatorError, isKubeError } from '../errors.ts';
import type { KubeApi } from '../kube/kube-api.ts';
import type { ObjectCache } from '../kube/object-cache.ts';
import type { Node } from '../kube/objects.ts';
import type { NodeMarks } from '../rollout/action.ts';
import { marksPatch } from './node-marks.ts';
import type { NodePatch } from './node-marks.ts';

/** Kubelets write to their Node often; a write of theirs in between is no reason to give up. */
const ATTEMPTS = 5;

interface Context {
  readonly api: Pick<KubeApi, 'getNode' | 'mergePatchNode'>;
  readonly nodes: ObjectCache<Node>;
  /** Throws unless this replica may write now. */
  readonly assertLeading: () => void;
}

/**
 * Makes the Node unschedulable, marks the cordon with `by`, and puts on `marks`, in one write. Does nothing if all that is
 * already so. Throws `OperatorError` `ForeignCordon` when somebody else has cordoned it.
 */
export async function cordon(context: Context, name: string, by: string, marks: NodeMarks): Promise<void> {
  await patchNode(context, name, (node) => {
    const marked = marksPatch(node, marks);
    if (node.spec.unschedulable !== true) return merged(marked, by, true);
    if (markOf(node) === by) return marked;
    throw new OperatorError('ForeignCordon', `node ${name} has been cordoned by somebody else; it is left as it is`);
  });
}

/**
 * Makes the Node schedulable, takes our mark off and changes `marks`, in one write. Does nothing if all that is already
 * so. Throws `OperatorError` `ForeignCordon` when the mark is not `by`.
 */
export async function uncordon(context: Context, name: string, by: string, marks: NodeMarks): Promise<void> {
  await patchNode(context, name, (node) => {
    const marked = marksPatch(node, marks);
    if (markOf(node) === by) return merged(marked, null, null);
    if (markOf(node) === undefined && node.spec.unschedulable !== true) return marked;
    throw new OperatorError('ForeignCordon', `the cordon of node ${name} is not Treeline's (any more); it stays`);
  });
}

/** Changes the marks of a Node and leaves its cordon as it is. Does nothing if they are so already. */
export async function mark(context: Context, name: string, marks: NodeMarks): Promise<void> {
  await patchNode(context, name, (node) => marksPatch(node, marks));
}

function merged(marked: NodePatch | undefined, by: string | null, unschedulable: true | null): NodePatch {
  const { metadata, spec } = marked ?? { metadata: {}, spec: {} };
  const annotations = { ...metadata.annotations, [CORDONED_BY_ANNOTATION]: by };
  return { metadata: { ...metadata, annotations }, spec: { ...spec, unschedulable } };
}

function markOf(node: Node): string | undefined {
  return node.metadata.annotations?.[CORDONED_BY_ANNOTATION];
}

async function patchNode(
  { api, nodes, assertLeading }: Context,
  name: string,
  decide: (node: Node) => NodePatch | undefined,
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
