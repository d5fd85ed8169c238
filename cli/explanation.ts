/** Explanations of the planner as text for a terminal: first the sentence, then what stands in the way, then the details. */
import { NO_ORDER } from '../api/index.ts';
import type { Actor } from '../operator/rollout/actor.ts';
import type { Explanation, ImageExplanation, NodeExplanation } from '../operator/rollout/explain.ts';

const WHO: Readonly<Record<Actor, string>> = {
  Person: 'you',
  Time: 'nobody, it passes',
  OtherNodes: 'nobody, the nodes before it finish',
  Maintainer: 'whoever maintains the node now',
  Agent: "the node's agent",
  Hook: 'the hook that it names',
  Operator: 'the operator',
};

/** Names shown of a list that may have thousands. */
const MAX_NAMES = 10;

/** What is told about one node. */
export function nodeText(node: NodeExplanation): string {
  const { image, order, lastOrder, progress } = node;
  const lines = [
    `${node.node} is ${node.phase ?? 'unknown'}${node.since === undefined ? '' : ` since ${node.since}`}: ${node.message}`,
  ];
  if (!node.updated) lines.push(`To act: ${WHO[node.actor]}.`);
  lines.push(...blockerLines(node.blockers));
  const rows: [string, string][] = [];
  if (image !== undefined) rows.push(...imageRows(image));
  if (node.position !== undefined && image !== undefined)
    rows.push(['Queue', `${node.position} of ${image.queue.length} that wait for a slot`]);
  if (node.attempts > 0) {
    const next = node.nextAttemptTime === undefined ? '' : `, the next at ${node.nextAttemptTime}`;
    rows.push(['Failed', `${node.attempts} attempt${node.attempts === 1 ? '' : 's'} for this image${next}`]);
  }
  if (order !== undefined) {
    const until = order.bootApproval === undefined ? '' : `, approved until ${order.bootApproval.notAfter}`;
    rows.push(['Order', `${order.goal} ${order.digest}${until}`]);
  }
  if (progress !== undefined)
    rows.push(['Agent', `${progress.stage}, ${progress.layersDone} of ${progress.layersTotal} layers`]);
  if (lastOrder !== undefined) {
    const { id } = lastOrder;
    const which = id === NO_ORDER ? 'before any order' : `to ${id === order?.id ? 'this' : 'an earlier'} order`;
    rows.push(['Answer', `${lastOrder.result} ${which}, ${lastOrder.completionTime}: ${lastOrder.message}`]);
  }
  return [...lines, ...table(rows)].join('\n');
}

/** What is told about an OSImage. */
export function imageText(image: ImageExplanation): string {
  const [first, ...rows] = imageRows(image);
  const queue: [string, string][] = image.queue.length === 0 ? [] : [['Queue', names(image.queue)]];
  return [first?.[1] ?? '', ...blockerLines(image.blockers), ...table([...rows, ...queue])].join('\n');
}

function imageRows(image: ImageExplanation): [string, string][] {
  const { target, progress, step, nextWindow, holders } = image;
  const name =
    target === undefined ? 'no target yet' : `target ${target.version ?? target.reference} (${target.digest})`;
  const rows: [string, string][] = [
    ['OSImage', `${image.image}, ${name}, ${image.updated} of ${image.total} nodes updated`],
  ];
  if (!image.current) rows.push(['Note', 'The operator has not spoken about the present spec yet; see that it runs.']);
  const away = `${image.unavailable} of at most ${image.maxUnavailable} nodes are unavailable`;
  const slots = holders.slice(0, MAX_NAMES).map(({ node, phase, since }) => `${node} (${phase}, since ${since})`);
  if (holders.length > MAX_NAMES) slots.push(`${holders.length - MAX_NAMES} more`);
  rows.push(['Slots', slots.length === 0 ? `none is held; ${away}` : `${slots.join(', ')}; ${away}`]);
  if (step !== undefined) {
    const { summary, nodesUpdated, nodesNeeded, since } = step;
    const nodes = step.name === undefined ? '' : `, ${nodesUpdated} of the ${nodesNeeded} nodes that it needs are well`;
    rows.push(['Step', `${summary}${nodes}, since ${since}`]);
  }
  if (nextWindow !== undefined) {
    const { start = 'long ago', end = 'no end in sight' } = nextWindow;
    rows.push(['Window', `${nextWindow.name} (${nextWindow.actions.join(', ')}), ${start} to ${end}`]);
  }
  if (progress?.secondsPerNode !== undefined) {
    const eta = progress.estimatedCompletionTime;
    rows.push([
      'Pace',
      `${progress.secondsPerNode} s for each node${eta === undefined ? '' : `, all by about ${eta}`}`,
    ]);
  }
  return rows;
}

function blockerLines(blockers: readonly Explanation[]): string[] {
  if (blockers.length === 0) return [];
  const lines = blockers.map(
    ({ type, since, actor, message }, index) =>
      `  ${index + 1}. ${type}, since ${since} (to act: ${WHO[actor]}): ${message}`,
  );
  return ['', 'In the way, most important first:', ...lines];
}

function table(rows: readonly (readonly [string, string])[]): string[] {
  if (rows.length === 0) return [];
  const width = Math.max(...rows.map(([name]) => name.length)) + 2;
  return ['', ...rows.map(([name, text]) => `${`${name}:`.padEnd(width)}${text}`)];
}

function names(list: readonly string[]): string {
  const shown = list.slice(0, MAX_NAMES).join(', ');
  return list.length > MAX_NAMES ? `${shown} and ${list.length - MAX_NAMES} more` : shown;
}
