/**
 * The marks of a slot and the taints of outdated and of new nodes, as parts of a patch. What was there before us stays, with its own
 * value: only what the annotation `treeline.dev/marks` lists is ours to take off.
 */
import { MARKS_ANNOTATION, NOT_READY_TAINT, OUTDATED_TAINT } from '../../api/index.ts';
import type { Node, Taint } from '../kube/objects.ts';
import { LOAD_BALANCER_LABEL, SLOT_ANNOTATIONS } from '../kube/slot-marks.ts';
import type { NodeMarks } from '../rollout/action.ts';

const OUTDATED: Taint = { key: OUTDATED_TAINT, effect: 'PreferNoSchedule' };
const NOT_READY: Taint = { key: NOT_READY_TAINT, effect: 'NoSchedule' };

type Fields = Record<string, string | null>;

export interface NodePatch {
  readonly metadata: { readonly annotations?: Fields; readonly labels?: Fields };
  readonly spec: { readonly unschedulable?: boolean | null; readonly taints?: readonly Taint[] };
}

/** The JSON merge patch (RFC 7386) that brings `node` to `marks`; undefined when it is there. */
export function marksPatch(node: Node, marks: NodeMarks): NodePatch | undefined {
  const slot = marks.slot === 'On' ? putOn(node, marks) : marks.slot === 'Off' ? takeOff(node) : {};
  const before = node.spec.taints ?? [];
  const after = withTaint(withTaint(before, OUTDATED, marks.outdated), NOT_READY, marks.gated);
  const taints = after === before ? undefined : after;
  if (taints === undefined && Object.keys(slot).length === 0) return undefined;
  return { metadata: slot, spec: taints === undefined ? {} : { taints } };
}

function putOn(node: Node, { loadBalancers }: NodeMarks): NodePatch['metadata'] {
  const { annotations = {}, labels = {} } = node.metadata;
  const free = SLOT_ANNOTATIONS.filter((key) => annotations[key] === undefined);
  const label = loadBalancers === true && labels[LOAD_BALANCER_LABEL] === undefined ? [LOAD_BALANCER_LABEL] : [];
  const before = annotations[MARKS_ANNOTATION];
  const ours = [...new Set([...recorded(before), ...free, ...label])].join();
  if (ours === before) return {};
  return {
    annotations: { ...valued(free, 'true'), [MARKS_ANNOTATION]: ours },
    ...(label.length > 0 && { labels: valued(label, 'true') }),
  };
}

function takeOff(node: Node): NodePatch['metadata'] {
  const { annotations = {}, labels = {} } = node.metadata;
  const before = annotations[MARKS_ANNOTATION];
  if (before === undefined) return {};
  const ours = recorded(before);
  const known = SLOT_ANNOTATIONS.filter((key) => ours.includes(key) && annotations[key] !== undefined);
  const label = ours.includes(LOAD_BALANCER_LABEL) && labels[LOAD_BALANCER_LABEL] !== undefined;
  return {
    annotations: { ...valued(known, null), [MARKS_ANNOTATION]: null },
    ...(label && { labels: { [LOAD_BALANCER_LABEL]: null } }),
  };
}

/** `taints` with `taint` or without any of its key; the same list where nothing changes or `worn` is undefined. */
function withTaint(taints: readonly Taint[], taint: Taint, worn: boolean | undefined): readonly Taint[] {
  if (worn === undefined || taints.some(({ key }) => key === taint.key) === worn) return taints;
  return worn ? [...taints, taint] : taints.filter(({ key }) => key !== taint.key);
}

function recorded(value: string | undefined): readonly string[] {
  return value === undefined || value === '' ? [] : value.split(',');
}

function valued<V>(keys: readonly string[], value: V): Record<string, V> {
  return Object.fromEntries(keys.map((key) => [key, value]));
}
